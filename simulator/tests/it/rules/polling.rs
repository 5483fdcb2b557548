//! Rules 1 to 9: shards, positions, batches, filters, lanes.

use serde_json::{Value, json};

use super::{always, check_sequence, dropped, records, reporting, times};
use crate::scenario::{run, sequence};

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
fn rule_3_latest_goes_for_shards_that_are_begun_later_too() {
    let report = run(&json!({
        "mapping": { "StartingPosition": "LATEST", "enabledAtMs": 10_000 },
        "undocumented": { "latestActivationDelayMs": 0 },
        "stream": { "shards": [{ "shardId": "parent" }, { "shardId": "child", "parents": ["parent"] }] },
        "records": [
            { "id": "p1", "shardId": "parent", "atMs": 0, "text": "" },
            { "id": "c1", "shardId": "child", "atMs": 5_000, "text": "" },
            { "id": "p2", "shardId": "parent", "atMs": 15_000, "text": "" },
            { "id": "c2", "shardId": "child", "atMs": 15_000, "text": "" },
        ],
    }));
    assert_eq!(sequence(&report), ["p2", "c2"]);
    assert_eq!(report["unread"], json!(["p1", "c1"]));
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
fn rule_4_the_end_of_a_shard_ends_the_batching_window() {
    let report = run(&json!({
        "mapping": { "MaximumBatchingWindowInSeconds": 300 },
        "stream": { "shards": [{ "shardId": "parent" }, { "shardId": "child", "parents": ["parent"] }] },
        "records": [
            { "id": "p", "shardId": "parent", "text": "" },
            { "id": "c", "shardId": "child", "text": "" },
        ],
    }));
    // The open shard may get more.
    assert_eq!(times(&report), [0, 5 + 300_000]);
}

#[test]
fn rule_4_an_event_has_at_most_six_megabytes() {
    let record = |id| json!({ "id": id, "sizeBytes": 2_000_000 });
    // Two have 5.3 MB in base64, three 8 MB.
    check_sequence(&json!({ "records": [record("1"), record("2"), record("3")] }), &["1-2", "3"]);
    // To the byte: each record has as many besides its data.
    let fixed = run(&json!({ "records": [{ "id": "1", "text": "" }], "function": always("1", "throw"),
        "mapping": { "MaximumRetryAttempts": 0, "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:s3:::b" } } } }));
    let payload = fixed["destination"][0]["payload"].as_str().expect("text").len();
    let (envelope, comma) = (r#"{"Records":[]}"#.len(), 1);
    let left = 6 * 1024 * 1024 - envelope - comma - 2 * (payload - envelope);
    // Base64 makes four characters of three bytes.
    let fits = left / 4 * 3;
    let pair =
        |bytes: usize| json!({ "records": [{ "id": "1", "text": "" }, { "id": "2", "sizeBytes": bytes }] });
    check_sequence(&pair(fits), &["1-2"]);
    check_sequence(&pair(fits + 1), &["1", "2"]);
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
fn rule_7_a_restart_strikes_between_an_answer_and_its_checkpoint() {
    let restarted = |fault: Value| {
        sequence(&run(&json!({
            "mapping": reporting(json!({})),
            "records": records(&[0]),
            "function": { "durationMs": 5 },
            "faults": [fault],
        })))
    };
    // The invocation takes from 0 to 5 ms.
    assert_eq!(restarted(json!({ "atMs": 3, "kind": "restart" })), ["1", "1"]);
    assert_eq!(restarted(json!({ "atMs": 3, "untilMs": 4, "kind": "restart" })), ["1", "1"]);
    assert_eq!(restarted(json!({ "atMs": 5, "kind": "restart" })), ["1"]);
}

#[test]
fn rule_7_a_duplicate_has_the_same_request_id() {
    let report = run(&json!({
        "records": records(&[0, 0]),
        "faults": [{ "atMs": 0, "untilMs": 1, "kind": "duplicate" }],
    }));
    assert_eq!(sequence(&report), ["1-2", "1-2"]);
    assert_eq!(report["invocations"][0]["requestId"], report["invocations"][1]["requestId"]);
    assert_eq!(report["invocations"][1]["ignored"], true);
    assert_eq!(report["completed"], json!(["1", "2"]));
}

#[test]
fn rule_7_what_fails_by_another_fault_is_retried_and_not_doubled() {
    let report = run(&json!({
        "mapping": reporting(json!({})),
        "records": records(&[0]),
        "faults": [{ "atMs": 0, "untilMs": 1, "kind": "duplicate" }, { "atMs": 0, "kind": "crash" }],
    }));
    assert_eq!(sequence(&report), ["1", "1"]);
    assert!(times(&report)[1] > 200, "a retry, with its delay");
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
            "undocumented": { "outOfRangeUserRecord": stray },
        })
    };
    let report = run(&scenario("dropsAggregate"));
    assert_eq!(dropped(&report), [("2".to_owned(), "outOfRange".to_owned())]);
    assert_eq!(report["invocations"][0]["ids"], json!(["1", "3"]));
    assert_eq!(report["metrics"]["InvokedEventCount"], 4);
    let failure = &report["destination"][0];
    assert_eq!(failure["KinesisBatchInfo"]["streamArn"], consumer, "rule 23");

    let report = run(&scenario("dropsUserRecord"));
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
