//! `kinesis-kit checkpoint cutover`, step by step.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{Answer, ScriptedKinesis, error, variables},
    scripted_stream::{ARN, SHARD as PARENT, ScriptedStream},
};

const BEHIND: &str = "shardId-000000000001";
const QUIET: &str = "shardId-000000000002";
const EMPTY: &str = "shardId-000000000003";

const TABLE: &str = "orders-checkpoints";
const FUNCTION_ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:orders-consumer";
const MAPPINGS: &str = "/2015-03-31/event-source-mappings";

/// The request that makes a mapping.
const CREATE: &str = "POST /2015-03-31/event-source-mappings";

/// When the mapping was disabled: long ago.
const MODIFIED_S: f64 = 1_767_225_600.0;

/// A minute before the first record that is not processed: the 152nd of a shard, which has one a second.
const START_S: u64 = 92;

const CUTOVER: &str =
    "checkpoint cutover --table orders-checkpoints --stream orders --function orders-consumer";

/// The account: what the command finds and changes.
#[derive(Debug)]
struct Account {
    mappings: Vec<Value>,
    rows: BTreeMap<String, Value>,
    variables: Value,
    tags: Value,
    /// Operation that is refused.
    refused: Option<String>,
    /// Whether a row is written by somebody else just before it is frozen.
    is_running: bool,
    /// Whether the parent is split while the mapping is being disabled.
    splits: bool,
}

impl Account {
    fn new() -> Self {
        let rows = [row(PARENT, "100"), row(BEHIND, "251"), row(QUIET, "410")];
        let key = |row: &Value| row["leaseKey"]["S"].as_str().expect("a key").to_owned();
        Account {
            mappings: vec![mapping("old", "")],
            rows: rows.into_iter().map(|row| (key(&row), row)).collect(),
            variables: json!({ "KINESIS_HANDLER_CHECKPOINT_TABLE": TABLE, "KINESIS_HANDLER_CUTOVER": "on" }),
            tags: json!({ "team": "orders", "aws:created": "x" }),
            refused: None,
            is_running: false,
            splits: false,
        }
    }

    /// Returns the answer of a mapping that is looked at. What Lambda does with it ends then.
    fn look(&mut self, uuid: &str) -> Answer {
        let missing = || error(404, "ResourceNotFoundException");
        let Some(at) = self.mappings.iter().position(|mapping| mapping["UUID"] == uuid) else {
            return missing();
        };
        match self.mappings[at]["State"].as_str() {
            Some("Deleting") => {
                self.mappings.remove(at);
                missing()
            }
            Some("Disabling") => {
                self.mappings[at]["State"] = json!("Disabled");
                self.splits = false;
                (200, self.mappings[at].clone())
            }
            _ => (200, self.mappings[at].clone()),
        }
    }

    fn answer(&mut self, operation: &str, request: &Value) -> Answer {
        if self.refused.as_deref() == Some(operation) {
            return error(403, "AccessDeniedException");
        }
        match operation {
            "ListStreamConsumers" => (200, json!({ "Consumers": [] })),
            "Scan" => (200, json!({ "Items": self.rows.values().collect::<Vec<_>>() })),
            "UpdateItem" => self.update(request),
            "PutItem" => {
                let item = request["Item"].clone();
                self.rows.insert(item["leaseKey"]["S"].as_str().expect("a key").to_owned(), item);
                (200, json!({}))
            }
            CREATE => {
                let mut made = request.clone();
                let name = request["FunctionName"].as_str().expect("a name");
                let arn = name.replace("orders-consumer", FUNCTION_ARN);
                made["FunctionArn"] = if name.starts_with("arn:") { json!(name) } else { json!(arn) };
                made["UUID"] = json!("new");
                made["State"] = json!("Enabled");
                self.mappings.push(made.clone());
                (202, made)
            }
            path if path.ends_with("/configuration") => {
                let function = json!({
                    "FunctionName": "orders-consumer", "FunctionArn": FUNCTION_ARN, "Timeout": 1,
                    "Environment": { "Variables": self.variables },
                });
                (200, function)
            }
            path if path.starts_with("/2017-03-31/tags/") => (200, json!({ "Tags": self.tags })),
            path if path.trim_end_matches('/') == MAPPINGS => {
                (200, json!({ "EventSourceMappings": self.mappings }))
            }
            path if path.starts_with("DELETE ") => {
                let uuid = path.rsplit('/').next().expect("a path");
                self.mappings.retain(|mapping| mapping["UUID"] != uuid);
                (202, json!({ "UUID": uuid, "State": "Deleting" }))
            }
            path if path.starts_with(MAPPINGS) => {
                let uuid = path.rsplit('/').next().expect("a path");
                self.look(uuid)
            }
            other => panic!("{other} is not scripted"),
        }
    }

    fn update(&mut self, request: &Value) -> Answer {
        let is_active =
            |mapping: &Value| ["Deleting", "Disabling"].map(Value::from).contains(&mapping["State"]);
        assert!(!self.mappings.iter().any(is_active), "a mapping may be at work");
        let key = request["Key"]["leaseKey"]["S"].as_str().expect("a key");
        let row = self.rows.get_mut(key).expect("a row");
        if self.is_running {
            row["leaseCounter"] = json!({ "N": "8" });
        }
        let condition =
            "attribute_not_exists(leaseOwner) AND leaseCounter = :counter AND checkpoint = :checkpoint";
        assert_eq!(request["ConditionExpression"], condition);
        let values = &request["ExpressionAttributeValues"];
        if row["leaseCounter"] != values[":counter"] || row["checkpoint"] != values[":checkpoint"] {
            return error(400, "ConditionalCheckFailedException");
        }
        row["cutoverSequence"] = values[":sequence"].clone();
        row["cutoverSub"] = values[":sub"].clone();
        row["cutoverExpiresAt"] = values[":expires"].clone();
        (200, json!({}))
    }

    /// The frozen positions by shard.
    fn frozen(&self) -> Vec<(&str, &str)> {
        let frozen = self
            .rows
            .iter()
            .filter_map(|(id, row)| Some((id.as_str(), row["cutoverSequence"]["S"].as_str()?)));
        frozen.collect()
    }
}

fn row(shard_id: &str, checkpoint: &str) -> Value {
    json!({
        "leaseKey": { "S": shard_id }, "checkpoint": { "S": checkpoint },
        "checkpointSubSequenceNumber": { "N": "0" }, "leaseCounter": { "N": "7" }, "kitStream": { "S": ARN },
        "kitApp": { "S": "orders-consumer" }, "kitArrivalAt": { "N": "200000" },
    })
}

fn mapping(uuid: &str, qualifier: &str) -> Value {
    json!({
        "UUID": uuid, "EventSourceArn": ARN, "FunctionArn": format!("{FUNCTION_ARN}{qualifier}"),
        "EventSourceMappingArn": format!("arn:aws:lambda:eu-west-1:123456789012:event-source-mapping:{uuid}"),
        "State": "Disabled", "LastModified": MODIFIED_S, "StartingPosition": "TRIM_HORIZON", "BatchSize": 77,
        "MaximumRetryAttempts": 5, "FunctionResponseTypes": ["ReportBatchItemFailures"],
    })
}

/// A parent and a shard without records. If the parent is split, it is drained, one child is behind, and the other one quiet.
fn stream(is_split: bool) -> ScriptedStream {
    let records =
        |numbers: std::ops::Range<u64>| numbers.map(|number| (number, &b"x"[..])).collect::<Vec<_>>();
    let stream = ScriptedStream::default().with_shard(PARENT, None, is_split, &records(1..101));
    let stream = match is_split {
        true => stream.with_shard(BEHIND, Some(PARENT), false, &records(101..301)).with_shard(
            QUIET,
            Some(PARENT),
            false,
            &records(401..411),
        ),
        false => stream,
    };
    stream.with_shard(EMPTY, None, false, &[])
}

struct World {
    account: Arc<Mutex<Account>>,
    server: ScriptedKinesis,
    folder: TempDir,
}

impl World {
    fn start(change: impl FnOnce(&mut Account)) -> Self {
        let mut account = Account::new();
        change(&mut account);
        let (account, unsplit, split) = (Arc::new(Mutex::new(account)), stream(false), stream(true));
        let shared = Arc::clone(&account);
        let server = ScriptedKinesis::start(move |operation, _, request| match operation {
            "DescribeStreamSummary" | "ListShards" | "GetShardIterator" | "GetRecords" => {
                // Of a stream that had the same name.
                if request["StartingSequenceNumber"] == "9" {
                    return error(400, "InvalidArgumentException");
                }
                let is_split = !shared.lock().expect("no panic while locked").splits;
                if is_split { &split } else { &unsplit }.answer(operation, request)
            }
            _ => shared.lock().expect("no panic while locked").answer(operation, request),
        });
        World { account, server, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().expect("no panic while locked")
    }

    #[track_caller]
    fn run(&self, options: &str, exit_code: i32) -> Run {
        let url = self.server.url();
        let mut variables = variables(&url);
        variables.push(("XDG_STATE_HOME", self.folder.path().to_str().expect("a plain path")));
        let run = kit_where(&variables, format!("{CUTOVER} {options}").split_whitespace(), "");
        assert_eq!(run.exit_code, Some(exit_code), "{}", run.stderr);
        run
    }

    /// The requests that make a mapping.
    fn made(&self) -> Vec<Value> {
        self.server.requests(CREATE)
    }

    fn progress_files(&self) -> usize {
        fs::read_dir(self.folder.path().join("kinesis-kit")).map_or(0, Iterator::count)
    }
}

/// The new mapping is made as it should be, once, and everything is frozen.
#[track_caller]
fn check_done(world: &World) {
    let account = world.account();
    assert_eq!(account.frozen(), [(PARENT, "100"), (BEHIND, "251"), (QUIET, "410")]);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    for shard_id in [PARENT, BEHIND, QUIET] {
        let expires_ms = account.rows[shard_id]["cutoverExpiresAt"]["N"].as_str().expect("digits");
        let left_ms = expires_ms.parse::<u128>().expect("digits").checked_sub(now_ms);
        // The retention of the stream.
        assert!(left_ms.is_some_and(|left_ms| left_ms <= 24 * 60 * 60 * 1_000), "{shard_id}: {expires_ms}");
    }
    let [made] = &account.mappings[..] else { panic!("{:#?}", account.mappings) };
    for (member, expected) in [
        ("UUID", json!("new")),
        ("FunctionArn", json!(FUNCTION_ARN)),
        ("EventSourceArn", json!(ARN)),
        ("StartingPosition", json!("AT_TIMESTAMP")),
        ("StartingPositionTimestamp", json!(START_S as f64)),
        ("BatchSize", json!(77)),
        ("MaximumRetryAttempts", json!(5)),
        ("FunctionResponseTypes", json!(["ReportBatchItemFailures"])),
        ("Enabled", json!(true)),
        ("Tags", json!({ "team": "orders" })),
    ] {
        let found = &made[member];
        let is_same =
            *found == expected || found.as_f64().is_some_and(|found| Some(found) == expected.as_f64());
        assert!(is_same, "{member}: {found}");
    }
    drop(account);
    assert_eq!(world.progress_files(), 0, "nothing is left to continue with");
}

#[test]
fn a_plan_changes_nothing() {
    for (options, exit_code) in [("--dry-run", 0), ("", 1), ("--no-mapping", 1)] {
        let world = World::start(|_| {});
        let run = world.run(options, exit_code);
        let starts = "as of now, the new mapping would start AT_TIMESTAMP 1970-01-01 00:01:32 UTC (92 seconds since 1970): the \
                      first record that is not processed is in shardId-000000000001, and arrived at 1970-01-01 00:02:32 UTC";
        for text in [starts, "3 positions would be frozen", "keeps the position, and needs no cut-over"] {
            assert!(run.stderr.contains(text), "{text} in {}", run.stderr);
        }
        assert_eq!(run.stdout, "");
        assert_eq!(world.account().frozen(), []);
        assert_eq!((world.account().mappings.len(), world.made().len()), (1, 0));
        assert_eq!(world.progress_files(), 0);
    }
}

#[test]
fn the_first_record_of_all_shards_decides_about_the_start() {
    let world = World::start(|account| {
        account.rows.insert(BEHIND.to_owned(), row(BEHIND, "280"));
        account.rows.insert(PARENT.to_owned(), row(PARENT, "70"));
        account.rows.insert(QUIET.to_owned(), row(QUIET, "409"));
    });
    let run = world.run("--dry-run", 0);
    let first = "is in shardId-000000000002, and arrived at 1970-01-01 00:00:10 UTC";
    assert!(run.stderr.contains(first), "{}", run.stderr);
}

#[test]
fn positions_are_frozen_and_the_mapping_is_made_again() {
    let world = World::start(|_| {});
    let run = world.run("--yes", 0);
    check_done(&world);
    assert!(run.stderr.contains("1 shard without a row, such as shardId-000000000003"), "{}", run.stderr);
    assert!(run.stderr.contains("mapping new: Enabled"), "{}", run.stderr);
}

#[test]
fn a_cut_over_that_was_interrupted_continues() {
    let delete = format!("DELETE {MAPPINGS}/old");
    let new = format!("{MAPPINGS}/new");
    for refused in ["Scan", "UpdateItem", delete.as_str(), CREATE, new.as_str()] {
        let world = World::start(|account| account.refused = Some(refused.to_owned()));
        let run = world.run("--yes", if refused == "UpdateItem" { 1 } else { 2 });
        assert!(run.stderr.contains("AccessDeniedException"), "{refused}: {}", run.stderr);
        let is_deleted = [CREATE, new.as_str()].contains(&refused);
        assert_eq!(
            world.account().mappings.iter().all(|mapping| mapping["UUID"] != "old"),
            is_deleted,
            "{refused}"
        );
        // When the new mapping is made, nothing is read that the old mapping's end has decided.
        world.account().refused = (refused == new).then(|| "Scan".to_owned());
        world.run("--yes", 0);
        check_done(&world);
    }
}

#[test]
fn a_position_that_moves_meanwhile_stops_it() {
    let world = World::start(|account| account.is_running = true);
    let run = world.run("--yes", 1);
    assert!(
        run.stderr.contains("its position was written meanwhile, so an invocation is running"),
        "{}",
        run.stderr
    );
    assert_eq!((world.account().frozen(), world.made().len()), (Vec::new(), 0));
    assert_eq!(world.account().mappings[0]["UUID"], "old");
    world.account().is_running = false;
    world.run("--yes", 0);
    check_done(&world);
}

#[test]
fn a_new_mapping_may_have_another_alias() {
    let world = World::start(|_| {});
    let run = world.run("--to orders-consumer:next --yes", 0);
    assert!(run.stderr.contains("mapping old stays disabled"), "{}", run.stderr);
    let uuids: Vec<Value> = world.account().mappings.iter().map(|mapping| mapping["UUID"].clone()).collect();
    assert_eq!(uuids, ["old", "new"]);
    assert_eq!(world.made()[0]["FunctionName"], "orders-consumer:next");
    // Once more, nothing is touched: the new mapping is at work.
    let again = world.run("--to orders-consumer:next --yes", 2);
    assert!(
        again.stderr.contains(&format!("mapping new delivers {ARN} to orders-consumer:next already")),
        "{}",
        again.stderr
    );
    assert_eq!(world.server.requests("UpdateItem").len(), 3);
}

#[test]
fn a_shard_that_is_split_while_the_mapping_is_being_disabled_is_frozen_with_its_children() {
    let world = World::start(|account| {
        account.mappings[0]["State"] = json!("Disabling");
        account.splits = true;
    });
    let run = world.run("--yes", 0);
    check_done(&world);
    for what in ["the last invocation to end", "environments of the function to notice"] {
        assert!(run.stderr.contains(what), "{}", run.stderr);
    }
}

#[test]
fn the_mapping_of_a_replay_on_lambda_is_left_alone() {
    let world = World::start(|account| {
        account.mappings.push(mapping("replay", ":kinesis-kit-replay-1-2"));
    });
    world.run("--yes", 0);
    world.account().mappings.retain(|mapping| mapping["UUID"] != "replay");
    check_done(&world);
}

#[test]
fn a_plan_is_not_continued_if_its_positions_are_no_longer_frozen() {
    let interrupted = || {
        let world = World::start(|account| account.refused = Some(CREATE.to_owned()));
        world.run("--yes", 2);
        world.account().refused = None;
        world
    };
    let check_refused = |world: &World, expected: &str| {
        let run = world.run("--yes", 2);
        assert!(run.stderr.contains(expected), "{}", run.stderr);
        assert_eq!(world.made().len(), 1, "only the one that was refused");
    };
    // Somebody has made a mapping, and deleted it.
    let world = interrupted();
    world.account().rows.insert(BEHIND.to_owned(), row(BEHIND, "270"));
    check_refused(&world, "out of date, because shardId-000000000001 was processed since");

    let world = interrupted();
    let folder = fs::read_dir(world.folder.path().join("kinesis-kit")).expect("a folder");
    let file = folder.last().expect("a file").expect("a file").path();
    let text = fs::read_to_string(&file).expect("text");
    let (before, after) = text.split_once(r#"\"expires_ms\":"#).expect("a time");
    let (_, after) = after.split_once(',').expect("another member");
    fs::write(&file, format!(r#"{before}\"expires_ms\":1,{after}"#)).expect("a file");
    check_refused(&world, "the frozen positions have expired");
}

#[test]
fn a_deployment_may_make_the_new_mapping() {
    let world = World::start(|_| {});
    let run = world.run("--no-mapping --yes", 0);
    assert_eq!(run.stdout, "StartingPosition=AT_TIMESTAMP StartingTimestamp=92\n");
    assert!(run.stderr.contains("needs mapping old to be deleted first"), "{}", run.stderr);
    let frozen = world.account().frozen().len();
    assert_eq!((frozen, world.account().mappings.len(), world.made().len()), (3, 1, 0));
}

#[test]
fn positions_may_be_frozen_as_soon_as_a_mapping_is_deleted() {
    let world = World::start(|account| account.mappings[0]["State"] = json!("Deleting"));
    let refused = world.run("--yes", 2);
    assert!(refused.stderr.contains("no event source mapping delivers"), "{}", refused.stderr);
    let run = world.run("--no-mapping --yes", 0);
    assert_eq!(run.stdout, "StartingPosition=AT_TIMESTAMP StartingTimestamp=92\n");
    assert_eq!((world.account().frozen().len(), world.made().len()), (3, 0));
    for what in ["the last invocation to end", "environments of the function to notice"] {
        assert!(run.stderr.contains(what), "{}", run.stderr);
    }
}

#[test]
fn a_position_that_is_not_known_starts_at_the_oldest_record_and_is_not_frozen() {
    for checkpoint in ["broken", "LATEST", "9"] {
        let world = World::start(|account| {
            account.rows.insert(QUIET.to_owned(), row(QUIET, checkpoint));
        });
        let run = world.run("--yes", 0);
        assert!(run.stderr.contains("shardId-000000000002: its position is not known"), "{}", run.stderr);
        assert_eq!(world.account().frozen(), [(PARENT, "100"), (BEHIND, "251")]);
        assert_eq!(world.made()[0]["StartingPosition"], "TRIM_HORIZON");
        assert_eq!(world.made()[0].get("StartingPositionTimestamp"), None);
    }
}

#[test]
fn a_drained_parent_without_a_row_gets_one_if_its_records_would_come_again() {
    let world = World::start(|account| drop(account.rows.remove(PARENT)));
    let run = world.run("--yes", 0);
    assert!(run.stderr.contains("shardId-000000000000: added a row"), "{}", run.stderr);
    let account = world.account();
    assert_eq!(account.frozen(), [(PARENT, "SHARD_END"), (BEHIND, "251"), (QUIET, "410")]);
    assert_eq!(account.rows[PARENT]["checkpoint"]["S"], "SHARD_END");
    drop(account);

    // All of its records precede the start.
    let world = World::start(|account| {
        account.rows.remove(PARENT);
        account.rows.insert(BEHIND.to_owned(), row(BEHIND, "299"));
    });
    world.run("--yes", 0);
    assert_eq!(world.account().frozen(), [(BEHIND, "299"), (QUIET, "410")]);
}

/// A change of an account.
type Change = fn(&mut Account);

#[test]
fn what_would_lose_or_repeat_records_is_refused() {
    let cases: [(&str, Change); 10] = [
        ("set KINESIS_HANDLER_CUTOVER=on", |account| {
            account.variables["KINESIS_HANDLER_CUTOVER"] = json!("off")
        }),
        ("mirrors its position into table other", |account| {
            account.variables["KINESIS_HANDLER_CHECKPOINT_TABLE"] = json!("other");
        }),
        ("the row is of application orders-consumer, and the function's is payments", |account| {
            account.variables["KINESIS_HANDLER_APPLICATION"] = json!("payments");
        }),
        ("has no position of the stream", |account| account.rows.clear()),
        ("worker-7 owns the lease", |account| {
            account.rows.get_mut(QUIET).expect("a row")["leaseOwner"] = json!({ "S": "worker-7" });
        }),
        ("ParallelizationFactor above 1", |account| account.mappings[0]["ParallelizationFactor"] = json!(2)),
        ("tumbling windows", |account| account.mappings[0]["TumblingWindowInSeconds"] = json!(60)),
        ("part of the stack billing", |account| {
            account.tags["aws:cloudformation:stack-name"] = json!("billing")
        }),
        ("several mappings deliver the stream", |account| account.mappings.push(mapping("other", ":live"))),
        ("FilterCriteria cannot be read", |account| {
            account.mappings[0]["FilterCriteriaError"] =
                json!({ "ErrorCode": "KMSAccessDenied", "Message": "no" });
        }),
    ];
    for (text, change) in cases {
        let world = World::start(change);
        let run = world.run("--yes", 2);
        assert!(run.stderr.contains(text), "{text} in {}", run.stderr);
        assert_eq!((world.account().frozen(), world.made().len()), (Vec::new(), 0), "{text}");
    }
}
