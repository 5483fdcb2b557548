//! `kinesis-kit pause` and `resume`.

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{ScriptedKinesis, error, variables},
    scripted_stream::{ARN, SHARD, ScriptedStream},
};

const FUNCTION_ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:orders";

/// When the mapping was changed: long ago.
const MODIFIED_S: f64 = 1_767_225_600.0;

fn mapping(uuid: &str, qualifier: &str, state: &str, age_s: i64) -> Value {
    json!({
        "UUID": uuid, "EventSourceArn": ARN, "FunctionArn": format!("{FUNCTION_ARN}{qualifier}"), "State": state,
        "LastModified": MODIFIED_S, "MaximumRecordAgeInSeconds": age_s,
    })
}

/// Runs a command in an account with these mappings, whose state changes at the second look, and a stream of four records, of
/// which two are processed.
fn run(arguments: &str, mappings: Vec<Value>) -> (Run, Vec<Value>) {
    let stream = ScriptedStream::of(&[(10, b"a"), (11, b"b"), (12, b"c"), (13, b"d")]);
    let kinesis = ScriptedKinesis::start(move |operation, number, request| match operation {
        "DescribeStreamSummary" | "ListShards" | "GetShardIterator" | "GetRecords" => {
            stream.answer(operation, request)
        }
        "Scan" if request["TableName"] == "checkpoints" => {
            let lease = json!({
                "leaseKey": { "S": SHARD }, "checkpoint": { "S": "11" }, "checkpointSubSequenceNumber": { "N": "0" },
                "leaseCounter": { "N": "7" }, "kitStream": { "S": ARN }, "kitApp": { "S": "orders" },
            });
            (200, json!({ "Items": [lease] }))
        }
        "Scan" => error(400, "ResourceNotFoundException"),
        "ListStreamConsumers" => (200, json!({ "Consumers": [] })),
        "/2015-03-31/event-source-mappings" | "/2015-03-31/event-source-mappings/" => {
            (200, json!({ "EventSourceMappings": mappings }))
        }
        "PUT /2015-03-31/event-source-mappings/denied" => error(403, "AccessDeniedException"),
        path if path.starts_with("PUT ") => (202, json!({ "UUID": "m", "State": "Disabling" })),
        path if path.ends_with("/gone") => error(404, "ResourceNotFoundException"),
        path if path.ends_with("/slow") => (200, json!({ "UUID": "slow", "State": "Disabling" })),
        _ => {
            let is_pause = mappings.iter().any(|mapping| mapping["State"] == "Enabled");
            let state = match (number, is_pause) {
                (0, true) => "Disabling",
                (_, true) => "Disabled",
                (0, false) => "Enabling",
                (_, false) => "Enabled",
            };
            (200, json!({ "UUID": "m", "State": state }))
        }
    });
    let url = kinesis.url();
    let run = kit_where(&variables(&url), arguments.split(' '), "");
    (run, kinesis.requests("PUT /2015-03-31/event-source-mappings/m"))
}

/// Returns a text with `…` for the duration after these words.
fn without_duration(text: &str, words: &str) -> String {
    let (before, after) = text.split_once(words).expect("the words are there");
    format!("{before}{words}…{}", after.trim_start_matches(|char: char| char != ','))
}

#[test]
fn pause_disables_a_mapping_and_waits() {
    let pause = "pause --stream orders --function orders";
    let (run, requests) = run(pause, vec![mapping("m", "", "Enabled", 82_800)]);
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(0), ""), "{}", run.stderr);
    assert_eq!(requests, [json!({ "Enabled": false })]);
    assert!(run.stderr.contains("kinesis-kit: mapping m: Disabled\n"), "{}", run.stderr);
    assert!(run.stderr.contains("(23 h of MaximumRecordAgeInSeconds)"), "{}", run.stderr);
    assert!(run.stderr.contains("older records then go to the failure destination"), "{}", run.stderr);
}

#[test]
fn the_retention_is_the_limit_without_a_shorter_age() {
    for age_s in [-1, 604_800] {
        let (run, requests) =
            run("pause --stream orders --function orders", vec![mapping("m", "", "Disabled", age_s)]);
        assert_eq!((run.exit_code, requests), (Some(0), Vec::new()), "{}", run.stderr);
        assert_eq!(
            without_duration(&run.stderr, "disabled for "),
            "kinesis-kit: mapping m: Disabled already\n\
             kinesis-kit: it has been disabled for …, since 2026-01-01 00:00:00.000 UTC at the latest\n\
             kinesis-kit: records that arrive after 2026-01-01 00:00:00.000 UTC wait in the stream, and none is lost before \
             2026-01-02 00:00:00.000 UTC (24 h of the stream's retention): older records then leave the stream, without a \
             failure record\n\
             kinesis-kit: records that were waiting before are older: see the metric IteratorAge\n"
        );
    }
}

#[test]
fn resume_enables_a_mapping_and_names_what_waited_too_long() {
    let (run, requests) =
        run("resume --stream orders --function orders", vec![mapping("m", "", "Disabled", 3_600)]);
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(0), ""), "{}", run.stderr);
    assert_eq!(requests, [json!({ "Enabled": true })]);
    for line in
        ["mapping m: Enabled\n", "since 2026-01-01 00:00:00.000 UTC at the latest\n", "they are discarded\n"]
    {
        assert!(run.stderr.contains(line), "{line} in {}", run.stderr);
    }
}

#[test]
fn only_the_mappings_of_the_function_and_its_qualifier_change() {
    let mappings = || {
        let mut other = mapping("other", "-archive", "Enabled", -1);
        other["FunctionArn"] = json!(format!("{FUNCTION_ARN}-archive"));
        vec![mapping("m", ":live", "Enabled", -1), mapping("old", ":old", "Enabled", -1), other]
    };
    let (live, requests) = run("pause --stream orders --function orders:live", mappings());
    assert_eq!((live.exit_code, requests.len()), (Some(0), 1), "{}", live.stderr);
    assert!(!live.stderr.contains("mapping o"), "{}", live.stderr);
    let (all, _) = run("pause --stream orders --function orders", mappings());
    assert!(all.stderr.contains("mapping old: Disabled") && !all.stderr.contains("other"), "{}", all.stderr);
    let (none, _) = run("pause --stream orders --function payments", mappings());
    assert_eq!(none.exit_code, Some(2), "{}", none.stderr);
    assert!(none.stderr.contains("no event source mapping delivers"), "{}", none.stderr);
}

#[test]
fn what_does_not_change_is_an_error() {
    let mappings = vec![mapping("denied", "", "Enabled", -1), mapping("slow", "", "Enabled", -1)];
    let (run, _) = run("pause --stream orders --function orders --wait 1", mappings);
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("mapping denied: ") && run.stderr.contains("AccessDenied"), "{}", run.stderr);
    assert!(run.stderr.contains("mapping slow: still Disabling after 1 s"), "{}", run.stderr);
}

#[test]
fn a_mapping_that_is_gone_hides_no_other() {
    let mappings = vec![mapping("gone", "", "Enabled", -1), mapping("m", "", "Enabled", -1)];
    let (run, _) = run("pause --stream orders --function orders", mappings);
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("mapping gone: ") && run.stderr.contains("NotFound"), "{}", run.stderr);
    assert!(run.stderr.contains("mapping m: Disabled\n"), "{}", run.stderr);
}

#[test]
fn with_the_checkpoint_table_both_say_what_waits() {
    let waiting = "kinesis-kit: waiting: 2 user records in 2 Kinesis records of 1 shard, the oldest for ";
    let table = "--stream orders --function orders --checkpoint-table checkpoints";
    let (paused, _) = run(&format!("pause {table} --count"), vec![mapping("m", "", "Enabled", -1)]);
    assert_eq!(paused.exit_code, Some(0), "{}", paused.stderr);
    assert!(paused.stderr.contains(waiting), "{}", paused.stderr);
    assert!(
        paused
            .stderr
            .contains("(since 1970-01-01 00:00:03 UTC); longer than the stream's retention (24 h)\n")
    );
    assert!(!paused.stderr.contains("IteratorAge"), "{}", paused.stderr);
    // Before the mapping is enabled: a moment later, they no longer wait.
    let (resumed, _) = run(&format!("resume {table}"), vec![mapping("m", "", "Disabled", 3_600)]);
    let waiting = "kinesis-kit: waiting: records of 1 shard, the oldest for ";
    assert!(resumed.stderr.starts_with(waiting), "{}", resumed.stderr);
    assert!(
        resumed.stderr.contains("longer than MaximumRecordAgeInSeconds (60 min)\n"),
        "{}",
        resumed.stderr
    );
}

#[test]
fn without_a_checkpoint_table_what_has_arrived_since_the_pause_is_counted() {
    let mut old = mapping("m", "", "Disabled", -1);
    old["LastModified"] = json!(2.5);
    let (run_again, _) = run("pause --stream orders --function orders --count", vec![old]);
    let waiting = "kinesis-kit: waiting: 2 user records in 2 Kinesis records of 1 shard, the oldest for ";
    assert!(run_again.stderr.contains(waiting), "{}", run_again.stderr);
    let (first, _) =
        run("pause --stream orders --function orders --count", vec![mapping("m", "", "Enabled", -1)]);
    assert!(!first.stderr.contains("waiting: "), "{}", first.stderr);
}

#[test]
fn a_table_that_cannot_be_read_keeps_no_mapping_from_being_switched() {
    let arguments = "resume --stream orders --function orders --checkpoint-table others";
    let (run, requests) = run(arguments, vec![mapping("m", "", "Disabled", -1)]);
    assert_eq!((run.exit_code, requests), (Some(1), vec![json!({ "Enabled": true })]), "{}", run.stderr);
    assert!(run.stderr.contains("kinesis-kit: what waits cannot be read: "), "{}", run.stderr);
    assert!(run.stderr.contains("mapping m: Enabled\n"), "{}", run.stderr);
}
