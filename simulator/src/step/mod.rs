//! The steps of a mapping, and the metrics that count them.

mod metrics;

use std::sync::Arc;

use kinesis_esm::{Condition, FailureRecord, SharedRecord};
use kinesis_handler::SequenceNumber;
use lambda_host::{Fate, FunctionError};
use serde::Serialize;

pub use metrics::Metrics;

/// Something that a mapping has done. All steps together are the trace of a simulation.
#[derive(Debug, Clone)]
pub struct Step {
    /// When, in milliseconds since 1970. For an invocation: when it ended.
    pub at_ms: u64,
    /// In which shard.
    pub shard_id: Arc<str>,
    /// In which of the shard's lanes, counted from zero (rule 8).
    pub lane: u32,
    /// Kind of the step.
    pub kind: StepKind,
}

impl Step {
    /// When it began, in milliseconds since 1970. Only invocations take time.
    pub fn began_ms(&self) -> u64 {
        match &self.kind {
            StepKind::Invoked(invoked) => invoked.began_ms,
            _ => self.at_ms,
        }
    }
}

/// A step of a mapping.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StepKind {
    /// It has read so many records.
    Read(usize),
    /// It has invoked the function, or tried to.
    Invoked(Invoked),
    /// It has found a record that no event can hold: it spends its attempts without an invocation (rule 5).
    TooLarge(TooLarge),
    /// It has taken records as done.
    Acknowledged(Vec<SharedRecord>),
    /// It has given records up.
    Discarded(Discarded),
    /// It has passed over records, and nobody is told.
    Dropped(Vec<SharedRecord>, DropReason),
}

/// An invocation and how it ended.
#[derive(Debug, Clone)]
pub struct Invoked {
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// Request ID, the same as before if the batch is unchanged (rule 10, `no-attempt-number`).
    pub request_id: String,
    /// Records of the batch.
    pub records: Vec<SharedRecord>,
    /// Outcome of the invocation.
    pub outcome: Outcome,
    /// The records that a partial failure has named, in stream order.
    pub reported: Vec<SequenceNumber>,
    /// The function error, if it ended in one.
    pub error: Option<FunctionError>,
    /// Fault that was injected into it.
    pub fate: Fate,
    /// Whether its answer was not looked at, because it repeats another one or because the poller was restarted.
    pub is_ignored: bool,
}

/// The outcome of an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// All is done.
    Success,
    /// A valid list of failures, even if it names the first record.
    Partial,
    /// A complete failure by rule 14, or a function error.
    Failure,
    /// The function was not reached (rule 11).
    Throttled,
}

/// A record that no event can hold.
#[derive(Debug, Clone)]
pub struct TooLarge {
    /// Record that was dropped.
    pub record: SharedRecord,
    /// Length of an event with only this record, in bytes of JSON.
    pub event_bytes: usize,
}

/// Records that were given up.
#[derive(Debug, Clone)]
pub struct Discarded {
    /// Records that were discarded.
    pub records: Vec<SharedRecord>,
    /// Reason for the discard.
    pub condition: Condition,
    /// Number of invocations in the failure record.
    pub approximate_invoke_count: u32,
    /// Delivery of the failure record.
    pub delivery: Delivery,
}

/// The delivery of a failure record.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// The mapping has no on-failure destination.
    NoDestination,
    /// The destination could not be written (rule 26).
    Failed,
    /// The destination has it.
    Delivered {
        /// The failure record.
        record: Box<FailureRecord>,
        /// Rule 24: the name of the object in the bucket. `None` for other destinations.
        object_key: Option<String>,
    },
}

/// Why records were passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DropReason {
    /// Rule 3: the stream did not keep them long enough.
    Trimmed,
    /// Rule 6: no filter admits them.
    Filtered,
    /// Rule 9: members of an aggregate that do not belong to the shard, on an enhanced fan-out consumer.
    OutOfRange,
}

/// Sees each step as it is taken.
pub trait Observer {
    /// Called with the steps in the order in which they are taken.
    fn observe(&mut self, step: Step);
}

impl<F: FnMut(Step)> Observer for F {
    fn observe(&mut self, step: Step) {
        self(step);
    }
}
