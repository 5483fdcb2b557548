//! The checkpoint mirror: how far each shard is processed, kept outside of the event source mapping.
//!
//! The mapping's own position is the truth, and nobody can read it. Its mirror is a KCL lease table, one row for each
//! shard, so that a KCL application can go on from it, a new mapping can start from it, and a replay has a bound.
//! [`Handler`](crate::Handler) writes it once for each invocation, after the records, through a [`CheckpointStore`].

pub(crate) mod mirror;
mod position;
mod outcome;
pub(crate) mod cutover;
mod row;
mod memory;
#[cfg(feature = "dynamodb")]
mod dynamodb;

use std::{fmt, pin::Pin};

pub use cutover::FrozenPosition;
#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoDbCheckpoints;
pub use memory::MemoryCheckpoints;
pub use outcome::{CheckpointError, CheckpointOutcome, Refusal};
pub use position::CheckpointPosition;
pub use row::{LeaseRows, Row, RowCheckpoint, UnreadableLease};

#[cfg(feature = "dynamodb")]
pub use crate::aws::StoreFault;

/// A checkpoint of a shard: everything up to a position is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint<'a> {
    /// Application that processes the stream. Two applications must not share a table.
    pub application: &'a str,
    /// ARN of the stream, also on an enhanced fan-out consumer.
    pub stream_arn: &'a str,
    /// The shard, such as `shardId-000000000000`.
    pub shard_id: &'a str,
    /// The last user record of the contiguous processed prefix.
    pub position: CheckpointPosition,
    /// When the stream received the Kinesis record at the position, in milliseconds since 1970.
    pub arrival_ms: Option<u64>,
    /// The time of the write, in milliseconds since 1970.
    pub now_ms: u64,
}

/// The future of a store's write.
pub type CheckpointFuture<'a> =
    Pin<Box<dyn Future<Output = Result<CheckpointOutcome, CheckpointError>> + Send + 'a>>;

/// The future of a store's read.
pub type RowFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<Row>, CheckpointError>> + Send + 'a>>;

/// A store of checkpoints: one table for one application and stream, one row for each shard.
///
/// # Contract
///
/// - A write decides and writes in one step that nothing can come between, because two invocations may write at the same time,
///   also one that Lambda has already retried.
/// - [`Row::admits`] is the rule: a row never moves back, is left alone while a KCL worker owns it, and never changes hands between
///   streams or applications. A store in a database evaluates the same as a condition.
/// - A write may be cancelled, and it may still take effect then.
/// - Shards do not see each other.
///
/// [`MemoryCheckpoints`] keeps this contract without a server. `contract::check_checkpoints` (feature `contract`) tests a store
/// of your own:
///
/// ```
/// use std::{collections::BTreeMap, sync::{Mutex, PoisonError}};
///
/// use kinesis_handler::checkpoint::{Checkpoint, CheckpointFuture, CheckpointOutcome, CheckpointStore, Row};
///
/// #[derive(Debug, Default)]
/// struct MapCheckpoints {
///     rows: Mutex<BTreeMap<String, Row>>,
/// }
///
/// impl CheckpointStore for MapCheckpoints {
///     fn write<'a>(&'a self, checkpoint: Checkpoint<'a>) -> CheckpointFuture<'a> {
///         let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
///         let outcome = match rows.get_mut(checkpoint.shard_id) {
///             Some(row) => match row.admits(&checkpoint) {
///                 Ok(()) => {
///                     row.advance(&checkpoint);
///                     CheckpointOutcome::Written
///                 }
///                 Err(outcome) => outcome,
///             },
///             None => {
///                 rows.insert(checkpoint.shard_id.to_owned(), Row::first(&checkpoint));
///                 CheckpointOutcome::Written
///             }
///         };
///         Box::pin(async move { Ok(outcome) })
///     }
/// }
/// ```
pub trait CheckpointStore: fmt::Debug + Send + Sync {
    /// Writes a checkpoint, if the row may be written and is not there yet.
    ///
    /// # Errors
    ///
    /// Any [`CheckpointError`]; then the row may be written or not.
    fn write<'a>(&'a self, checkpoint: Checkpoint<'a>) -> CheckpointFuture<'a>;

    /// Reads the row of a shard as the last write has left it. `None` if there is no row, and by default, because only a
    /// [hook](crate::Hooks::on_shard_start) and a [cut-over](crate::MirrorOptions::cutover) read it.
    ///
    /// # Errors
    ///
    /// Any [`CheckpointError`].
    fn read<'a>(&'a self, shard_id: &'a str) -> RowFuture<'a> {
        let _ = shard_id;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Called when a batch arrives, before its first record. A store that must connect may begin to do so, in a task of
    /// its own: this must not wait.
    fn warm_up(&self) {}
}
