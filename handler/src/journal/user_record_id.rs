use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::record::BatchRecord;

/// The name of a user record inside its Kinesis record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UserRecordId {
    /// Its sub-sequence number: 0 for a plain record, and for a Kinesis record that is taken as a whole.
    Sub(u64),
    /// Its content, on an enhanced fan-out consumer. Lambda hands out the members of an aggregate as records of their
    /// own there, and what their ordinals in a batch are depends on where the batch begins.
    Content(ContentHash),
}

/// SHA-256 of partition key and data, cut to 128 bits.
///
/// Members of one aggregate that are alike in both are taken as one: what becomes of one becomes of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 16]);

impl UserRecordId {
    /// Identifies a user record of a batch.
    pub(crate) fn of(record: &BatchRecord<'_>) -> Self {
        match record.sub_sequence_number {
            Some(number) => UserRecordId::Sub(number),
            None => UserRecordId::Content(ContentHash::new(record.partition_key, record.data)),
        }
    }
}

impl ContentHash {
    /// The hash of a user record.
    pub fn new(partition_key: &[u8], data: &[u8]) -> Self {
        // With the key's length, so that no byte can change sides.
        let length = (partition_key.len() as u64).to_le_bytes();
        let hash =
            Sha256::new().chain_update(length).chain_update(partition_key).chain_update(data).finalize();
        let mut cut = [0; 16];
        cut.copy_from_slice(&hash[..16]);
        ContentHash(cut)
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A sub-sequence number in decimal, a hash in hexadecimal digits: their lengths tell them apart.
impl fmt::Display for UserRecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserRecordId::Sub(number) => number.fmt(f),
            UserRecordId::Content(hash) => hash.fmt(f),
        }
    }
}

/// The text is neither a sub-sequence number nor a content hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("neither a sub-sequence number nor 32 hexadecimal digits")]
pub struct UserRecordIdError;

impl FromStr for ContentHash {
    type Err = UserRecordIdError;

    fn from_str(text: &str) -> Result<Self, UserRecordIdError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(UserRecordIdError);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| UserRecordIdError)?;
        Ok(ContentHash(number.to_be_bytes()))
    }
}

impl FromStr for UserRecordId {
    type Err = UserRecordIdError;

    fn from_str(text: &str) -> Result<Self, UserRecordIdError> {
        if text.len() == 32 {
            return Ok(UserRecordId::Content(text.parse()?));
        }
        let number = text.parse::<u64>().map_err(|_| UserRecordIdError)?;
        // One text for each number.
        if number.to_string() == text { Ok(UserRecordId::Sub(number)) } else { Err(UserRecordIdError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back() {
        let hash = UserRecordId::Content(ContentHash::new(b"key", b"data"));
        for id in [UserRecordId::Sub(0), UserRecordId::Sub(u64::MAX), hash] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "-1", "01", "+1", "x", "18446744073709551616", &"g".repeat(32), &"A".repeat(32)] {
            assert_eq!(text.parse::<UserRecordId>(), Err(UserRecordIdError), "{text}");
        }
    }

    #[test]
    fn key_and_data_do_not_run_into_each_other() {
        assert_ne!(ContentHash::new(b"ab", b"c"), ContentHash::new(b"a", b"bc"));
        // In tables for good: SHA-256 of 01 00 00 00 00 00 00 00, "k", "d".
        assert_eq!(ContentHash::new(b"k", b"d").to_string(), EXPECTED);
    }

    const EXPECTED: &str = "3ba264ad38c342ed8566c017bbd35998";
}
