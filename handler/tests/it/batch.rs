//! Events to handle, and what became of them.

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex},
};

use kinesis_handler::{
    BatchResponse, Context, Event, Handler, HandlerError, KinesisRecord, ProcessError, Record, retryable,
    tracing::subscriber::{DefaultGuard, set_default},
};

use crate::options::TestOptions;
use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, HashKeyRange, UserRecordInput};
use md5::{Digest, Md5};

pub(crate) const STREAM_ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/orders";

/// A Kinesis record with one plain user record.
pub(crate) fn plain(sequence_number: u64, data: &str) -> KinesisRecord<'static> {
    raw(sequence_number, data.as_bytes())
}

/// A Kinesis record with an aggregate of at least two user records.
pub(crate) fn aggregate(sequence_number: u64, data: &[&str]) -> KinesisRecord<'static> {
    raw(sequence_number, &frame(data))
}

pub(crate) fn frame(data: &[&str]) -> Vec<u8> {
    let grouping = Grouping::ShardRanges(vec![HashKeyRange::FULL]);
    let mut aggregator =
        Aggregator::new(AggregatorOptions { grouping, ..Default::default() }).expect("default size limit");
    for data in data {
        let full = aggregator.add(UserRecordInput::new("user-key", data)).expect("a small record");
        assert!(full.is_none(), "the records of a test fit into one aggregate");
    }
    let mut kinesis_records = aggregator.finish();
    assert!(data.len() > 1 && kinesis_records.len() == 1);
    kinesis_records.remove(0).data
}

/// A Kinesis record with the right magic number and digest, whose message breaks off.
pub(crate) fn invalid_aggregate(sequence_number: u64) -> KinesisRecord<'static> {
    framed(sequence_number, &[0x08])
}

/// A Kinesis record with an aggregate of no user records: its message has an empty partition key and nothing else.
pub(crate) fn empty_frame(sequence_number: u64) -> KinesisRecord<'static> {
    framed(sequence_number, &[0x0a, 0x00])
}

fn framed(sequence_number: u64, message: &[u8]) -> KinesisRecord<'static> {
    raw(sequence_number, &[&[0xf3, 0x89, 0x9a, 0xc2], message, Md5::digest(message).as_slice()].concat())
}

pub(crate) fn raw(sequence_number: u64, data: &[u8]) -> KinesisRecord<'static> {
    let sequence_number = sequence_number.to_string().parse().expect("digits");
    let mut record = KinesisRecord::new(sequence_number, "kinesis-key", data);
    record.shard_id = Some("shardId-000000000000".into());
    record.event_source_arn = Some(STREAM_ARN.into());
    record
}

/// Handles the event with a processor that fails for data starting with `fail`, panics for `panic`, and notes the
/// others as `sequence number/sub-sequence number data`.
pub(crate) async fn handle(
    records: Vec<KinesisRecord<'_>>,
    options: TestOptions,
) -> (Result<BatchResponse, HandlerError>, Vec<String>) {
    let done = Mutex::new(Vec::new());
    let processor = async |record: Record<'_>| -> Result<(), ProcessError> {
        let text = String::from_utf8_lossy(record.data()).into_owned();
        // Half of the processors there are never wait for anything.
        if text.len().is_multiple_of(2) {
            tokio::task::yield_now().await;
        }
        if text.starts_with("fail") {
            return Err(retryable("asked to"));
        }
        assert!(!text.starts_with("panic"), "asked to");
        done.lock().expect("no panic while locked").push(format!("{} {text}", record.position()));
        Ok(())
    };
    let handler = Handler::with_options(&processor, options.build());
    let response = handler.handle(&Event::new(records).to_json(), &Context::default()).await;
    drop(handler);
    (response, done.into_inner().expect("no panic while locked"))
}

/// The log of a test, from its making on.
pub(crate) struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while locked").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn start() -> Self {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        Log { lines, _guard: set_default(subscriber) }
    }

    /// Returns the lines with this text.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        let lines = self.lines.0.lock().expect("no panic while locked");
        let lines = String::from_utf8_lossy(&lines).into_owned();
        lines.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

/// An error whose text cannot be written.
#[derive(Debug)]
pub(crate) struct NoText;

impl fmt::Display for NoText {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("asked to")
    }
}

impl Error for NoText {}

/// The whole response as Lambda sees it.
pub(crate) fn json(response: &BatchResponse) -> String {
    serde_json::to_string(response).expect("a response is JSON")
}

pub(crate) const SUCCESS: &str = r#"{"batchItemFailures":[]}"#;

pub(crate) fn failure(sequence_number: u64) -> String {
    format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"{sequence_number}"}}]}}"#)
}

/// The response to an event of `kinesis-kit` that is otherwise this one: Kinesis records, and the number of user records of
/// each that are in the quarantine.
pub(crate) fn with_quarantined(response: impl Into<String>, quarantined: &[(u64, u64)]) -> String {
    let response = response.into();
    let members = response.strip_suffix('}').expect("an object");
    let records: u64 = quarantined.iter().map(|(_, records)| records).sum();
    let item =
        |(number, records): &(u64, u64)| format!(r#"{{"sequenceNumber":"{number}","records":{records}}}"#);
    let items = quarantined.iter().map(item).collect::<Vec<_>>().join(",");
    format!(r#"{members},"kinesisKit":{{"quarantinedRecords":{records},"quarantined":[{items}]}}}}"#)
}

/// The response to an event of `kinesis-kit` that stops at this user record, because it was asked to fail.
pub(crate) fn with_stop(
    response: impl Into<String>,
    sequence_number: u64,
    sub_sequence_number: u64,
) -> String {
    let response = response.into();
    let members = response.strip_suffix("}}").expect("an object in an object");
    format!(
        r#"{members},"failed":{{"sequenceNumber":"{sequence_number}","subSequenceNumber":{sub_sequence_number},"error":"asked to"}}}}}}"#
    )
}
