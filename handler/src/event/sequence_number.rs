use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Decimal digits that always fit into 64 bits.
const LIMB_DIGITS: usize = 19;

/// The powers of ten up to that of a limb.
const POWERS_OF_TEN: [u64; LIMB_DIGITS + 1] = {
    let mut powers = [1; LIMB_DIGITS + 1];
    let mut exponent = 1;
    while exponent <= LIMB_DIGITS {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

/// The most leading zeros that are kept. The API allows a number 129 digits, and no emulator pads to more than 56.
const MAX_ZEROS: usize = 128;

/// The sequence number of a Kinesis record: a non-negative integer of up to 192 bits, in integer order.
///
/// Kinesis issues numbers of up to 186 bits (56 digits), too large for `u128`. AWS writes them without leading zeros, as
/// in the API's pattern `0|([1-9]\d*)`; some emulators pad them to a fixed width. Printing gives the very text that was
/// parsed, because a response must name a record by it, but comparisons and hashes ignore leading zeros.
///
/// ```
/// use kinesis_handler::SequenceNumber;
///
/// let nine: SequenceNumber = "009".parse()?;
/// let ten: SequenceNumber = "10".parse()?;
/// assert!(nine < ten);
/// assert_eq!(nine, "9".parse()?);
/// assert_eq!(nine.to_string(), "009");
/// # Ok::<(), kinesis_handler::SequenceNumberError>(())
/// ```
#[derive(Clone, Copy)]
pub struct SequenceNumber {
    /// Most significant first, so that their order is integer order.
    limbs: [u64; 3],
    /// Number of leading zeros in the text.
    zeros: u8,
}

/// Why a text is not a [`SequenceNumber`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SequenceNumberError {
    /// The text is empty.
    #[error("sequence number is empty")]
    Empty,
    /// A byte is not an ASCII digit.
    #[error("invalid character in the sequence number at byte {offset}, expected a digit")]
    NotADigit {
        /// Zero-based position in bytes.
        offset: usize,
    },
    /// The text is padded beyond what the API allows a number.
    #[error("sequence number has {zeros} leading zeros, more than 128")]
    Padding {
        /// Number of leading zeros.
        zeros: usize,
    },
    /// The number does not fit into 192 bits.
    #[error("sequence number of {digits} digits exceeds 192 bits")]
    TooLarge {
        /// Number of digits.
        digits: usize,
    },
}

impl FromStr for SequenceNumber {
    type Err = SequenceNumberError;

    fn from_str(text: &str) -> Result<Self, SequenceNumberError> {
        let digits = text.as_bytes();
        // Without an early end, all are compared at once.
        if !digits.iter().fold(true, |are_digits, byte| are_digits & byte.is_ascii_digit()) {
            let offset = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or_default();
            return Err(SequenceNumberError::NotADigit { offset });
        }
        let [before_last @ .., _] = digits else { return Err(SequenceNumberError::Empty) };
        let zeros = before_last.iter().take_while(|&&digit| digit == b'0').count();
        if zeros > MAX_ZEROS {
            return Err(SequenceNumberError::Padding { zeros });
        }
        let digits = &digits[zeros..];
        let mut number = SequenceNumber { limbs: [0; 3], zeros: zeros as u8 };
        for chunk in digits.chunks(LIMB_DIGITS) {
            let value = chunk.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
            number = number
                .times_plus(POWERS_OF_TEN[chunk.len()], value)
                .ok_or(SequenceNumberError::TooLarge { digits: digits.len() })?;
        }
        Ok(number)
    }
}

impl SequenceNumber {
    /// Returns the number without leading zeros, as AWS writes it.
    pub fn without_padding(self) -> Self {
        SequenceNumber { zeros: 0, ..self }
    }

    /// Returns `self × factor + addend`; `None` on overflow.
    fn times_plus(mut self, factor: u64, mut carry: u64) -> Option<Self> {
        for limb in self.limbs.iter_mut().rev() {
            let wide = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            *limb = wide as u64;
            carry = (wide >> 64) as u64;
        }
        (carry == 0).then_some(self)
    }

    /// Divides by 10^19 and returns the remainder.
    fn divide(&mut self) -> u64 {
        let divisor = 10u128.pow(LIMB_DIGITS as u32);
        let mut remainder = 0u128;
        for limb in &mut self.limbs {
            let wide = remainder << 64 | u128::from(*limb);
            *limb = (wide / divisor) as u64;
            remainder = wide % divisor;
        }
        remainder as u64
    }
}

impl PartialEq for SequenceNumber {
    fn eq(&self, other: &Self) -> bool {
        self.limbs == other.limbs
    }
}

impl Eq for SequenceNumber {}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.limbs.cmp(&other.limbs)
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for SequenceNumber {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.limbs.hash(state);
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = *self;
        // 2^192 has 58 digits: four chunks of 19.
        let chunks = [(); 4].map(|()| rest.divide());
        let first = chunks.iter().rposition(|&chunk| chunk != 0).unwrap_or(0);
        write!(f, "{:0>1$}{2}", "", usize::from(self.zeros), chunks[first])?;
        chunks[..first].iter().rev().try_for_each(|chunk| write!(f, "{chunk:019}"))
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SequenceNumber({self})")
    }
}

impl Serialize for SequenceNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SequenceNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The position of a user record: that of its Kinesis record, then that inside it.
///
/// Named as in the KCL. Positions compare in stream order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedSequenceNumber {
    /// Sequence number of the Kinesis record.
    pub sequence_number: SequenceNumber,
    /// Position inside the aggregate, counted from zero over all of its user records; zero for a plain record.
    ///
    /// `None` where it cannot be known: an enhanced fan-out consumer gets user records that Lambda has deaggregated.
    pub sub_sequence_number: Option<u64>,
}

/// The text is `SEQUENCE-NUMBER:SUB`, or the sequence number alone. With the shard and a slash before it, `kinesis-kit` takes it.
impl fmt::Display for ExtendedSequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub_sequence_number {
            Some(sub_sequence_number) => write!(f, "{}:{sub_sequence_number}", self.sequence_number),
            None => self.sequence_number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let result = text.parse::<SequenceNumber>();
        assert_eq!(result.map_err(|error| error.to_string()), Err(expected.to_owned()));
    }

    #[test]
    fn only_digits_are_sequence_numbers() {
        check_refused("", "sequence number is empty");
        check_refused(&"0".repeat(130), "sequence number has 129 leading zeros, more than 128");
        check_refused("+1", "invalid character in the sequence number at byte 0, expected a digit");
        check_refused("12٣", "invalid character in the sequence number at byte 2, expected a digit");
        check_refused("TRIM_HORIZON", "invalid character in the sequence number at byte 0, expected a digit");
    }

    #[test]
    fn numbers_of_192_bits_fit() {
        let largest = "6277101735386680763835789423207666416102355444464034512895";
        assert_eq!(
            largest.parse::<SequenceNumber>().map(|number| number.to_string()),
            Ok(largest.to_owned())
        );
        check_refused(
            "6277101735386680763835789423207666416102355444464034512896",
            "sequence number of 58 digits exceeds 192 bits",
        );
        check_refused(&"9".repeat(5000), "sequence number of 5000 digits exceeds 192 bits");
    }

    #[test]
    fn positions_compare_in_stream_order() {
        let position = |sequence_number: &str, sub_sequence_number| ExtendedSequenceNumber {
            sequence_number: sequence_number.parse().expect("digits"),
            sub_sequence_number: Some(sub_sequence_number),
        };
        assert!(position("9", 7) < position("10", 0));
        assert!(position("10", 9) < position("10", 10));
        assert_eq!(position("10", 2).to_string(), "10:2");
        let unknown = ExtendedSequenceNumber { sub_sequence_number: None, ..position("10", 2) };
        assert_eq!(unknown.to_string(), "10");
    }

    #[test]
    fn padding_is_printed_and_makes_no_difference() {
        let parse = |text: &str| text.parse::<SequenceNumber>().expect("digits");
        let padded = format!("{:056}", 7);
        for text in ["0", "00", "007", &padded, &"0".repeat(129)] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert_eq!(parse(&padded), parse("7"));
        assert!(parse("0009") < parse("10") && parse("09") < parse("010"));
        let numbers: HashSet<_> = ["7", "07", "8"].map(parse).into();
        assert_eq!(numbers.len(), 2);
        assert_eq!(parse("007").without_padding().to_string(), "7");
        assert_eq!(parse("000").without_padding().to_string(), "0");
    }

    proptest! {
        #[test]
        fn text_round_trips_and_orders_as_integers(
            a in "0|[1-9][0-9]{0,56}", b in "0|[1-9][0-9]{0,56}", zeros in 0..=128usize,
        ) {
            let parse = |text: &str| text.parse::<SequenceNumber>().expect("digits");
            let padded = "0".repeat(zeros) + &a;
            prop_assert_eq!(parse(&padded).to_string(), padded.clone());
            prop_assert_eq!(parse(&padded).cmp(&parse(&b)), (a.len(), &a).cmp(&(b.len(), &b)));
            prop_assert_eq!(parse(&padded).without_padding().to_string(), a);
        }
    }
}
