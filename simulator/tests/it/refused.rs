//! Scenarios that are refused, and why.

use std::error::Error;

use kinesis_esm_simulator::Scenario;
use serde_json::{Value, json};

/// The error with its causes.
#[track_caller]
fn check(scenario: Value, expected: &str) {
    let error = Scenario::parse(scenario.to_string().as_bytes()).map(drop).expect_err("it is wrong");
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    // Where in the JSON depends on how it is written here.
    assert_eq!(text.split(" at line ").next(), Some(expected));
}

fn record(members: Value) -> Value {
    let mut record = json!({ "id": "1" });
    for (name, value) in members.as_object().expect("members") {
        record[name] = value.clone();
    }
    json!({ "records": [record] })
}

#[test]
fn what_is_not_a_scenario() {
    check(
        json!("records"),
        "the scenario cannot be read: invalid type: string \"records\", expected struct RawScenario",
    );
    check(
        json!({ "record": [] }),
        "the scenario cannot be read: unknown field `record`, expected one of `mapping`, `stream`, `records`, \
         `function`, `faults`, `undocumented`",
    );
    check(
        json!({ "mapping": { "BatchSize": 0 } }),
        "the scenario cannot be read: BatchSize: expected 1 to 10,000, found 0",
    );
}

#[test]
fn numbers_out_of_range() {
    let retention = |hours: f64| json!({ "stream": { "retentionHours": hours } });
    check(retention(0.0), "stream.retentionHours: expected above 0 and at most 8760, found 0");
    check(retention(8760.5), "stream.retentionHours: expected above 0 and at most 8760, found 8760.5");
    let timeout = |milliseconds: u64| json!({ "function": { "timeoutMs": milliseconds } });
    let range = "expected 1 to 5400000 (up to 1800000 unless on Lambda Managed Instances)";
    check(timeout(0), &format!("function.timeoutMs: {range}, found 0"));
    check(timeout(5_400_001), &format!("function.timeoutMs: {range}, found 5400001"));
    assert!(Scenario::parse(timeout(5_400_000).to_string().as_bytes()).is_ok());
    let undocumented = |name: &str, value: Value| json!({ "undocumented": { name: value } });
    check(
        undocumented("retryDelayFactor", json!(0.5)),
        "undocumented.retryDelayFactor: expected 1 to 100, found 0.5",
    );
    check(
        undocumented("retryDelayJitter", json!(-1)),
        "undocumented.retryDelayJitter: expected 0 to 1, found -1",
    );
}

#[test]
fn times_too_far_away() {
    let far = u64::MAX;
    let too_far = |member: &str| {
        format!("{member}: expected at most 3155760000000 (a hundred years), found 18446744073709551615")
    };
    check(record(json!({ "text": "", "atMs": far })), &too_far("record \"1\": atMs"));
    check(json!({ "mapping": { "enabledAtMs": far } }), &too_far("mapping.enabledAtMs"));
    for kind in ["clockJump", "lateActivation"] {
        check(
            json!({ "faults": [{ "atMs": 0, "untilMs": far, "kind": kind }] }),
            &too_far("faults[0].untilMs"),
        );
    }
    for name in [
        "firstRetryDelayMs",
        "maxRetryDelayMs",
        "minProgressDelayMs",
        "maxProgressDelayMs",
        "latestActivationDelayMs",
        "pollIntervalMs",
        "idleWindowDelayMs",
        "restartDelayMs",
    ] {
        check(json!({ "undocumented": { name: far } }), &too_far(&format!("undocumented.{name}")));
    }
}

#[test]
fn shards_without_order() {
    let shards = |shards: Value| json!({ "stream": { "shards": shards } });
    check(shards(json!([{ "shardId": "a" }, { "shardId": "a" }])), "duplicate shard \"a\"");
    check(shards(json!([{ "shardId": "a", "parents": ["b"] }])), "shard \"a\": unknown parent \"b\"");
    check(
        shards(json!([
            { "shardId": "a" }, { "shardId": "b" }, { "shardId": "c" }, { "shardId": "d", "parents": ["a", "b", "c"] },
        ])),
        "shard \"d\" has 3 parents, not one (of a split) or two (of a merge)",
    );
    check(
        shards(json!([{ "shardId": "a", "parents": ["b"] }, { "shardId": "b", "parents": ["a"] }])),
        "shard \"a\" descends from itself",
    );
    let range = json!({ "StartingHashKey": "9", "EndingHashKey": "1" });
    check(
        shards(json!([{ "shardId": "a", "hashKeyRange": range }])),
        "shard \"a\": hashKeyRange: hash key range starts at 9, above its end 1",
    );
}

#[test]
fn a_list() {
    check(json!([]), "the scenario is a JSON array, not an object");
}

#[test]
fn records_that_no_stream_has() {
    check(json!({ "records": [{ "text": "" }] }), "a record has no \"id\"");
    check(
        json!({ "records": [{ "id": "1", "text": "" }, { "id": 1, "text": "" }] }),
        "record 1 (zero-based): duplicate ID \"1\"",
    );
    check(record(json!({ "text": "", "shardId": "b" })), "record \"1\": unknown shard \"b\"");
    let mut scenario = record(json!({ "text": "" }));
    for (shards, count) in [(json!([]), 0), (json!([{ "shardId": "a" }, { "shardId": "b" }]), 2)] {
        scenario["stream"] = json!({ "shards": shards });
        check(
            scenario.clone(),
            &format!("record \"1\" has no \"shardId\", and the stream has {count} shards"),
        );
    }
    for payload in [
        json!({}),
        json!({ "text": "", "data": "" }),
        json!({ "userRecords": [] }),
        json!({ "userRecords": [{ "text": "" }], "sizeBytes": 1 }),
    ] {
        check(
            record(payload),
            "record \"1\": expected one of \"text\", \"data\", \"sizeBytes\" and (not empty) \"userRecords\"",
        );
    }
    check(
        record(json!({ "sizeBytes": 10_485_761 })),
        "record \"1\" has 10485761 bytes or more, above the 10485760 that a stream takes",
    );
    check(
        record(json!({ "userRecords": [{ "text": "" }, { "text": "", "atMs": 1 }] })),
        "record \"1, user record 1\" has another \"shardId\" or \"atMs\" than the record that it is a part of",
    );
    check(
        record(json!({ "userRecords": [{ "text": "", "explicitHashKey": "x" }] })),
        "record \"1, user record 0\": explicit hash key \"x\" is not a decimal number below 2^128",
    );
}

#[test]
fn faults_and_failures_of_nothing() {
    check(
        json!({ "faults": [{ "atMs": 5, "untilMs": 5, "kind": "throttle" }] }),
        "fault 0 (from zero): untilMs is not after atMs",
    );
    check(
        json!({ "faults": [{ "atMs": 5, "kind": "clockJump" }] }),
        "fault 0 (from zero): a clockJump or lateActivation needs untilMs",
    );
    check(json!({ "function": { "fails": [{ "id": "1" }] } }), "function.fails: unknown record \"1\"");
}
