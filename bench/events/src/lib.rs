//! The events that functions are measured with. They are the same bytes in each run.

use anyhow::Result;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use fastrand::Rng;
use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, HashKeyRange, PutEntry, UserRecordInput};
use serde::Serialize;
use serde_json::json;

const SEED: u64 = 1;

/// Largest event in bytes: a little less than the 6 MB that Lambda accepts.
const EVENT_BYTES: usize = 5_900_000;

/// Length in bytes of the one large record of E4 and E5, which fits into an event in base64.
const LARGE_RECORD_BYTES: usize = 4_000_000;

/// Length in bytes at which the KPL closes an aggregate by default.
const KPL_AGGREGATE_BYTES: usize = 51_200;

/// An event and the figures of its content.
#[derive(Clone, Serialize)]
pub struct Event {
    pub name: &'static str,
    pub description: &'static str,
    /// JSON that Lambda sends.
    #[serde(skip)]
    pub body: Bytes,
    pub event_bytes: usize,
    pub kinesis_records: usize,
    /// Sum of the lengths of the Kinesis records' data.
    pub data_bytes: u64,
    pub user_records: u64,
    /// Sum of the lengths of the user records' data.
    pub user_bytes: u64,
}

/// Makes all events.
pub fn all() -> Result<Vec<Event>> {
    Ok(vec![
        event("E1", "aggregates of 25–50 KB, user records of 100 bytes", 100, |rng, bytes| {
            let limit = rng.usize(25_000..=50_000);
            aggregate(rng, limit, bytes, Keys::Shared)
        })?,
        event("E2", "aggregates of 25–50 KB, user records of 1 KB", 1_000, |rng, bytes| {
            let limit = rng.usize(25_000..=50_000);
            aggregate(rng, limit, bytes, Keys::Shared)
        })?,
        event("E3", "plain records of 1 KB", 1_000, |rng, bytes| Ok(plain(rng, bytes)))?,
        event("E4", "one aggregate of 4 MB, user records of 100 bytes", 100, |rng, bytes| {
            aggregate(rng, LARGE_RECORD_BYTES, bytes, Keys::Shared)
        })?,
        event("E5", "one plain record of 4 MB", LARGE_RECORD_BYTES, |rng, bytes| Ok(plain(rng, bytes)))?,
        event("E6", "the KPL's aggregates of 50 KB, distinct keys and hash keys", 100, |rng, bytes| {
            aggregate(rng, KPL_AGGREGATE_BYTES, bytes, Keys::Distinct)
        })?,
    ])
}

/// Makes an event with this number of user records without data, in aggregates of up to 50 KB as the KPL makes them.
///
/// 750,000 are about the most that Lambda delivers, because each takes at least six bytes.
pub fn of_user_records(user_records: usize) -> Result<Event> {
    without_data(user_records, |_| "customer-7".to_owned())
}

/// Makes an event with this number of plain records with this length of data.
pub fn of_kinesis_records(kinesis_records: usize, data_bytes: usize) -> Event {
    let mut rng = Rng::with_seed(SEED);
    let mut text = EventText::new(usize::MAX);
    for _ in 0..kinesis_records {
        text.push(&plain(&mut rng, data_bytes));
    }
    text.finish("Kinesis records", "plain records", data_bytes)
}

/// Makes an event like that of [`of_user_records`], each of them with a partition key of its own.
pub fn of_keys(user_records: usize) -> Result<Event> {
    without_data(user_records, |number| format!("customer-{number}"))
}

fn without_data(user_records: usize, partition_key: impl Fn(usize) -> String) -> Result<Event> {
    let grouping = Grouping::ShardRanges(vec![HashKeyRange::new(0, u128::MAX)?]);
    let options = AggregatorOptions { size_limit_bytes: KPL_AGGREGATE_BYTES, grouping };
    let mut aggregator = Aggregator::new(options)?;
    let mut text = EventText::new(usize::MAX);
    for number in 0..user_records {
        if let Some(full) = aggregator.add(UserRecordInput::new(&partition_key(number), b""))? {
            text.push(&full);
        }
    }
    aggregator.finish().iter().for_each(|rest| _ = text.push(rest));
    Ok(text.finish("user records", "aggregates of 50 KB, user records without data", 0))
}

/// Makes an event of as many Kinesis records as fit.
fn event(
    name: &'static str,
    description: &'static str,
    user_record_bytes: usize,
    kinesis_record: impl Fn(&mut Rng, usize) -> Result<PutEntry>,
) -> Result<Event> {
    let mut rng = Rng::with_seed(SEED);
    let mut text = EventText::new(EVENT_BYTES);
    while text.push(&kinesis_record(&mut rng, user_record_bytes)?) {}
    Ok(text.finish(name, description, user_record_bytes))
}

/// An event in the making.
struct EventText {
    body: String,
    max_bytes: usize,
    kinesis_records: usize,
    data_bytes: u64,
    user_records: u64,
}

impl EventText {
    const START: &str = r#"{"Records":["#;
    const END: &str = "]}";

    fn new(max_bytes: usize) -> Self {
        let body = Self::START.to_owned();
        EventText { body, max_bytes, kinesis_records: 0, data_bytes: 0, user_records: 0 }
    }

    /// Adds a Kinesis record. Returns whether there was room for it.
    fn push(&mut self, record: &PutEntry) -> bool {
        let text = event_record(record, self.kinesis_records).to_string();
        if self.body.len() + 1 + text.len() + Self::END.len() > self.max_bytes {
            return false;
        }
        if self.kinesis_records > 0 {
            self.body.push(',');
        }
        self.body.push_str(&text);
        self.kinesis_records += 1;
        self.data_bytes += record.data.len() as u64;
        self.user_records += record.user_records as u64;
        true
    }

    fn finish(mut self, name: &'static str, description: &'static str, user_record_bytes: usize) -> Event {
        self.body.push_str(Self::END);
        Event {
            name,
            description,
            event_bytes: self.body.len(),
            body: self.body.into(),
            kinesis_records: self.kinesis_records,
            data_bytes: self.data_bytes,
            user_records: self.user_records,
            user_bytes: self.user_records * user_record_bytes as u64,
        }
    }
}

/// Returns a Kinesis record as Lambda passes it to a function.
fn event_record(record: &PutEntry, index: usize) -> serde_json::Value {
    let sequence_number = format!("496700000000000000000000000000001337840000000000{index:08}");
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.partition_key,
            "sequenceNumber": sequence_number,
            "data": BASE64_STANDARD.encode(&record.data),
            "approximateArrivalTimestamp": 1_767_225_600.125,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": format!("shardId-000000000000:{sequence_number}"),
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/order-function",
        "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
    })
}

fn plain(rng: &mut Rng, data_bytes: usize) -> PutEntry {
    PutEntry {
        partition_key: customer(rng),
        explicit_hash_key: None,
        data: order(rng, data_bytes),
        user_records: 1,
    }
}

/// The keys of an aggregate's user records.
#[derive(Clone, Copy)]
enum Keys {
    /// A few partition keys, without explicit hash keys.
    Shared,
    /// A partition key and an explicit hash key of its own for each user record.
    Distinct,
}

/// Fills an aggregate as the KPL does: the user records of one shard share it, whatever their keys are.
fn aggregate(
    rng: &mut Rng,
    size_limit_bytes: usize,
    user_record_bytes: usize,
    keys: Keys,
) -> Result<PutEntry> {
    let grouping = Grouping::ShardRanges(vec![HashKeyRange::new(0, u128::MAX)?]);
    let mut aggregator = Aggregator::new(AggregatorOptions { size_limit_bytes, grouping })?;
    loop {
        let (partition_key, hash_key) = match keys {
            Keys::Shared => (customer(rng), None),
            Keys::Distinct => (format!("{:032x}", rng.u128(..)), Some(rng.u128(..).to_string())),
        };
        let user_record = UserRecordInput {
            partition_key: &partition_key,
            explicit_hash_key: hash_key.as_deref(),
            data: &order(rng, user_record_bytes),
        };
        if let Some(full) = aggregator.add(user_record)? {
            return Ok(full);
        }
    }
}

fn customer(rng: &mut Rng) -> String {
    format!("customer-{}", rng.u32(0..20))
}

/// Returns an order in JSON of exactly this length.
fn order(rng: &mut Rng, length: usize) -> Vec<u8> {
    let mut order = format!(
        r#"{{"id":"A-{:06}","item":"teapot","quantity":{},"cents":{},"note":""#,
        rng.u32(..1_000_000),
        rng.u32(1..10),
        rng.u32(100..100_000),
    )
    .into_bytes();
    const END: &[u8] = br#""}"#;
    order.extend((order.len()..length - END.len()).map(|_| rng.alphanumeric() as u8));
    order.extend(END);
    order
}

#[cfg(test)]
mod tests {
    use kpl_deaggregation::{Deaggregator, InvalidAggregatePolicy};
    use serde_json::Value;

    use super::*;

    #[test]
    fn events_are_the_same_in_each_run() {
        let bodies = || all().expect("valid events").into_iter().map(|event| event.body);
        assert!(bodies().eq(bodies()));
    }

    #[test]
    fn an_event_contains_what_its_figures_say() {
        for event in all().expect("valid events") {
            let json: Value = serde_json::from_slice(&event.body).expect("JSON");
            let records = json["Records"].as_array().expect("an array");
            let (mut user_records, mut user_bytes) = (0, 0);
            for record in records {
                let data = record["kinesis"]["data"].as_str().expect("text");
                let data = BASE64_STANDARD.decode(data).expect("base64");
                let mut deaggregator = Deaggregator::new(InvalidAggregatePolicy::Fail);
                for user_record in deaggregator.deaggregate(b"a", &data).expect("a valid aggregate") {
                    let order: Value = serde_json::from_slice(user_record.data).expect("an order");
                    assert_eq!(order["item"], "teapot");
                    user_records += 1;
                    user_bytes += user_record.data.len() as u64;
                }
            }
            let counted = (records.len(), user_records, user_bytes);
            assert_eq!(
                counted,
                (event.kinesis_records, event.user_records, event.user_bytes),
                "{}",
                event.name
            );
            assert!(
                (5_300_000..=EVENT_BYTES).contains(&event.body.len()),
                "{}: {}",
                event.name,
                event.body.len()
            );
        }
    }

    #[test]
    fn events_for_scaling_have_the_number_that_was_asked_for() {
        for number in [1, 10, 100_000] {
            let event = of_user_records(number).expect("a valid event");
            assert_eq!((event.user_records, event.user_bytes), (number as u64, 0));
            assert_eq!(event.kinesis_records, number.div_ceil(8_504));
        }
        let event = of_kinesis_records(1_000, 100);
        assert_eq!((event.kinesis_records, event.user_records, event.user_bytes), (1_000, 1_000, 100_000));
    }

    #[test]
    fn records_are_of_the_size_that_the_description_says() {
        let events = all().expect("valid events");
        let figures: Vec<_> =
            events.iter().map(|event| (event.kinesis_records, event.user_records)).collect();
        assert_eq!(figures, [(117, 40_792), (120, 4_288), (3_147, 3_147), (1, 37_733), (1, 1), (85, 23_630)]);
    }
}
