//! The hash-range filter: user records of aggregates that belong to another shard are not processed.
//!
//! After a reshard, the KPL puts a user record again if its aggregate has landed in a shard that does not own the record's hash
//! key. The first copy is then a duplicate in the wrong shard, and the filter passes over it. Other producers do not put such
//! records again, so the filter loses their data: use it for streams of the KPL only.
//!
//! [`OptionsBuilder::hash_range_filter`](crate::OptionsBuilder::hash_range_filter) turns it on. A [`ShardRangeSource`] returns the
//! ranges of a stream's shards; `KinesisShardRanges` (feature `hash-range-filter`) asks Kinesis.

pub(crate) mod filter;
#[cfg(feature = "hash-range-filter")]
mod kinesis;
mod memory;

use std::{fmt, pin::Pin};

use kpl_deaggregation::HashKeyRange;
use thiserror::Error;

use crate::BoxError;

#[cfg(feature = "hash-range-filter")]
pub use kinesis::KinesisShardRanges;
pub use memory::MemoryShardRanges;

/// The part of the hash key space that a shard owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRange {
    /// The shard, such as `shardId-000000000000`.
    pub shard_id: String,
    /// Hash keys of the shard.
    pub range: HashKeyRange,
}

/// The ranges of a stream's shards.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamRanges {
    /// All shards that the stream has, closed ones included.
    Shards(Vec<ShardRange>),
    /// The stream is service-managed: it distributes records without regard to their keys, so a range says nothing about them.
    ServiceManaged,
}

/// Why ranges are not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShardRangeError {
    /// The source has failed.
    #[error("shards could not be listed")]
    Source {
        /// Error of the source.
        source: BoxError,
    },
    /// A shard's range is not one.
    #[error("shard {shard_id}: {fault}")]
    Shard {
        /// The shard whose range it is.
        shard_id: String,
        /// Description of the fault.
        fault: String,
    },
    /// The time for it is over.
    #[error("shards were not listed in the time that an invocation has for it")]
    OutOfTime,
}

/// The future of a source's call.
pub type ShardRangeFuture<'a> =
    Pin<Box<dyn Future<Output = Result<StreamRanges, ShardRangeError>> + Send + 'a>>;

/// A source of the ranges of a stream's shards.
///
/// The handler keeps what it returns, and asks again for a shard that is not among them, and after five minutes.
pub trait ShardRangeSource: fmt::Debug + Send + Sync {
    /// Returns the ranges of all shards of the stream with this ARN, closed ones included.
    ///
    /// # Errors
    ///
    /// Any [`ShardRangeError`]. The batch is processed without the filter then.
    fn list<'a>(&'a self, stream_arn: &'a str) -> ShardRangeFuture<'a>;
}
