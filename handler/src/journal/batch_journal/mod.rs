//! The writes of a batch to the retry journal: failures that the quarantine takes, what the next invocation must know when
//! the batch has stopped, and what none must know when it has passed.

mod clearance;
mod entry;
mod quarantine;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    pin::Pin,
};

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::{
    Counts, SequenceNumber,
    batch::{cursor::Cursor, failure_rules::FailureRules, stop::Stop, walk::BatchPosition},
    checkpoint::FrozenPosition,
    event::{KinesisRecord, Position},
    invocation::Invocation,
    journal::{
        DoneSet, JournalError, JournalShard, Progress, RecordState, StateKind, UserRecordId,
        retry_journal::{RetryJournal, in_time},
        snapshot::{JournalSnapshot, RecordSnapshot},
    },
};

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
}
