//! Real binaries over the Lambda Runtime API.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use kinesis_handler::{Event, KinesisRecord};
use serde_json::{Value, json};

use crate::{
    emulator::{Answer, Function, misbehaving_function, order_function},
    events,
};

fn success() -> Value {
    json!({ "batchItemFailures": [] })
}

fn failure(position: u64) -> Value {
    json!({ "batchItemFailures": [{ "itemIdentifier": events::sequence_number(position) }] })
}

#[track_caller]
fn response(answer: &Answer) -> Value {
    assert!(answer.success, "{}", answer.stderr);
    serde_json::from_str(&answer.stdout).expect("the response is JSON")
}

/// Lines of the log with this message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("a log line is JSON"));
    lines.filter(|line| line["message"] == message).collect()
}

#[track_caller]
fn check_event(name: &str, expected: &Value, expected_orders: &[&str]) {
    let function = Function::start(&order_function(), &[]);
    let answer = function.invoke(&events::path(name));
    assert_eq!(response(&answer), *expected, "{name}");
    let log = function.log();
    let reserved = lines(&log, "order reserved");
    let orders: Vec<_> = reserved.iter().map(|line| line["order"].as_str().expect("an order ID")).collect();
    assert_eq!(orders, expected_orders, "{name}");
    assert!(!log.contains("teapot"), "{name}: a payload in the log");
}

#[test]
#[ignore = "needs cargo-lambda: make test"]
fn every_event_has_its_response() {
    check_event("plain.json", &success(), &["A-1001", "A-1002", "A-1003"]);
    let eight = ["A-1001", "A-1002", "A-1003", "A-1004", "A-1005", "A-1006", "A-1007", "A-1008"];
    check_event("aggregated.json", &success(), &eight);
    check_event("mixed.json", &success(), &eight[..6]);
    check_event("corrupt-digest.json", &failure(1), &eight[..1]);
    check_event("invalid-aggregate.json", &failure(1), &eight[..2]);
    check_event("partial-failure.json", &failure(1), &["A-1001", "A-1002", "A-1004"]);
    check_event("enhanced-fan-out.json", &success(), &eight[..4]);
    check_event(
        "tumbling-window.json",
        &json!({ "batchItemFailures": [], "state": { "orders": 41, "average": 12.5 } }),
        &eight[..3],
    );
}

#[test]
#[ignore = "needs cargo-lambda: make test"]
fn each_invocation_has_its_metrics_in_one_line() {
    let function = Function::start(&order_function(), &[]);
    for _ in 0..2 {
        response(&function.invoke(&events::path("partial-failure.json")));
    }
    let log = function.log();
    let metrics: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a log line is JSON"))
        .filter(|line| line.get("_aws").is_some())
        .collect();
    assert_eq!(metrics.len(), 2);
    // Of two aggregates, the second has failed in its middle; the next time nothing fails.
    let expected = [(json!(2), json!(3), json!(1)), (json!(3), json!(6), Value::Null)];
    for (line, expected) in metrics.into_iter().zip(expected) {
        let described = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(described["Namespace"], "KinesisHandler");
        assert_eq!(described["Dimensions"], json!([["function", "stream"]]));
        assert_eq!((&line["function"], &line["stream"]), (&json!("function-under-test"), &json!("orders")));
        assert_eq!(line["shardId"], "shardId-000000000000");
        assert!(line["requestId"].is_string());
        let units: Vec<_> = described["Metrics"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|metric| metric["Unit"].clone())
            .collect();
        assert!(units.iter().all(Value::is_string), "{described}");
        let values = ["KinesisRecords", "UserRecords", "FailedBatches"].map(|name| line[name].clone());
        assert_eq!(values, <[Value; 3]>::from(expected));
        assert!(line["MillisBehindLatest"][0].as_f64().is_some_and(|behind| behind > 0.0), "{line}");
        assert!(line.get("QuarantinedRecords").is_none(), "what has not moved is left out");
    }
}

#[test]
#[ignore = "needs cargo-lambda: make test"]
fn metrics_are_not_lost_with_the_lines_below_a_level() {
    let function = Function::start(&order_function(), &[("AWS_LAMBDA_LOG_LEVEL", "ERROR")]);
    response(&function.invoke(&events::path("plain.json")));
    let log = function.log();
    let line: Value = serde_json::from_str(log.trim()).expect("the metrics are all that is left");
    assert_eq!((&line["level"], &line["UserRecords"]), (&json!("FATAL"), &json!(3)));
    assert!(
        line["timestamp"].as_str().is_some_and(|time| time.starts_with("20") && time.contains('T')),
        "{line}"
    );
}

#[test]
#[ignore = "needs cargo-lambda: make test"]
fn six_megabytes_are_one_event() {
    let function = Function::start(&order_function(), &[("RUST_LOG", "info,kinesis_handler=debug")]);
    let answer = function.invoke(&events::path("six-megabytes.json"));
    assert_eq!(response(&answer), success());
    let log = function.log();
    let batch = lines(&log, "batch processed").remove(0);
    assert_eq!((batch["aggregated"].as_u64(), batch["userRecords"].as_u64()), (Some(92), Some(4_600)));
    assert_eq!(lines(&log, "order reserved").len(), 4_600);
}

#[test]
#[ignore = "needs cargo-lambda: make test"]
fn a_failure_is_logged_with_its_position_and_without_its_payload() {
    let function = Function::start(&order_function(), &[]);
    function.invoke(&events::path("partial-failure.json"));
    let mut line = lines(&function.log(), "record failed, batch stopped").remove(0);
    let line = line.as_object_mut().expect("a log line is an object");
    assert!(line.remove("timestamp").is_some());
    assert!(line.remove("requestId").is_some_and(|id| id.is_string()));
    // Of a trace that is kept.
    line.remove("xrayTraceId");
    assert_eq!(
        Value::from(std::mem::take(line)),
        json!({
            "level": "ERROR",
            "message": "record failed, batch stopped",
            "position": format!("shardId-000000000000/{}:1", events::sequence_number(1)),
            "error": "warehouse is not available",
            "stream": "orders",
        })
    );
}

#[test]
#[ignore = "needs cargo-lambda: make test"]
fn invalid_aggregates_become_what_the_variable_says() {
    let function = Function::start(&order_function(), &[("KINESIS_HANDLER_INVALID_AGGREGATE", "skip")]);
    assert_eq!(response(&function.invoke(&events::path("invalid-aggregate.json"))), success());
    let warnings = lines(&function.log(), "invalid aggregated record skipped");
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        warnings[0]["position"],
        json!(format!("shardId-000000000000/{}", events::sequence_number(1)))
    );
    assert_eq!(
        warnings[0]["reason"],
        "user record 0: partition_key_index 0 is out of range (keys in the table: 0)"
    );
}

fn event(data: &[&str]) -> Vec<u8> {
    let record = |(position, data): (u64, &&str)| {
        KinesisRecord::new(events::sequence_number(position), "key", data.as_bytes())
    };
    Event::new((0..).zip(data).map(record).collect()).to_json()
}

#[test]
#[ignore = "needs cargo-lambda: make test"]
fn the_environment_survives_errors_and_panics() {
    let function = Function::start(&misbehaving_function(), &[]);
    for (data, expected) in [
        (["fine", "panic", "fine"], failure(1)),
        (["fine", "fine", "retryable"], failure(2)),
        (["permanent", "fine", "fine"], failure(0)),
        (["fine", "fine", "fine"], success()),
    ] {
        assert_eq!(response(&function.invoke_with(&event(&data))), expected);
    }
    let log = function.log();
    assert!(log.contains("processor panicked: asked to"));
    // No line of text, which a payload in the panic's message could continue with a line of its own.
    let panic = lines(&log, "panic").remove(0);
    assert_eq!((&panic["level"], &panic["panic"]), (&json!("ERROR"), &json!("asked to")));
    let location = panic["location"].as_str().expect("the panic has a location");
    assert!(location.contains("misbehaving_function.rs"), "{location}");
    assert!(!log.contains("panicked at"), "{log}");
}

#[test]
#[ignore = "needs cargo-lambda: make test"]
fn what_is_no_kinesis_event_fails_the_invocation() {
    let function = Function::start(&misbehaving_function(), &[]);
    for (event, expected) in [
        ("{\"Records\":[", "the event is not JSON"),
        ("{\"orders\":1}", "not a Kinesis event"),
        (r#"{"Records":[{"kinesis":{"data":""}}]}"#, "record 0: sequenceNumber must be text, found absent"),
    ] {
        let answer = function.invoke_with(event.as_bytes());
        assert!(!answer.success);
        assert!(answer.stderr.contains("KinesisHandler.InvalidEvent"), "{}", answer.stderr);
        assert!(answer.stderr.contains(expected), "{}", answer.stderr);
    }
    assert_eq!(response(&function.invoke_with(&event(&["fine"]))), success());
}

#[test]
#[ignore = "needs cargo-lambda: make test"]
fn the_batch_stops_before_the_deadline() {
    let timeout = Duration::from_secs(2);
    let function = Function::start_with_timeout(&misbehaving_function(), &[], Some(timeout));
    for (data, expected) in [
        // Waits forever: cancelled.
        (vec!["fine", "fine", "wait", "fine"], failure(2)),
        (vec!["wait"], failure(0)),
    ] {
        let started = Instant::now();
        assert_eq!(response(&function.invoke_with(&event(&data))), expected);
        assert!(started.elapsed() < timeout, "after {:?}", started.elapsed());
    }
    // Never waits for anything, 100 ms a record: stopped between two of them, before the deadline.
    let started = Instant::now();
    let answer = response(&function.invoke_with(&event(&["busy"; 50])));
    assert!(started.elapsed() < timeout, "after {:?}", started.elapsed());
    let done = lines(&function.log(), "batch processed").pop().expect("a line for each batch");
    let done = done["userRecords"].as_u64().expect("a number");
    assert!((2..11).contains(&done), "{done} records in one second");
    assert_eq!(answer, failure(done));
}

#[test]
#[ignore = "needs cargo-lambda: make test"]
fn hooks_run_at_the_start_and_at_the_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("temporary folders have plain names");
    let mut function = Function::start(&misbehaving_function(), &[("HOOKS", path)]);
    assert_eq!(response(&function.invoke_with(&event(&["fine"]))), success());
    assert!(folder.path().join("started").exists());
    assert!(!folder.path().join("stopped").exists());
    assert!(registers_an_extension(&function));

    assert!(function.terminate().success(), "{}", function.log());
    assert!(folder.path().join("stopped").exists());
}

#[test]
#[ignore = "needs cargo-lambda: make test"]
fn without_a_hook_no_extension_is_registered() {
    let function = Function::start(&misbehaving_function(), &[]);
    assert_eq!(response(&function.invoke_with(&event(&["fine"]))), success());
    assert!(!registers_an_extension(&function));
}

fn registers_an_extension(function: &Function) -> bool {
    let requests = function.requests();
    assert!(requests.iter().any(|line| line.contains("/runtime/invocation/next")), "{requests:?}");
    requests.iter().any(|line| line.contains("/extension/register"))
}

#[test]
fn a_function_that_is_run_by_hand_says_so_in_one_line() {
    let output = Command::new(misbehaving_function()).env_clear().output().expect("the function starts");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{stderr}");
    assert!(stderr.starts_with("Error: this program is a Lambda function"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_function_that_cannot_start_says_why_once_and_in_words() {
    let run = Command::new(order_function())
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")
        .env("AWS_LAMBDA_FUNCTION_NAME", "orders")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("KINESIS_HANDLER_MAX_AGE_SECONDS", "60")
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let expected =
        "Error: KINESIS_HANDLER_MAX_AGE_SECONDS needs KINESIS_HANDLER_QUARANTINE, which is not set\n";
    assert!(!run.status.success());
    assert_eq!((text(run.stdout), text(run.stderr)), (String::new(), expected.to_owned()));
}
