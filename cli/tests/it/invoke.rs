//! `invoke` with real programs over the Runtime API, and with a URL.

use std::fs;

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_where, kit_with},
    scripted_kinesis::{ScriptedKinesis, variables},
};

/// A Lambda runtime that logs the number of its invocation, and answers with the text of the last record, in which `$N`
/// stands for that record's number.
const RUNTIME: &str = r#"
import base64, http.client, json, os, sys

def call(method, path, body=None):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2018-06-01/runtime/invocation/" + path, body)
    response = connection.getresponse()
    return response.read(), response.headers

invocations = 0
while True:
    event, headers = call("GET", "next")
    request_id = headers["Lambda-Runtime-Aws-Request-Id"]
    invocations += 1
    print("invocation", invocations, flush=True)
    record = json.loads(event)["Records"][-1]["kinesis"]
    answer = base64.b64decode(record["data"]).decode().replace("$N", record["sequenceNumber"])
    if answer == "throw":
        call("POST", request_id + "/error", '{"errorType":"Wrong","errorMessage":"as told"}')
    else:
        call("POST", request_id + "/response", answer)
"#;

const SUCCESS: &str = r#"{"batchItemFailures":[]}"#;

const FAILURE: &str = r#"{"batchItemFailures":[{"itemIdentifier":"$N"}]}"#;

fn line(text: &str) -> String {
    json!({ "partitionKey": "k", "text": text }).to_string() + "\n"
}

#[track_caller]
fn check(args: &[&str], stdin: &str, exit_code: i32, stdout: &str, stderr: &str) {
    let args = ["invoke"].iter().chain(args).chain(&["--", "python3", "-c", RUNTIME]).copied();
    let expected = Run { exit_code: Some(exit_code), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
    assert_eq!(kit_with(args, stdin), expected);
}

#[test]
fn the_response_is_printed_after_the_log_and_with_its_meaning() {
    check(
        &[],
        &(line("x") + &line(SUCCESS)),
        0,
        "{\"batchItemFailures\":[]}\n",
        "kinesis-kit: took standard input as 2 lines of JSON\ninvocation 1\nkinesis-kit: all 2 records are processed: the \
         mapping continues after them\n",
    );
}

/// Prints a line when the environment ends. Lambda says so to programs with an extension only.
const AT_THE_END: &str = r#"
import http.client, os, signal, threading

def end(*_):
    print("at the end", flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, end)
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
registration = http.client.HTTPConnection(api)
registration.request("POST", "/2020-01-01/extension/register", '{"events":[]}', {"Lambda-Extension-Name": "end"})
response = registration.getresponse()
identifier = response.headers["Lambda-Extension-Identifier"]
response.read()

def wait():
    events = http.client.HTTPConnection(api)
    events.request("GET", "/2020-01-01/extension/event/next", headers={"Lambda-Extension-Identifier": identifier})
    events.getresponse()

threading.Thread(target=wait, daemon=True).start()
"#;

#[test]
fn the_explanation_comes_after_what_is_printed_at_the_end() {
    let program = format!("{AT_THE_END}{RUNTIME}");
    let run = kit_with(["invoke", "--", "python3", "-c", &program], line(SUCCESS));
    assert_eq!(
        (run.exit_code, run.stderr.as_str()),
        (
            Some(0),
            "kinesis-kit: took standard input as 1 line of JSON\ninvocation 1\nat the end\nkinesis-kit: the record is \
             processed: the mapping continues after it\n"
        )
    );
}

#[test]
fn a_failure_is_the_exit_code() {
    let number = "49590338271490256608559692538361571095921575989136588899";
    check(
        &[],
        &(line("x") + &line(FAILURE)),
        1,
        &format!("{{\"batchItemFailures\":[{{\"itemIdentifier\":\"{number}\"}}]}}\n"),
        &format!(
            "kinesis-kit: took standard input as 2 lines of JSON\ninvocation 1\nkinesis-kit: record 1 of 2 is processed: the \
             mapping retries record {number}\nkinesis-kit: when MaximumRetryAttempts or MaximumRecordAgeInSeconds is \
             reached, the mapping discards the record; without either, it retries until the stream drops it\n"
        ),
    );
    check(
        &[],
        &line("throw"),
        1,
        "",
        "kinesis-kit: took standard input as 1 line of JSON\ninvocation 1\nkinesis-kit: the function failed: Wrong: as \
         told\nkinesis-kit: no record counts as processed: the mapping retries the record\nkinesis-kit: when \
         MaximumRetryAttempts or MaximumRecordAgeInSeconds is reached, the mapping discards the record; without either, it \
         retries until the stream drops it\n",
    );
}

#[test]
fn several_events_go_to_one_environment() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, line(text)).expect("a writable folder");
        path.into_os_string().into_string().expect("a plain path")
    };
    let (first, second) = (file("first", "{}"), file("second", "null"));
    let processed = "kinesis-kit: the record is processed: the mapping continues after it";
    let took = |name: &str| format!("kinesis-kit: took {name} as 1 line of JSON\n");
    check(
        &[&first, &second],
        "",
        0,
        "{}\nnull\n",
        &format!(
            "{}{}kinesis-kit: event 1 of 2: {first}\ninvocation 1\n{processed}\nkinesis-kit: event 2 of 2: \
             {second}\ninvocation 2\n{processed}\n",
            took(&first),
            took(&second)
        ),
    );
    // Before anything is delivered.
    let missing = folder.path().join("missing");
    let missing = missing.to_str().expect("a plain path");
    let message = format!(
        "{}kinesis-kit: cannot read {missing}: No such file or directory (os error 2)\n",
        took(&first)
    );
    check(&[&first, missing], "", 2, "", &message);
}

#[test]
fn a_program_that_cannot_start_is_an_error() {
    let Run { exit_code, stdout, stderr } =
        kit_with(["invoke", "--", "sh", "-c", "echo 'Error: no table'; exit 3"], line("x"));
    assert_eq!((exit_code, stdout.as_str()), (Some(2), ""));
    assert_eq!(
        stderr,
        "kinesis-kit: took standard input as 1 line of JSON\nError: no table\nkinesis-kit: the function cannot be invoked: the \
         program could not start: exit status: 3 before the first invocation\n"
    );
    // Who has not seen the program's error gets it.
    let Run { exit_code, stderr, .. } =
        kit_with(["invoke", "--quiet", "--", "sh", "-c", "echo 'Error: no table'; exit 3"], line("x"));
    assert_eq!(exit_code, Some(2));
    assert_eq!(
        stderr,
        "kinesis-kit: took standard input as 1 line of JSON\nkinesis-kit: the function cannot be invoked: the program could not \
         start (exit status: 3 before the first invocation): Error: no table\n"
    );
}

#[test]
fn the_end_of_a_functions_log_is_printed() {
    let lambda = ScriptedKinesis::start(|operation, _, _| {
        assert_eq!(operation, "Invoke");
        // START\nred: ESC[31m
        (200, json!({ "batchItemFailures": [], "logResult": "U1RBUlQKcmVkOiAbWzMxbQ==" }))
    });
    let (url, event) = (lambda.url(), line("x"));
    let run = kit_where(&variables(&url), ["invoke", "--function", "orders"], &event);
    assert_eq!(
        run,
        Run {
            exit_code: Some(0),
            stdout: "{\"batchItemFailures\":[]}\n".to_owned(),
            stderr: "kinesis-kit: took standard input as 1 line of JSON\nSTART\nred: \\u{1b}[31m\nkinesis-kit: the record is \
                     processed: the mapping continues after it\n"
                .to_owned(),
        }
    );
}

#[test]
fn an_event_reaches_a_url_unchanged() {
    let kinesis = ScriptedKinesis::start(|operation, _, _| {
        assert_eq!(operation, "Invoke");
        (200, json!({ "batchItemFailures": [] }))
    });
    let event = json!({ "Records": [{ "eventSource": "aws:kinesis", "other": 1,
        "kinesis": { "sequenceNumber": "007", "data": "eA==" } }], "isFinalInvokeForWindow": true });
    let run = kit_with(["invoke", "--url", &kinesis.url()], event.to_string());
    assert_eq!(
        (run.exit_code, run.stdout.as_str()),
        (Some(0), "{\"batchItemFailures\":[]}\n"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stderr, "kinesis-kit: the record is processed: the mapping continues after it\n");
    let delivered: Vec<Value> = kinesis.requests("Invoke");
    assert_eq!(delivered, [event]);
}
