//! Rules 10 to 20: what the function answers, and what follows.

use serde_json::{Value, json};

use super::{always, records, reporting, times};
use crate::scenario::{ids, run, sequence};

#[test]
fn rule_11_throttles_spend_no_attempts() {
    let report = run(&json!({
        "mapping": reporting(json!({ "MaximumRetryAttempts": 1 })),
        "records": records(&[0, 0]),
        "function": always("1", "report"),
        "faults": [{ "atMs": 0, "untilMs": 1_000, "kind": "throttle" }],
    }));
    let outcomes: Vec<_> =
        report["invocations"].as_array().expect("a list").iter().map(|line| &line["outcome"]).collect();
    assert_eq!(outcomes, ["throttled", "throttled", "throttled", "partial", "partial"]);
    assert_eq!(report["discarded"][0]["approximateInvokeCount"], 2);
}

#[test]
fn rule_11_a_throttle_may_last_for_ever() {
    let report = run(&json!({
        "mapping": { "MaximumRecordAgeInSeconds": 60, "MaximumRetryAttempts": 0 },
        "records": records(&[0]),
        "faults": [{ "atMs": 0, "untilMs": u64::MAX, "kind": "throttle" }, { "atMs": u64::MAX, "kind": "crash" }],
    }));
    assert_eq!(
        report["discarded"],
        json!([{ "ids": ["1"], "condition": "RecordAgeExceeded", "approximateInvokeCount": 1 }])
    );
}

#[test]
fn rule_12_timeout_crash_and_lost_response_are_function_errors() {
    for kind in ["timeout", "crash", "lostResponse", "zombie"] {
        let report = run(&json!({
            "mapping": reporting(json!({ "BisectBatchOnFunctionError": true })),
            "records": records(&[0, 0]),
            "function": { "timeoutMs": 1_000 },
            "faults": [{ "atMs": 0, "kind": kind }],
        }));
        assert_eq!(sequence(&report), ["1-2", "1", "2"], "{kind}");
        let first = &report["invocations"][0];
        assert_eq!((&first["outcome"], &first["fault"]), (&json!("failure"), &json!(kind)));
        let second = times(&report)[1];
        let late = matches!(kind, "timeout" | "zombie");
        assert_eq!(second >= 1_000, late, "{kind}: {second}");
    }
}

#[test]
fn rule_14_what_the_function_answers_is_taken_as_the_table_says() {
    for (response, outcome, invocations) in [
        (json!({ "batchItemFailures": [] }), "success", 1),
        (json!({ "batchItemFailures": null }), "success", 1),
        (json!({}), "success", 1),
        (Value::Null, "success", 1),
        (json!(""), "success", 1),
        (json!([]), "success", 1),
        (json!({ "batchItemFailure": [] }), "success", 1),
        (json!({ "batchItemFailures": [{ "itemIdentifier": "" }] }), "failure", 2),
        (json!({ "batchItemFailures": [{ "itemIdentifier": null }] }), "failure", 2),
        (json!({ "batchItemFailures": [{ "sequenceNumber": "1" }] }), "failure", 2),
        (json!({ "batchItemFailures": [{ "itemIdentifier": "1" }] }), "failure", 2),
    ] {
        let report = run(&json!({
            "mapping": reporting(json!({ "MaximumRetryAttempts": 1 })),
            "records": records(&[0, 0]),
            "function": { "response": response },
        }));
        assert_eq!(report["invocations"][0]["outcome"], outcome, "{response}");
        assert_eq!(sequence(&report), vec!["1-2"; invocations], "{response}");
        if outcome == "failure" {
            assert_eq!(ids(&report["discarded"][0]["ids"]), "1-2");
        }
    }
}

#[test]
fn rule_16_progress_gives_a_fresh_budget_at_once() {
    // Each of them fails once: every try makes progress, so no retries are needed.
    let fails: Vec<_> = (1..=4).map(|id| json!({ "id": id, "times": id })).collect();
    let report = run(&json!({
        "mapping": reporting(json!({ "MaximumRetryAttempts": 1 })),
        "records": records(&[0, 0, 0, 0]),
        "function": { "durationMs": 0, "fails": fails },
    }));
    assert_eq!(sequence(&report), ["1-4", "1-4", "2-4", "3-4", "4"]);
    assert_eq!(report["completed"], json!(["1", "2", "3", "4"]));
    let began = times(&report);
    assert!((200..250).contains(&(began[1] - began[0])), "rule 17: {began:?}");
    for pair in began[1..].windows(2) {
        assert!((30..=42).contains(&(pair[1] - pair[0])), "{began:?}");
    }
}
