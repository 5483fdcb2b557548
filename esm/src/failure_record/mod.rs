//! The failure record that an on-failure destination gets: one type, which is written, and read from what people and emulators
//! make of it.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>

mod read;

use std::fmt;

use chrono::DateTime;
use kinesis_handler::SequenceNumber;
use serde::{Deserialize, Serialize};

use crate::{Origin, SharedRecord, StreamArn, StreamArnError, stream_arn::stream_of};

pub use read::FailureRecordError;

/// A failure record of Lambda about records that it discarded, with its members in Lambda's order. Its `Debug` does not show
/// the payload.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureRecord {
    /// The last invocation of the batch, and why it was given up.
    pub request_context: RequestContext,
    /// Last answer of the function. Absent if the records were too old or too large (rule 23).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_context: Option<ResponseContext>,
    /// Version of the format: `1.0`. Empty if a document has none.
    pub version: String,
    /// Time at which it was written, in ISO 8601 to the millisecond. Empty if a document has none.
    pub timestamp: String,
    /// Range of the discarded records.
    #[serde(rename = "KinesisBatchInfo")]
    pub kinesis_batch_info: KinesisBatchInfo,
    /// The event with the discarded records, as JSON text. Only S3 gets it (rule 24).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

impl fmt::Debug for FailureRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = self.payload.as_ref().map(|payload| format!("{} bytes", payload.len()));
        f.debug_struct("FailureRecord")
            .field("request_context", &self.request_context)
            .field("response_context", &self.response_context)
            .field("version", &self.version)
            .field("timestamp", &self.timestamp)
            .field("kinesis_batch_info", &self.kinesis_batch_info)
            .field("payload", &payload)
            .finish()
    }
}

/// A part of the [`FailureRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestContext {
    /// ID of the last invocation, or of the one that never was. Empty if a document has none.
    pub request_id: String,
    /// Name or ARN of the function. Empty if a document has none.
    pub function_arn: String,
    /// Reason why the records were discarded. `None` if a document has none of the known ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Number of invocations with these records; one for records that were too old (rule 21). Zero if a document has none.
    pub approximate_invoke_count: u32,
}

/// Why records are discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// The batch has used its attempts, or its record is too large for any event (rules 5, 19 and 20).
    RetryAttemptsExhausted,
    /// The records are older than the maximum record age (rule 21, `maximum-age`).
    RecordAgeExceeded,
}

/// A part of the [`FailureRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseContext {
    /// 200, also for an error of the function.
    pub status_code: u16,
    /// Version of the function: `$LATEST`.
    pub executed_version: String,
    /// `Unhandled` for a function error; null if the response named the failure.
    pub function_error: Option<String>,
}

/// A part of the [`FailureRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KinesisBatchInfo {
    /// ID of the shard.
    pub shard_id: String,
    /// Sequence number of the first record.
    pub start_sequence_number: SequenceNumber,
    /// Sequence number of the last record.
    pub end_sequence_number: SequenceNumber,
    /// Arrival in ISO 8601 to the millisecond. Empty if a document has none.
    pub approximate_arrival_of_first_record: String,
    /// Arrival in ISO 8601 to the millisecond. Empty if a document has none.
    pub approximate_arrival_of_last_record: String,
    /// Number of records; user records, if an enhanced fan-out consumer discarded them. `None` if a document has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u64>,
    /// The stream, or the enhanced fan-out consumer (rule 23).
    pub stream_arn: String,
}

impl KinesisBatchInfo {
    /// Returns the range of these records of a shard, which are in stream order. `None` if there are none.
    pub fn new(records: &[SharedRecord], origin: &Origin) -> Option<Self> {
        let (first, last) = (records.first()?, records.last()?);
        Some(KinesisBatchInfo {
            shard_id: origin.shard_id().to_owned(),
            start_sequence_number: first.sequence_number,
            end_sequence_number: last.sequence_number,
            approximate_arrival_of_first_record: timestamp(first.arrival_ms),
            approximate_arrival_of_last_record: timestamp(last.arrival_ms),
            batch_size: Some(records.len() as u64),
            stream_arn: origin.event_source_arn().to_owned(),
        })
    }

    /// Returns the stream of the records, also if a consumer of it has discarded them.
    ///
    /// # Errors
    ///
    /// `stream_arn` has another shape.
    pub fn stream(&self) -> Result<StreamArn, StreamArnError> {
        stream_of(&self.stream_arn).parse()
    }
}

/// Returns milliseconds since 1970 as failure records have them: ISO 8601 in UTC, to the millisecond.
pub fn timestamp(epoch_ms: u64) -> String {
    iso_8601(epoch_ms, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// Returns milliseconds since 1970 as ISO 8601 in UTC.
pub(crate) fn iso_8601(epoch_ms: u64, format: &str) -> String {
    let time = i64::try_from(epoch_ms).ok().and_then(DateTime::from_timestamp_millis);
    time.unwrap_or(DateTime::UNIX_EPOCH).format(format).to_string()
}

/// Returns the name of the object in the bucket (rule 24), given when it is written, in milliseconds since 1970. Times of day
/// have dots.
pub fn object_key(mapping_uuid: &str, shard_id: &str, epoch_ms: u64, object_uuid: &str) -> String {
    let time = iso_8601(epoch_ms, "%Y/%m/%d/%Y-%m-%dT%H.%M.%S");
    format!("aws/lambda/{mapping_uuid}/{shard_id}/{time}-{object_uuid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_23_the_layout_is_lambdas() {
        let mut record = FailureRecord {
            request_context: RequestContext {
                request_id: "c9b8fa9f-5a7f-xmpl-af9c-0c604cde93a5".to_owned(),
                function_arn: "arn:aws:lambda:us-east-2:123456789012:function:myfunction".to_owned(),
                condition: Some(Condition::RetryAttemptsExhausted),
                approximate_invoke_count: 1,
            },
            response_context: Some(ResponseContext {
                status_code: 200,
                executed_version: "$LATEST".to_owned(),
                function_error: Some("Unhandled".to_owned()),
            }),
            version: "1.0".to_owned(),
            timestamp: timestamp(1_573_691_886_021),
            kinesis_batch_info: KinesisBatchInfo {
                shard_id: "shardId-000000000001".to_owned(),
                start_sequence_number: "1".parse().expect("digits"),
                end_sequence_number: "2".parse().expect("digits"),
                approximate_arrival_of_first_record: timestamp(1_573_691_884_835),
                approximate_arrival_of_last_record: timestamp(1_573_691_885_000),
                batch_size: Some(2),
                stream_arn: "arn:aws:kinesis:us-east-2:123456789012:stream/mystream".to_owned(),
            },
            payload: None,
        };
        let json = |record: &FailureRecord| serde_json::to_string(record).expect("JSON");
        assert_eq!(
            json(&record),
            concat!(
                r#"{"requestContext":{"requestId":"c9b8fa9f-5a7f-xmpl-af9c-0c604cde93a5","#,
                r#""functionArn":"arn:aws:lambda:us-east-2:123456789012:function:myfunction","#,
                r#""condition":"RetryAttemptsExhausted","approximateInvokeCount":1},"#,
                r#""responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"#,
                r#""version":"1.0","timestamp":"2019-11-14T00:38:06.021Z","#,
                r#""KinesisBatchInfo":{"shardId":"shardId-000000000001","startSequenceNumber":"1","#,
                r#""endSequenceNumber":"2","approximateArrivalOfFirstRecord":"2019-11-14T00:38:04.835Z","#,
                r#""approximateArrivalOfLastRecord":"2019-11-14T00:38:05.000Z","batchSize":2,"#,
                r#""streamArn":"arn:aws:kinesis:us-east-2:123456789012:stream/mystream"}}"#
            )
        );
        assert_eq!(FailureRecord::parse(&json(&record)).as_ref(), Ok(&record));
        record.response_context.as_mut().expect("set above").function_error = None;
        assert!(json(&record).contains(r#""functionError":null}"#), "a failure that the response names");
        record.response_context = None;
        assert!(!json(&record).contains("responseContext"), "too old or too large");
        record.payload = Some(r#"{"Records":[]}"#.to_owned());
        assert!(json(&record).ends_with(r#","payload":"{\"Records\":[]}"}"#), "rule 24");
        assert_eq!(FailureRecord::parse(&json(&record)).as_ref(), Ok(&record));
        assert!(!format!("{record:?}").contains("Records"));
    }

    #[test]
    fn rule_24_object_names_have_the_time() {
        assert_eq!(
            object_key("m", "shardId-000000000001", 1_573_691_886_021, "o"),
            "aws/lambda/m/shardId-000000000001/2019/11/14/2019-11-14T00.38.06-o"
        );
    }
}
