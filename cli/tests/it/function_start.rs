//! Programs that end before they ask for their first event.

use std::fs;

use serde_json::json;

use crate::{
    kit::{Run, kit_where},
    redrive::failure,
    scripted_kinesis::{ScriptedKinesis, record, variables},
    scripted_stream::ScriptedStream,
};

/// A function that cannot start, with a cause that is longer than any column of a table.
const CANNOT_START: [&str; 3] = [
    "sh",
    "-c",
    "echo starting; echo 'Error: the table orders-journal of the account 123456789012 has no key schema that fits, so nothing can be kept' >&2; exit 3",
];

const CAUSE: &str = "the program could not start (exit status: 3 before the first invocation): Error: the table orders-journal of \
     the account 123456789012 has no key schema that fits, so nothing can be kept\n";

const SEEN: &str = "the program could not start: exit status: 3 before the first invocation\n";

/// Checks that a command stops at once: nothing is reported as processed, failed or discarded.
#[track_caller]
fn check(args: &str, stdin: &str, message: &str) {
    let kinesis = ScriptedKinesis::start(|operation, _, request| match operation {
        // They have just arrived: records of a scripted stream are too old for a mapping.
        "GetRecords" => {
            let records = [record("7"), record("8")];
            (
                200,
                json!({ "Records": records, "NextShardIterator": request["ShardIterator"], "MillisBehindLatest": 0 }),
            )
        }
        other => ScriptedStream::of(&[]).answer(other, request),
    });
    let url = kinesis.url();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let failures = folder.path().join("failures.jsonl");
    fs::write(&failures, failure(7, 8, 2).to_string()).expect("a writable folder");
    let failures = failures.to_str().expect("a plain path");
    let mut variables = variables(&url);
    variables.push(("XDG_STATE_HOME", folder.path().to_str().expect("a plain path")));
    let args = args.replace("FAILURES", failures);
    // The reason is the last thing that is printed, once.
    for (quiet, starts, end) in
        [(None, 1, format!("{message}{SEEN}")), (Some("--quiet"), 0, format!("{message}{CAUSE}"))]
    {
        let args = args.split_whitespace().chain(quiet).chain(["--"]).chain(CANNOT_START);
        let Run { exit_code, stdout, stderr } = kit_where(&variables, args, stdin);
        assert_eq!(exit_code, Some(2), "{stderr}");
        assert_eq!(stderr.matches("starting\n").count(), starts, "it was started once: {stderr}");
        assert_eq!(stderr.matches("no key schema that fits").count(), 1, "{stderr}");
        assert!(stderr.ends_with(&format!("kinesis-kit: {end}")), "{stderr}");
        for word in ["done", "failed", "DISCARDED"] {
            assert!(!stdout.contains(word), "{stdout}");
        }
    }
}

#[test]
fn a_function_that_cannot_start_ends_every_command_with_its_own_reason() {
    let scenario = json!({ "records": [{ "id": 1, "text": "x" }] }).to_string();
    check("simulate --scenario -", &scenario, "the simulation cannot continue: ");
    check("simulate --stream orders", "", "the function cannot be invoked: ");
    check("replay --stream orders --from trim-horizon", "", "the function cannot be invoked: ");
    check("redrive --file FAILURES", "", "the function cannot be invoked: ");
}
