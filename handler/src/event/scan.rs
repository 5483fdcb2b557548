//! A fast reader of events in the form in which Lambda writes them.
//!
//! It finds the members of an event by their quotes, without looking at each byte of the data, which is nearly all of an
//! event. It reads only events that have nothing but `Records`, with members that are known, each once; every other payload
//! is left to the general reader in [`read`](super::read), which also finds the error if there is one. An event that both
//! can read is the same for both.
//!
//! The data of a record is not checked to be UTF-8 or free of control characters, because decoding base64 does that.

use std::borrow::Cow;

use memchr::memchr2;

use super::{
    KinesisRecord, RecordData,
    read::{self, RawKinesis, RawRecord},
    scalar::{Object, Scalar},
};

/// Reads the records of an event into `records`. `None` if the general reader must read the event; `records` then has
/// arbitrary content.
pub(super) fn records<'a>(payload: &'a [u8], records: &mut Vec<KinesisRecord<'a>>) -> Option<()> {
    let mut scanner = Scanner { rest: payload, values: Values::default() };
    let mut members = SeenMembers::default();
    let mut texts = Texts::default();
    let mut template = None;
    scanner.object(|scanner, name| match name {
        b"Records" => {
            members.first(0)?;
            scanner.array(|scanner| {
                scanner.skip_whitespace();
                if let Some(record) = template.as_ref().and_then(|template| scanner.record_like(template)) {
                    records.push(record);
                    return Some(());
                }
                let start = scanner.rest;
                scanner.values = Values::default();
                let raw = raw_record(scanner, &mut texts)?;
                let record = read::record(records.len(), Object::Value(raw)).ok()?;
                template = RecordTemplate::of(
                    &record,
                    &start[..start.len() - scanner.rest.len()],
                    start.len(),
                    &scanner.values,
                );
                records.push(record);
                Some(())
            })
        }
        _ => None,
    })?;
    members.has(0)?;
    scanner.end()
}

/// Texts of the record before. Nearly all records of an event have the same, and comparing is faster than reading.
#[derive(Debug, Default)]
struct Texts<'a> {
    event_source: &'a str,
    event_source_arn: &'a str,
    invoke_identity_arn: &'a str,
    event_version: &'a str,
    event_name: &'a str,
    region: &'a str,
    schema_version: &'a str,
}

fn raw_record<'a>(scanner: &mut Scanner<'a>, texts: &mut Texts<'a>) -> Option<RawRecord<'a>> {
    let mut record = RawRecord::default();
    let mut members = SeenMembers::default();
    scanner.object(|scanner, name| {
        let (bit, slot, text) = match name {
            b"kinesis" => {
                members.first(0)?;
                record.kinesis = Object::Value(raw_kinesis(scanner, texts)?);
                return Some(());
            }
            b"eventSource" => (1, &mut record.event_source, &mut texts.event_source),
            b"eventSourceARN" => (2, &mut record.event_source_arn, &mut texts.event_source_arn),
            b"invokeIdentityArn" => (3, &mut record.invoke_identity_arn, &mut texts.invoke_identity_arn),
            b"eventID" => {
                members.first(4)?;
                record.event_id = scanner.value(Member::EventId, Scanner::scalar)?;
                return Some(());
            }
            b"eventVersion" => return scanner.scalar_like(&mut texts.event_version).map(drop),
            b"eventName" => return scanner.scalar_like(&mut texts.event_name).map(drop),
            b"awsRegion" => return scanner.scalar_like(&mut texts.region).map(drop),
            _ => return None,
        };
        members.first(bit)?;
        *slot = scanner.scalar_like(text)?;
        Some(())
    })?;
    Some(record)
}

fn raw_kinesis<'a>(scanner: &mut Scanner<'a>, texts: &mut Texts<'a>) -> Option<RawKinesis<'a>> {
    let mut kinesis = RawKinesis::default();
    let mut members = SeenMembers::default();
    scanner.object(|scanner, name| {
        let (member, slot) = match name {
            b"data" => {
                members.first(0)?;
                kinesis.data = scanner.value(Member::Data, Scanner::data)?;
                return Some(());
            }
            b"encryptionType" => {
                members.first(1)?;
                kinesis.encryption_type = scanner.scalar()?;
                return Some(());
            }
            b"kinesisSchemaVersion" => return scanner.scalar_like(&mut texts.schema_version).map(drop),
            b"partitionKey" => (Member::PartitionKey, &mut kinesis.partition_key),
            b"sequenceNumber" => (Member::SequenceNumber, &mut kinesis.sequence_number),
            b"approximateArrivalTimestamp" => (Member::Arrival, &mut kinesis.approximate_arrival_timestamp),
            _ => return None,
        };
        members.first(2 + member as u8)?;
        *slot = scanner.value(member, Scanner::scalar)?;
        Some(())
    })?;
    Some(kinesis)
}

/// A member whose value differs from record to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    PartitionKey,
    SequenceNumber,
    Data,
    Arrival,
    EventId,
}

/// The members of a record with different values, in the order of the record, and where each value starts and ends: the number
/// of bytes from there to the end of the payload.
#[derive(Debug, Default)]
struct Values {
    list: [Option<(Member, usize, usize)>; 5],
    length: usize,
}

impl Values {
    fn push(&mut self, value: (Member, usize, usize)) {
        // Each comes once at most, or the record is not read.
        if let Some(slot) = self.list.get_mut(self.length) {
            *slot = Some(value);
            self.length += 1;
        }
    }
}

/// The bytes of a record between the values that differ from record to record. The next record nearly always has the same, and
/// one comparison replaces reading them.
#[derive(Debug)]
struct RecordTemplate<'a> {
    /// The bytes before each value, its quote included.
    parts: [(&'a [u8], Option<Member>); 5],
    length: usize,
    /// The bytes after the last value.
    end: &'a [u8],
    /// The record, for what does not differ.
    record: KinesisRecord<'a>,
}

impl<'a> RecordTemplate<'a> {
    /// Returns the template of a record that was read from `bytes`, which start `start` bytes before the end of the payload.
    /// `None` if a value has an unusual form.
    fn of(record: &KinesisRecord<'a>, bytes: &'a [u8], start: usize, values: &Values) -> Option<Self> {
        let is_borrowed = |text: &Option<Cow<'a, str>>| !matches!(text, Some(Cow::Owned(_)));
        let texts = [
            &record.encryption_type,
            &record.shard_id,
            &record.event_source_arn,
            &record.invoke_identity_arn,
        ];
        if !texts.into_iter().all(is_borrowed) {
            return None;
        }
        let mut parts = [(&b""[..], None); 5];
        let mut from = 0;
        for (part, value) in parts.iter_mut().zip(&values.list[..values.length]) {
            let (member, value_start, value_end) = (*value)?;
            let (mut at, mut end) = (start - value_start, start - value_end);
            if member != Member::Arrival {
                // Other values than texts are not usual, and an escape is found when the next value is read.
                if bytes.get(at) != Some(&b'"') {
                    return None;
                }
                (at, end) = (at + 1, end - 1);
            }
            *part = (bytes.get(from..at)?, Some(member));
            from = end;
        }
        let end = bytes.get(from..)?;
        Some(RecordTemplate { parts, length: values.length, end, record: record.clone() })
    }
}

/// The members of an object that were read, because the general reader refuses one that comes twice.
#[derive(Debug, Default)]
struct SeenMembers(u8);

impl SeenMembers {
    /// Notes a member. `None` if it was there before.
    fn first(&mut self, bit: u8) -> Option<()> {
        let member = 1 << bit;
        let is_first = self.0 & member == 0;
        self.0 |= member;
        is_first.then_some(())
    }

    /// Returns `None` if the member was not there.
    fn has(&self, bit: u8) -> Option<()> {
        (self.0 & 1 << bit != 0).then_some(())
    }
}

/// The part of a JSON text that is not read yet. All methods return `None` for what they do not read, which is not always
/// an error in the JSON.
#[derive(Debug)]
struct Scanner<'a> {
    rest: &'a [u8],
    /// The values of the record that is being read.
    values: Values,
}

impl<'a> Scanner<'a> {
    fn skip_whitespace(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Passes a character if it comes next.
    #[inline]
    fn passes(&mut self, character: u8) -> bool {
        self.skip_whitespace();
        match self.rest {
            [first, rest @ ..] if *first == character => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn character(&mut self, character: u8) -> Option<()> {
        self.passes(character).then_some(())
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(word.as_bytes())?;
        Some(())
    }

    fn end(mut self) -> Option<()> {
        self.skip_whitespace();
        self.rest.is_empty().then_some(())
    }

    /// Reads an object. `member` reads the value of a member, given its name as it is written.
    #[inline]
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.character(b'{')?;
        if self.passes(b'}') {
            return Some(());
        }
        loop {
            self.character(b'"')?;
            // A name with an escape is not one of the known ones.
            let name = self.up_to_quote()?;
            self.character(b':')?;
            member(self, name)?;
            if !self.passes(b',') {
                return self.character(b'}');
            }
        }
    }

    fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.character(b'[')?;
        if self.passes(b']') {
            return Some(());
        }
        loop {
            element(self)?;
            if !self.passes(b',') {
                return self.character(b']');
            }
        }
    }

    /// Reads the rest of a text without escapes, and passes the quote at its end.
    #[inline]
    fn up_to_quote(&mut self) -> Option<&'a [u8]> {
        let (text, rest) = self.rest.split_at(memchr2(b'"', b'\\', self.rest)?);
        self.rest = rest.strip_prefix(b"\"")?;
        Some(text)
    }

    /// Reads a value that differs from record to record, and notes its place.
    fn value(
        &mut self,
        member: Member,
        read: impl FnOnce(&mut Self) -> Option<Scalar<'a>>,
    ) -> Option<Scalar<'a>> {
        self.skip_whitespace();
        let start = self.rest.len();
        let value = read(self)?;
        self.values.push((member, start, self.rest.len()));
        Some(value)
    }

    /// Reads a record with the bytes of the template between its values. `None`, with nothing read, if it has others.
    #[inline]
    fn record_like(&mut self, template: &RecordTemplate<'a>) -> Option<KinesisRecord<'a>> {
        let before = self.rest;
        let record = self.try_record_like(template);
        if record.is_none() {
            self.rest = before;
        }
        record
    }

    fn try_record_like(&mut self, template: &RecordTemplate<'a>) -> Option<KinesisRecord<'a>> {
        let mut record = template.record.clone();
        let mut number = "";
        for (before, member) in &template.parts[..template.length] {
            self.rest = self.rest.strip_prefix(*before)?;
            let member = (*member)?;
            if member == Member::Arrival {
                record.approximate_arrival_ms = self.seconds_as_ms()?;
                continue;
            }
            let length = memchr2(b'"', b'\\', self.rest)?;
            let (text, rest) = self.rest.split_at(length);
            if rest.first() != Some(&b'"') {
                return None;
            }
            self.rest = rest;
            match member {
                Member::Data => record.data = RecordData::Base64(Cow::Borrowed(text)),
                Member::PartitionKey => record.partition_key = Cow::Borrowed(checked(text)?),
                Member::SequenceNumber => {
                    number = str::from_utf8(text).ok()?;
                    record.sequence_number = number.parse().ok()?;
                }
                Member::EventId => {
                    let shard_id = record.shard_id.as_deref()?;
                    let after = text.strip_prefix(shard_id.as_bytes())?.strip_prefix(b":")?;
                    // The ID ends with the sequence number, which has been checked.
                    if after != number.as_bytes() {
                        checked(after)?;
                    }
                }
                Member::Arrival => return None,
            }
        }
        self.rest = self.rest.strip_prefix(template.end)?;
        Some(record)
    }

    /// Reads a time in seconds with at most three decimals, as AWS writes it, in milliseconds. `None` for another form.
    fn seconds_as_ms(&mut self) -> Option<Option<u64>> {
        let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value = |bytes: &[u8]| bytes.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        let length = digits(self.rest);
        let (seconds, rest) = self.rest.split_at(length);
        // A leading zero is no JSON. From twelve digits on, the number is in milliseconds.
        if !(1..=10).contains(&length) || seconds[0] == b'0' {
            return None;
        }
        let (mut ms, mut rest) = (value(seconds) * 1_000, rest);
        if let Some(decimals) = rest.strip_prefix(b".") {
            let length = digits(decimals);
            let (decimals, after) = decimals.split_at(length);
            ms += value(decimals) * [0, 100, 10, 1].get(length).filter(|&&unit| unit > 0)?;
            rest = after;
        }
        // What belongs to the number in any other form is not what follows it in the template.
        self.rest = rest;
        Some(Some(ms))
    }

    /// Reads the value of `data`.
    fn data(&mut self) -> Option<Scalar<'a>> {
        self.skip_whitespace();
        let before = self.rest;
        if self.passes(b'"')
            && let Some(text) = self.up_to_quote()
        {
            return Some(Scalar::Base64(text));
        }
        self.rest = before;
        self.scalar()
    }

    /// Reads as [`scalar`](Self::scalar) does, a text that is likely to be `before`. A text is kept there.
    #[inline]
    fn scalar_like(&mut self, before: &mut &'a str) -> Option<Scalar<'a>> {
        self.skip_whitespace();
        let same = self.rest.strip_prefix(b"\"").and_then(|rest| rest.strip_prefix(before.as_bytes()));
        if let Some(rest) = same.and_then(|rest| rest.strip_prefix(b"\"")) {
            self.rest = rest;
            return Some(Scalar::Text(Cow::Borrowed(before)));
        }
        let scalar = self.scalar()?;
        if let Scalar::Text(Cow::Borrowed(text)) = scalar {
            *before = text;
        }
        Some(scalar)
    }

    /// Reads a value that is neither an object nor an array.
    fn scalar(&mut self) -> Option<Scalar<'a>> {
        self.skip_whitespace();
        match self.rest.first()? {
            b'"' => self.text().map(Scalar::Text),
            b'n' => self.word("null").map(|()| Scalar::Absent),
            b't' => self.word("true").map(|()| Scalar::Boolean(true)),
            b'f' => self.word("false").map(|()| Scalar::Boolean(false)),
            _ => self.number().map(Scalar::Number),
        }
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        let with_quote = self.rest;
        self.character(b'"')?;
        if let Some(text) = self.up_to_quote() {
            return checked(text).map(Cow::Borrowed);
        }
        // There is an escape: the text ends at the first quote that none precedes.
        let mut end = 1;
        loop {
            let at = end + memchr2(b'"', b'\\', with_quote.get(end..)?)?;
            if with_quote[at] == b'"' {
                let (text, rest) = with_quote.split_at(at + 1);
                self.rest = rest;
                return serde_json::from_slice(text).ok().map(Cow::Owned);
            }
            end = at + 2;
        }
    }

    fn number(&mut self) -> Option<f64> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = self.rest.iter().position(|byte| !is_part(byte))?;
        let (number, rest) = self.rest.split_at(length);
        self.rest = rest;
        serde_json::from_slice(number).ok()
    }
}

/// Returns text without escapes. `None` if it is no JSON.
fn checked(text: &[u8]) -> Option<&str> {
    // Without an early end, all are compared at once.
    let is_json = text.iter().fold(true, |is_json, &byte| is_json & (byte >= b' '));
    str::from_utf8(text).ok().filter(|_| is_json)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::event::Event;

    /// Events as they are seen: from Lambda, from a hand, with escapes, and in part.
    const EVENTS: [&str; 6] = [
        r#"{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"1","sequenceNumber":"49590338271490256608559692538361571095921575989136588898","data":"SGVsbG8=","approximateArrivalTimestamp":1545084650.987},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:49590338271490256608559692538361571095921575989136588898","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/lambda-role","awsRegion":"us-east-2","eventSourceARN":"arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"},{"kinesis":{"sequenceNumber":"7","data":"","partitionKey":"ä"}}]}"#,
        "\t{ \"Records\" :\n[ { \"kinesis\" : { \"sequenceNumber\" : \"1\" , \"data\" : null } } ] }\r\n",
        r#"{"Records":[{"eventSource":"aws:kin\u0065sis","kinesis":{"data":"SGVs\/G8=","sequenceNumber":"1","partitionKey":"a\"\\","approximateArrivalTimestamp":1.545084650987E9}}]}"#,
        r#"{"Records":[{"kinesis":{"sequenceNumber":"1","partitionKey":5,"data":true,"encryptionType":null}}]}"#,
        // Records that differ from the one before in their values, in the form of these, or in their members.
        r#"{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"a","sequenceNumber":"10","data":"aGk=","approximateArrivalTimestamp":1545084650.987},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:10","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s"}, {"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"b","sequenceNumber":"11","data":"","approximateArrivalTimestamp":1545084651},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:11","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s"}, {"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"c","sequenceNumber":"12","data":"aGk","approximateArrivalTimestamp":1545084651.5},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:x","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s"}, {"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"ä","sequenceNumber":"13","data":"aGk=","approximateArrivalTimestamp":0.5},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000007:13","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s"}, {"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"e","sequenceNumber":"14","data":"a\u0047k=","approximateArrivalTimestamp":1545084651.25},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:14","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s"}, {"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":null,"sequenceNumber":"15","data":"aGk=","approximateArrivalTimestamp":1545084651.1234},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:15","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s"}, {"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"g","sequenceNumber":"16","data":"aGk=","approximateArrivalTimestamp":1.5e9},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:16","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s"}, {"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"h","sequenceNumber":"17","data":"aGk=","approximateArrivalTimestamp":"1545084651"},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:17","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s"}, {"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"i","sequenceNumber":"18","data":"aGk="},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"none","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s"}, {"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"j","sequenceNumber":"19","data":"aGk=","approximateArrivalTimestamp":1545084651.1},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:19","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s","awsRegion":"us-east-1"}, {"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"k","sequenceNumber":"20","data":"aGk=","approximateArrivalTimestamp":1545084651.1},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:20","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s","awsRegion":"us-east-1"}]}"#,
        r#"{"Records":[]}"#,
    ];

    fn scanned(payload: &[u8]) -> Option<Vec<KinesisRecord<'_>>> {
        let mut records = Vec::new();
        super::records(payload, &mut records).map(|()| records)
    }

    #[track_caller]
    fn check_agrees(payload: &[u8]) {
        let Some(scanned) = scanned(payload) else { return };
        match read::read_object(payload) {
            Ok(Event { records, window, mode }) => {
                assert_eq!((records, window.is_none(), mode.name()), (scanned, true, None));
            }
            // Data is checked when it is decoded.
            Err(error) => {
                let is_no_text = |record: &KinesisRecord<'_>| record.data.decode().is_err();
                assert!(scanned.iter().any(is_no_text), "{error}: {payload:?}");
            }
        }
    }

    #[test]
    fn usual_events_are_scanned() {
        for event in EVENTS {
            assert!(scanned(event.as_bytes()).is_some(), "{event}");
            check_agrees(event.as_bytes());
        }
    }

    #[test]
    fn other_events_are_left_to_the_general_reader() {
        for event in [
            "",
            "{}",
            "5",
            "[]",
            r#"{"Records":[]"#,
            r#"{"Records":[]} {}"#,
            r#"{"Records":[],"Records":[]}"#,
            r#"{"Records":[],"window":null}"#,
            r#"{"Records":[],}"#,
            r#"{"Records":[5]}"#,
            r#"{"Records":[{"kinesis":{"sequenceNumber":"1","sequenceNumber":"1"}}]}"#,
            r#"{"Records":[{"kinesis":{"sequenceNumber":"1"},"kinesis":{}}]}"#,
            r#"{"Records":[{"kinesis":{"sequenceNumber":"1","data":{}}}]}"#,
            r#"{"Records":[{"kinesis":{"sequenceNumber":"1","data":"\ud800"}}]}"#,
            r#"{"Records":[{"kinesis":{"sequenceNumber":"x"}}]}"#,
            r#"{"Records":[{"kinesis":{"sequenceNumber":"1","approximateArrivalTimestamp":01}}]}"#,
            r#"{"Records":[{"kinesis":{"sequenceNumber":"1"},"eventSource":"aws:sqs"}]}"#,
            "{\"Records\":[{\"kinesis\":{\"sequenceNumber\":\"1\",\"partitionKey\":\"\u{1}\"}}]}",
        ] {
            assert!(scanned(event.as_bytes()).is_none(), "{event}");
        }
    }

    #[test]
    fn data_that_is_no_json_text_fails_its_record_alone() {
        let event = b"{\"Records\":[{\"kinesis\":{\"sequenceNumber\":\"1\",\"data\":\"\xff\n\"}},{\"kinesis\":{\"sequenceNumber\":\"2\",\"data\":\"aGk=\"}}]}";
        let event = Event::parse(event).expect("an event");
        assert!(event.records[0].data.decode().is_err());
        assert_eq!(event.records[1].data.decode().as_deref(), Ok(&b"hi"[..]));
        assert!(Event::parse(&event.to_json()).is_ok(), "it can be written");
    }

    proptest! {
        /// Pieces of JSON are put into events at random, and parts are cut out.
        #[test]
        fn what_is_scanned_is_what_the_general_reader_reads(
            event in select(&EVENTS[..]),
            edits in vec((any::<prop::sample::Index>(), 0..3_usize, select(&[
                "", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", "e1", "null", "true", " ", "\n", "\u{1}", "\u{e4}", "\\u0041",
                "\"data\":\"\",", "\"sequenceNumber\":\"2\",", "\"x\":1,", "{},", "\"window\":{},",
            ][..])), 1..4),
        ) {
            let mut payload = event.as_bytes().to_vec();
            for (at, cut, piece) in edits {
                let at = at.index(payload.len() + 1);
                let end = (at + cut).min(payload.len());
                payload.splice(at..end, piece.bytes());
            }
            check_agrees(&payload);
        }
    }
}
