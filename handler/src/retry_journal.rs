//! What a batch comes to in the retry journal: what is read before it, what is given up on the way, and what is written
//! when it has stopped or passed.

use std::{
    collections::{BTreeMap, HashSet},
    error::Error,
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kpl_deaggregation::{Deaggregator, InvalidFramePolicy};
use tokio::time::{Instant, timeout_at};

use crate::{
    Counts, Options, SequenceNumber,
    engine::{Failure, Ledger, Stop, content_id},
    event::{Event, EventMode, KinesisRecord},
    invocation::Invocation,
    journal::{
        DoneSet, JournalEntries, JournalError, JournalFuture, JournalShard, JournalStore, JournalWrite,
        Progress, QuarantineReason, QuarantinedContent, QuarantinedRecord, RecordState, StateKind,
        StateRange, UserRecordId, WriteOutcome, shorten,
    },
    payloads::Payloads,
    prior::{Prior, PriorRecord},
};

/// Who else writes a state: one zombie, or a few. Each of them writes a batch's stop once.
const MAX_TRIES: u32 = 8;

/// How many states one invocation moves to the holes at most; the next one goes on.
const MAX_HOLES: usize = 100;

/// The retry journal of one environment.
pub(crate) struct RetryJournal {
    store: Arc<dyn JournalStore>,
    application: String,
    quarantine: bool,
    max_attempts: Option<NonZeroU32>,
    max_age: Option<Duration>,
    /// Whether a state before a batch is one that the mapping has discarded.
    has_one_lane: bool,
    invalid_frame: InvalidFramePolicy,
    /// Tells the writes of this environment from those of others.
    environment: u64,
    writes: AtomicU64,
}

/// The journal, as far as one batch goes.
pub(crate) struct BatchJournal<'b> {
    journal: &'b RetryJournal,
    shard: JournalShard<'b>,
    records: &'b [KinesisRecord<'b>],
    invocation: &'b Invocation<'b>,
    /// What is written.
    kind: StateKind,
    prior: Prior,
    /// States before the batch.
    discarded: Vec<RecordState>,
}

/// A user record has failed.
struct Attempt {
    id: UserRecordId,
    is_permanent: bool,
    error: String,
}

impl RetryJournal {
    /// `None` if the options have no store.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        Some(RetryJournal {
            store: Arc::clone(options.journal.as_ref()?),
            application: options.application.clone(),
            quarantine: options.quarantine,
            max_attempts: options.max_attempts,
            max_age: options.max_age,
            has_one_lane: options.parallelization_factor.is_some_and(|factor| factor.get() == 1),
            invalid_frame: options.invalid_frame,
            environment: RandomState::new().hash_one(()),
            writes: AtomicU64::new(0),
        })
    }

    /// Whether the event is part of what the journal follows. What belongs to a window has its state there, and a replay
    /// shall do again what is done.
    pub(crate) fn follows(event: &Event<'_>) -> bool {
        event.mode != EventMode::Replay && event.window.is_none() && !event.records.is_empty()
    }

    /// Reads what is known of the batch. A journal that cannot be read is counted, and the batch goes on without.
    pub(crate) async fn read<'b>(
        &'b self,
        event: &'b Event<'b>,
        invocation: &'b Invocation<'b>,
        counts: &mut Counts,
    ) -> Option<BatchJournal<'b>> {
        let (first, last) = (event.records.first()?, event.records.last()?);
        let (Some(stream_arn), Some(shard_id)) = (first.stream_arn(), first.shard_id.as_deref()) else {
            counts.journal_read_failed += 1;
            log_failure(invocation, first, "journal not read", &JournalError::NoShard);
            return None;
        };
        let shard = JournalShard { application: &self.application, stream_arn, shard_id };
        let is_redrive = event.mode == EventMode::Redrive;
        let kind = if is_redrive { StateKind::Hole } else { StateKind::Retry };
        let mut batch = BatchJournal {
            journal: self,
            shard,
            records: &event.records,
            invocation,
            kind,
            prior: Prior::default(),
            discarded: Vec::new(),
        };
        // States before a batch cannot be told from those of other lanes, so they are not even asked for.
        let looks_back = self.has_one_lane && !is_redrive;
        let range = |kind| StateRange {
            kind,
            from: first.sequence_number,
            through: last.sequence_number,
            earlier: if looks_back { MAX_HOLES } else { 0 },
        };
        let read = async {
            let mut entries = self.store.read(shard, range(StateKind::Retry)).await?;
            if is_redrive {
                let JournalEntries { states, unreadable } =
                    self.store.read(shard, range(StateKind::Hole)).await?;
                entries.states.extend(states);
                entries.unreadable.extend(unreadable);
            }
            Ok(entries)
        };
        match in_time(invocation.read_by(), read).await {
            Ok(JournalEntries { states, unreadable }) => {
                for item in &unreadable {
                    counts.journal_unreadable += 1;
                    tracing::error!(
                        request_id = &*invocation.request_id,
                        stream = stream_arn,
                        shard_id,
                        error = %item,
                        "journal item skipped; kinesis-kit journal lists it and can delete it"
                    );
                }
                batch.take_in(states, first.sequence_number);
            }
            Err(error) => {
                counts.journal_read_failed += 1;
                log_failure(invocation, first, "journal not read", &error);
            }
        }
        Some(batch)
    }

    fn next_write(&self) -> String {
        format!("{:016x}-{}", self.environment, self.writes.fetch_add(1, Ordering::Relaxed))
    }
}

impl<'b> BatchJournal<'b> {
    pub(crate) fn prior(&self) -> &Prior {
        &self.prior
    }

    fn take_in(&mut self, states: Vec<RecordState>, first: SequenceNumber) {
        let now_ms = self.invocation.clock.epoch_ms();
        let mut known: BTreeMap<SequenceNumber, PriorRecord> = BTreeMap::new();
        let batch: HashSet<_> = match states.is_empty() {
            true => HashSet::new(),
            false => self.records.iter().map(|record| record.sequence_number).collect(),
        };
        for state in states {
            if state.sequence_number < first {
                if !state.is_expired(now_ms) {
                    self.discarded.push(state);
                }
                continue;
            }
            // Others belong to batches that run beside this one.
            if !batch.contains(&state.sequence_number) {
                continue;
            }
            let record = known.entry(state.sequence_number).or_default();
            record.stored.push(state.kind);
            if state.kind == self.kind {
                record.version = Some(state.version);
            }
            if !state.is_expired(now_ms) {
                // Two states are of one Kinesis record only in a redrive: a hole, and what it came from.
                record.progress.include(state.progress);
            }
        }
        self.prior = Prior::known(known);
    }

    /// Gives up the user record where the ledger stands, if it has failed for good: it goes into the quarantine, and then
    /// counts as done. Otherwise the batch has to stop there.
    pub(crate) async fn give_up(
        &mut self,
        stop: &Stop,
        payloads: &mut Payloads<'_>,
        ledger: &mut Ledger,
    ) -> bool {
        if !self.journal.quarantine {
            return false;
        }
        let Some(attempt) = self.attempt(stop, payloads, ledger) else { return false };
        let Some(record) = self.quarantined(stop, attempt, payloads, ledger) else { return false };
        let kinesis_record = &self.records[ledger.at.kinesis_record];
        let mut done = match record.id {
            UserRecordId::Sub(number) => DoneSet::before(number),
            UserRecordId::Content(_) => DoneSet::default(),
        };
        done.insert(record.id);
        let change = Progress { arrival_ms: record.arrival_ms, ..Progress::done(done) };
        if let Err(error) = self.write(kinesis_record.sequence_number, &change, Some(&record)).await {
            ledger.counts.journal_write_failed += 1;
            log_failure(self.invocation, kinesis_record, "user record not quarantined", &error);
            return false;
        }
        tracing::warn!(
            request_id = &*self.invocation.request_id,
            stream = self.shard.stream_arn,
            shard_id = self.shard.shard_id,
            sequence_number = %kinesis_record.sequence_number,
            sub_sequence_number = ledger.at.sub_sequence_number,
            reason = %record.reason,
            attempts = record.attempts,
            error = record.error,
            "user record quarantined"
        );
        ledger.counts.quarantined += 1;
        ledger.give_up(stop);
        true
    }

    /// What has failed. `None` if the batch stopped because its time was over, and not because of one record.
    fn attempt(&self, stop: &Stop, payloads: &mut Payloads<'_>, ledger: &Ledger) -> Option<Attempt> {
        let position = ledger.at.kinesis_record;
        let kinesis_record = &self.records[position];
        let id = match payloads.get(position) {
            Ok(data) if kinesis_record.is_enhanced_fan_out() => content_id(kinesis_record, data),
            _ => UserRecordId::Sub(ledger.at.sub_sequence_number.unwrap_or(0)),
        };
        match stop {
            Stop::Failed(failure) => {
                Some(Attempt { id, is_permanent: failure.is_permanent(), error: failure.to_string() })
            }
            Stop::Deadline if ledger.has_used_all_time() => {
                let error = "not done in all the time of an invocation".to_owned();
                Some(Attempt { id, is_permanent: false, error })
            }
            Stop::Deadline | Stop::DeadlineBeforeFirst => None,
        }
    }

    /// The user record as the quarantine keeps it. `None` if it is not to be given up, or not yet.
    fn quarantined(
        &self,
        stop: &Stop,
        attempt: Attempt,
        payloads: &mut Payloads<'_>,
        ledger: &Ledger,
    ) -> Option<QuarantinedRecord> {
        let kinesis_record = &self.records[ledger.at.kinesis_record];
        let now_ms = self.invocation.clock.epoch_ms();
        let progress = self.prior.progress(kinesis_record.sequence_number);
        let attempts = progress.map_or(0, |progress| progress.failures(&attempt.id)).saturating_add(1);
        let age = kinesis_record.approximate_arrival_ms.map(|arrival| now_ms.saturating_sub(arrival));
        let max_age_ms = self.journal.max_age.map(|max_age| max_age.as_millis());
        let reason = if attempt.is_permanent {
            QuarantineReason::Permanent
        } else if self.journal.max_attempts.is_some_and(|max_attempts| attempts >= max_attempts.get()) {
            QuarantineReason::MaxAttempts
        } else if age.zip(max_age_ms).is_some_and(|(age, max_age)| u128::from(age) >= max_age) {
            QuarantineReason::MaxAge
        } else {
            return None;
        };
        // What cannot be read cannot be kept either: the mapping's destination has to.
        let data = payloads.get(ledger.at.kinesis_record).ok()?;
        let mut record = QuarantinedRecord {
            sequence_number: kinesis_record.sequence_number,
            id: attempt.id,
            content: QuarantinedContent::Plain,
            data: Vec::new(),
            partition_key: Vec::new(),
            explicit_hash_key: None,
            arrival_ms: kinesis_record.approximate_arrival_ms,
            reason,
            error: shorten(&attempt.error),
            attempts,
            quarantined_ms: now_ms,
            request_id: self.invocation.request_id.clone().into_owned(),
        };
        let partition_key = kinesis_record.partition_key.as_bytes();
        match (stop, ledger.at.sub_sequence_number) {
            (Stop::Failed(Failure::InvalidFrame(_)), _) => {
                record.content = QuarantinedContent::InvalidAggregate;
                (record.data, record.partition_key) = (data.to_vec(), partition_key.to_vec());
            }
            (_, None) => (record.data, record.partition_key) = (data.to_vec(), partition_key.to_vec()),
            (_, Some(number)) => {
                let mut deaggregator = Deaggregator::new(self.journal.invalid_frame);
                let mut user_records = deaggregator.deaggregate(partition_key, data).ok()?;
                if matches!(user_records.content(), kpl_deaggregation::Content::Aggregated) {
                    record.content = QuarantinedContent::Aggregated;
                }
                let user_record = user_records.find(|record| record.sub_sequence_number == number)?;
                record.data = user_record.data.to_vec();
                record.partition_key = user_record.partition_key.to_vec();
                record.explicit_hash_key = user_record.explicit_hash_key.map(<[u8]>::to_vec);
            }
        }
        Some(record)
    }

    /// Writes what the next invocation must know, and deletes what none must. `failed` is the Kinesis record that the
    /// response names.
    pub(crate) async fn finish(
        &mut self,
        stop: Option<&Stop>,
        failed: Option<SequenceNumber>,
        payloads: &mut Payloads<'_>,
        ledger: &mut Ledger,
    ) {
        if let Some((kinesis_record, change)) = self.change(stop, failed, payloads, ledger)
            && let Err(error) = self.write(kinesis_record.sequence_number, &change, None).await
        {
            ledger.counts.journal_write_failed += 1;
            log_failure(self.invocation, kinesis_record, "journal not written", &error);
        }
        let passed = self.prior.iter().filter(|(number, record)| {
            failed.is_none_or(|failed| *number < failed) && !record.stored.is_empty()
        });
        for (sequence_number, record) in passed {
            if let Err(error) = self.pass(sequence_number, record, payloads).await {
                ledger.counts.journal_write_failed += 1;
                log_failure(self.invocation, &self.records[0], "journal not cleared", &error);
            }
        }
        for state in self.discarded.iter().take(MAX_HOLES) {
            match self.move_to_holes(state).await {
                Ok(()) => {
                    ledger.counts.discarded += 1;
                    tracing::warn!(
                        request_id = &*self.invocation.request_id,
                        stream = self.shard.stream_arn,
                        shard_id = self.shard.shard_id,
                        sequence_number = %state.sequence_number,
                        error = state.progress.last_error,
                        "Kinesis record was discarded by the mapping before it was done"
                    );
                }
                Err(error) => {
                    ledger.counts.journal_write_failed += 1;
                    log_failure(self.invocation, &self.records[0], "journal not cleared", &error);
                    break;
                }
            }
        }
    }

    /// What this invocation adds to the record that the response names. `None` if that is nothing.
    fn change(
        &self,
        stop: Option<&Stop>,
        failed: Option<SequenceNumber>,
        payloads: &mut Payloads<'_>,
        ledger: &Ledger,
    ) -> Option<(&'b KinesisRecord<'b>, Progress)> {
        failed?;
        let (kinesis_record, done_before) = match stop {
            Some(_) => (&self.records[ledger.at.kinesis_record], ledger.at.sub_sequence_number.unwrap_or(0)),
            // It is done, and named only because its checkpoint could not be written.
            None => (self.records.last()?, ledger.user_records_before),
        };
        let done = match kinesis_record.is_enhanced_fan_out() {
            true => DoneSet::default(),
            false => DoneSet::before(done_before),
        };
        let mut change = Progress::done(done);
        change.arrival_ms = kinesis_record.approximate_arrival_ms;
        let attempt = stop.and_then(|stop| self.attempt(stop, payloads, ledger));
        if let Some(attempt) = attempt {
            change.fail(attempt.id, &attempt.error, self.invocation.clock.epoch_ms());
        } else if let Some(progress) = self.prior.progress(kinesis_record.sequence_number)
            && progress.done.covers(&change.done)
        {
            return None;
        }
        (!change.is_empty()).then_some((kinesis_record, change))
    }

    /// The batch has passed a Kinesis record that has a state.
    async fn pass(
        &self,
        sequence_number: SequenceNumber,
        record: &PriorRecord,
        payloads: &mut Payloads<'_>,
    ) -> Result<(), JournalError> {
        // Of an aggregate that Lambda has taken apart, other members may be in another batch.
        let mut rest = Progress::default();
        let of_fan_out = |record: &KinesisRecord<'_>| {
            record.sequence_number == sequence_number && record.is_enhanced_fan_out()
        };
        if self.records.iter().any(of_fan_out) {
            rest = record.progress.clone();
            for (position, member) in self.records.iter().enumerate().filter(|(_, record)| of_fan_out(record))
            {
                if let Ok(data) = payloads.get(position) {
                    rest.forget(&content_id(member, data));
                }
            }
        }
        let store = &self.journal.store;
        if !rest.is_empty() {
            let mut state = self.state(self.kind, sequence_number, rest, record.version);
            state.written_by = self.journal.next_write();
            let write = JournalWrite {
                shard: self.shard,
                state: &state,
                expected_version: record.version,
                quarantined: None,
            };
            // If another invocation has written it, it knows better.
            return self.in_time(store.write(write)).await.map(drop);
        }
        for &kind in &record.stored {
            self.in_time(store.delete(self.shard, kind, sequence_number)).await?;
        }
        Ok(())
    }

    async fn move_to_holes(&self, state: &RecordState) -> Result<(), JournalError> {
        let sequence_number = state.sequence_number;
        let none = PriorRecord::default();
        let write = self.merge(StateKind::Hole, sequence_number, &none, &state.progress, None);
        self.in_time(Box::pin(write)).await?;
        // Only then: a crash in between leaves it twice, not nowhere.
        self.in_time(self.journal.store.delete(self.shard, state.kind, sequence_number)).await
    }

    /// Adds to what is known of a Kinesis record, here and in the store.
    async fn write(
        &mut self,
        sequence_number: SequenceNumber,
        change: &Progress,
        quarantined: Option<&QuarantinedRecord>,
    ) -> Result<(), JournalError> {
        let none = PriorRecord::default();
        let prior = self.prior.get(sequence_number).unwrap_or(&none);
        let mut stored = prior.stored.clone();
        let write = self.merge(self.kind, sequence_number, prior, change, quarantined);
        let state = self.in_time(Box::pin(write)).await?;
        if !stored.contains(&self.kind) {
            stored.push(self.kind);
        }
        let record = PriorRecord { progress: state.progress, version: Some(state.version), stored };
        self.prior.insert(sequence_number, record);
        Ok(())
    }

    /// Writes what is known together with a change. If another invocation has written in the meantime, together with
    /// what that one knows, too.
    async fn merge(
        &self,
        kind: StateKind,
        sequence_number: SequenceNumber,
        prior: &PriorRecord,
        change: &Progress,
        quarantined: Option<&QuarantinedRecord>,
    ) -> Result<RecordState, JournalError> {
        let (store, shard) = (&self.journal.store, self.shard);
        let written_by = self.journal.next_write();
        let (mut progress, mut version) = (prior.progress.clone(), prior.version);
        for _ in 0..MAX_TRIES {
            progress.merge(change);
            let mut state = self.state(kind, sequence_number, progress, version);
            state.written_by.clone_from(&written_by);
            let write = JournalWrite { shard, state: &state, expected_version: version, quarantined };
            if store.write(write).await? == WriteOutcome::Written {
                return Ok(state);
            }
            let range = StateRange { kind, from: sequence_number, through: sequence_number, earlier: 0 };
            let stored = store.read(shard, range).await?.states.pop();
            version = stored.as_ref().map(|state| state.version);
            progress = match stored {
                // Ours, whose answer was lost on the way.
                Some(state) if state.written_by == written_by => return Ok(state),
                Some(state) if !state.is_expired(self.invocation.clock.epoch_ms()) => state.progress,
                Some(_) => Progress::default(),
                // Another invocation has passed the record.
                None => prior.progress.clone(),
            };
            progress.done.merge(&prior.progress.done);
        }
        Err(JournalError::Contended { sequence_number, times: MAX_TRIES })
    }

    fn state(
        &self,
        kind: StateKind,
        sequence_number: SequenceNumber,
        progress: Progress,
        before: Option<u64>,
    ) -> RecordState {
        let now_ms = self.invocation.clock.epoch_ms();
        let mut state = RecordState::first(kind, sequence_number, progress, "", now_ms);
        state.version += before.unwrap_or(0);
        state
    }

    async fn in_time<T>(&self, call: JournalFuture<'_, T>) -> Result<T, JournalError> {
        in_time(self.invocation.store_by(), call).await
    }
}

async fn in_time<T>(
    by: Option<Instant>,
    call: impl Future<Output = Result<T, JournalError>>,
) -> Result<T, JournalError> {
    match by {
        Some(by) => timeout_at(by, call).await.unwrap_or(Err(JournalError::OutOfTime)),
        None => call.await,
    }
}

fn log_failure(
    invocation: &Invocation<'_>,
    kinesis_record: &KinesisRecord<'_>,
    what: &'static str,
    error: &JournalError,
) {
    let text = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    tracing::error!(
        request_id = &*invocation.request_id,
        stream = kinesis_record.stream_arn(),
        shard_id = kinesis_record.shard_id.as_deref(),
        sequence_number = %kinesis_record.sequence_number,
        error = text,
        "{what}"
    );
}
