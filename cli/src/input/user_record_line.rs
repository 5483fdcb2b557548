use std::borrow::Cow;

use base64::prelude::*;
use kinesis_handler::event::Base64Fault;
use kpl_deaggregation::{AggregateError, UserRecordInput};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    args::{KeyError, KeyField},
    error::json_fault,
    input::{kinesis_record::InvalidRecord, text},
};

/// A user record as a line of the input has it.
#[derive(Debug)]
pub(crate) struct UserRecordLine<'a> {
    partition_key: Cow<'a, str>,
    explicit_hash_key: Option<Cow<'a, str>>,
    data: Option<Cow<'a, str>>,
    text: Option<Cow<'a, str>>,
}

/// The members of a line.
///
/// An unknown member is an error, since it may be a misspelt one; those that `inspect` adds are known.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LineMembers<'a> {
    #[serde(borrow)]
    partition_key: Option<&'a RawValue>,
    #[serde(borrow)]
    explicit_hash_key: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    partition_key_bytes: Option<IgnoredAny>,
    explicit_hash_key_bytes: Option<IgnoredAny>,

    // Those that `--skip-failed` adds.
    #[serde(rename = "streamArn")]
    _stream_arn: Option<IgnoredAny>,
    #[serde(rename = "error")]
    _error: Option<IgnoredAny>,

    #[serde(rename = "sequenceNumber")]
    _sequence_number: Option<IgnoredAny>,
    #[serde(rename = "subSequenceNumber")]
    _sub_sequence_number: Option<IgnoredAny>,
    #[serde(rename = "aggregated")]
    _aggregated: Option<IgnoredAny>,
    #[serde(rename = "shardId")]
    _shard_id: Option<IgnoredAny>,
    #[serde(rename = "approximateArrivalTimestamp")]
    _approximate_arrival_timestamp: Option<IgnoredAny>,
}

/// Advice about lines that lack the members of a user record.
pub(crate) const PAYLOAD_ADVICE: &str = "if each line is the JSON payload of a user record, name the field that has its partition key: --key FIELD";

/// An error in a line.
#[derive(Debug, Error)]
pub(crate) enum LineError {
    #[error("expected a JSON object")]
    NotAnObject,
    #[error("{fault} (column {column})")]
    Json { fault: String, column: usize },
    #[error(transparent)]
    Member(#[from] InvalidRecord),
    #[error("its key is shortened: `kinesis-kit inspect --full-keys` writes it whole")]
    ShortenedKey,
    #[error("expected either \"data\" or \"text\", found {found}")]
    Payload { found: &'static str },
    #[error("data is not base64")]
    Base64(#[source] Base64Fault),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Refused(#[from] AggregateError),
}

impl LineError {
    /// Returns whether the line may be the payload of a user record, without the members that carry one.
    pub(crate) fn may_be_payload(&self) -> bool {
        match self {
            LineError::Json { fault, .. } => fault.starts_with("unknown field"),
            LineError::Member(InvalidRecord::Missing { .. }) => true,
            _ => false,
        }
    }
}

impl<'a> UserRecordLine<'a> {
    /// Reads a line: a user record, or its payload, if the field of the partition key is given.
    pub(crate) fn read(line: &'a [u8], key: Option<&KeyField>) -> Result<Self, LineError> {
        match key {
            Some(key) => Self::of_payload(line, key),
            None => Self::parse(line),
        }
    }

    /// Takes a line of JSON as the payload, unchanged, with the partition key in one of its fields.
    fn of_payload(line: &'a [u8], key: &KeyField) -> Result<Self, LineError> {
        let json = |fault: String, column| LineError::Json { fault, column };
        let line = line.trim_ascii();
        let text =
            str::from_utf8(line).map_err(|error| json("not UTF-8".to_owned(), error.valid_up_to() + 1))?;
        let payload: serde_json::Value =
            serde_json::from_str(text).map_err(|error| json(json_fault(&error), error.column()))?;
        Ok(UserRecordLine {
            partition_key: Cow::Owned(key.key(&payload)?.into_owned()),
            explicit_hash_key: None,
            data: None,
            text: Some(Cow::Borrowed(text)),
        })
    }

    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, LineError> {
        // The derived reader would take an array for an object with its members in order.
        if !line.trim_ascii_start().starts_with(b"{") {
            return Err(LineError::NotAnObject);
        }
        let members: LineMembers<'a> = serde_json::from_slice(line)
            .map_err(|error| LineError::Json { fault: json_fault(&error), column: error.column() })?;
        if members.partition_key_bytes.or(members.explicit_hash_key_bytes).is_some() {
            return Err(LineError::ShortenedKey);
        }
        let member = "partitionKey";
        Ok(UserRecordLine {
            partition_key: text(members.partition_key, member, "text")?
                .ok_or(InvalidRecord::Missing { member })?,
            explicit_hash_key: text(members.explicit_hash_key, "explicitHashKey", "text")?,
            data: text(members.data, "data", "base64 text")?,
            text: text(members.text, "text", "text")?,
        })
    }

    /// Whether the payload is text, unlike in lines that `inspect` prints.
    pub(crate) fn has_text(&self) -> bool {
        self.text.is_some()
    }

    /// The payload, decoded.
    pub(crate) fn data(&self) -> Result<Cow<'_, [u8]>, LineError> {
        match (&self.data, &self.text) {
            (Some(data), None) => match BASE64_STANDARD.decode(data.as_bytes()) {
                Ok(data) => Ok(Cow::Owned(data)),
                Err(error) => Err(LineError::Base64(error.into())),
            },
            (None, Some(text)) => Ok(Cow::Borrowed(text.as_bytes())),
            (None, None) => Err(LineError::Payload { found: "neither" }),
            (Some(_), Some(_)) => Err(LineError::Payload { found: "both" }),
        }
    }

    /// The user record, given its payload.
    pub(crate) fn user_record<'b>(&'b self, data: &'b [u8]) -> UserRecordInput<'b> {
        UserRecordInput {
            explicit_hash_key: self.explicit_hash_key.as_deref(),
            ..UserRecordInput::new(&self.partition_key, data)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: UserRecordInput<'_>) {
        let line = UserRecordLine::parse(line.as_bytes()).expect("a user record");
        let data = line.data().expect("a payload");
        assert_eq!(line.user_record(&data), expected);
    }

    #[test]
    fn payloads_are_base64_or_text() {
        check(r#"{"partitionKey":"k","data":"AP8="}"#, UserRecordInput::new("k", &[0, 255]));
        check(r#"{"partitionKey":"k","text":""}"#, UserRecordInput::new("k", ""));
        check(
            "{\"text\":\"\\u00e9\\n\",\"partitionKey\":\"\\ud83d\\ude42\",\"explicitHashKey\":\"7\"}\r",
            UserRecordInput { explicit_hash_key: Some("7"), ..UserRecordInput::new("🙂", "é\n") },
        );
    }

    #[test]
    fn what_inspect_prints_is_taken() {
        check(
            r#"{"sequenceNumber":"1","subSequenceNumber":0,"aggregated":true,"partitionKey":"k","explicitHashKey":null,"data":"","shardId":null,"approximateArrivalTimestamp":1.5}"#,
            UserRecordInput::new("k", ""),
        );
    }

    #[test]
    fn what_skip_failed_writes_is_taken() {
        check(
            r#"{"streamArn":"arn","shardId":"s","sequenceNumber":"1","subSequenceNumber":0,"aggregated":true,"partitionKey":"k","explicitHashKey":"7","data":"","approximateArrivalTimestamp":1.5,"error":"no"}"#,
            UserRecordInput { explicit_hash_key: Some("7"), ..UserRecordInput::new("k", "") },
        );
    }

    #[track_caller]
    fn check_refused(line: &str, expected: &str) {
        let result =
            UserRecordLine::parse(line.as_bytes()).and_then(|line| line.data().map(|data| data.into_owned()));
        assert_eq!(result.map_err(|error| crate::error::chain(&error)), Err(expected.to_owned()));
    }

    #[test]
    fn a_line_may_be_a_payload_with_its_key_in_a_field() {
        let read = |line: &str, field: &str| {
            let field: KeyField = field.parse().expect("a field");
            let line = UserRecordLine::read(line.as_bytes(), Some(&field));
            let line = line.map_err(|error| crate::error::chain(&error))?;
            let data = line.data().expect("a payload").into_owned();
            Ok::<_, String>((line.partition_key.into_owned(), String::from_utf8(data).expect("text")))
        };
        let order = r#"{"id":"A-1","customer":{"id":7},"cents":5, "price":1.5}"#;
        let of = |key: &str| Ok((key.to_owned(), order.to_owned()));
        assert_eq!(read(order, "id"), of("A-1"));
        assert_eq!(read(&format!("{order}\r"), "/customer/id"), of("7"));
        let refused =
            |line: &str, field: &str, expected: &str| assert_eq!(read(line, field), Err(expected.to_owned()));
        refused(order, "name", r#"no field "name""#);
        refused(order, "customer", r#"field "customer": expected text or an integer, found an object"#);
        refused(order, "price", r#"field "price": expected text or an integer, found a fraction"#);
        refused("7", "id", r#"no field "id""#);
        refused("hello", "id", "expected value (column 1)");
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong_and_where() {
        check_refused("hello", "expected a JSON object");
        check_refused(r#"["k",null,"",null]"#, "expected a JSON object");
        check_refused(r#"{"partitionKey":"k","text":"x"#, "EOF while parsing a string (column 29)");
        check_refused(r#"{"text":"x"}"#, "partitionKey is missing");
        check_refused(r#"{"partitionKey":null,"text":"x"}"#, "partitionKey is missing");
        check_refused(r#"{"partitionKey":7,"text":"x"}"#, "partitionKey is a number instead of text");
        check_refused(
            r#"{"partitionKey":"k","explicitHashKey":7,"text":"x"}"#,
            "explicitHashKey is a number instead of text",
        );
        check_refused(r#"{"partitionKey":"k","data":["x"]}"#, "data is an array instead of base64 text");
        check_refused(r#"{"partitionKey":"k","text":{"x":1}}"#, "text is an object instead of text");
        check_refused(
            r#"{"partitionKey":"k…","data":"","partitionKeyBytes":1025}"#,
            "its key is shortened: `kinesis-kit inspect --full-keys` writes it whole",
        );
        check_refused(
            r#"{"sequenceNumber":"1","partitionKey":"k","invalid":"data is missing"}"#,
            "unknown field `invalid`, expected one of `partitionKey`, `explicitHashKey`, `data`, `text`, \
             `partitionKeyBytes`, `explicitHashKeyBytes`, `streamArn`, `error`, `sequenceNumber`, `subSequenceNumber`, `aggregated`, `shardId`, `approximateArrivalTimestamp` (column 50)",
        );
        check_refused(r#"{"partitionKey":"k"}"#, r#"expected either "data" or "text", found neither"#);
        check_refused(
            r#"{"partitionKey":"k","text":"","data":""}"#,
            r#"expected either "data" or "text", found both"#,
        );
        check_refused(
            r#"{"partitionKey":"k","data":"AP8"}"#,
            "data is not base64: illegal length or padding",
        );
        check_refused(r#"{"partitionKey":"k","data":"A*8="}"#, "data is not base64: illegal byte at 1");
    }
}
