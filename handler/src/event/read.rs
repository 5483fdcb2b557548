use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Event, KinesisRecord, RecordData, TumblingWindow, UnreadableRecord, scalar::Scalar};
use crate::{SequenceNumber, SequenceNumberError};

/// The `eventSource` of a Kinesis record.
pub(super) const EVENT_SOURCE: &str = "aws:kinesis";

/// How much of a foreign `eventSource` an error shows, in characters.
const SHOWN_EVENT_SOURCE_CHARS: usize = 40;

/// Why a payload is not an event whose failures could be reported record by record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventError {
    /// The payload is not JSON.
    #[error("the event is not JSON (line {line}, column {column})")]
    NotJson {
        /// Line of the first error, from one.
        line: usize,
        /// Column of the first error, from one.
        column: usize,
    },
    /// The payload is JSON of another shape.
    #[error(
        "not a Kinesis event: expected an object with an array \"Records\" of objects with an object \"kinesis\" \
         (line {line}, column {column})"
    )]
    Shape {
        /// Line where the shape differs, from one.
        line: usize,
        /// Column where the shape differs, from one.
        column: usize,
    },
    /// There is no member `Records`.
    #[error("not a Kinesis event: expected an object with an array \"Records\", which is missing")]
    NoRecords,
    /// A record comes from another service, or has no member `kinesis`.
    #[error(
        "not a Kinesis event: record {index} has no \"kinesis\" member or another \"eventSource\" than \
         \"aws:kinesis\" ({event_source:?})"
    )]
    ForeignRecord {
        /// Zero-based position in `Records`.
        index: usize,
        /// The record's `eventSource`, shortened; empty if it has none.
        event_source: String,
    },
    /// A record cannot be named in a response, because its sequence number is absent or not text.
    #[error("record {index} cannot be named: sequence number is {found}")]
    NoSequenceNumber {
        /// Zero-based position in `Records`.
        index: usize,
        /// The JSON type that was found.
        found: &'static str,
    },
    /// A record cannot be named in a response, because its sequence number is malformed.
    #[error("record {index} cannot be named")]
    SequenceNumber {
        /// Zero-based position in `Records`.
        index: usize,
        /// What is wrong with it.
        source: SequenceNumberError,
    },
}

impl<'a> Event<'a> {
    /// Reads a Lambda payload. One bad record does not make the event an error: its data is then
    /// [`RecordData::Unreadable`], or fails to decode later. Members that the kit does not know are ignored.
    ///
    /// # Errors
    ///
    /// Any [`EventError`]: the payload is no Kinesis event, or has a record that no response could name.
    pub fn parse(payload: &'a [u8]) -> Result<Self, EventError> {
        let raw: RawEvent<'a> = serde_json::from_slice(payload).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            match error.classify() {
                serde_json::error::Category::Data => EventError::Shape { line, column },
                _ => EventError::NotJson { line, column },
            }
        })?;
        let records = raw.records.ok_or(EventError::NoRecords)?.0?;
        let has_window = raw.window.is_some() || raw.state.is_some();
        let window = has_window.then(|| {
            let RawWindow { start, end } = raw.window.unwrap_or_default();
            let state = match raw.state {
                Some(state) => Cow::Borrowed(state),
                None => Cow::Owned(empty_object()),
            };
            TumblingWindow {
                shard_id: raw.shard_id.text(),
                event_source_arn: raw.event_source_arn.text(),
                is_final_invoke: raw.is_final_invoke_for_window,
                is_terminated_early: raw.is_window_terminated_early,
                ..TumblingWindow::new(start.text().unwrap_or_default(), end.text().unwrap_or_default(), state)
            }
        });
        Ok(Event { records, window })
    }
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("an empty object is JSON")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvent<'a> {
    #[serde(borrow, rename = "Records")]
    records: Option<RawRecords<'a>>,
    #[serde(borrow)]
    window: Option<RawWindow<'a>>,
    #[serde(borrow)]
    state: Option<&'a RawValue>,
    #[serde(borrow, default)]
    shard_id: Scalar<'a>,
    #[serde(borrow, default, rename = "eventSourceARN")]
    event_source_arn: Scalar<'a>,
    #[serde(default)]
    is_final_invoke_for_window: bool,
    #[serde(default)]
    is_window_terminated_early: bool,
}

#[derive(Deserialize, Default)]
struct RawWindow<'a> {
    #[serde(borrow, default)]
    start: Scalar<'a>,
    #[serde(borrow, default)]
    end: Scalar<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRecord<'a> {
    #[serde(borrow)]
    kinesis: Option<RawKinesis<'a>>,
    #[serde(borrow, default)]
    event_source: Scalar<'a>,
    #[serde(borrow, default, rename = "eventID")]
    event_id: Scalar<'a>,
    #[serde(borrow, default, rename = "eventSourceARN")]
    event_source_arn: Scalar<'a>,
    #[serde(borrow, default)]
    invoke_identity_arn: Scalar<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawKinesis<'a> {
    #[serde(borrow, default)]
    sequence_number: Scalar<'a>,
    #[serde(borrow, default)]
    partition_key: Scalar<'a>,
    #[serde(borrow, default)]
    data: Scalar<'a>,
    #[serde(borrow, default)]
    approximate_arrival_timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    encryption_type: Scalar<'a>,
}

/// The records, or the first error that one of them is. Each is converted as it is read, so that a payload of a great
/// many wrong records costs no memory.
struct RawRecords<'a>(Result<Vec<KinesisRecord<'a>>, EventError>);

impl<'de: 'a, 'a> Deserialize<'de> for RawRecords<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RawRecordsVisitor).map(RawRecords)
    }
}

struct RawRecordsVisitor;

impl<'de> Visitor<'de> for RawRecordsVisitor {
    type Value = Result<Vec<KinesisRecord<'de>>, EventError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut records = Vec::new();
        while let Some(raw) = seq.next_element::<RawRecord<'de>>()? {
            match record(records.len(), raw) {
                Ok(record) => records.push(record),
                Err(error) => {
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Err(error));
                }
            }
        }
        Ok(Ok(records))
    }
}

fn record(index: usize, raw: RawRecord<'_>) -> Result<KinesisRecord<'_>, EventError> {
    let event_source = raw.event_source.text().unwrap_or_default();
    let RawKinesis { sequence_number, partition_key, data, approximate_arrival_timestamp, encryption_type } =
        match raw.kinesis {
            // A hand-written event may leave the source out.
            Some(kinesis) if event_source.is_empty() || event_source == EVENT_SOURCE => kinesis,
            _ => {
                let event_source = event_source.chars().take(SHOWN_EVENT_SOURCE_CHARS).collect();
                return Err(EventError::ForeignRecord { index, event_source });
            }
        };
    let sequence_number: SequenceNumber = match sequence_number {
        Scalar::Text(text) => text.parse().map_err(|source| EventError::SequenceNumber { index, source })?,
        other => return Err(EventError::NoSequenceNumber { index, found: other.found() }),
    };
    let mut data = match data {
        Scalar::Text(text) => RecordData::Base64(text),
        Scalar::Absent => RecordData::Unreadable(UnreadableRecord::MissingData),
        other => RecordData::Unreadable(UnreadableRecord::DataNotText { found: other.found() }),
    };
    let partition_key = match partition_key {
        Scalar::Text(text) => text,
        Scalar::Absent => Cow::Borrowed(""),
        other => {
            data = RecordData::Unreadable(UnreadableRecord::PartitionKeyNotText { found: other.found() });
            Cow::Borrowed("")
        }
    };
    Ok(KinesisRecord {
        sequence_number,
        partition_key,
        data,
        approximate_arrival_ms: approximate_arrival_timestamp.milliseconds(),
        encryption_type: encryption_type.text(),
        shard_id: raw.event_id.text().and_then(shard_id),
        event_source_arn: raw.event_source_arn.text(),
        invoke_identity_arn: raw.invoke_identity_arn.text(),
    })
}

/// An event ID is `shardId-000000000000:sequence number`.
fn shard_id(event_id: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let length = event_id.find(':')?;
    Some(match event_id {
        Cow::Borrowed(event_id) => Cow::Borrowed(&event_id[..length]),
        Cow::Owned(mut event_id) => {
            event_id.truncate(length);
            Cow::Owned(event_id)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(payload: &str, expected: &str) {
        let error = Event::parse(payload.as_bytes()).map(drop).expect_err("no Kinesis event");
        let source =
            std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        assert_eq!(format!("{error}{source}"), expected);
    }

    #[test]
    fn what_is_no_kinesis_event_is_named() {
        check_refused("", "the event is not JSON (line 1, column 0)");
        check_refused("{\"Records\":", "the event is not JSON (line 1, column 11)");
        check_refused(
            "[]",
            "not a Kinesis event: expected an object with an array \"Records\" of objects with an object \
             \"kinesis\" (line 1, column 2)",
        );
        check_refused(
            r#"{"Records":[5]}"#,
            "not a Kinesis event: expected an object with an array \"Records\" of objects with an object \
             \"kinesis\" (line 1, column 13)",
        );
        let no_records =
            "not a Kinesis event: expected an object with an array \"Records\", which is missing";
        check_refused("{}", no_records);
        check_refused(r#"{"Records":null}"#, no_records);
        check_refused(
            r#"{"Records":[{"eventSource":"aws:sqs","body":"text"}]}"#,
            "not a Kinesis event: record 0 has no \"kinesis\" member or another \"eventSource\" than \
             \"aws:kinesis\" (\"aws:sqs\")",
        );
        check_refused(
            r#"{"Records":[{"eventSource":"aws:dynamodb","kinesis":{"sequenceNumber":"1"}}]}"#,
            "not a Kinesis event: record 0 has no \"kinesis\" member or another \"eventSource\" than \
             \"aws:kinesis\" (\"aws:dynamodb\")",
        );
    }

    #[test]
    fn a_record_that_cannot_be_named_makes_the_event_an_error() {
        let ok = r#"{"kinesis":{"sequenceNumber":"1","data":""}}"#;
        let event = |kinesis| format!(r#"{{"Records":[{ok},{{"kinesis":{kinesis}}}]}}"#);
        check_refused(&event("{}"), "record 1 cannot be named: sequence number is absent");
        check_refused(
            &event(r#"{"sequenceNumber":2}"#),
            "record 1 cannot be named: sequence number is a number",
        );
        check_refused(
            &event(r#"{"sequenceNumber":""}"#),
            "record 1 cannot be named: sequence number is empty",
        );
        check_refused(
            &event(r#"{"sequenceNumber":"02"}"#),
            "record 1 cannot be named: sequence number has leading zeros",
        );
    }

    #[test]
    fn a_bad_record_leaves_the_others_readable() {
        let payload = br#"{"Records":[
            {"kinesis":{"sequenceNumber":"1","data":"YQ=="}},
            {"kinesis":{"sequenceNumber":"2","data":"Y!=="}},
            {"kinesis":{"sequenceNumber":"3","data":"YQ"}},
            {"kinesis":{"sequenceNumber":"4","data":null}},
            {"kinesis":{"sequenceNumber":"5","data":{"a":["b"]}}},
            {"kinesis":{"sequenceNumber":"6","data":"YQ==","partitionKey":7}},
            {"kinesis":{"sequenceNumber":"7","data":"Yg==","partitionKey":null,"encryptionType":"FUTURE"}}
        ]}"#;
        let event = Event::parse(payload).expect("a Kinesis event");
        let data: Vec<_> = event
            .records
            .iter()
            .map(|record| record.data.decode().map_err(|reason| reason.to_string()))
            .collect();
        let error = |text: &str| Err(text.to_owned());
        assert_eq!(
            data,
            [
                Ok(b"a".to_vec()),
                error("data is not base64: illegal byte at 1"),
                error("data is not base64: illegal length or padding"),
                error("data is missing"),
                error("data is an object instead of base64 text"),
                error("partition key is a number instead of text"),
                Ok(b"b".to_vec()),
            ]
        );
        assert_eq!(event.records[6].partition_key, "");
        assert_eq!(event.records[6].encryption_type.as_deref(), Some("FUTURE"));
    }

    #[test]
    fn everything_of_a_record_is_read() {
        let payload = br#"{"Records":[{
            "kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"k\u00e9y","sequenceNumber":"49590338271490256608559692538361571095921575989136588898",
                "data":"SGVs\/G8=","approximateArrivalTimestamp":1545084650.987,"encryptionType":"KMS"},
            "eventSource":"aws:kinesis","eventVersion":"1.0","eventName":"aws:kinesis:record","awsRegion":"us-east-2",
            "eventID":"shardId-000000000006:49590338271490256608559692538361571095921575989136588898",
            "invokeIdentityArn":"arn:aws:iam::123456789012:role/lambda-role",
            "eventSourceARN":"arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"}]}"#;
        let event = Event::parse(payload).expect("a Kinesis event");
        assert!(event.window.is_none());
        assert_eq!(
            event.records,
            [KinesisRecord {
                sequence_number: "49590338271490256608559692538361571095921575989136588898"
                    .parse()
                    .expect("digits"),
                partition_key: "kéy".into(),
                data: RecordData::Base64("SGVs/G8=".into()),
                approximate_arrival_ms: Some(1_545_084_650_987),
                encryption_type: Some("KMS".into()),
                shard_id: Some("shardId-000000000006".into()),
                event_source_arn: Some("arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream".into()),
                invoke_identity_arn: Some("arn:aws:iam::123456789012:role/lambda-role".into()),
            }]
        );
        assert!(!event.records[0].is_enhanced_fan_out());
    }

    #[test]
    fn the_state_of_a_window_is_kept_to_the_letter() {
        let payload =
            br#"{"Records":[],"window":{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:02:00Z"},
            "state":{"n": 1.50, "big":12345678901234567890123},"shardId":"shardId-000000000000",
            "eventSourceARN":"arn","isFinalInvokeForWindow":true,"isWindowTerminatedEarly":false}"#;
        let event = Event::parse(payload).expect("a Kinesis event");
        let window = event.window.expect("a tumbling window");
        assert_eq!(window.state.get(), r#"{"n": 1.50, "big":12345678901234567890123}"#);
        assert_eq!(
            (window.start, window.end),
            ("2026-01-01T00:00:00Z".into(), "2026-01-01T00:02:00Z".into())
        );
        assert_eq!(window.shard_id.as_deref(), Some("shardId-000000000000"));
        assert!(window.is_final_invoke && !window.is_terminated_early);
    }
}
