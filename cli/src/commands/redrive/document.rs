//! From JSON to failure records: alone, in lists, and in the envelopes in which queues, topics and event buses hand
//! them over.

use kinesis_esm::{FailureRecord, FailureRecordError};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::discarded_range::{DiscardedRange, FoundError};
use crate::{delivery::skipped::SkippedRecord, error::json_fault};

type Result<T> = std::result::Result<T, FoundError>;

/// Levels of envelopes: an event of SQS that carries a notification of SNS that carries a failure record has four.
const MAX_DEPTH: usize = 8;

/// Returns all failure records of a JSON value in a file, or the skipped record that it is. What is neither is an error in its
/// place.
pub(super) fn failure_records(json: &RawValue) -> Vec<Result<DiscardedRange>> {
    if is_skipped_record(json.get()) {
        let record = parse::<SkippedRecord<'_>>(json.get());
        return vec![record.and_then(TryInto::try_into)];
    }
    let mut found = Vec::new();
    collect(json.get(), 0, &mut found);
    found
}

/// Returns whether it has the members of a line of `--skip-failed` that no failure record or envelope has. Queues and buckets
/// have no such records: others may write to them, and it would be processed as it is.
fn is_skipped_record(json: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct SkippedMembers {
        stream_arn: Option<IgnoredAny>,
        sequence_number: Option<IgnoredAny>,
    }

    json.trim_ascii_start().starts_with('{')
        && serde_json::from_str(json).is_ok_and(|members: SkippedMembers| {
            members.stream_arn.is_some() && members.sequence_number.is_some()
        })
}

/// Returns the only failure record of a message or object.
pub(super) fn failure_record(json: &[u8]) -> Result<DiscardedRange> {
    let text = str::from_utf8(json).map_err(|_| not_json("not UTF-8".to_owned()))?;
    let mut found = Vec::new();
    collect(text.trim_start_matches('\u{feff}'), 0, &mut found);
    match found.pop() {
        Some(record) if found.is_empty() => record,
        last => Err(FoundError::NotOne { found: found.len() + usize::from(last.is_some()) }),
    }
}

/// An envelope or a failure record. Members are read one by one, because an error of the parser quotes values, and
/// because the derived reader takes an array for an object.
#[derive(Default, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "KinesisBatchInfo")]
    batch: Option<&'a RawValue>,
    /// Member of a notification of SNS.
    #[serde(borrow, rename = "Message")]
    message: Option<&'a RawValue>,
    /// Member of an event of SNS.
    #[serde(borrow, rename = "Sns")]
    sns: Option<&'a RawValue>,
    /// Member of an event of EventBridge.
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    /// Member of an event of SQS.
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    /// Member of a message that `aws sqs receive-message` prints.
    #[serde(borrow, rename = "Body")]
    received_body: Option<&'a RawValue>,
    #[serde(borrow, rename = "Records")]
    records: Option<&'a RawValue>,
    /// The output of `aws sqs receive-message`.
    #[serde(borrow, rename = "Messages")]
    messages: Option<&'a RawValue>,
}

fn collect(json: &str, depth: usize, found: &mut Vec<Result<DiscardedRange>>) {
    if let Err(error) = walk(json, depth, found) {
        found.push(Err(error));
    }
}

fn walk(json: &str, depth: usize, found: &mut Vec<Result<DiscardedRange>>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(FoundError::Depth { depth: MAX_DEPTH });
    }
    let json = json.trim_ascii();
    match json.bytes().next() {
        Some(b'[') => {
            let list: Vec<&RawValue> = parse(json)?;
            list.into_iter().for_each(|item| collect(item.get(), depth + 1, found));
            Ok(())
        }
        Some(b'"') => {
            collect(&parse::<String>(json)?, depth + 1, found);
            Ok(())
        }
        Some(b'{') => {
            let envelope: Envelope<'_> = parse(json)?;
            let inner = [
                envelope.records,
                envelope.messages,
                envelope.message,
                envelope.sns,
                envelope.body,
                envelope.received_body,
                envelope.detail,
            ];
            match inner.into_iter().flatten().next() {
                Some(inner) if envelope.batch.is_none() => collect(inner.get(), depth + 1, found),
                _ => found.push(discarded_range(json)),
            }
            Ok(())
        }
        // The error says what it is instead.
        _ => {
            found.push(discarded_range(json));
            Ok(())
        }
    }
}

fn discarded_range(json: &str) -> Result<DiscardedRange> {
    FailureRecord::parse(json)?.try_into()
}

/// Parses JSON. The error says nothing about values, which may be payloads.
fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        let is_data = error.is_data();
        let repeated = || "a member is repeated or has the wrong type".to_owned();
        not_json(if is_data { repeated() } else { json_fault(&error) })
    })
}

fn not_json(fault: String) -> FoundError {
    FailureRecordError::Json { fault }.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::commands::redrive::discarded_range::Owner;

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

    fn parse(json: &serde_json::Value) -> std::result::Result<DiscardedRange, String> {
        failure_record(json.to_string().as_bytes()).map_err(|error| crate::error::chain(&error))
    }

    #[test]
    fn a_failure_record_is_read_in_every_envelope() {
        let plain = failure(ARN, "7", "9");
        let text = json!(plain.to_string());
        let notification = json!({ "Type": "Notification", "Message": text, "Signature": "s" });
        for json in [
            plain.clone(),
            text.clone(),
            json!([plain]),
            notification.clone(),
            json!({ "Records": [{ "messageId": "m", "body": text, "eventSource": "aws:sqs" }] }),
            json!({ "Records": [{ "messageId": "m", "body": notification.to_string(), "eventSource": "aws:sqs" }] }),
            json!({ "Records": [{ "EventSource": "aws:sns", "Sns": { "Message": text } }] }),
            json!({ "Messages": [{ "MessageId": "m", "ReceiptHandle": "h", "Body": text }] }),
            json!({ "source": "lambda", "detail-type": "failure", "detail": plain }),
        ] {
            let record = parse(&json).expect("a failure record");
            assert_eq!((record.stream.as_str(), record.is_fan_out()), (ARN, false), "{json}");
            assert_eq!((record.first.to_string(), record.last.to_string()), ("7".to_owned(), "9".to_owned()));
            assert_eq!((record.batch_size, record.payload.is_none()), (Some(2), true));
            assert_eq!(record.owner, Owner::Function("f".to_owned()));
        }
        let consumer = parse(&failure(&format!("{ARN}/consumer/c:1"), "7", "7")).expect("a failure record");
        assert_eq!((consumer.stream.as_str(), consumer.is_fan_out()), (ARN, true));
        let marked = format!("\u{feff}{plain}");
        assert!(failure_record(marked.as_bytes()).is_ok());
    }

    #[test]
    fn a_list_has_as_many_failure_records_as_items() {
        let list =
            json!([failure(ARN, "7", "7"), 1, { "Messages": [{ "Body": "hello" }, { "Body": "{}" }] }]);
        let list = RawValue::from_string(list.to_string()).expect("JSON");
        let texts: Vec<_> = failure_records(&list)
            .into_iter()
            .map(|record| record.map_or_else(|error| error.to_string(), |record| record.first.to_string()))
            .collect();
        assert_eq!(
            texts,
            [
                "7",
                "not a failure record: expected an object, found a number",
                "not JSON: expected value",
                "not a failure record: expected the member \"KinesisBatchInfo\", found other members",
            ]
        );
        let two = json!([failure(ARN, "7", "7"), failure(ARN, "8", "8")]);
        assert_eq!(
            parse(&two).expect_err("a message is one"),
            "expected one failure record, found 2: save it to a file and use --file"
        );
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        assert_eq!(
            failure_record(deep.as_bytes()).expect_err("too deep").to_string(),
            "failure records are nested more than 8 levels deep"
        );
    }

    #[test]
    fn failure_records_with_different_payloads_are_different() {
        let key = |payload: Value| {
            let mut json = failure(ARN, "7", "7");
            json["payload"] = payload;
            parse(&json).expect("a failure record").key(None)
        };
        assert_eq!(key(json!("{\"a\":1}")), key(json!("{\"a\":1}")));
        assert_ne!(key(json!("{\"a\":1}")), key(json!("{\"a\":2}")));
        assert_ne!(key(json!("{\"a\":1}")), key(Value::Null));
    }

    #[test]
    fn a_payload_of_another_range_is_not_taken() {
        let record = |shard: &str, arn: &str, number: u64| {
            json!({ "kinesis": { "sequenceNumber": number.to_string(), "partitionKey": "k", "data": "YQ==" },
                "eventSource": "aws:kinesis", "eventID": format!("{shard}:{number}"), "eventSourceARN": arn })
        };
        let refused = |records: Value| {
            let mut json = failure(ARN, "7", "9");
            json["payload"] = json!({ "Records": records });
            let payload = parse(&json).expect("a failure record").payload_records();
            crate::error::chain(&payload.expect_err("of another failure record"))
        };
        let shard = "shardId-000000000000";
        let text = "its payload does not belong to it: record ";
        assert_eq!(
            refused(json!([record("shardId-000000000001", ARN, 7)])),
            format!("{text}0 is of another shard")
        );
        let stream = ARN.replace("orders", "other");
        assert_eq!(refused(json!([record(shard, &stream, 7)])), format!("{text}0 is of another stream"));
        assert_eq!(
            refused(json!([record(shard, ARN, 9), record(shard, ARN, 10)])),
            format!("{text}1 is outside of the range")
        );
        assert_eq!(
            refused(json!([record(shard, ARN, 9), record(shard, ARN, 8)])),
            format!("{text}1 is out of order")
        );
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
    fn anything_else_is_named_without_its_values() {
        let refused = |json: Value| {
            let error = parse(&json).expect_err("refused");
            assert!(!error.contains("secret"), "{error}");
            error
        };
        let other = "not a failure record: expected the member \"KinesisBatchInfo\", found ";
        assert_eq!(refused(json!({ "a": "secret" })), format!("{other}other members"));
        assert_eq!(
            refused(json!({ "kinesis": { "data": "secret" } })),
            format!("{other}a record of a Kinesis event")
        );
        assert_eq!(refused(json!({ "Message": "hello" })), "not JSON: expected value");
        assert_eq!(
            refused(json!({ "DDBStreamBatchInfo": {} })),
            "a failure record of another event source than Kinesis"
        );
        assert_eq!(refused(failure(ARN, "9", "7")), "endSequenceNumber is lower than startSequenceNumber");
        assert!(
            refused(failure(ARN, "x", "7")).starts_with("startSequenceNumber is not a sequence number: ")
        );
        assert!(refused(failure("arn", "1", "7")).starts_with("streamArn cannot be read: "));
        // The derived reader would take it for the members in order.
        let batch = json!(["shardId-000000000000", "1", "2", 2, ARN]);
        assert_eq!(refused(json!({ "KinesisBatchInfo": batch })), "KinesisBatchInfo must be an object");
        let mut json = failure(ARN, "1", "7");
        json["KinesisBatchInfo"]["shardId"] = json!({ "secret": "secret" });
        assert_eq!(refused(json), "shardId must be text");
        let mut json = failure(ARN, "1", "7");
        json["KinesisBatchInfo"]["batchSize"] = json!("secret");
        assert_eq!(refused(json), "batchSize must be a number of records");
        for shard_id in ["../../etc", "", "a\0b", "a b"] {
            let mut json = failure(ARN, "1", "7");
            json["KinesisBatchInfo"]["shardId"] = json!(shard_id);
            assert!(refused(json).starts_with("shardId must be 1 to 128 letters"), "{shard_id:?}");
        }
        // Text that holds no JSON, and a member that is there twice.
        assert_eq!(refused(json!("secret")), "not JSON: expected value");
        let twice = br#"{"payload":"secret","payload":"secret"}"#;
        let error = failure_record(twice).expect_err("refused").to_string();
        assert_eq!(error, "not JSON: a member is repeated or has the wrong type");
    }
}
