//! The hash key space that shards divide: 0 to 2^128 − 1.

use md5::{Digest, Md5};
use thiserror::Error;

/// Parses a hash key; `None` unless the text is ASCII digits and the number below 2^128.
pub(crate) fn parse(text: &[u8]) -> Option<u128> {
    // The standard parser also takes a leading plus sign.
    let digits =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

pub(crate) fn of_partition_key(partition_key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

/// The part of the hash key space that a shard owns, both bounds inclusive (`HashKeyRange` in the Kinesis API).
///
/// The KPL puts a user record again if it landed in the wrong shard after a reshard; the stray copy is then a
/// duplicate that [`UserRecord::belongs_to`](crate::UserRecord::belongs_to) filters out. Other producers do not do that:
/// for them the filter loses data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashKeyRange {
    start: u128,
    end: u128,
}

impl HashKeyRange {
    /// The whole hash key space.
    pub const FULL: Self = HashKeyRange { start: 0, end: u128::MAX };

    /// A range from its first to its last hash key.
    ///
    /// # Errors
    ///
    /// [`HashKeyRangeError::Reversed`] if `start` is above `end`.
    pub fn new(start: u128, end: u128) -> Result<Self, HashKeyRangeError> {
        if start > end {
            Err(HashKeyRangeError::Reversed { start, end })
        } else {
            Ok(HashKeyRange { start, end })
        }
    }

    /// A range from `StartingHashKey` and `EndingHashKey` as `ListShards` gives them.
    ///
    /// # Errors
    ///
    /// [`HashKeyRangeError::NotAHashKey`] if one of them is not a decimal number below 2^128,
    /// [`HashKeyRangeError::Reversed`] if the first is above the second.
    pub fn from_decimal(starting_hash_key: &str, ending_hash_key: &str) -> Result<Self, HashKeyRangeError> {
        let number = |text: &str| {
            parse(text.as_bytes()).ok_or_else(|| HashKeyRangeError::NotAHashKey { text: text.to_owned() })
        };
        Self::new(number(starting_hash_key)?, number(ending_hash_key)?)
    }

    /// The first hash key.
    pub fn start(&self) -> u128 {
        self.start
    }

    /// The last hash key.
    pub fn end(&self) -> u128 {
        self.end
    }

    /// Whether the hash key lies in the range.
    pub fn contains(&self, hash_key: u128) -> bool {
        (self.start..=self.end).contains(&hash_key)
    }
}

/// Why two numbers are not a [`HashKeyRange`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HashKeyRangeError {
    /// A bound is not a hash key.
    #[error("hash key {text:?} is not a decimal number below 2^128")]
    NotAHashKey {
        /// The bound as it was given.
        text: String,
    },
    /// The range ends before it starts.
    #[error("hash key range starts at {start}, above its end {end}")]
    Reversed {
        /// First hash key.
        start: u128,
        /// Last hash key.
        end: u128,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_keys_are_plain_decimal_numbers_below_2_to_the_128() {
        let max = u128::MAX.to_string();
        for (text, expected) in [
            ("0", Some(0)),
            ("007", Some(7)),
            (max.as_str(), Some(u128::MAX)),
            ("340282366920938463463374607431768211456", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("5 ", None),
            ("٣", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(parse(b"\xff"), None);
    }

    #[test]
    fn bounds_are_inclusive() {
        let range = HashKeyRange::from_decimal("5", "7").unwrap_or(HashKeyRange::FULL);
        assert_eq!((range.start(), range.end()), (5, 7));
        assert_eq!([4, 5, 7, 8].map(|hash_key| range.contains(hash_key)), [false, true, true, false]);
    }

    #[test]
    fn wrong_bounds_are_named() {
        let text = |start, end| HashKeyRange::from_decimal(start, end).map_err(|error| error.to_string());
        assert_eq!(text("8", "7"), Err("hash key range starts at 8, above its end 7".into()));
        assert_eq!(text("0", "x"), Err("hash key \"x\" is not a decimal number below 2^128".into()));
    }
}
