use kinesis_handler::{Event, EventError, KinesisRecord, SequenceNumber, SequenceNumberError};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    error::json_fault,
    stream_arn::{StreamArn, StreamArnError},
};

/// What Lambda writes about records that it has discarded, as far as it helps to get them back.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>
#[derive(Debug)]
pub(crate) struct FailureRecord {
    /// Whose: the ARN of a function, or what the journal calls a shard of an application.
    pub(crate) owner: String,
    pub(crate) stream: StreamArn,
    /// Whether a consumer with enhanced fan-out was to get them: then records are members of aggregates.
    pub(crate) is_fan_out: bool,
    pub(crate) shard_id: String,
    pub(crate) first: SequenceNumber,
    pub(crate) last: SequenceNumber,
    /// How many records, if that is known.
    pub(crate) batch_size: Option<u64>,
    /// The event, which only S3 gets.
    pub(crate) payload: Option<Vec<u8>>,
}

#[derive(Debug, Error)]
pub(crate) enum FailureRecordError {
    #[error("not JSON: {fault}")]
    Json { fault: String },
    #[error("not a failure record: it has no member \"KinesisBatchInfo\"")]
    NoBatch,
    #[error("the failure record of another event source than Kinesis")]
    OtherSource,
    #[error("{member} is no sequence number")]
    SequenceNumber { member: &'static str, source: SequenceNumberError },
    #[error("endSequenceNumber is lower than startSequenceNumber")]
    Order,
    #[error("streamArn cannot be read")]
    StreamArn(#[source] StreamArnError),
    #[error("its payload cannot be read")]
    Payload(#[source] EventError),
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(rename = "requestContext")]
    request: Option<Request>,
    #[serde(rename = "KinesisBatchInfo")]
    batch: Option<Batch>,
    #[serde(rename = "DDBStreamBatchInfo")]
    other_source: Option<IgnoredAny>,
    /// Text with JSON in it; some emulators write the JSON itself.
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    /// What SNS has wrapped.
    #[serde(rename = "Message")]
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    function_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    shard_id: String,
    start_sequence_number: String,
    end_sequence_number: String,
    batch_size: Option<u64>,
    stream_arn: String,
}

impl FailureRecord {
    /// Reads a failure record, also one that SNS has wrapped.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, FailureRecordError> {
        let json_error = |error| FailureRecordError::Json { fault: json_fault(&error) };
        let document: Document<'_> = serde_json::from_slice(json).map_err(json_error)?;
        let Some(batch) = document.batch else {
            return match (document.message, document.other_source) {
                // Once: the inner one has no such member.
                (Some(message), _) => Self::parse(message.as_bytes()),
                (None, Some(_)) => Err(FailureRecordError::OtherSource),
                (None, None) => Err(FailureRecordError::NoBatch),
            };
        };
        let number = |member, text: &str| {
            text.parse::<SequenceNumber>()
                .map_err(|source| FailureRecordError::SequenceNumber { member, source })
        };
        let first = number("startSequenceNumber", &batch.start_sequence_number)?;
        let last = number("endSequenceNumber", &batch.end_sequence_number)?;
        if last < first {
            return Err(FailureRecordError::Order);
        }
        let (stream_arn, is_fan_out) = match batch.stream_arn.split_once("/consumer/") {
            Some((stream_arn, _)) => (stream_arn, true),
            None => (batch.stream_arn.as_str(), false),
        };
        let payload = match document.payload.map(RawValue::get) {
            None | Some("null") => None,
            Some(text) if text.starts_with('"') => {
                Some(serde_json::from_str::<String>(text).map_err(json_error)?.into_bytes())
            }
            Some(json) => Some(json.as_bytes().to_vec()),
        };
        Ok(FailureRecord {
            owner: document.request.and_then(|request| request.function_arn).unwrap_or_default(),
            stream: stream_arn.parse().map_err(FailureRecordError::StreamArn)?,
            is_fan_out,
            shard_id: batch.shard_id,
            first,
            last,
            batch_size: batch.batch_size,
            payload,
        })
    }

    /// The records of the payload, as Lambda had them; `None` without one.
    pub(crate) fn payload_records(&self) -> Result<Option<Vec<KinesisRecord<'static>>>, FailureRecordError> {
        let Some(payload) = &self.payload else { return Ok(None) };
        let event = Event::parse(payload).map_err(FailureRecordError::Payload)?;
        Ok(Some(event.records.into_iter().map(KinesisRecord::into_owned).collect()))
    }

    /// What tells it from all others.
    pub(crate) fn key(&self) -> String {
        let FailureRecord { owner, stream, shard_id, first, last, .. } = self;
        format!("{owner} {} {shard_id} {first}-{last}", stream.as_str())
    }

    /// Sorts them in stream order.
    pub(crate) fn order(&self) -> (String, String, SequenceNumber, SequenceNumber) {
        (self.stream.as_str().to_owned(), self.shard_id.clone(), self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";

    fn failure(stream_arn: &str, first: &str, last: &str) -> serde_json::Value {
        json!({
            "requestContext": { "requestId": "r", "functionArn": "f", "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 3 },
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": null },
            "version": "1.0",
            "timestamp": "2026-01-01T00:00:00.000Z",
            "KinesisBatchInfo": { "shardId": "shardId-000000000000", "startSequenceNumber": first,
                "endSequenceNumber": last, "approximateArrivalOfFirstRecord": "2026-01-01T00:00:00.000Z",
                "approximateArrivalOfLastRecord": "2026-01-01T00:00:00.000Z", "batchSize": 2,
                "streamArn": stream_arn },
        })
    }

    fn parse(json: &serde_json::Value) -> Result<FailureRecord, String> {
        FailureRecord::parse(json.to_string().as_bytes()).map_err(|error| crate::error::chain(&error))
    }

    #[test]
    fn a_failure_record_is_read_in_every_wrapping() {
        let plain = failure(ARN, "7", "9");
        let wrapped = json!({ "Type": "Notification", "Message": plain.to_string(), "Signature": "s" });
        for json in [&plain, &wrapped] {
            let record = parse(json).expect("a failure record");
            assert_eq!((record.stream.as_str(), record.is_fan_out), (ARN, false));
            assert_eq!((record.first.to_string(), record.last.to_string()), ("7".to_owned(), "9".to_owned()));
            assert_eq!((record.batch_size, record.payload.is_none()), (Some(2), true));
        }
        let consumer = parse(&failure(&format!("{ARN}/consumer/c:1"), "7", "7")).expect("a failure record");
        assert_eq!((consumer.stream.as_str(), consumer.is_fan_out), (ARN, true));
    }

    #[test]
    fn a_payload_is_text_or_json() {
        let event = json!({ "Records": [{ "kinesis": { "sequenceNumber": "7", "partitionKey": "k", "data": "YQ==" },
            "eventSource": "aws:kinesis", "eventID": "shardId-000000000000:7", "eventSourceARN": ARN }] });
        for payload in [json!(event.to_string()), event] {
            let mut json = failure(ARN, "7", "7");
            json["payload"] = payload;
            let records = parse(&json).expect("a failure record").payload_records().expect("an event");
            let records = records.expect("a payload");
            assert_eq!(records[0].data.decode().expect("base64"), b"a");
            assert_eq!(records[0].shard_id.as_deref(), Some("shardId-000000000000"));
        }
    }

    #[test]
    fn anything_else_is_named() {
        let refused = |json| parse(&json).expect_err("refused");
        assert_eq!(refused(json!({ "a": 1 })), "not a failure record: it has no member \"KinesisBatchInfo\"");
        assert_eq!(refused(json!({ "Message": "hello" })), "not JSON: expected value");
        assert_eq!(
            refused(json!({ "DDBStreamBatchInfo": {} })),
            "the failure record of another event source than Kinesis"
        );
        assert_eq!(refused(failure(ARN, "9", "7")), "endSequenceNumber is lower than startSequenceNumber");
        assert!(refused(failure(ARN, "x", "7")).starts_with("startSequenceNumber is no sequence number: "));
        assert!(refused(failure("arn", "1", "7")).starts_with("streamArn cannot be read: "));
    }
}
