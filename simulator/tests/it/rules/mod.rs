//! The rules of the mapping, by their numbers.

mod polling;
mod answers;
mod discards;

use serde_json::{Value, json};

use crate::scenario::{ids, run, sequence};

/// Records with these times, numbered from one.
pub(super) fn records(times: &[u64]) -> Value {
    let record = |(id, at_ms)| json!({ "id": id, "atMs": at_ms, "text": "x" });
    (1..).zip(times).map(record).collect()
}

/// A mapping that reports failures, with these settings too.
pub(super) fn reporting(settings: Value) -> Value {
    let mut mapping = json!({ "FunctionResponseTypes": ["ReportBatchItemFailures"] });
    for (name, value) in settings.as_object().expect("settings") {
        mapping[name] = value.clone();
    }
    mapping
}

pub(super) fn always(id: &str, how: &str) -> Value {
    json!({ "fails": [{ "id": id, "how": how }] })
}

#[track_caller]
pub(super) fn check_sequence(scenario: &Value, expected: &[&str]) -> Value {
    let report = run(scenario);
    assert_eq!(sequence(&report), expected, "{report:#}");
    report
}

/// When each invocation began.
pub(super) fn times(report: &Value) -> Vec<u64> {
    let lines = report["invocations"].as_array().expect("a list");
    lines.iter().map(|line| line["atMs"].as_u64().expect("a time")).collect()
}

pub(super) fn dropped(report: &Value) -> Vec<(String, String)> {
    let lines = report["dropped"].as_array().expect("a list");
    lines.iter().map(|line| (ids(&line["ids"]), line["why"].as_str().expect("a reason").to_owned())).collect()
}
