use std::fmt;

use crate::ExtendedSequenceNumber;

/// The name of a user record that no other one has, the same at each delivery: stream, shard, sequence number and sub-sequence
/// number.
///
/// Its text is `STREAM-ARN#SHARD#SEQUENCE-NUMBER#SUB`. A producer that puts the same payload twice makes two user records, with two
/// keys: only a key from the payload can tell that they are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyKey<'a> {
    stream_arn: &'a str,
    shard_id: &'a str,
    position: ExtendedSequenceNumber,
}

impl<'a> IdempotencyKey<'a> {
    /// Returns `None` where the position names no single user record.
    pub(crate) fn new(
        stream_arn: Option<&'a str>,
        shard_id: Option<&'a str>,
        position: ExtendedSequenceNumber,
    ) -> Option<Self> {
        position.sub_sequence_number?;
        Some(IdempotencyKey { stream_arn: stream_arn?, shard_id: shard_id?, position })
    }
}

impl fmt::Display for IdempotencyKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IdempotencyKey { stream_arn, shard_id, position } = self;
        let sub_sequence_number = position.sub_sequence_number.unwrap_or_default();
        write!(f, "{stream_arn}#{shard_id}#{}#{sub_sequence_number}", position.sequence_number)
    }
}
