use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Event, EventError, EventMode, KinesisRecord, RecordData, TumblingWindow, UnreadableRecord, scalar::Scalar,
};
use crate::SequenceNumber;

/// The `eventSource` of a Kinesis record.
pub(super) const EVENT_SOURCE: &str = "aws:kinesis";

/// How much of a foreign `eventSource` or mode an error shows, in characters.
const SHOWN_EVENT_SOURCE_CHARS: usize = 40;

impl<'a> Event<'a> {
    /// Reads a Lambda payload. One bad record does not make the event an error: its data is then
    /// [`RecordData::Unreadable`], or fails to decode later. Members that the kit does not know are ignored.
    ///
    /// # Errors
    ///
    /// Any [`EventError`]: the payload is no Kinesis event, or has a record that no response could name.
    pub fn parse(payload: &'a [u8]) -> Result<Self, EventError> {
        // Derived readers also take an array, for an object with its members in order.
        let start = payload.len() - payload.trim_ascii_start().len();
        if payload[start..].starts_with(b"[") {
            let line_start = payload[..start].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            let line = 1 + payload[..start].iter().filter(|&&byte| byte == b'\n').count();
            return Err(EventError::Shape { line, column: start - line_start + 1 });
        }
        let error = match serde_json::from_slice::<RawEvent<'a, RawRecords<'a>>>(payload) {
            Ok(raw) => return raw.with_records(|RawRecords(records)| records),
            Err(error) => error,
        };
        // Something cannot be read. If it lies inside of records that can still be named, only they fail.
        if let Ok(raw) = serde_json::from_slice::<RawEvent<'a, Vec<&'a RawValue>>>(payload)
            && let Some(records) = raw.records.iter().flatten().enumerate().map(damaged_record).collect()
        {
            return raw.with_records(|_| records);
        }
        let (line, column) = (error.line(), error.column());
        Err(match error.classify() {
            serde_json::error::Category::Data => EventError::Shape { line, column },
            _ => EventError::NotJson { line, column },
        })
    }
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("an empty object is JSON")
}

/// An event whose records are read as `R`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "R: Deserialize<'de>"))]
struct RawEvent<'a, R> {
    #[serde(rename = "Records")]
    records: Option<R>,
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
    #[serde(borrow)]
    kinesis_kit: Option<RawKinesisKit<'a>>,
}

impl<'a, R> RawEvent<'a, R> {
    fn with_records(
        self,
        read: impl FnOnce(R) -> Result<Vec<KinesisRecord<'a>>, EventError>,
    ) -> Result<Event<'a>, EventError> {
        let records = read(self.records.ok_or(EventError::NoRecords)?)?;
        let mode = self.kinesis_kit.map_or(Ok(EventMode::Mapping), |kit| mode(&kit.mode))?;
        let has_window = self.window.is_some() || self.state.is_some();
        let window = has_window.then(|| {
            let RawWindow { start, end } = self.window.unwrap_or_default();
            let state = match self.state {
                Some(state) => Cow::Borrowed(state),
                None => Cow::Owned(empty_object()),
            };
            TumblingWindow {
                shard_id: self.shard_id.text(),
                event_source_arn: self.event_source_arn.text(),
                is_final_invoke: self.is_final_invoke_for_window,
                is_terminated_early: self.is_window_terminated_early,
                ..TumblingWindow::new(start.text().unwrap_or_default(), end.text().unwrap_or_default(), state)
            }
        });
        Ok(Event { records, window, mode })
    }
}

#[derive(Deserialize)]
struct RawKinesisKit<'a> {
    #[serde(borrow, default)]
    mode: Scalar<'a>,
}

/// An unknown mode is an error: it may stand for something that must not be done.
fn mode(mode: &Scalar<'_>) -> Result<EventMode, EventError> {
    let found = match mode {
        Scalar::Text(text) => match &**text {
            "replay" => return Ok(EventMode::Replay),
            "redrive" => return Ok(EventMode::Redrive),
            other => format!("{:?}", other.chars().take(SHOWN_EVENT_SOURCE_CHARS).collect::<String>()),
        },
        other => other.found().to_owned(),
    };
    Err(EventError::Mode { found })
}

#[derive(Deserialize, Default)]
struct RawWindow<'a> {
    #[serde(borrow, default)]
    start: Scalar<'a>,
    #[serde(borrow, default)]
    end: Scalar<'a>,
}

#[derive(Deserialize, Default)]
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

#[derive(Deserialize, Default)]
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

/// What names a record. Everything else in it is skipped, and so may be damaged: a member may stand twice, or hold text
/// with an escape that is no character.
#[derive(Deserialize)]
struct NamedRecord<'a> {
    #[serde(borrow)]
    kinesis: NamedKinesis<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedKinesis<'a> {
    #[serde(borrow)]
    sequence_number: Scalar<'a>,
}

/// A record of an event in which something cannot be read. `None` if it cannot even be told what this record is.
fn damaged_record<'a>((index, raw): (usize, &&'a RawValue)) -> Option<Result<KinesisRecord<'a>, EventError>> {
    let error = match serde_json::from_str(raw.get()) {
        Ok(raw) => return Some(record(index, raw)),
        Err(error) => error,
    };
    let NamedRecord { kinesis: NamedKinesis { sequence_number } } = serde_json::from_str(raw.get()).ok()?;
    let kinesis = RawKinesis { sequence_number, ..RawKinesis::default() };
    let named = record(index, RawRecord { kinesis: Some(kinesis), ..RawRecord::default() });
    let reason = UnreadableRecord::Json { line: error.line(), column: error.column() };
    Some(named.map(|named| KinesisRecord { data: RecordData::Unreadable(reason), ..named }))
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
             \"kinesis\" (line 1, column 1)",
        );
        check_refused(
            "\n\n [[]]",
            "not a Kinesis event: expected an object with an array \"Records\" of objects with an object \
             \"kinesis\" (line 3, column 2)",
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
            &event(r#"{"sequenceNumber":"-2"}"#),
            "record 1 cannot be named: sequence number has something other than a digit at byte 0",
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
    fn damage_inside_of_a_record_is_the_records_alone() {
        let event = |damaged: &str| {
            format!(
                r#"{{"Records":[{{"kinesis":{{"sequenceNumber":"1","data":"YQ=="}}}},{damaged},
                {{"kinesis":{{"sequenceNumber":"3","data":"Yg=="}}}}],"state":{{"n":1}}}}"#
            )
        };
        for (damaged, expected) in [
            (
                r#"{"kinesis":{"sequenceNumber":"2","data":"YQ==","partitionKey":"\ud800"}}"#,
                "record cannot be read as JSON (line 1, column 70 of the record)",
            ),
            (
                r#"{"kinesis":{"sequenceNumber":"2","data":"YQ==","data":"Yg=="}}"#,
                "record cannot be read as JSON (line 1, column 53 of the record)",
            ),
        ] {
            let payload = event(damaged);
            let event = Event::parse(payload.as_bytes()).expect("a Kinesis event");
            let numbers: Vec<_> =
                event.records.iter().map(|record| record.sequence_number.to_string()).collect();
            assert_eq!(numbers, ["1", "2", "3"]);
            let data: Vec<_> = event.records.iter().map(|record| record.data.decode()).collect();
            assert_eq!((&data[0], &data[2]), (&Ok(b"a".to_vec()), &Ok(b"b".to_vec())));
            assert_eq!(data[1].as_ref().map_err(ToString::to_string), Err(expected.to_owned()));
            assert_eq!(
                event.window.map(|window| window.state.get().to_owned()).as_deref(),
                Some(r#"{"n":1}"#)
            );
        }
        check_refused(
            &event(r#"{"kinesis":{"sequenceNumber":"x","data":1,"data":2}}"#),
            "record 1 cannot be named: sequence number has something other than a digit at byte 0",
        );
        check_refused(
            r#"{"Records":[{"kinesis":{"sequenceNumber":"1","sequenceNumber":"2"}}]}"#,
            "not a Kinesis event: expected an object with an array \"Records\" of objects with an object \
             \"kinesis\" (line 1, column 61)",
        );
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
