//! The meaning of a response for a tool that may delete what was delivered.

use std::{collections::HashMap, fmt};

use kinesis_handler::SequenceNumber;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::cell;

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

/// Returns how many records of a batch, from the first one on, a response confirms as processed: all of them, or those
/// before the first one that it reports as failed.
///
/// Lambda takes almost any response for a success. Here something may be deleted next, so only a statement about the
/// batch counts: `batchItemFailures` as a list or null (`state` may accompany it), `{}`, null, or an empty body.
pub(super) fn processed(
    response: &[u8],
    sequence_numbers: impl ExactSizeIterator<Item = SequenceNumber>,
) -> Result<usize, ResponseError> {
    let length = sequence_numbers.len();
    if matches!(response.trim_ascii(), b"" | b"null") {
        return Ok(length);
    }
    let failures =
        failures(response).ok_or_else(|| ResponseError::Unexpected { found: excerpt(response) })?;
    if failures.is_empty() {
        return Ok(length);
    }
    let mut positions = HashMap::new();
    for (position, number) in sequence_numbers.enumerate() {
        // User records of an aggregate that Lambda has deaggregated share their number: the first one counts.
        positions.entry(number).or_insert(position);
    }
    let mut processed = length;
    for item in failures {
        let position = identifier(item).and_then(|identifier| {
            let (number, position) = positions.get_key_value(&identifier.parse().ok()?)?;
            // Numbers are the same with and without leading zeros, but an identifier is a text.
            (number.to_string() == identifier).then_some(position)
        });
        let position =
            position.ok_or_else(|| ResponseError::UnknownItem { found: excerpt(item.get().as_bytes()) })?;
        processed = processed.min(*position);
    }
    Ok(processed)
}

/// Returns the items of the response's list of failures; `None` if the response is not one of a batch.
fn failures(response: &[u8]) -> Option<Vec<&RawValue>> {
    let Members(members) = serde_json::from_slice(response).ok()?;
    let mut failures: Option<Vec<&RawValue>> = None;
    for (name, value) in &members {
        match name.as_str() {
            // A second list would contradict the first one.
            "batchItemFailures" if failures.is_none() => {
                let list: Option<Vec<&RawValue>> = serde_json::from_str(value.get()).ok()?;
                failures = Some(list.unwrap_or_default());
            }
            "state" => {}
            _ => return None,
        }
    }
    if members.is_empty() { Some(Vec::new()) } else { failures }
}

/// Returns the identifier in an item of the list.
fn identifier(item: &RawValue) -> Option<String> {
    let Members(members) = serde_json::from_str(item.get()).ok()?;
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
            Ok(Members(members)) => {
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
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
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
        processed(response, numbers.into_iter()).map_err(|error| error.to_string())
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
