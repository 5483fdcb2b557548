//! From JSON to a failure record.

use kinesis_handler::{SequenceNumber, SequenceNumberError};
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::{FailureRecord, KinesisBatchInfo, RequestContext};

/// Longest ID of a shard: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Shard.html>
const MAX_SHARD_ID_BYTES: usize = 128;

/// Why JSON is not a failure record. Its text has no value of the JSON, which may be a payload.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FailureRecordError {
    /// It is not JSON, or a member is repeated.
    #[error("not JSON: {fault}")]
    Json {
        /// Description of the error, without values.
        fault: String,
    },
    /// It is JSON, but no object.
    #[error("not a failure record: expected an object, found {found}")]
    NoObject {
        /// Kind of the value.
        found: &'static str,
    },
    /// It has no range of records.
    #[error("not a failure record: expected the member \"KinesisBatchInfo\", found {found}")]
    NoBatch {
        /// Description of the object.
        found: &'static str,
    },
    /// It is about records of a DynamoDB stream.
    #[error("a failure record of another event source than Kinesis")]
    OtherSource,
    /// A member is missing or has another type.
    #[error("{member} must be {expected}")]
    Member {
        /// Name of the member.
        member: &'static str,
        /// Description of its legal values.
        expected: &'static str,
    },
    /// A member is not a sequence number.
    #[error("{member} is not a sequence number")]
    SequenceNumber {
        /// Name of the member.
        member: &'static str,
        /// Reason why it is none.
        source: SequenceNumberError,
    },
    /// The ID of the shard is not one that Kinesis gives.
    #[error("shardId must be 1 to 128 letters, digits, \"_\", \".\" and \"-\"")]
    ShardId,
    /// The range ends before it starts.
    #[error("endSequenceNumber is lower than startSequenceNumber")]
    Order,
}

type Result<T> = std::result::Result<T, FailureRecordError>;

/// Members of a failure record. They are read one by one, because an error of the parser quotes values, and because the
/// derived reader takes an array for an object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentMembers<'a> {
    #[serde(borrow, rename = "KinesisBatchInfo")]
    batch: Option<&'a RawValue>,
    #[serde(borrow, rename = "DDBStreamBatchInfo")]
    other_source: Option<&'a RawValue>,
    #[serde(borrow)]
    request_context: Option<&'a RawValue>,
    #[serde(borrow)]
    response_context: Option<&'a RawValue>,
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    /// Text that holds JSON. Some emulators write the JSON itself.
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    kinesis: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestInfo<'a> {
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow)]
    function_arn: Option<&'a RawValue>,
    #[serde(borrow)]
    condition: Option<&'a RawValue>,
    #[serde(borrow)]
    approximate_invoke_count: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchInfo<'a> {
    #[serde(borrow)]
    shard_id: Option<&'a RawValue>,
    #[serde(borrow)]
    start_sequence_number: Option<&'a RawValue>,
    #[serde(borrow)]
    end_sequence_number: Option<&'a RawValue>,
    #[serde(borrow)]
    approximate_arrival_of_first_record: Option<&'a RawValue>,
    #[serde(borrow)]
    approximate_arrival_of_last_record: Option<&'a RawValue>,
    #[serde(borrow)]
    batch_size: Option<&'a RawValue>,
    #[serde(borrow)]
    stream_arn: Option<&'a RawValue>,
}

impl FailureRecord {
    /// Reads a failure record. Members that are not needed to redeliver the records may be missing or unreadable, because
    /// emulators and people write failure records, too: only the range of the records is required.
    ///
    /// # Errors
    ///
    /// Any [`FailureRecordError`].
    pub fn parse(json: &str) -> Result<Self> {
        let json = json.trim_ascii();
        if !json.starts_with('{') {
            // First whether it is JSON at all.
            parse::<&RawValue>(json)?;
            return Err(FailureRecordError::NoObject { found: kind(json) });
        }
        let members: DocumentMembers<'_> = parse(json)?;
        let Some(batch) = members.batch else {
            return Err(match (members.other_source, members.kinesis) {
                (Some(_), _) => FailureRecordError::OtherSource,
                (None, Some(_)) => FailureRecordError::NoBatch { found: "a record of a Kinesis event" },
                (None, None) => FailureRecordError::NoBatch { found: "other members" },
            });
        };
        let kinesis_batch_info = batch_info(&object(batch, "KinesisBatchInfo")?)?;
        let request: RequestInfo<'_> = match members.request_context {
            Some(request) => object(request, "requestContext")?,
            None => RequestInfo::default(),
        };
        let payload = match members.payload.map(RawValue::get) {
            None | Some("null") => None,
            Some(text) if text.starts_with('"') => Some(parse::<String>(text)?),
            Some(json) => Some(json.to_owned()),
        };
        Ok(FailureRecord {
            request_context: RequestContext {
                request_id: readable(request.request_id).unwrap_or_default(),
                function_arn: text(request.function_arn, "functionArn")?.unwrap_or_default(),
                condition: readable(request.condition),
                approximate_invoke_count: readable(request.approximate_invoke_count).unwrap_or_default(),
            },
            response_context: readable(members.response_context),
            version: readable(members.version).unwrap_or_default(),
            timestamp: readable(members.timestamp).unwrap_or_default(),
            kinesis_batch_info,
            payload,
        })
    }
}

fn batch_info(batch: &BatchInfo<'_>) -> Result<KinesisBatchInfo> {
    let number = |value, member| -> Result<SequenceNumber> {
        let text = required(value, member)?;
        text.parse().map_err(|source| FailureRecordError::SequenceNumber { member, source })
    };
    let first = number(batch.start_sequence_number, "startSequenceNumber")?;
    let last = number(batch.end_sequence_number, "endSequenceNumber")?;
    if last < first {
        return Err(FailureRecordError::Order);
    }
    let shard_id = required(batch.shard_id, "shardId")?;
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !(1..=MAX_SHARD_ID_BYTES).contains(&shard_id.len()) || !shard_id.bytes().all(is_legal) {
        return Err(FailureRecordError::ShardId);
    }
    let batch_size = match batch.batch_size {
        None => None,
        Some(size) => {
            let expected = "a number of records";
            let wrong = |_| FailureRecordError::Member { member: "batchSize", expected };
            serde_json::from_str(size.get()).map_err(wrong)?
        }
    };
    Ok(KinesisBatchInfo {
        shard_id,
        start_sequence_number: first,
        end_sequence_number: last,
        approximate_arrival_of_first_record: readable(batch.approximate_arrival_of_first_record)
            .unwrap_or_default(),
        approximate_arrival_of_last_record: readable(batch.approximate_arrival_of_last_record)
            .unwrap_or_default(),
        batch_size,
        stream_arn: required(batch.stream_arn, "streamArn")?,
    })
}

/// Parses JSON. The error says nothing about values, which may be payloads.
fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| FailureRecordError::Json {
        fault: if error.is_data() {
            "a member is repeated or has the wrong type".to_owned()
        } else {
            let text = error.to_string();
            text.rsplit_once(" at line ").map_or(text.as_str(), |(fault, _)| fault).to_owned()
        },
    })
}

fn object<'a, T: Deserialize<'a>>(value: &'a RawValue, member: &'static str) -> Result<T> {
    if !value.get().starts_with('{') {
        return Err(FailureRecordError::Member { member, expected: "an object" });
    }
    parse(value.get())
}

fn text(value: Option<&RawValue>, member: &'static str) -> Result<Option<String>> {
    let Some(value) = value.map(RawValue::get).filter(|value| *value != "null") else { return Ok(None) };
    let text = serde_json::from_str(value);
    text.map(Some).map_err(|_| FailureRecordError::Member { member, expected: "text" })
}

fn required(value: Option<&RawValue>, member: &'static str) -> Result<String> {
    text(value, member)?.ok_or(FailureRecordError::Member { member, expected: "text" })
}

fn kind(json: &str) -> &'static str {
    match json.bytes().next() {
        Some(b'[') => "an array",
        Some(b'"') => "text",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}

/// Returns the value of a member that is not needed, if it has the expected type.
fn readable<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(value?.get()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";

    fn batch() -> Value {
        json!({ "shardId": "s", "startSequenceNumber": "7", "endSequenceNumber": "9", "streamArn": ARN })
    }

    #[test]
    fn the_range_of_the_records_is_enough() {
        let json = json!({ "KinesisBatchInfo": batch() }).to_string();
        let record = FailureRecord::parse(&json).expect("a failure record");
        assert_eq!(record.request_context, RequestContext::default());
        assert_eq!((record.response_context, record.payload), (None, None));
        let batch = record.kinesis_batch_info;
        assert_eq!((batch.batch_size, batch.stream_arn.as_str()), (None, ARN));
        assert_eq!(batch.stream().map(|stream| stream.name().to_owned()), Ok("orders".to_owned()));
    }

    #[test]
    fn members_that_are_not_needed_may_have_any_value() {
        let json = json!({
            "requestContext": { "requestId": 1, "condition": "Other", "approximateInvokeCount": -1 },
            "responseContext": [],
            "version": null,
            "timestamp": 5,
            "KinesisBatchInfo": batch(),
        });
        let record = FailureRecord::parse(&json.to_string()).expect("a failure record");
        assert_eq!((record.request_context, record.response_context), (RequestContext::default(), None));
    }

    #[track_caller]
    fn check_refused(json: &Value, expected: &str) {
        let error = FailureRecord::parse(&json.to_string()).expect_err("no failure record");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_is_needed_is_checked_and_errors_name_no_value() {
        let with = |member: &str, value: Value| {
            let mut batch = batch();
            batch[member] = value;
            json!({ "KinesisBatchInfo": batch })
        };
        check_refused(&with("shardId", json!({ "secret": 1 })), "shardId must be text");
        check_refused(&with("streamArn", json!(null)), "streamArn must be text");
        check_refused(&with("batchSize", json!("secret")), "batchSize must be a number of records");
        check_refused(
            &with("startSequenceNumber", json!("secret")),
            "startSequenceNumber is not a sequence number",
        );
        check_refused(
            &with("endSequenceNumber", json!("6")),
            "endSequenceNumber is lower than startSequenceNumber",
        );
        for shard_id in ["../../etc", "", "a\0b", "a b"] {
            let expected = r#"shardId must be 1 to 128 letters, digits, "_", "." and "-""#;
            check_refused(&with("shardId", json!(shard_id)), expected);
        }
        check_refused(
            &json!({ "KinesisBatchInfo": batch(), "requestContext": "secret" }),
            "requestContext must be an object",
        );
        check_refused(&json!([batch()]), "not a failure record: expected an object, found an array");
    }
}
