//! The events in `events/`: how they were made, and that they still are what they were made as.
//!
//! `UPDATE_EVENTS=1 cargo test -p kit-tests events` writes them anew.

use std::{borrow::Cow, env, fs, path::PathBuf};

use kinesis_handler::{Event, KinesisRecord, SequenceNumber, event::TumblingWindow};
use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, HashKeyRange, PutEntry, UserRecordInput};
use serde_json::value::RawValue;

const STREAM_ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/orders";
const CONSUMER_ARN: &str =
    "arn:aws:kinesis:us-east-1:123456789012:stream/orders/consumer/order-function:1767225600";
const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/order-function";
const SHARD_ID: &str = "shardId-000000000000";

/// Arrival time in milliseconds: 2026-01-01T00:00:00.125Z.
const FIRST_ARRIVAL_MS: u64 = 1_767_225_600_125;

/// Lambda's limit for the JSON of a synchronous invocation, in bytes.
const LAMBDA_PAYLOAD_LIMIT_BYTES: usize = 6 * 1024 * 1024;

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../events").join(name)
}

/// The sequence number of the Kinesis record at this position of every event.
pub(crate) fn sequence_number(position: u64) -> SequenceNumber {
    // As Kinesis gives them out: 56 digits, increasing with gaps.
    format!("4967{:052}", 133_784_000_000_000_000_000_000u128 + 37 * u128::from(position))
        .parse()
        .expect("digits")
}

fn kinesis_record(
    position: u64,
    partition_key: impl Into<Cow<'static, str>>,
    data: &[u8],
) -> KinesisRecord<'static> {
    let mut record = KinesisRecord::new(sequence_number(position), partition_key, data);
    record.approximate_arrival_ms = Some(FIRST_ARRIVAL_MS + 40 * position);
    record.encryption_type = Some("NONE".into());
    record.shard_id = Some(SHARD_ID.into());
    record.event_source_arn = Some(STREAM_ARN.into());
    record.invoke_identity_arn = Some(ROLE_ARN.into());
    record
}

fn order(number: u32) -> String {
    format!(r#"{{"id":"A-{number}","item":"teapot","quantity":{},"cents":2550}}"#, number % 3 + 1)
}

/// Partition key, explicit hash key, payload.
type UserRecord<'a> = (&'a str, Option<&'a str>, String);

/// The user records in one frame, routed as the KPL does it: by the hash key of the first one.
fn frame(user_records: &[UserRecord<'_>]) -> PutEntry {
    let grouping = Grouping::ShardRanges(vec![HashKeyRange::FULL]);
    let mut aggregator =
        Aggregator::new(AggregatorOptions { grouping, ..Default::default() }).expect("the default limit");
    for (partition_key, explicit_hash_key, data) in user_records {
        let user_record = UserRecordInput {
            explicit_hash_key: *explicit_hash_key,
            ..UserRecordInput::new(partition_key, data)
        };
        assert_eq!(aggregator.add(user_record), Ok(None));
    }
    let mut frames = aggregator.finish();
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

fn aggregate(position: u64, user_records: &[UserRecord<'_>]) -> KinesisRecord<'static> {
    let frame = frame(user_records);
    kinesis_record(position, frame.partition_key, &frame.data)
}

fn plain() -> Vec<u8> {
    let records = [(0, "customer-1"), (1, "customer-2"), (2, "customer-1")]
        .map(|(position, key)| kinesis_record(position, key, order(1001 + position as u32).as_bytes()));
    Event::new(records.into()).to_json()
}

fn aggregated() -> Vec<u8> {
    let hash_key = "170141183460469231731687303715884105728";
    Event::new(vec![
        aggregate(
            0,
            &[
                ("customer-1", None, order(1001)),
                ("customer-2", None, order(1002)),
                ("customer-1", None, order(1003)),
            ],
        ),
        aggregate(1, &[("customer-3", Some(hash_key), order(1004)), ("customer-3", Some("0"), order(1005))]),
        aggregate(
            2,
            &[
                ("клиент-4", None, order(1006)),
                ("顧客-5", Some(hash_key), order(1007)),
                ("🫖", None, order(1008)),
            ],
        ),
    ])
    .to_json()
}

fn mixed() -> Vec<u8> {
    Event::new(vec![
        kinesis_record(0, "customer-1", order(1001).as_bytes()),
        aggregate(1, &[("customer-2", None, order(1002)), ("customer-3", None, order(1003))]),
        kinesis_record(2, "customer-2", order(1004).as_bytes()),
        aggregate(3, &[("customer-1", None, order(1005)), ("customer-3", None, order(1006))]),
    ])
    .to_json()
}

fn corrupt_digest() -> Vec<u8> {
    let mut frame = frame(&[("customer-2", None, order(1002)), ("customer-3", None, order(1003))]);
    *frame.data.last_mut().expect("a frame ends with its digest") ^= 1;
    Event::new(vec![
        kinesis_record(0, "customer-1", order(1001).as_bytes()),
        kinesis_record(1, frame.partition_key, &frame.data),
        kinesis_record(2, "customer-1", order(1004).as_bytes()),
    ])
    .to_json()
}

fn invalid_aggregate() -> Vec<u8> {
    // Magic number, a key table without entries and one record with key index 0 and data "x", MD5 of that message.
    let frame = [
        &[0xf3, 0x89, 0x9a, 0xc2, 0x1a, 0x05, 0x08, 0x00, 0x1a, 0x01, b'x'][..],
        &0x25c3_57c2_b8fe_f919_c996_de60_a470_8eed_u128.to_be_bytes(),
    ]
    .concat();
    Event::new(vec![
        aggregate(0, &[("customer-1", None, order(1001)), ("customer-2", None, order(1002))]),
        kinesis_record(1, "a", &frame),
        kinesis_record(2, "customer-1", order(1003).as_bytes()),
    ])
    .to_json()
}

fn partial_failure() -> Vec<u8> {
    let outage = r#"{"id":"A-1003","item":"teapot","quantity":1,"cents":2550,"simulateOutages":1}"#;
    Event::new(vec![
        aggregate(0, &[("customer-1", None, order(1001)), ("customer-2", None, order(1002))]),
        aggregate(
            1,
            &[
                ("customer-3", None, order(1004)),
                ("customer-1", None, outage.to_owned()),
                ("customer-2", None, order(1005)),
            ],
        ),
        kinesis_record(2, "customer-1", order(1006).as_bytes()),
    ])
    .to_json()
}

fn enhanced_fan_out() -> Vec<u8> {
    let record = |position, key: &'static str, number| {
        let mut record = kinesis_record(position, key, order(number).as_bytes());
        record.event_source_arn = Some(CONSUMER_ARN.into());
        record
    };
    // The members of one aggregate, as Lambda hands them out: their sequence number is the same.
    let records = vec![
        record(0, "customer-1", 1001),
        record(1, "customer-2", 1002),
        record(1, "customer-3", 1003),
        record(1, "customer-2", 1004),
    ];
    Event::new(records).to_json()
}

fn tumbling_window() -> Vec<u8> {
    let records = vec![
        aggregate(0, &[("customer-1", None, order(1001)), ("customer-2", None, order(1002))]),
        kinesis_record(1, "customer-3", order(1003).as_bytes()),
    ];
    let state = RawValue::from_string(r#"{"orders":41,"average":12.50}"#.to_owned()).expect("an object");
    let mut window = TumblingWindow::new("2026-01-01T00:00:00Z", "2026-01-01T00:02:00Z", Cow::Owned(state));
    window.shard_id = Some(SHARD_ID.into());
    window.event_source_arn = Some(STREAM_ARN.into());
    let mut event = Event::new(records);
    event.window = Some(window);
    event.to_json()
}

/// Aggregates of about 50 KB, the KPL's default, until one more would pass Lambda's limit.
fn six_megabytes() -> Vec<u8> {
    let note = "Please wrap it carefully. ".repeat(36);
    let user_record = |number: u32| {
        let order =
            format!(r#"{{"id":"A-{number}","item":"teapot","quantity":1,"cents":2550,"note":"{note}"}}"#);
        ("customer-1", None, order)
    };
    let mut records = Vec::new();
    let mut bytes = Event::new(Vec::new()).to_json().len();
    loop {
        let position = records.len() as u64;
        let user_records: Vec<_> = (0..50).map(|number| user_record(position as u32 * 50 + number)).collect();
        let record = aggregate(position, &user_records);
        // With the comma in front of it.
        bytes += serde_json::to_vec(&record).expect("a record is JSON").len() + 1;
        if bytes > LAMBDA_PAYLOAD_LIMIT_BYTES {
            return Event::new(records).to_json();
        }
        records.push(record);
    }
}

#[track_caller]
fn check(name: &str, made: &[u8]) {
    let path = path(name);
    if env::var_os("UPDATE_EVENTS").is_some() {
        fs::write(&path, made).expect("events/ is writable");
    }
    let kept = fs::read(&path).expect("the event is there");
    assert!(kept == made, "{name} is not what its recipe makes");
}

#[test]
fn events_are_what_their_recipes_make() {
    check("plain.json", &plain());
    check("aggregated.json", &aggregated());
    check("mixed.json", &mixed());
    check("corrupt-digest.json", &corrupt_digest());
    check("invalid-aggregate.json", &invalid_aggregate());
    check("partial-failure.json", &partial_failure());
    check("enhanced-fan-out.json", &enhanced_fan_out());
    check("tumbling-window.json", &tumbling_window());
    check("six-megabytes.json", &six_megabytes());
}
