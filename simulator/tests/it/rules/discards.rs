//! Rules 21 to 29: what is given up, failure records, windows, metrics.

use serde_json::{Value, json};

use super::{always, check_sequence, dropped, records, reporting, times};
use crate::scenario::{ids, run, sequence};

#[test]
fn rule_21_too_old_records_are_discarded_alone_and_the_younger_go_on() {
    let destination =
        json!({ "OnFailure": { "Destination": "arn:aws:sqs:us-east-1:123456789012:failures" } });
    let report = run(&json!({
        "mapping": reporting(json!({
            "MaximumRecordAgeInSeconds": 60, "enabledAtMs": 70_000, "DestinationConfig": destination,
        })),
        "records": records(&[0, 9_999, 10_000, 60_000]),
    }));
    assert_eq!(sequence(&report), ["3-4"]);
    assert_eq!(
        report["discarded"],
        json!([{ "ids": ["1", "2"], "condition": "RecordAgeExceeded", "approximateInvokeCount": 1 }])
    );
    assert_eq!(report["destination"][0].get("responseContext"), None);
    assert_eq!(report["completed"], json!(["3", "4"]));
}

#[test]
fn rule_21_a_delay_ends_when_there_is_nothing_left_to_retry() {
    let scenario = |mapping: Value, retention_hours: f64| {
        json!({
            "mapping": reporting(mapping),
            "stream": { "retentionHours": retention_hours },
            "records": records(&[0, 30_000, 59_000]),
            "function": always("1", "report"),
        })
    };
    // The last retry is after about 57 seconds, the next would be a minute later.
    let report = run(&scenario(json!({ "MaximumRecordAgeInSeconds": 60 }), 24.0));
    assert_eq!(report["completed"], json!(["2", "3"]));
    assert_eq!(times(&report).last(), Some(&60_001));
    // Rule 22.
    let report = run(&scenario(json!({}), 60.0 / 3600.0));
    assert_eq!(dropped(&report), [("1".to_owned(), "trimmed".to_owned())]);
    assert_eq!(report["completed"], json!(["2", "3"]));
    assert_eq!(times(&report).last(), Some(&60_000));
}

#[test]
fn rule_21_a_duplicate_is_not_delivered_of_what_is_too_old_by_then() {
    let duplicate = json!([{ "atMs": 0, "untilMs": 600_000, "kind": "duplicate" }]);
    let scenario = |duration_ms: u64| {
        json!({
            "mapping": { "MaximumRecordAgeInSeconds": 60 },
            "records": records(&[0]),
            "function": { "durationMs": duration_ms, "timeoutMs": 900_000 },
            "faults": duplicate,
        })
    };
    check_sequence(&scenario(60_000), &["1", "1"]);
    check_sequence(&scenario(60_001), &["1"]);
}

#[test]
fn rule_21_age_ends_retries_also_after_a_jump_of_the_clock() {
    let report = run(&json!({
        "mapping": reporting(json!({ "MaximumRecordAgeInSeconds": 60 })),
        "records": records(&[0, 0, 50_000]),
        "function": always("1", "report"),
        "faults": [{ "atMs": 100, "untilMs": 61_000, "kind": "clockJump" }],
    }));
    assert_eq!(sequence(&report), ["1-2", "3"]);
    assert_eq!(ids(&report["discarded"][0]["ids"]), "1-2");
}

#[test]
fn rule_22_without_limits_a_bad_record_blocks_its_shard_until_it_is_trimmed() {
    let report = run(&json!({
        "mapping": reporting(json!({ "BisectBatchOnFunctionError": true })),
        "stream": { "retentionHours": 1 },
        "records": records(&[0, 0, 3_000_000]),
        "function": always("1", "throw"),
    }));
    let sequence = sequence(&report);
    assert!(sequence.len() > 50, "{sequence:?}");
    assert_eq!(dropped(&report)[0], ("1".to_owned(), "trimmed".to_owned()));
    // Its neighbour is as old.
    assert_eq!(dropped(&report)[1], ("2".to_owned(), "trimmed".to_owned()));
    assert_eq!(report["completed"], json!(["3"]));
}

#[test]
fn rule_24_a_bucket_gets_the_payload_as_text() {
    let report = run(&json!({
        "mapping": reporting(json!({
            "MaximumRetryAttempts": 0,
            "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:s3:::failures" } },
        })),
        "records": records(&[0]),
        "function": always("1", "crash"),
    }));
    let failure = &report["destination"][0];
    let payload: Value = serde_json::from_str(failure["payload"].as_str().expect("text")).expect("JSON");
    let info = &failure["KinesisBatchInfo"];
    assert_eq!(payload["Records"][0]["kinesis"]["sequenceNumber"], info["startSequenceNumber"]);
    assert_eq!(info["approximateArrivalOfFirstRecord"], "2026-01-01T00:00:00.000Z");
    assert_eq!(failure["requestContext"]["requestId"], report["invocations"][0]["requestId"]);
}

#[test]
fn rule_25_neighbours_may_share_a_failure_record() {
    let scenario = |consolidate: bool| {
        json!({
            "mapping": reporting(json!({
                "MaximumRetryAttempts": 0, "BisectBatchOnFunctionError": true,
                "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:sqs:us-east-1:123456789012:q" } },
            })),
            "records": records(&[0, 0, 0, 0, 0]),
            "function": { "fails": [{ "id": "2", "how": "throw" }, { "id": "3", "how": "throw" }, { "id": "5" }] },
            "undocumented": { "consolidateDiscarded": consolidate },
        })
    };
    let discarded = |report: &Value| -> Vec<String> {
        report["discarded"].as_array().expect("a list").iter().map(|line| ids(&line["ids"])).collect()
    };
    assert_eq!(discarded(&run(&scenario(false))), ["2", "3", "5"]);
    let report = run(&scenario(true));
    assert_eq!(discarded(&report), ["2-3", "5"]);
    assert_eq!(report["destination"][0]["KinesisBatchInfo"]["batchSize"], 2);
    assert_eq!(report["completed"], json!(["1", "4"]));
}

#[test]
fn rule_26_a_destination_that_cannot_be_written_loses_the_records() {
    let report = run(&json!({
        "mapping": reporting(json!({
            "MaximumRetryAttempts": 0,
            "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:sqs:us-east-1:123456789012:q" } },
        })),
        "records": records(&[0]),
        "function": always("1", "throw"),
        "faults": [{ "atMs": 0, "untilMs": 10_000, "kind": "destinationFailure" }],
    }));
    assert_eq!(dropped(&report), [("1".to_owned(), "destination".to_owned())]);
    assert_eq!(ids(&report["discarded"][0]["ids"]), "1");
    assert_eq!(report["destination"], json!([]));
    assert_eq!(report["metrics"]["DroppedEventCount"], 1);
    assert_eq!(report["metrics"]["OnFailureDestinationDeliveredEventCount"], 0);
}

#[test]
fn rules_27_and_28_windows_end_with_an_empty_invocation() {
    let report = run(&json!({
        "mapping": reporting(json!({ "TumblingWindowInSeconds": 10 })),
        "records": records(&[0, 0, 12_000, 14_000]),
        "function": { "durationMs": 0 },
    }));
    // Batches do not span windows; each window is closed, the last one when the stream has nothing more.
    assert_eq!(sequence(&report), ["1-2", "-", "3", "4", "-"]);
}

#[test]
fn rule_27_a_response_in_a_window_must_have_a_state() {
    let scenario = |response: Value| {
        json!({
            "mapping": reporting(json!({ "TumblingWindowInSeconds": 10, "MaximumRetryAttempts": 1 })),
            "records": records(&[0]),
            "function": { "response": response },
        })
    };
    let report = check_sequence(&scenario(json!({ "batchItemFailures": [] })), &["1", "1", "-"]);
    assert_eq!(report["invocations"][0]["outcome"], "failure");
    let report = check_sequence(&scenario(json!({ "state": { "n": 1.5 } })), &["1", "-"]);
    assert_eq!(report["completed"], json!(["1"]));
}

#[test]
fn rule_29_metrics_count_retries_again() {
    let report = run(&json!({
        "mapping": reporting(json!({
            "MaximumRetryAttempts": 1, "BisectBatchOnFunctionError": true,
            "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:sqs:us-east-1:123456789012:q" } },
        })),
        "records": records(&[0, 0, 0, 0]),
        "function": always("2", "report"),
    }));
    // 1-4, 2-4, 2, 2, 3-4
    let metrics = report["metrics"].clone();
    let last = report["invocations"][4]["atMs"].as_u64().expect("a time") + 5;
    assert_eq!(
        metrics,
        json!({
            "PolledEventCount": 4, "FilteredOutEventCount": 0, "InvokedEventCount": 4 + 3 + 1 + 1 + 2,
            "FailedInvokeEventCount": 4, "DroppedEventCount": 0,
            "OnFailureDestinationDeliveredEventCount": 1, "IteratorAge": last,
        })
    );
}
