//! The journal's table in a real DynamoDB API: its rules against the journal in memory, and whatever can go wrong on the
//! way.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use kinesis_handler::{
    BatchResponse, Clock, Context, Event, Handler, JournalOptions, KinesisRecord, Options, ProcessError,
    QuarantineOptions, Record, SequenceNumber, SystemClock,
    journal::{
        DoneSet, DynamoDbJournal, JournalError, JournalShard, JournalStore, JournalWrite, MemoryJournal,
        Progress, QuarantinedContent, QuarantinedRecord, RecordState, StateKind, StateRange, StoreFault,
        UserRecordId, WriteOutcome,
    },
    permanent, retryable,
};
use kpl_deaggregation::{UserRecord, encode};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    capacity::Capacity,
    fault_proxy::{Fault, FaultProxy},
    moto::{self, Moto},
};

const TABLE: &str = "orders-journal";
const STREAM: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/orders";
const SHARD: JournalShard<'static> =
    JournalShard { application: "orders", stream_arn: STREAM, shard_id: "shardId-000000000000" };

type Item = HashMap<String, AttributeValue>;

/// The server, a proxy before it, a client that goes past the proxy, and a store that goes through it.
struct World {
    _moto: Moto,
    proxy: FaultProxy,
    client: Client,
    store: Arc<DynamoDbJournal>,
}

impl World {
    async fn start() -> Self {
        let moto = Moto::start();
        let proxy = FaultProxy::start(moto.port);
        let client = Client::new(&moto::config(moto.port).await);
        moto::create_journal_table(&client, TABLE).await;
        let store = Arc::new(DynamoDbJournal::with_config(TABLE, moto::config(proxy.port).await));
        World { _moto: moto, proxy, client, store }
    }

    /// All items, by their sort keys.
    async fn items(&self) -> Vec<Item> {
        let pages =
            self.client.scan().table_name(TABLE).consistent_read(true).into_paginator().items().send();
        let mut items: Vec<Item> = pages.collect::<Result<_, _>>().await.expect("moto answers");
        items.sort_by_key(|item| item["sk"].as_s().expect("text").clone());
        items
    }

    async fn write(&self, state: &RecordState, expected: Option<u64>) -> Result<WriteOutcome, JournalError> {
        self.store.write(&write(state, expected, &[])).await
    }

    /// Handles a batch with the store.
    async fn handle(&self, records: &[KinesisRecord<'_>]) -> BatchResponse {
        self.handle_within(records, Duration::ZERO).await
    }

    /// Handles a batch with the store; without a deadline if there is no time.
    async fn handle_within(&self, records: &[KinesisRecord<'_>], time: Duration) -> BatchResponse {
        let mut context = Context::default();
        if !time.is_zero() {
            context.deadline = SystemClock.epoch_ms() + time.as_millis() as u64;
        }
        let journal = JournalOptions::new(self.store.clone()).quarantine(QuarantineOptions::default());
        let options = Options::builder().application(SHARD.application).journal(journal);
        let handler = Handler::with_options(process, options.build().expect("a legal combination"));
        let event = Event::new(records.to_vec()).to_json();
        handler.handle(&event, &context).await.expect("a response")
    }
}

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    match record.text()? {
        "fail" => Err(retryable("asked to")),
        text if text.starts_with("bad") => Err(permanent("asked to")),
        _ => Ok(()),
    }
}

fn record(sequence_number: u64, data: &[u8]) -> KinesisRecord<'static> {
    let mut record = KinesisRecord::new(number(sequence_number), "key", data);
    record.shard_id = Some(SHARD.shard_id.into());
    record.event_source_arn = Some(STREAM.into());
    record
}

fn number(number: u64) -> SequenceNumber {
    number.to_string().parse().expect("digits")
}

fn state(sequence_number: SequenceNumber, version: u64, progress: Progress) -> RecordState {
    let mut state =
        RecordState::first(StateKind::Retry, sequence_number, progress, format!("w{version}"), 7_000);
    state.version = version;
    state
}

fn write<'a>(
    state: &'a RecordState,
    expected_version: Option<u64>,
    quarantined: &'a [QuarantinedRecord],
) -> [JournalWrite<'a>; 1] {
    [JournalWrite { shard: SHARD, state, expected_version, quarantined }]
}

fn all(kind: StateKind) -> StateRange {
    StateRange { kind, from: number(0), earlier: 0, through: "9".repeat(57).parse().expect("digits") }
}

/// Done sets with discarded, and attempts, as no invocation has left them.
fn progress() -> impl Strategy<Value = Progress> {
    let ranges = prop::collection::vec((0..50u64, 0..9u64), 0..5);
    let attempts = prop::collection::btree_map(60..70u64, 1..5u32, 0..3);
    (ranges, attempts, prop::option::of(any::<u32>()), prop::option::of("[a-z ]{1,9}")).prop_map(
        |(ranges, attempts, first_failure, last_error)| {
            let mut done = DoneSet::default();
            for (first, more) in ranges {
                done.insert_range(first, first + more);
            }
            let mut progress = Progress::done(done);
            progress.attempts =
                attempts.into_iter().map(|(sub, times)| (UserRecordId::Sub(sub), times)).collect();
            progress.first_failure_ms = first_failure.map(u64::from);
            progress.last_error = last_error;
            progress
        },
    )
}

/// Numbers of 1 to 57 digits, few of them, so that calls meet.
fn sequence_number() -> impl Strategy<Value = SequenceNumber> {
    (prop_oneof![1..=57usize, Just(1), Just(56)], 1..4u8).prop_map(|(digits, head)| {
        let text = format!("{head}{}", "0".repeat(digits - 1));
        text.parse().expect("digits")
    })
}

#[derive(Debug, Clone)]
enum Call {
    Read(SequenceNumber, SequenceNumber, usize),
    /// With an expected version that is right, or off by this.
    Write(Progress, u64),
    Delete,
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn the_store_keeps_its_contract() {
    let world = World::start().await;
    kinesis_handler::contract::check_journal(&*world.store).await;
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn the_table_agrees_with_the_journal_in_memory() {
    let world = World::start().await;
    let memory = MemoryJournal::default();
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let call = prop_oneof![
        2 => (sequence_number(), sequence_number(), 0..3usize)
            .prop_map(|(from, through, earlier)| Call::Read(from, through, earlier)),
        6 => (progress(), prop_oneof![4 => Just(0), 1 => 1..3u64]).prop_map(|(progress, off)| Call::Write(progress, off)),
        1 => Just(Call::Delete),
    ];
    let calls = (call, any::<bool>(), sequence_number());
    let mut outcomes = HashMap::new();
    for _ in 0..600 {
        let (call, is_discarded, sequence_number) =
            calls.new_tree(&mut runner).expect("nothing is rejected").current();
        let kind = if is_discarded { StateKind::Discarded } else { StateKind::Retry };
        match call {
            Call::Read(from, through, earlier) => {
                let range = StateRange { kind, from, through, earlier };
                let states = world.store.read(SHARD, range).await.expect("moto answers").states;
                assert_eq!(states, memory.read_now(SHARD, range), "{range:?}");
                *outcomes.entry(format!("read {}", !states.is_empty())).or_insert(0) += 1;
            }
            Call::Write(progress, off) => {
                let range = StateRange { kind, from: sequence_number, through: sequence_number, earlier: 0 };
                let version = memory.read_now(SHARD, range).pop().map(|state| state.version);
                let expected = if off == 0 { version } else { Some(version.unwrap_or(0) + off) };
                let mut state = state(sequence_number, expected.unwrap_or(0) + 1, progress);
                state.kind = kind;
                let outcome = world.store.write(&write(&state, expected, &[])).await.expect("moto answers");
                assert_eq!(outcome, memory.write_now(&write(&state, expected, &[])), "{state:?}");
                *outcomes.entry(format!("{outcome:?}")).or_insert(0) += 1;
            }
            Call::Delete => {
                world.store.delete(SHARD, kind, sequence_number).await.expect("moto answers");
                memory.delete_now(SHARD, kind, sequence_number);
            }
        }
    }
    assert!(outcomes.len() == 4 && outcomes.values().all(|&times| times > 10), "{outcomes:?}");
    for kind in [StateKind::Retry, StateKind::Discarded] {
        let states = world.store.read(SHARD, all(kind)).await.expect("moto answers").states;
        assert!(states.len() > 5);
        assert_eq!(states, memory.read_now(SHARD, all(kind)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs moto: make test"]
async fn two_writers_lose_no_update() {
    let world = Arc::new(World::start().await);
    let writer = |start: u64| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let store = DynamoDbJournal::with_config(TABLE, moto::config(world.proxy.port).await);
            let mut conflicts = 0;
            for step in 0..40 {
                let mut change = Progress::done(DoneSet::default());
                change.done.insert(UserRecordId::Sub(2 * step + start));
                change.attempts.insert(UserRecordId::Sub(1_000), 1);
                loop {
                    let range = StateRange {
                        kind: StateKind::Retry,
                        from: number(9),
                        through: number(9),
                        earlier: 0,
                    };
                    let stored = store.read(SHARD, range).await.expect("moto answers").states.pop();
                    let version = stored.as_ref().map(|state| state.version);
                    let mut progress = stored.map(|state| state.progress).unwrap_or_default();
                    progress.merge(&change);
                    let state = state(number(9), version.unwrap_or(0) + 1, progress);
                    match store.write(&write(&state, version, &[])).await.expect("moto answers") {
                        WriteOutcome::Written => break,
                        WriteOutcome::Conflict => conflicts += 1,
                    }
                }
            }
            conflicts
        })
    };
    let writers = [writer(0), writer(1)];
    let mut conflicts = 0;
    for writer in writers {
        conflicts += writer.await.expect("no panic");
    }
    assert!(conflicts > 0, "they have met");
    let state = world.store.read(SHARD, all(StateKind::Retry)).await.expect("moto answers").states.remove(0);
    assert_eq!(state.progress.done, DoneSet::before(80));
    assert_eq!((state.version, state.progress.failures(&UserRecordId::Sub(1_000))), (80, 80));
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_batch_costs_one_query_and_writes_only_when_it_stops() {
    let world = World::start().await;
    world.handle(&[record(8, b"a")]).await;
    assert_eq!(world.proxy.take_requests(), ["Query"]);
    let batch = [record(8, b"a"), record(9, b"fail"), record(10, b"b")];
    assert_eq!(world.handle(&batch).await.batch_item_failure(), Some(number(9)));
    assert_eq!(world.proxy.take_requests(), ["Query", "PutItem"]);
    let items = world.items().await;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["pk"], AttributeValue::S(format!("orders#{STREAM}#shardId-000000000000")));
    assert_eq!(items[0]["sk"], AttributeValue::S("S#019".to_owned()));
    // In seconds, as DynamoDB's time to live wants them: 366 days from now.
    let expires = items[0]["expiresAt"].as_n().expect("a number").parse::<u64>().expect("digits");
    let in_366_days = SystemClock.epoch_ms() / 1000 + 366 * 24 * 60 * 60;
    assert!((in_366_days - 60..=in_366_days + 60).contains(&expires), "{expires}");

    // It has passed.
    world.handle(&[record(9, b"fine"), record(10, b"b")]).await;
    assert_eq!(world.proxy.take_requests(), ["Query", "DeleteItem"]);
    assert_eq!(world.items().await, []);
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn the_quarantine_keeps_payloads_of_all_sizes_for_good() {
    let world = World::start().await;
    const KB: usize = 1024;
    for (sequence_number, bytes, parts) in
        [(1, 4, 0), (2, 350 * KB - 3, 0), (3, 350 * KB, 1), (4, 1_024 * KB, 3)]
    {
        let mut data = b"bad ".to_vec();
        data.resize(bytes, b'x');
        let response = world.handle(&[record(sequence_number, &data)]).await;
        assert_eq!((response.batch_item_failure(), response.counts().quarantined), (None, 1));
        let mut expected = vec!["Query"];
        if parts > 0 {
            // What an earlier try has written.
            expected.push("Query");
        }
        expected.extend(vec!["PutItem"; parts]);
        expected.extend(["TransactWriteItems", "DeleteItem"]);
        assert_eq!(world.proxy.take_requests(), expected);
    }
    let records = world.store.quarantine(SHARD).all().await.expect("moto answers").records;
    assert!(world.proxy.take_requests().iter().all(|action| action == "Query"), "listing is no scan");
    let sizes: Vec<_> = records.iter().map(|record| record.data.len()).collect();
    assert_eq!(sizes, [4, 350 * KB - 3, 350 * KB, 1_024 * KB]);
    for record in &records {
        assert!(record.data.starts_with(b"bad ") && record.data[4..].iter().all(|&byte| byte == b'x'));
        assert_eq!((record.content, record.attempts), (QuarantinedContent::Plain, 1));
        assert_eq!((record.error.as_str(), record.partition_key.as_slice()), ("asked to", &b"key"[..]));
    }
    let items = world.items().await;
    assert_eq!(items.len(), 4 + 4);
    assert!(items.iter().all(|item| !item.contains_key("expiresAt")), "nothing of it expires");

    // Once more, as from a mapping that was made anew: the same positions, so the same items.
    world.handle(&[record(1, b"bad "), record(5, b"a")]).await;
    assert_eq!(world.store.quarantine(SHARD).all().await.expect("moto answers").records.len(), 4);
    let other = JournalShard { application: "billing", ..SHARD };
    assert!(world.store.quarantine(other).all().await.expect("moto answers").records.is_empty());
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn what_is_taken_out_of_the_quarantine_is_gone_with_its_parts() {
    let world = World::start().await;
    let mut large = b"bad ".to_vec();
    large.resize(800 * 1024, b'x');
    world.handle(&[record(1, &large), record(2, b"bad")]).await;
    let records = world.store.quarantine(SHARD).all().await.expect("moto answers").records;
    assert_eq!(world.store.scan_keys().await.expect("moto answers").partition_keys, [SHARD.to_string()]);
    assert_eq!(world.items().await.len(), 2 + 3);

    let delete = async |record| world.store.delete_quarantined(SHARD, record).await.expect("moto answers");
    assert!(delete(&records[0]).await);
    let left = world.store.quarantine(SHARD).all().await.expect("moto answers").records;
    assert_eq!((left, world.items().await.len()), (records[1..].to_vec(), 1));
    assert!(delete(&records[0]).await, "it is gone");

    // Put there once more since it was read.
    let mut read = records[1].clone();
    read.quarantined_ms -= 1;
    assert!(!delete(&read).await);
    assert_eq!(world.items().await.len(), 1);
    assert!(delete(&records[1]).await);
    assert!(world.items().await.is_empty());
    assert!(world.store.scan_keys().await.expect("moto answers").partition_keys.is_empty());
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_quarantine_is_written_with_its_state_or_not_at_all() {
    let world = World::start().await;
    let quarantined = {
        world.handle(&[record(9, b"bad")]).await;
        world.store.quarantine(SHARD).all().await.expect("moto answers").records
    };
    for item in world.items().await {
        let delete = world.client.delete_item().table_name(TABLE);
        let delete = delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone());
        delete.send().await.expect("moto answers");
    }
    let stored = state(number(9), 3, Progress::done(DoneSet::before(1)));
    assert_eq!(world.write(&stored, None).await.expect("an answer"), WriteOutcome::Written);
    let next = state(number(9), 3, Progress::done(DoneSet::before(2)));
    for expected in [None, Some(2)] {
        let outcome = world.store.write(&write(&next, expected, &quarantined)).await;
        assert_eq!(outcome.expect("an answer"), WriteOutcome::Conflict);
        assert_eq!(world.items().await.len(), 1);
    }
    let outcome = world.store.write(&write(&next, Some(3), &quarantined)).await;
    assert_eq!(outcome.expect("an answer"), WriteOutcome::Written);
    assert_eq!(world.items().await.len(), 2);
    assert_eq!(world.store.read(SHARD, all(StateKind::Retry)).await.expect("moto answers").states, [next]);
    assert_eq!(world.store.quarantine(SHARD).all().await.expect("moto answers").records, quarantined);
}

#[track_caller]
fn code(error: &JournalError) -> Option<&str> {
    let JournalError::Store { source } = error else { panic!("{error}") };
    source.downcast_ref::<StoreFault>().expect("what DynamoDB said").code()
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_missing_table_and_a_denied_permission_are_errors_that_no_retry_mends() {
    let world = World::start().await;
    let store = DynamoDbJournal::with_config("elsewhere", moto::config(world.proxy.port).await);
    let error = store.read(SHARD, all(StateKind::Retry)).await.expect_err("no table");
    assert_eq!(code(&error), Some("ResourceNotFoundException"));
    assert_eq!(world.proxy.take_requests(), ["Query"]);

    let state = state(number(9), 1, Progress::done(DoneSet::before(1)));
    world.proxy.set_faults([Fault::Error { status: 400, code: "AccessDeniedException" }; 5]);
    let error = world.write(&state, None).await.expect_err("denied");
    assert_eq!(code(&error), Some("AccessDeniedException"));
    assert_eq!(world.proxy.take_requests(), ["PutItem"]);
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn what_passes_is_tried_again_three_times_in_all() {
    let world = World::start().await;
    let throttled = Fault::Error { status: 400, code: "ProvisionedThroughputExceededException" };
    let broken = Fault::Error { status: 500, code: "InternalServerError" };
    for (sequence_number, fault) in (1..).zip([throttled, broken, Fault::Drop]) {
        let state = state(number(sequence_number), 1, Progress::done(DoneSet::before(1)));
        world.proxy.set_faults([fault; 3]);
        world.write(&state, None).await.expect_err("three in vain");
        assert_eq!(world.proxy.take_requests(), ["PutItem"; 3], "{fault:?}");

        world.proxy.set_faults([fault; 2]);
        assert_eq!(
            world.write(&state, None).await.expect("the third try"),
            WriteOutcome::Written,
            "{fault:?}"
        );
        assert_eq!(world.proxy.take_requests(), ["PutItem"; 3], "{fault:?}");
    }
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_server_that_does_not_answer_costs_a_second_a_try() {
    let world = World::start().await;
    world.proxy.set_faults([Fault::Stall; 3]);
    let started = Instant::now();
    let error = world.store.read(SHARD, all(StateKind::Retry)).await.expect_err("no answer");
    assert_eq!(code(&error), None);
    let elapsed = started.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(5)).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_write_whose_answer_is_lost_counts_once() {
    let world = World::start().await;
    // After the query: the put is done, its answer lost, and tried again.
    world.proxy.set_faults([Fault::None, Fault::LoseAnswer]);
    let response = world.handle(&[record(9, b"fail")]).await;
    assert_eq!((response.batch_item_failure(), response.counts().journal_write_errors), (Some(number(9)), 0));
    assert_eq!(world.proxy.take_requests(), ["Query", "PutItem", "PutItem", "Query"]);
    let states = world.store.read(SHARD, all(StateKind::Retry)).await.expect("moto answers").states;
    assert_eq!((states[0].version, states[0].progress.failures(&UserRecordId::Sub(0))), (1, 1));

    // A transaction has a token. DynamoDB knows it, and says that it is done.
    world.proxy.take_requests();
    world.proxy.set_faults([Fault::None, Fault::LoseAnswer, Fault::SameToken]);
    check_quarantined_once(&world, 10, &["Query", "TransactWriteItems", "TransactWriteItems", "DeleteItem"])
        .await;

    // If it did not, as moto, the second one would fail the condition, and be found to be ours.
    world.proxy.set_faults([Fault::None, Fault::LoseAnswer]);
    let requests = ["Query", "TransactWriteItems", "TransactWriteItems", "Query", "DeleteItem"];
    check_quarantined_once(&world, 11, &requests).await;
}

async fn check_quarantined_once(world: &World, sequence_number: u64, requests: &[&str]) {
    let response = world.handle(&[record(sequence_number, b"bad")]).await;
    let counts = response.counts();
    assert_eq!(
        (response.batch_item_failure(), counts.quarantined, counts.journal_write_errors),
        (None, 1, 0)
    );
    assert_eq!(world.proxy.take_requests(), requests);
    let page = world.store.quarantine(SHARD).all().await.expect("moto answers");
    let of_record = page.records.iter().filter(|record| record.sequence_number == number(sequence_number));
    assert_eq!(of_record.count(), 1);
    world.proxy.take_requests();
}

/// A record whose payload takes so many parts. Its key is too long for Kinesis; only a member of an aggregate can have it.
fn large(parts: usize) -> KinesisRecord<'static> {
    let mut data = b"bad ".to_vec();
    data.resize((parts - 1) * 350 * 1024, b'x');
    let key = "k".repeat(130 * 1024);
    let member = UserRecord::new(key.as_bytes(), &data);
    record(9, &encode([member]).expect("a member"))
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_large_payload_gets_through_a_partition_that_throttles() {
    let world = World::start().await;
    // Four parts of 350 units, and little of the burst is left.
    world.proxy.set_capacity(Capacity::new(1_000, 100));
    let response = world.handle(&[large(5)]).await;
    assert_eq!((response.batch_item_failure(), response.counts().quarantined), (None, 1));
    let page = world.store.quarantine(SHARD).all().await.expect("moto answers");
    assert_eq!((page.records.len(), page.unreadable.len()), (1, 0));
    let record = &page.records[0];
    assert_eq!((record.data.len(), record.partition_key.len()), (4 * 350 * 1024, 130 * 1024));
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_large_payload_gets_further_with_each_invocation() {
    let world = World::start().await;
    world.proxy.set_capacity(Capacity::new(250, 100));
    let mut invocations = 0;
    let mut quarantined = 0;
    while quarantined == 0 {
        invocations += 1;
        assert!(invocations < 9, "it gets no further");
        let response = world.handle_within(&[large(5)], Duration::from_secs(4)).await;
        quarantined = response.counts().quarantined;
        assert_eq!(response.batch_item_failure(), (quarantined == 0).then(|| number(9)));
    }
    assert!(invocations > 1, "one has not enough time");
    let page = world.store.quarantine(SHARD).all().await.expect("moto answers");
    assert_eq!((page.records.len(), page.unreadable.len()), (1, 0));
    assert_eq!(page.records[0].data.len(), 4 * 350 * 1024);
    let mut parts = world.proxy.written();
    parts.retain(|key| key.contains("#P"));
    parts.sort();
    let expected: Vec<_> = (0..5).map(|index| format!("Q#019#010#P000{index}")).collect();
    assert_eq!(parts, expected, "each was written once");
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_transaction_that_meets_another_is_tried_again() {
    let world = World::start().await;
    world.proxy.set_faults([
        Fault::None,
        Fault::Cancelled("TransactionConflict"),
        Fault::Cancelled("ThrottlingError"),
    ]);
    let response = world.handle(&[record(9, b"bad")]).await;
    assert_eq!((response.batch_item_failure(), response.counts().quarantined), (None, 1));
    let requests = world.proxy.take_requests();
    assert_eq!(requests[1..4], ["TransactWriteItems"; 3]);
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn an_unreadable_item_hides_no_other_and_can_be_deleted() {
    let world = World::start().await;
    let put = async |partition_key: &str, sort_key: &str| {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let put = world.client.put_item().table_name(TABLE).item("version", text("one"));
        put.item("pk", text(partition_key)).item("sk", text(sort_key)).send().await.expect("moto answers");
    };
    let shard = SHARD.to_string();
    world.handle(&[record(8, b"bad"), record(10, b"fail")]).await;
    for sort_key in ["S#019", "S#01x", "Q#017#010", "Q#019#010#P0000", "X#019"] {
        put(&shard, sort_key).await;
    }
    put("orders", "S#019").await;

    // The function: the batch has its journal, and the item is counted.
    let response = world.handle(&[record(9, b"a"), record(10, b"fail")]).await;
    let counts = response.counts();
    assert_eq!((counts.journal_read_errors, counts.unreadable_journal_items), (0, 2));
    let entries = world.store.states(SHARD, StateKind::Retry).await.expect("moto answers");
    let attempts: Vec<_> =
        entries.states.iter().map(|state| state.progress.failures(&UserRecordId::Sub(0))).collect();
    assert_eq!(attempts, [2], "of record 10");

    // The tools: all of them are found, with their keys.
    let page = world.store.quarantine(SHARD).all().await.expect("moto answers");
    assert_eq!(page.records.len(), 1);
    let keys = world.store.scan_keys().await.expect("moto answers");
    assert_eq!(keys.partition_keys, [shard]);
    let unreadable = [entries.unreadable, page.unreadable, keys.foreign].concat();
    let found: Vec<_> = unreadable.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "item S#019 cannot be read: version is S(\"one\")",
            "item S#01x cannot be read: sk is S(\"S#01x\")",
            "item Q#017#010 cannot be read: parts is absent",
            "item Q#019#010#P0000 cannot be read: sk is a part of a payload without a record",
            "item S#019 cannot be read: pk is S(\"orders\")",
            "item X#019 cannot be read: sk is S(\"X#019\")",
        ]
    );
    for item in &unreadable {
        world.store.delete_item(&item.key).await.expect("moto answers");
    }
    assert_eq!(world.items().await.len(), 2, "what can be read is left");
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_read_goes_on_where_an_answer_ended() {
    let world = World::start().await;
    let mut expected = Vec::new();
    for sequence_number in 10..22 {
        // More than 1 MB in all, after which DynamoDB ends an answer.
        let mut done = DoneSet::default();
        (0..12_000).for_each(|index| done.insert(UserRecordId::Sub(1_000_000 + 2 * index)));
        let state = state(number(sequence_number), 1, Progress::done(done));
        assert_eq!(world.write(&state, None).await.expect("an answer"), WriteOutcome::Written);
        expected.push(state);
    }
    world.proxy.take_requests();
    // Not `assert_eq`, which would print all of it.
    assert!(world.store.read(SHARD, all(StateKind::Retry)).await.expect("an answer").states == expected);
    assert_eq!(world.proxy.take_requests(), ["Query", "Query"]);
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn applications_streams_and_shards_do_not_see_each_other() {
    let world = World::start().await;
    let ours = state(number(49), 1, Progress::done(DoneSet::before(8)));
    assert_eq!(world.write(&ours, None).await.expect("an answer"), WriteOutcome::Written);
    for shard in [
        JournalShard { application: "billing", ..SHARD },
        JournalShard { stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/other", ..SHARD },
        JournalShard { shard_id: "shardId-000000000001", ..SHARD },
    ] {
        assert_eq!(world.store.read(shard, all(StateKind::Retry)).await.expect("an answer").states, []);
        // There is none yet: no conflict.
        let theirs = JournalWrite { shard, state: &ours, expected_version: None, quarantined: &[] };
        assert_eq!(world.store.write(&[theirs]).await.expect("an answer"), WriteOutcome::Written);
        world.store.delete(shard, ours.kind, ours.sequence_number).await.expect("an answer");
    }
    assert_eq!(world.store.read(SHARD, all(StateKind::Retry)).await.expect("an answer").states, [ours]);
}
