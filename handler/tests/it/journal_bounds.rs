//! The cost of the journal: time, calls, and entries that nobody needs.

use std::{
    collections::VecDeque,
    future::pending,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use kinesis_handler::{
    BatchResponse, Clock, Context, Event, EventMode, Handler, KinesisRecord, ProcessError, Record,
    SequenceNumber, SystemClock,
    checkpoint::{MemoryCheckpoints, Row, RowCheckpoint},
    journal::{
        DoneSet, JournalEntries, JournalError, JournalFuture, JournalShard, JournalStore, JournalWrite,
        MemoryJournal, Progress, RecordState, StateKind, StateRange, UserRecordId, WriteOutcome,
    },
    permanent, retryable,
};
use tokio::time::{Instant, sleep};

use crate::batch::{STREAM_ARN, SUCCESS, aggregate, failure, json, plain, with_quarantined};
use crate::options::TestOptions;

const SHARD: JournalShard<'static> =
    JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: "shardId-000000000000" };

/// The fate of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fails,
    Stalls,
    Takes(Duration),
    /// As a call of the real client does that gets no answer.
    FailsAfter(Duration),
    /// Another write is there, which has our name and none of what we wanted.
    Impostor,
}

#[derive(Debug, Default)]
struct Store {
    journal: MemoryJournal,
    /// By the beginning of a call's name; once each.
    fates: Mutex<VecDeque<(&'static str, Fate)>>,
    /// The fate of all deletes.
    of_deletes: Mutex<Option<Fate>>,
    calls: Mutex<Vec<String>>,
    write_ids: Mutex<Vec<String>>,
}

impl Store {
    fn enter(&self, call: String) -> Option<Fate> {
        let mut fates = self.fates.lock().expect("no panic while locked");
        let is_next = fates.front().is_some_and(|(prefix, _)| call.starts_with(prefix));
        let fate = if is_next { fates.pop_front().map(|(_, fate)| fate) } else { None };
        let of_deletes = *self.of_deletes.lock().expect("no panic while locked");
        let fate = fate.or(of_deletes.filter(|_| call.starts_with("delete")));
        self.calls.lock().expect("no panic while locked").push(call);
        fate
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().expect("no panic while locked"))
    }

    fn set_next(&self, call: &'static str, fate: Fate) {
        self.fates.lock().expect("no panic while locked").push_back((call, fate));
    }

    fn set_deletes(&self, fate: Option<Fate>) {
        *self.of_deletes.lock().expect("no panic while locked") = fate;
    }

    /// The entries: kind and number.
    fn entries(&self) -> Vec<String> {
        let entry = |state: RecordState| {
            let kind = if state.kind == StateKind::Discarded { "H" } else { "S" };
            format!("{kind} {}", state.sequence_number)
        };
        self.journal.states(SHARD).into_iter().map(entry).collect()
    }

    fn put(&self, sequence_number: u64, progress: Progress) {
        let now_ms = SystemClock.epoch_ms();
        let state =
            RecordState::first(StateKind::Retry, number(sequence_number), progress, "earlier", now_ms);
        self.journal.put(SHARD, state);
    }
}

async fn meet(fate: Option<Fate>) -> Result<(), JournalError> {
    match fate {
        Some(Fate::Fails) => Err(JournalError::Store { source: "asked to".into() }),
        Some(Fate::FailsAfter(time)) => {
            sleep(time).await;
            Err(JournalError::Store { source: "asked to".into() })
        }
        Some(Fate::Stalls) => pending().await,
        Some(Fate::Takes(time)) => {
            sleep(time).await;
            Ok(())
        }
        Some(Fate::Impostor) | None => Ok(()),
    }
}

impl JournalStore for Store {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        let fate = self.enter("read".to_owned());
        Box::pin(async move {
            meet(fate).await?;
            Ok(JournalEntries { states: self.journal.read_now(shard, range), unreadable: Vec::new() })
        })
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        let kind = if writes[0].state.kind == StateKind::Discarded { "H" } else { "S" };
        let fate = self.enter(format!("write {kind} {}", writes[0].state.sequence_number));
        Box::pin(async move {
            meet(fate).await?;
            let ids = writes.iter().map(|write| write.state.written_by.clone());
            self.write_ids.lock().expect("no panic while locked").extend(ids);
            if fate == Some(Fate::Impostor) {
                let mut state = writes[0].state.clone();
                state.progress = Progress::default();
                self.journal.put(SHARD, state);
            }
            Ok(self.journal.write_now(writes))
        })
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        let name = if kind == StateKind::Discarded { "H" } else { "S" };
        let fate = self.enter(format!("delete {name} {sequence_number}"));
        Box::pin(async move {
            meet(fate).await?;
            self.journal.delete_now(shard, kind, sequence_number);
            Ok(())
        })
    }
}

fn number(sequence_number: u64) -> SequenceNumber {
    sequence_number.to_string().parse().expect("digits")
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

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    match record.text()? {
        "fail" => Err(retryable("asked to")),
        "bad" => Err(permanent("asked to")),
        _ => Ok(()),
    }
}

/// An environment of the function. It has ten seconds for each batch.
fn environment(store: &Arc<Store>) -> impl AsyncFn(&[KinesisRecord<'_>]) -> BatchResponse {
    let handler = Handler::with_options(process, options(store).build());
    async move |records: &[KinesisRecord<'_>]| {
        let mut context = Context::default();
        context.deadline = SystemClock.epoch_ms() + 10_000;
        context.request_id = "request".to_owned();
        let event = Event::new(records.to_vec()).to_json();
        handler.handle(&event, &context).await.expect("a response")
    }
}

fn discarded(response: &BatchResponse) -> (String, u64) {
    (json(response), response.counts().discarded)
}

#[tokio::test(start_paused = true)]
async fn entries_of_a_good_batch_are_cleared_within_one_bound() {
    let records: Vec<_> = (10..30).map(|number| plain(number, "fine")).collect();
    let store = Arc::new(Store::default());
    let fill = || (10..30).for_each(|number| store.put(number, Progress::done(DoneSet::before(0))));
    let handle = environment(&store);

    // At the same time, but not all of them.
    fill();
    store.set_deletes(Some(Fate::Takes(Duration::from_millis(100))));
    let started = Instant::now();
    assert_eq!(json(&handle(&records).await), SUCCESS);
    assert_eq!((store.entries().len(), started.elapsed()), (0, Duration::from_millis(200)));

    // One bound for all, and no call after the first that runs out of time.
    fill();
    store.calls();
    store.set_deletes(Some(Fate::Stalls));
    let started = Instant::now();
    let response = handle(&records).await;
    assert_eq!((json(&response), response.counts().journal_write_errors), (SUCCESS.to_owned(), 1));
    assert!(started.elapsed() < Duration::from_millis(9_100), "{:?}", started.elapsed());
    assert_eq!(store.calls().len(), 1 + 16);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_gives_up_is_not_asked_again_after_a_good_batch() {
    let records: Vec<_> = (10..310).map(|number| plain(number, "fine")).collect();
    let store = Arc::new(Store::default());
    (10..310).for_each(|number| store.put(number, Progress::done(DoneSet::before(0))));
    // Of records that were discarded.
    (1..10).for_each(|number| store.put(number, Progress::done(DoneSet::before(0))));
    store.set_deletes(Some(Fate::FailsAfter(Duration::from_secs(3))));
    let handle = environment(&store);
    let started = Instant::now();
    assert_eq!(discarded(&handle(&records).await), (SUCCESS.to_owned(), 0));
    assert_eq!((started.elapsed(), store.calls().len()), (Duration::from_secs(3), 1 + 16));

    // What is left is remembered.
    store.set_deletes(None);
    for (next, expected_discarded) in [(400, 0), (401, 9)] {
        assert_eq!(
            discarded(&handle(&[plain(next, "fine")]).await),
            (SUCCESS.to_owned(), expected_discarded)
        );
    }
    let left = store.entries();
    assert!(left.iter().all(|entry| entry.starts_with('H')), "{left:?}");
}

#[tokio::test]
async fn a_batch_that_passed_without_the_journal_is_no_discard() {
    let store = Arc::new(Store::default());
    let handle = environment(&store);
    handle(&[plain(9, "fail"), plain(10, "fine")]).await;
    assert_eq!(store.entries(), ["S 9"]);
    // The record succeeds, and its entry stays.
    store.set_next("read", Fate::Fails);
    let response = handle(&[plain(9, "fine"), plain(10, "fail")]).await;
    assert_eq!((json(&response), response.counts().journal_read_errors), (failure(10), 1));
    assert_eq!(store.entries(), ["S 9", "S 10"]);
    assert_eq!(discarded(&handle(&[plain(10, "fine"), plain(11, "fine")]).await), (SUCCESS.to_owned(), 0));
    assert_eq!(store.entries(), [""; 0]);

    // What the mapping discards after that is found all the same.
    handle(&[plain(12, "fail")]).await;
    assert_eq!(discarded(&handle(&[plain(13, "fine")]).await), (SUCCESS.to_owned(), 1));
    assert_eq!(store.entries(), ["H 12"]);
}

#[tokio::test]
async fn a_record_that_comes_again_and_fails_is_not_cleared() {
    let store = Arc::new(Store::default());
    let handle = environment(&store);
    handle(&[plain(9, "fail")]).await;
    store.set_next("read", Fate::Fails);
    handle(&[plain(9, "fine")]).await;
    // The answer was lost: it comes again, fails, and is discarded.
    handle(&[plain(9, "fail")]).await;
    assert_eq!(discarded(&handle(&[plain(10, "fine")]).await), (SUCCESS.to_owned(), 1));
    assert_eq!(store.entries(), ["H 9"]);
}

#[tokio::test]
async fn an_entry_that_was_written_after_a_record_has_passed_is_a_discard() {
    let store = Arc::new(Store::default());
    let handle = environment(&store);
    store.set_next("read", Fate::Fails);
    assert_eq!(discarded(&handle(&[plain(9, "fine")]).await), (SUCCESS.to_owned(), 0));
    // The answer was lost, and another environment stops at it when it comes again.
    let mut state = RecordState::first(
        StateKind::Retry,
        number(9),
        Progress::done(DoneSet::before(1)),
        "another",
        SystemClock.epoch_ms(),
    );
    state.updated_ms += 1_000;
    store.journal.put(SHARD, state);
    assert_eq!(discarded(&handle(&[plain(10, "fine")]).await), (SUCCESS.to_owned(), 1));
    assert_eq!(store.entries(), ["H 9"]);
}

#[tokio::test]
async fn an_entry_that_cannot_be_deleted_is_no_discard() {
    for fate in [Fate::Fails, Fate::Takes(Duration::ZERO)] {
        let store = Arc::new(Store::default());
        let handle = environment(&store);
        handle(&[plain(9, "fail")]).await;
        store.set_next("read", Fate::Takes(Duration::ZERO));
        store.set_next("delete", fate);
        assert_eq!(discarded(&handle(&[plain(9, "fine")]).await), (SUCCESS.to_owned(), 0));
        store.set_next("read", Fate::Takes(Duration::ZERO));
        assert_eq!(discarded(&handle(&[plain(10, "fine")]).await), (SUCCESS.to_owned(), 0), "{fate:?}");
        assert_eq!(store.entries(), [""; 0], "{fate:?}");
        // Then it is forgotten, and costs no further read.
        store.calls();
        handle(&[plain(11, "fine")]).await;
        assert_eq!(store.calls(), ["read"], "{fate:?}");
    }
}

#[tokio::test]
async fn one_invocation_moves_a_hundred_discarded_records() {
    let store = Arc::new(Store::default());
    (1..=250).for_each(|number| store.put(number, Progress::done(DoneSet::before(1))));
    let handle = environment(&store);
    for (next, expected) in [(300, 100), (301, 100), (302, 50), (303, 0)] {
        assert_eq!(discarded(&handle(&[plain(next, "fine")]).await), (SUCCESS.to_owned(), expected));
    }
    assert_eq!(store.entries().iter().filter(|entry| entry.starts_with('H')).count(), 250);
}

#[tokio::test]
async fn a_discarded_record_is_kept_before_its_retry_entry_is_deleted() {
    let store = Arc::new(Store::default());
    let handle = environment(&store);
    store.put(9, Progress::done(DoneSet::before(1)));
    store.set_next("read", Fate::Takes(Duration::ZERO));
    store.set_next("write H", Fate::Fails);
    let response = handle(&[plain(10, "fine")]).await;
    assert_eq!((discarded(&response).1, response.counts().journal_write_errors), (0, 1));
    assert_eq!(store.entries(), ["S 9"], "nothing of it is lost");
    store.calls();
    assert_eq!(discarded(&handle(&[plain(11, "fine")]).await).1, 1);
    assert_eq!(store.calls(), ["read", "write H 9", "delete S 9"]);
}

#[tokio::test]
async fn an_expired_entry_before_a_batch_is_no_discard() {
    let store = Arc::new(Store::default());
    let mut state = RecordState::first(
        StateKind::Retry,
        number(9),
        Progress::done(DoneSet::before(1)),
        "earlier",
        SystemClock.epoch_ms(),
    );
    state.expires_ms = SystemClock.epoch_ms() - 1;
    store.journal.put(SHARD, state);
    assert_eq!(discarded(&environment(&store)(&[plain(10, "fine")]).await), (SUCCESS.to_owned(), 0));
    assert_eq!(store.entries(), ["S 9"], "the table's time to live deletes it");
}

#[tokio::test]
async fn a_redrive_discards_nothing_before_it() {
    let store = Arc::new(Store::default());
    store.put(9, Progress::done(DoneSet::before(1)));
    let handler = Handler::with_options(process, options(&store).build());
    let mut event = Event::new(vec![plain(10, "fine")]);
    event.mode = EventMode::Resume;
    let response = handler.handle(&event.to_json(), &Context::default()).await.expect("a response");
    assert_eq!(discarded(&response), (with_quarantined(SUCCESS, &[]), 0));
    assert_eq!(store.entries(), ["S 9"]);
}

#[tokio::test]
async fn a_strict_mirror_that_fails_marks_no_members_of_a_fan_out_consumer_by_number() {
    let store = Arc::new(Store::default());
    let mirror = Arc::new(MemoryCheckpoints::default());
    // Somebody else's.
    let mut row = Row::new(RowCheckpoint::TrimHorizon);
    row.stream_arn = Some("another".to_owned());
    mirror.put(SHARD.shard_id, row);
    let mut options = options(&store);
    options.checkpoints = Some(mirror);
    options.checkpoint_strict = true;
    let handler = Handler::with_options(process, options.build());
    let member = |data| {
        let mut record = plain(9, data);
        record.event_source_arn = Some(format!("{STREAM_ARN}/consumer/c:1704067200").into());
        record
    };
    // The last one fails only because its checkpoint does. None of them has a number that the next batch could know.
    let event = Event::new(vec![member("a"), member("bad"), member("b")]).to_json();
    let response = handler.handle(&event, &Context::default()).await.expect("a response");
    assert_eq!(json(&response), failure(9));
    let states = store.journal.states(SHARD);
    assert_eq!(states.len(), 1);
    let done = &states[0].progress.done;
    assert_eq!(
        (done.ranges().count(), done.contents().count()),
        (0, 1),
        "what is quarantined, by its content"
    );
}

#[tokio::test]
async fn every_write_has_a_name_of_its_own() {
    let store = Arc::new(Store::default());
    // Two environments of one snapshot, which even get the same request ID.
    for _ in 0..2 {
        let handle = environment(&store);
        for _ in 0..2 {
            handle(&[aggregate(9, &["fine", "bad", "fail"])]).await;
        }
    }
    let mut ids = store.write_ids.lock().expect("no panic while locked").clone();
    assert!(ids.len() >= 5 && ids.iter().all(|id| id.starts_with("request/") && id.len() == 40), "{ids:?}");
    let writes = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), writes);
}

#[tokio::test]
async fn a_stored_entry_is_ours_only_if_it_has_what_we_wrote() {
    let store = Arc::new(Store::default());
    let handle = environment(&store);
    store.set_next("read", Fate::Takes(Duration::ZERO));
    store.set_next("write S", Fate::Impostor);
    let response = handle(&[aggregate(9, &["fine", "bad", "fail"])]).await;
    assert_eq!((json(&response), response.counts().quarantined), (failure(9), 1));
    assert_eq!(store.journal.quarantine(SHARD).len(), 1, "it is in the quarantine, not only said to be");
    let progress = &store.journal.states(SHARD)[0].progress;
    assert_eq!((&progress.done, progress.failures(&UserRecordId::Sub(2))), (&DoneSet::before(2), 1));
}

#[tokio::test]
async fn a_shard_whose_name_is_no_part_of_a_key_has_no_journal() {
    let store = Arc::new(Store::default());
    let handle = environment(&store);
    for shard_id in ["shardId-000000000000#", "shardId-\n"] {
        let mut record = plain(9, "bad");
        record.shard_id = Some(shard_id.into());
        let response = handle(&[record]).await;
        assert_eq!((json(&response), response.counts().journal_read_errors), (failure(9), 1), "{shard_id:?}");
        assert_eq!(store.calls(), [""; 0], "nothing is stored that no tool would find");
    }
}
