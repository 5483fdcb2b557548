//! The start of a function: one that Lambda does not start, one that cannot start, and one without its tables.

use std::{fs, process::Command};

use lambda_host::{BinaryFunction, BinaryOptions, Fate};

use crate::{
    emulator::{free_port, kinesis_kit, misbehaving_function},
    kinesis::CREDENTIALS,
};

#[test]
fn a_function_that_is_run_by_hand_says_how_it_is_meant_to_be_run() {
    for (name, value) in [("RUST_BACKTRACE", "0"), ("RUST_BACKTRACE", "1")] {
        let mut command = Command::new(misbehaving_function());
        let output = command.env_remove("AWS_LAMBDA_RUNTIME_API").env(name, value).output();
        let output = output.expect("the binary runs");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
        assert_eq!(
            String::from_utf8(output.stderr).expect("text"),
            "Error: this program is a Lambda function and cannot be run by itself (AWS_LAMBDA_RUNTIME_API is not set): invoke \
             it with `kinesis-kit invoke EVENT -- PROGRAM` or cargo-lambda, or simulate a stream with `kinesis-kit simulate \
             --scenario FILE -- PROGRAM`\n"
        );
    }
}

#[tokio::test]
async fn a_function_that_cannot_start_says_why_once_and_as_text() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let script = format!("exec {} 2>&1 | tee {}; exit 1", misbehaving_function().display(), log.display());
    let mut options = BinaryOptions::new(["sh", "-c", &script]);
    options.variables.push(("KINESIS_HANDLER_INVALID_AGGREGATE".into(), "nonsense".into()));
    let function = BinaryFunction::new(options);
    let answer = function.invoke(r#"{"Records":[]}"#.into(), "request-1", Fate::Normal).await;
    let reason = "Error: KINESIS_HANDLER_INVALID_AGGREGATE: expected fail, raw or skip, found \"nonsense\"";
    assert_eq!(
        answer.expect_err("it has not started").to_string(),
        format!("the program could not start (exit status: 1 before the first invocation): {reason}")
    );
    assert_eq!(fs::read_to_string(log).expect("text"), format!("{reason}\n"));
}

#[test]
fn a_simulation_warns_of_tables_that_the_function_cannot_use() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scenario = folder.path().join("scenario.json");
    fs::write(&scenario, r#"{"records":[{"id":1,"text":"x"},{"id":2,"text":"y"}]}"#)
        .expect("a writable folder");
    let output = Command::new(kinesis_kit())
        .args(["simulate", "--scenario", scenario.to_str().expect("a plain path"), "--"])
        .arg(misbehaving_function())
        .envs(CREDENTIALS)
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", free_port()))
        .env("KINESIS_HANDLER_APPLICATION", "orders")
        .env("KINESIS_HANDLER_JOURNAL_TABLE", "missing")
        .env("KINESIS_HANDLER_CHECKPOINT_TABLE", "missing")
        .output()
        .expect("the binary runs");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "the function works without them: {stderr}");
    for warning in [
        "kinesis-kit: warning: checkpoint not written (once, metric CheckpointWriteErrors): ",
        "kinesis-kit: warning: journal not read (once, metric JournalReadErrors): ",
    ] {
        assert_eq!(stderr.matches(warning).count(), 1, "{stderr}");
    }
}
