//! The retry journal of the real binary, which is killed at every point between a batch's first read and its answer.

use std::{fs, path::PathBuf, time::Duration};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use kinesis_handler::{
    Event, KinesisRecord,
    journal::{DynamoDbJournal, JournalShard, JournalStore, RecordState, StateKind, StateRange},
};
use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, HashKeyRange, UserRecordInput};
use lambda_host::{Answer, BinaryFunction, BinaryOptions, Fate};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    emulator::order_function,
    events,
    fault_proxy::{Fault, FaultProxy},
    moto::{self, Moto},
};

const JOURNAL: &str = "orders-journal";
const MIRROR: &str = "orders-mirror";
const SHARD: JournalShard<'static> = JournalShard {
    application: "orders",
    stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
    shard_id: "shardId-000000000000",
};

/// The tables, and what the function has written to its log.
struct World {
    _moto: Moto,
    proxy: FaultProxy,
    client: Client,
    journal: DynamoDbJournal,
    folder: TempDir,
}

impl World {
    async fn start() -> Self {
        let moto = Moto::start();
        let proxy = FaultProxy::start(moto.port);
        let config = moto::config(moto.port).await;
        let client = Client::new(&config);
        moto::create_journal_table(&client, JOURNAL).await;
        moto::create_table(&client, MIRROR).await;
        let journal = DynamoDbJournal::with_config(JOURNAL, config);
        let folder = tempfile::tempdir().expect("a temporary folder");
        World { _moto: moto, proxy, client, journal, folder }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The binary, not started yet. What it prints goes to the end of the log.
    fn function(&self) -> BinaryFunction {
        let binary = order_function().into_os_string();
        let mut options = BinaryOptions::new(
            ["sh".into(), "-c".into(), r#"exec "$BINARY" >>"$LOG""#.into()] as [std::ffi::OsString; 3]
        );
        let variables = moto::variables(self.proxy.port);
        options.variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        options.variables.extend([
            ("BINARY".into(), binary),
            ("LOG".into(), self.log().into_os_string()),
            ("KINESIS_HANDLER_APPLICATION".into(), "orders".into()),
            ("KINESIS_HANDLER_CHECKPOINT_TABLE".into(), MIRROR.into()),
            ("KINESIS_HANDLER_JOURNAL_TABLE".into(), JOURNAL.into()),
            ("KINESIS_HANDLER_QUARANTINE".into(), "on".into()),
            ("KINESIS_HANDLER_PARALLELIZATION_FACTOR".into(), "1".into()),
        ]);
        BinaryFunction::new(options)
    }

    /// Returns the number of times that each of these orders was reserved.
    fn reserved<const N: usize>(&self, orders: [&str; N]) -> [usize; N] {
        let log = fs::read_to_string(self.log()).expect("a log");
        orders.map(|order| log.matches(&format!(r#""message":"order reserved","order":"{order}""#)).count())
    }

    async fn states(&self) -> Vec<RecordState> {
        let through = "9".repeat(57).parse().expect("digits");
        let from = "0".parse().expect("digits");
        let range = StateRange { kind: StateKind::Retry, from, through, earlier: 0 };
        self.journal.read(SHARD, range).await.expect("moto answers").states
    }

    /// Data of what is in the quarantine.
    async fn quarantine(&self) -> Vec<String> {
        let records = self.journal.quarantine(SHARD).all().await.expect("moto answers").records;
        records.into_iter().map(|record| String::from_utf8(record.data).expect("text")).collect()
    }

    /// Sub-sequence number of the mirror's row.
    async fn mirrored(&self) -> Option<String> {
        let key = AttributeValue::S(SHARD.shard_id.to_owned());
        let item = self.client.get_item().table_name(MIRROR).key("leaseKey", key).consistent_read(true);
        let item = item.send().await.expect("moto answers").item?;
        Some(item["checkpointSubSequenceNumber"].as_n().expect("a number").clone())
    }
}

const NO_ORDER: &str = r#"{"id":"A-2","quantity":"two","cents":5}"#;

/// One aggregate: an order, one that is none, an order, one whose first try in a process fails, and an order.
fn event() -> Vec<u8> {
    let order = |id: &str| format!(r#"{{"id":"{id}","quantity":1,"cents":5}}"#);
    let failing = r#"{"id":"A-4","quantity":1,"cents":5,"simulateOutages":1}"#.to_owned();
    let grouping = Grouping::ShardRanges(vec![HashKeyRange::FULL]);
    let options = AggregatorOptions { grouping, ..AggregatorOptions::default() };
    let mut aggregator = Aggregator::new(options).expect("the default limit");
    for data in [order("A-1"), NO_ORDER.to_owned(), order("A-3"), failing, order("A-5")] {
        assert_eq!(aggregator.add(UserRecordInput::new("key", &data)), Ok(None));
    }
    let data = aggregator.finish().remove(0).data;
    let mut record = KinesisRecord::new(events::sequence_number(0), "a", &data);
    record.shard_id = Some(SHARD.shard_id.into());
    record.event_source_arn = Some(SHARD.stream_arn.into());
    Event::new(vec![record]).to_json()
}

fn response(answer: Answer) -> Value {
    let Answer::Response(response) = answer else { panic!("{answer:?}") };
    serde_json::from_slice(&response).expect("JSON")
}

fn named() -> Value {
    json!({ "batchItemFailures": [{ "itemIdentifier": events::sequence_number(0) }] })
}

/// The requests of an invocation to DynamoDB, in this order.
const REQUESTS: [&str; 4] = ["Query", "TransactWriteItems", "UpdateItem", "PutItem"];

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn the_binary_resumes_and_quarantines() {
    let world = World::start().await;
    let function = world.function();
    let invoke = async || {
        let answer = function.invoke(event().into(), "request", Fate::Normal).await;
        response(answer.expect("the binary starts"))
    };
    assert_eq!(invoke().await, named());
    assert_eq!(world.proxy.take_requests(), REQUESTS, "one connection, without a ping");
    assert_eq!(world.mirrored().await.as_deref(), Some("2"));
    assert_eq!(invoke().await, json!({ "batchItemFailures": [] }));
    assert_eq!(world.proxy.take_requests(), ["Query", "UpdateItem", "DeleteItem"]);
    assert_eq!(world.reserved(["A-1", "A-3", "A-4", "A-5"]), [1; 4]);
    assert_eq!((world.states().await, world.quarantine().await), (Vec::new(), vec![NO_ORDER.to_owned()]));
    assert_eq!(world.mirrored().await.as_deref(), Some("4"));
    function.shutdown().await;
}

/// Kills the function at a request, and lets the mapping go on with another process.
async fn check_killed_at(request: usize, fault: Fault) {
    let what = format!("at {} ({fault:?})", REQUESTS[request]);
    let world = World::start().await;
    let mut faults = vec![Fault::None; request];
    faults.push(fault);
    world.proxy.set_faults(faults);
    let function = world.function();
    tokio::select! {
        answer = function.invoke(event().into(), "request", Fate::Normal) => panic!("{what}: {answer:?}"),
        // Its process ends with the invocation that is dropped.
        () = stalled(&world.proxy) => {}
    }
    function.shutdown().await;
    go_on(&world, &what).await;

    // What had reached the journal was not done again, and nothing was forgotten.
    let is_through = |at: usize| request > at || request == at && matches!(fault, Fault::StallAnswer);
    let times = |through: bool, begun: bool| if begun && !through { 2 } else { 1 };
    // The transaction comes when the batch stops, so it knows of what follows the bad order as well.
    let expected = times(is_through(1), request >= 1);
    assert_eq!(world.reserved(["A-1", "A-3"]), [expected; 2], "{what}");
}

async fn stalled(proxy: &FaultProxy) {
    while proxy.stalls() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Delivers the event again, and again, until it is done.
async fn go_on(world: &World, what: &str) {
    let function = world.function();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let answer = function.invoke(event().into(), "request", Fate::Normal).await;
        answers.push(response(answer.expect("the binary starts")));
    }
    function.shutdown().await;
    // Each process fails at the order with an outage once.
    assert_eq!(answers, [named(), json!({ "batchItemFailures": [] })], "{what}");
    assert_eq!(world.reserved(["A-4", "A-5"]), [1, 1], "{what}");
    assert_eq!(world.quarantine().await, [NO_ORDER], "{what}");
    assert_eq!(world.states().await, [], "{what}");
    assert_eq!(world.mirrored().await.as_deref(), Some("4"), "{what}");
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_function_that_is_killed_before_a_request_arrives_loses_nothing() {
    for request in 0..REQUESTS.len() {
        check_killed_at(request, Fault::Stall).await;
    }
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_function_that_is_killed_after_a_request_was_done_loses_nothing() {
    for request in 0..REQUESTS.len() {
        check_killed_at(request, Fault::StallAnswer).await;
    }
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_function_that_is_killed_before_its_answer_is_taken_loses_nothing() {
    let world = World::start().await;
    let function = world.function();
    let answer = function.invoke(event().into(), "request", Fate::Crash).await.expect("the binary starts");
    assert!(matches!(answer, Answer::Error(_)), "{answer:?}");
    function.shutdown().await;
    go_on(&world, "before its answer").await;
    assert_eq!(world.reserved(["A-1", "A-3"]), [1, 1]);
}
