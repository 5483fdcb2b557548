//! The line that shows progress on a terminal, and the output of a program beside it.

use std::fs;

use serde_json::json;

use crate::{
    kit::{kit_where, kit_with},
    scripted_kinesis::{ScriptedKinesis, error, variables},
    scripted_stream::ScriptedStream,
};

/// Runs its arguments with a terminal as standard output and standard error, and prints what that shows.
const TERMINAL: &str = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

#[test]
fn a_terminal_shows_records_lag_and_what_is_waited_for() {
    let stream = ScriptedStream::of(&[(7, b"a"), (8, b"b")]);
    let kinesis = ScriptedKinesis::start(move |operation, number, request| match (operation, number) {
        // Backoff takes longer than it takes until a wait is shown.
        ("GetRecords", 0..5) => error(400, "ProvisionedThroughputExceededException"),
        ("Invoke", _) => (200, json!({ "batchItemFailures": [] })),
        _ => stream.answer(operation, request),
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = kinesis.url();
    let mut variables = variables(&url);
    variables.push(("XDG_STATE_HOME", folder.path().to_str().expect("a plain path")));
    variables.push(("TERM", "xterm"));
    let args = format!("replay --stream orders --from trim-horizon --url {url}");
    let kit = env!("CARGO_BIN_EXE_kinesis-kit");
    let output = std::process::Command::new("python3")
        .args(["-c", TERMINAL, kit])
        .args(args.split_whitespace())
        .envs(variables.iter().copied())
        .stdin(std::process::Stdio::null())
        .output()
        .expect("python3 runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("waiting for GetRecords: ProvisionedThroughputExceededException"), "{shown}");
    assert!(shown.contains("replay: 0 records"), "{shown}");
    // In a file or pipe there is no such line.
    let run = kit_where(&variables, format!("{args} --restart").split_whitespace(), "");
    assert!(!run.stderr.contains("records, 0"), "{}", run.stderr);
}

/// A program that prints and ends before it asks for an event.
const PROGRAM: &str = "echo to stdout; echo to stderr >&2; printf unfinished; exit 3";

#[test]
fn the_output_of_a_program_can_go_to_a_file_or_nowhere() {
    let scenario = r#"{"records":[{"id":1,"text":"x"}],"mapping":{"MaximumRetryAttempts":0}}"#;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("function.log");
    let log = path.to_str().expect("a plain path");
    let run = |args: &[&str]| {
        let begin = ["simulate", "--scenario", "-"];
        let program = ["--", "sh", "-c", PROGRAM];
        kit_with(begin.iter().chain(args).chain(&program).copied(), scenario).stderr
    };
    let shown = run(&[]);
    assert!(shown.contains("to stdout\nto stderr\nunfinished"), "{shown}");
    let quiet = run(&["--quiet"]);
    assert!(!quiet.contains("to stdout") && !quiet.contains("to stderr\n"), "{quiet}");
    let logged = run(&["--log", log]);
    assert!(!logged.contains("to stdout\n"), "{logged}");
    assert_eq!(fs::read_to_string(&path).expect("the log"), "to stdout\nto stderr\nunfinished");
    let refused = run(&["--log", folder.path().to_str().expect("a plain path")]);
    assert!(refused.contains("cannot write the log to"), "{refused}");
}
