//! Writes into the quarantine that meet what is there already: by a write whose answer was lost, or by another
//! invocation.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{Arc, Mutex},
};

use futures_util::future::join;
use kinesis_handler::{
    BatchResponse, Clock, Context, Event, Handler, KinesisRecord, ProcessError, Record, SequenceNumber,
    SystemClock,
    journal::{
        DoneSet, JournalEntries, JournalError, JournalFuture, JournalShard, JournalStore, JournalWrite,
        MAX_WRITE_ITEMS, MemoryJournal, Progress, QuarantinedContent, RecordState, StateKind, StateRange,
        WriteOutcome,
    },
    permanent, retryable,
};
use kpl_deaggregation::{Deaggregator, InvalidAggregatePolicy, UserRecord, encode};
use tokio::sync::Notify;

use crate::batch::{STREAM_ARN, SUCCESS, failure, invalid_aggregate, json, plain, raw};
use crate::options::TestOptions;

const SHARD: JournalShard<'static> =
    JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: "shardId-000000000000" };

/// The fate of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Fails,
    /// It takes effect, and the answer is an error.
    LosesAnswer,
}

#[derive(Debug, Default)]
struct Store {
    journal: MemoryJournal,
    /// Faults of one call after the other; nothing goes wrong after that.
    faults: Mutex<VecDeque<Fault>>,
    /// Items of each write.
    writes: Mutex<Vec<usize>>,
}

impl Store {
    fn call<'a, T: Send + 'a>(&'a self, call: impl FnOnce() -> T + Send + 'a) -> JournalFuture<'a, T> {
        let fault = self.faults.lock().expect("no panic while locked").pop_front().unwrap_or(Fault::None);
        Box::pin(async move {
            let failed = || JournalError::Store { source: "asked to".into() };
            match fault {
                Fault::None => Ok(call()),
                Fault::Fails => Err(failed()),
                Fault::LosesAnswer => {
                    call();
                    Err(failed())
                }
            }
        })
    }
}

impl JournalStore for Store {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        self.call(move || JournalEntries {
            states: self.journal.read_now(shard, range),
            unreadable: Vec::new(),
        })
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        let items = writes.iter().map(|write| 1 + write.quarantined.len()).sum();
        self.writes.lock().expect("no panic while locked").push(items);
        self.call(move || self.journal.write_now(writes))
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        self.call(move || self.journal.delete_now(shard, kind, sequence_number))
    }
}

/// A function with a quarantine.
struct World {
    store: Arc<Store>,
    options: TestOptions,
    /// Data of what was processed.
    done: Mutex<Vec<String>>,
}

impl World {
    fn with_limit(limit: u32) -> Self {
        let store = Arc::new(Store::default());
        let options = TestOptions {
            application: Some("orders".to_owned()),
            journal: Some(store.clone()),
            quarantine: true,
            quarantine_limit: Some(limit),
            ..TestOptions::default()
        };
        World { store, options, done: Mutex::default() }
    }

    async fn handle(&self, faults: &[Fault], records: &[KinesisRecord<'_>]) -> BatchResponse {
        *self.store.faults.lock().expect("no panic while locked") = faults.iter().copied().collect();
        let handler = Handler::with_options(self, self.options.build());
        let event = Event::new(records.to_vec()).to_json();
        handler.handle(&event, &Context::default()).await.expect("a response")
    }

    /// Returns the records that were processed since the last call.
    fn done(&self) -> Vec<String> {
        std::mem::take(&mut self.done.lock().expect("no panic while locked"))
    }

    /// The content of the quarantine: position, content, and data of the user records.
    fn quarantine(&self) -> Vec<String> {
        let shown = self.store.journal.quarantine(SHARD).into_iter().map(|record| {
            let mut deaggregator = Deaggregator::new(InvalidAggregatePolicy::Raw);
            let user_records = deaggregator.deaggregate(&record.partition_key, &record.data).expect("raw");
            let data: Vec<_> =
                user_records.map(|member| String::from_utf8_lossy(member.data).into_owned()).collect();
            let what = if record.content == QuarantinedContent::RestOfAggregate { "rest" } else { "one" };
            format!("{}:{} {what}: {}", record.sequence_number, record.id, data.join(", "))
        });
        shown.collect()
    }

    /// Stores what another invocation knows of the Kinesis record 9.
    fn put(&self, done: DoneSet, quarantined: u64) {
        let mut progress = Progress::done(done);
        progress.quarantined = quarantined;
        let number = "9".parse().expect("digits");
        let now_ms = SystemClock.epoch_ms();
        let state = RecordState::first(StateKind::Retry, number, progress, "another", now_ms);
        self.store.journal.put(SHARD, state);
    }

    fn progress(&self) -> Progress {
        self.store.journal.states(SHARD).remove(0).progress
    }
}

impl kinesis_handler::RecordProcessor for &World {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let data = record.text()?;
        match data.split_once(' ').map_or(data, |(word, _)| word) {
            "bad" => Err(permanent("never will be")),
            "fail" => Err(retryable("asked to")),
            _ => {
                self.done.lock().expect("no panic while locked").push(data.to_owned());
                Ok(())
            }
        }
    }
}

/// An aggregate of user records with keys of their own.
fn aggregate(sequence_number: u64, data: &[&str]) -> KinesisRecord<'static> {
    let keys: Vec<_> = (0..data.len()).map(|index| format!("key-{index}")).collect();
    let members = keys.iter().zip(data).map(|(key, data)| UserRecord::new(key.as_bytes(), data.as_bytes()));
    raw(sequence_number, &encode(members).expect("some members"))
}

const FIVE_BAD: [&str; 5] = ["bad 0", "bad 1", "bad 2", "bad 3", "bad 4"];
const FIVE_BAD_IN_QUARANTINE: [&str; 4] =
    ["9:0 one: bad 0", "9:1 one: bad 1", "9:2 one: bad 2", "9:3 rest: bad 3, bad 4"];

#[tokio::test]
async fn the_rest_of_an_aggregate_is_not_taken_from_the_next_kinesis_record() {
    let world = World::with_limit(3);
    let records = [aggregate(9, &FIVE_BAD), plain(10, "next")];
    // The write of the rest takes effect, and nobody knows.
    let response = world.handle(&[Fault::None, Fault::None, Fault::LosesAnswer], &records).await;
    assert_eq!(json(&response), failure(9));
    assert_eq!(world.quarantine(), FIVE_BAD_IN_QUARANTINE);
    // The next invocation finds that out only when it writes.
    assert_eq!(json(&world.handle(&[Fault::Fails], &records).await), SUCCESS);
    assert_eq!(world.done(), ["next"]);
    assert_eq!(world.quarantine(), FIVE_BAD_IN_QUARANTINE);
}

#[tokio::test]
async fn the_rest_of_an_aggregate_begins_with_the_user_record_beyond_the_limit() {
    // Another invocation has done that one, and not the ones after it.
    let world = World::with_limit(2);
    world.put(DoneSet::before(3), 0);
    let records = [aggregate(9, &["bad 0", "bad 1", "bad 2", "fine 3", "bad 4"])];
    assert_eq!(json(&world.handle(&[Fault::Fails], &records).await), SUCCESS);
    assert_eq!(world.done(), ["fine 3"]);
    assert_eq!(world.quarantine(), ["9:4 rest: bad 4"]);
}

#[tokio::test]
async fn the_rest_of_an_aggregate_is_not_replaced_by_its_first_user_record() {
    // The limit was lower when the rest was written.
    let mut world = World::with_limit(1);
    let records = [aggregate(9, &FIVE_BAD), plain(10, "fail")];
    assert_eq!(json(&world.handle(&[], &records[..1]).await), SUCCESS);
    let expected = ["9:0 one: bad 0", "9:1 rest: bad 1, bad 2, bad 3, bad 4"];
    assert_eq!(world.quarantine(), expected);
    world.put(DoneSet::before(5), 2);
    world.options.quarantine_limit = Some(9);
    assert_eq!(json(&world.handle(&[Fault::Fails], &records).await), failure(10));
    assert_eq!(world.quarantine(), expected);
}

#[tokio::test]
async fn what_is_put_into_the_quarantine_twice_counts_once() {
    let world = World::with_limit(9);
    let records = [aggregate(9, &["bad 0", "bad 1", "fail"])];
    for faults in [&[][..], &[Fault::Fails], &[Fault::Fails]] {
        assert_eq!(json(&world.handle(faults, &records).await), failure(9));
        assert_eq!(world.progress().quarantined, 2, "{faults:?}");
    }
}

#[tokio::test]
async fn a_discarded_record_that_is_moved_again_counts_its_failures_once() {
    let mut world = World::with_limit(9);
    world.options.parallelization_factor = NonZeroU32::new(1);
    assert_eq!(json(&world.handle(&[], &[aggregate(9, &["bad 0", "bad 1", "fail"])]).await), failure(9));
    // The entry stays the first time.
    for faults in [&[Fault::None, Fault::None, Fault::Fails][..], &[]] {
        assert_eq!(json(&world.handle(faults, &[plain(10, "fine")]).await), SUCCESS);
    }
    let states = world.store.journal.states(SHARD);
    let [discarded] = &states[..] else { panic!("{states:?}") };
    assert_eq!((discarded.kind, discarded.progress.quarantined), (StateKind::Discarded, 2));
    assert_eq!(discarded.progress.attempts.values().collect::<Vec<_>>(), [&1]);
}

#[tokio::test]
async fn no_record_is_processed_before_the_rest_of_an_aggregate_is_written() {
    let world = World::with_limit(2);
    let mut next = plain(10, "next");
    // A key inside of the rest.
    next.partition_key = "key-4".into();
    let records = [aggregate(9, &FIVE_BAD), next];
    let response = world.handle(&[Fault::None, Fault::None, Fault::Fails], &records).await;
    assert_eq!((json(&response), world.done()), (failure(9), Vec::new()));
    assert_eq!(json(&world.handle(&[], &records).await), SUCCESS);
    assert_eq!((world.done(), world.quarantine().len()), (vec!["next".to_owned()], 3));
}

#[tokio::test]
async fn a_write_of_many_that_is_refused_is_made_one_kinesis_record_at_a_time() {
    for (what, fault) in [("refused", Fault::Fails), ("answer lost", Fault::LosesAnswer)] {
        let world = World::with_limit(9);
        let records = [plain(9, "bad 0"), plain(10, "bad 1"), plain(11, "fine")];
        let response = world.handle(&[Fault::None, fault], &records).await;
        assert_eq!((json(&response), response.counts().quarantined), (SUCCESS.to_owned(), 2), "{what}");
        assert_eq!(world.quarantine(), ["9:0 one: bad 0", "10:0 one: bad 1"], "{what}");
    }
    // Up to the first that is refused by itself.
    let world = World::with_limit(9);
    let records = [plain(9, "bad 0"), plain(10, "bad 1"), plain(11, "fine")];
    let response = world.handle(&[Fault::None, Fault::Fails, Fault::None, Fault::Fails], &records).await;
    assert_eq!((json(&response), world.quarantine()), (failure(10), vec!["9:0 one: bad 0".to_owned()]));
}

#[tokio::test]
async fn an_invalid_aggregate_fits_into_the_write_with_those_before_it() {
    let plains = |count| (0..count).map(|number| plain(number, "bad")).collect::<Vec<_>>();
    let aggregate = aggregate(1, &["bad"; 98]);
    for (what, before, user_records) in
        [("plain records", plains(50), 50), ("an aggregate", vec![aggregate], 98)]
    {
        let world = World::with_limit(1000);
        let records = [&before[..], &[invalid_aggregate(1000)]].concat();
        assert_eq!(json(&world.handle(&[], &records).await), SUCCESS, "{what}");
        assert_eq!(world.quarantine().len(), user_records + 1, "{what}");
        let writes = world.store.writes.lock().expect("no panic while locked");
        assert!(writes.iter().all(|&items| items <= MAX_WRITE_ITEMS), "{what}: {writes:?}");
    }
}

#[tokio::test]
async fn an_aggregate_that_has_become_invalid_is_not_taken_as_done() {
    let mut world = World::with_limit(9);
    let records = [aggregate(9, &["fine 0", "fail 1", "fine 2"])];
    assert_eq!(json(&world.handle(&[], &records).await), failure(9));
    assert_eq!(world.progress().done, DoneSet::before(1));
    // Its keys are too long by now.
    world.options.max_key_bytes = Some(5);
    assert_eq!(json(&world.handle(&[], &records).await), SUCCESS);
    assert_eq!(world.quarantine(), ["9:0 one: fine 0, fail 1, fine 2"]);
}

#[tokio::test]
async fn an_invalid_aggregate_in_the_quarantine_is_done_as_a_whole() {
    let mut world = World::with_limit(9);
    world.options.max_key_bytes = Some(5);
    let records = [aggregate(9, &["fine 0", "fail 1", "fine 2"]), plain(10, "fail")];
    // The last write fails, so the entry that has it as done stays.
    assert_eq!(json(&world.handle(&[Fault::None, Fault::None, Fault::Fails], &records).await), failure(10));
    // Under other options as well.
    for (max_key_bytes, expected_resumed) in [(5, 1), (1000, 3)] {
        world.options.max_key_bytes = Some(max_key_bytes);
        let response = world.handle(&[Fault::None, Fault::Fails], &records).await;
        assert_eq!((json(&response), response.counts().resumed), (failure(10), expected_resumed));
    }
    assert_eq!((world.done(), world.quarantine().len()), (Vec::new(), 1));
}

#[tokio::test]
async fn concurrent_batches_with_user_records_of_one_aggregate_keep_what_each_has_written() {
    let store = Arc::new(MemoryJournal::default());
    let options = TestOptions {
        application: Some("orders".to_owned()),
        journal: Some(store.clone()),
        quarantine: true,
        ..TestOptions::default()
    };
    let (has_begun, may_end) = (Notify::new(), Notify::new());
    let processor = async |record: Record<'_>| -> Result<(), ProcessError> {
        match (record.text()?, record.attempt()) {
            ("bad", _) => Err(permanent("never will be")),
            ("slow", Some(2)) => {
                has_begun.notify_one();
                may_end.notified().await;
                Ok(())
            }
            ("slow" | "fail", Some(1)) => Err(retryable("asked to")),
            _ => Ok(()),
        }
    };
    let handler = Handler::with_options(&processor, options.build());
    let handle = async |data: &[&str]| {
        let user_record = |data: &&str| {
            let mut record = plain(9, data);
            record.event_source_arn = Some(format!("{STREAM_ARN}/consumer/c:1").into());
            record
        };
        let event = Event::new(data.iter().map(user_record).collect()).to_json();
        json(&handler.handle(&event, &Context::default()).await.expect("a response"))
    };
    let progress = || store.states(SHARD).into_iter().map(|state| state.progress).collect::<Vec<_>>();

    // The first batch has an entry, and reads it before the second batch writes to it.
    assert_eq!(handle(&["slow"]).await, failure(9));
    let second = async {
        has_begun.notified().await;
        assert_eq!(handle(&["bad", "fail"]).await, failure(9));
        may_end.notify_one();
    };
    assert_eq!(join(handle(&["slow"]), second).await.0, SUCCESS);
    let [progress_after] = &progress()[..] else { panic!("{:?}", progress()) };
    assert_eq!((progress_after.done.contents().count(), progress_after.attempts.len()), (1, 1));
    assert_eq!(handle(&["bad", "fail"]).await, SUCCESS);
    assert_eq!(progress(), []);
}
