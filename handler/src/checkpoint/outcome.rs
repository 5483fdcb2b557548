use std::error::Error;

use thiserror::Error;

use super::CheckpointPosition;

/// The outcome of writing a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointOutcome {
    /// The row now stands at the checkpoint.
    Written,
    /// The row stands there already, or further on: the batch came again, or another invocation was faster.
    AlreadyAhead {
        /// Position of the row; `None` at the end of the shard.
        at: Option<CheckpointPosition>,
    },
    /// A KCL worker owns the row, and is the one to write it. The mirror is suspended until the owner is gone.
    OwnedByKcl {
        /// The worker, as it calls itself.
        owner: String,
    },
    /// The row is somebody else's: shard IDs are the same in every stream.
    Refused(Refusal),
}

/// Why a row must not be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The table mirrors another stream.
    #[error("the row belongs to another stream ({stream_arn})")]
    OtherStream {
        /// ARN of that stream.
        stream_arn: String,
    },
    /// The table mirrors another application.
    #[error("the row belongs to another application ({application})")]
    OtherApplication {
        /// Name of that application; empty if the row has none.
        application: String,
    },
}

/// Why it is not known whether a checkpoint was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The store failed, or did not answer.
    #[error("the checkpoint store failed")]
    Store {
        /// Error of the store.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The invocation has no time left to wait for the store.
    #[error("the checkpoint store did not answer in the time that is left")]
    OutOfTime,
    /// The row is not a lease as a KCL writes it.
    #[error("cannot read the lease: {attribute} is {found}")]
    UnreadableRow {
        /// The attribute that is wrong.
        attribute: &'static str,
        /// The attribute's value, shortened.
        found: String,
    },
    /// The event does not say which shard of which stream it comes from. Lambda's events always do.
    #[error("the event does not name its stream and shard")]
    NoShard,
}
