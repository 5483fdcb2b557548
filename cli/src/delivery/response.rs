//! The meaning of a response for a tool that may delete what was delivered.

use std::{collections::HashMap, fmt};

use kinesis_handler::SequenceNumber;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::output::cell;

/// Widest excerpt of a response in an error, in columns.
const EXCERPT_WIDTH: usize = 200;

/// Widest excerpt of one string or of text that is not JSON.
const TEXT_WIDTH: usize = 80;

/// A response that does not confirm anything about the batch.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum ResponseError {
    #[error(
        "unexpected response: expected {{\"batchItemFailures\": [...]}}, {{}}, null or an empty body, found {found}"
    )]
    Unexpected { found: String },
    #[error("unexpected response: batchItemFailures names no record of the batch in {found}")]
    UnknownItem { found: String },
}

/// The statement of a response about a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Number of records, from the first one on, that are processed: all of them, or those before the first one that the
    /// response reports as failed.
    pub(super) processed: usize,
    /// User records that the function put into its quarantine; `None` if it does not say.
    pub(super) quarantined: Option<Quarantined>,
    /// The reason why the first record that is not processed failed, if the function says so.
    pub(super) failure: Option<StatedFailure>,
}

/// The part of a response that only the kit's handler writes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Details {
    #[serde(flatten)]
    quarantined: Quarantined,
    failed: Option<StatedFailure>,
}

/// A user record that failed, and its own error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatedFailure {
    sequence_number: SequenceNumber,
    /// Number of the user record in its Kinesis record, counted from zero.
    pub(super) sub_sequence_number: Option<u64>,
    pub(super) error: String,
}

/// Numbers of user records that an event has put into the quarantine, by Kinesis record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Quarantined {
    quarantined: Vec<QuarantinedOf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct QuarantinedOf {
    sequence_number: SequenceNumber,
    records: u64,
}

impl Quarantined {
    /// Returns the number of all of them.
    pub(crate) fn total(&self) -> u64 {
        self.quarantined.iter().map(|of| of.records).fold(0, u64::saturating_add)
    }

    /// Returns the number of those in one Kinesis record.
    pub(crate) fn of(&self, sequence_number: SequenceNumber) -> u64 {
        let of_record = self.quarantined.iter().filter(|of| of.sequence_number == sequence_number);
        of_record.map(|of| of.records).fold(0, u64::saturating_add)
    }
}

/// Reads what a response says about a batch.
///
/// Lambda takes almost any response for a success. Here something may be deleted next, so only a statement about the
/// batch counts: `batchItemFailures` as a list or null (`state` and the `kinesisKit` of the kit's handler may accompany
/// it), `{}`, null, or an empty body.
pub(super) fn statement(
    response: &[u8],
    sequence_numbers: impl ExactSizeIterator<Item = SequenceNumber>,
) -> Result<Statement, ResponseError> {
    let length = sequence_numbers.len();
    if matches!(response.trim_ascii(), b"" | b"null") {
        return Ok(Statement { processed: length, quarantined: None, failure: None });
    }
    let (failures, details) =
        members(response).ok_or_else(|| ResponseError::Unexpected { found: excerpt(response) })?;
    let mut processed = length;
    let mut first_failed = None;
    let mut positions = HashMap::new();
    if !failures.is_empty() {
        for (position, number) in sequence_numbers.enumerate() {
            // User records of an aggregate that Lambda has deaggregated share their number: the first one counts.
            positions.entry(number).or_insert(position);
        }
    }
    for item in failures {
        let position = identifier(item).and_then(|identifier| {
            let (number, position) = positions.get_key_value(&identifier.parse().ok()?)?;
            // Numbers are the same with and without leading zeros, but an identifier is a text.
            (number.to_string() == identifier).then_some((*number, *position))
        });
        let (number, position) =
            position.ok_or_else(|| ResponseError::UnknownItem { found: excerpt(item.get().as_bytes()) })?;
        if position < processed {
            (processed, first_failed) = (position, Some(number));
        }
    }
    let (quarantined, failure) = match details {
        Some(Details { quarantined, failed }) => (Some(quarantined), failed),
        None => (None, None),
    };
    let failure = failure.filter(|failure| Some(failure.sequence_number) == first_failed);
    Ok(Statement { processed, quarantined, failure })
}

/// Returns what a response says about the quarantine, if anything.
pub(crate) fn quarantined(response: &[u8]) -> Option<Quarantined> {
    Some(members(response)?.1?.quarantined)
}

/// Returns the items of the response's list of failures, and the part of the kit's handler; `None` if the response is not one
/// about a batch.
fn members(response: &[u8]) -> Option<(Vec<&RawValue>, Option<Details>)> {
    let ResponseMembers(members) = serde_json::from_slice(response).ok()?;
    let (mut failures, mut details): (Option<Vec<&RawValue>>, _) = (None, None);
    for (name, value) in &members {
        match name.as_str() {
            // A second list would contradict the first one.
            "batchItemFailures" if failures.is_none() => {
                let list: Option<Vec<&RawValue>> = serde_json::from_str(value.get()).ok()?;
                failures = Some(list.unwrap_or_default());
            }
            "kinesisKit" if details.is_none() => {
                details = Some(serde_json::from_str(value.get()).ok()?);
            }
            "state" => {}
            _ => return None,
        }
    }
    let failures = if members.is_empty() { Vec::new() } else { failures? };
    Some((failures, details))
}

/// Returns the identifier in an item of the list.
fn identifier(item: &RawValue) -> Option<String> {
    let ResponseMembers(members) = serde_json::from_str(item.get()).ok()?;
    let mut identifiers = members.iter().filter(|(name, _)| name == "itemIdentifier");
    let (Some((_, identifier)), None) = (identifiers.next(), identifiers.next()) else { return None };
    serde_json::from_str(identifier.get()).ok()
}

/// Returns the start of a response, on one line and without control characters.
///
/// Nested values and long strings are left out, because a service that echoes its request would put the payloads of the
/// event there.
fn excerpt(response: &[u8]) -> String {
    let shown = match serde_json::from_slice::<&RawValue>(response) {
        Ok(value) => match serde_json::from_str(value.get()) {
            Ok(ResponseMembers(members)) => {
                let members = members.iter().map(|(name, value)| {
                    format!("{}: {}", cell::text(&format!("{name:?}"), TEXT_WIDTH), shortened(value))
                });
                // The rest would be cut.
                format!("{{{}}}", members.take(EXCERPT_WIDTH).collect::<Vec<_>>().join(", "))
            }
            Err(_) => shortened(value),
        },
        Err(_) => cell::data(response, TEXT_WIDTH),
    };
    cell::text(&shown, EXCERPT_WIDTH)
}

/// Returns a JSON value without what it holds, and only the length of a long string.
fn shortened(value: &RawValue) -> String {
    match value.get() {
        json @ ("{}" | "[]") => json.to_owned(),
        json if json.starts_with('{') => "{...}".to_owned(),
        json if json.starts_with('[') => "[...]".to_owned(),
        json if json.len() > TEXT_WIDTH => format!("({} bytes)", json.len()),
        json => json.to_owned(),
    }
}

/// The members of a JSON object in their order, with duplicates, of which `serde_json::Value` keeps only the last.
struct ResponseMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for ResponseMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = ResponseMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(ResponseMembers(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(response: &[u8]) -> Result<usize, String> {
        let numbers: Vec<SequenceNumber> =
            ["10", "11", "11", "12"].iter().map(|number| number.parse().expect("digits")).collect();
        let statement = statement(response, numbers.into_iter()).map_err(|error| error.to_string());
        statement.map(|statement| statement.processed)
    }

    #[track_caller]
    fn check(response: &str, expected: usize) {
        assert_eq!(read(response.as_bytes()), Ok(expected), "{response}");
    }

    #[track_caller]
    fn check_refused(response: impl AsRef<[u8]>, found: &str) {
        let expected = format!(
            "unexpected response: expected {{\"batchItemFailures\": [...]}}, {{}}, null or an empty body, found {found}"
        );
        assert_eq!(read(response.as_ref()), Err(expected));
    }

    #[test]
    fn a_statement_about_the_batch_confirms_it() {
        for response in [
            r#"{"batchItemFailures":[]}"#,
            r#" {"batchItemFailures": [ ] } "#,
            r#"{"batchItemFailures":null}"#,
            r#"{"batchItemFailures":[],"state":{"total":1}}"#,
            r#"{"state":null,"batchItemFailures":[]}"#,
            "{}",
            "null\n",
            "",
            " \r\n",
        ] {
            check(response, 4);
        }
        check(r#"{"batchItemFailures":[{"itemIdentifier":"12"}]}"#, 3);
        check(r#"{"batchItemFailures":[{"itemIdentifier":"12"},{"itemIdentifier":"11"}]}"#, 1);
        check(r#"{"batchItemFailures":[{"itemIdentifier":"10","reason":"busy"}]}"#, 0);
    }

    #[test]
    fn the_kits_handler_says_what_it_quarantined() {
        let read = |response: &str| {
            let numbers = ["10", "11"].map(|number| number.parse().expect("digits"));
            statement(response.as_bytes(), numbers.into_iter()).expect("a statement").quarantined
        };
        let response = r#"{"batchItemFailures":[{"itemIdentifier":"11"}],"kinesisKit":{"quarantinedRecords":3,
            "quarantined":[{"sequenceNumber":"10","records":2},{"sequenceNumber":"11","records":1}]}}"#;
        let quarantined = read(response).expect("the member");
        let of = |number: &str| quarantined.of(number.parse().expect("digits"));
        assert_eq!((quarantined.total(), of("10"), of("11"), of("12")), (3, 2, 1, 0));
        assert_eq!(read(r#"{"batchItemFailures":[]}"#), None);
        let nothing = r#"{"batchItemFailures":[],"kinesisKit":{"quarantinedRecords":0,"quarantined":[]}}"#;
        assert_eq!(read(nothing), Some(Quarantined::default()));
    }

    #[test]
    fn the_kits_handler_says_why_a_record_failed() {
        let read = |response: &str| {
            let numbers = ["10", "11"].map(|number| number.parse().expect("digits"));
            let statement = statement(response.as_bytes(), numbers.into_iter()).expect("a statement");
            statement.failure.map(|failure| (failure.sub_sequence_number, failure.error))
        };
        let response = |failed: &str| {
            format!(
                r#"{{"batchItemFailures":[{{"itemIdentifier":"11"}}],"kinesisKit":{{"quarantined":[],"failed":{failed}}}}}"#
            )
        };
        let with_sub = response(r#"{"sequenceNumber":"11","subSequenceNumber":3,"error":"no amount"}"#);
        assert_eq!(read(&with_sub), Some((Some(3), "no amount".to_owned())));
        let without = response(r#"{"sequenceNumber":"11","error":"data is missing"}"#);
        assert_eq!(read(&without), Some((None, "data is missing".to_owned())));
        // It is about another record than the one that the response reports.
        assert_eq!(read(&response(r#"{"sequenceNumber":"10","error":"no"}"#)), None);
        assert_eq!(read(r#"{"batchItemFailures":[{"itemIdentifier":"11"}]}"#), None);
    }

    #[test]
    fn anything_else_confirms_nothing() {
        check_refused(
            r#"{"message":"I am some other service"}"#,
            r#"{"message": "I am some other service"}"#,
        );
        check_refused(r#"{"statusCode":500}"#, r#"{"statusCode": 500}"#);
        check_refused(r#"{"ok":true}"#, r#"{"ok": true}"#);
        check_refused("true", "true");
        check_refused("0", "0");
        check_refused(r#""text""#, r#""text""#);
        check_refused(r#""""#, r#""""#);
        check_refused("[]", "[]");
        check_refused("[[],null]", "[...]");
        check_refused("[null]", "[...]");
        check_refused("NULL", "NULL");
        check_refused("{} {}", "{} {}");
        check_refused(r#"{"batchItemFailures":["#, r#"{"batchItemFailures":["#);
        check_refused(r#"{"batchItemFailures":[]}x"#, r#"{"batchItemFailures":[]}x"#);
        check_refused(r#"{"batchItemFailures":{}}"#, r#"{"batchItemFailures": {}}"#);
        check_refused(r#"{"batchItemFailures":"12"}"#, r#"{"batchItemFailures": "12"}"#);
        check_refused(r#"{"batchItemFailures":false}"#, r#"{"batchItemFailures": false}"#);
        check_refused(r#"{"BatchItemFailures":[]}"#, r#"{"BatchItemFailures": []}"#);
        check_refused(r#"{"state":{"n":1}}"#, r#"{"state": {...}}"#);
        check_refused(r#"{"kinesisKit":{"quarantined":[]}}"#, r#"{"kinesisKit": {...}}"#);
        check_refused(
            r#"{"batchItemFailures":[],"kinesisKit":{}}"#,
            r#"{"batchItemFailures": [], "kinesisKit": {}}"#,
        );
        check_refused(
            r#"{"batchItemFailures":[],"errorMessage":"no"}"#,
            r#"{"batchItemFailures": [], "errorMessage": "no"}"#,
        );
        check_refused(
            r#"{"batchItemFailures":[{"itemIdentifier":"11"}],"batchItemFailures":[]}"#,
            r#"{"batchItemFailures": [...], "batchItemFailures": []}"#,
        );
        check_refused("<!DOCTYPE html>\n<title>x</title>", r"<!DOCTYPE html>\n<title>x</title>");
        check_refused(b"\x00\xff", "0x00ff");
    }

    #[test]
    fn an_item_that_names_no_record_of_the_batch_confirms_nothing() {
        for (item, found) in [
            (r#"{"itemIdentifier":"13"}"#, r#"{"itemIdentifier": "13"}"#),
            (r#"{"itemIdentifier":"012"}"#, r#"{"itemIdentifier": "012"}"#),
            (r#"{"itemIdentifier":""}"#, r#"{"itemIdentifier": ""}"#),
            (r#"{"itemIdentifier":null}"#, r#"{"itemIdentifier": null}"#),
            (r#"{"itemIdentifier":12}"#, r#"{"itemIdentifier": 12}"#),
            (r#"{"itemIdentifer":"12"}"#, r#"{"itemIdentifer": "12"}"#),
            (
                r#"{"itemIdentifier":"12","itemIdentifier":"10"}"#,
                r#"{"itemIdentifier": "12", "itemIdentifier": "10"}"#,
            ),
            ("{}", "{}"),
            (r#"["12"]"#, "[...]"),
            (r#""12""#, r#""12""#),
            ("null", "null"),
        ] {
            let response = format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"12"}},{item}]}}"#);
            let expected =
                format!("unexpected response: batchItemFailures names no record of the batch in {found}");
            assert_eq!(read(response.as_bytes()), Err(expected), "{response}");
        }
    }

    #[test]
    fn an_error_holds_neither_payloads_nor_control_characters_nor_much_text() {
        let event = r#"{"Records":[{"kinesis":{"data":"c2VjcmV0","partitionKey":"secret"}}]}"#;
        check_refused(event, r#"{"Records": [...]}"#);
        // An echo as text.
        let echo = serde_json::json!({ "data": format!("{event}{event}"), "ok": 1 }).to_string();
        check_refused(echo, r#"{"data": (164 bytes), "ok": 1}"#);
        for response in [
            "\u{1b}[31m\u{202e}\r\n".repeat(1_000),
            format!("\"{}\"", "x".repeat(1_000_000)),
            format!("{{{}\"z\":1}}", "\"a\\n\":2,".repeat(10_000)),
            "[".repeat(100_000),
        ] {
            let error = read(response.as_bytes()).expect_err("refused");
            assert!(error.chars().count() < 400, "{error}");
            assert!(!error.contains(|char: char| char.is_control() || char == '\u{202e}'), "{error}");
        }
    }
}
