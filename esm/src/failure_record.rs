//! The failure record that an on-failure destination gets.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use crate::{Origin, SharedRecord};

/// A failure record of Lambda about records that it discarded, with its members in Lambda's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureRecord {
    /// The last invocation of the batch, and why it was given up.
    pub request_context: RequestContext,
    /// Last answer of the function. Absent if the records were too old or too large (rule 23).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_context: Option<ResponseContext>,
    /// Version of the format: `1.0`.
    pub version: String,
    /// When it was written, in ISO 8601 to the millisecond.
    pub timestamp: String,
    /// Range of the discarded records.
    #[serde(rename = "KinesisBatchInfo")]
    pub kinesis_batch_info: KinesisBatchInfo,
    /// The event with the discarded records, as JSON text. Only S3 gets it (rule 24).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// A part of the [`FailureRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestContext {
    /// ID of the last invocation, or of the one that never was.
    pub request_id: String,
    /// Name or ARN of the function.
    pub function_arn: String,
    /// Why the records were discarded.
    pub condition: Condition,
    /// Number of invocations with these records; one for records that were too old (rule 21).
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KinesisBatchInfo {
    /// ID of the shard.
    pub shard_id: String,
    /// Sequence number of the first record.
    pub start_sequence_number: String,
    /// Sequence number of the last record.
    pub end_sequence_number: String,
    /// In ISO 8601 to the millisecond.
    pub approximate_arrival_of_first_record: String,
    /// In ISO 8601 to the millisecond.
    pub approximate_arrival_of_last_record: String,
    /// Number of records.
    pub batch_size: usize,
    /// The stream, or the enhanced fan-out consumer (rule 23).
    pub stream_arn: String,
}

impl KinesisBatchInfo {
    /// Returns the range of these records of a shard, which are in stream order.
    pub fn new(records: &[SharedRecord], origin: &Origin) -> Self {
        let (first, last) = (records.first(), records.last());
        let number = |record: Option<&SharedRecord>| {
            record.map(|record| record.sequence_number.to_string()).unwrap_or_default()
        };
        let arrival = |record: Option<&SharedRecord>| timestamp(record.map_or(0, |record| record.arrival_ms));
        KinesisBatchInfo {
            shard_id: origin.shard_id().to_owned(),
            start_sequence_number: number(first),
            end_sequence_number: number(last),
            approximate_arrival_of_first_record: arrival(first),
            approximate_arrival_of_last_record: arrival(last),
            batch_size: records.len(),
            stream_arn: origin.event_source_arn().to_owned(),
        }
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
                condition: Condition::RetryAttemptsExhausted,
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
                start_sequence_number: "1".to_owned(),
                end_sequence_number: "2".to_owned(),
                approximate_arrival_of_first_record: timestamp(1_573_691_884_835),
                approximate_arrival_of_last_record: timestamp(1_573_691_885_000),
                batch_size: 2,
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
        record.response_context.as_mut().expect("set above").function_error = None;
        assert!(json(&record).contains(r#""functionError":null}"#), "a failure that the response names");
        record.response_context = None;
        assert!(!json(&record).contains("responseContext"), "too old or too large");
        record.payload = Some(r#"{"Records":[]}"#.to_owned());
        assert!(json(&record).ends_with(r#","payload":"{\"Records\":[]}"}"#), "rule 24");
    }

    #[test]
    fn rule_24_object_names_have_the_time() {
        assert_eq!(
            object_key("m", "shardId-000000000001", 1_573_691_886_021, "o"),
            "aws/lambda/m/shardId-000000000001/2019/11/14/2019-11-14T00.38.06-o"
        );
    }
}
