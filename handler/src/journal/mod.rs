//! The retry journal and the quarantine: what became of the user records of a batch that stopped, kept outside of the
//! event source mapping.
//!
//! The mapping knows Kinesis records only. The journal knows the user records in them: which are done, so that a batch
//! that comes again resumes inside an aggregate; how often one has failed, so that it can be given up; and those that
//! were given up, whole, in the quarantine. [`Handler`](crate::Handler) reads it once for each invocation, and writes it
//! when a batch stops or passes what has stopped before, through a [`JournalStore`].

mod shard;
mod user_record_id;
mod done_set;
mod progress;
mod state;
mod quarantined;
mod error;
mod memory;
#[cfg(feature = "dynamodb")]
mod dynamodb;

use std::{fmt, pin::Pin};

pub use done_set::DoneSet;
#[cfg(feature = "dynamodb")]
pub use dynamodb::{DynamoDbJournal, QuarantineReader};
pub use error::JournalError;
pub use memory::MemoryJournal;
pub use progress::Progress;
pub(crate) use progress::shorten;
pub use quarantined::{QuarantineReason, QuarantinedContent, QuarantinedRecord};
pub use shard::JournalShard;
pub use state::{RecordState, StateKind};
pub use user_record_id::{ContentHash, UserRecordId, UserRecordIdError};

use crate::SequenceNumber;
#[cfg(feature = "dynamodb")]
pub use crate::dynamodb::StoreFault;

/// Which states of a shard to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateRange {
    /// Of this kind.
    pub kind: StateKind,
    /// From this Kinesis record on; `None` from the first one that has a state.
    pub from: Option<SequenceNumber>,
    /// Up to this one, included.
    pub through: SequenceNumber,
}

/// One write.
#[derive(Debug, Clone, Copy)]
pub struct JournalWrite<'a> {
    /// Whose.
    pub shard: JournalShard<'a>,
    /// What takes the place of the version before.
    pub state: &'a RecordState,
    /// The version before; `None` if there must be no state.
    pub expected_version: Option<u64>,
    /// The user record that goes into the quarantine with this write.
    pub quarantined: Option<&'a QuarantinedRecord>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is stored.
    Written,
    /// The state has another version by now. Nothing is stored.
    Conflict,
}

/// What a store's call returns.
pub type JournalFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, JournalError>> + Send + 'a>>;

/// Where the journal is kept: a table for any number of applications and streams.
///
/// A call may be cancelled, and it may still take effect then. Two invocations may write at the same time, also one that
/// Lambda has given up.
pub trait JournalStore: fmt::Debug + Send + Sync {
    /// The states in a range, in the order of their sequence numbers, as the last write has left them. Those that are
    /// [expired](RecordState::is_expired) may be among them.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`].
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, Vec<RecordState>>;

    /// Writes a state, if the version before is the expected one, and with it a user record into the quarantine: both or
    /// neither. Whatever the quarantine has at the user record's position is replaced.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`]; then both are written, or neither.
    fn write<'a>(&'a self, write: JournalWrite<'a>) -> JournalFuture<'a, WriteOutcome>;

    /// Deletes the state of a Kinesis record, whatever its version. That there is none is no error.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`]; then it may be deleted or not.
    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()>;
}
