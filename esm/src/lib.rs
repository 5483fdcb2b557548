//! The rules of Lambda's event source mapping for Kinesis data streams, without I/O, clocks or randomness: times go in,
//! decisions come out.
//!
//! The README says which item has which rule. Rule numbers are those of `docs/internals/mapping-rules.md`.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod stream_arn;
mod record;
pub mod event;
mod mapping;
mod response;
pub mod backlog;
pub mod failure_record;
mod shard_order;
pub mod window;

pub use event::MAX_EVENT_BYTES;
pub use failure_record::{
    Condition, FailureRecord, FailureRecordError, KinesisBatchInfo, RequestContext, ResponseContext,
};
pub use mapping::{
    Destination, DestinationError, DestinationKind, FailingLane, FilterCriteria, FilterError, Mapping,
    MappingError, OutOfRangeUserRecord, StartingPosition, StateWithFailures, Undocumented, UnknownResponse,
};
pub use record::{Origin, SharedRecord, StreamRecord};
pub use response::{Verdict, judge};
pub use shard_order::{Ready, ShardInfo, ShardOrder, Start};
pub use stream_arn::{StreamArn, StreamArnError};
