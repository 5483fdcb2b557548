use kinesis_handler::event::Base64Fault;
use kpl_deaggregation::{AggregateError, HashKeyRangeError};
use thiserror::Error;

/// An error in a scenario.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// It is no JSON, has an unknown member, or a member of the wrong kind.
    #[error("the scenario cannot be read")]
    Json(#[source] serde_json::Error),
    /// It is a JSON array.
    #[error("the scenario is a JSON array, not an object")]
    NotAnObject,
    /// A number is out of its range.
    #[error("{member}: expected {expected}, found {value}")]
    Value {
        /// Member of the scenario.
        member: String,
        /// Value that was found.
        value: String,
        /// Description of the legal values.
        expected: &'static str,
    },
    /// Two shards have one ID.
    #[error("duplicate shard {shard_id:?}")]
    SameShard {
        /// ID that occurs twice.
        shard_id: String,
    },
    /// A parent is no shard of the scenario.
    #[error("shard {shard_id:?}: unknown parent {parent:?}")]
    UnknownParent {
        /// ID of the child.
        shard_id: String,
        /// ID of the parent.
        parent: String,
    },
    /// A shard comes out of a split or a merge.
    #[error("shard {shard_id:?} has {parents} parents, not one (of a split) or two (of a merge)")]
    TooManyParents {
        /// ID of the child.
        shard_id: String,
        /// Number of parents.
        parents: usize,
    },
    /// A shard is among its own ancestors.
    #[error("shard {shard_id:?} descends from itself")]
    CyclicParents {
        /// One of the circle, or below it.
        shard_id: String,
    },
    /// The hash keys of a shard are no range.
    #[error("shard {shard_id:?}: hashKeyRange")]
    HashKeyRange {
        /// ID of the shard.
        shard_id: String,
        /// Reason why it is illegal.
        source: HashKeyRangeError,
    },
    /// A record has no ID.
    #[error("a record has no \"id\"")]
    NoId,
    /// Two records have one ID.
    #[error("record {index} (zero-based): duplicate ID {id:?}")]
    SameId {
        /// ID of the record.
        id: String,
        /// Position in the list.
        index: usize,
    },
    /// The script names a record that there is not.
    #[error("function.fails: unknown record {id:?}")]
    UnknownRecord {
        /// ID of the record.
        id: String,
    },
    /// A record is in a shard that there is not.
    #[error("record {id:?}: unknown shard {shard_id:?}")]
    UnknownShard {
        /// The record's ID.
        id: String,
        /// ID of the shard.
        shard_id: String,
    },
    /// A record does not tell which shard it is in, and there is not just one.
    #[error("record {id:?} has no \"shardId\", and the stream has {shards} shards")]
    NoShard {
        /// The record's ID.
        id: String,
        /// Number of shards.
        shards: usize,
    },
    /// The data of a record is missing, or given twice.
    #[error(
        "record {id:?}: expected one of \"text\", \"data\", \"sizeBytes\" and (not empty) \"userRecords\""
    )]
    Payload {
        /// The record's ID.
        id: String,
    },
    /// A user record has another shard or time than its Kinesis record.
    #[error("record {id:?} has another \"shardId\" or \"atMs\" than the record that it is a part of")]
    UserRecordElsewhere {
        /// IDs of both records.
        id: String,
    },
    /// `data` is not base64.
    #[error("record {id:?}: data is not base64")]
    Base64 {
        /// The record's ID.
        id: String,
        /// Reason why it is illegal.
        source: Base64Fault,
    },
    /// A Kinesis record is larger than Kinesis takes.
    #[error("record {id:?} has {bytes} bytes or more, above the 10485760 that a stream takes")]
    TooLarge {
        /// The record's ID.
        id: String,
        /// Its size in bytes, or the first size that is too large.
        bytes: usize,
    },
    /// A user record cannot be aggregated.
    #[error("record {id:?}")]
    Aggregate {
        /// IDs of both records.
        id: String,
        /// Reason why it cannot be aggregated.
        source: AggregateError,
    },
    /// A fault ends before it begins.
    #[error("fault {index} (from zero): untilMs is not after atMs")]
    EmptyFault {
        /// Position in the list.
        index: usize,
    },
    /// A fault that needs an end has none.
    #[error("fault {index} (from zero): a clockJump or lateActivation needs untilMs")]
    EndlessFault {
        /// Position in the list.
        index: usize,
    },
}
