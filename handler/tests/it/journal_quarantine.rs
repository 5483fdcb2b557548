//! Many user records of a batch that go to the quarantine: together, in order, and no more than the options allow.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use kinesis_handler::{
    BatchResponse, Context, Event, Handler, KinesisRecord, ProcessError, Record, SequenceNumber,
    journal::{
        DoneSet, JournalEntries, JournalError, JournalFuture, JournalShard, JournalStore, JournalWrite,
        MAX_WRITE_ITEMS, MemoryJournal, QuarantinedContent, StateKind, StateRange, UserRecordId,
        WriteOutcome,
    },
    permanent, retryable,
};
use kpl_deaggregation::{Content, Deaggregator, InvalidAggregatePolicy, UserRecord, encode};
use tokio::time::{Instant, sleep};

use crate::batch::{STREAM_ARN, SUCCESS, failure, json, plain, raw};
use crate::options::TestOptions;

const SHARD: JournalShard<'static> =
    JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: "shardId-000000000000" };

const LATENCY: Duration = Duration::from_millis(5);

/// A journal whose calls take their time, and whose writes into the quarantine fail from some call on.
#[derive(Debug, Default)]
struct Store {
    journal: MemoryJournal,
    /// Items of each write.
    writes: Mutex<Vec<usize>>,
    good_writes: AtomicU64,
    fails: AtomicBool,
}

impl JournalStore for Store {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        Box::pin(async move {
            sleep(LATENCY).await;
            Ok(JournalEntries { states: self.journal.read_now(shard, range), unreadable: Vec::new() })
        })
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        Box::pin(async move {
            sleep(LATENCY).await;
            let items = writes.iter().map(|write| 1 + write.quarantined.len()).sum();
            self.writes.lock().expect("no panic while locked").push(items);
            let is_quarantine = writes.iter().any(|write| !write.quarantined.is_empty());
            if is_quarantine && self.fails.load(Ordering::Relaxed) {
                if self.good_writes.load(Ordering::Relaxed) == 0 {
                    return Err(JournalError::Store { source: "asked to".into() });
                }
                self.good_writes.fetch_sub(1, Ordering::Relaxed);
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
        Box::pin(async move {
            sleep(LATENCY).await;
            self.journal.delete_now(shard, kind, sequence_number);
            Ok(())
        })
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
    fn new() -> Self {
        let store = Arc::new(Store::default());
        let options = TestOptions {
            application: Some("orders".to_owned()),
            journal: Some(store.clone()),
            quarantine: true,
            max_attempts: NonZeroU32::new(1),
            parallelization_factor: NonZeroU32::new(1),
            ..TestOptions::default()
        };
        World { store, options, done: Mutex::default() }
    }

    fn with_limit(limit: u32) -> Self {
        let mut world = World::new();
        world.options.quarantine_limit = Some(limit);
        world
    }

    async fn handle(&self, records: &[KinesisRecord<'_>]) -> BatchResponse {
        let handler = Handler::with_options(self, self.options.build());
        let event = Event::new(records.to_vec()).to_json();
        handler.handle(&event, &Context::default()).await.expect("a response")
    }

    fn done(&self) -> Vec<String> {
        std::mem::take(&mut self.done.lock().expect("no panic while locked"))
    }

    fn writes(&self) -> Vec<usize> {
        std::mem::take(&mut self.store.writes.lock().expect("no panic while locked"))
    }

    /// The quarantine: sub-sequence number and data.
    fn quarantine(&self) -> Vec<String> {
        let records = self.store.journal.quarantine(SHARD).into_iter();
        let shown = records.map(|record| {
            let data = String::from_utf8_lossy(&record.data).into_owned();
            match record.id {
                UserRecordId::Sub(number) => format!("{number} {data}"),
                UserRecordId::Content(_) => data,
            }
        });
        shown.collect()
    }
}

impl kinesis_handler::RecordProcessor for &World {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let data = record.text()?;
        match data.split_once(' ').map_or(data, |(word, _)| word) {
            "bad" => Err(permanent("never will be")),
            "fail" => Err(retryable("asked to")),
            "panic" => panic!("asked to"),
            _ => {
                self.done.lock().expect("no panic while locked").push(data.to_owned());
                Ok(())
            }
        }
    }
}

/// An aggregate of user records with these keys and data.
fn aggregate(sequence_number: u64, members: &[(String, String)]) -> KinesisRecord<'static> {
    let members = members.iter().map(|(key, data)| UserRecord::new(key.as_bytes(), data.as_bytes()));
    raw(sequence_number, &encode(members).expect("some members"))
}

fn members(data: &str, count: usize) -> Vec<(String, String)> {
    (0..count).map(|index| (format!("key-{index}"), format!("{data} {index}"))).collect()
}

fn consumer(mut record: KinesisRecord<'static>) -> KinesisRecord<'static> {
    record.event_source_arn = Some(format!("{STREAM_ARN}/consumer/c:1704067200").into());
    record
}

#[tokio::test(start_paused = true)]
async fn a_thousand_records_go_to_the_quarantine_in_a_second() {
    let one_key = |data: &str| members(data, 2_000).into_iter().map(|(_, data)| ("key".to_owned(), data));
    let mixed = members("bad", 2_000).into_iter().chain(members("fine", 2_000));
    for (what, records) in [
        ("one aggregate", vec![aggregate(9, &members("bad", 2_000))]),
        ("one key", vec![aggregate(9, &one_key("bad").collect::<Vec<_>>())]),
        ("with good ones between", vec![aggregate(9, &mixed.collect::<Vec<_>>())]),
        ("after their last attempt", vec![aggregate(9, &members("fail", 2_000))]),
        ("plain records", (0..2_000).map(|number| plain(number, &format!("bad {number}"))).collect()),
        (
            "members of a fan-out consumer",
            (0..2_000).map(|index| consumer(plain(9, &format!("bad {index}")))).collect(),
        ),
    ] {
        let world = World::new();
        let started = Instant::now();
        let response = world.handle(&records).await;
        assert_eq!((json(&response), response.counts().quarantined), (SUCCESS.to_owned(), 2_000), "{what}");
        assert_eq!(world.quarantine().len(), 2_000, "{what}");
        assert_eq!(world.store.journal.states(SHARD), [], "{what}");
        // What the store takes; the rest is measured apart.
        assert!(started.elapsed() <= Duration::from_secs(2), "{what}: {:?}", started.elapsed());
        let writes = world.writes();
        assert!(writes.iter().all(|items| (2..=MAX_WRITE_ITEMS).contains(items)), "{what}: {writes:?}");
        assert!(writes.len() <= 41, "{what}: {} writes", writes.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_record_may_be_tried_again_waits_for_the_quarantine() {
    let world = World::new();
    world.store.fails.store(true, Ordering::Relaxed);
    let member = |key: &str, data: &str| (key.to_owned(), data.to_owned());
    let records = [aggregate(9, &[member("a", "fail"), member("b", "fine 1"), member("a", "fine 2")])];
    let response = world.handle(&records).await;
    assert_eq!((json(&response), response.counts().quarantined), (failure(9), 0));
    assert_eq!(world.done(), ["fine 1"], "and not the next record of the key");
    let states = world.store.journal.states(SHARD);
    assert_eq!(states[0].progress.failures(&UserRecordId::Sub(0)), 1);
    assert_eq!(states[0].progress.done, DoneSet::default());

    world.store.fails.store(false, Ordering::Relaxed);
    assert_eq!(json(&world.handle(&records).await), SUCCESS);
    assert_eq!(
        (world.quarantine(), world.done()),
        (vec!["0 fail".to_owned()], vec!["fine 1".into(), "fine 2".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_returns_to_the_first_record_that_is_not_in_the_quarantine() {
    let world = World::new();
    // The first write is good, and has the first 98 with the entry and room for one more.
    world.store.fails.store(true, Ordering::Relaxed);
    world.store.good_writes.store(1, Ordering::Relaxed);
    let records = [aggregate(9, &members("bad", 150)), plain(10, "fine")];
    let response = world.handle(&records).await;
    let written = response.counts().quarantined;
    assert_eq!((json(&response), response.counts().journal_write_errors), (failure(9), 1));
    assert!((90..100).contains(&written), "{written}");
    assert_eq!(world.quarantine().len() as u64, written);
    let states = world.store.journal.states(SHARD);
    assert_eq!(states[0].progress.done, DoneSet::before(written), "no more is done than is written");
    assert_eq!(states[0].progress.failures(&UserRecordId::Sub(written)), 1);

    world.store.fails.store(false, Ordering::Relaxed);
    let response = world.handle(&records).await;
    assert_eq!((json(&response), response.counts().resumed), (SUCCESS.to_owned(), written));
    assert_eq!(world.quarantine().len(), 150);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_the_rest_of_an_aggregate_is_one_record() {
    for word in ["bad", "fail", "panic"] {
        let world = World::with_limit(3);
        let all = [members(word, 5), members("fine", 2), members(word, 1)].concat();
        let response = world.handle(&[aggregate(9, &all), plain(10, "next")]).await;
        assert_eq!((json(&response), response.counts().quarantined), (SUCCESS.to_owned(), 8), "{word}");
        assert_eq!(world.done(), ["next"], "{word}");
        let records = world.store.journal.quarantine(SHARD);
        assert_eq!(records.len(), 4, "{word}");
        let rest = &records[3];
        assert_eq!((rest.content, rest.id), (QuarantinedContent::RestOfAggregate, UserRecordId::Sub(3)));
        let mut deaggregator = Deaggregator::new(InvalidAggregatePolicy::Fail);
        let user_records = deaggregator.deaggregate(&rest.partition_key, &rest.data).expect("a frame");
        assert_eq!(user_records.content(), Content::Aggregated);
        let rest: Vec<_> = user_records
            .map(|record| [record.partition_key, b": ", record.data].concat())
            .map(|text| String::from_utf8(text).expect("text"))
            .collect();
        let expected: Vec<_> = all[3..].iter().map(|(key, data)| format!("{key}: {data}")).collect();
        assert_eq!(rest, expected, "{word}");
        assert_eq!(world.store.journal.states(SHARD), [], "{word}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_holds_over_all_invocations() {
    let world = World::with_limit(2);
    world.store.fails.store(true, Ordering::Relaxed);
    world.store.good_writes.store(1, Ordering::Relaxed);
    // The second write, with the rest of the aggregate, fails.
    let records = [aggregate(9, &members("bad", 4))];
    assert_eq!(json(&world.handle(&records).await), failure(9));
    assert_eq!(world.quarantine(), ["0 bad 0", "1 bad 1"]);
    world.store.fails.store(false, Ordering::Relaxed);
    assert_eq!(json(&world.handle(&records).await), SUCCESS);
    let contents: Vec<_> =
        world.store.journal.quarantine(SHARD).iter().map(|record| record.content).collect();
    use QuarantinedContent::{Aggregated, RestOfAggregate};
    assert_eq!(contents, [Aggregated, Aggregated, RestOfAggregate]);
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_consumer_stops_beyond_the_limit() {
    let world = World::with_limit(3);
    let records: Vec<_> = (0..5).map(|index| consumer(plain(9, &format!("bad {index}")))).collect();
    for _ in 0..2 {
        let response = world.handle(&records).await;
        assert_eq!(json(&response), failure(9));
        assert_eq!(world.quarantine().len(), 3);
    }
    // Another Kinesis record has a limit of its own.
    let other: Vec<_> = (0..3).map(|index| consumer(plain(10, &format!("bad {index}")))).collect();
    assert_eq!(world.handle(&other).await.counts().quarantined, 3);
}

#[tokio::test(start_paused = true)]
async fn long_keys_use_up_the_limit_sooner() {
    let world = World::with_limit(10);
    let key = "k".repeat(4 * 1024);
    let all: Vec<_> = (0..20).map(|index| (key.clone(), format!("bad {index}"))).collect();
    let response = world.handle(&[aggregate(9, &all)]).await;
    assert_eq!((json(&response), response.counts().quarantined), (SUCCESS.to_owned(), 20));
    let records = world.store.journal.quarantine(SHARD);
    assert_eq!(records.len(), 3, "two by themselves, and the rest");
    assert!(records[2].data.len() < 2 * key.len(), "the rest has the key once: {}", records[2].data.len());
}

#[tokio::test(start_paused = true)]
async fn members_that_are_alike_are_quarantined_once() {
    // User records of an aggregate on a fan-out consumer, or an event that holds a Kinesis record more than once.
    for record in [consumer(plain(9, "bad")), plain(9, "bad")] {
        let world = World::new();
        let response = world.handle(&[record.clone(), record.clone(), record]).await;
        assert_eq!(
            (json(&response), response.counts().quarantined, response.counts().resumed),
            (SUCCESS.to_owned(), 1, 2)
        );
        assert_eq!(world.quarantine().len(), 1);
    }
}
