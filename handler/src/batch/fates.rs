use std::{
    collections::BTreeMap,
    fmt,
    ops::{Range, RangeInclusive},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kpl_deaggregation::Deaggregator;

use crate::{
    ExtendedSequenceNumber, SequenceNumber,
    batch::{
        ahead::{Place, place},
        payload_decoder::PayloadDecoder,
        stop::{Failure, Stop, StopReason},
        walk::{BatchPosition, Walk},
    },
    event::KinesisRecord,
    invocation::Invocation,
    journal::{QuarantineReason, shorten},
};

/// The outcome of a batch: the fate of each of its user records, and what was reported to Lambda.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchOutcome {
    /// ARN of the stream. `None` if the event does not contain it.
    pub stream_arn: Option<String>,
    /// The shard. `None` if the event does not contain it.
    pub shard_id: Option<String>,
    /// Request ID of the invocation.
    pub request_id: String,
    /// The batch item failure: the Kinesis record from which on Lambda delivers again. `None` if all are processed.
    pub reported: Option<SequenceNumber>,
    /// Text of the error with which the invocation has failed as a whole after its records were processed: a window could not be
    /// finished, or its state not be returned. Lambda delivers all of the batch again then, whatever the fates of the records are.
    pub error: Option<String>,
    /// The user records of the batch, in its order.
    pub records: Vec<RecordOutcome>,
}

/// The outcome of a user record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordOutcome {
    /// Position of the user record in its shard.
    pub position: ExtendedSequenceNumber,
    /// Fate of the user record.
    pub fate: RecordFate,
}

/// The fate of a user record in a batch.
///
/// Its text is that of a test: `processed`, `skipped`, `out of range`, `not reached`, `failed: ERROR`, `quarantined: ERROR` or `skipped
/// for its age: ERROR`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordFate {
    /// The processor has returned `Ok`.
    Processed,
    /// It was not processed again, because the journal, or the frozen position of a cut-over, has it as processed.
    Skipped,
    /// It failed, and was skipped for its age, as [`skip_failed_after`](crate::OptionsBuilder::skip_failed_after) wants it: its data is
    /// lost.
    SkippedForAge {
        /// Text of its last failure, shortened.
        error: String,
    },
    /// It belongs to another shard, and the [hash-range filter](crate::hash_range) has passed over it.
    OutOfRange,
    /// It failed, and is in the quarantine.
    Quarantined {
        /// Reason why it was quarantined.
        reason: QuarantineReason,
        /// Text of its last failure, shortened.
        error: String,
    },
    /// It failed, and Lambda delivers it again.
    Failed {
        /// Text of the failure, shortened.
        error: String,
    },
    /// It was not begun, or the deadline has interrupted it. Lambda delivers it again.
    NotReached,
}

impl RecordFate {
    pub(crate) fn failed(failure: &Failure) -> Self {
        RecordFate::Failed { error: shorten(&failure.to_string()) }
    }
}

impl fmt::Display for RecordFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordFate::Processed => f.write_str("processed"),
            RecordFate::Skipped => f.write_str("skipped"),
            RecordFate::SkippedForAge { error } => write!(f, "skipped for its age: {error}"),
            RecordFate::OutOfRange => f.write_str("out of range"),
            RecordFate::Quarantined { error, .. } => write!(f, "quarantined: {error}"),
            RecordFate::Failed { error } => write!(f, "failed: {error}"),
            RecordFate::NotReached => f.write_str("not reached"),
        }
    }
}

/// The fates of those user records of a batch that are not simply processed or not reached.
///
/// Only these are noted, so that the loop over the records pays nothing for it. [`outcomes`](Self::outcomes) walks over the batch
/// once more to find the others.
#[derive(Debug, Default)]
pub(crate) struct FateLog {
    fates: Mutex<Fates>,
}

#[derive(Debug, Default)]
struct Fates {
    records: BTreeMap<Place, RecordFate>,
    /// Rests of aggregates that were quarantined as one record, by the index of the Kinesis record.
    rests: BTreeMap<usize, (RangeInclusive<u64>, RecordFate)>,
    /// The place up to which user records were processed before the batch returned to an earlier one.
    reached: Place,
}

impl FateLog {
    fn lock(&self) -> MutexGuard<'_, Fates> {
        // No panic is possible while it is locked.
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, place: Place, fate: RecordFate) {
        self.lock().records.insert(place, fate);
    }

    /// Notes the fate of the rest of an aggregate.
    pub(crate) fn insert_rest(
        &self,
        kinesis_record: usize,
        sub_sequence_numbers: RangeInclusive<u64>,
        fate: RecordFate,
    ) {
        self.lock().rests.insert(kinesis_record, (sub_sequence_numbers, fate));
    }

    /// Notes that the batch returns from this position to an earlier one, because a user record could not be quarantined.
    pub(crate) fn note_reached(&self, position: BatchPosition) {
        self.lock().reached = place(position);
    }

    /// Notes that all user records of these Kinesis records were processed before a cut-over.
    pub(crate) fn insert_skipped(&self, kinesis_records: Range<usize>) {
        let skipped = |index| (index, (0..=u64::MAX, RecordFate::Skipped));
        self.lock().rests.extend(kinesis_records.map(skipped));
    }

    /// Returns the outcome of each user record of a batch that has ended at a position, for this reason if it was not its end.
    pub(crate) fn outcomes<'b>(
        &self,
        records: &'b [KinesisRecord<'b>],
        mut payloads: PayloadDecoder<'b>,
        deaggregator: Deaggregator,
        invocation: &'b Invocation<'b>,
        (end, stop): (BatchPosition, Option<&Stop>),
    ) -> (Vec<RecordOutcome>, PayloadDecoder<'b>, Deaggregator) {
        if let Some(StopReason::Failed(failure)) = stop.map(|stop| &stop.reason) {
            self.insert(place(end), RecordFate::failed(failure));
        }
        let fates = self.lock();
        let passed = place(end).max(fates.reached);
        let mut walk = Walk::new(records, deaggregator, invocation, BatchPosition::default());
        let mut outcomes = Vec::with_capacity(records.len());
        while walk.enter(&mut payloads).is_some() {
            if !walk.find_user_record() {
                walk.leave();
                continue;
            }
            let record = walk.user_record();
            let position = ExtendedSequenceNumber {
                sequence_number: record.kinesis_record.sequence_number,
                sub_sequence_number: record.sub_sequence_number,
            };
            let place = place(walk.position());
            outcomes.push(RecordOutcome { position, fate: fates.of(place, place < passed) });
            walk.pass();
        }
        (outcomes, payloads, walk.into_deaggregator())
    }
}

impl Fates {
    /// Returns the fate of the user record at a place, which the batch has passed or not.
    fn of(&self, place: Place, is_passed: bool) -> RecordFate {
        if let Some(fate) = self.records.get(&place) {
            return fate.clone();
        }
        match self.rests.get(&place.0) {
            Some((numbers, fate)) if numbers.contains(&place.1) => fate.clone(),
            _ if is_passed => RecordFate::Processed,
            _ => RecordFate::NotReached,
        }
    }
}
