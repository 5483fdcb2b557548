//! Handler rule 8: a journal that fails, hangs, loses answers or is written by others, and what a batch comes to with it.

use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use kinesis_handler::{
    BatchResponse, Clock, Context, Event, EventMode, Handler, KinesisRecord, ProcessError, Record,
    SequenceNumber, SystemClock,
    journal::{
        DoneSet, JournalEntries, JournalError, JournalFuture, JournalShard, JournalStore, JournalWrite,
        MemoryJournal, Progress, RecordState, StateKind, StateRange, UserRecordId, WriteOutcome,
    },
    permanent, retryable,
    testing::TestBatch,
};
use tokio::time::Instant;

use crate::batch::{STREAM_ARN, SUCCESS, aggregate, failure, json, plain, with_quarantined, with_stop};
use crate::options::TestOptions;

const SHARD: JournalShard<'static> =
    JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: "shardId-000000000000" };

/// The stream of a [`TestBatch`].
const TEST_STREAM_ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/test";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Fails,
    Stalls,
    Panics,
    /// Another invocation, one that Lambda has given up, writes just before.
    Overtaken,
}

/// A journal, and what becomes of one call after the other; nothing goes wrong after that.
#[derive(Debug, Default)]
struct Store {
    journal: MemoryJournal,
    faults: Mutex<VecDeque<Fault>>,
    calls: Mutex<Vec<&'static str>>,
}

impl Store {
    fn next(&self, call: &'static str) -> Fault {
        self.calls.lock().expect("no panic while locked").push(call);
        self.faults.lock().expect("no panic while locked").pop_front().unwrap_or(Fault::None)
    }

    fn set_faults(&self, faults: &[Fault]) {
        *self.faults.lock().expect("no panic while locked") = faults.iter().copied().collect();
    }

    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().expect("no panic while locked"))
    }

    /// The write of an invocation that keeps running: the first two user records are done, and the next one has failed once.
    fn overtake(&self, write: &JournalWrite<'_>) {
        let number = write.state.sequence_number;
        let is_it = |state: &RecordState| state.kind == write.state.kind && state.sequence_number == number;
        let before = self.journal.states(SHARD).into_iter().find(is_it);
        let mut progress = before.as_ref().map(|state| state.progress.clone()).unwrap_or_default();
        let mut change = Progress::done(DoneSet::before(2));
        change.attempts.insert(UserRecordId::Sub(2), 1);
        progress.merge(&change);
        let mut state =
            RecordState::first(write.state.kind, number, progress, "zombie", SystemClock.epoch_ms());
        state.version += before.map_or(0, |state| state.version);
        self.journal.put(SHARD, state);
    }
}

async fn with_fault<T>(fault: Fault, call: impl FnOnce() -> T) -> Result<T, JournalError> {
    match fault {
        Fault::None | Fault::Overtaken => Ok(call()),
        Fault::Fails => Err(JournalError::Store { source: "asked to".into() }),
        Fault::Stalls => pending().await,
        Fault::Panics => panic!("asked to"),
    }
}

impl JournalStore for Store {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        let fault = self.next("read");
        Box::pin(with_fault(fault, move || JournalEntries {
            states: self.journal.read_now(shard, range),
            unreadable: Vec::new(),
        }))
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        let is_entry = writes.iter().all(|write| write.quarantined.is_empty());
        let fault = self.next(if is_entry { "write" } else { "quarantine" });
        if fault == Fault::Overtaken {
            self.overtake(&writes[0]);
        }
        Box::pin(with_fault(fault, move || self.journal.write_now(writes)))
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        let fault = self.next("delete");
        Box::pin(with_fault(fault, move || self.journal.delete_now(shard, kind, sequence_number)))
    }
}

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    match record.text()? {
        "fail" => Err(retryable("asked to")),
        "bad" => Err(permanent("asked to")),
        _ => Ok(()),
    }
}

fn options(store: &Arc<Store>) -> TestOptions {
    TestOptions {
        application: Some("orders".to_owned()),
        journal: Some(store.clone()),
        quarantine: true,
        parallelization_factor: NonZeroU32::new(1),
        ..TestOptions::default()
    }
}

/// Handles a batch with these faults. It has ten seconds.
async fn handle(store: &Arc<Store>, faults: &[Fault], records: &[KinesisRecord<'_>]) -> BatchResponse {
    handle_event(store, faults, &Event::new(records.to_vec())).await
}

async fn handle_event(store: &Arc<Store>, faults: &[Fault], event: &Event<'_>) -> BatchResponse {
    store.set_faults(faults);
    let mut context = Context::default();
    context.deadline = SystemClock.epoch_ms() + 10_000;
    let handler = Handler::with_options(process, options(store).build());
    handler.handle(&event.to_json(), &context).await.expect("a response")
}

fn failed(response: &BatchResponse) -> (u64, u64) {
    (response.counts().journal_read_errors, response.counts().journal_write_errors)
}

/// Done ranges, failures, version.
fn state(store: &Store) -> String {
    let states = store.journal.states(SHARD);
    let [state] = states.as_slice() else { return format!("{} states", states.len()) };
    let Progress { done, attempts, .. } = &state.progress;
    format!(
        "{:?} {:?} v{}",
        done.ranges().collect::<Vec<_>>(),
        attempts.values().collect::<Vec<_>>(),
        state.version
    )
}

#[tokio::test(start_paused = true)]
async fn a_good_batch_is_good_whatever_the_journal_does() {
    for fault in [Fault::Fails, Fault::Stalls, Fault::Panics] {
        let store = Arc::new(Store::default());
        let started = Instant::now();
        let response = handle(&store, &[fault; 9], &[plain(8, "a"), plain(9, "b")]).await;
        assert_eq!((json(&response), failed(&response)), (SUCCESS.to_owned(), (1, 0)), "{fault:?}");
        assert_eq!(store.calls(), ["read"]);
        // A quarter of what there is for records.
        assert!(started.elapsed() <= Duration::from_millis(2_500), "{:?}", started.elapsed());
    }
    let store = Arc::new(Store::default());
    handle(&store, &[], &[plain(8, "a")]).await;
    assert_eq!(store.calls(), ["read"], "one read, and no write");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_cannot_be_written_is_reported_all_the_same() {
    let records = [aggregate(9, &["a", "fail"]), plain(10, "b")];
    for fault in [Fault::Fails, Fault::Stalls, Fault::Panics] {
        let store = Arc::new(Store::default());
        let started = Instant::now();
        let response = handle(&store, &[Fault::None, fault], &records).await;
        assert_eq!((json(&response), failed(&response)), (failure(9), (0, 1)), "{fault:?}");
        assert_eq!((store.calls(), state(&store)), (vec!["read", "write"], "0 states".to_owned()));
        assert!(started.elapsed() < Duration::from_millis(9_600), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_quarantine_cannot_be_written_stays_failed() {
    let records = [aggregate(9, &["a", "bad", "b"]), plain(10, "c")];
    for fault in [Fault::Fails, Fault::Stalls, Fault::Panics] {
        let store = Arc::new(Store::default());
        let response = handle(&store, &[Fault::None, fault], &records).await;
        assert_eq!((json(&response), failed(&response)), (failure(9), (0, 1)), "{fault:?}");
        assert_eq!(store.calls(), ["read", "quarantine", "write"]);
        assert_eq!(state(&store), "[(0, 0)] [1] v1", "{fault:?}");
        assert!(store.journal.quarantine(SHARD).is_empty());
        // The next invocation tries again.
        assert_eq!(json(&handle(&store, &[], &records).await), SUCCESS);
        assert_eq!((store.journal.quarantine(SHARD).len(), state(&store)), (1, "0 states".to_owned()));
    }
}

#[tokio::test]
async fn the_outcome_of_a_record_that_cannot_be_quarantined_hides_none_of_those_beyond() {
    let store = Arc::new(Store::default());
    store.set_faults(&[Fault::None, Fault::Fails]);
    let handler = Handler::with_options(process, options(&store).build());
    let batch = TestBatch::new().aggregate(["a", "bad", "b", "bad", "fail", "c"]);
    let run = batch.run_with(&handler).await;
    let failed = "failed: asked to";
    run.assert_fates(&["processed", failed, "processed", failed, failed, "not reached"]);
    assert_eq!(store.calls(), ["read", "quarantine", "write"]);
    let states = store.journal.states(JournalShard { stream_arn: TEST_STREAM_ARN, ..SHARD });
    let attempts: Vec<_> = states.iter().map(|state| state.progress.attempts.clone()).collect();
    // The last one was to stop the batch; the one before was never to be tried again.
    let failed = [(UserRecordId::Sub(1), 1), (UserRecordId::Sub(4), 1)];
    assert_eq!(attempts, [BTreeMap::from(failed)]);
}

#[tokio::test]
async fn a_record_that_is_held_and_cannot_be_quarantined_was_not_attempted() {
    let store = Arc::new(Store::default());
    store.set_faults(&[Fault::None, Fault::Fails, Fault::None, Fault::Fails]);
    let handler = Handler::with_options(process, TestOptions { hold: true, ..options(&store) }.build());
    let run = TestBatch::new().record("bad").record("a").run_with(&handler).await;
    run.assert_fates(&[
        "quarantined: asked to",
        "failed: held behind 1:0, an earlier record of its partition key, which was quarantined",
    ]);
    assert_eq!(store.calls(), ["read", "quarantine", "quarantine", "quarantine", "delete"]);
    assert!(store.journal.states(JournalShard { stream_arn: TEST_STREAM_ARN, ..SHARD }).is_empty());
}

#[tokio::test]
async fn what_another_invocation_has_written_is_added_to() {
    let store = Arc::new(Store::default());
    let records = [aggregate(9, &["a", "fail", "b"])];
    let response = handle(&store, &[Fault::None, Fault::Overtaken], &records).await;
    assert_eq!((json(&response), failed(&response)), (failure(9), (0, 0)));
    assert_eq!(store.calls(), ["read", "write", "read", "write"]);
    // The other one was past it.
    assert_eq!(state(&store), "[(0, 1)] [1] v2");

    // Both have failed at the same one.
    let store = Arc::new(Store::default());
    let records = [aggregate(9, &["a", "b", "fail"])];
    handle(&store, &[], &records).await;
    handle(&store, &[Fault::None, Fault::Overtaken], &records).await;
    assert_eq!(state(&store), "[(0, 1)] [3] v3");

    // The same with a quarantine: what the other one has done is not put there.
    let store = Arc::new(Store::default());
    let records = [aggregate(9, &["bad", "a", "fail"])];
    let response = handle(&store, &[Fault::None, Fault::Overtaken], &records).await;
    assert_eq!((json(&response), response.counts().quarantined), (failure(9), 1));
    assert_eq!(store.calls(), ["read", "quarantine", "read", "write", "write"]);
    assert_eq!((state(&store), store.journal.quarantine(SHARD).len()), ("[(0, 1)] [2] v3".to_owned(), 0));
}

#[tokio::test]
async fn two_redrives_at_once_forget_nothing_of_what_is_not_yet_discarded() {
    let store = Arc::new(Store::default());
    let mut event = Event::new(vec![aggregate(9, &["a", "b", "c", "fail", "d"])]);
    event.mode = EventMode::Resume;
    // The function's own state knows of more than what lies before the failure.
    let mut done = DoneSet::before(3);
    done.insert(UserRecordId::Sub(4));
    let number: SequenceNumber = "9".parse().expect("digits");
    let progress = Progress::done(done.clone());
    let now_ms = SystemClock.epoch_ms();
    store.journal.put(SHARD, RecordState::first(StateKind::Retry, number, progress, "function", now_ms));
    // It reads both kinds, and the other one writes a discarded entry that does not have it.
    let response = handle_event(&store, &[Fault::None, Fault::None, Fault::Overtaken], &event).await;
    assert_eq!(
        (json(&response), failed(&response)),
        (with_stop(with_quarantined(failure(9), &[]), 9, 3), (0, 0))
    );
    assert_eq!(store.calls(), ["read", "read", "write", "read", "write"]);
    let discarded = store.journal.states(SHARD).remove(1);
    assert_eq!((discarded.kind, discarded.version), (StateKind::Discarded, 2));
    assert_eq!(discarded.progress.done, done);
}

#[tokio::test]
async fn one_that_is_overtaken_again_and_again_gives_up() {
    let store = Arc::new(Store::default());
    let mut faults = vec![Fault::None];
    faults.extend([Fault::Overtaken, Fault::None].repeat(20));
    let response = handle(&store, &faults, &[aggregate(9, &["a", "fail"])]).await;
    assert_eq!((json(&response), failed(&response)), (failure(9), (0, 1)));
    assert_eq!(store.calls().iter().filter(|call| **call == "write").count(), 8);
}

#[tokio::test]
async fn a_state_that_another_invocation_has_passed_is_written_anew() {
    let store = Arc::new(Store::default());
    let records = [aggregate(9, &["a", "fail"])];
    handle(&store, &[], &records).await;
    // The read sees it, and when it is written, it is gone.
    let number: SequenceNumber = "9".parse().expect("digits");
    let read = Arc::new(Deleting { store: Arc::clone(&store), number });
    let options =
        TestOptions { application: Some("orders".to_owned()), journal: Some(read), ..TestOptions::default() };
    let handler = Handler::with_options(process, options.build());
    let event = Event::new(records.to_vec()).to_json();
    let response = handler.handle(&event, &Context::default()).await.expect("a response");
    assert_eq!((json(&response), failed(&response)), (failure(9), (0, 0)));
    assert_eq!(state(&store), "[(0, 0)] [2] v1");
}

/// Somebody passes the record after each read.
#[derive(Debug)]
struct Deleting {
    store: Arc<Store>,
    number: SequenceNumber,
}

impl JournalStore for Deleting {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        Box::pin(async move {
            let states = self.store.read(shard, range).await;
            self.store.journal.delete_now(shard, StateKind::Retry, self.number);
            states
        })
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        self.store.write(writes)
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        self.store.delete(shard, kind, sequence_number)
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_added_twice() {
    // The store tries again by itself: its second try meets what the first has written.
    let store = Arc::new(Store::default());
    let records = [aggregate(9, &["a", "fail"])];
    let retrying = Arc::new(Retrying { store: Arc::clone(&store) });
    let options = TestOptions {
        application: Some("orders".to_owned()),
        journal: Some(retrying),
        ..TestOptions::default()
    };
    let handler = Handler::with_options(process, options.build());
    let event = Event::new(records.to_vec()).to_json();
    let response = handler.handle(&event, &Context::default()).await.expect("a response");
    assert_eq!((json(&response), failed(&response)), (failure(9), (0, 0)));
    assert_eq!(state(&store), "[(0, 0)] [1] v1");
}

/// Loses the first answer to each write.
#[derive(Debug)]
struct Retrying {
    store: Arc<Store>,
}

impl JournalStore for Retrying {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        self.store.read(shard, range)
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        Box::pin(async move {
            self.store.write(writes).await?;
            self.store.write(writes).await
        })
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        self.store.delete(shard, kind, sequence_number)
    }
}

#[tokio::test]
async fn a_state_that_cannot_be_deleted_becomes_a_discarded_record() {
    let store = Arc::new(Store::default());
    handle(&store, &[], &[aggregate(9, &["a", "fail"])]).await;
    store.journal.put(SHARD, {
        let mut state = store.journal.states(SHARD).remove(0);
        state.progress = Progress::done(DoneSet::before(2));
        state
    });
    let response = handle(&store, &[Fault::None, Fault::Fails], &[aggregate(9, &["a", "fail"])]).await;
    assert_eq!((json(&response), failed(&response)), (SUCCESS.to_owned(), (0, 1)));
    assert_eq!(store.journal.states(SHARD)[0].kind, StateKind::Retry);
    let response = handle(&store, &[], &[plain(10, "b")]).await;
    assert_eq!((json(&response), response.counts().discarded), (SUCCESS.to_owned(), 1));
    assert_eq!(store.journal.states(SHARD)[0].kind, StateKind::Discarded);
}
