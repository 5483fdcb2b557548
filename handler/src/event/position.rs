use std::fmt;

use super::SequenceNumber;

/// The position of a Kinesis record or of one of its user records, as log lines and `kinesis-kit` write it:
/// `SHARD/SEQUENCE-NUMBER` or `SHARD/SEQUENCE-NUMBER:ID`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position<'a, I = u64> {
    pub(crate) shard_id: Option<&'a str>,
    pub(crate) sequence_number: SequenceNumber,
    /// The user record: its sub-sequence number, or the hash of its content on an enhanced fan-out consumer.
    pub(crate) id: Option<I>,
}

impl<I: fmt::Display> fmt::Display for Position<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shard_id) = self.shard_id {
            write!(f, "{shard_id}/")?;
        }
        self.sequence_number.fmt(f)?;
        match &self.id {
            Some(id) => write!(f, ":{id}"),
            None => Ok(()),
        }
    }
}
