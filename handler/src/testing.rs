//! Batches for the tests of a processor, and the outcome of each of their user records.
//!
//! ```
//! use kinesis_handler::{ProcessError, Record, permanent, testing::TestBatch};
//!
//! async fn process(record: Record<'_>) -> Result<(), ProcessError> {
//!     match record.parse::<u32>()? {
//!         0 => Err(permanent("zero")),
//!         _ => Ok(()),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let batch = TestBatch::new().record("1").aggregate(["2", "0", "3"]).record("4");
//! let run = batch.run(process).await;
//! run.assert_fates(&["processed", "processed", "failed: zero", "not reached", "not reached"]);
//! assert_eq!(run.reported(), Some(2));
//! # }
//! ```
//!
//! The module needs no feature, like [`OwnedRecord`](crate::OwnedRecord): it has no dependencies, and a function that does not use it
//! does not contain it.

use std::{borrow::Cow, time::SystemTime};

use kpl_deaggregation::{UserRecord, encode};
use lambda_runtime::Context;
use serde_json::value::RawValue;

use crate::{
    BatchOutcome, BatchResponse, Event, Handler, KinesisRecord, Processor, SequenceNumber,
    event::TumblingWindow,
};

/// The stream of all test batches.
const STREAM_ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/test";

/// An aggregated record whose message breaks off after its first byte: magic number, message, and the message's MD5.
const INVALID_AGGREGATE: [u8; 21] = [
    0xf3, 0x89, 0x9a, 0xc2, 0x08, 0xe2, 0xba, 0x90, 0x5b, 0xf3, 0x06, 0xf4, 0x6f, 0xac, 0xa2, 0x23, 0xd3,
    0xcb, 0x20, 0xe2, 0xcf,
];

/// A user record of a [`TestBatch`].
///
/// Text becomes a user record with the partition key `key`.
#[derive(Clone, PartialEq, Eq)]
pub struct TestRecord {
    data: Vec<u8>,
    partition_key: String,
    explicit_hash_key: Option<String>,
}

impl TestRecord {
    /// Returns a user record with this payload and the partition key `key`.
    pub fn new(data: impl AsRef<[u8]>) -> Self {
        TestRecord { data: data.as_ref().to_vec(), partition_key: "key".to_owned(), explicit_hash_key: None }
    }

    /// Sets the partition key.
    pub fn partition_key(mut self, partition_key: impl Into<String>) -> Self {
        self.partition_key = partition_key.into();
        self
    }

    /// Sets the explicit hash key, a decimal number. Only aggregates keep it: Lambda does not deliver that of a plain record.
    pub fn explicit_hash_key(mut self, explicit_hash_key: impl Into<String>) -> Self {
        self.explicit_hash_key = Some(explicit_hash_key.into());
        self
    }
}

impl From<&str> for TestRecord {
    fn from(data: &str) -> Self {
        TestRecord::new(data)
    }
}

impl From<String> for TestRecord {
    fn from(data: String) -> Self {
        TestRecord::new(data)
    }
}

/// Shows the length of the payload, not the payload.
impl std::fmt::Debug for TestRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestRecord")
            .field("data", &format_args!("{} bytes", self.data.len()))
            .finish_non_exhaustive()
    }
}

/// A batch of one shard as the event source mapping delivers it. Its Kinesis records have the sequence numbers 1, 2, 3 and so on.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct TestBatch {
    records: Vec<KinesisRecord<'static>>,
    shard_id: Option<String>,
    arrival: Option<SystemTime>,
    window: Option<TumblingWindow<'static>>,
}

impl TestBatch {
    /// Returns a batch without records, of the shard `shardId-000000000000`.
    pub fn new() -> Self {
        TestBatch::default()
    }

    /// Sets the shard of the whole batch.
    pub fn shard_id(mut self, shard_id: impl Into<String>) -> Self {
        self.shard_id = Some(shard_id.into());
        self
    }

    /// Sets the arrival time of the Kinesis records that are added after it. Without it, they have none.
    pub fn arrival(mut self, arrival: SystemTime) -> Self {
        self.arrival = Some(arrival);
        self
    }

    /// Makes it a batch of a tumbling window, for [`Windows`](crate::Windows): with the times of its start and end in ISO 8601, and
    /// the JSON of the state so far, `{}` for a window that begins. [`BatchResponse::state`] has the state after the batch.
    ///
    /// # Panics
    ///
    /// If the state is not JSON.
    pub fn window(mut self, start: impl Into<String>, end: impl Into<String>, state: &str) -> Self {
        let state = RawValue::from_string(state.to_owned()).expect("the state of a window is JSON");
        self.window = Some(TumblingWindow::new(start.into(), end.into(), Cow::Owned(state)));
        self
    }

    /// Makes it the last batch of its [window](Self::window), which finishes it. Lambda delivers it without records.
    ///
    /// # Panics
    ///
    /// If the batch has no window.
    pub fn end_of_window(mut self) -> Self {
        self.window.as_mut().expect("the batch has a window").is_final_invoke = true;
        self
    }

    /// Adds a plain record.
    pub fn record(self, record: impl Into<TestRecord>) -> Self {
        let record = record.into();
        self.kinesis_record(&record.partition_key, &record.data)
    }

    /// Adds an aggregated record of these user records, as the KPL makes it. Its partition key is that of the first one.
    ///
    /// # Panics
    ///
    /// If there are no user records.
    pub fn aggregate<R: Into<TestRecord>>(self, records: impl IntoIterator<Item = R>) -> Self {
        let records: Vec<TestRecord> = records.into_iter().map(Into::into).collect();
        let user_records = records.iter().map(|record| {
            let mut user_record = UserRecord::new(record.partition_key.as_bytes(), &record.data);
            user_record.explicit_hash_key = record.explicit_hash_key.as_ref().map(String::as_bytes);
            user_record
        });
        let data = encode(user_records).expect("an aggregate has at least one user record");
        self.kinesis_record(&records[0].partition_key, &data)
    }

    /// Adds an aggregated record with a valid checksum and malformed content.
    pub fn invalid_aggregate(self) -> Self {
        self.kinesis_record("key", &INVALID_AGGREGATE)
    }

    fn kinesis_record(mut self, partition_key: &str, data: &[u8]) -> Self {
        let sequence_number = number(self.records.len() + 1);
        let mut record = KinesisRecord::new(sequence_number, partition_key.to_owned(), data);
        record.event_source_arn = Some(STREAM_ARN.into());
        let since_1970 = self.arrival.and_then(|arrival| arrival.duration_since(SystemTime::UNIX_EPOCH).ok());
        record.approximate_arrival_ms =
            since_1970.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        self.records.push(record);
        self
    }

    /// Returns the event that Lambda would deliver, for other ways to run a function.
    pub fn to_event(&self) -> Event<'static> {
        let shard_id = self.shard_id.as_deref().unwrap_or("shardId-000000000000");
        let mut records = self.records.clone();
        for record in &mut records {
            record.shard_id = Some(shard_id.to_owned().into());
        }
        let mut event = Event::new(records);
        event.window = self.window.clone().map(|window| TumblingWindow {
            shard_id: Some(shard_id.to_owned().into()),
            event_source_arn: Some(STREAM_ARN.into()),
            ..window
        });
        event
    }

    /// Runs a processor over the batch, with the default options. See [`run_with`](Self::run_with).
    ///
    /// # Panics
    ///
    /// As [`run_with`](Self::run_with).
    pub async fn run<P: Processor>(&self, processor: P) -> TestRun {
        self.run_with(&Handler::new(processor)).await
    }

    /// Runs a handler over the batch: it is delivered once, without a deadline.
    ///
    /// # Panics
    ///
    /// If the invocation fails as a whole.
    pub async fn run_with<P: Processor>(&self, handler: &Handler<P>) -> TestRun {
        let event = self.to_event().to_json();
        match handler.handle_and_observe(&event, &Context::default()).await {
            Ok((response, outcome)) => TestRun { response, outcome },
            Err(error) => panic!("the invocation has failed: {error:?}"),
        }
    }
}

fn number(number: usize) -> SequenceNumber {
    number.to_string().parse().expect("digits are a sequence number")
}

/// The outcome of a [`TestBatch`].
#[derive(Debug, Clone)]
pub struct TestRun {
    response: BatchResponse,
    outcome: BatchOutcome,
}

impl TestRun {
    /// Returns the response to Lambda.
    pub fn response(&self) -> &BatchResponse {
        &self.response
    }

    /// Returns the outcome of each user record.
    pub fn outcome(&self) -> &BatchOutcome {
        &self.outcome
    }

    /// Returns the number, from one, of the Kinesis record that was reported as the batch item failure. `None` if all are
    /// processed.
    pub fn reported(&self) -> Option<usize> {
        let reported = self.outcome.reported?;
        // A test batch has the sequence numbers 1, 2, 3 and so on.
        reported.to_string().parse().ok()
    }

    /// Returns the fate of each user record, as text.
    pub fn fates(&self) -> Vec<String> {
        self.outcome.records.iter().map(|record| record.fate.to_string()).collect()
    }

    /// Asserts the fates of all user records of the batch, in its order: each is `processed`, `skipped`, `out of range`, `not reached`,
    /// `failed: ERROR`, `quarantined: ERROR` or `skipped for its age: ERROR`.
    ///
    /// # Panics
    ///
    /// If they differ. The text shows them with the positions.
    #[track_caller]
    pub fn assert_fates(&self, expected: &[&str]) {
        let fates = self.fates();
        if fates != expected {
            let positions = self.outcome.records.iter().map(|record| record.position.to_string());
            let found: Vec<_> =
                positions.zip(&fates).map(|(position, fate)| format!("{position} {fate}")).collect();
            panic!("fates of user records: expected {expected:#?}, found {found:#?}");
        }
    }
}
