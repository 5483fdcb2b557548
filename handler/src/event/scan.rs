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
    KinesisRecord,
    read::{self, RawKinesis, RawRecord},
    scalar::{Object, Scalar},
};

/// Reads the records of an event into `records`. `None` if the general reader must read the event; `records` then has
/// arbitrary content.
pub(super) fn records<'a>(payload: &'a [u8], records: &mut Vec<KinesisRecord<'a>>) -> Option<()> {
    let mut scanner = Scanner { rest: payload };
    let mut members = Members::default();
    let mut texts = Texts::default();
    scanner.object(|scanner, name| match name {
        b"Records" => {
            members.first(0)?;
            scanner.array(|scanner| {
                let raw = raw_record(scanner, &mut texts)?;
                records.push(read::record(records.len(), Object::Value(raw)).ok()?);
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
    let mut members = Members::default();
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
                record.event_id = scanner.scalar()?;
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
    let mut members = Members::default();
    scanner.object(|scanner, name| {
        let (bit, slot) = match name {
            b"data" => {
                members.first(0)?;
                kinesis.data = scanner.data()?;
                return Some(());
            }
            b"partitionKey" => (1, &mut kinesis.partition_key),
            b"sequenceNumber" => (2, &mut kinesis.sequence_number),
            b"approximateArrivalTimestamp" => (3, &mut kinesis.approximate_arrival_timestamp),
            b"encryptionType" => (4, &mut kinesis.encryption_type),
            b"kinesisSchemaVersion" => return scanner.scalar_like(&mut texts.schema_version).map(drop),
            _ => return None,
        };
        members.first(bit)?;
        *slot = scanner.scalar()?;
        Some(())
    })?;
    Some(kinesis)
}

/// The members of an object that were read, because the general reader refuses one that comes twice.
#[derive(Debug, Default)]
struct Members(u8);

impl Members {
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
            // Without an early end, all are compared at once.
            let is_json = text.iter().fold(true, |is_json, &byte| is_json & (byte >= b' '));
            return str::from_utf8(text).ok().filter(|_| is_json).map(Cow::Borrowed);
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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::event::Event;

    /// Events as they are seen: from Lambda, from a hand, with escapes, and in part.
    const EVENTS: [&str; 5] = [
        r#"{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"1","sequenceNumber":"49590338271490256608559692538361571095921575989136588898","data":"SGVsbG8=","approximateArrivalTimestamp":1545084650.987},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:49590338271490256608559692538361571095921575989136588898","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/lambda-role","awsRegion":"us-east-2","eventSourceARN":"arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"},{"kinesis":{"sequenceNumber":"7","data":"","partitionKey":"ä"}}]}"#,
        "\t{ \"Records\" :\n[ { \"kinesis\" : { \"sequenceNumber\" : \"1\" , \"data\" : null } } ] }\r\n",
        r#"{"Records":[{"eventSource":"aws:kin\u0065sis","kinesis":{"data":"SGVs\/G8=","sequenceNumber":"1","partitionKey":"a\"\\","approximateArrivalTimestamp":1.545084650987E9}}]}"#,
        r#"{"Records":[{"kinesis":{"sequenceNumber":"1","partitionKey":5,"data":true,"encryptionType":null}}]}"#,
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
