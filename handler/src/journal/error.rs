use std::error::Error;

use thiserror::Error;

/// Why the journal could not be read or written. After a write, nobody knows whether it took effect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The store failed, or did not answer.
    #[error("the journal's store failed")]
    Store {
        /// Error of the store.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The invocation has no time left to wait for the store.
    #[error("the journal's store did not answer in the time that is left")]
    OutOfTime,
    /// Others wrote the same state, again and again.
    #[error("the entry of {sequence_number}: gave up after {times} version conflicts")]
    Contended {
        /// Sequence number of the Kinesis record.
        sequence_number: crate::SequenceNumber,
        /// Number of attempts of this invocation.
        times: u32,
    },
    /// The event does not say which shard of which stream it comes from. Lambda's events always do.
    #[error("the event does not name its stream and shard")]
    NoShard,
    /// A name cannot be part of a key, so nothing can be stored under it.
    #[error("the {what} {found:?} is empty, or holds \"#\" or a control character")]
    ShardName {
        /// Name that is wrong.
        what: &'static str,
        /// Its value, shortened.
        found: String,
    },
}
