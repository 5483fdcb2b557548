//! The mapping's interpretation of a response (rules 13 and 14).

use std::collections::HashMap;

use kinesis_handler::SequenceNumber;
use serde_json::Value;

use crate::{Mapping, Undocumented, UnknownResponse};

/// The part of a batch that is processed, as far as the mapping is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All of it.
    Success,
    /// All records before the first of these positions in the batch. They are in order, at least one.
    Partial(Vec<usize>),
    /// No record is processed.
    Failure,
}

/// Judges a response as the mapping does, given the sequence numbers of the batch's records in their order.
pub fn judge(
    response: &[u8],
    sequence_numbers: impl IntoIterator<Item = SequenceNumber>,
    mapping: &Mapping,
    undocumented: &Undocumented,
) -> Verdict {
    if !mapping.report_batch_item_failures {
        // Rule 13.
        return Verdict::Success;
    }
    // A function that returns nothing answers with nothing.
    if response.trim_ascii().is_empty() {
        return Verdict::Success;
    }
    let Ok(response) = serde_json::from_slice::<Value>(response) else {
        return unknown(undocumented.invalid_json);
    };
    let failures = match &response {
        Value::Null => return Verdict::Success,
        Value::String(text) if text.is_empty() => return Verdict::Success,
        Value::Array(list) if list.is_empty() => return Verdict::Success,
        Value::Object(members) => match members.get("batchItemFailures") {
            Some(failures) => failures,
            // The state of a tumbling window comes without failures.
            None if members.keys().all(|name| name == "state") => return Verdict::Success,
            None => return unknown(undocumented.unknown_response),
        },
        _ => return unknown(undocumented.unknown_response),
    };
    match failures {
        Value::Null => Verdict::Success,
        Value::Array(items) if items.is_empty() => Verdict::Success,
        Value::Array(items) => match positions(items, sequence_numbers) {
            Some(positions) => Verdict::Partial(positions),
            None => Verdict::Failure,
        },
        _ => Verdict::Failure,
    }
}

fn unknown(response: UnknownResponse) -> Verdict {
    match response {
        UnknownResponse::Success => Verdict::Success,
        UnknownResponse::Failure => Verdict::Failure,
    }
}

/// Returns the positions of the items; `None` if one does not name a record of the batch.
fn positions(
    items: &[Value],
    sequence_numbers: impl IntoIterator<Item = SequenceNumber>,
) -> Option<Vec<usize>> {
    let mut by_number = HashMap::new();
    for (position, number) in sequence_numbers.into_iter().enumerate() {
        // Of those that share their number (rule 9), the first counts.
        by_number.entry(number).or_insert(position);
    }
    let mut positions = items
        .iter()
        .map(|item| {
            let identifier = item.get("itemIdentifier")?.as_str()?;
            let (number, position) = by_number.get_key_value(&identifier.parse().ok()?)?;
            // Numbers are the same with and without leading zeros, but an identifier is a text.
            (number.to_string() == identifier).then_some(*position)
        })
        .collect::<Option<Vec<_>>>()?;
    positions.sort_unstable();
    positions.dedup();
    Some(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> [SequenceNumber; 4] {
        ["10", "11", "11", "12"].map(|number| number.parse().expect("digits"))
    }

    #[track_caller]
    fn check(response: &str, expected: Verdict) {
        let mapping = Mapping { report_batch_item_failures: true, ..Mapping::default() };
        let verdict = judge(response.as_bytes(), numbers(), &mapping, &Undocumented::default());
        assert_eq!(verdict, expected, "{response}");
        let silent = judge(response.as_bytes(), numbers(), &Mapping::default(), &Undocumented::default());
        assert_eq!(silent, Verdict::Success, "rule 13: {response}");
    }

    #[test]
    fn rule_14_nothing_failed() {
        for response in [
            r#"{"batchItemFailures":[]}"#,
            r#"{"batchItemFailures":null}"#,
            "{}",
            "null",
            r#""""#,
            "[]",
            "",
            r#"{"state":{"n":1}}"#,
        ] {
            check(response, Verdict::Success);
        }
    }

    #[test]
    fn rule_14_known_identifiers_are_a_partial_failure() {
        let failures = |identifiers: &[&str]| {
            let items: Vec<_> =
                identifiers.iter().map(|id| format!(r#"{{"itemIdentifier":"{id}"}}"#)).collect();
            format!(r#"{{"batchItemFailures":[{}]}}"#, items.join(","))
        };
        check(&failures(&["12"]), Verdict::Partial(vec![3]));
        check(&failures(&["12", "10", "12"]), Verdict::Partial(vec![0, 3]));
        check(&failures(&["11"]), Verdict::Partial(vec![1]));
        check(&failures(&["12", "13"]), Verdict::Failure);
        check(&failures(&["012"]), Verdict::Failure);
        let mapping = Mapping { report_batch_item_failures: true, ..Mapping::default() };
        for (identifier, expected) in
            [("007", Verdict::Partial(vec![0])), ("7", Verdict::Failure), ("0007", Verdict::Failure)]
        {
            let response = failures(&[identifier]);
            let numbers = ["007", "008"].map(|number| number.parse().expect("digits"));
            assert_eq!(judge(response.as_bytes(), numbers, &mapping, &Undocumented::default()), expected);
        }
        check(&failures(&[""]), Verdict::Failure);
    }

    #[test]
    fn rule_14_identifiers_that_name_nothing_fail_the_batch() {
        for response in [
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":12}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifer":"12"}]}"#,
            r#"{"batchItemFailures":[{}]}"#,
            r#"{"batchItemFailures":["12"]}"#,
            r#"{"batchItemFailures":[null]}"#,
            r#"{"batchItemFailures":"12"}"#,
            r#"{"batchItemFailures":{}}"#,
        ] {
            check(response, Verdict::Failure);
        }
    }

    #[test]
    fn rule_14_what_is_not_documented_is_a_parameter() {
        for response in [r#"{"batchItemFailure":[{"itemIdentifier":"12"}]}"#, "true", r#""12""#, "[1]"] {
            check(response, Verdict::Success);
        }
        check_failure_as_set(r#"{"failures":[]}"#);
        check(r#"{"batchItemFailures":["#, Verdict::Failure);
    }

    #[track_caller]
    fn check_failure_as_set(response: &str) {
        let mapping = Mapping { report_batch_item_failures: true, ..Mapping::default() };
        let undocumented =
            Undocumented { unknown_response: UnknownResponse::Failure, ..Undocumented::default() };
        assert_eq!(judge(response.as_bytes(), numbers(), &mapping, &undocumented), Verdict::Failure);
    }
}
