//! The failed user records of a batch: they wait for the quarantine, or stop the batch.

use std::{collections::HashSet, num::NonZeroU32, ops::RangeInclusive, time::Duration};

use kpl_deaggregation::{UserRecord, reframe};

use crate::{
    Options, Record, SequenceNumber,
    batch::{Failure, Ledger, Place, Stop, content_id},
    event::{KinesisRecord, UnreadableRecord},
    invocation::Invocation,
    journal::{
        JournalStore, MAX_WRITE_BYTES, Progress, QuarantineReason, QuarantinedContent, QuarantinedRecord,
        UserRecordId, shorten,
    },
};

/// Longest partition key that Kinesis takes, in bytes: 256 characters of UTF-8. A longer one, which only an aggregate can
/// hold, counts more than once towards the quarantine's limit.
const KEY_BYTES: usize = 1024;

/// User records of a Kinesis record that is in the quarantine as a whole, whatever their number is.
pub(crate) const WHOLE_KINESIS_RECORD: RangeInclusive<u64> = 0..=u64::MAX;

/// Failures before a record's age can send it to the quarantine: a single one after an outage proves nothing.
const MIN_ATTEMPTS_FOR_AGE: u32 = 2;

/// The options that decide what becomes of a failed user record.
#[derive(Debug, Clone)]
pub(crate) struct FailureRules {
    quarantine: bool,
    limit: u64,
    max_attempts: Option<NonZeroU32>,
    max_age: Option<Duration>,
    max_write_items: usize,
}

/// The user records of a batch that have failed, as far as they are not written.
#[derive(Debug)]
pub(crate) struct Failures<'b> {
    /// Rules of the journal; absent without one: each failure stops the batch, and nothing of it is kept.
    rules: Option<&'b FailureRules>,
    invocation: &'b Invocation<'b>,
    /// The user record that was begun last. It is at hand here when the processor panics or is cancelled.
    begun: Option<Record<'b>>,
    waiting: Vec<Waiting>,
    /// Size of their items, at most.
    waiting_bytes: usize,
    /// Kinesis records that they belong to.
    waiting_groups: usize,
    /// Partition keys of those whose failure is retryable: a later record of the key must not be processed before these
    /// are in the quarantine, because a retry might process them after it.
    held_keys: HashSet<Vec<u8>>,
    /// The Kinesis record that the engine is in, and how much of the limit it has used up.
    entered: Option<SequenceNumber>,
    used: u64,
    /// The failure beyond the limit, whose user record goes to the quarantine with the rest of its aggregate.
    beyond_limit: Option<(Stop, QuarantinedRecord, bool)>,
    attempt: Option<Attempt>,
}

/// A user record that the batch has passed, and that must be in the quarantine before it counts as processed.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) record: QuarantinedRecord,
    /// Number of user records in it.
    pub(crate) user_records: u64,
    /// User records of its Kinesis record that it holds: more than one of the rest of an aggregate, and all that there
    /// can be of an invalid aggregate. Not used for a fan-out consumer, whose user records have no numbers.
    pub(crate) held: RangeInclusive<u64>,
    /// Share of the quarantine's limit.
    pub(crate) units: u64,
    /// The stop that it is if it cannot be written.
    stop: Stop,
    is_permanent: bool,
    at: Place,
    user_records_before: u64,
}

/// A failed attempt at the user record where the batch has stopped.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) id: UserRecordId,
    pub(crate) error: String,
}

/// The next step of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next user record, or the end of the batch.
    Proceed,
    /// The failures have to be written.
    WriteFailures,
}

impl FailureRules {
    pub(crate) fn new(options: &Options, store: &dyn JournalStore) -> Self {
        FailureRules {
            quarantine: options.quarantine,
            limit: options.quarantine_limit.get().into(),
            max_attempts: options.max_attempts,
            max_age: options.max_age,
            max_write_items: store.max_write_items(),
        }
    }

    /// Returns why a user record goes to the quarantine; `None` if it does not, or not yet.
    fn reason(&self, is_permanent: bool, attempts: u32, age_ms: Option<u64>) -> Option<QuarantineReason> {
        let is_old = || age_ms.zip(self.max_age).is_some_and(|(age, max)| u128::from(age) >= max.as_millis());
        if !self.quarantine {
            None
        } else if is_permanent {
            Some(QuarantineReason::Permanent)
        } else if self.max_attempts.is_some_and(|max_attempts| attempts >= max_attempts.get()) {
            Some(QuarantineReason::MaxAttempts)
        } else if attempts >= MIN_ATTEMPTS_FOR_AGE && is_old() {
            Some(QuarantineReason::MaxAge)
        } else {
            None
        }
    }
}

impl<'b> Failures<'b> {
    pub(crate) fn new(rules: Option<&'b FailureRules>, invocation: &'b Invocation<'b>) -> Self {
        Failures {
            rules,
            invocation,
            begun: None,
            waiting: Vec::new(),
            waiting_bytes: 0,
            waiting_groups: 0,
            held_keys: HashSet::new(),
            entered: None,
            used: 0,
            beyond_limit: None,
            attempt: None,
        }
    }

    /// Notes that the engine is in this Kinesis record, of which the journal knows this.
    pub(crate) fn enter(&mut self, sequence_number: SequenceNumber, progress: Option<&Progress>) {
        if self.entered != Some(sequence_number) {
            self.entered = Some(sequence_number);
            self.used = 0;
            self.beyond_limit = None;
        }
        let Some(progress) = progress else { return };
        // A write may have found what another invocation has put there.
        self.used = self.used.max(progress.quarantined);
        let is_done = |(_, record, _): &(Stop, QuarantinedRecord, bool)| progress.done.contains(&record.id);
        if self.beyond_limit.as_ref().is_some_and(is_done) {
            self.beyond_limit = None;
        }
    }

    /// Notes that the processor gets this user record.
    #[inline]
    pub(crate) fn begin(&mut self, record: Record<'b>) {
        self.begun = Some(record);
    }

    /// Whether the failures must be written before a user record with this key is processed.
    #[inline]
    pub(crate) fn are_due(&self, partition_key: &[u8]) -> bool {
        !self.waiting.is_empty() && (self.are_many() || self.held_keys.contains(partition_key))
    }

    fn are_many(&self) -> bool {
        // There must be room for one more with the entry of its Kinesis record.
        let max_items = self.rules.map_or(0, |rules| rules.max_write_items);
        self.waiting.len() + self.waiting_groups + 2 > max_items || self.waiting_bytes >= MAX_WRITE_BYTES
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn is_waiting(&self, sequence_number: SequenceNumber, id: &UserRecordId) -> bool {
        self.waiting
            .iter()
            .any(|Waiting { record, .. }| record.sequence_number == sequence_number && record.id == *id)
    }

    /// Passes a user record that has failed, if the quarantine takes it.
    ///
    /// # Errors
    ///
    /// The stop, if the batch has to end at the user record.
    pub(crate) fn give_up(
        &mut self,
        stop: Stop,
        record: Record<'b>,
        ledger: &mut Ledger,
    ) -> Result<Next, Stop> {
        let Some(rules) = self.rules else { return Err(stop) };
        let (is_permanent, error) = match &stop {
            Stop::Failed(failure) => (failure.is_permanent(), failure.to_string()),
            _ => (false, "did not finish within one invocation".to_owned()),
        };
        let id = match record.sub_sequence_number {
            Some(number) => UserRecordId::Sub(number),
            None => content_id(record.kinesis_record, record.data),
        };
        let now_ms = self.invocation.clock.epoch_ms();
        let arrival_ms = record.kinesis_record.approximate_arrival_ms;
        let attempts = record.attempt.unwrap_or(1);
        let age_ms = arrival_ms.map(|arrival_ms| now_ms.saturating_sub(arrival_ms));
        let Some(reason) = rules.reason(is_permanent, attempts, age_ms) else {
            self.attempt = Some(Attempt { id, error });
            return Err(stop);
        };
        let is_invalid = matches!(stop, Stop::Failed(Failure::InvalidFrame(_)));
        let quarantined = QuarantinedRecord {
            sequence_number: record.kinesis_record.sequence_number,
            id,
            content: match is_invalid {
                true => QuarantinedContent::InvalidAggregate,
                false if record.aggregated => QuarantinedContent::Aggregated,
                false => QuarantinedContent::Plain,
            },
            data: record.data.to_vec(),
            partition_key: record.partition_key.to_vec(),
            explicit_hash_key: record.explicit_hash_key.map(<[u8]>::to_vec),
            arrival_ms,
            reason,
            error: shorten(&error),
            attempts,
            quarantined_ms: now_ms,
            request_id: self.invocation.request_id.clone().into_owned(),
        };
        let key_bytes = record.partition_key.len() + record.explicit_hash_key.map_or(0, <[u8]>::len);
        let units = key_bytes.div_ceil(KEY_BYTES).max(1) as u64;
        // The first one of a Kinesis record goes alone, however long its keys are.
        if self.used > 0 && self.used + units > rules.limit {
            if record.aggregated {
                self.beyond_limit = Some((stop, quarantined, is_permanent));
                return Ok(Next::WriteFailures);
            }
            if record.sub_sequence_number.is_none() {
                self.log_limit(record.kinesis_record, rules.limit);
                self.attempt = Some(Attempt { id, error });
                return Err(stop);
            }
        }
        self.used += units;
        let first = record.sub_sequence_number.unwrap_or(0);
        let held = if is_invalid { WHOLE_KINESIS_RECORD } else { first..=first };
        self.wait(
            Waiting {
                record: quarantined,
                user_records: 1,
                held,
                units,
                is_permanent,
                at: ledger.at,
                user_records_before: ledger.user_records_before,
                stop,
            },
            ledger,
        );
        Ok(Next::Proceed)
    }

    /// Passes the user record that the processor was in when it panicked or was cancelled, if the quarantine takes it.
    ///
    /// # Errors
    ///
    /// As [`give_up`](Self::give_up).
    pub(crate) fn interrupted(&mut self, stop: Stop, ledger: &mut Ledger) -> Result<(), Stop> {
        let counts = match stop {
            Stop::Failed(_) => ledger.is_in_flight(),
            _ => ledger.has_used_all_time(),
        };
        match self.begun.filter(|_| counts) {
            Some(record) => self.give_up(stop, record, ledger).map(drop),
            None => Err(stop),
        }
    }

    /// Returns the stop at a Kinesis record that cannot be read. The quarantine cannot keep it: the mapping's destination
    /// has to.
    pub(crate) fn unreadable(&mut self, reason: UnreadableRecord) -> Stop {
        let failure = Failure::Unreadable(reason);
        self.attempt = Some(Attempt { id: UserRecordId::Sub(0), error: failure.to_string() });
        Stop::Failed(failure)
    }

    /// Whether the rest of the aggregate, from this user record on, goes to the quarantine.
    pub(crate) fn takes_rest_from(&self, sequence_number: SequenceNumber, sub_sequence_number: u64) -> bool {
        self.beyond_limit.as_ref().is_some_and(|(_, record, _)| {
            record.sequence_number == sequence_number && record.id == UserRecordId::Sub(sub_sequence_number)
        })
    }

    /// Passes the rest of an aggregate, which is one record of the quarantine: an aggregate again, so that it holds each
    /// key once.
    pub(crate) fn give_up_rest<'r>(
        &mut self,
        kinesis_record: &KinesisRecord<'_>,
        rest: impl Iterator<Item = UserRecord<'r>>,
        last_number: u64,
        ledger: &mut Ledger,
    ) {
        let Some((stop, record, is_permanent)) = self.beyond_limit.take() else { return };
        let first = ledger.at.sub_sequence_number.unwrap_or(0);
        let limit = self.rules.map_or(0, |rules| rules.limit);
        self.log_limit(kinesis_record, limit);
        let mut user_records = 0;
        let data = reframe(rest.inspect(|_| user_records += 1)).unwrap_or_default();
        let record = QuarantinedRecord {
            content: QuarantinedContent::RestOfAggregate,
            data,
            partition_key: kinesis_record.partition_key.as_bytes().to_vec(),
            explicit_hash_key: None,
            ..record
        };
        self.wait(
            Waiting {
                record,
                user_records,
                held: first..=last_number,
                units: 1,
                stop,
                is_permanent,
                at: ledger.at,
                user_records_before: ledger.user_records_before,
            },
            ledger,
        );
    }

    fn wait(&mut self, waiting: Waiting, ledger: &mut Ledger) {
        ledger.give_up(&waiting.stop);
        let last = self.waiting.last().map(|last| last.record.sequence_number);
        self.waiting_groups += usize::from(last != Some(waiting.record.sequence_number));
        self.waiting_bytes += waiting.record.item_bytes_bound();
        if !waiting.is_permanent {
            self.held_keys.insert(waiting.record.partition_key.clone());
        }
        self.waiting.push(waiting);
    }

    /// Takes what has to be written.
    pub(crate) fn take(&mut self) -> Vec<Waiting> {
        self.waiting_bytes = 0;
        self.waiting_groups = 0;
        self.held_keys.clear();
        std::mem::take(&mut self.waiting)
    }

    /// Makes the first of these, which could not be written, the stop of the batch.
    pub(crate) fn not_written(&mut self, waiting: Vec<Waiting>, ledger: &mut Ledger) -> Option<Stop> {
        let Waiting { record, stop, at, user_records_before, .. } = waiting.into_iter().next()?;
        self.beyond_limit = None;
        self.attempt = Some(Attempt { id: record.id, error: record.error });
        ledger.return_to(at, user_records_before);
        Some(stop)
    }

    /// The failed attempt that the journal has to count, if there was one.
    pub(crate) fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    fn log_limit(&self, kinesis_record: &KinesisRecord<'_>, limit: u64) {
        let what = match kinesis_record.is_enhanced_fan_out() {
            true => {
                "batch stopped, because the quarantine has as many user records of this Kinesis record as it may"
            }
            false => {
                "rest of an aggregate quarantined, because the quarantine has as many of its user records as it may"
            }
        };
        tracing::error!(
            request_id = &*self.invocation.request_id,
            stream = kinesis_record.stream_arn(),
            shard_id = kinesis_record.shard_id.as_deref(),
            sequence_number = %kinesis_record.sequence_number,
            limit,
            "{what}"
        );
    }
}
