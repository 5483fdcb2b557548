use std::fmt;

use crate::SequenceNumber;

/// A user record up to which a shard is processed. Compares in stream order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckpointPosition {
    /// Sequence number of the Kinesis record.
    pub sequence_number: SequenceNumber,
    /// Number of the last user record that is processed in it, counted from zero: N − 1 for a finished aggregate of N user records,
    /// 0 for a plain record and for an aggregate that holds nothing.
    ///
    /// On an enhanced fan-out consumer a lower bound: one less than the members of the aggregate that are done, as far
    /// as one invocation can tell. Going on from there repeats user records and loses none.
    pub sub_sequence_number: u64,
}

/// The text of a position is `SEQUENCE-NUMBER:SUB`.
impl fmt::Display for CheckpointPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence_number, self.sub_sequence_number)
    }
}
