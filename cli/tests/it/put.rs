//! `put` against a Kinesis API that refuses records as told.

use base64::prelude::*;
use kpl_deaggregation::Deaggregator;
use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_unread, kit_where},
    scripted_kinesis::{Answer, ScriptedKinesis, description, error, variables},
};

fn run(
    answer: impl Fn(&str, usize, &Value) -> Answer + Send + Sync + 'static,
    args: &str,
    stdin: &str,
) -> (Run, ScriptedKinesis) {
    let kinesis = ScriptedKinesis::start(answer);
    let url = kinesis.url();
    let args = format!("put --stream orders {args}");
    (kit_where(&variables(&url), args.split_whitespace(), stdin), kinesis)
}

/// Takes all records: the shard is that of the first, or second, half of hash keys.
fn takes(request: &Value) -> Answer {
    let records = request["Records"].as_array().expect("records");
    let results: Vec<Value> =
        records.iter().map(|_| json!({ "SequenceNumber": "7", "ShardId": "a" })).collect();
    (200, json!({ "FailedRecordCount": 0, "Records": results }))
}

const HALF: &str = "170141183460469231731687303715884105728";

fn two_shards() -> Answer {
    let shard = |id: &str, start: &str, end: &str| {
        json!({ "ShardId": id, "HashKeyRange": { "StartingHashKey": start, "EndingHashKey": end },
            "SequenceNumberRange": { "StartingSequenceNumber": "1" } })
    };
    let closed = json!({ "ShardId": "old", "HashKeyRange": { "StartingHashKey": "0",
        "EndingHashKey": "340282366920938463463374607431768211455" },
        "SequenceNumberRange": { "StartingSequenceNumber": "1", "EndingSequenceNumber": "2" } });
    let low = shard("a", "0", "170141183460469231731687303715884105727");
    let high = shard("b", HALF, "340282366920938463463374607431768211455");
    (200, json!({ "Shards": [closed, low, high] }))
}

/// The user records of each Kinesis record that was put: their data.
fn put(request: &Value) -> Vec<Vec<String>> {
    let records = request["Records"].as_array().expect("records");
    let texts = |record: &Value| {
        let data = BASE64_STANDARD.decode(record["Data"].as_str().expect("base64")).expect("base64");
        let mut deaggregator = Deaggregator::default();
        let user_records = deaggregator.deaggregate(b"k", &data).expect("a valid record");
        user_records.map(|record| String::from_utf8_lossy(record.data).into_owned()).collect()
    };
    records.iter().map(texts).collect()
}

const LINES: &str = r#"{"partitionKey":"k","text":"1","explicitHashKey":"1"}
{"partitionKey":"k","text":"2","explicitHashKey":"170141183460469231731687303715884105728"}

{"partitionKey":"k","text":"3","explicitHashKey":"2"}
"#;

#[test]
fn user_records_of_one_shard_share_a_record() {
    let answer = |operation: &str, _: usize, request: &Value| match operation {
        "ListShards" => two_shards(),
        _ => takes(request),
    };
    let (run, kinesis) = run(answer, "", LINES);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(put(&kinesis.requests("PutRecords")[0]), [vec!["1", "3"], vec!["2"]]);
    assert_eq!(
        run.stdout,
        "POSITION  USER RECORDS  BYTES\na/7                  2  48\na/7                  1  2\n"
    );
    assert!(run.stderr.ends_with("put 3 user records in 2 Kinesis records, 50 bytes\n"), "{}", run.stderr);
}

#[test]
fn without_aggregation_each_is_put_as_it_is() {
    let (run, kinesis) = run(|_, _, request| takes(request), "--plain --format json", LINES);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let request = &kinesis.requests("PutRecords")[0];
    assert_eq!(put(request), [["1"], ["2"], ["3"]]);
    assert_eq!(request["Records"][1]["ExplicitHashKey"], HALF);
    assert_eq!(
        run.stdout.lines().next(),
        Some(r#"{"shardId":"a","sequenceNumber":"7","userRecords":1,"bytes":2}"#)
    );
    assert!(kinesis.requests("ListShards").is_empty());
}

#[test]
fn records_that_were_not_taken_are_put_again_alone() {
    let answer = |_: &str, number: usize, request: &Value| {
        let taken = json!({ "SequenceNumber": number.to_string(), "ShardId": "a" });
        let refused =
            json!({ "ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow" });
        match number {
            0 => (200, json!({ "FailedRecordCount": 2, "Records": [refused, taken, refused] })),
            1 => (200, json!({ "FailedRecordCount": 1, "Records": [taken, refused] })),
            _ => takes(request),
        }
    };
    let (run, kinesis) = run(answer, "--plain", LINES);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let all: Vec<_> = kinesis.requests("PutRecords").iter().map(put).collect();
    assert_eq!(all, [vec![["1"], ["2"], ["3"]], vec![["1"], ["3"]], vec![["3"]]]);
    assert_eq!(run.stdout.lines().count(), 1 + 3);
}

#[test]
fn a_record_that_is_refused_for_good_is_named_without_its_data() {
    let answer = |_: &str, _: usize, _: &Value| {
        let taken = json!({ "SequenceNumber": "7", "ShardId": "a" });
        let refused = json!({ "ErrorCode": "KMSAccessDeniedException", "ErrorMessage": "no" });
        (200, json!({ "FailedRecordCount": 1, "Records": [taken, refused, taken] }))
    };
    let (run, _) = run(answer, "--plain", LINES);
    assert_eq!(run.exit_code, Some(1));
    let expected = "kinesis-kit: Kinesis refused 1 user record of 2 bytes with partition key k: \
                    KMSAccessDeniedException: no\n";
    assert!(run.stderr.starts_with(expected), "{}", run.stderr);
}

#[test]
fn a_wrong_line_is_named_and_the_others_are_put() {
    let input = "{\"partitionKey\":\"k\",\"text\":\"1\"}\nhello\n{\"partitionKey\":\"k\",\"text\":\"3\"}";
    let (run, kinesis) = run(|_, _, request| takes(request), "--plain", input);
    assert_eq!(run.exit_code, Some(1));
    assert_eq!(put(&kinesis.requests("PutRecords")[0]), [["1"], ["3"]]);
    assert!(run.stderr.contains("line 2: expected a JSON object\n"), "{}", run.stderr);
}

#[test]
fn requests_stay_within_their_limits() {
    let line = |bytes: usize| format!("{{\"partitionKey\":\"k\",\"text\":\"{}\"}}\n", "x".repeat(bytes));
    let sizes = |input: String| {
        let (run, kinesis) = run(|_, _, request| takes(request), "--plain", &input);
        assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
        kinesis.requests("PutRecords").iter().map(|request| put(request).len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(line(1).repeat(1_001)), [500, 500, 1]);
    assert_eq!(sizes(line(2_000_000).repeat(3)), [2, 1]);
    assert_eq!(sizes(line(6_000_000).repeat(2)), [1, 1]);
}

#[test]
fn a_stream_is_made_and_waited_for() {
    let answer = |operation: &str, number: usize, request: &Value| match operation {
        "CreateStream" => (200, json!({})),
        "DescribeStreamSummary" => {
            let (status, mut answer) = description("orders");
            match number {
                0 => return error(400, "ResourceNotFoundException"),
                1 => answer["StreamDescriptionSummary"]["StreamStatus"] = json!("CREATING"),
                _ => {}
            }
            (status, answer)
        }
        _ => takes(request),
    };
    let (made, kinesis) = run(answer, "--create 3 --plain", LINES);
    assert_eq!(made.exit_code, Some(0), "{}", made.stderr);
    assert_eq!(kinesis.requests("CreateStream"), [json!({ "StreamName": "orders", "ShardCount": 3 })]);
    assert_eq!(kinesis.requests("DescribeStreamSummary").len(), 3);

    // It is there already.
    let answer = |operation: &str, _: usize, request: &Value| match operation {
        "DescribeStreamSummary" => description("orders"),
        _ => takes(request),
    };
    let (found, kinesis) = run(answer, "--create 3 --plain", LINES);
    assert_eq!(found.exit_code, Some(0));
    assert_eq!((kinesis.requests("CreateStream").len(), found.stderr.contains("retrying")), (0, false));

    // Another one makes it at the same time.
    let answer = |operation: &str, number: usize, request: &Value| match operation {
        "CreateStream" => error(400, "ResourceInUseException"),
        "DescribeStreamSummary" if number == 0 => error(400, "ResourceNotFoundException"),
        "DescribeStreamSummary" => description("orders"),
        _ => takes(request),
    };
    assert_eq!(run(answer, "--create 3 --plain", LINES).0.exit_code, Some(0));
}

#[test]
fn a_stream_that_was_resharded_is_looked_at_again() {
    let answer = |operation: &str, number: usize, request: &Value| match (operation, number) {
        ("ListShards", _) => two_shards(),
        ("PutRecords", 0) => {
            let (status, mut answer) = takes(request);
            answer["Records"][0]["ShardId"] = json!("new");
            (status, answer)
        }
        _ => takes(request),
    };
    // Two requests: the second line does not fit beside the first.
    let line = |bytes: usize| {
        format!("{{\"partitionKey\":\"k\",\"explicitHashKey\":\"1\",\"text\":\"{}\"}}\n", "x".repeat(bytes))
    };
    let (run, kinesis) = run(answer, "--size-limit 10485760", &line(5_000_000).repeat(4));
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(kinesis.requests("ListShards").len(), 2);
    let user_records: usize =
        kinesis.requests("PutRecords").iter().flat_map(put).map(|records| records.len()).sum();
    assert_eq!(user_records, 4);
}

#[test]
fn a_stream_that_does_not_exist_is_refused_and_the_option_that_makes_it_named() {
    for args in ["", "--plain"] {
        let (run, _) = run(|_, _, _| error(400, "ResourceNotFoundException"), args, LINES);
        assert_eq!((run.exit_code, run.stdout.as_str()), (Some(2), ""), "{}", run.stderr);
        assert!(
            run.stderr.contains(
                "kinesis-kit: the stream does not exist: create it with --create SHARDS: stream orders"
            ),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn an_output_that_is_closed_is_unfinished_work() {
    let kinesis = ScriptedKinesis::start(|_, _, request| takes(request));
    let url = kinesis.url();
    let run = kit_unread(&variables(&url), "put --stream orders --plain --format json".split(' '), LINES);
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    assert!(run.stderr.starts_with("kinesis-kit: put 3 user records in 3 Kinesis records"), "{}", run.stderr);
    assert!(run.stderr.contains("cannot write to standard output"), "{}", run.stderr);
}

#[test]
fn a_run_that_ends_early_says_what_was_put_and_where_to_go_on() {
    let answer = |_: &str, number: usize, request: &Value| match number {
        0 => takes(request),
        _ => error(400, "ExpiredTokenException"),
    };
    let input = "{\"partitionKey\":\"k\",\"text\":\"1\"}\n".repeat(1_001);
    let (run, _) = run(answer, "--plain", &input);
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("put 500 user records in 500 Kinesis records, 1000 bytes"), "{}", run.stderr);
    assert!(run.stderr.contains("put the input again from line 1 on"), "{}", run.stderr);
}

#[test]
fn what_waits_for_its_partition_key_does_not_fill_the_memory() {
    let line = |key: usize| format!("{{\"partitionKey\":\"{key}\",\"text\":\"{key}\"}}\n");
    let input: String = (0..50_000).chain([0]).map(line).collect();
    let (run, kinesis) = run(|_, _, request| takes(request), "--group-by partition-key", &input);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let put: Vec<_> = kinesis.requests("PutRecords").iter().flat_map(put).collect();
    // All keys once, and then the first one again: it has not waited for the end.
    assert_eq!((put.len(), put.last()), (50_001, Some(&vec!["0".to_owned()])));
}

#[test]
fn payloads_have_their_key_in_a_field() {
    let answer = |operation: &str, _: usize, request: &Value| match operation {
        "PutRecords" => takes(request),
        "DescribeStreamSummary" => description("orders"),
        _ => two_shards(),
    };
    let lines = "{\"customer\":{\"id\":\"a\"}, \"n\":1}\n{\"customer\":{\"id\":\"b\"}}\n";
    let (done, kinesis) = run(answer, "--plain --key /customer/id", lines);
    assert_eq!(done.exit_code, Some(0), "{}", done.stderr);
    let mut found: Vec<(String, String)> = Vec::new();
    for request in kinesis.requests("PutRecords") {
        for record in request["Records"].as_array().expect("records") {
            let data = BASE64_STANDARD.decode(record["Data"].as_str().expect("base64")).expect("base64");
            let key = record["PartitionKey"].as_str().expect("text").to_owned();
            found.push((key, String::from_utf8(data).expect("text")));
        }
    }
    found.sort();
    let expected = [("a", r#"{"customer":{"id":"a"}, "n":1}"#), ("b", r#"{"customer":{"id":"b"}}"#)];
    assert_eq!(found, expected.map(|(key, data)| (key.to_owned(), data.to_owned())));

    let (wrong, _) = run(answer, "--plain --key customerId", "{\"customer\":\"a\"}\n");
    assert_eq!(wrong.exit_code, Some(1));
    assert!(wrong.stderr.contains("line 1: "), "{}", wrong.stderr);
}
