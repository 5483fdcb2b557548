//! The rules of the mapping, by their numbers.

use serde_json::{Value, json};

use crate::scenario::{ids, run, sequence};

/// Records with these times, numbered from one.
fn records(times: &[u64]) -> Value {
    let record = |(id, at_ms)| json!({ "id": id, "atMs": at_ms, "text": "x" });
    (1..).zip(times).map(record).collect()
}

/// A mapping that reports failures, with these settings too.
fn reporting(settings: Value) -> Value {
    let mut mapping = json!({ "FunctionResponseTypes": ["ReportBatchItemFailures"] });
    for (name, value) in settings.as_object().expect("settings") {
        mapping[name] = value.clone();
    }
    mapping
}

fn always(id: &str, how: &str) -> Value {
    json!({ "fails": [{ "id": id, "how": how }] })
}

#[track_caller]
fn check_sequence(scenario: &Value, expected: &[&str]) -> Value {
    let report = run(scenario);
    assert_eq!(sequence(&report), expected, "{report:#}");
    report
}

/// When each invocation began.
fn times(report: &Value) -> Vec<u64> {
    let lines = report["invocations"].as_array().expect("a list");
    lines.iter().map(|line| line["atMs"].as_u64().expect("a time")).collect()
}

fn dropped(report: &Value) -> Vec<(String, String)> {
    let lines = report["dropped"].as_array().expect("a list");
    lines.iter().map(|line| (ids(&line["ids"]), line["why"].as_str().expect("a reason").to_owned())).collect()
}

#[test]
fn rule_1_shards_are_invoked_for_at_the_same_time_and_each_in_order() {
    let report = run(&json!({
        "mapping": { "BatchSize": 1 },
        "stream": { "shards": [{ "shardId": "a" }, { "shardId": "b" }] },
        "records": [
            { "id": "a1", "shardId": "a", "text": "" },
            { "id": "a2", "shardId": "a", "text": "" },
            { "id": "b1", "shardId": "b", "text": "" },
        ],
        "function": { "durationMs": 100 },
    }));
    assert_eq!(sequence(&report), ["a1", "b1", "a2"]);
    assert_eq!(times(&report), [0, 0, 100]);
}

#[test]
fn rule_2_children_wait_for_their_parents() {
    let report = run(&json!({
        "mapping": reporting(json!({ "MaximumRetryAttempts": 2 })),
        "stream": { "shards": [
            { "shardId": "merged", "parents": ["left", "right"] },
            { "shardId": "left", "parents": ["root"] },
            { "shardId": "right", "parents": ["root"] },
            { "shardId": "root" },
        ] },
        "records": [
            { "id": "m", "shardId": "merged", "atMs": 0, "text": "" },
            { "id": "l", "shardId": "left", "atMs": 0, "text": "" },
            { "id": "r", "shardId": "right", "atMs": 0, "text": "" },
            { "id": "p", "shardId": "root", "atMs": 0, "text": "" },
        ],
        "function": { "durationMs": 10, "fails": [{ "id": "r", "times": 2 }, { "id": "p", "times": 1 }] },
    }));
    // The left child goes on beside the right one, the merged shard waits for both.
    assert_eq!(sequence(&report), ["p", "p", "l", "r", "r", "r", "m"]);
    assert_eq!(report["completed"], json!(["p", "l", "r", "m"]));
}

#[test]
fn rule_3_latest_misses_what_comes_before_it_is_active() {
    let scenario = |mapping: Value, faults: Value| json!({ "mapping": mapping, "records": records(&[0, 70_000, 80_000]), "faults": faults });
    let report = check_sequence(&scenario(json!({ "StartingPosition": "LATEST" }), json!([])), &["3"]);
    assert_eq!(report["unread"], json!(["1", "2"]));
    let late = json!([{ "atMs": 0, "untilMs": 75_001, "kind": "lateActivation" }]);
    check_sequence(&scenario(json!({ "StartingPosition": "LATEST" }), late.clone()), &["3"]);
    let report =
        check_sequence(&scenario(json!({ "StartingPosition": "TRIM_HORIZON" }), late), &["1-2", "3"]);
    assert_eq!(times(&report)[0], 75_001);
    let timestamp =
        json!({ "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": "2026-01-01T00:01:10Z" });
    check_sequence(&scenario(timestamp, json!([])), &["2", "3"]);
    let enabled = json!({ "StartingPosition": "TRIM_HORIZON", "enabledAtMs": 90_000 });
    check_sequence(&scenario(enabled, json!([])), &["1-3"]);
}

#[test]
fn rule_3_what_the_stream_forgets_is_lost_silently() {
    let report = run(&json!({
        "mapping": { "enabledAtMs": 3_600_500, "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:sqs:r:1:q" } } },
        "stream": { "retentionHours": 1 },
        "records": records(&[0, 500, 501]),
    }));
    assert_eq!(sequence(&report), ["3"]);
    assert_eq!(dropped(&report), [("1-2".to_owned(), "trimmed".to_owned())]);
    assert_eq!((&report["destination"], &report["discarded"]), (&json!([]), &json!([])));
}

#[test]
fn rule_4_a_batch_is_full_or_what_one_read_returned() {
    let mapping = json!({ "BatchSize": 3 });
    let scenario = json!({ "mapping": mapping, "records": records(&[0, 0, 0, 0, 1, 400]) });
    // The fifth has arrived while the function ran, the sixth while nobody looked.
    let report = check_sequence(&scenario, &["1-3", "4", "5", "6"]);
    assert_eq!(times(&report), [0, 5, 10, 1_015]);
}

#[test]
fn rule_4_a_batching_window_gathers_until_it_is_over() {
    let mapping = json!({ "BatchSize": 3, "MaximumBatchingWindowInSeconds": 10 });
    let times_in = [0, 4_000, 12_000, 13_000, 14_000, 30_000];
    let report =
        check_sequence(&json!({ "mapping": mapping, "records": records(&times_in) }), &["1-2", "3-5", "6"]);
    // The first after its window, the second when it is full, the third after the window that began with its answer.
    let began = times(&report);
    assert_eq!(began[0], 10_000);
    assert!((14_000..15_010).contains(&began[1]), "{began:?}");
    assert_eq!(began[2], began[1] + 5 + 20_000);
}

#[test]
fn rule_4_an_event_has_at_most_six_megabytes() {
    let record = |id| json!({ "id": id, "sizeBytes": 2_000_000 });
    // Two have 5.3 MB in base64, three 8 MB.
    check_sequence(&json!({ "records": [record("1"), record("2"), record("3")] }), &["1-2", "3"]);
}

#[test]
fn rule_5_one_record_that_is_too_large_is_discarded_without_an_invocation() {
    let destination =
        json!({ "OnFailure": { "Destination": "arn:aws:sqs:us-east-1:123456789012:failures" } });
    let mapping = reporting(json!({
        "MaximumRetryAttempts": 2, "BisectBatchOnFunctionError": true, "DestinationConfig": destination,
    }));
    let records = json!([
        { "id": "1", "text": "x" },
        { "id": "2", "sizeBytes": 5 * 1024 * 1024 },
        { "id": "3", "text": "x" },
    ]);
    let report = check_sequence(&json!({ "mapping": mapping, "records": records }), &["1", "3"]);
    assert_eq!(
        report["discarded"],
        json!([{ "ids": ["2"], "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 3 }])
    );
    assert_eq!(report["destination"][0].get("responseContext"), None);
    assert_eq!(report["completed"], json!(["1", "3"]));
}

#[test]
fn rule_6_filters_drop_what_they_do_not_match_and_every_aggregate() {
    let report = run(&json!({
        "mapping": { "FilterCriteria": { "Filters": [{ "Pattern": r#"{"data":{"kind":["order"]}}"# }] } },
        "records": [
            { "id": "1", "text": r#"{"kind":"order"}"# },
            { "id": "2", "text": r#"{"kind":"other"}"# },
            { "id": "3", "userRecords": [{ "text": r#"{"kind":"order"}"# }, { "text": r#"{"kind":"order"}"# }] },
            { "id": "4", "text": "no JSON" },
            { "id": "5", "text": r#"{"kind":"order"}"# },
        ],
    }));
    assert_eq!(sequence(&report), ["1-5"]);
    assert_eq!(report["invocations"][0]["ids"], json!(["1", "5"]));
    assert_eq!(report["dropped"], json!([{ "ids": ["2", "3", "4"], "why": "filtered" }]));
    assert_eq!(report["metrics"]["FilteredOutEventCount"], 3);
}

#[test]
fn rule_7_a_restart_delivers_again_from_the_checkpoint() {
    let report = run(&json!({
        "mapping": reporting(json!({ "BatchSize": 2 })),
        "records": records(&[0, 0, 0, 0]),
        "faults": [{ "atMs": 5, "untilMs": 6, "kind": "restart" }],
    }));
    assert_eq!(sequence(&report), ["1-2", "3-4", "3-4"]);
    let lines = &report["invocations"];
    assert_eq!((&lines[1]["outcome"], &lines[1]["ignored"]), (&json!("success"), &json!(true)));
    assert_ne!(lines[1]["requestId"], lines[2]["requestId"]);
    assert_eq!(report["completed"], json!(["1", "2", "3", "4"]));
}

#[test]
fn rule_7_a_restart_reads_also_what_has_arrived_since_the_checkpoint() {
    let report = run(&json!({
        "records": records(&[0, 0, 500]),
        "faults": [{ "atMs": 0, "kind": "restart" }],
    }));
    assert_eq!(sequence(&report), ["1-2", "1-3"]);
    assert_eq!(report["completed"], json!(["1", "2", "3"]));
}

#[test]
fn rule_7_a_duplicate_has_the_same_request_id() {
    let report = run(&json!({
        "records": records(&[0, 0]),
        "faults": [{ "atMs": 0, "untilMs": 1, "kind": "duplicate" }],
    }));
    assert_eq!(sequence(&report), ["1-2", "1-2"]);
    assert_eq!(report["invocations"][0]["requestId"], report["invocations"][1]["requestId"]);
    assert_eq!(report["completed"], json!(["1", "2"]));
}

/// Two keys that different lanes have, and the time at which the good one is done with.
fn lanes(failing_lane: &str) -> Value {
    run(&json!({
        "mapping": reporting(json!({ "BatchSize": 1, "ParallelizationFactor": 2, "MaximumRetryAttempts": 3 })),
        "records": [
            { "id": "a1", "partitionKey": "a", "text": "" },
            { "id": "b1", "partitionKey": "b", "text": "" },
            { "id": "a2", "partitionKey": "a", "text": "" },
            { "id": "b2", "partitionKey": "b", "text": "" },
        ],
        "function": { "durationMs": 10, "fails": [{ "id": "a1", "times": 2 }] },
        "undocumented": { "failingLane": failing_lane },
    }))
}

#[test]
fn rule_8_lanes_keep_the_order_of_a_key_and_stall_only_if_told_to() {
    let report = lanes("independent");
    assert_eq!(report["completed"], json!(["b1", "b2", "a1", "a2"]));
    assert_eq!(sequence(&report)[..3], ["a1", "b1", "b2"]);
    let report = lanes("stall");
    assert_eq!(report["completed"], json!(["b1", "a1", "a2", "b2"]));
}

#[test]
fn rule_9_an_enhanced_fan_out_consumer_gets_user_records() {
    let consumer = "arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/c:1";
    let low_half =
        json!({ "StartingHashKey": "0", "EndingHashKey": "170141183460469231731687303715884105727" });
    let scenario = |stray: &str| {
        json!({
            "mapping": reporting(json!({
                "EventSourceArn": consumer, "MaximumRetryAttempts": 0,
                "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:s3:::failures" } },
            })),
            "stream": { "shards": [{ "shardId": "s", "hashKeyRange": low_half }] },
            "records": [
                { "id": "1", "userRecords": [
                    { "partitionKey": "k", "explicitHashKey": "1", "text": "one" },
                    { "partitionKey": "k", "explicitHashKey": "2", "text": "two" },
                ] },
                { "id": "2", "userRecords": [
                    { "partitionKey": "k", "explicitHashKey": "3", "text": "three" },
                    { "partitionKey": "k", "explicitHashKey": "170141183460469231731687303715884105728", "text": "stray" },
                ] },
                { "id": "3", "text": "plain" },
            ],
            "function": always("3", "report"),
            "undocumented": { "strayMember": stray },
        })
    };
    let report = run(&scenario("dropsAggregate"));
    assert_eq!(dropped(&report), [("2".to_owned(), "outOfRange".to_owned())]);
    assert_eq!(report["invocations"][0]["ids"], json!(["1", "3"]));
    assert_eq!(report["metrics"]["InvokedEventCount"], 4);
    let failure = &report["destination"][0];
    assert_eq!(failure["KinesisBatchInfo"]["streamArn"], consumer, "rule 23");

    let report = run(&scenario("dropsMember"));
    assert_eq!(report["invocations"][0]["ids"], json!(["1", "2", "3"]));
    assert_eq!(report["metrics"]["PolledEventCount"], 4);
}

#[test]
fn rule_9_the_lanes_of_a_shard_drop_each_record_once() {
    let consumer = "arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/c:1";
    let low_half =
        json!({ "StartingHashKey": "0", "EndingHashKey": "170141183460469231731687303715884105727" });
    let report = run(&json!({
        "mapping": { "EventSourceArn": consumer, "ParallelizationFactor": 10 },
        "stream": { "shards": [{ "shardId": "s", "hashKeyRange": low_half }] },
        "records": [{ "id": "1", "userRecords": [
            { "partitionKey": "a", "explicitHashKey": "1", "text": "" },
            { "partitionKey": "b", "explicitHashKey": "170141183460469231731687303715884105728", "text": "stray" },
        ] }],
    }));
    assert_eq!(dropped(&report), [("1".to_owned(), "outOfRange".to_owned())]);

    // The lane of "a" reads the aggregate in time, but has none of it; the lane of "b" is busy for too long.
    let report = run(&json!({
        "mapping": { "EventSourceArn": consumer, "ParallelizationFactor": 2 },
        "stream": { "retentionHours": 0.001 },
        "records": [
            { "id": "1", "partitionKey": "b", "text": "" },
            { "id": "2", "partitionKey": "a", "atMs": 10, "userRecords": [
                { "partitionKey": "b", "text": "" }, { "partitionKey": "b", "text": "" },
            ] },
        ],
        "function": { "durationMs": 4_000 },
    }));
    assert_eq!(dropped(&report), [("2".to_owned(), "trimmed".to_owned())]);
    assert_eq!(report["completed"], json!(["1"]));
    assert_eq!(report["unread"], json!([]));
}

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
