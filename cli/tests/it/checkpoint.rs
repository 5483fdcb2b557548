//! `checkpoint`, on lease tables and with faults as told.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{ScriptedKinesis, error, variables},
    scripted_stream::{ARN, SHARD, ScriptedStream},
    scripted_table::{APPLICATION, ScriptedTable, state},
};

const OTHER_SHARD: &str = "shardId-000000000001";

/// The identifier of the stream in the table of a KCL application for several streams.
const IDENTIFIER: &str = "123456789012:orders:1767225600";

fn lease(key: &str, checkpoint: &str) -> Value {
    json!({ "leaseKey": { "S": key }, "checkpoint": { "S": checkpoint }, "leaseCounter": { "N": "1" } })
}

/// A lease of a KCL application for several streams.
fn lease_of_several(shard_id: &str, checkpoint: Value) -> Value {
    json!({
        "leaseKey": { "S": format!("{IDENTIFIER}:{shard_id}") },
        "checkpoint": checkpoint,
        "leaseCounter": { "N": "1" },
        "streamName": { "S": IDENTIFIER },
        "shardId": { "S": shard_id },
    })
}

/// The table of a mirror with these items, and another one, `kcl`, with those; and a stream of two shards, of which the
/// second does not take the position 7.
fn server(leases: Vec<Value>, of_kcl: Vec<Value>) -> ScriptedKinesis {
    let records: &[(u64, &[u8])] = &[(7, b"a"), (8, b"b")];
    let stream = ScriptedStream::of(records).with_shard(OTHER_SHARD, None, false, records);
    ScriptedKinesis::start(move |operation, _, request| match operation {
        "Scan" if request["TableName"] == "kcl" => (200, json!({ "Items": of_kcl })),
        "Scan" => (200, json!({ "Items": leases })),
        "DescribeTable" => {
            let keys = [json!({ "AttributeName": "leaseKey", "KeyType": "HASH" })];
            (200, json!({ "Table": { "TableStatus": "ACTIVE", "KeySchema": keys } }))
        }
        "PutItem" => (200, json!({})),
        "GetShardIterator"
            if request["ShardId"] == OTHER_SHARD && request["StartingSequenceNumber"] == "7" =>
        {
            error(400, "InvalidArgumentException")
        }
        _ => stream.answer(operation, request),
    })
}

fn run(server: &ScriptedKinesis, args: &str) -> Run {
    let args = format!("checkpoint {args} --table leases --stream orders");
    kit_where(&variables(&server.url()), args.split(' '), "")
}

#[test]
fn an_unreadable_lease_of_a_kcl_for_several_streams_is_no_shard_without_a_lease() {
    let leases = || {
        vec![
            lease_of_several(SHARD, json!({ "S": "7" })),
            lease_of_several(OTHER_SHARD, json!({ "N": "8" })),
            // Of a stream that was there before.
            json!({ "leaseKey": { "S": format!("123456789012:orders:1:{SHARD}") }, "checkpoint": { "N": "8" } }),
        ]
    };
    let export = run(&server(leases(), Vec::new()), "export");
    assert_eq!((export.exit_code, export.stdout.as_str()), (Some(2), ""), "{}", export.stderr);
    assert!(export.stderr.contains(&format!("row {OTHER_SHARD} cannot be read")), "{}", export.stderr);
    let status = run(&server(leases(), Vec::new()), "status --format json");
    let states: Vec<Value> = status
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["state"].clone())
        .collect();
    assert_eq!((status.exit_code, states), (Some(1), vec![json!("known"), json!("unreadable")]));
    assert!(status.stderr.contains("must start at TRIM_HORIZON"), "{}", status.stderr);
    let server = server(Vec::new(), leases());
    let import = run(&server, "import --from-table kcl --application orders");
    assert_eq!(import.exit_code, Some(2), "{}", import.stderr);
    assert!(server.requests("PutItem").is_empty());
}

#[test]
fn a_position_that_the_stream_does_not_take_is_that_shards_failure() {
    let server = server(Vec::new(), vec![lease(OTHER_SHARD, "7"), lease(SHARD, "8")]);
    let import = run(&server, "import --from-table kcl --application orders");
    assert_eq!(import.exit_code, Some(1), "{}", import.stderr);
    let added: Vec<Value> =
        server.requests("PutItem").iter().map(|put| put["Item"]["leaseKey"]["S"].clone()).collect();
    assert_eq!(added, [json!(SHARD)]);
    assert!(
        import.stderr.contains(&format!("{OTHER_SHARD}: "))
            && import.stderr.contains("InvalidArgumentException"),
        "{}",
        import.stderr
    );
    assert!(
        import.stderr.contains("1 position added, 0 there already, 0 kept as they are, 1 failed"),
        "{}",
        import.stderr
    );
}

#[test]
fn the_status_of_a_shard_whose_position_the_stream_does_not_take_hides_no_other() {
    let server = server(vec![lease(OTHER_SHARD, "7"), lease(SHARD, "7")], Vec::new());
    let status = run(&server, "status --format json");
    let states: Vec<Value> = status
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["state"].clone())
        .collect();
    assert_eq!((status.exit_code, states), (Some(1), vec![json!("known"), json!("unreadable")]));
}

#[test]
fn the_status_has_the_lag_and_the_record_that_fails() {
    let mut row = lease(SHARD, "7");
    row["kitApp"] = json!({ "S": APPLICATION });
    row["kitStream"] = json!({ "S": ARN });
    let journal = ScriptedTable::of([state('S', SHARD, 8, 1_000)]);
    let stream = ScriptedStream::of(&[(7, b"a"), (8, b"b")]);
    let server = ScriptedKinesis::start(move |operation, _, request| match operation {
        "Scan" => (200, json!({ "Items": [row] })),
        "Query" => journal.answer(operation, request),
        _ => stream.answer(operation, request),
    });
    let status = run(&server, "status --journal-table journal --format json");
    assert_eq!(status.exit_code, Some(0), "{}", status.stderr);
    let line: Value = serde_json::from_str(&status.stdout).expect("one line of JSON");
    assert_eq!((&line["failing"], &line["error"]), (&json!("8"), &json!("asked to")));
    assert_eq!(line["firstUnprocessedArrivalMs"], 2_000);
    assert!(line["lagMs"].as_u64().is_some_and(|lag_ms| lag_ms > 1_700_000_000_000), "{line}");
}

/// Runs a command that writes rows, of which one is written by its owner while the command waits. Returns the conditions of its
/// requests.
#[track_caller]
fn conditions(args: &str, exit_code: i32, leases: [Value; 2]) -> Vec<Value> {
    let stream = ScriptedStream::of(&[(7, b"a")]).with_shard(OTHER_SHARD, None, false, &[(7, b"a")]);
    let server = ScriptedKinesis::start(move |operation, number, request| match operation {
        "Scan" => {
            let mut leases = leases.clone();
            leases[1]["leaseCounter"] = json!({ "N": (number + 1).to_string() });
            (200, json!({ "Items": leases }))
        }
        "UpdateItem" => (200, json!({})),
        _ => stream.answer(operation, request),
    });
    let run = run(&server, args);
    assert_eq!(run.exit_code, Some(exit_code), "{}", run.stderr);
    server.requests("UpdateItem").iter().map(|update| update["ConditionExpression"].clone()).collect()
}

#[test]
fn only_leases_that_nobody_writes_are_released_or_moved() {
    let owned = |shard_id| {
        let mut row = lease(shard_id, "7");
        row["leaseOwner"] = json!({ "S": "worker-7" });
        row
    };
    let released =
        conditions("release --owner worker-7 --wait 1 --yes", 1, [owned(SHARD), owned(OTHER_SHARD)]);
    assert_eq!(released, [json!("leaseOwner = :owner AND leaseCounter = :counter")]);
    let moved = conditions("reset --to trim-horizon --yes", 1, [lease(SHARD, "7"), owned(OTHER_SHARD)]);
    assert_eq!(moved, [json!("attribute_not_exists(leaseOwner) AND leaseCounter = :counter")]);
}

#[test]
fn a_row_that_cannot_be_read_is_kept() {
    let unreadable = json!({ "leaseKey": { "S": SHARD }, "checkpoint": { "N": "8" } });
    let server = server(vec![unreadable], vec![lease(SHARD, "8")]);
    let import = run(&server, "import --from-table kcl --application orders");
    assert_eq!(import.exit_code, Some(1), "{}", import.stderr);
    assert!(import.stderr.contains("kept, because its row cannot be read"), "{}", import.stderr);
    assert!(server.requests("PutItem").is_empty());
}

#[test]
fn positions_are_not_added_to_the_mirror_of_another_application() {
    let mut mirror = lease(OTHER_SHARD, "8");
    mirror["kitApp"] = json!({ "S": "orders" });
    mirror["kitStream"] = json!({ "S": ARN });
    let server = server(vec![mirror], vec![lease(SHARD, "8")]);
    let import = run(&server, "import --from-table kcl --application billing");
    assert_eq!(import.exit_code, Some(2), "{}", import.stderr);
    assert!(
        import.stderr.contains("table leases is the mirror of the application orders"),
        "{}",
        import.stderr
    );
    assert!(server.requests("PutItem").is_empty());
    assert_eq!(run(&server, "import --from-table kcl --application orders").exit_code, Some(0));
}

/// Completes a table while the parent is split by the time of this request, and returns the rows that are added.
#[track_caller]
fn completed_while_split(splits_at: &'static str, leases: Vec<Value>) -> Vec<Value> {
    let records: &[(u64, &[u8])] = &[(7, b"a"), (8, b"b")];
    let unsplit = ScriptedStream::of(records).with_shard("shardId-000000000009", None, false, records);
    let split = ScriptedStream::default()
        .with_shard(SHARD, None, true, records)
        .with_shard("shardId-000000000009", None, false, records)
        .with_shard(OTHER_SHARD, Some(SHARD), false, records)
        .with_shard("shardId-000000000002", Some(SHARD), false, records);
    let (is_split, rows) = (AtomicBool::new(false), Mutex::new(leases));
    let server = ScriptedKinesis::start(move |operation, _, request| {
        if operation == splits_at {
            is_split.store(true, Ordering::Relaxed);
        }
        let mut rows = rows.lock().expect("no panic while locked");
        match operation {
            "Scan" => (200, json!({ "Items": *rows })),
            "PutItem" => {
                rows.push(request["Item"].clone());
                (200, json!({}))
            }
            "UpdateItem" => (200, json!({})),
            _ if is_split.load(Ordering::Relaxed) => split.answer(operation, request),
            _ => unsplit.answer(operation, request),
        }
    });
    let complete = run(&server, "complete");
    assert_eq!(complete.exit_code, Some(0), "{}", complete.stderr);
    server
        .requests("PutItem")
        .iter()
        .map(|put| json!([put["Item"]["leaseKey"]["S"], put["Item"]["checkpoint"]["S"]]))
        .collect()
}

#[test]
fn a_table_is_completed_with_the_children_of_a_shard_that_is_split_meanwhile() {
    let (sibling, later) = ("shardId-000000000002", "shardId-000000000009");
    // A child has a position already: the parent is drained, although it has no row.
    let added = completed_while_split("Scan", vec![lease(OTHER_SHARD, "7"), lease(later, "7")]);
    assert_eq!(added, [json!([sibling, "TRIM_HORIZON"])]);
    let added = completed_while_split("PutItem", vec![lease(SHARD, "7")]);
    let expected = [later, OTHER_SHARD, sibling].map(|shard_id| json!([shard_id, "TRIM_HORIZON"]));
    assert_eq!(added, expected);
}

#[test]
fn the_sibling_of_a_shard_with_a_position_is_not_begun_at_the_latest_record() {
    let records: &[(u64, &[u8])] = &[(7, b"a"), (8, b"b")];
    let stream = ScriptedStream::default()
        .with_shard(SHARD, None, true, records)
        .with_shard(OTHER_SHARD, Some(SHARD), false, records)
        .with_shard("shardId-000000000002", Some(SHARD), false, records)
        .with_shard("shardId-000000000003", None, false, records);
    let server = ScriptedKinesis::start(move |operation, _, request| match operation {
        "Scan" => (200, json!({ "Items": [lease(OTHER_SHARD, "7")] })),
        "PutItem" | "UpdateItem" => (200, json!({})),
        _ => stream.answer(operation, request),
    });
    let complete = run(&server, "complete --unknown latest");
    assert_eq!(complete.exit_code, Some(0), "{}", complete.stderr);
    for added in ["shardId-000000000002/TRIM_HORIZON", "shardId-000000000003/LATEST"] {
        assert!(complete.stderr.contains(&format!("added: {added}")), "{}", complete.stderr);
    }
}

#[test]
fn an_import_without_a_position_of_the_stream_is_refused() {
    let server = ScriptedKinesis::start(|operation, _, request| match operation {
        "Scan" if request["TableName"] == "go-kcl" => (
            200,
            json!({ "Items": [{ "ShardID": { "S": "shardId-000000000077" }, "Checkpoint": { "S": "7" } }] }),
        ),
        "Scan" => (200, json!({ "Items": [] })),
        "DescribeTable" => {
            let keys = [json!({ "AttributeName": "ShardID", "KeyType": "HASH" })];
            (200, json!({ "Table": { "TableStatus": "ACTIVE", "KeySchema": keys } }))
        }
        _ => ScriptedStream::of(&[(7, b"a")]).answer(operation, request),
    });
    let import = run(&server, "import --from-table go-kcl --application orders");
    assert_eq!(import.exit_code, Some(2), "{}", import.stderr);
    assert!(import.stderr.contains("no position is one of a shard of"), "{}", import.stderr);
}

#[test]
fn positions_are_not_added_to_the_table_of_a_kcl_for_several_streams() {
    let mut other = lease_of_several(SHARD, json!({ "S": "8" }));
    other["streamName"] = json!({ "S": "123456789012:other:1767225600" });
    let server = server(vec![other], vec![lease(SHARD, "8")]);
    let import = run(&server, "import --from-table kcl --application orders");
    assert_eq!(import.exit_code, Some(2), "{}", import.stderr);
    assert!(import.stderr.contains("for several streams"), "{}", import.stderr);
    assert!(server.requests("PutItem").is_empty());
}
