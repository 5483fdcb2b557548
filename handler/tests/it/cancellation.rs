//! Invocations that end at any await: the environment is frozen for good, or a layer drops the handler's future.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
};

use kinesis_handler::{
    BatchResponse, Context, Event, Handler, HandlerError, KinesisRecord, ProcessError, Record,
    RecordProcessor, SequenceNumber,
    checkpoint::{Checkpoint, CheckpointFuture, CheckpointStore, MemoryCheckpoints, RowCheckpoint},
    journal::{
        JournalEntries, JournalFuture, JournalShard, JournalStore, JournalWrite, MemoryJournal, StateKind,
        StateRange, WriteOutcome,
    },
    permanent, retryable,
};
use tokio::task::yield_now;

use crate::batch::{STREAM_ARN, aggregate, invalid_aggregate, plain};
use crate::options::TestOptions;

const SHARD_ID: &str = "shardId-000000000000";
const SHARD: JournalShard<'static> =
    JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: SHARD_ID };

/// Stores whose calls wait before and after they take effect.
#[derive(Debug, Default)]
struct Stores {
    journal: MemoryJournal,
    checkpoints: MemoryCheckpoints,
}

async fn between_waits<T>(effect: impl FnOnce() -> T) -> T {
    yield_now().await;
    let result = effect();
    yield_now().await;
    result
}

impl JournalStore for Stores {
    fn max_write_items(&self) -> usize {
        3
    }

    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        Box::pin(async move {
            let states = between_waits(|| self.journal.read_now(shard, range)).await;
            Ok(JournalEntries { states, unreadable: Vec::new() })
        })
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        Box::pin(async { Ok(between_waits(|| self.journal.write_now(writes)).await) })
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        Box::pin(async move {
            between_waits(|| self.journal.delete_now(shard, kind, sequence_number)).await;
            Ok(())
        })
    }
}

impl CheckpointStore for Stores {
    fn write<'a>(&'a self, checkpoint: Checkpoint<'a>) -> CheckpointFuture<'a> {
        Box::pin(async move { Ok(between_waits(|| self.checkpoints.write_now(&checkpoint)).await) })
    }
}

/// A function with a journal, a quarantine and a mirror.
#[derive(Default)]
struct World {
    stores: Arc<Stores>,
    /// User records that were processed, as sequence number and sub-sequence number.
    done: Mutex<Vec<(u64, u64)>>,
}

impl RecordProcessor for &World {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        yield_now().await;
        match (record.text()?, record.attempt()) {
            ("bad", _) => Err(permanent("never will be")),
            ("fail", Some(1)) => Err(retryable("asked to")),
            _ => {
                let position = record.position();
                let number = position.sequence_number.to_string().parse().expect("a small number");
                let sub_number = position.sub_sequence_number.expect("a standard mapping");
                self.done.lock().expect("no panic while locked").push((number, sub_number));
                Ok(())
            }
        }
    }
}

impl World {
    /// Handles a batch, but drops the future after so many polls. `None` if it was dropped.
    async fn handle(
        &self,
        records: &[KinesisRecord<'_>],
        polls: usize,
    ) -> Option<Result<BatchResponse, HandlerError>> {
        let options = TestOptions {
            application: Some("orders".to_owned()),
            journal: Some(self.stores.clone()),
            quarantine: true,
            checkpoints: Some(self.stores.clone()),
            ..TestOptions::default()
        };
        let handler = Handler::with_options(self, options.build());
        let event = Event::new(records.to_vec()).to_json();
        let context = Context::default();
        let mut handle = Box::pin(handler.handle(&event, &context));
        let mut polls_left = polls;
        poll_fn(|context| {
            if polls_left == 0 {
                return Poll::Ready(None);
            }
            polls_left -= 1;
            handle.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Returns the user records that are processed or quarantined, in order; an invalid aggregate is one.
    fn settled(&self) -> Vec<(u64, u64)> {
        let quarantined = self.stores.journal.quarantine(SHARD).into_iter().map(|record| {
            let number = record.sequence_number.to_string().parse().expect("a small number");
            (number, record.id.to_string().parse().expect("a sub-sequence number"))
        });
        let mut settled: Vec<_> = quarantined.collect();
        settled.extend(self.done.lock().expect("no panic while locked").iter());
        settled.sort_unstable();
        settled.dedup();
        settled
    }
}

/// All user records of the batch.
const ALL: [(u64, u64); 10] =
    [(8, 0), (8, 1), (8, 2), (9, 0), (10, 0), (11, 0), (11, 1), (11, 2), (11, 3), (12, 0)];

/// Cancels the first two invocations of a batch after so many polls, and lets all others end. Returns whether each of the two
/// was cancelled.
async fn check(polls: [usize; 2]) -> [bool; 2] {
    let world = World::default();
    let batch = [
        aggregate(8, &["a", "bad", "b"]),
        plain(9, "c"),
        invalid_aggregate(10),
        aggregate(11, &["d", "bad", "fail", "e"]),
        plain(12, "f"),
    ];
    let mut from = 0;
    let mut was_cancelled = Vec::new();
    for polls_left in polls.into_iter().chain([usize::MAX; 9]) {
        let response = world.handle(&batch[from..], polls_left).await;
        was_cancelled.push(response.is_none());
        let settled = world.settled();
        if let Some(row) = world.stores.checkpoints.row(SHARD_ID) {
            let RowCheckpoint::At(number) = row.checkpoint else { panic!("{polls:?}: {row:?}") };
            let at = (number.to_string().parse().expect("a small number"), row.sub_sequence_number);
            let before: Vec<_> = ALL.into_iter().filter(|&(number, sub)| (number, Some(sub)) <= at).collect();
            assert!(
                settled.starts_with(&before),
                "{polls:?}: the mirror is at {at:?}, processed is {settled:?}"
            );
        }
        let Some(response) = response else { continue };
        let Some(failed) = response.expect("a response").batch_item_failure() else { break };
        from =
            batch.iter().position(|record| record.sequence_number == failed).expect("a record of the batch");
        let number: u64 = failed.to_string().parse().expect("a small number");
        let before: Vec<_> = ALL.into_iter().filter(|record| record.0 < number).collect();
        assert!(settled.starts_with(&before), "{polls:?}: {failed} is reported, processed is {settled:?}");
    }
    assert_eq!(world.settled(), ALL, "{polls:?}");
    assert_eq!(world.stores.journal.quarantine(SHARD).len(), 3, "{polls:?}");
    let mut first_completions = Vec::new();
    for record in world.done.into_inner().expect("no panic while locked") {
        if !first_completions.contains(&record) {
            first_completions.push(record);
        }
    }
    assert!(first_completions.is_sorted(), "{polls:?}: {first_completions:?}");
    [0, 1].map(|invocation| was_cancelled.get(invocation).copied().unwrap_or(false))
}

#[tokio::test]
async fn nothing_is_lost_or_reordered_if_an_invocation_ends_at_any_await() {
    let mut first = 0;
    loop {
        let mut second = 0;
        let is_first_cancelled = loop {
            let [is_first_cancelled, is_second_cancelled] = check([first, second]).await;
            if !is_second_cancelled {
                break is_first_cancelled;
            }
            second += 1;
        };
        if !is_first_cancelled {
            break;
        }
        first += 1;
    }
    assert!(first > 20, "an invocation waits {first} times");
}
