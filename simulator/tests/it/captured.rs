//! The sequences that were captured on AWS.

use serde_json::{Value, json};

use crate::scenario::{ids, run, sequence};

/// Four records, of which the second always fails in this way.
fn four(mapping: Value, how: &str) -> Value {
    let records: Vec<_> = (1..=4).map(|id| json!({ "id": id, "text": "x" })).collect();
    json!({
        "mapping": mapping,
        "records": records,
        "function": { "fails": [{ "id": "2", "times": null, "how": how }] },
    })
}

fn mapping(bisect: bool) -> Value {
    json!({
        "BatchSize": 100,
        "MaximumRetryAttempts": 1,
        "BisectBatchOnFunctionError": bisect,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:sqs:us-east-1:123456789012:failures" } },
    })
}

/// Marks the invocations that have the request ID of the one before.
fn reuses(report: &Value) -> Vec<bool> {
    let invocations = report["invocations"].as_array().expect("a list");
    invocations.windows(2).map(|pair| pair[0]["requestId"] == pair[1]["requestId"]).collect()
}

#[test]
fn rule_20_without_bisection_the_rest_of_the_batch_is_lost() {
    let report = run(&four(mapping(false), "report"));
    assert_eq!(sequence(&report), ["1-4", "2-4", "2-4"]);
    assert_eq!(reuses(&report), [false, true]);
    assert_eq!(report["completed"], json!(["1"]));
    assert_eq!(
        report["discarded"],
        json!([{
            "ids": ["2", "3", "4"],
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 2,
        }])
    );
    assert_eq!(report["destination"][0]["responseContext"]["functionError"], Value::Null);
    assert_eq!(report["destination"][0]["KinesisBatchInfo"]["batchSize"], 3);
}

#[test]
fn rule_20_with_bisection_the_bad_record_alone_is_discarded() {
    let report = run(&four(mapping(true), "report"));
    assert_eq!(sequence(&report), ["1-4", "2-4", "2", "2", "3-4"]);
    assert_eq!(reuses(&report), [false, false, true, false]);
    assert_eq!(report["completed"], json!(["1", "3", "4"]));
    assert_eq!(ids(&report["discarded"][0]["ids"]), "2");
}

#[test]
fn rule_18_a_thrown_error_splits_in_halves() {
    let report = run(&four(mapping(true), "throw"));
    assert_eq!(sequence(&report), ["1-4", "1-2", "1", "2", "2", "3-4"]);
    assert_eq!(reuses(&report), [false, false, false, true, false]);
    assert_eq!(report["destination"][0]["responseContext"]["functionError"], "Unhandled");
    assert_eq!(report["completed"], json!(["1", "3", "4"]));
}

#[test]
fn rule_15_without_bisection_a_thrown_error_is_tried_once_more_than_the_retries() {
    let mut scenario = four(mapping(false), "throw");
    scenario["mapping"]["MaximumRetryAttempts"] = json!(3);
    let report = run(&scenario);
    assert_eq!(sequence(&report), ["1-4"; 4]);
    assert_eq!(reuses(&report), [true; 3]);
    assert_eq!(report["discarded"][0]["approximateInvokeCount"], 4);
    assert_eq!(report["completed"], json!([]));
}

#[test]
fn rule_13_without_reporting_the_failures_named_are_ignored() {
    let mut scenario = four(mapping(true), "report");
    scenario["mapping"]["FunctionResponseTypes"] = json!([]);
    let report = run(&scenario);
    assert_eq!(sequence(&report), ["1-4"]);
    assert_eq!(report["completed"], json!(["1", "2", "3", "4"]));
    assert_eq!(report["invocations"][0]["outcome"], "success");
}
