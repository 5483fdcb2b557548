//! Effects that happen once, although records are delivered at least once and producers repeat what they put.
//!
//! - [`Idempotent`] around a processor: a record whose key another one had is not processed again. The key comes from the payload, so
//!   repetitions of a producer are found. The effect and the note about it are two writes: a crash between them repeats the effect.
//! - [`Record::claim`](crate::Record::claim): an item for a DynamoDB transaction of the processor's own, so that the effect and the
//!   note about it are one write.
//!
//! Both keep items in a table with the HASH key `id` (text) and the time to live `expiresAt`, which may be the same one.

mod claim;
mod dynamodb;
mod idempotent;
mod json_pointer;
mod memory;

use std::{fmt, pin::Pin};

use thiserror::Error;

use crate::BoxError;

pub use claim::is_claimed;
pub use dynamodb::DynamoDbIdempotency;
pub use idempotent::Idempotent;
pub use json_pointer::json_pointer;
pub use memory::MemoryIdempotency;

/// Why a store could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdempotencyError {
    /// The store has failed, or has not answered.
    #[error("idempotency store failed")]
    Store {
        /// Error of the store.
        source: BoxError,
    },
    /// An item of the table is not as the kit writes it.
    #[error("idempotency item: expected attribute {attribute:?}, found {found}")]
    Item {
        /// Name of the attribute.
        attribute: &'static str,
        /// Text of the attribute, shortened.
        found: String,
    },
}

/// The future of a store's call.
pub type IdempotencyFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, IdempotencyError>> + Send + 'a>>;

/// A SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// 64 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The entry of a key in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyEntry {
    /// Application and hash of the key.
    pub id: String,
    /// Hash of the payload.
    pub payload: Digest,
    /// Name of the call that has written it.
    pub owner: String,
    /// The time up to which the record is being processed, in milliseconds since 1970. `None` if it is processed.
    pub in_progress_until_ms: Option<u64>,
    /// The time at which the entry is as good as deleted, in milliseconds since 1970.
    pub expires_ms: u64,
}

impl IdempotencyEntry {
    /// Returns whether another call may take the entry's place: its time is over, or that of its processing.
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.expires_ms <= now_ms || self.in_progress_until_ms.is_some_and(|until_ms| until_ms <= now_ms)
    }
}

/// A store of the keys whose records are processed.
///
/// Calls of several environments may come at the same time, so each decides and writes in one step.
pub trait IdempotencyStore: fmt::Debug + Send + Sync {
    /// Writes the entry of a call that begins, unless there is one that is not [over](IdempotencyEntry::is_over). Returns that one. An
    /// entry with the same owner is this one, whose answer was lost.
    fn begin<'a>(
        &'a self,
        entry: &'a IdempotencyEntry,
        now_ms: u64,
    ) -> IdempotencyFuture<'a, Option<IdempotencyEntry>>;

    /// Replaces the entry of the same owner by this one, of a record that is processed. Does nothing if there is none.
    fn complete<'a>(&'a self, entry: &'a IdempotencyEntry) -> IdempotencyFuture<'a, ()>;

    /// Deletes the entry, if it has this owner, because the processing has failed.
    fn release<'a>(&'a self, id: &'a str, owner: &'a str) -> IdempotencyFuture<'a, ()>;
}
