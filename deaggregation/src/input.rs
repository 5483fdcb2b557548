//! What goes into the aggregator and what comes out of it.

/// A user record to be aggregated. Borrowed: what is refused is still the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisRecordInput {
    /// `PartitionKey`
    pub partition_key: String,
    /// `ExplicitHashKey`
    pub explicit_hash_key: Option<String>,
    /// `Data`: a frame, or the data of the only user record.
    pub data: Vec<u8>,
    /// How many user records it holds, at least one.
    pub user_records: usize,
}
