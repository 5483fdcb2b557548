use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    time::Duration,
};

use crate::{
    ExtendedSequenceNumber, RecordFate, SequenceNumber,
    batch::{
        ahead::place,
        cursor::Cursor,
        failure_rules::{Decision, FailureRules, units},
        stop::{Attempt, Failure, Stop, StopReason},
        walk::BatchPosition,
    },
    event::KinesisRecord,
    invocation::Invocation,
    journal::{
        DoneSet, MAX_WRITE_BYTES, Progress, QuarantineReason, QuarantinedContent, QuarantinedRecord,
        UserRecordId, shorten, snapshot::JournalSnapshot,
    },
    record::BatchRecord,
};

/// The user records that a batch has passed although they failed, until they are written to the quarantine.
#[derive(Debug)]
pub(crate) struct QuarantineQueue<'b> {
    /// Rules of the journal; absent without one: each failure stops the batch, and nothing is kept of it.
    rules: Option<&'b FailureRules>,
    invocation: &'b Invocation<'b>,
    records: Vec<QueuedRecord>,
    /// Size of their items, at most.
    bytes: usize,
    /// Number of Kinesis records that they belong to.
    kinesis_records: usize,
    /// Partition keys of those whose failure is retryable: a later record of the key must not be processed before these
    /// are in the quarantine, because a retry might process them after it.
    held_keys: HashSet<Vec<u8>>,
    /// Partition keys of user records that were queued, with the position of the first one, if later ones follow it into the
    /// quarantine. They stay when the queue is written.
    holds: HashMap<Vec<u8>, ExtendedSequenceNumber>,
    /// The Kinesis record of the last failure, and how much of its limit is used up.
    used: Option<(SequenceNumber, u64)>,
}

/// A user record that must be in the quarantine before it counts as processed.
#[derive(Debug)]
pub(crate) struct QueuedRecord {
    pub(crate) record: QuarantinedRecord,
    /// Number of user records in it.
    pub(crate) user_records: u64,
    /// Sub-sequence numbers of its Kinesis record that it stands for: more than one if it is the rest of an aggregate, and all
    /// that there can be of an invalid aggregate. Not used on an enhanced fan-out consumer, where numbers are not known.
    pub(crate) sub_sequence_numbers: RangeInclusive<u64>,
    /// Share of the quarantine's limit.
    pub(crate) units: u64,
    /// The reason to stop the batch at it if it cannot be written.
    reason: StopReason,
    position: BatchPosition,
}

/// The next step after a failure.
#[derive(Debug)]
pub(crate) enum Next {
    /// The record is queued, and the batch continues after it.
    Continue,
    /// The batch ends.
    Stop(Stop),
    /// The queue is written, and after that the record is skipped for its age.
    Skip(SkippedRecord),
    /// The queue is written, and after that the rest of the aggregate, from this user record on, is queued.
    QuarantineRest(Box<QueuedRecord>),
}

/// A user record that is skipped for its age.
#[derive(Debug)]
pub(crate) struct SkippedRecord {
    pub(crate) error: String,
    /// The number of the attempt, if it is known.
    pub(crate) attempts: Option<u32>,
    pub(crate) age: Duration,
}

impl<'b> QuarantineQueue<'b> {
    pub(crate) fn new(rules: Option<&'b FailureRules>, invocation: &'b Invocation<'b>) -> Self {
        QuarantineQueue {
            rules,
            invocation,
            records: Vec::new(),
            bytes: 0,
            kinesis_records: 0,
            held_keys: HashSet::new(),
            holds: HashMap::new(),
            used: None,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether it decides nothing about any user record.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.records.is_empty() && self.holds.is_empty()
    }

    /// Whether later user records follow those of their key into the quarantine.
    pub(crate) fn is_holding(&self) -> bool {
        self.rules.is_some_and(FailureRules::hold)
    }

    /// Returns the position of the user record behind which one with this key is held.
    pub(crate) fn held_behind(&self, partition_key: &[u8]) -> Option<ExtendedSequenceNumber> {
        self.holds.get(partition_key).copied()
    }

    fn hold(&mut self, partition_key: Vec<u8>, behind: &QuarantinedRecord) {
        let sub_sequence_number = match behind.id {
            UserRecordId::Sub(number) => Some(number),
            UserRecordId::Content(_) => None,
        };
        let behind = ExtendedSequenceNumber { sequence_number: behind.sequence_number, sub_sequence_number };
        self.holds.entry(partition_key).or_insert(behind);
    }

    /// Whether the queue must be written before a user record with this key is processed.
    #[inline]
    pub(crate) fn is_due_before(&self, partition_key: &[u8]) -> bool {
        !self.records.is_empty() && (self.is_full() || self.held_keys.contains(partition_key))
    }

    fn is_full(&self) -> bool {
        // There must be room for one more with the entry of its Kinesis record.
        let max_items = self.rules.map_or(0, FailureRules::max_write_items);
        self.records.len() + self.kinesis_records + 2 > max_items || self.bytes >= MAX_WRITE_BYTES
    }

    /// Whether a user record is queued that cannot be told from this one, because it comes from an enhanced fan-out consumer or
    /// its Kinesis record is in the event twice. A write cannot hold both.
    #[inline]
    pub(crate) fn has_alike(&self, record: &BatchRecord<'_>) -> bool {
        !self.records.is_empty() && self.contains(record)
    }

    fn contains(&self, record: &BatchRecord<'_>) -> bool {
        let (sequence_number, id) = (record.kinesis_record.sequence_number, UserRecordId::of(record));
        self.records
            .iter()
            .any(|queued| queued.record.sequence_number == sequence_number && queued.record.id == id)
    }

    /// Decides the fate of the current user record, which has failed or was interrupted, and queues it if the quarantine takes
    /// it.
    pub(crate) fn fail(
        &mut self,
        reason: StopReason,
        cursor: &mut Cursor<'b>,
        snapshot: &JournalSnapshot,
    ) -> Next {
        let Some(record) = cursor.failed_record(&reason) else {
            return Next::Stop(Stop::new(reason, None));
        };
        let kinesis_record = record.kinesis_record;
        let progress = snapshot.progress(kinesis_record.sequence_number);
        // One that is held is not attempted.
        let known_attempts = snapshot.attempt(progress, &record);
        let attempts = known_attempts.unwrap_or(1) - u32::from(reason.is_held());
        let used = self.used(kinesis_record.sequence_number, progress);
        let now_ms = self.invocation.clock.epoch_ms();
        let decision = match self.rules {
            Some(rules) => rules.decide(&reason, &record, attempts, now_ms, used),
            None => Decision::Stop,
        };
        if decision == Decision::StopAtLimit {
            self.log_limit(kinesis_record);
        }
        if decision == Decision::Stop
            && let Some(rule) = &self.invocation.skip_rule
            && rule.applies_to(&reason, &record, known_attempts, now_ms)
        {
            let arrival_ms = kinesis_record.approximate_arrival_ms.unwrap_or(now_ms);
            let age = Duration::from_millis(now_ms.saturating_sub(arrival_ms));
            return Next::Skip(SkippedRecord {
                error: shorten(&reason.text()),
                attempts: known_attempts,
                age,
            });
        }
        match decision {
            Decision::Stop | Decision::StopAtLimit => {
                let attempt = reason
                    .is_attempt()
                    .then(|| Attempt { id: UserRecordId::of(&record), error: reason.text() });
                Next::Stop(Stop::new(reason, attempt))
            }
            Decision::Quarantine(why) => {
                let queued = self.queued(reason, why, record, attempts, now_ms, cursor);
                self.used = Some((kinesis_record.sequence_number, used + queued.units));
                self.push(queued);
                cursor.pass();
                Next::Continue
            }
            Decision::QuarantineRest(why) => {
                let queued = self.queued(reason, why, record, attempts, now_ms, cursor);
                Next::QuarantineRest(Box::new(queued))
            }
        }
    }

    /// Returns how much of the limit of a Kinesis record is used up.
    fn used(&self, sequence_number: SequenceNumber, progress: Option<&Progress>) -> u64 {
        let here = self.used.filter(|(number, _)| *number == sequence_number).map_or(0, |(_, used)| used);
        // A write may have found what another invocation has put there.
        here.max(progress.map_or(0, |progress| progress.quarantined))
    }

    fn queued(
        &self,
        reason: StopReason,
        why: QuarantineReason,
        record: BatchRecord<'b>,
        attempts: u32,
        now_ms: u64,
        cursor: &Cursor<'b>,
    ) -> QueuedRecord {
        let content = match reason {
            StopReason::Failed(Failure::InvalidAggregate(_)) => QuarantinedContent::InvalidAggregate,
            _ if record.aggregated => QuarantinedContent::Aggregated,
            _ => QuarantinedContent::Plain,
        };
        QueuedRecord {
            record: QuarantinedRecord {
                sequence_number: record.kinesis_record.sequence_number,
                id: UserRecordId::of(&record),
                content,
                data: record.data.to_vec(),
                partition_key: record.partition_key.to_vec(),
                explicit_hash_key: record.explicit_hash_key.map(<[u8]>::to_vec),
                arrival_ms: record.kinesis_record.approximate_arrival_ms,
                reason: why,
                error: shorten(&reason.text()),
                attempts,
                quarantined_ms: now_ms,
                request_id: self.invocation.request_id.clone().into_owned(),
            },
            user_records: 1,
            sub_sequence_numbers: cursor.walk().sub_sequence_numbers(),
            units: units(&record),
            reason,
            position: cursor.position(),
        }
    }

    /// Queues the rest of an aggregate, from its user record `first` on, as one record, and moves past it, but for what was
    /// processed `ahead`. Returns the number of user records that belong to other shards, so that they are not in it.
    pub(crate) fn push_rest(
        &mut self,
        first: QueuedRecord,
        cursor: &mut Cursor<'b>,
        snapshot: &JournalSnapshot,
        ahead: &DoneSet,
    ) -> u64 {
        let known = snapshot.progress(first.record.sequence_number).map(|progress| &progress.done);
        let mut done = ahead.clone();
        known.into_iter().for_each(|known| done.merge(known));
        let Some(kinesis_record) = cursor.walk().current_kinesis_record() else { return 0 };
        self.log_limit(kinesis_record);
        let rest = cursor.take_rest(&done);
        if let (Some(fates), Some(known)) = (&self.invocation.fates, known) {
            let skipped =
                rest.sub_sequence_numbers.clone().skip(1).filter(|&number| known.contains_sub(number));
            skipped.for_each(|number| {
                fates.insert((first.position.kinesis_record, number), RecordFate::Skipped);
            });
        }
        for &number in &rest.out_of_range {
            let here = (first.position.kinesis_record, number);
            self.invocation.note_fate(here, || RecordFate::OutOfRange);
        }
        if self.is_holding() {
            rest.partition_keys.into_iter().for_each(|key| self.hold(key, &first.record));
        }
        self.push(QueuedRecord {
            record: QuarantinedRecord {
                content: QuarantinedContent::RestOfAggregate,
                data: rest.data,
                partition_key: kinesis_record.partition_key.as_bytes().to_vec(),
                explicit_hash_key: None,
                ..first.record
            },
            user_records: rest.user_records,
            sub_sequence_numbers: rest.sub_sequence_numbers,
            units: 1,
            ..first
        });
        rest.out_of_range.len() as u64
    }

    fn push(&mut self, queued: QueuedRecord) {
        let last = self.records.last().map(|last| last.record.sequence_number);
        self.kinesis_records += usize::from(last != Some(queued.record.sequence_number));
        self.bytes += queued.record.item_bytes_bound();
        if !queued.reason.is_permanent() {
            self.held_keys.insert(queued.record.partition_key.clone());
        }
        if self.is_holding() {
            self.hold(queued.record.partition_key.clone(), &queued.record);
        }
        self.records.push(queued);
    }

    /// Empties the queue, to write it.
    pub(crate) fn take(&mut self) -> Vec<QueuedRecord> {
        self.bytes = 0;
        self.kinesis_records = 0;
        self.held_keys.clear();
        std::mem::take(&mut self.records)
    }

    fn log_limit(&self, kinesis_record: &KinesisRecord<'_>) {
        let what = match kinesis_record.is_enhanced_fan_out() {
            true => {
                "batch stopped, because the quarantine has as many user records of this Kinesis record as it may"
            }
            false => {
                "rest of an aggregate quarantined, because the quarantine has as many of its user records as it may"
            }
        };
        tracing::error!(
            position = %kinesis_record.position(None::<u64>),
            limit = self.rules.map(FailureRules::limit),
            "{what}"
        );
    }
}

impl QueuedRecord {
    /// Notes its fate: it is written.
    pub(crate) fn note_quarantined(&self, invocation: &Invocation<'_>) {
        let error = || self.record.error.clone();
        self.note_fate(invocation, || RecordFate::Quarantined { reason: self.record.reason, error: error() });
    }

    /// Notes its fate: it could not be written.
    pub(crate) fn note_failed(&self, invocation: &Invocation<'_>) {
        self.note_fate(invocation, || RecordFate::Failed { error: self.record.error.clone() });
    }

    fn note_fate(&self, invocation: &Invocation<'_>, fate: impl FnOnce() -> RecordFate) {
        match (&invocation.fates, self.record.content) {
            (Some(fates), QuarantinedContent::RestOfAggregate) => {
                fates.insert_rest(self.position.kinesis_record, self.sub_sequence_numbers.clone(), fate());
            }
            _ => invocation.note_fate(place(self.position), fate),
        }
    }

    /// Whether it is done, because another invocation has quarantined it in the meantime.
    pub(crate) fn is_done(&self, snapshot: &JournalSnapshot) -> bool {
        let known = snapshot.progress(self.record.sequence_number);
        known.is_some_and(|known| known.done.contains(&self.record.id))
    }

    /// Returns the reason for which it was queued.
    pub(crate) fn into_reason(self) -> StopReason {
        self.reason
    }

    /// Makes the user record, which could not be written, the one at which the batch stops.
    pub(crate) fn into_stop(self, cursor: &mut Cursor<'_>) -> Stop {
        cursor.stop_at(self.position);
        let attempt =
            self.reason.is_attempt().then_some(Attempt { id: self.record.id, error: self.record.error });
        Stop::new(self.reason, attempt)
    }
}
