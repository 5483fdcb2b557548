//! Lists of several pages: thousands of shards, their leases, and many event source mappings.

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{Answer, ScriptedKinesis, description, variables},
    scripted_stream::ARN,
};

const SHARDS: usize = 2_100;

/// Leases of one page of a scan: fewer than shards of a list.
const LEASES_PER_PAGE: usize = 700;

fn shard_id(number: usize) -> String {
    format!("shardId-{number:012}")
}

/// A page of the shards. The token is the number of the first one.
fn listed(request: &Value) -> Answer {
    let first: usize = request["NextToken"].as_str().map_or(0, |token| token.parse().expect("digits"));
    let most: usize = request["MaxResults"].as_u64().expect("a limit").try_into().expect("a small number");
    let end = (first + most).min(SHARDS);
    let shard = |number: usize| {
        json!({
            "ShardId": shard_id(number),
            "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "340282366920938463463374607431768211455" },
            "SequenceNumberRange": { "StartingSequenceNumber": "1" },
        })
    };
    let shards: Vec<Value> = (first..end).map(shard).collect();
    (200, json!({ "Shards": shards, "NextToken": (end < SHARDS).then(|| end.to_string()) }))
}

/// A page of a lease table in which each shard has a lease, except the last one.
fn scanned(request: &Value) -> Answer {
    let start = &request["ExclusiveStartKey"]["leaseKey"]["S"];
    let first = start.as_str().map_or(0, |key| 1 + key["shardId-".len()..].parse::<usize>().expect("digits"));
    let end = (first + LEASES_PER_PAGE).min(SHARDS - 1);
    let lease = |number: usize| {
        json!({ "leaseKey": { "S": shard_id(number) }, "checkpoint": { "S": "7" }, "leaseCounter": { "N": "3" },
            "checkpointSubSequenceNumber": { "N": "0" }, "kitStream": { "S": ARN }, "kitApp": { "S": "orders" } })
    };
    let items: Vec<Value> = (first..end).map(lease).collect();
    let last = (end < SHARDS - 1).then(|| json!({ "leaseKey": { "S": shard_id(end - 1) } }));
    (200, json!({ "Items": items, "LastEvaluatedKey": last }))
}

/// The answers of a stream of many shards, each of which ends after the record 7.
fn answer(operation: &str, request: &Value) -> Answer {
    match operation {
        "DescribeStreamSummary" => description("orders"),
        "ListShards" => listed(request),
        "Scan" => scanned(request),
        "GetShardIterator" => (200, json!({ "ShardIterator": "iterator" })),
        "GetRecords" => {
            let record = json!({ "SequenceNumber": "7", "ApproximateArrivalTimestamp": 1.0, "Data": "aGVsbG8=",
                "PartitionKey": "k" });
            (200, json!({ "Records": [record], "NextShardIterator": null, "MillisBehindLatest": 0 }))
        }
        other => panic!("{other} is not scripted"),
    }
}

fn run(kinesis: &ScriptedKinesis, args: &str) -> Run {
    let url = kinesis.url();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut variables = variables(&url);
    variables.push(("XDG_STATE_HOME", folder.path().to_str().expect("a plain path")));
    kit_where(&variables, args.split_whitespace(), "")
}

/// The value of a member in each line.
fn members(run: &Run, member: &str) -> Vec<Value> {
    let value = |line: &str| serde_json::from_str::<Value>(line).expect("JSON lines")[member].clone();
    run.stdout.lines().map(value).collect()
}

#[test]
fn checkpoint_status_shows_thousands_of_shards() {
    let kinesis = ScriptedKinesis::start(|operation, _, request| answer(operation, request));
    let run = run(&kinesis, "checkpoint status --table leases --stream orders --format json");
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    assert_eq!(
        members(&run, "shardId"),
        (0..SHARDS).map(|number| json!(shard_id(number))).collect::<Vec<_>>()
    );
    let states = members(&run, "state");
    assert!(states[..SHARDS - 1].iter().all(|state| *state == "known"), "{:?}", &states[..10]);
    assert_eq!(states[SHARDS - 1], "missing");
    assert_eq!((kinesis.requests("ListShards").len(), kinesis.requests("Scan").len()), (3, 3));
}

#[test]
fn a_replay_from_the_checkpoint_knows_thousands_of_leases() {
    let kinesis = ScriptedKinesis::start(|operation, _, request| answer(operation, request));
    let run = run(
        &kinesis,
        "replay --stream orders --from checkpoint --checkpoint-table leases --dry-run --concurrency 100 \
         --reads-per-second 1000 --format json --url http://127.0.0.1:1",
    );
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let mut found: Vec<(String, u64)> = members(&run, "shardId")
        .iter()
        .zip(members(&run, "userRecords"))
        .map(|(id, records)| (id.as_str().expect("text").to_owned(), records.as_u64().expect("a number")))
        .collect();
    found.sort();
    // Only the shard without a lease is replayed.
    let expected: Vec<_> =
        (0..SHARDS).map(|number| (shard_id(number), u64::from(number == SHARDS - 1))).collect();
    assert_eq!(found, expected);
    let warning = format!("warning: shard {} has no checkpoint", shard_id(SHARDS - 1));
    assert_eq!(run.stderr.matches("has no checkpoint").count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains(&warning), "{}", run.stderr);
}

#[test]
fn a_mapping_on_the_last_page_of_the_last_consumer_is_found() {
    let kinesis = ScriptedKinesis::start(|operation, _, request| match operation {
        "DescribeStreamSummary" => description("orders"),
        "ListStreamConsumers" => {
            let page = usize::from(request["NextToken"] == "more");
            let consumer = json!({ "ConsumerARN": format!("{ARN}/consumer/c{page}:1"), "ConsumerName": format!("c{page}"),
                "ConsumerStatus": "ACTIVE", "ConsumerCreationTimestamp": 1_767_225_600.0 });
            (200, json!({ "Consumers": [consumer], "NextToken": (page == 0).then_some("more") }))
        }
        path if path.contains("event-source-mappings") => {
            let query = request.as_str().unwrap_or_default();
            let is_of_last = query.contains("consumer%2Fc1");
            let is_last_page = query.contains("Marker=more");
            let mapping = |uuid: &str, function: &str| {
                json!({ "UUID": uuid, "State": "Disabled",
                    "FunctionArn": format!("arn:aws:lambda:eu-west-1:123456789012:function:{function}") })
            };
            let mappings = match (is_of_last, is_last_page) {
                (true, true) => vec![mapping("found", "orders:live")],
                _ => vec![mapping("other", "payments")],
            };
            (200, json!({ "EventSourceMappings": mappings, "NextMarker": (!is_last_page).then_some("more") }))
        }
        other => panic!("{other} is not scripted"),
    });
    let run = run(&kinesis, "pause --stream orders --function orders");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("mapping found: Disabled already"), "{}", run.stderr);
    assert!(!run.stderr.contains("mapping other"), "{}", run.stderr);
}
