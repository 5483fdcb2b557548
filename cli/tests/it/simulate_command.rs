//! Real programs as functions of a simulation.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::kit::{Run, check, kit_with};

/// A Lambda runtime. It answers with its first argument, in which `$2` stands for the second record's number, or does
/// what that says.
const RUNTIME: &str = r#"
import http.client, json, os, sys, threading

ANSWER = sys.argv[1]

def call(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2018-06-01/runtime/invocation/" + path, body, headers)
    response = connection.getresponse()
    return response.read(), response.headers

while True:
    event, headers = call("GET", "next")
    request_id = headers["Lambda-Runtime-Aws-Request-Id"]
    numbers = [record["kinesis"]["sequenceNumber"] for record in json.loads(event)["Records"]]
    if ANSWER == "throw":
        call("POST", request_id + "/error", '{"errorType":"Wrong","errorMessage":"as told"}')
    elif ANSWER == "exit":
        sys.exit(3)
    elif ANSWER == "hang":
        print(os.getpid(), file=sys.stderr, flush=True)
        threading.Event().wait()
    else:
        second = numbers[1] if len(numbers) == 3 else numbers[0]
        call("POST", request_id + "/response", ANSWER.replace("$2", second))
"#;

/// Three records in one batch, which has one retry.
fn scenario(timeout_ms: u64) -> String {
    json!({
        "mapping": { "MaximumRetryAttempts": 1, "FunctionResponseTypes": ["ReportBatchItemFailures"] },
        "records": [{ "id": 1, "text": "x" }, { "id": 2, "text": "x" }, { "id": 3, "text": "x" }],
        "function": { "timeoutMs": timeout_ms },
    })
    .to_string()
}

fn simulate(answer: &str, timeout_ms: u64) -> Run {
    let args = ["simulate", "--scenario", "-", "--format", "json", "--", "python3", "-c", RUNTIME, answer];
    kit_with(args, scenario(timeout_ms))
}

/// Checks the outcome and error of each invocation, and the IDs that were delivered.
#[track_caller]
fn check_rule_14(answer: &str, timeout_ms: u64, expected: Value) -> Value {
    let run = simulate(answer, timeout_ms);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let invocations = report["invocations"].as_array().expect("a list");
    let told: Vec<Value> = invocations
        .iter()
        .map(|invocation| json!([invocation["ids"], invocation["outcome"], invocation["error"]]))
        .collect();
    assert_eq!(json!(told), expected, "{answer}");
    report
}

#[track_caller]
fn check_success(answer: &str) {
    let report = check_rule_14(answer, 60_000, json!([[["1", "2", "3"], "success", null]]));
    assert_eq!(report["completed"], json!(["1", "2", "3"]), "{answer}");
}

#[track_caller]
fn check_failure(answer: &str, timeout_ms: u64, error: Option<&str>) -> Value {
    let all = json!([["1", "2", "3"], "failure", error]);
    let report = check_rule_14(answer, timeout_ms, json!([all, all]));
    assert_eq!(report["invocations"][0]["requestId"], report["invocations"][1]["requestId"]);
    assert_eq!(report["discarded"][0]["ids"], json!(["1", "2", "3"]), "{answer}");
    assert_eq!(report["completed"], json!([]), "{answer}");
    report
}

#[test]
fn rule_14_nothing_failed() {
    check_success(r#"{"batchItemFailures":[]}"#);
    check_success(r#"{"batchItemFailures":null}"#);
    check_success("{}");
    check_success("null");
    check_success(r#""""#);
    check_success("[]");
    // By inference: silent loss.
    check_success(r#"{"failedItems":[{"itemIdentifier":"$2"}]}"#);
}

#[test]
fn rule_14_a_known_identifier_is_a_partial_failure() {
    let report = check_rule_14(
        r#"{"batchItemFailures":[{"itemIdentifier":"$2"}]}"#,
        60_000,
        json!([
            [["1", "2", "3"], "partial", null],
            [["2", "3"], "partial", null],
            [["2", "3"], "partial", null]
        ]),
    );
    assert_eq!(report["completed"], json!(["1"]));
    assert_eq!(report["discarded"][0]["ids"], json!(["2", "3"]));
}

#[test]
fn rule_14_identifiers_that_name_nothing_fail_the_batch() {
    check_failure(r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, 60_000, None);
    check_failure(r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, 60_000, None);
    check_failure(r#"{"batchItemFailures":[{"identifier":"$2"}]}"#, 60_000, None);
    check_failure(r#"{"batchItemFailures":[{"itemIdentifier":"12"}]}"#, 60_000, None);
    check_failure(r#"{"batchItemFailures":["#, 60_000, None);
}

#[test]
fn rule_12_function_errors_fail_the_batch() {
    check_failure("throw", 60_000, Some("Wrong: as told"));
    check_failure("exit", 60_000, Some("crashed: exit status: 3"));
    let report = check_failure("hang", 1_500, Some("timed out"));
    // The timeout is real, and virtual too.
    let retried_ms = report["invocations"][1]["atMs"].as_u64().expect("a time");
    assert!((1_500 + 210..1_500 + 235).contains(&retried_ms), "{retried_ms}");
}

#[test]
fn a_seed_decides_all_but_the_measurement() {
    let answer = r#"{"batchItemFailures":[{"itemIdentifier":"$2"}]}"#;
    let (one, other) = (simulate(answer, 60_000), simulate(answer, 60_000));
    assert_eq!(one.stdout, other.stdout);
    let measured = one.stderr.strip_prefix("kinesis-kit: 3 invocations, 1 cold start of at most ");
    let measured = measured.unwrap_or_else(|| panic!("{}", one.stderr));
    for part in [" ms for an invocation (slowest ", " MiB of memory at the most, 0 crashes, 0 timeouts\n"] {
        assert!(measured.contains(part), "{measured}");
    }
}

#[test]
fn a_command_that_cannot_be_started_ends_it() {
    check(
        "simulate --scenario - -- no/such/program",
        scenario(60_000),
        2,
        "",
        "kinesis-kit: the simulation cannot continue: cannot start no/such/program: No such file or directory (os error 2)\n",
    );
}

/// Sends a signal, and returns whether there was a process to get it.
fn signal(signal: &str, process: &str) -> bool {
    let status = Command::new("kill").args([signal, process]).stderr(Stdio::null()).status();
    status.expect("kill runs").success()
}

#[test]
fn an_interruption_leaves_no_process_behind() {
    let mut kit = Command::new(env!("CARGO_BIN_EXE_kinesis-kit"))
        .args(["simulate", "--scenario", "-", "--", "python3", "-c", RUNTIME, "hang"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = kit.stdin.take().expect("piped");
    stdin.write_all(scenario(60_000).as_bytes()).expect("input");
    drop(stdin);
    let mut stderr = BufReader::new(kit.stderr.take().expect("piped"));
    let mut function = String::new();
    stderr.read_line(&mut function).expect("the function tells its ID");
    assert!(signal("-0", function.trim()));

    assert!(signal("-INT", &kit.id().to_string()));
    let output = kit.wait_with_output().expect("an end");
    assert_eq!((output.status.code(), &*output.stdout), (Some(130), &b""[..]));
    let mut message = String::new();
    stderr.read_line(&mut message).expect("text");
    assert_eq!(message, "kinesis-kit: interrupted by SIGINT\n");
    assert!(!signal("-0", function.trim()));
}
