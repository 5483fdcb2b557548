//! The retry journal and the quarantine: what became of the user records of a batch that stopped, kept outside of the
//! event source mapping.
//!
//! The mapping knows Kinesis records only. The journal knows the user records in them: which are done, so that a batch
//! that comes again resumes inside an aggregate; how often one has failed, so that it can be given up; and those that
//! were given up, whole, in the quarantine. [`Handler`](crate::Handler) reads it once for each invocation, and writes it
//! when a batch stops or passes what has stopped before, through a [`JournalStore`].

pub(crate) mod batch_journal;
pub(crate) mod passed_records;
pub(crate) mod retry_journal;
pub(crate) mod snapshot;
mod shard;
mod user_record_id;
mod done_set;
mod progress;
mod state;
mod quarantined;
mod error;
mod unreadable_item;
mod memory;
#[cfg(feature = "dynamodb")]
mod dynamodb;

use std::{fmt, pin::Pin};

pub use done_set::DoneSet;
#[cfg(feature = "dynamodb")]
pub(crate) use dynamodb::REPLAY_POSITION_KEY;
#[cfg(feature = "dynamodb")]
pub use dynamodb::{DynamoDbJournal, QuarantinePage, QuarantineReader, TableKeys};
pub use error::JournalError;
pub use memory::MemoryJournal;
pub use progress::Progress;
pub(crate) use progress::shorten;
#[cfg(feature = "dynamodb")]
pub(crate) use quarantined::MAX_ITEM_PAYLOAD_BYTES;
pub use quarantined::{QuarantineReason, QuarantinedContent, QuarantinedRecord};
pub use shard::JournalShard;
pub use state::{RecordState, StateKind};
pub use unreadable_item::{ItemKey, UnreadableItem};
pub use user_record_id::{ContentHash, UserRecordId, UserRecordIdError};

use crate::SequenceNumber;
#[cfg(feature = "dynamodb")]
pub use crate::aws::StoreFault;

/// A range of a shard's entries, and optionally some entries before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateRange {
    /// Kind of the entries.
    pub kind: StateKind,
    /// First Kinesis record of the range.
    pub from: SequenceNumber,
    /// Last Kinesis record of the range, included.
    pub through: SequenceNumber,
    /// Largest number of entries before the range that are read as well: the latest ones.
    pub earlier: usize,
}

/// The entries that a read has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalEntries {
    /// Entries in the order of their sequence numbers.
    pub states: Vec<RecordState>,
    /// Items among them that cannot be read. One of them must not hide the others.
    pub unreadable: Vec<UnreadableItem>,
}

/// The new version of an entry, with the user records that go to the quarantine with it.
#[derive(Debug, Clone, Copy)]
pub struct JournalWrite<'a> {
    /// Shard of the Kinesis record.
    pub shard: JournalShard<'a>,
    /// Entry that takes the place of the version before.
    pub state: &'a RecordState,
    /// Version before; `None` if there must be no entry.
    pub expected_version: Option<u64>,
    /// User records of this Kinesis record for the quarantine, which the entry has as done.
    pub quarantined: &'a [QuarantinedRecord],
}

/// Largest number of items, entries and records of the quarantine together, that a transaction of DynamoDB holds.
pub const MAX_WRITE_ITEMS: usize = 100;

/// Size of the records of the quarantine from which on a write should be made. A transaction of DynamoDB holds 4 MB, but it
/// also has to be sent in the time of one attempt of the client.
pub(crate) const MAX_WRITE_BYTES: usize = 512 * 1024;

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// All of it is stored, or the entry is deleted.
    Written,
    /// An entry has another version by now. Nothing is stored or deleted.
    Conflict,
}

/// The future of a store's call.
pub type JournalFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, JournalError>> + Send + 'a>>;

/// A store of the journal: a table for any number of applications and streams.
///
/// # Contract
///
/// - A read returns what the last write has left: it is strongly consistent.
/// - A write is conditional and atomic: all of it is stored if every entry has the expected version, and nothing otherwise. Two
///   invocations may write at the same time, also one that Lambda has already retried.
/// - A call may be cancelled, and it may still take effect then.
/// - Entries of different applications, streams, shards and kinds do not see each other.
/// - A write may be repeated if its answer was lost: the handler recognizes its own entry by
///   [`written_by`](RecordState::written_by).
///
/// [`MemoryJournal`] keeps this contract without a server. `contract::check_journal` (feature `contract`) tests a store of your
/// own, and `examples/custom_journal.rs` is one.
pub trait JournalStore: fmt::Debug + Send + Sync {
    /// Returns the largest number of items, entries and records of the quarantine together, that a write takes: at least
    /// 2, one of each.
    fn max_write_items(&self) -> usize {
        MAX_WRITE_ITEMS
    }

    /// Reads the entries of a range as the last write has left them, [expired](RecordState::is_expired) ones included.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`]. An item that cannot be read is not an error but a part of the answer.
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries>;

    /// Writes entries, each if the version before is the expected one, and with them user records into the quarantine: all
    /// or none. What the quarantine has at the position of a user record is replaced.
    ///
    /// The entries are of different Kinesis records, and there are at most [`max_write_items`](Self::max_write_items) of
    /// them and of user records together.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`]; then all are written, or none.
    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome>;

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

    /// Deletes an entry if it has this version; if there is none, that is no conflict.
    ///
    /// The handler needs it where concurrent batches of an enhanced fan-out consumer may hold user records of one aggregated
    /// record. The default deletes any version, so a store for such functions must override it.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`]; then it may be deleted or not.
    fn delete_version<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
        _version: u64,
    ) -> JournalFuture<'a, WriteOutcome> {
        Box::pin(async move {
            self.delete(shard, kind, sequence_number).await?;
            Ok(WriteOutcome::Written)
        })
    }
}
