//! Entries of discarded records that the function has not seen: after the last record of a shard.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{Answer, ScriptedKinesis, error, variables},
    scripted_stream::{ARN, SHARD, ScriptedStream, delivered},
    scripted_table::{ScriptedTable, state},
};

const CLOSED: &str = "shardId-000000000007";

const MINUTE_MS: u64 = 60_000;

fn ago(minutes: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(now.as_millis()).expect("milliseconds of this age") - minutes * MINUTE_MS
}

struct World {
    server: ScriptedKinesis,
    table: Arc<ScriptedTable>,
}

impl World {
    /// `answer` may answer instead of the table, a stream with an open and a closed shard, and a function that processes
    /// everything. It gets the table, the operation, and how many requests for it came before.
    fn new(
        items: impl IntoIterator<Item = Value>,
        answer: impl Fn(&ScriptedTable, &str, usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        World::asked(items, move |table, operation, number, _| answer(table, operation, number))
    }

    /// The same, with an `answer` that also gets the request.
    fn asked(
        items: impl IntoIterator<Item = Value>,
        answer: impl Fn(&ScriptedTable, &str, usize, &Value) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let table = Arc::new(ScriptedTable::of(items));
        let items = Arc::clone(&table);
        let stream = ScriptedStream::of(&[(7, b"a"), (8, b"b"), (9, b"c")]).with_shard(
            CLOSED,
            None,
            true,
            &[(7, b"x"), (8, b"y"), (9, b"z")],
        );
        let server = ScriptedKinesis::start(move |operation, number, request| {
            if let Some(answer) = answer(&items, operation, number, request) {
                return answer;
            }
            match operation {
                "Invoke" => (200, json!({})),
                "Scan" | "Query" | "DeleteItem" => items.answer(operation, request),
                other => stream.answer(other, request),
            }
        });
        World { server, table }
    }

    fn run(&self, args: &str) -> Run {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = self.server.url();
        let mut variables = variables(&url);
        variables.push(("XDG_STATE_HOME", folder.path().to_str().expect("a plain path")));
        kit_where(&variables, args.replace("URL", &url).split_whitespace(), "")
    }

    /// The states that `journal list` shows: shard, sequence number, kind, and why it is stranded.
    fn listed(&self, args: &str) -> Vec<Value> {
        let run = self.run(&format!("journal list --table journal --format json {args}"));
        assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("JSON lines");
            json!([line["shardId"], line["sequenceNumber"], line["kind"], line["strandedBy"]])
        };
        run.stdout.lines().map(line).collect()
    }

    fn delivered(&self) -> Vec<String> {
        let mut delivered: Vec<String> = self.server.requests("Invoke").iter().flat_map(delivered).collect();
        delivered.sort();
        delivered
    }
}

fn no_answer(_: &ScriptedTable, _: &str, _: usize) -> Option<Answer> {
    None
}

/// Old and new entries of an open and of a closed shard, and a discarded.
fn entries() -> [Value; 5] {
    [
        state('S', SHARD, 7, ago(300)),
        state('S', SHARD, 8, ago(5)),
        state('H', SHARD, 9, ago(300)),
        state('S', CLOSED, 7, ago(181)),
        state('S', CLOSED, 8, ago(179)),
    ]
}

#[test]
fn entries_that_the_mapping_no_longer_retries_are_shown_as_stranded() {
    let world = World::new(entries(), no_answer);
    let expected = |open_kind: &str, by: Value| {
        [
            json!([SHARD, "7", open_kind, by]),
            json!([SHARD, "8", "retry", null]),
            json!([SHARD, "9", "discarded", null]),
            json!([CLOSED, "7", "stranded", "closedShard"]),
            json!([CLOSED, "8", "retry", null]),
        ]
    };
    assert_eq!(world.listed(""), expected("retry", Value::Null));
    // 300 minutes are more than the age and three hours.
    assert_eq!(world.listed("--max-age 7000"), expected("stranded", json!("maxAge")));
    assert_eq!(world.listed("--max-age 7500"), expected("retry", Value::Null));
    assert_eq!(world.listed("--kind stranded"), [json!([CLOSED, "7", "stranded", "closedShard"])]);
    let retried = [
        json!([SHARD, "7", "retry", null]),
        json!([SHARD, "8", "retry", null]),
        json!([CLOSED, "8", "retry", null]),
    ];
    assert_eq!(world.listed("--kind retry"), retried);
}

#[test]
fn an_entry_counts_as_retried_as_long_as_nothing_is_known() {
    let world = World::new(entries(), |_, operation, _| {
        (operation == "ListShards").then(|| error(400, "AccessDeniedException"))
    });
    assert!(world.listed("--kind stranded").is_empty());
    let run = world.run("journal list --table journal");
    assert!(run.stderr.contains("which shards of arn:aws:kinesis"), "{}", run.stderr);
    // Nothing is asked for without need.
    let fresh = World::new([state('S', CLOSED, 8, ago(5))], |_, operation, _| match operation {
        "Scan" | "Query" => None,
        other => panic!("{other} is not expected"),
    });
    assert_eq!(fresh.listed(""), [json!([CLOSED, "8", "retry", null])]);
}

/// Requests for the list of event source mappings.
const MAPPINGS: &str = "/2015-03-31/event-source-mappings";

/// A mapping from the stream, or from a consumer of it, to a version or alias of a function.
fn mapping(source: &str, function: &str, age: i64, retries: i64) -> Value {
    let function = format!("arn:aws:lambda:eu-west-1:123456789012:function:{function}");
    json!({ "EventSourceArn": source, "FunctionArn": function, "MaximumRecordAgeInSeconds": age,
        "MaximumRetryAttempts": retries })
}

/// Answers as Lambda and Kinesis do: by event source, and by the very name of a function. `None` for other requests.
fn listed_mappings(mappings: &[Value], operation: &str, request: &Value) -> Option<Answer> {
    match operation {
        "ListStreamConsumers" => {
            let consumer = json!({ "ConsumerARN": format!("{ARN}/consumer/c:1"), "ConsumerName": "c",
                "ConsumerStatus": "ACTIVE", "ConsumerCreationTimestamp": 1_767_225_600.0 });
            Some((200, json!({ "Consumers": [consumer] })))
        }
        MAPPINGS => {
            let query = request.as_str().unwrap_or_default().replace("%3A", ":").replace("%2F", "/");
            let asked = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name));
            let is_listed = |mapping: &&Value| {
                let function = mapping["FunctionArn"].as_str().expect("text");
                asked("EventSourceArn=").is_none_or(|arn| mapping["EventSourceArn"] == arn)
                    && asked("FunctionName=").is_none_or(|name| function.ends_with(&format!(":{name}")))
            };
            let listed: Vec<&Value> = mappings.iter().filter(is_listed).collect();
            Some((200, json!({ "EventSourceMappings": listed })))
        }
        _ => None,
    }
}

/// Reasons of the stranded entries, given these mappings.
#[track_caller]
fn check_stranded(mappings: Vec<Value>, expected: &[&str]) {
    let text = format!("{mappings:?}");
    let world = World::asked(entries(), move |_, operation, _, request| {
        listed_mappings(&mappings, operation, request)
    });
    let listed = world.listed("--kind stranded --mapping-of orders");
    let by: Vec<&str> = listed.iter().map(|line| line[3].as_str().expect("text")).collect();
    assert_eq!(by, expected, "{text}");
}

#[test]
fn the_mapping_says_how_long_it_retries() {
    let consumer = format!("{ARN}/consumer/c:1");
    let both = ["maxAge", "closedShard"];
    check_stranded(vec![mapping(ARN, "orders", 3_600, 2)], &both);
    check_stranded(vec![mapping(&consumer, "orders", 3_600, -1)], &both);
    // The longest age counts.
    let longer = vec![mapping(ARN, "orders", 3_600, 2), mapping(&consumer, "orders", 604_800, 2)];
    check_stranded(longer, &["closedShard"]);
    check_stranded(vec![mapping(ARN, "orders", -1, 2)], &["closedShard"]);
    check_stranded(vec![mapping(ARN, "orders", -1, -1)], &[]);
    // Of another stream or function.
    check_stranded(vec![mapping(&format!("{ARN}2"), "orders", 3_600, 2)], &["closedShard"]);
    check_stranded(vec![mapping(ARN, "billing", 3_600, 2)], &["closedShard"]);
    // Of an alias and a version.
    check_stranded(vec![mapping(ARN, "orders:live", 3_600, 2)], &both);
    check_stranded(vec![mapping(&consumer, "orders:7", -1, -1)], &[]);
}

#[test]
fn a_throttled_list_of_mappings_is_asked_for_again() {
    let world = World::asked(entries(), |_, operation, number, request| match (operation, number) {
        (MAPPINGS, ..4) => Some(error(429, "TooManyRequestsException")),
        _ => listed_mappings(&[mapping(ARN, "orders:live", 3_600, 2)], operation, request),
    });
    assert_eq!(world.listed("--kind stranded --mapping-of orders").len(), 2);
}

#[test]
fn mappings_are_listed_in_the_region_of_the_stream() {
    // The request is signed for it.
    let world = World::asked(entries(), |_, operation, _, request| {
        listed_mappings(&[mapping(ARN, "orders", 3_600, 2)], operation, request)
    });
    let args = "journal list --table journal --kind stranded --mapping-of orders --format json";
    let url = world.server.url();
    let mut variables = variables(&url);
    variables.retain(|(name, _)| *name != "AWS_REGION");
    variables.push(("AWS_REGION", "us-east-1"));
    let run = kit_where(&variables, args.split_whitespace(), "");
    assert_eq!((run.exit_code, run.stdout.lines().count()), (Some(0), 2), "{}", run.stderr);
    assert!(world.server.regions(MAPPINGS).iter().all(|region| region == "eu-west-1"));
}

#[test]
fn mappings_that_cannot_be_listed_say_nothing_about_the_maximum_age() {
    let world = World::new(entries(), |_, operation, _| {
        (operation == "ListStreamConsumers").then(|| error(400, "AccessDeniedException")).or_else(|| {
            let mappings = [mapping(ARN, "orders", 3_600, 2)];
            (operation == MAPPINGS).then(|| (200, json!({ "EventSourceMappings": mappings })))
        })
    });
    let run = world.run("journal list --table journal --kind stranded --mapping-of orders");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let note = format!("the maximum record age of the mappings from {ARN} to orders is not known: ");
    assert_eq!(run.stderr.matches(&note).count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("AccessDeniedException"), "{}", run.stderr);
    // A heading, and the entry of the closed shard.
    assert_eq!((run.stdout.lines().count(), run.stdout.contains(CLOSED)), (2, true), "{}", run.stdout);
}

#[test]
fn discarded_and_stranded_entries_are_redriven_and_the_others_left_to_the_mapping() {
    let world = World::new(entries(), no_answer);
    let redrive = "redrive --discarded journal --reads-per-second 1000 --url URL";
    let dry = world.run(&format!("{redrive} --dry-run --format json"));
    assert_eq!((dry.exit_code, dry.stdout.lines().count()), (Some(0), 2), "{}", dry.stderr);
    let run = world.run(redrive);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(world.delivered(), ["7 x", "9 c"]);
    assert_eq!(world.table.sort_keys(), ["S#017", "S#018", "S#018"]);
    // With the mapping's maximum age, the one of the open shard, too.
    let run = world.run(&format!("{redrive} --max-age 3600"));
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(world.delivered(), ["7 a", "7 x", "9 c"]);
    assert_eq!(world.table.sort_keys(), ["S#018", "S#018"]);
}

#[test]
fn two_entries_of_one_record_are_redriven_once() {
    let items = [state('S', CLOSED, 7, ago(300)), state('H', CLOSED, 7, ago(200))];
    let world = World::new(items, no_answer);
    let run = world.run("redrive --discarded journal --reads-per-second 1000 --url URL");
    assert_eq!((run.exit_code, world.delivered()), (Some(0), vec!["7 x".to_owned()]), "{}", run.stderr);
    assert!(world.table.sort_keys().is_empty());
}

#[test]
fn an_entry_that_the_mapping_writes_after_all_is_left_alone() {
    let again = || {
        let mut again = state('S', CLOSED, 7, ago(0));
        again["version"] = json!({ "N": "2" });
        again
    };
    // Written after it was listed: it is not delivered. Written while it is delivered: it is not deleted.
    for (at, delivered, exit_code) in [("ListShards", 0, 0), ("Invoke", 1, 1)] {
        let world = World::new([state('S', CLOSED, 7, ago(300))], move |table, operation, _| {
            if operation == at {
                table.put(again());
            }
            None
        });
        let run = world.run("redrive --discarded journal --reads-per-second 1000 --url URL");
        assert_eq!(
            (run.exit_code, world.delivered().len()),
            (Some(exit_code), delivered),
            "{at}: {}",
            run.stderr
        );
        assert_eq!(world.table.sort_keys(), ["S#017"], "{at}");
    }
}

#[test]
fn items_that_cannot_be_read_are_listed_and_deleted_by_key() {
    let mut damaged = state('S', SHARD, 8, ago(5));
    damaged["version"] = json!({ "S": "x" });
    let foreign = json!({ "pk": { "S": "a b" }, "sk": { "S": "c" } });
    let world = World::new([state('S', SHARD, 7, ago(5)), damaged.clone(), foreign], no_answer);
    let run = world.run("journal list --table journal --format json");
    assert_eq!((run.exit_code, run.stdout.lines().count()), (Some(1), 3), "{}", run.stderr);
    assert!(run.stdout.contains(r#""sk":"S#018","unreadable":"version is S(\"x\")""#), "{}", run.stdout);
    assert!(run.stdout.contains(r#"{"pk":"a b","sk":"c","unreadable":"#), "{}", run.stdout);

    // Clearing takes the readable ones, and hides none of the others.
    let clear = |args: &[&str]| {
        let url = world.server.url();
        let args = ["journal", "clear", "--table", "journal"].iter().chain(args).copied();
        kit_where(&variables(&url), args, "").exit_code
    };
    assert_eq!(clear(&["--yes"]), Some(1));
    assert_eq!(world.table.sort_keys(), ["c", "S#018"]);
    let pk = damaged["pk"]["S"].as_str().expect("text");
    assert_eq!(clear(&["--item", pk, "S#018"]), Some(1));
    assert_eq!(clear(&["--item", pk, "S#018", "--yes"]), Some(0));
    assert_eq!(clear(&["--item", "a b", "c", "--yes"]), Some(0));
    assert!(world.table.sort_keys().is_empty());

    // One that can be read must be seen to be deleted.
    world.table.put(state('S', SHARD, 7, ago(5)));
    assert_eq!(clear(&["--item", pk, "S#017", "--yes"]), Some(2));
    assert_eq!(world.table.sort_keys(), ["S#017"]);
}
