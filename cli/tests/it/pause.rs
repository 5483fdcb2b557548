//! `kinesis-kit pause` and `resume`.

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{ScriptedKinesis, description, error, variables},
    scripted_stream::ARN,
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

/// Runs a command in an account with these mappings, whose state changes at the second look.
fn run(arguments: &str, mappings: Vec<Value>) -> (Run, Vec<Value>) {
    let kinesis = ScriptedKinesis::start(move |operation, number, _| match operation {
        "DescribeStreamSummary" => description("orders"),
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
            run.stderr,
            "kinesis-kit: mapping m: Disabled already\n\
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
