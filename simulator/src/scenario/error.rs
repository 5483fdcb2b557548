use kinesis_handler::event::Base64Fault;
use kpl_deaggregation::{AggregateError, HashKeyRangeError};
use thiserror::Error;

/// What is wrong with a scenario.
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
    #[error("{member} is {value}, not {expected}")]
    Value {
        /// Where it stands.
        member: String,
        /// What it was.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// Two shards have one ID.
    #[error("shard {shard_id:?} stands there twice")]
    SameShard {
        /// The ID.
        shard_id: String,
    },
    /// A parent is no shard of the scenario.
    #[error("shard {shard_id:?}: no shard {parent:?}, which is to be its parent")]
    UnknownParent {
        /// The child.
        shard_id: String,
        /// The parent.
        parent: String,
    },
    /// A shard comes out of a split or a merge.
    #[error("shard {shard_id:?} has {parents} parents, not one (of a split) or two (of a merge)")]
    TooManyParents {
        /// The child.
        shard_id: String,
        /// How many.
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
        /// The shard.
        shard_id: String,
        /// What is wrong with it.
        source: HashKeyRangeError,
    },
    /// A record has no ID.
    #[error("a record has no \"id\"")]
    NoId,
    /// Two records have one ID.
    #[error("record {id:?} (number {index} from zero) has the ID of one before it")]
    SameId {
        /// The ID.
        id: String,
        /// Position in the list.
        index: usize,
    },
    /// The script names a record that there is not.
    #[error("function.fails names record {id:?}, which there is not")]
    UnknownRecord {
        /// The ID.
        id: String,
    },
    /// A record is in a shard that there is not.
    #[error("record {id:?}: no shard {shard_id:?}")]
    UnknownShard {
        /// The record's ID.
        id: String,
        /// The shard's.
        shard_id: String,
    },
    /// A record does not tell which shard it is in, and there is not just one.
    #[error("record {id:?} has no \"shardId\", and the stream has {shards} shards")]
    NoShard {
        /// The record's ID.
        id: String,
        /// How many shards there are.
        shards: usize,
    },
    /// What a record holds is not told, or told twice.
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
        /// Both IDs.
        id: String,
    },
    /// `data` is not base64.
    #[error("record {id:?}: data is not base64")]
    Base64 {
        /// The record's ID.
        id: String,
        /// What is wrong with it.
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
        /// Both IDs.
        id: String,
        /// Why.
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
