use std::time::Duration;

use super::Progress;
use crate::SequenceNumber;

/// Longest time for which a state may be needed: Kinesis keeps records for at most 365 days.
const KEPT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The purpose for which a state is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKind {
    /// The mapping will deliver the Kinesis record again.
    Retry,
    /// The mapping has discarded the Kinesis record; `kinesis-kit redrive --discarded` redelivers it.
    Discarded,
}

/// The stored state of one Kinesis record that is processed in part, or has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordState {
    /// Purpose for which it is kept.
    pub kind: StateKind,
    /// Sequence number of the Kinesis record.
    pub sequence_number: SequenceNumber,
    /// Progress of the Kinesis record.
    pub progress: Progress,
    /// Number of writes of the state. A write names the version that it continues.
    pub version: u64,
    /// Name of the write that made this version; no two writes have the same. It tells a write whose answer was lost from another.
    pub written_by: String,
    /// When it was written, in milliseconds since 1970.
    pub updated_ms: u64,
    /// When it is void, in milliseconds since 1970. Stores delete it some time after that.
    pub expires_ms: u64,
}

impl RecordState {
    /// The first version of a state.
    pub fn first(
        kind: StateKind,
        sequence_number: SequenceNumber,
        progress: Progress,
        written_by: impl Into<String>,
        now_ms: u64,
    ) -> Self {
        RecordState {
            kind,
            sequence_number,
            progress,
            version: 1,
            written_by: written_by.into(),
            updated_ms: now_ms,
            expires_ms: now_ms + KEPT.as_millis() as u64,
        }
    }

    /// Whether it counts no more.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms <= now_ms
    }
}
