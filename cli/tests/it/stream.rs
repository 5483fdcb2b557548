//! `simulate --stream` against a Kinesis API that misbehaves as told. A whole API is in the tests of the kit.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{Answer, ScriptedKinesis, description, error, record, variables},
};

const NUMBERS: [&str; 3] = [
    "49590338271490256608559692538361571095921575989136588898",
    "49590338271490256608559692540925702759324208523136588898",
    "49590338271490256608559692542000000000000000000136588898",
];

fn simulate(kinesis: &ScriptedKinesis, args: &str) -> Run {
    let url = kinesis.url();
    let args = format!("simulate --stream orders --url {url} {args}");
    kit_where(&variables(&url), args.split_whitespace(), "")
}

fn shard(id: &str, parent: Option<&str>) -> Value {
    json!({
        "ShardId": id,
        "ParentShardId": parent,
        "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "340282366920938463463374607431768211455" },
        "SequenceNumberRange": { "StartingSequenceNumber": "1" },
    })
}

/// The answers of a stream of one shard, but for its records. Its function succeeds.
fn one_shard(operation: &str) -> Answer {
    match operation {
        "DescribeStreamSummary" => description("orders"),
        "ListShards" => (200, json!({ "Shards": [shard("shardId-000000000000", None)] })),
        "GetShardIterator" => (200, json!({ "ShardIterator": "iterator" })),
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        other => panic!("{other} is not scripted"),
    }
}

fn records(numbers: &[&str], next: Option<&str>) -> Answer {
    let records: Vec<_> = numbers.iter().map(|number| record(number)).collect();
    (200, json!({ "Records": records, "NextShardIterator": next, "MillisBehindLatest": 0 }))
}

/// The steps of this kind that were printed.
fn steps(run: &Run, kind: &str) -> Vec<Value> {
    let steps = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
    steps.filter(|step| step["step"] == kind).collect()
}

fn sequence_numbers(event: &Value) -> Vec<&str> {
    let records = event["Records"].as_array().expect("an event");
    records.iter().map(|record| record["kinesis"]["sequenceNumber"].as_str().expect("digits")).collect()
}

#[test]
fn shards_are_listed_by_pages_and_children_wait_for_their_parents() {
    let kinesis = ScriptedKinesis::start(|operation, _, request| match operation {
        "ListShards" if request.get("NextToken").is_none() => {
            let child = shard("shardId-000000000001", Some("shardId-000000000000"));
            (200, json!({ "Shards": [child], "NextToken": "more" }))
        }
        "ListShards" => (200, json!({ "Shards": [shard("shardId-000000000000", None)] })),
        "GetShardIterator" => (200, json!({ "ShardIterator": request["ShardId"] })),
        "GetRecords" if request["ShardIterator"] == "shardId-000000000000" => records(&NUMBERS[..1], None),
        "GetRecords" => records(&NUMBERS[1..2], None),
        other => one_shard(other),
    });
    let run = simulate(&kinesis, "--format json");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert!(
        run.stderr.contains("all shards have ended: 2 invocations (2 ok), 2 records processed"),
        "{}",
        run.stderr
    );
    let shards: Vec<_> = steps(&run, "invoked").iter().map(|step| step["shardId"].clone()).collect();
    assert_eq!(shards, ["shardId-000000000000", "shardId-000000000001"]);

    let lists = kinesis.requests("ListShards");
    assert_eq!(lists[0], json!({ "StreamName": "orders", "MaxResults": 1000 }));
    assert_eq!(lists[1], json!({ "NextToken": "more", "MaxResults": 1000 }));
    let event = &kinesis.requests("Invoke")[0]["Records"][0];
    assert_eq!(event["eventSourceARN"], "arn:aws:kinesis:eu-west-1:123456789012:stream/orders");
    assert_eq!(event["eventID"], format!("shardId-000000000000:{}", NUMBERS[0]));
    assert_eq!(event["kinesis"]["approximateArrivalTimestamp"], 4_102_444_800.747);
    assert_eq!(event["kinesis"]["data"], "aGVsbG8=");
}

#[test]
fn an_expired_iterator_is_replaced_behind_the_last_record() {
    let kinesis = ScriptedKinesis::start(|operation, number, _| match (operation, number) {
        ("GetRecords", 0 | 2) => error(400, "ExpiredIteratorException"),
        ("GetRecords", 1) => records(&NUMBERS[..2], Some("next")),
        ("GetRecords", _) => records(&NUMBERS[2..], None),
        _ => one_shard(operation),
    });
    let run = simulate(&kinesis, "");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let begins: Vec<_> = kinesis
        .requests("GetShardIterator")
        .iter()
        .map(|request| (request["ShardIteratorType"].clone(), request["StartingSequenceNumber"].clone()))
        .collect();
    let horizon = (json!("TRIM_HORIZON"), Value::Null);
    assert_eq!(begins, [horizon.clone(), horizon, (json!("AFTER_SEQUENCE_NUMBER"), json!(NUMBERS[1]))]);
    let events = kinesis.requests("Invoke");
    let delivered: Vec<_> = events.iter().flat_map(sequence_numbers).collect();
    assert_eq!(delivered, NUMBERS);
}

#[test]
fn what_may_pass_is_tried_again_with_one_note_for_each_kind() {
    let kinesis = ScriptedKinesis::start(|operation, number, _| match (operation, number) {
        ("ListShards", 0) => error(400, "LimitExceededException"),
        ("GetRecords", 0 | 2) => error(400, "ProvisionedThroughputExceededException"),
        ("GetRecords", 1) => error(500, "InternalFailure"),
        ("GetRecords", _) => records(&NUMBERS[..1], None),
        _ => one_shard(operation),
    });
    let run = simulate(&kinesis, "");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let notes: Vec<_> = run.stderr.lines().filter(|line| line.contains("retrying")).collect();
    let note = |what| format!("kinesis-kit: {what}: asked to; retrying (further retries are not reported)");
    assert_eq!(
        notes,
        [
            note("ListShards: LimitExceededException"),
            note("GetRecords: ProvisionedThroughputExceededException"),
            note("GetRecords: InternalFailure"),
        ]
    );
    assert_eq!(kinesis.requests("GetRecords").len(), 4);
}

#[test]
fn what_will_not_pass_ends_the_run() {
    let kinesis = ScriptedKinesis::start(|operation, number, _| match (operation, number) {
        ("GetRecords", 0) => records(&NUMBERS[..1], Some("next")),
        ("GetRecords", _) => error(400, "AccessDeniedException"),
        _ => one_shard(operation),
    });
    let run = simulate(&kinesis, "");
    assert_eq!(run.exit_code, Some(1));
    assert!(
        run.stderr.ends_with(
            "kinesis-kit: stream orders can no longer be used: GetRecords: AccessDeniedException: asked to\n"
        ),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("up to now: 1 invocation (1 ok)"), "{}", run.stderr);
}

#[test]
fn a_stream_that_is_not_there_is_wrong_usage() {
    let kinesis = ScriptedKinesis::start(|_, _, _| error(400, "ResourceNotFoundException"));
    let run = simulate(&kinesis, "");
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(2), ""));
    assert_eq!(
        run.stderr,
        "kinesis-kit: stream orders cannot be used: DescribeStreamSummary: ResourceNotFoundException: asked to\n"
    );
}

#[track_caller]
#[test]
fn a_stream_without_a_retention_is_not_polled() {
    let kinesis = ScriptedKinesis::start(|operation, _, _| match operation {
        "DescribeStreamSummary" => {
            let (status, mut answer) = description("orders");
            answer["StreamDescriptionSummary"]["RetentionPeriodHours"] = json!(0);
            (status, answer)
        }
        other => panic!("{other} is not expected"),
    });
    let run = simulate(&kinesis, "");
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        run.stderr,
        "kinesis-kit: unexpected response to DescribeStreamSummary: a retention of 0 hours\n"
    );
}

fn check_start(mapping: &Value, expected: &Value) {
    let kinesis = ScriptedKinesis::start(|operation, _, _| match operation {
        "GetRecords" => records(&[], None),
        other => one_shard(other),
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scenario = folder.path().join("scenario.json");
    std::fs::write(&scenario, json!({ "mapping": mapping }).to_string()).expect("a writable folder");
    let run = simulate(&kinesis, &format!("--scenario {}", scenario.display()));
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let mut request = kinesis.requests("GetShardIterator").remove(0);
    for the_same in ["StreamName", "ShardId"] {
        request.as_object_mut().expect("a request").remove(the_same);
    }
    assert_eq!(request, *expected);
}

#[test]
fn reading_begins_where_the_mapping_says() {
    check_start(&json!({}), &json!({ "ShardIteratorType": "TRIM_HORIZON" }));
    check_start(&json!({ "StartingPosition": "LATEST" }), &json!({ "ShardIteratorType": "LATEST" }));
    check_start(
        &json!({ "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1_767_225_600.25 }),
        &json!({ "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1_767_225_600.25 }),
    );
}

/// A stream of one record, which its function refuses, and a scenario that does not retry.
fn refusing(args: &str) -> (ScriptedKinesis, Run) {
    let kinesis = ScriptedKinesis::start(|operation, _, _| match operation {
        "GetRecords" => records(&NUMBERS[..1], None),
        "Invoke" => (200, json!({ "batchItemFailures": [{ "itemIdentifier": NUMBERS[0] }] })),
        other => one_shard(other),
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scenario = folder.path().join("scenario.json");
    let mapping = json!({ "MaximumRetryAttempts": 0, "FunctionResponseTypes": ["ReportBatchItemFailures"] });
    std::fs::write(&scenario, json!({ "mapping": mapping }).to_string()).expect("a writable folder");
    let run = simulate(&kinesis, &format!("--scenario {} {args}", scenario.display()));
    (kinesis, run)
}

#[test]
fn without_a_file_discarded_records_are_lost() {
    let (kinesis, run) = refusing("--format json");
    assert_eq!(run.exit_code, Some(1));
    assert!(run.stderr.contains("discarded records are lost: --failures FILE would have kept them"));
    assert!(run.stderr.contains("0 records processed, 1 discarded, 1 lost"), "{}", run.stderr);
    let discarded = &steps(&run, "discarded")[0];
    assert_eq!(discarded["failureRecord"], "notWritten");
    assert_eq!(discarded["condition"], "RetryAttemptsExhausted");
    assert_eq!(kinesis.requests("Invoke").len(), 1);
}

#[test]
fn failure_records_are_appended_with_their_data() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("failures.jsonl");
    std::fs::write(&file, "{}\n").expect("a writable folder");
    let (kinesis, run) = refusing(&format!("--failures {}", file.display()));
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("1 discarded, 0 lost, 1 failure record written"), "{}", run.stderr);
    assert!(
        run.stdout.contains("discarded: retries are exhausted (failure record written)"),
        "{}",
        run.stdout
    );
    let written = std::fs::read_to_string(&file).expect("the file");
    let lines: Vec<Value> =
        written.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    assert_eq!(lines.len(), 2);
    let record = &lines[1];
    assert_eq!(record["KinesisBatchInfo"]["startSequenceNumber"], NUMBERS[0]);
    assert_eq!(
        record["KinesisBatchInfo"]["streamArn"],
        "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
    );
    let payload = record["payload"].as_str().expect("the event as text");
    assert_eq!(serde_json::from_str::<Value>(payload).expect("JSON"), kinesis.requests("Invoke")[0]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_cannot_be_written_is_no_reason_to_stop() {
    let (_, run) = refusing("--failures /dev/full");
    assert_eq!(run.exit_code, Some(1));
    assert!(
        run.stderr.contains("LOST: 1 discarded, and /dev/full cannot be written: No space left"),
        "{}",
        run.stderr
    );
    assert!(run.stdout.contains("(dropped: failure record not written)"), "{}", run.stdout);
    assert!(run.stderr.contains("all shards have ended"), "{}", run.stderr);
}

/// Data of which the base64 is longer than an event may be.
fn too_large_record() -> Value {
    let mut record = record(NUMBERS[0]);
    record["Data"] = json!("A".repeat(7_000_000));
    record
}

#[test]
fn a_record_that_is_too_large_for_any_event_is_shown_and_is_unfinished_work() {
    let kinesis = ScriptedKinesis::start(|operation, _, _| match operation {
        "GetRecords" => {
            let records = json!([too_large_record()]);
            (200, json!({ "Records": records, "NextShardIterator": null, "MillisBehindLatest": 0 }))
        }
        other => one_shard(other),
    });
    let run = simulate(&kinesis, "--format json --for 1");
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    let blocked = format!(
        "kinesis-kit: shard shardId-000000000000 is blocked: record {} is too large for any event, and not discarded yet\n",
        NUMBERS[0]
    );
    assert!(run.stderr.ends_with(&blocked), "{}", run.stderr);
    let steps = steps(&run, "tooLarge");
    assert_eq!((steps.len(), &steps[0]["firstSequenceNumber"]), (1, &json!(NUMBERS[0])));
    assert!(steps[0]["eventBytes"].as_u64() > Some(7_000_000));
    assert!(kinesis.requests("Invoke").is_empty());
}

#[test]
fn a_closed_output_ends_the_run_as_unfinished() {
    let kinesis = ScriptedKinesis::start(|operation, _, _| match operation {
        "GetRecords" => records(&NUMBERS[..1], Some("next")),
        other => one_shard(other),
    });
    let url = kinesis.url();
    let mut kit = Command::new(env!("CARGO_BIN_EXE_kinesis-kit"))
        .args(["simulate", "--stream", "orders", "--format", "json", "--url", &url])
        .envs(variables(&url))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(kit.stdout.take());
    let output = kit.wait_with_output().expect("an end");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("standard output does not take any more"), "{stderr}");
}

/// Sequence numbers as some emulators write them, of which the last is the largest.
const PADDED: [&str; 3] = [
    "00000000000000000000000000000000000000000000000000000009",
    "00000000000000000000000000000000000000000000000000000010",
    "00000000000000000000000000000000000000000000000000000011",
];

#[test]
fn sequence_numbers_with_leading_zeros_are_repeated_as_they_are() {
    let kinesis = ScriptedKinesis::start(|operation, number, _| match (operation, number) {
        ("GetRecords", _) => records(&PADDED, None),
        ("Invoke", 0) => (200, json!({ "batchItemFailures": [{ "itemIdentifier": PADDED[1] }] })),
        _ => one_shard(operation),
    });
    let run = simulate(&kinesis, "--format json");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let events = kinesis.requests("Invoke");
    let delivered: Vec<_> = events.iter().map(sequence_numbers).collect();
    assert_eq!(delivered, [&PADDED[..], &PADDED[1..]]);
    let invoked = &steps(&run, "invoked")[0];
    assert_eq!((&invoked["outcome"], &invoked["reported"]), (&json!("partial"), &json!([PADDED[1]])));
    assert_eq!(steps(&run, "acknowledged")[0]["firstSequenceNumber"], json!(PADDED[0]));

    let url = kinesis.url();
    let args = ["inspect", "--stream", "orders", "--format", "json"];
    let run = kit_where(&variables(&url), args, "");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let shown: Vec<_> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["sequenceNumber"].clone())
        .collect();
    assert_eq!(shown, PADDED);
}
