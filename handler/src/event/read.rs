use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Event, EventError, EventMode, KinesisRecord, RecordData, TumblingWindow, UnreadableRecord,
    scalar::{Object, Scalar},
    scan,
};
use crate::SequenceNumber;

/// The `eventSource` of a Kinesis record.
pub(super) const EVENT_SOURCE: &str = "aws:kinesis";

/// Length of a foreign `eventSource` or mode in an error, in characters.
const SHOWN_EVENT_SOURCE_CHARS: usize = 40;

/// The byte order mark of UTF-8, with which editors on Windows begin a file.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl<'a> Event<'a> {
    /// Reads the payload of an invocation: a Lambda event, or the array of flat records that EventBridge Pipes delivers.
    /// One bad record does not make the event an error: its data is then [`RecordData::Unreadable`], or fails to decode
    /// later. Members that the kit does not know are ignored, and so is a byte order mark.
    ///
    /// # Errors
    ///
    /// Any [`EventError`]: the payload is no Kinesis event, or has a record that no response could name.
    pub fn parse(payload: &'a [u8]) -> Result<Self, EventError> {
        Self::parse_into(payload, Vec::new())
    }

    /// Reads as [`parse`](Self::parse) does, into a list of records that brings its memory.
    pub(crate) fn parse_into(
        payload: &'a [u8],
        mut records: Vec<KinesisRecord<'a>>,
    ) -> Result<Self, EventError> {
        records.clear();
        if scan::records(payload, &mut records).is_some() {
            return Ok(Event { records, ..Event::default() });
        }
        let payload = payload.strip_prefix(BYTE_ORDER_MARK).unwrap_or(payload);
        // Derived readers also take an array, for an object with its members in order.
        match payload.trim_ascii_start().starts_with(b"[") {
            true => read_list(payload),
            false => read_object(payload),
        }
    }
}

/// Reads an event of the event source mapping.
pub(super) fn read_object(payload: &[u8]) -> Result<Event<'_>, EventError> {
    let error = match serde_json::from_slice::<RawEvent<'_, Records<'_, Nested>>>(payload) {
        Ok(raw) => return raw.with_records(|records| records.read),
        Err(error) => error,
    };
    // Something cannot be read. If it lies inside of records that can still be named, only they fail.
    if let Ok(raw) = serde_json::from_slice::<RawEvent<'_, Vec<&RawValue>>>(payload)
        && let Some(records) = damaged_records::<Nested>(raw.records.as_deref().unwrap_or_default())
    {
        return raw.with_records(|_| records);
    }
    Err(unreadable(&error))
}

/// Reads the records of EventBridge Pipes.
///
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-kinesis.html>
fn read_list(payload: &[u8]) -> Result<Event<'_>, EventError> {
    let read = match serde_json::from_slice::<Records<'_, Flat>>(payload) {
        Ok(records) => records.read,
        Err(error) => serde_json::from_slice::<Vec<&RawValue>>(payload)
            .ok()
            .and_then(|records| damaged_records::<Flat>(&records))
            .unwrap_or_else(|| Err(unreadable(&error))),
    };
    let records = read?;
    if records.is_empty() {
        // A pipe delivers one record at least, so this comes from somewhere else.
        return Err(start_of(payload));
    }
    Ok(Event { records, ..Event::default() })
}

fn unreadable(error: &serde_json::Error) -> EventError {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => EventError::Shape { line, column },
        _ => EventError::NotJson { line, column },
    }
}

/// The first character of the payload is already wrong.
fn start_of(payload: &[u8]) -> EventError {
    let before = &payload[..payload.len() - payload.trim_ascii_start().len()];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    EventError::Shape { line, column: before.len() - line_start + 1 }
}

/// Names the members of a record in one kind of event.
trait Layout<'a> {
    type Record: Deserialize<'a> + Into<RawRecord<'a>>;
    type Name: Deserialize<'a> + Into<NamedKinesis<'a>>;
}

/// A record as the event source mapping delivers it: what the stream knows is in its member `kinesis`.
struct Nested;

impl<'a> Layout<'a> for Nested {
    type Record = RawRecord<'a>;
    type Name = NamedRecord<'a>;
}

/// A record as EventBridge Pipes delivers it: all members are beside each other.
struct Flat;

impl<'a> Layout<'a> for Flat {
    type Record = FlatRecord<'a>;
    type Name = NamedKinesis<'a>;
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
    #[serde(borrow, default)]
    window: Object<RawWindow<'a>>,
    #[serde(borrow)]
    state: Option<&'a RawValue>,
    #[serde(borrow, default)]
    shard_id: Scalar<'a>,
    #[serde(borrow, default, rename = "eventSourceARN")]
    event_source_arn: Scalar<'a>,
    #[serde(borrow, default)]
    is_final_invoke_for_window: Scalar<'a>,
    #[serde(borrow, default)]
    is_window_terminated_early: Scalar<'a>,
    #[serde(borrow, default)]
    kinesis_kit: Object<RawKinesisKit<'a>>,
}

impl<'a, R> RawEvent<'a, R> {
    fn with_records(
        self,
        read: impl FnOnce(R) -> Result<Vec<KinesisRecord<'a>>, EventError>,
    ) -> Result<Event<'a>, EventError> {
        let records = read(self.records.ok_or(EventError::NoRecords)?)?;
        let mode = match object(self.kinesis_kit, "kinesisKit")? {
            Some(kit) => mode(&kit.mode)?,
            None => EventMode::Mapping,
        };
        let is_final_invoke = flag(&self.is_final_invoke_for_window, "isFinalInvokeForWindow")?;
        let is_terminated_early = flag(&self.is_window_terminated_early, "isWindowTerminatedEarly")?;
        let window = object(self.window, "window")?;
        let has_window = window.is_some() || self.state.is_some();
        let window = has_window.then(|| {
            let RawWindow { start, end } = window.unwrap_or_default();
            let state = match self.state {
                Some(state) => Cow::Borrowed(state),
                None => Cow::Owned(empty_object()),
            };
            TumblingWindow {
                shard_id: self.shard_id.text(),
                event_source_arn: self.event_source_arn.text(),
                is_final_invoke,
                is_terminated_early,
                ..TumblingWindow::new(start.text().unwrap_or_default(), end.text().unwrap_or_default(), state)
            }
        });
        Ok(Event { records, window, mode })
    }
}

fn object<T>(member: Object<T>, name: &'static str) -> Result<Option<T>, EventError> {
    match member {
        Object::Absent => Ok(None),
        Object::Value(value) => Ok(Some(value)),
        Object::Other { found } => {
            Err(EventError::Member { member: name, expected: "an object or null", found })
        }
    }
}

fn flag(member: &Scalar<'_>, name: &'static str) -> Result<bool, EventError> {
    match member {
        Scalar::Absent => Ok(false),
        Scalar::Boolean(value) => Ok(*value),
        other => {
            Err(EventError::Member { member: name, expected: "true, false or null", found: other.found() })
        }
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
            "reprocess" => return Ok(EventMode::Reprocess),
            "resume" => return Ok(EventMode::Resume),
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
pub(super) struct RawRecord<'a> {
    #[serde(borrow, default)]
    pub(super) kinesis: Object<RawKinesis<'a>>,
    #[serde(borrow, default)]
    pub(super) event_source: Scalar<'a>,
    #[serde(borrow, default, rename = "eventID")]
    pub(super) event_id: Scalar<'a>,
    #[serde(borrow, default, rename = "eventSourceARN")]
    pub(super) event_source_arn: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) invoke_identity_arn: Scalar<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawKinesis<'a> {
    #[serde(borrow, default)]
    pub(super) sequence_number: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) partition_key: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) data: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) approximate_arrival_timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) encryption_type: Scalar<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlatRecord<'a> {
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
    #[serde(borrow, default)]
    event_source: Scalar<'a>,
    #[serde(borrow, default, rename = "eventID")]
    event_id: Scalar<'a>,
    #[serde(borrow, default, rename = "eventSourceARN")]
    event_source_arn: Scalar<'a>,
    #[serde(borrow, default)]
    invoke_identity_arn: Scalar<'a>,
}

impl<'a> From<FlatRecord<'a>> for RawRecord<'a> {
    fn from(flat: FlatRecord<'a>) -> Self {
        RawRecord {
            kinesis: Object::Value(RawKinesis {
                sequence_number: flat.sequence_number,
                partition_key: flat.partition_key,
                data: flat.data,
                approximate_arrival_timestamp: flat.approximate_arrival_timestamp,
                encryption_type: flat.encryption_type,
            }),
            event_source: flat.event_source,
            event_id: flat.event_id,
            event_source_arn: flat.event_source_arn,
            invoke_identity_arn: flat.invoke_identity_arn,
        }
    }
}

/// The records, or the first error that one of them is. Each is converted as it is read, so that a payload of a great
/// many wrong records costs no memory.
struct Records<'a, L> {
    read: Result<Vec<KinesisRecord<'a>>, EventError>,
    layout: PhantomData<L>,
}

impl<'de: 'a, 'a, L: Layout<'de>> Deserialize<'de> for Records<'a, L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = deserializer.deserialize_seq(RecordsVisitor::<L>(PhantomData))?;
        Ok(Records { read, layout: PhantomData })
    }
}

struct RecordsVisitor<L>(PhantomData<L>);

impl<'de, L: Layout<'de>> Visitor<'de> for RecordsVisitor<L> {
    type Value = Result<Vec<KinesisRecord<'de>>, EventError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut records = Vec::new();
        while let Some(raw) = seq.next_element::<Object<L::Record>>()? {
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

pub(super) fn record<'a>(
    index: usize,
    raw: Object<impl Into<RawRecord<'a>>>,
) -> Result<KinesisRecord<'a>, EventError> {
    let wrong = |expected, found| Err(EventError::Record { index, expected, found });
    let raw: RawRecord<'a> = match raw {
        Object::Value(raw) => raw.into(),
        Object::Absent => return wrong("an object", "null"),
        Object::Other { found } => return wrong("an object", found),
    };
    let event_source = raw.event_source.text().unwrap_or_default();
    // A hand-written event may leave the source out.
    if !event_source.is_empty() && event_source != EVENT_SOURCE {
        let event_source = event_source.chars().take(SHOWN_EVENT_SOURCE_CHARS).collect();
        return Err(EventError::ForeignRecord { index, event_source });
    }
    let RawKinesis { sequence_number, partition_key, data, approximate_arrival_timestamp, encryption_type } =
        match raw.kinesis {
            Object::Value(kinesis) => kinesis,
            Object::Absent => return wrong("an object \"kinesis\"", "none"),
            Object::Other { found } => return wrong("an object \"kinesis\"", found),
        };
    let sequence_number: SequenceNumber = match sequence_number {
        Scalar::Text(text) => text.parse().map_err(|source| EventError::SequenceNumber { index, source })?,
        other => return Err(EventError::NoSequenceNumber { index, found: other.found() }),
    };
    let mut data = match data {
        Scalar::Base64(text) => RecordData::Base64(Cow::Borrowed(text)),
        Scalar::Text(Cow::Borrowed(text)) => RecordData::Base64(Cow::Borrowed(text.as_bytes())),
        Scalar::Text(Cow::Owned(text)) => RecordData::Base64(Cow::Owned(text.into_bytes())),
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

/// The members that name a record. Everything else in it is skipped, and so may be damaged: a member may stand twice, or hold text
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

impl<'a> From<NamedRecord<'a>> for NamedKinesis<'a> {
    fn from(record: NamedRecord<'a>) -> Self {
        record.kinesis
    }
}

/// Reads the records of an event in which something cannot be read. `None` if not even the name of one can be.
fn damaged_records<'a, L: Layout<'a>>(
    records: &[&'a RawValue],
) -> Option<Result<Vec<KinesisRecord<'a>>, EventError>> {
    records.iter().enumerate().map(|(index, raw)| damaged_record::<L>(index, raw.get())).collect()
}

fn damaged_record<'a, L: Layout<'a>>(
    index: usize,
    raw: &'a str,
) -> Option<Result<KinesisRecord<'a>, EventError>> {
    let error = match serde_json::from_str::<Object<L::Record>>(raw) {
        Ok(raw) => return Some(record(index, raw)),
        Err(error) => error,
    };
    let NamedKinesis { sequence_number } = serde_json::from_str::<L::Name>(raw).ok()?.into();
    let kinesis = Object::Value(RawKinesis { sequence_number, ..RawKinesis::default() });
    let named = record(index, Object::Value(RawRecord { kinesis, ..RawRecord::default() }));
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
        let shape = |line, column| {
            format!(
                "not a Kinesis event: expected an object with one array \"Records\", or an array of records as \
                 EventBridge Pipes delivers them (line {line}, column {column})"
            )
        };
        check_refused("[]", &shape(1, 1));
        check_refused("\n\n [ ]", &shape(3, 2));
        check_refused(r#"{"Records":{}}"#, &shape(1, 11));
        check_refused(r#"{"Records":[],"Records":[]}"#, &shape(1, 23));
        check_refused("5", &shape(1, 1));
        let record = |index, expected, found| {
            format!("not a Kinesis event: record {index}: expected {expected}, found {found}")
        };
        check_refused("[[]]", &record(0, "an object", "an array"));
        check_refused(r#"{"Records":[5]}"#, &record(0, "an object", "a number"));
        check_refused(r#"{"Records":[null]}"#, &record(0, "an object", "null"));
        // A derived reader would take it for a record with its members in order.
        check_refused(
            r#"{"Records":[[{"sequenceNumber":"1","data":""}]]}"#,
            &record(0, "an object", "an array"),
        );
        check_refused(r#"{"Records":[{"kinesis":"text"}]}"#, &record(0, "an object \"kinesis\"", "text"));
        check_refused(r#"{"Records":[{"kinesis":["1"]}]}"#, &record(0, "an object \"kinesis\"", "an array"));
        check_refused(r#"{"Records":[{"body":"text"}]}"#, &record(0, "an object \"kinesis\"", "none"));
        let no_records =
            "not a Kinesis event: expected an object with an array \"Records\", which is missing";
        check_refused("{}", no_records);
        check_refused(r#"{"Records":null}"#, no_records);
        check_refused(
            r#"{"Records":[{"eventSource":"aws:sqs","body":"text"}]}"#,
            "not a Kinesis event: record 0: expected eventSource \"aws:kinesis\", found \"aws:sqs\"",
        );
        check_refused(
            r#"{"Records":[{"eventSource":"aws:dynamodb","kinesis":{"sequenceNumber":"1"}}]}"#,
            "not a Kinesis event: record 0: expected eventSource \"aws:kinesis\", found \"aws:dynamodb\"",
        );
        check_refused(
            r#"[{"eventSource":"aws:sqs","messageId":"1","body":"text"}]"#,
            "not a Kinesis event: record 0: expected eventSource \"aws:kinesis\", found \"aws:sqs\"",
        );
    }

    #[test]
    fn a_member_of_the_wrong_type_is_named() {
        let event = |member: &str| format!(r#"{{"Records":[],{member}}}"#);
        let wrong = |member, expected, found| {
            format!("the event's member \"{member}\": expected {expected}, found {found}")
        };
        for member in ["isFinalInvokeForWindow", "isWindowTerminatedEarly"] {
            for (value, found) in
                [("1", "a number"), ("\"true\"", "text"), ("{}", "an object"), ("[]", "an array")]
            {
                let payload = event(&format!(r#""{member}":{value}"#));
                check_refused(&payload, &wrong(member, "true, false or null", found));
            }
        }
        for member in ["window", "kinesisKit"] {
            for (value, found) in
                [("1", "a number"), ("\"text\"", "text"), ("true", "a boolean"), ("[]", "an array")]
            {
                let payload = event(&format!(r#""{member}":{value}"#));
                check_refused(&payload, &wrong(member, "an object or null", found));
            }
        }
        check_refused(
            &event(r#""kinesisKit":{}"#),
            "unknown kinesisKit.mode absent; expected \"resume\" or \"reprocess\"",
        );
    }

    #[test]
    fn null_stands_for_an_absent_member() {
        let payload = br#"{"Records":[],"window":null,"state":null,"shardId":null,"eventSourceARN":null,
            "isFinalInvokeForWindow":null,"isWindowTerminatedEarly":null,"kinesisKit":null}"#;
        let event = Event::parse(payload).expect("a Kinesis event");
        assert!(event.window.is_none());
        assert_eq!(event.mode, EventMode::Mapping);
        let payload = br#"{"Records":[],"window":{"start":"s","end":"e"},"isFinalInvokeForWindow":null,
            "isWindowTerminatedEarly":true}"#;
        let window = Event::parse(payload).expect("a Kinesis event").window.expect("a window");
        assert!(!window.is_final_invoke && window.is_terminated_early);
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        for payload in [
            r#"{"Records":[{"kinesis":{"sequenceNumber":"1","data":"YQ=="}}]}"#,
            r#"[{"sequenceNumber":"1","data":"YQ=="}]"#,
        ] {
            let payload = format!("\u{feff}{payload}");
            let event = Event::parse(payload.as_bytes()).expect("a Kinesis event");
            assert_eq!(event.records[0].data.decode().expect("base64"), b"a");
        }
    }

    #[test]
    fn records_of_a_pipe_are_those_of_an_event() {
        let arn = "arn:aws:kinesis:us-east-2:123456789012:stream/orders";
        let flat = format!(
            r#"[{{"kinesisSchemaVersion":"1.0","partitionKey":"k","sequenceNumber":"00012","data":"YQ==",
            "approximateArrivalTimestamp":1545084650.987,"encryptionType":"KMS","eventSource":"aws:kinesis",
            "eventVersion":"1.0","eventID":"shardId-000000000006:00012","eventName":"aws:kinesis:record",
            "invokeIdentityArn":"role","awsRegion":"us-east-2","eventSourceARN":"{arn}"}},
            {{"sequenceNumber":"13","data":"Y!==","partitionKey":null}}]"#
        );
        let event = Event::parse(flat.as_bytes()).expect("the records of a pipe");
        assert!(event.window.is_none());
        assert_eq!(event.mode, EventMode::Mapping);
        assert_eq!(event.records.len(), 2);
        assert_eq!(
            event.records[0],
            KinesisRecord {
                approximate_arrival_ms: Some(1_545_084_650_987),
                encryption_type: Some("KMS".into()),
                shard_id: Some("shardId-000000000006".into()),
                event_source_arn: Some(arn.into()),
                invoke_identity_arn: Some("role".into()),
                ..KinesisRecord::new("12".parse().expect("digits"), "k", b"a")
            }
        );
        assert_eq!(event.records[0].sequence_number.to_string(), "00012");
        assert!(event.records[1].data.decode().is_err());

        let damaged =
            r#"[{"sequenceNumber":"1","data":"YQ=="},{"sequenceNumber":"2","data":"YQ==","data":"Yg=="}]"#;
        let event = Event::parse(damaged.as_bytes()).expect("the records of a pipe");
        assert_eq!(event.records[0].data.decode().expect("base64"), b"a");
        assert_eq!(event.records[1].sequence_number.to_string(), "2");
        assert!(event.records[1].data.decode().is_err());
        check_refused(r#"[{"data":"YQ=="}]"#, "record 0: sequenceNumber must be text, found absent");
    }

    #[test]
    fn a_record_that_cannot_be_named_makes_the_event_an_error() {
        let ok = r#"{"kinesis":{"sequenceNumber":"1","data":""}}"#;
        let event = |kinesis| format!(r#"{{"Records":[{ok},{{"kinesis":{kinesis}}}]}}"#);
        check_refused(&event("{}"), "record 1: sequenceNumber must be text, found absent");
        check_refused(
            &event(r#"{"sequenceNumber":2}"#),
            "record 1: sequenceNumber must be text, found a number",
        );
        check_refused(
            &event(r#"{"sequenceNumber":""}"#),
            "record 1: invalid sequenceNumber: sequence number is empty",
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
            "record 1: invalid sequenceNumber: invalid character in the sequence number at byte 0, expected a digit",
        );
        check_refused(
            r#"{"Records":[{"kinesis":{"sequenceNumber":"1","sequenceNumber":"2"}}]}"#,
            "not a Kinesis event: expected an object with one array \"Records\", or an array of records as \
             EventBridge Pipes delivers them (line 1, column 61)",
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
                data: RecordData::Base64(b"SGVs/G8=".into()),
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
