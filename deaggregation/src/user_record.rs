use std::{borrow::Cow, fmt};

use crate::{HashKeyRange, hash_key};

/// A user record that a producer handed to the KPL, or a plain Kinesis record as it is.
///
/// Borrows from the Kinesis record. Its `Debug` shows the data's length, not the data, so that it can be logged.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserRecord<'a> {
    /// The payload; may be empty.
    pub data: &'a [u8],
    /// The producer's partition key as it came: UTF-8 from every known producer, but a frame does not guarantee it.
    pub partition_key: &'a [u8],
    /// The producer's explicit hash key: decimal text if it is legal, but a frame does not guarantee it.
    ///
    /// `None` if the producer gave none, and for a plain record (Kinesis does not hand it out).
    pub explicit_hash_key: Option<&'a [u8]>,
    /// Position in the frame, counted from zero over all of its user records; zero for a plain record.
    pub sub_sequence_number: u64,
}

impl<'a> UserRecord<'a> {
    /// A user record without an explicit hash key, the first of its Kinesis record.
    pub fn new(partition_key: &'a [u8], data: &'a [u8]) -> Self {
        UserRecord { data, partition_key, explicit_hash_key: None, sub_sequence_number: 0 }
    }

    /// The partition key as text, with U+FFFD for what is not UTF-8.
    pub fn partition_key_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.partition_key)
    }

    /// The explicit hash key as text, with U+FFFD for what is not UTF-8.
    pub fn explicit_hash_key_text(&self) -> Option<Cow<'a, str>> {
        self.explicit_hash_key.map(String::from_utf8_lossy)
    }

    /// Returns the position of the user record in the hash key space: its explicit hash key, else the MD5 digest of its partition
    /// key as a big-endian number.
    ///
    /// `None` if the explicit hash key is not a decimal number below 2^128.
    pub fn effective_hash_key(&self) -> Option<u128> {
        match self.explicit_hash_key {
            Some(text) => hash_key::parse(text),
            None => Some(hash_key::of_partition_key(self.partition_key)),
        }
    }

    /// Whether the user record belongs to a shard with this range. One whose explicit hash key is not a hash key cannot
    /// be placed and belongs to every shard: a filter must not lose it.
    pub fn belongs_to(&self, range: &HashKeyRange) -> bool {
        self.effective_hash_key().is_none_or(|hash_key| range.contains(hash_key))
    }
}

impl fmt::Debug for UserRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRecord")
            .field("data", &format_args!("{} bytes", self.data.len()))
            .field("partition_key", &format_args!("{} bytes", self.partition_key.len()))
            .field("explicit_hash_key", &self.explicit_hash_key.map(|key| format!("{} bytes", key.len())))
            .field("sub_sequence_number", &self.sub_sequence_number)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_data_nor_keys() {
        let user_record = UserRecord {
            data: b"secret",
            partition_key: b"key\xff",
            explicit_hash_key: Some(b"7"),
            sub_sequence_number: 3,
        };
        assert_eq!(
            format!("{user_record:?}"),
            "UserRecord { data: 6 bytes, partition_key: 4 bytes, explicit_hash_key: Some(\"1 bytes\"), \
             sub_sequence_number: 3 }"
        );
    }
}
