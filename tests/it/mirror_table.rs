//! The checkpoint mirror's table in a real DynamoDB API: the condition of its writes against the table in memory, and
//! whatever can go wrong on the way.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use kinesis_handler::checkpoint::{
    Checkpoint, CheckpointError, CheckpointOutcome, CheckpointPosition, CheckpointStore, DynamoDbCheckpoints,
    FrozenPosition, MemoryCheckpoints, Refusal, Row, RowCheckpoint, StoreFault,
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    fault_proxy::{Fault, FaultProxy},
    moto::{self, Moto},
};

const TABLE: &str = "orders-mirror";
const STREAM: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/orders";
const SHARD: &str = "shardId-000000000000";

type Item = HashMap<String, AttributeValue>;

/// The server, a proxy before it, a client that goes past the proxy, and a store that goes through it.
struct World {
    _moto: Moto,
    proxy: FaultProxy,
    client: Client,
    store: DynamoDbCheckpoints,
}

impl World {
    async fn start() -> Self {
        let moto = Moto::start();
        let proxy = FaultProxy::start(moto.port);
        let client = Client::new(&moto::config(moto.port).await);
        moto::create_table(&client, TABLE).await;
        let store = DynamoDbCheckpoints::with_config(TABLE, moto::config(proxy.port).await);
        World { _moto: moto, proxy, client, store }
    }

    async fn item(&self, shard_id: &str) -> Option<Item> {
        let key = AttributeValue::S(shard_id.to_owned());
        let output = self.client.get_item().table_name(TABLE).key("leaseKey", key).consistent_read(true);
        output.send().await.expect("moto answers").item
    }

    async fn put(&self, item: Item) {
        self.client.put_item().table_name(TABLE).set_item(Some(item)).send().await.expect("moto answers");
    }

    async fn write(&self, position: &str) -> Result<CheckpointOutcome, CheckpointError> {
        self.store.write(checkpoint(SHARD, position, 7)).await
    }
}

fn position(text: &str) -> CheckpointPosition {
    let (sequence_number, sub_sequence_number) = text.split_once('/').expect("number/sub");
    CheckpointPosition {
        sequence_number: sequence_number.parse().expect("digits"),
        sub_sequence_number: sub_sequence_number.parse().expect("digits"),
    }
}

fn checkpoint<'a>(shard_id: &'a str, text: &str, now_ms: u64) -> Checkpoint<'a> {
    Checkpoint {
        application: "orders",
        stream_arn: STREAM,
        shard_id,
        position: position(text),
        arrival_ms: Some(5),
        now_ms,
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn item(attributes: &[(&str, AttributeValue)]) -> Item {
    attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// The attributes that a row has both in memory and in the table.
fn row(item: &Item) -> Row {
    let text = |name| item.get(name).map(|value: &AttributeValue| value.as_s().expect("text").clone());
    let number = |name| {
        item.get(name).map(|value: &AttributeValue| value.as_n().expect("number").parse().expect("digits"))
    };
    let checkpoint = text("checkpoint").expect("each row has one");
    let mut row = Row::new(RowCheckpoint::from_attribute(&checkpoint).expect("a checkpoint"));
    row.sub_sequence_number = number("checkpointSubSequenceNumber");
    row.lease_counter = number("leaseCounter").expect("each row has one");
    row.lease_owner = text("leaseOwner");
    row.stream_arn = text("kitStream");
    row.application = text("kitApp");
    row.arrival_ms = number("kitArrivalAt");
    row.updated_ms = number("kitUpdatedAt");
    row
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_checkpoint_removes_what_a_cut_over_has_frozen() {
    let world = World::start().await;
    for (sequence, sub, through) in [("9", 2, Some(position("9/2"))), ("SHARD_END", 0, None)] {
        let frozen = [
            ("leaseKey", text(SHARD)),
            ("leaseCounter", number(1)),
            ("checkpoint", text("9")),
            ("checkpointSubSequenceNumber", number(2)),
            ("cutoverSequence", text(sequence)),
            ("cutoverSub", number(sub)),
            ("cutoverExpiresAt", number(77)),
        ];
        world.put(item(&frozen)).await;
        let read = async || world.store.read(SHARD).await.expect("moto answers").expect("a row").frozen;
        assert_eq!(read().await, Some(FrozenPosition { through, expires_ms: 77 }));
        let ahead = world.write("9/1").await.expect("moto answers");
        assert!(matches!(ahead, CheckpointOutcome::AlreadyAhead { .. }));
        assert!(read().await.is_some());
        // With an arrival, and without one.
        let checkpoint = Checkpoint { arrival_ms: through.map(|_| 5), ..checkpoint(SHARD, "9/3", 7) };
        assert_eq!(world.store.write(checkpoint).await.expect("moto answers"), CheckpointOutcome::Written);
        let row = world.item(SHARD).await.expect("a row");
        assert!(row.keys().all(|name| !name.starts_with("cutover")), "{row:?}");
        assert_eq!(row.contains_key("kitArrivalAt"), through.is_some());
    }
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn the_store_keeps_its_contract() {
    let world = World::start().await;
    kinesis_handler::contract::check_checkpoints(&world.store).await;
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_row_has_what_a_kcl_needs_and_the_mirrors_own_attributes() {
    let world = World::start().await;
    assert_eq!(world.write("49/3").await.expect("an answer"), CheckpointOutcome::Written);
    let mut expected = item(&[
        ("leaseKey", text(SHARD)),
        ("leaseCounter", number(1)),
        ("checkpoint", text("49")),
        ("checkpointSubSequenceNumber", number(3)),
        ("ownerSwitchesSinceCheckpoint", number(0)),
        ("kitVersion", number(1)),
        ("kitUpdatedAt", number(7)),
        ("kitArrivalAt", number(5)),
        ("kitStream", text(STREAM)),
        ("kitApp", text("orders")),
    ]);
    assert_eq!(world.item(SHARD).await, Some(expected.clone()));

    // What the mirror does not know stays; the arrival of another record does not.
    expected.insert("parentShardId".to_owned(), AttributeValue::Ss(vec!["shardId-9".to_owned()]));
    world.put(expected.clone()).await;
    let checkpoint = Checkpoint { arrival_ms: None, ..checkpoint(SHARD, "50/0", 8) };
    assert_eq!(world.store.write(checkpoint).await.expect("an answer"), CheckpointOutcome::Written);
    expected.extend(item(&[
        ("leaseCounter", number(2)),
        ("checkpoint", text("50")),
        ("checkpointSubSequenceNumber", number(0)),
        ("kitUpdatedAt", number(8)),
    ]));
    expected.remove("kitArrivalAt");
    assert_eq!(world.item(SHARD).await, Some(expected));
}

/// Numbers of 1 to 57 digits, many of them alike.
fn sequence_number() -> impl Strategy<Value = String> {
    let digits = prop_oneof![2 => 1..=57usize, 1 => Just(1), 1 => Just(56)];
    (digits, prop::sample::select(vec!["1", "49", "9"]), prop_oneof![3 => 0..4u64, 1 => any::<u64>()])
        .prop_map(|(digits, head, tail)| {
            let tail = tail.to_string();
            let zeros = "0".repeat(digits.saturating_sub(head.len() + tail.len()));
            format!("{head}{zeros}{tail}")[..digits].to_owned()
        })
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn the_condition_is_integer_order_and_agrees_with_the_table_in_memory() {
    let world = World::start().await;
    let memory = MemoryCheckpoints::default();
    let mut highest: HashMap<String, CheckpointPosition> = HashMap::new();
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let write = (0..40u32, sequence_number(), 0..4u64);
    let mut written = 0;
    for now_ms in 0..1_500 {
        let tree = write.new_tree(&mut runner).expect("nothing is rejected");
        let (shard, sequence_number, sub_sequence_number) = tree.current();
        let shard_id = format!("shardId-{shard:012}");
        let checkpoint = checkpoint(&shard_id, &format!("{sequence_number}/{sub_sequence_number}"), now_ms);
        let outcome = world.store.write(checkpoint).await.expect("moto answers");
        assert_eq!(outcome, memory.write_now(&checkpoint), "{checkpoint:?}");

        let before = highest.get(&shard_id).copied();
        let expected = match before {
            Some(before) if before >= checkpoint.position => {
                CheckpointOutcome::AlreadyAhead { at: before.into() }
            }
            _ => CheckpointOutcome::Written,
        };
        assert_eq!(outcome, expected, "{checkpoint:?}");
        if outcome == CheckpointOutcome::Written {
            highest.insert(shard_id.clone(), checkpoint.position);
            written += 1;
        }
    }
    assert!((100..1_400).contains(&written), "{written} of 1500");
    for shard_id in highest.keys() {
        let item = world.item(shard_id).await.expect("a row");
        assert_eq!(Some(row(&item)), memory.row(shard_id));
    }
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn padded_numbers_never_move_a_row_back() {
    let world = World::start().await;
    for (position, is_written, stored) in [
        ("0009/0", true, "0009"),
        ("0010/0", true, "0010"),
        ("0009/5", false, "0010"),
        ("9/0", false, "0010"),
        ("100000/0", true, "100000"),
        // A longer text, but a smaller number.
        ("0000000011/0", false, "100000"),
    ] {
        let outcome = world.write(position).await.expect("moto answers");
        assert_eq!(outcome == CheckpointOutcome::Written, is_written, "{position}: {outcome:?}");
        let item = world.item(SHARD).await.expect("a row");
        assert_eq!(item.get("checkpoint"), Some(&text(stored)), "{position}");
    }
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn rows_of_others_are_left_alone_or_taken_over_as_in_memory() {
    let world = World::start().await;
    let ours = [("kitStream", text(STREAM)), ("kitApp", text("orders"))];
    let owner = [("leaseOwner", text("worker-1"))];
    let owned = CheckpointOutcome::OwnedByKcl { owner: "worker-1".to_owned() };
    let other_stream = "arn:aws:kinesis:us-east-1:123456789012:stream/other";
    let behind = || CheckpointOutcome::AlreadyAhead { at: Some(position("60/0")) };
    for (at, more, expected) in [
        ("TRIM_HORIZON", vec![], CheckpointOutcome::Written),
        ("LATEST", vec![], CheckpointOutcome::Written),
        ("AT_TIMESTAMP", vec![], CheckpointOutcome::Written),
        ("SHARD_END", vec![], CheckpointOutcome::AlreadyAhead { at: None }),
        ("49", vec![], CheckpointOutcome::Written),
        ("50", vec![], CheckpointOutcome::Written),
        ("60", vec![], behind()),
        ("60", ours.to_vec(), behind()),
        ("49", ours.to_vec(), CheckpointOutcome::Written),
        ("49", owner.to_vec(), owned.clone()),
        ("60", owner.to_vec(), owned.clone()),
        ("TRIM_HORIZON", owner.to_vec(), owned.clone()),
        ("SHARD_END", owner.to_vec(), owned.clone()),
        ("49", [&ours[..], &owner].concat(), owned),
        (
            "49",
            vec![("kitStream", text(other_stream)), ("kitApp", text("orders"))],
            CheckpointOutcome::Refused(Refusal::OtherStream { stream_arn: other_stream.to_owned() }),
        ),
        (
            "TRIM_HORIZON",
            vec![("kitStream", text(STREAM)), ("kitApp", text("billing"))],
            CheckpointOutcome::Refused(Refusal::OtherApplication { application: "billing".to_owned() }),
        ),
        (
            "49",
            vec![("kitStream", text(STREAM))],
            CheckpointOutcome::Refused(Refusal::OtherApplication { application: String::new() }),
        ),
    ] {
        let start = [
            ("leaseKey", text(SHARD)),
            ("leaseCounter", number(3)),
            ("checkpoint", text(at)),
            ("ownerSwitchesSinceCheckpoint", number(2)),
        ];
        let before = item(&[&start[..], &more].concat());
        world.put(before.clone()).await;
        let outcome = world.write("50/0").await.expect("moto answers");
        assert_eq!(outcome, expected, "{before:?}");

        let memory = MemoryCheckpoints::default();
        memory.put(SHARD, row(&before));
        assert_eq!(memory.write_now(&checkpoint(SHARD, "50/0", 7)), expected, "{before:?}");
        let after = world.item(SHARD).await.expect("a row");
        assert_eq!(Some(row(&after)), memory.row(SHARD), "{before:?}");
        if expected != CheckpointOutcome::Written {
            assert_eq!(after, before);
        }
    }
    // Not a lease table's row at all.
    world.put(item(&[("leaseKey", text(SHARD)), ("checkpoint", text("nowhere"))])).await;
    let error = world.write("50/0").await.expect_err("nobody knows what that is");
    assert_eq!(error.to_string(), "cannot read the lease: checkpoint is S(\"nowhere\")");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs moto: make test"]
async fn two_writers_never_move_a_row_back() {
    let mut world = World::start().await;
    // Through the proxy, too, where one request waits for the other.
    world.client = Client::new(&moto::config(world.proxy.port).await);
    let world = Arc::new(world);
    let writer = |start: u64| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let store = DynamoDbCheckpoints::with_config(TABLE, moto::config(world.proxy.port).await);
            let mut written = 0;
            for step in 0..60 {
                // Both pass through the same numbers, at their own pace.
                let place = format!("{}/{}", 95 + step / 3 * 2 + start, step % 3);
                let outcome = store.write(checkpoint(SHARD, &place, 1_000 * start + step)).await;
                written += u64::from(outcome.expect("moto answers") == CheckpointOutcome::Written);
            }
            written
        })
    };
    let writers = [writer(1), writer(2)];
    let mut seen = None;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        if let Some(item) = world.item(SHARD).await {
            let row = row(&item);
            let RowCheckpoint::At(sequence_number) = row.checkpoint else { panic!("{row:?}") };
            let at = Some((sequence_number, row.sub_sequence_number));
            assert!(at >= seen, "from {seen:?} to {at:?}");
            seen = at;
        }
    }
    let mut written = 0;
    for writer in writers {
        written += writer.await.expect("no panic");
    }
    let last = row(&world.item(SHARD).await.expect("a row"));
    assert_eq!((last.checkpoint.to_string().as_str(), last.sub_sequence_number), ("135", Some(2)));
    assert_eq!(last.lease_counter, written);
}

#[track_caller]
fn code(error: &CheckpointError) -> Option<&str> {
    let CheckpointError::Store { source } = error else { panic!("{error}") };
    source.downcast_ref::<StoreFault>().expect("what DynamoDB said").code()
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_missing_table_is_an_error_that_no_retry_mends() {
    let world = World::start().await;
    let store = DynamoDbCheckpoints::with_config("elsewhere", moto::config(world.proxy.port).await);
    let error = store.write(checkpoint(SHARD, "49/0", 7)).await.expect_err("no table");
    assert_eq!(code(&error), Some("ResourceNotFoundException"));
    assert_eq!(world.proxy.take_requests(), ["GET", "UpdateItem"]);
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_denied_permission_is_an_error_that_no_retry_mends() {
    let world = World::start().await;
    world.proxy.set_faults([Fault::Error { status: 400, code: "AccessDeniedException" }; 5]);
    let error = world.write("49/0").await.expect_err("denied");
    assert_eq!(code(&error), Some("AccessDeniedException"));
    let CheckpointError::Store { source } = error else { unreachable!("it has a code") };
    assert_eq!(source.to_string(), "AccessDeniedException: asked to");
    assert_eq!(world.proxy.take_requests(), ["GET", "UpdateItem"]);
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn what_passes_is_tried_again_three_times_in_all() {
    let world = World::start().await;
    assert_eq!(world.write("1/0").await.expect("an answer"), CheckpointOutcome::Written);
    assert_eq!(world.proxy.take_requests(), ["GET", "UpdateItem"], "connected before the first write");
    let throttled = Fault::Error { status: 400, code: "ProvisionedThroughputExceededException" };
    let broken = Fault::Error { status: 500, code: "InternalServerError" };
    for (place, fault) in (2..).zip([throttled, broken, Fault::Drop]) {
        let place = format!("{place}/0");
        world.proxy.set_faults([fault; 3]);
        world.write(&place).await.expect_err("three in vain");
        assert_eq!(world.proxy.take_requests(), ["UpdateItem"; 3], "{fault:?}");

        world.proxy.set_faults([fault; 2]);
        assert_eq!(
            world.write(&place).await.expect("the third try"),
            CheckpointOutcome::Written,
            "{fault:?}"
        );
        assert_eq!(world.proxy.take_requests(), ["UpdateItem"; 3], "{fault:?}");
    }
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_server_that_does_not_answer_costs_a_second_a_try() {
    let world = World::start().await;
    world.proxy.set_faults([Fault::Stall; 3]);
    let started = Instant::now();
    let error = world.write("49/0").await.expect_err("no answer");
    assert_eq!(code(&error), None);
    let elapsed = started.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(5)).contains(&elapsed), "{elapsed:?}");
    assert_eq!(world.proxy.take_requests(), ["GET", "UpdateItem", "UpdateItem", "UpdateItem"]);
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_write_whose_answer_is_lost_is_written_once() {
    let world = World::start().await;
    world.proxy.set_faults([Fault::LoseAnswer]);
    assert_eq!(world.write("49/0").await.expect("the second try"), CheckpointOutcome::Written);
    assert_eq!(world.item(SHARD).await.expect("a row").get("leaseCounter"), Some(&number(1)));
    // A later one at the same place is another write.
    let again = world.store.write(checkpoint(SHARD, "49/0", 8)).await.expect("an answer");
    assert_eq!(again, CheckpointOutcome::AlreadyAhead { at: Some(position("49/0")) });
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn nobody_at_the_endpoint_is_an_error() {
    let port = crate::emulator::free_port();
    let store = DynamoDbCheckpoints::with_config(TABLE, moto::config(port).await);
    let error = store.write(checkpoint(SHARD, "49/0", 7)).await.expect_err("nobody is there");
    assert_eq!(code(&error), None);
    let CheckpointError::Store { source } = error else { unreachable!("it has a code") };
    assert!(source.to_string().contains("onnection refused"), "{source}");
}
