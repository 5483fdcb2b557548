//! `replay --on-lambda` against APIs that answer as told. Whole APIs, and a mapping, are in the tests of the kit.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    kit::{Run, kit_interrupted, kit_where},
    scripted_kinesis::{Answer, ScriptedKinesis, error, variables},
    scripted_stream::{ARN, SHARD, ScriptedStream},
    scripted_table::ordered,
};

const CHILD: &str = "shardId-000000000001";
const FUNCTION_ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:orders";
/// The second and the third record of each shard are in it.
const RANGE: &str = "--from @2 --to 1970-01-01T00:00:04Z";
const ALIAS: &str = "kinesis-kit-replay-2000-4000";
const MAPPINGS: &str = "/2015-03-31/event-source-mappings";
const FUNCTION_PATH: &str =
    "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Aorders";

/// A region with a function, whose settings a test changes.
#[derive(Debug, Clone)]
struct Account {
    stream: ScriptedStream,
    live: Vec<Value>,
    variables: Value,
    /// The position of each shard that has one, at each look: what the mapping of the replay has come to.
    looks: Vec<BTreeMap<String, u64>>,
    has_replay: bool,
    failures: Vec<(String, Value)>,
    /// Whether the lists of failure records lack them at the first look.
    hides_failures: bool,
    /// The failure of the first request to delete the mapping.
    failing_deletion: Option<FailingDeletion>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailingDeletion {
    Refused,
    /// The mapping is deleted, and the command never knows.
    AnswerLost,
}

impl Account {
    fn new(looks: &[&[(&str, u64)]]) -> Self {
        let records: [(u64, &[u8]); 4] = [(1, b"before"), (2, b"a"), (3, b"b"), (4, b"after")];
        let child: [(u64, &[u8]); 3] = [(21, b"before"), (22, b"c"), (23, b"d")];
        let stream = ScriptedStream::default().with_shard(SHARD, None, true, &records).with_shard(
            CHILD,
            Some(SHARD),
            false,
            &child,
        );
        let positions = |look: &&[(&str, u64)]| {
            look.iter().map(|(shard, number)| ((*shard).to_owned(), *number)).collect()
        };
        Account {
            stream,
            live: vec![live(":live")],
            variables: json!({ "KINESIS_HANDLER_REPLAYS": "on", "KINESIS_HANDLER_JOURNAL_TABLE": "journal",
                "KINESIS_HANDLER_APPLICATION": "orders-app" }),
            looks: looks.iter().map(positions).collect(),
            has_replay: false,
            failures: Vec::new(),
            hides_failures: false,
            failing_deletion: None,
        }
    }

    fn start(self) -> World {
        let made = Arc::new(Mutex::new(self.has_replay));
        let look = Arc::new(Mutex::new(0));
        let failing_deletion = Mutex::new(self.failing_deletion);
        let account = self.clone();
        let kinesis = ScriptedKinesis::start(move |operation, _, request| {
            let mut has_replay = made.lock().expect("no panic while locked");
            match operation {
                "ListStreamConsumers" => (200, json!({ "Consumers": [] })),
                "Query" => self.position(*look.lock().expect("no panic while locked"), request),
                "DeleteItem" => (200, json!({})),
                path if path.trim_end_matches('/') == MAPPINGS => {
                    let query = request.as_str().unwrap_or_default();
                    let mut mappings = self.live.clone();
                    if query.contains("FunctionName") {
                        mappings.clear();
                    }
                    if *has_replay {
                        mappings.push(json!({ "UUID": "replay-uuid", "EventSourceArn": ARN, "State": "Enabled",
                            "FunctionArn": format!("{FUNCTION_ARN}:{ALIAS}"),
                            "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:s3:::failures" } } }));
                    }
                    (200, json!({ "EventSourceMappings": mappings }))
                }
                path if path.ends_with("/configuration") => (
                    200,
                    json!({ "FunctionName": "orders", "FunctionArn": format!("{FUNCTION_ARN}:7"), "MemorySize": 512,
                        "Architectures": ["arm64"], "Environment": { "Variables": self.variables } }),
                ),
                path if path.starts_with("POST ") && path.ends_with("/aliases") => {
                    (201, json!({ "Name": ALIAS, "FunctionVersion": "7" }))
                }
                path if path.ends_with("/aliases/live") => {
                    (200, json!({ "Name": "live", "FunctionVersion": "7" }))
                }
                path if path.starts_with("POST ") => {
                    *has_replay = true;
                    (202, json!({ "UUID": "replay-uuid", "State": "Creating" }))
                }
                path if path.starts_with("DELETE ") && path.contains("event-source-mappings") => {
                    let failing = failing_deletion.lock().expect("no panic while locked").take();
                    if failing == Some(FailingDeletion::Refused) {
                        return error(403, "AccessDeniedException");
                    }
                    *has_replay = false;
                    if failing == Some(FailingDeletion::AnswerLost) {
                        return error(403, "AccessDeniedException");
                    }
                    (202, json!({ "UUID": "replay-uuid", "State": "Deleting" }))
                }
                path if path.starts_with("DELETE ") => (204, json!({})),
                path if path.ends_with("/replay-uuid") => {
                    *look.lock().expect("no panic while locked") += 1;
                    (200, json!({ "UUID": "replay-uuid", "State": "Enabled", "LastProcessingResult": "OK" }))
                }
                path if path.trim_end_matches('/') == "/failures" => {
                    let is_first = *look.lock().expect("no panic while locked") == 0;
                    match self.hides_failures && is_first {
                        true => (200, Value::from("<ListBucketResult></ListBucketResult>")),
                        false => self.objects(request),
                    }
                }
                path if path.starts_with("/failures/") => self.object(path),
                other => self.stream.answer(other, request),
            }
        });
        World { kinesis, folder: tempfile::tempdir().expect("a temporary folder"), account }
    }

    fn position(&self, look: usize, request: &Value) -> Answer {
        let values = &request["ExpressionAttributeValues"];
        assert_eq!(values[":sk"]["S"].as_str().unwrap_or("P#"), "P#");
        let key = values[":pk"]["S"].as_str().expect("a key");
        let shard = key
            .strip_prefix(&format!("orders-app/replay-2000-4000#{ARN}#"))
            .unwrap_or_else(|| panic!("another key: {key}"));
        let number = self.looks[look.min(self.looks.len() - 1)].get(shard);
        let item = |number: &u64| {
            json!({ "pk": { "S": key }, "sk": { "S": "P#" }, "position": { "S": ordered(*number) },
                "sequenceNumber": { "S": number.to_string() }, "subSequenceNumber": { "N": "0" },
                "arrivalAt": { "N": "2000" }, "updatedAt": { "N": "1767225600000" } })
        };
        (200, json!({ "Items": number.map(item).into_iter().collect::<Vec<_>>() }))
    }

    fn objects(&self, request: &Value) -> Answer {
        let query = request.as_str().unwrap_or_default().replace("%2F", "/");
        let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix=")).unwrap_or_default();
        let keys = self.failures.iter().filter(|(key, _)| key.starts_with(prefix));
        let contents: String =
            keys.map(|(key, _)| format!("<Contents><Key>{key}</Key><Size>100</Size></Contents>")).collect();
        let list = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>");
        (200, Value::from(list))
    }

    fn object(&self, path: &str) -> Answer {
        let key = path.trim_start_matches("/failures/").replace("%2F", "/");
        match self.failures.iter().find(|(of, _)| *of == key) {
            Some((_, record)) => (200, Value::from(record.to_string())),
            None => error(404, "NoSuchKey"),
        }
    }
}

struct World {
    kinesis: ScriptedKinesis,
    folder: TempDir,
    account: Account,
}

impl World {
    fn run(&self, args: &str) -> Run {
        let url = self.kinesis.url();
        let mut variables = variables(&url);
        variables.push(("XDG_STATE_HOME", self.folder.path().to_str().expect("a plain path")));
        let args =
            format!("replay --on-lambda --stream orders --function orders --interval 1 --format json {args}");
        kit_where(&variables, args.split_whitespace(), "")
    }

    /// Shard, outcome, position.
    #[track_caller]
    fn check(&self, run: &Run, exit_code: i32, expected: &[(&str, &str, Option<u64>)]) {
        assert_eq!(run.exit_code, Some(exit_code), "{}{}", run.stdout, run.stderr);
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("JSON lines");
            json!([line["shardId"], line["outcome"], line["sequenceNumber"]])
        };
        let mut lines: Vec<Value> = run.stdout.lines().map(line).collect();
        lines.sort_by_key(Value::to_string);
        let expected: Vec<Value> = expected
            .iter()
            .map(|(shard, outcome, number)| json!([shard, outcome, number.map(|number| number.to_string())]))
            .collect();
        assert_eq!(lines, expected, "{}", run.stderr);
    }

    fn made(&self) -> (Vec<Value>, Vec<Value>) {
        let aliases = self.kinesis.requests(&format!("POST {FUNCTION_PATH}/aliases"));
        let mut mappings = self.kinesis.requests(&format!("POST {MAPPINGS}"));
        mappings.extend(self.kinesis.requests(&format!("POST {MAPPINGS}/")));
        (aliases, mappings)
    }

    /// The numbers of mappings and of aliases that were deleted.
    fn deleted(&self) -> (usize, usize) {
        let mappings = self.kinesis.requests(&format!("DELETE {MAPPINGS}/replay-uuid")).len();
        (mappings, self.kinesis.requests(&format!("DELETE {FUNCTION_PATH}/aliases/{ALIAS}")).len())
    }
}

fn live(qualifier: &str) -> Value {
    json!({
        "UUID": "live-uuid", "EventSourceArn": ARN, "FunctionArn": format!("{FUNCTION_ARN}{qualifier}"),
        "State": "Enabled", "BatchSize": 500, "MaximumBatchingWindowInSeconds": 5, "ParallelizationFactor": 10,
        "BisectBatchOnFunctionError": true, "MaximumRetryAttempts": 10, "MaximumRecordAgeInSeconds": 82_800,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "FilterCriteria": { "Filters": [{ "Pattern": "{}" }] },
        "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:s3:::failures" } },
    })
}

#[test]
fn a_second_mapping_replays_the_range_and_is_deleted() {
    let world = Account::new(&[&[], &[(SHARD, 2)], &[(SHARD, 3)], &[(SHARD, 3), (CHILD, 23)]]).start();
    let run = world.run(RANGE);
    world.check(&run, 0, &[(SHARD, "passed", Some(3)), (CHILD, "passed", Some(23))]);
    let (aliases, mappings) = world.made();
    assert_eq!(aliases.len(), 1);
    assert_eq!((&aliases[0]["Name"], &aliases[0]["FunctionVersion"]), (&json!(ALIAS), &json!("7")));
    assert_eq!(
        mappings,
        [json!({
            "FunctionName": format!("{FUNCTION_ARN}:{ALIAS}"), "EventSourceArn": ARN, "Enabled": true,
            "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1, "BatchSize": 500,
            "MaximumBatchingWindowInSeconds": 5, "ParallelizationFactor": 1, "BisectBatchOnFunctionError": true,
            "MaximumRetryAttempts": 10, "MaximumRecordAgeInSeconds": -1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:s3:::failures" } },
            "MetricsConfig": { "Metrics": ["EventCount"] },
        })]
    );
    assert_eq!(world.deleted(), (1, 1));
    assert!(run.stderr.contains("the range is replayed"), "{}", run.stderr);
    assert!(
        run.stderr.contains("0 of 2 shards passed the range; shardId-000000000000 has not begun"),
        "{}",
        run.stderr
    );

    // What is replayed is not replayed again.
    let again = world.run(RANGE);
    world.check(&again, 0, &[(SHARD, "passed", Some(3)), (CHILD, "passed", Some(23))]);
    assert!(again.stderr.contains("nothing is left to be replayed"), "{}", again.stderr);
    assert_eq!(world.made().1.len(), 1);
}

#[test]
fn a_second_call_follows_the_mapping_that_is_there() {
    let mut account = Account::new(&[&[(SHARD, 2)], &[(SHARD, 3), (CHILD, 22)], &[(SHARD, 3), (CHILD, 23)]]);
    account.has_replay = true;
    let world = account.start();
    let run = world.run(RANGE);
    world.check(&run, 0, &[(SHARD, "passed", Some(3)), (CHILD, "passed", Some(23))]);
    assert_eq!((world.made(), world.deleted()), ((Vec::new(), Vec::new()), (1, 1)));
}

#[test]
fn remove_ends_a_replay_that_is_under_way() {
    let mut account = Account::new(&[&[(SHARD, 2)]]);
    account.has_replay = true;
    let world = account.start();
    let run = world.run(&format!("{RANGE} --remove"));
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(0), ""), "{}", run.stderr);
    assert!(
        run.stderr.contains("mapping replay-uuid and alias kinesis-kit-replay-2000-4000 are deleted"),
        "{}",
        run.stderr
    );
    assert_eq!((world.made(), world.deleted()), ((Vec::new(), Vec::new()), (1, 1)));
    // The live mapping may be gone.
    let mut account = Account::new(&[&[(SHARD, 2)]]);
    (account.has_replay, account.live) = (true, Vec::new());
    let world = account.start();
    let run = world.run(&format!("{RANGE} --remove"));
    assert_eq!((run.exit_code, world.deleted()), (Some(0), (1, 1)), "{}", run.stderr);
    let run = world.run("--from 10m --remove");
    assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("no run on this machine has begun this replay"), "{}", run.stderr);
}

#[test]
fn an_interruption_leaves_the_mapping_and_shows_the_shards() {
    let world = Account::new(&[&[], &[(SHARD, 2)]]).start();
    let url = world.kinesis.url();
    let mut variables = variables(&url);
    variables.push(("XDG_STATE_HOME", world.folder.path().to_str().expect("a plain path")));
    let args =
        format!("replay --on-lambda --stream orders --function orders --interval 1 --format json {RANGE}");
    let looks = || world.kinesis.requests(&format!("{MAPPINGS}/replay-uuid")).len();
    let (run, _) = kit_interrupted(&variables, args.split_whitespace(), "", || looks() > 1);
    world.check(&run, 130, &[(SHARD, "underWay", Some(2)), (CHILD, "notBegun", None)]);
    assert!(run.stderr.contains("the replay goes on without this command"), "{}", run.stderr);
    assert_eq!((world.made().1.len(), world.deleted()), (1, (0, 0)));
}

#[test]
fn a_shard_without_a_record_in_the_range_has_nothing() {
    let mut account = Account::new(&[&[]]);
    // Its third record arrives at the end of the range.
    account.stream = ScriptedStream::of(&[(1, b"a")]).with_shard(CHILD, None, true, &[(21, b"b")]);
    let world = account.start();
    let run = world.run(RANGE);
    world.check(&run, 0, &[(SHARD, "nothing", None), (CHILD, "nothing", None)]);
    assert_eq!(world.made(), (Vec::new(), Vec::new()));
}

#[test]
fn discarded_records_do_not_hold_up_the_end() {
    let mut account = Account::new(&[&[(SHARD, 2), (CHILD, 23)]]);
    account.has_replay = true;
    account.failures = vec![(format!("aws/lambda/replay-uuid/{SHARD}/1970/01/01/x"), discarded("3", "4"))];
    let world = account.start();
    let run = world.run(RANGE);
    world.check(&run, 1, &[(SHARD, "passed", Some(2)), (CHILD, "passed", Some(23))]);
    assert!(run.stdout.contains(r#""discarded":2"#), "{}", run.stdout);
    let redrive = format!("--s3 s3://failures/aws/lambda/replay-uuid/ --function {FUNCTION_ARN}:{ALIAS}");
    assert!(run.stderr.contains(&redrive), "{}", run.stderr);
    // The alias is needed for that.
    assert_eq!(world.deleted(), (1, 0));
    let again = world.run(RANGE);
    assert_eq!((again.exit_code, world.made().1.len()), (Some(1), 0), "{}", again.stderr);
    let removed = world.run(&format!("{RANGE} --remove"));
    assert_eq!((removed.exit_code, world.deleted()), (Some(0), (1, 1)), "{}", removed.stderr);
}

#[test]
fn a_record_of_the_range_after_one_that_arrived_later_is_waited_for() {
    // Its second record arrived after the range, and the third one in the range.
    let mut account = Account::new(&[&[], &[], &[(SHARD, 3)]]);
    account.has_replay = true;
    let records: [(u64, &[u8]); 4] = [(1, b"before"), (2, b"after"), (3, b"b"), (4, b"after")];
    account.stream = ScriptedStream::of(&records).with_late(1, 4.1);
    let world = account.start();
    let run = world.run(RANGE);
    world.check(&run, 0, &[(SHARD, "passed", Some(3))]);
}

#[test]
fn a_run_that_was_killed_while_it_deleted_the_mapping_does_not_replay_again() {
    for failing in [FailingDeletion::Refused, FailingDeletion::AnswerLost] {
        let mut account = Account::new(&[&[(SHARD, 2), (CHILD, 23)]]);
        account.has_replay = true;
        account.failures =
            vec![(format!("aws/lambda/replay-uuid/{SHARD}/1970/01/01/x"), discarded("3", "4"))];
        account.failing_deletion = Some(failing);
        let world = account.start();
        let run = world.run(RANGE);
        assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
        let again = world.run(RANGE);
        assert!(again.stderr.contains("except for what the mapping discarded"), "{}", again.stderr);
        let deletions = if failing == FailingDeletion::Refused { 2 } else { 1 };
        assert_eq!(
            (again.exit_code, world.made(), world.deleted()),
            (Some(1), (Vec::new(), Vec::new()), (deletions, 0)),
            "{failing:?}"
        );
    }
}

#[test]
fn a_failure_record_that_comes_after_its_shard_has_passed_is_reported() {
    let mut account = Account::new(&[&[(SHARD, 3)], &[(SHARD, 3), (CHILD, 23)]]);
    account.has_replay = true;
    account.failures = vec![(format!("aws/lambda/replay-uuid/{SHARD}/1970/01/01/x"), discarded("2", "2"))];
    account.hides_failures = true;
    let world = account.start();
    let run = world.run(RANGE);
    assert_eq!((run.exit_code, world.deleted()), (Some(1), (1, 0)), "{}", run.stderr);
}

#[test]
fn a_new_mapping_after_one_that_is_gone_says_that_it_processes_again() {
    let world = Account::new(&[&[(SHARD, 2)], &[(SHARD, 3), (CHILD, 23)]]).start();
    let run = world.run(RANGE);
    world.check(&run, 0, &[(SHARD, "passed", Some(3)), (CHILD, "passed", Some(23))]);
    assert!(run.stderr.contains("the new one processes that part again"), "{}", run.stderr);
}

/// A failure record of the first shard.
fn discarded(first: &str, last: &str) -> Value {
    json!({
        "requestContext": { "requestId": "r", "functionArn": format!("{FUNCTION_ARN}:{ALIAS}"),
            "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 11 },
        "version": "1.0", "timestamp": "2026-01-01T00:00:00.000Z",
        "KinesisBatchInfo": { "shardId": SHARD, "startSequenceNumber": first, "endSequenceNumber": last,
            "approximateArrivalOfFirstRecord": "1970-01-01T00:00:03Z",
            "approximateArrivalOfLastRecord": "1970-01-01T00:00:04Z", "batchSize": 2, "streamArn": ARN },
    })
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut Account), args: &str, expected: &str) {
    let mut account = Account::new(&[&[]]);
    change(&mut account);
    let world = account.start();
    let run = world.run(args);
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(2), ""), "{}", run.stderr);
    assert!(run.stderr.contains(expected), "{}", run.stderr);
    assert_eq!(world.made(), (Vec::new(), Vec::new()));
}

#[test]
fn what_cannot_be_replayed_is_refused_before_anything_is_made() {
    let nothing = |_: &mut Account| {};
    check_refused(nothing, "--from 10m --to 2100-01-01T00:00:00Z", "--to is in the future");
    check_refused(nothing, "--from @4 --to @4", "--to is not later than --from");
    check_refused(nothing, "--from checkpoint", "--from is a time, a duration ago or trim-horizon");
    check_refused(nothing, &format!("{RANGE} --shard {SHARD}"), "cannot be used with");
    check_refused(|account| account.live.clear(), RANGE, "no event source mapping delivers");
    check_refused(
        |account| account.live = vec![live(":live"), live("")],
        RANGE,
        "several event source mappings deliver the stream to orders: name one of orders, orders:live",
    );
    check_refused(
        |account| account.live[0]["TumblingWindowInSeconds"] = json!(60),
        RANGE,
        "the mapping of orders has tumbling windows",
    );
    check_refused(
        |account| account.variables = json!({ "KINESIS_HANDLER_JOURNAL_TABLE": "journal" }),
        RANGE,
        "version 7 of orders cannot replay on Lambda: set KINESIS_HANDLER_REPLAYS=on",
    );
    check_refused(
        |account| {
            account.live[0]["DestinationConfig"] =
                json!({ "OnFailure": { "Destination": "arn:aws:sqs:e:1:q" } })
        },
        RANGE,
        "name a destination for the replay with --on-failure",
    );
    check_refused(
        |account| account.has_replay = true,
        &format!("{RANGE} --restart"),
        "the replay is under way",
    );
}

#[test]
fn a_dry_run_estimates_and_makes_nothing() {
    let world = Account::new(&[&[]]).start();
    let run = world.run(&format!("{RANGE} --dry-run"));
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let estimate: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!((&estimate["shards"], &estimate["invocations"]), (&json!(2), &json!(2)), "{estimate}");
    assert_eq!(world.made(), (Vec::new(), Vec::new()));
    assert!(world.account.looks.len() == 1 && world.kinesis.requests("Query").is_empty());
}
