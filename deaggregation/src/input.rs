//! Input and output of the aggregator.

use std::fmt;

/// A user record to be aggregated. Borrowed: what is refused is still the caller's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserRecordInput<'a> {
    /// 1 to 256 Unicode code points.
    pub partition_key: &'a str,
    /// A decimal number below 2^128, instead of the partition key's MD5.
    pub explicit_hash_key: Option<&'a str>,
    /// The payload; may be empty.
    pub data: &'a [u8],
}

impl<'a> UserRecordInput<'a> {
    /// A user record without an explicit hash key.
    pub fn new(partition_key: &'a str, data: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        UserRecordInput { partition_key, explicit_hash_key: None, data: data.as_ref() }
    }
}

/// A Kinesis record to be put into a stream, in the terms of `PutRecord`.
#[derive(Clone, PartialEq, Eq)]
pub struct PutEntry {
    /// Partition key of the Kinesis record: `PartitionKey`.
    pub partition_key: String,
    /// Explicit hash key of the Kinesis record: `ExplicitHashKey`.
    pub explicit_hash_key: Option<String>,
    /// `Data`: a frame, or the data of the only user record.
    pub data: Vec<u8>,
    /// Number of user records in it, at least one.
    pub user_records: usize,
}

/// Shows lengths, neither data nor keys.
impl fmt::Debug for UserRecordInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRecordInput")
            .field("partition_key", &format_args!("{} bytes", self.partition_key.len()))
            .field("explicit_hash_key", &self.explicit_hash_key.map(|key| format!("{} bytes", key.len())))
            .field("data", &format_args!("{} bytes", self.data.len()))
            .finish()
    }
}

/// Shows lengths, neither data nor keys.
impl fmt::Debug for PutEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutEntry")
            .field("partition_key", &format_args!("{} bytes", self.partition_key.len()))
            .field(
                "explicit_hash_key",
                &self.explicit_hash_key.as_ref().map(|key| format!("{} bytes", key.len())),
            )
            .field("data", &format_args!("{} bytes", self.data.len()))
            .field("user_records", &self.user_records)
            .finish()
    }
}
