//! The retry journal's table, and what goes wrong with it.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use kinesis_handler::{
    SequenceNumber,
    journal::{
        JournalEntries, JournalError, JournalFuture, JournalShard, JournalStore, JournalWrite,
        MAX_WRITE_ITEMS, MemoryJournal, QuarantinedContent, QuarantinedRecord, RecordState, StateKind,
        StateRange, UserRecordId, WriteOutcome,
    },
};
use kpl_deaggregation::Deaggregator;

use super::{
    faults::{self, FaultSchedule, Moment, Progress},
    invariants::number,
    plan::{JournalPlan, StoreFault},
    world::Safety,
};

/// A call has reached the table, or never will.
#[derive(Debug, Clone)]
pub(super) struct JournalCall {
    pub(super) at: Moment,
    pub(super) invocation: usize,
    pub(super) fault: StoreFault,
    pub(super) effect: Effect,
}

#[derive(Debug, Clone)]
#[expect(dead_code, reason = "some of it is only shown, in traces")]
pub(super) enum Effect {
    /// So many states.
    Read(usize),
    Write(Vec<(StateKind, SequenceNumber)>, WriteOutcome),
    Deleted(StateKind, SequenceNumber),
    /// It has not arrived.
    Nothing,
}

/// A user record has been put into the quarantine, by itself or in the rest of an aggregate.
#[derive(Debug, Clone)]
pub(super) struct Quarantined {
    pub(super) at: Moment,
    pub(super) invocation: usize,
    /// Its number. `None` for an invalid aggregate.
    pub(super) user_record: Option<usize>,
    pub(super) record: QuarantinedRecord,
}

/// One application's way to a table: a connection with faults, one after the other and over again.
#[derive(Debug, Clone)]
pub(super) struct FaultyJournal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    table: Arc<MemoryJournal>,
    faults: FaultSchedule,
    max_write_items: usize,
    /// Number of items in the largest write.
    largest_write: AtomicUsize,
    safety: Safety,
    progress: Arc<Progress>,
    calls: Mutex<Vec<JournalCall>>,
    quarantined: Mutex<Vec<Quarantined>>,
    /// Invocations whose last write into the quarantine has not succeeded, as far as they know.
    troubled: Mutex<HashSet<usize>>,
}

/// A [`JournalShard`] that lives on.
#[derive(Debug)]
struct OwnedShard {
    application: String,
    stream_arn: String,
    shard_id: String,
}

impl OwnedShard {
    fn get(&self) -> JournalShard<'_> {
        JournalShard {
            application: &self.application,
            stream_arn: &self.stream_arn,
            shard_id: &self.shard_id,
        }
    }
}

impl FaultyJournal {
    pub(super) fn new(
        table: Arc<MemoryJournal>,
        plan: &JournalPlan,
        safety: Safety,
        progress: Arc<Progress>,
    ) -> Self {
        let faults = FaultSchedule::new(plan.faults.clone());
        let max_write_items = plan.max_write_items.unwrap_or(MAX_WRITE_ITEMS);
        let (calls, quarantined, troubled) = (Mutex::default(), Mutex::default(), Mutex::default());
        let largest_write = AtomicUsize::new(0);
        let shared = Shared {
            table,
            faults,
            max_write_items,
            largest_write,
            safety,
            progress,
            calls,
            quarantined,
            troubled,
        };
        FaultyJournal { shared: Arc::new(shared) }
    }

    /// Whether every write had as many items as it may have. A panic in the store would be a crash of the function.
    pub(super) fn took_all_writes(&self) -> bool {
        self.shared.largest_write.load(Ordering::Relaxed) <= self.shared.max_write_items
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, Vec<JournalCall>> {
        self.shared.calls.lock().expect("nothing panics while it holds the lock")
    }

    pub(super) fn quarantined(&self) -> MutexGuard<'_, Vec<Quarantined>> {
        self.shared.quarantined.lock().expect("nothing panics while it holds the lock")
    }

    /// Invocations that have returned to a user record which is not in the quarantine.
    pub(super) fn troubled(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.shared.troubled.lock().expect("nothing panics while it holds the lock")
    }

    /// Returns the current content of the table.
    pub(super) fn states(&self, shard: JournalShard<'_>) -> Vec<RecordState> {
        self.shared.table.states(self.shared.key(shard).get())
    }

    /// Returns the current content of the quarantine.
    pub(super) fn quarantine(&self, shard: JournalShard<'_>) -> Vec<QuarantinedRecord> {
        self.shared.table.quarantine(self.shared.key(shard).get())
    }

    pub(super) fn put(&self, shard: JournalShard<'_>, state: RecordState) {
        self.shared.table.put(self.shared.key(shard).get(), state);
    }

    /// A call that does this to the table.
    fn call<T: Send + 'static>(
        &self,
        effect: impl FnOnce(&Shared) -> (T, Effect) + Send + 'static,
    ) -> JournalFuture<'static, T> {
        let fault = self.shared.faults.next();
        let invocation = self.shared.progress.invocation();
        if matches!(fault, StoreFault::Fails | StoreFault::Stalls) {
            self.shared.log(invocation, fault, Effect::Nothing);
        }
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let call = move || {
                let (answer, effect) = effect(&shared);
                shared.log(invocation, fault, effect);
                answer
            };
            let answer = faults::answer(fault, call).await;
            answer.ok_or_else(|| JournalError::Store { source: "asked to".into() })
        })
    }
}

impl Shared {
    fn log(&self, invocation: usize, fault: StoreFault, effect: Effect) {
        let call = JournalCall { at: self.progress.now(), invocation, fault, effect };
        self.calls.lock().expect("nothing panics while it holds the lock").push(call);
    }

    /// The owner of the items that a call is about.
    fn key(&self, shard: JournalShard<'_>) -> OwnedShard {
        let application = match self.safety {
            Safety::IgnoresApplication => "",
            _ => shard.application,
        };
        OwnedShard {
            application: application.to_owned(),
            stream_arn: shard.stream_arn.to_owned(),
            shard_id: shard.shard_id.to_owned(),
        }
    }

    fn read(&self, shard: JournalShard<'_>, range: StateRange) -> Vec<RecordState> {
        let mut states = self.table.read_now(shard, range);
        for RecordState { progress, .. } in &mut states {
            match self.safety {
                Safety::SaysDoneTooFar => {
                    let next = progress.done.ranges().next().map_or(0, |(_, last)| last + 1);
                    progress.done.insert(UserRecordId::Sub(next));
                }
                Safety::ForgetsDone => progress.done = Default::default(),
                Safety::CountsEveryTry => progress.attempts.values_mut().for_each(|attempts| *attempts += 1),
                _ => {}
            }
        }
        states
    }

    fn write(&self, writes: &[OwnedWrite], invocation: usize) -> WriteOutcome {
        let items = writes.iter().map(|write| 1 + write.quarantined.len()).sum();
        self.largest_write.fetch_max(items, Ordering::Relaxed);
        let keeps = self.safety != Safety::QuarantinesNothing;
        let of_table: Vec<_> = writes
            .iter()
            .map(|OwnedWrite { shard, state, expected_version, quarantined }| JournalWrite {
                shard: shard.get(),
                state,
                expected_version: *expected_version,
                quarantined: if keeps { quarantined } else { &[] },
            })
            .collect();
        let outcome = self.table.write_now(&of_table);
        if outcome == WriteOutcome::Written {
            let mut quarantined = self.quarantined.lock().expect("nothing panics while it holds the lock");
            for record in of_table.iter().flat_map(|write| write.quarantined) {
                let user_records = user_records(record);
                // What is at the same position is replaced, and lost if it is not in there.
                quarantined.retain(|Quarantined { record: before, user_record, .. }| {
                    (before.sequence_number, before.id) != (record.sequence_number, record.id)
                        || user_records.contains(user_record)
                });
                let at = self.progress.now();
                let new = user_records.into_iter();
                quarantined.extend(new.map(|user_record| Quarantined {
                    at,
                    invocation,
                    user_record,
                    record: record.clone(),
                }));
            }
        }
        outcome
    }
}

/// The numbers of the user records that a record of the quarantine holds.
fn user_records(record: &QuarantinedRecord) -> Vec<Option<usize>> {
    if record.content != QuarantinedContent::RestOfAggregate {
        return vec![number(&record.data)];
    }
    match Deaggregator::default().deaggregate(&record.partition_key, &record.data) {
        Ok(user_records) => user_records.map(|user_record| number(user_record.data)).collect(),
        Err(_) => vec![None],
    }
}

/// A [`JournalWrite`] that lives on.
#[derive(Debug)]
struct OwnedWrite {
    shard: OwnedShard,
    state: RecordState,
    expected_version: Option<u64>,
    quarantined: Vec<QuarantinedRecord>,
}

impl JournalStore for FaultyJournal {
    fn max_write_items(&self) -> usize {
        self.shared.max_write_items
    }

    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        let shard = self.shared.key(shard);
        self.call(move |shared| {
            let states = shared.read(shard.get(), range);
            let effect = Effect::Read(states.len());
            (JournalEntries { states, unreadable: Vec::new() }, effect)
        })
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        let owned = |write: &JournalWrite<'_>| OwnedWrite {
            shard: self.shared.key(write.shard),
            state: write.state.clone(),
            expected_version: write.expected_version,
            quarantined: write.quarantined.to_vec(),
        };
        let writes: Vec<_> = writes.iter().map(owned).collect();
        let invocation = self.shared.progress.invocation();
        let is_quarantine = writes.iter().any(|write| !write.quarantined.is_empty());
        if is_quarantine {
            self.troubled().insert(invocation);
            self.shared.progress.begin_quarantine(invocation);
        }
        let call = self.call(move |shared| {
            let outcome = shared.write(&writes, invocation);
            let written =
                writes.iter().map(|write| (write.state.kind, write.state.sequence_number)).collect();
            (outcome, Effect::Write(written, outcome))
        });
        Box::pin(async move {
            let outcome = call.await?;
            if is_quarantine && outcome == WriteOutcome::Written {
                self.troubled().remove(&invocation);
            }
            Ok(outcome)
        })
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        let shard = self.shared.key(shard);
        self.call(move |shared| {
            shared.table.delete_now(shard.get(), kind, sequence_number);
            ((), Effect::Deleted(kind, sequence_number))
        })
    }

    fn delete_version<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
        version: u64,
    ) -> JournalFuture<'a, WriteOutcome> {
        let shard = self.shared.key(shard);
        self.call(move |shared| {
            let outcome = shared.table.delete_version_now(shard.get(), kind, sequence_number, version);
            let effect = match outcome {
                WriteOutcome::Written => Effect::Deleted(kind, sequence_number),
                WriteOutcome::Conflict => Effect::Nothing,
            };
            (outcome, effect)
        })
    }
}
