//! The writes of a batch to the retry journal: failures that the quarantine takes, what the next invocation must know when
//! the batch has stopped, and what none must know when it has passed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    pin::Pin,
};

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::{
    Counts, SequenceNumber,
    batch::{
        cursor::Cursor, failure_rules::FailureRules, quarantine_queue::QueuedRecord, stop::Stop,
        walk::BatchPosition,
    },
    checkpoint::FrozenPosition,
    event::{KinesisRecord, Position},
    invocation::Invocation,
    journal::{
        ContentHash, DoneSet, JournalError, JournalShard, JournalWrite, Progress, QuarantinedRecord,
        RecordState, StateKind, StateRange, UserRecordId, WriteOutcome,
        retry_journal::{RetryJournal, in_time, is_stored, write_id},
        snapshot::{JournalSnapshot, RecordSnapshot},
    },
};

/// Most tries of a write. Concurrent writers are one late invocation, or a few, and each of them writes a batch's stop once.
const MAX_TRIES: u32 = 8;

/// Most ranges, contents and failures that the journal keeps of one Kinesis record because of what was processed beyond a stop. Many
/// more, besides those in the quarantine, could exceed DynamoDB's 400 KB for an item, and then nothing would be kept.
const MAX_AHEAD_ENTRIES: usize = 5_000;

/// Number of entries that are cleared at the same time.
const CONCURRENCY: usize = 16;

/// The journal, as far as one batch goes.
pub(crate) struct BatchJournal<'b> {
    journal: &'b RetryJournal,
    shard: JournalShard<'b>,
    records: &'b [KinesisRecord<'b>],
    invocation: &'b Invocation<'b>,
    /// Kind of the entries that are written.
    kind: StateKind,
    snapshot: JournalSnapshot,
    /// Entries before the batch, of records that the mapping has discarded.
    discarded: Vec<RecordState>,
    /// Records before the batch that are processed and still have an entry.
    left: BTreeSet<SequenceNumber>,
    /// Number of user records in the quarantine, by Kinesis record, in the order of the batch.
    quarantined: Vec<(SequenceNumber, u64)>,
    /// Whether a call after the batch has failed: no other one is made then, because each may take some seconds to fail.
    has_failed: bool,
}

/// A call of the store, and what it is about.
type Call<'c, K, T = ()> = Pin<Box<dyn Future<Output = (K, Result<T, JournalError>)> + Send + 'c>>;

impl<'b> BatchJournal<'b> {
    /// A journal of which nothing is read.
    pub(crate) fn new(
        journal: &'b RetryJournal,
        shard: JournalShard<'b>,
        records: &'b [KinesisRecord<'b>],
        invocation: &'b Invocation<'b>,
        kind: StateKind,
    ) -> Self {
        BatchJournal {
            journal,
            shard,
            records,
            invocation,
            kind,
            snapshot: JournalSnapshot::default(),
            discarded: Vec::new(),
            left: BTreeSet::new(),
            quarantined: Vec::new(),
            has_failed: false,
        }
    }

    pub(crate) fn rules(&self) -> &'b FailureRules {
        &self.journal.rules
    }

    pub(crate) fn snapshot(&self) -> &JournalSnapshot {
        &self.snapshot
    }

    /// Adds what was processed before a cut-over to what was read.
    pub(crate) fn include_frozen(&mut self, frozen: Option<FrozenPosition>) {
        self.snapshot.include_frozen(frozen);
    }

    /// Returns the number of user records that the batch has put into the quarantine, by Kinesis record.
    pub(crate) fn into_quarantined(self) -> Vec<(SequenceNumber, u64)> {
        self.quarantined
    }

    /// Takes what was read.
    pub(crate) fn take_in(
        &mut self,
        states: Vec<RecordState>,
        first: SequenceNumber,
        left: BTreeSet<SequenceNumber>,
    ) {
        let now_ms = self.invocation.clock.epoch_ms();
        let mut known: BTreeMap<SequenceNumber, RecordSnapshot> = BTreeMap::new();
        let batch: HashSet<_> = match states.is_empty() {
            true => HashSet::new(),
            false => self.records.iter().map(|record| record.sequence_number).collect(),
        };
        for state in states {
            if state.sequence_number < first {
                if !state.is_expired(now_ms) && !left.contains(&state.sequence_number) {
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
                // Two entries are of one Kinesis record only in a redrive: the discarded entry, and the retry entry that it came from.
                record.progress.include(state.progress);
            }
        }
        self.snapshot = JournalSnapshot::new(known);
        self.left = left;
    }

    /// Writes user records to the quarantine, each together with the entry that has it as done.
    ///
    /// # Errors
    ///
    /// The stop at the first one that could not be written; the cursor has returned to it.
    pub(crate) async fn write_quarantine(
        &mut self,
        mut queued: Vec<QueuedRecord>,
        cursor: &mut Cursor<'b>,
        counts: &mut Counts,
    ) -> Result<(), Stop> {
        let by = self.invocation.store_by_from_now();
        let position = cursor.position();
        let is_written = match by_kinesis_record(&queued).nth(1) {
            Some(_) => self.write_together(&queued, position, by).await,
            None => Ok(false),
        };
        let written = match is_written {
            Ok(true) => Ok(queued.len()),
            Err(error @ JournalError::OutOfTime) => Err((0, error)),
            // Another invocation may write as well, so each entry has to be merged with what that one knows. And what the
            // store refuses of one Kinesis record must not hold up the others.
            Ok(false) | Err(_) => self.write_one_by_one(&queued, position, by).await,
        };
        let (written, error) = match written {
            Ok(written) => (written, None),
            Err((written, error)) => (written, Some(error)),
        };
        let rest = queued.split_off(written);
        for written @ QueuedRecord { record, user_records, .. } in &queued {
            written.note_quarantined(self.invocation);
            counts.quarantined += user_records;
            match self.quarantined.last_mut().filter(|(number, _)| *number == record.sequence_number) {
                Some((_, records)) => *records += user_records,
                None => self.quarantined.push((record.sequence_number, *user_records)),
            }
            self.log_quarantined(record);
        }
        let Some(error) = error else { return Ok(()) };
        counts.journal_write_errors += 1;
        if let Some(fates) = &self.invocation.fates {
            fates.note_reached(cursor.position());
            rest.iter().for_each(|queued| queued.note_failed(self.invocation));
        }
        let Some(not_written) = rest.into_iter().next() else { return Ok(()) };
        let stop = not_written.into_stop(cursor);
        let kinesis_record = &self.records[cursor.position().kinesis_record];
        self.invocation.log_journal_failure(kinesis_record, "user record not quarantined", &error);
        Err(stop)
    }

    /// Writes all of them at once. Returns whether no entry has another version by now.
    async fn write_together(
        &mut self,
        queued: &[QueuedRecord],
        at: BatchPosition,
        by: Option<Instant>,
    ) -> Result<bool, JournalError> {
        let mut states = Vec::new();
        let mut expected = Vec::new();
        let mut records = Vec::new();
        for of_record in by_kinesis_record(queued) {
            let sequence_number = of_record[0].record.sequence_number;
            let known = self.snapshot.get(sequence_number);
            let version = known.and_then(|known| known.version);
            let mut progress = known.map(|known| known.progress.clone()).unwrap_or_default();
            records.push(add_quarantined(&mut progress, of_record));
            progress.merge(&self.quarantine_change(of_record, at));
            states.push(self.state(self.kind, sequence_number, progress, version));
            expected.push(version);
        }
        let writes: Vec<_> = states
            .iter()
            .zip(expected)
            .zip(&records)
            .map(|((state, expected_version), quarantined)| JournalWrite {
                shard: self.shard,
                state,
                expected_version,
                quarantined,
            })
            .collect();
        let write = async { self.journal.store.write(&writes).await };
        if in_time(by, write).await? == WriteOutcome::Conflict {
            return Ok(false);
        }
        for state in states {
            self.note_written(state);
        }
        Ok(true)
    }

    /// Writes those of one Kinesis record after those of another. An error comes with the number of those before.
    async fn write_one_by_one(
        &mut self,
        queued: &[QueuedRecord],
        at: BatchPosition,
        by: Option<Instant>,
    ) -> Result<usize, (usize, JournalError)> {
        let mut written = 0;
        for of_record in by_kinesis_record(queued) {
            let sequence_number = of_record[0].record.sequence_number;
            let change = self.quarantine_change(of_record, at);
            self.write(sequence_number, &change, of_record, by).await.map_err(|error| (written, error))?;
            written += of_record.len();
        }
        Ok(written)
    }

    /// Returns the change of a Kinesis record's entry that comes with these in the quarantine. All user records before them are
    /// done as well, and in the Kinesis record where the batch is, all before its position.
    fn quarantine_change(&self, of_record: &[QueuedRecord], at: BatchPosition) -> Progress {
        let mut done = DoneSet::default();
        for QueuedRecord { record, sub_sequence_numbers, .. } in of_record {
            match record.id {
                UserRecordId::Sub(_) => done.insert_range(0, *sub_sequence_numbers.end()),
                UserRecordId::Content(_) => done.insert(record.id),
            }
        }
        let first = of_record.first().map(|queued| &queued.record);
        let here = self.records.get(at.kinesis_record).filter(|here| !here.is_enhanced_fan_out());
        if here.map(|here| here.sequence_number) == first.map(|first| first.sequence_number) {
            done.merge(&DoneSet::before(at.sub_sequence_number.unwrap_or(0)));
        }
        Progress { arrival_ms: first.and_then(|first| first.arrival_ms), ..Progress::done(done) }
    }

    /// Writes what the next invocation must know, and deletes what none must. `failed` is the Kinesis record that the
    /// response names.
    pub(crate) async fn finish(
        &mut self,
        stop: Option<&Stop>,
        failed: Option<SequenceNumber>,
        cursor: &mut Cursor<'b>,
        counts: &mut Counts,
    ) {
        let by = self.invocation.store_by();
        let mut changes = self.changes(stop, failed, cursor.position());
        // Before the others, because the failed attempt must be kept even if one of these cannot be written.
        if let Some((number, change)) = changes.pop_first() {
            let written = self.write(number, &change, &[], by).await;
            self.count(written, "journal not written", counts);
        }
        self.write_ahead(changes, by, counts).await;
        let is_passed = |number: SequenceNumber| failed.is_none_or(|failed| number < failed);
        if !self.snapshot.is_read() {
            let numbers = self.records.iter().map(|record| record.sequence_number);
            self.remember(numbers.filter(|number| is_passed(*number)));
        }
        self.clear(is_passed, cursor, by, counts).await;
        self.move_discarded(by, counts).await;
    }

    /// Writes what this invocation adds to Kinesis records beyond the one where the batch stops.
    async fn write_ahead(
        &mut self,
        changes: BTreeMap<SequenceNumber, Progress>,
        by: Option<Instant>,
        counts: &mut Counts,
    ) {
        let this = &*self;
        let none = RecordSnapshot::default();
        let mut calls: Vec<Call<'_, SequenceNumber, RecordState>> = Vec::new();
        for (&number, change) in &changes {
            let known = this.snapshot.get(number).unwrap_or(&none);
            let add = |progress: &mut Progress| progress.merge(change);
            let write = this.merge(this.kind, number, known, add, &[]);
            calls.push(Box::pin(async move { (number, in_time(by, write).await) }));
        }
        for (_, written) in this.some_at_a_time(calls).await {
            let written = written.map(|state| self.note_written(state));
            self.count(written, "journal not written", counts);
        }
    }

    /// Deletes the entries of all Kinesis records that are processed.
    async fn clear(
        &mut self,
        is_passed: impl Fn(SequenceNumber) -> bool,
        cursor: &mut Cursor<'b>,
        by: Option<Instant>,
        counts: &mut Counts,
    ) {
        let this = &*self;
        let nothing = RecordSnapshot::default();
        let left = this.left.iter().map(|&number| (number, &nothing));
        let of_batch = this.snapshot.iter().filter(|(_, record)| !record.stored.is_empty());
        let passed: Vec<_> = of_batch.filter(|&(number, _)| is_passed(number)).chain(left).collect();
        if passed.is_empty() {
            return;
        }
        let mut members = this.members(cursor);
        let mut calls: Vec<Call<'_, SequenceNumber>> = Vec::new();
        for &(number, record) in &passed {
            let members = members.remove(&number);
            calls.push(Box::pin(
                async move { (number, in_time(by, this.pass(number, record, members)).await) },
            ));
        }
        let results = this.some_at_a_time(calls).await;
        let mut kept: BTreeSet<_> = passed.iter().map(|&(number, _)| number).collect();
        for (number, result) in results {
            if result.is_ok() {
                kept.remove(&number);
                self.journal.passed.forget(self.shard, [number]);
            }
            self.count(result, "journal not cleared", counts);
        }
        self.remember(kept);
    }

    /// Remembers Kinesis records that are processed and may have an entry all the same.
    fn remember(&self, passed: impl IntoIterator<Item = SequenceNumber>) {
        let is_fan_out = self.records.iter().any(KinesisRecord::is_enhanced_fan_out);
        // An entry of a redrive is deleted by the tool. With more than one lane, a fan-out consumer may have other
        // members of the same Kinesis record in another batch.
        if self.kind == StateKind::Retry && (!is_fan_out || self.journal.has_one_lane) {
            self.journal.passed.remember(self.shard, passed, self.invocation.clock.epoch_ms());
        }
    }

    /// Moves the entries of Kinesis records that the mapping has discarded to the discarded.
    async fn move_discarded(&mut self, by: Option<Instant>, counts: &mut Counts) {
        let this = &*self;
        let mut calls: Vec<Call<'_, RecordState>> = Vec::new();
        for state in &this.discarded {
            calls.push(Box::pin(
                async move { (state.clone(), in_time(by, this.move_to_discarded(state)).await) },
            ));
        }
        for (state, moved) in this.some_at_a_time(calls).await {
            if moved.is_ok() {
                counts.discarded += 1;
                tracing::warn!(
                    position = %self.position(state.sequence_number, None),
                    error = state.progress.last_error,
                    "Kinesis record was discarded by the mapping before it was processed"
                );
            }
            self.count(moved, "journal not cleared", counts);
        }
    }

    /// Makes calls, some of them at the same time, up to the first one that fails. Returns the results.
    async fn some_at_a_time<K, T>(&self, calls: Vec<Call<'_, K, T>>) -> Vec<(K, Result<T, JournalError>)> {
        let mut results = Vec::new();
        if self.has_failed {
            return results;
        }
        let mut calls = stream::iter(calls).buffer_unordered(CONCURRENCY);
        while let Some((key, result)) = calls.next().await {
            let has_failed = result.is_err();
            results.push((key, result));
            if has_failed {
                break;
            }
        }
        results
    }

    /// Returns what this invocation adds to the record that the response names, if that is anything, and to those beyond it of
    /// which something was processed.
    fn changes(
        &self,
        stop: Option<&Stop>,
        failed: Option<SequenceNumber>,
        at: BatchPosition,
    ) -> BTreeMap<SequenceNumber, Progress> {
        let mut changes = stop.map(|stop| stop.ahead.clone()).unwrap_or_default();
        for (&number, change) in &mut changes {
            let known = self.snapshot.progress(number).map_or(0, Progress::entries);
            change.truncate(MAX_AHEAD_ENTRIES.saturating_sub(known));
        }
        changes.retain(|_, change| !change.is_empty());
        if failed.is_some()
            && let Some((kinesis_record, change)) = self.change(stop, at)
        {
            changes.entry(kinesis_record.sequence_number).or_default().merge(&change);
        }
        changes
    }

    /// Returns what this invocation adds to the record that the response names. `None` if that is nothing.
    fn change(&self, stop: Option<&Stop>, at: BatchPosition) -> Option<(&'b KinesisRecord<'b>, Progress)> {
        let (kinesis_record, done_before) = match stop {
            Some(_) => (&self.records[at.kinesis_record], at.sub_sequence_number.unwrap_or(0)),
            // It is done, and named only because its checkpoint could not be written.
            None => (self.records.last()?, at.user_records_before),
        };
        let done = match kinesis_record.is_enhanced_fan_out() {
            true => DoneSet::default(),
            false => DoneSet::before(done_before),
        };
        let mut change = Progress::done(done);
        change.arrival_ms = kinesis_record.approximate_arrival_ms;
        if let Some(attempt) = stop.and_then(|stop| stop.attempt.as_ref()) {
            change.fail(attempt.id, &attempt.error, self.invocation.clock.epoch_ms());
        } else if let Some(progress) = self.snapshot.progress(kinesis_record.sequence_number)
            && progress.done.covers(&change.done)
        {
            return None;
        }
        (!change.is_empty()).then_some((kinesis_record, change))
    }

    /// Returns the user records of Kinesis records that Lambda has taken apart, as far as they are in the batch: other
    /// members may be in another one.
    fn members(&self, cursor: &mut Cursor<'b>) -> HashMap<SequenceNumber, Vec<UserRecordId>> {
        let mut members: HashMap<_, Vec<_>> = HashMap::new();
        for (index, record) in self.records.iter().enumerate() {
            let has_entry =
                || self.snapshot.get(record.sequence_number).is_some_and(|of| !of.stored.is_empty());
            if record.is_enhanced_fan_out()
                && has_entry()
                && let Ok(data) = cursor.payload(index)
            {
                members
                    .entry(record.sequence_number)
                    .or_default()
                    .push(UserRecordId::Content(ContentHash::new(record.partition_key.as_bytes(), data)));
            }
        }
        members
    }

    /// Clears the entries of a Kinesis record that the batch has passed, but for what they say of members that are not in
    /// the batch.
    async fn pass(
        &self,
        sequence_number: SequenceNumber,
        record: &RecordSnapshot,
        members: Option<Vec<UserRecordId>>,
    ) -> Result<(), JournalError> {
        if let Some(members) = &members
            && !self.forget(sequence_number, record, members).await?
        {
            return Ok(());
        }
        // What is left of an earlier batch was not read with this one.
        let stored = if record.stored.is_empty() { &[StateKind::Retry][..] } else { &record.stored };
        let is_stored = |kind: &&StateKind| members.is_none() || **kind != self.kind;
        for &kind in stored.iter().filter(is_stored) {
            self.journal.store.delete(self.shard, kind, sequence_number).await?;
        }
        Ok(())
    }

    /// Takes members of a Kinesis record out of its entry, which another batch may write at the same time. Returns whether no
    /// others were in it, so that it is deleted.
    async fn forget(
        &self,
        sequence_number: SequenceNumber,
        record: &RecordSnapshot,
        members: &[UserRecordId],
    ) -> Result<bool, JournalError> {
        let (store, shard, kind) = (&self.journal.store, self.shard, self.kind);
        let (mut rest, mut version) = (record.progress.clone(), record.version);
        for _ in 0..MAX_TRIES {
            members.iter().for_each(|member| rest.forget(member));
            let is_empty = rest.is_empty();
            let outcome = match version {
                None if is_empty => return Ok(true),
                Some(version) if is_empty => {
                    store.delete_version(shard, kind, sequence_number, version).await?
                }
                expected_version => {
                    let state = self.state(kind, sequence_number, rest, version);
                    let write = JournalWrite { shard, state: &state, expected_version, quarantined: &[] };
                    store.write(&[write]).await?
                }
            };
            if outcome == WriteOutcome::Written {
                return Ok(is_empty);
            }
            let stored = self.stored(kind, sequence_number).await?;
            version = stored.as_ref().map(|stored| stored.version);
            rest = stored.map(|stored| stored.progress).unwrap_or_default();
        }
        Err(JournalError::Contended { sequence_number, times: MAX_TRIES })
    }

    /// Reads an entry.
    async fn stored(
        &self,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> Result<Option<RecordState>, JournalError> {
        let range = StateRange { kind, from: sequence_number, through: sequence_number, earlier: 0 };
        Ok(self.journal.store.read(self.shard, range).await?.states.pop())
    }

    async fn move_to_discarded(&self, state: &RecordState) -> Result<(), JournalError> {
        let sequence_number = state.sequence_number;
        let none = RecordSnapshot::default();
        // An earlier invocation may have moved it already, without deleting it: then these are not new failures.
        let include = |progress: &mut Progress| progress.include(state.progress.clone());
        self.merge(StateKind::Discarded, sequence_number, &none, include, &[]).await?;
        // Only then: a crash in between leaves it twice, not nowhere.
        self.journal.store.delete(self.shard, state.kind, sequence_number).await
    }

    /// Adds to what is known of a Kinesis record, here and in the store.
    async fn write(
        &mut self,
        sequence_number: SequenceNumber,
        change: &Progress,
        queued: &[QueuedRecord],
        by: Option<Instant>,
    ) -> Result<(), JournalError> {
        let none = RecordSnapshot::default();
        let known = self.snapshot.get(sequence_number).unwrap_or(&none);
        let add = |progress: &mut Progress| progress.merge(change);
        let write = self.merge(self.kind, sequence_number, known, add, queued);
        let state = in_time(by, write).await?;
        self.note_written(state);
        Ok(())
    }

    /// Writes what is known together with a change, and what waits for the quarantine. If another invocation has written
    /// in the meantime, together with what that one knows, too, and without what is done by that.
    async fn merge(
        &self,
        kind: StateKind,
        sequence_number: SequenceNumber,
        known: &RecordSnapshot,
        add: impl Fn(&mut Progress),
        queued: &[QueuedRecord],
    ) -> Result<RecordState, JournalError> {
        let (store, shard) = (&self.journal.store, self.shard);
        let (mut progress, mut version) = (known.progress.clone(), known.version);
        for _ in 0..MAX_TRIES {
            let quarantined = add_quarantined(&mut progress, queued);
            add(&mut progress);
            let state = self.state(kind, sequence_number, progress, version);
            let write =
                JournalWrite { shard, state: &state, expected_version: version, quarantined: &quarantined };
            if store.write(&[write]).await? == WriteOutcome::Written {
                return Ok(state);
            }
            let stored = self.stored(kind, sequence_number).await?;
            version = stored.as_ref().map(|state| state.version);
            progress = match stored {
                // Ours, whose answer was lost on the way.
                Some(stored) if is_stored(&stored, &state) => return Ok(state),
                Some(stored) if !stored.is_expired(self.invocation.clock.epoch_ms()) => stored.progress,
                Some(_) => Progress::default(),
                // Another invocation has passed the record.
                None => known.progress.clone(),
            };
            progress.done.merge(&known.progress.done);
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
        let mut state =
            RecordState::first(kind, sequence_number, progress, write_id(self.invocation), now_ms);
        state.version += before.unwrap_or(0);
        state
    }

    fn note_written(&mut self, state: RecordState) {
        let sequence_number = state.sequence_number;
        let mut stored =
            self.snapshot.get(sequence_number).map(|known| known.stored.clone()).unwrap_or_default();
        if !stored.contains(&state.kind) {
            stored.push(state.kind);
        }
        let record = RecordSnapshot { progress: state.progress, version: Some(state.version), stored };
        self.snapshot.insert(sequence_number, record);
    }

    fn count(&mut self, written: Result<(), JournalError>, what: &'static str, counts: &mut Counts) {
        if let Err(error) = written {
            counts.journal_write_errors += 1;
            self.has_failed = true;
            self.invocation.log_journal_failure(&self.records[0], what, &error);
        }
    }

    fn position(
        &self,
        sequence_number: SequenceNumber,
        id: Option<UserRecordId>,
    ) -> Position<'_, UserRecordId> {
        Position { shard_id: self.invocation.shard_id, sequence_number, id }
    }

    fn log_quarantined(&self, record: &QuarantinedRecord) {
        tracing::warn!(
            position = %self.position(record.sequence_number, Some(record.id)),
            reason = %record.reason,
            attempts = record.attempts,
            error = record.error,
            "user record quarantined"
        );
    }
}

/// Splits queued user records into those of one Kinesis record and those of the next.
fn by_kinesis_record(queued: &[QueuedRecord]) -> impl Iterator<Item = &[QueuedRecord]> {
    queued.chunk_by(|one, next| one.record.sequence_number == next.record.sequence_number)
}

/// Counts those that are not done yet, and returns them. The others are not written again: where another invocation has
/// put the rest of an aggregate, a single user record would take its place.
fn add_quarantined(progress: &mut Progress, queued: &[QueuedRecord]) -> Vec<QuarantinedRecord> {
    let is_done = |QueuedRecord { record, sub_sequence_numbers, .. }: &QueuedRecord| match record.id {
        UserRecordId::Sub(_) => progress.done.contains_range(sub_sequence_numbers.clone()),
        UserRecordId::Content(_) => progress.done.contains(&record.id),
    };
    let new: Vec<_> = queued.iter().filter(|queued| !is_done(queued)).collect();
    let units = new.iter().map(|queued| queued.units).sum();
    progress.quarantined = progress.quarantined.saturating_add(units);
    new.into_iter().map(|queued| queued.record.clone()).collect()
}
