//! The Runtime API from a program's side, and the effect of its answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_host::{Answer, BinaryFunction, BinaryOptions, Fate, StartError};
use serde_json::{Value, json};

use crate::program::{
    ECHO, PID, Program, TIMEOUT, crash, invoke, json, respond, response, start_error, text, thrown,
};

/// The answer of a program to its first event.
#[track_caller]
fn check(source: &str, expected: Answer) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let program = Program::new(source);
        let function = program.function();
        let answer = invoke(&function, r#"{"Records":[]}"#, "request-1", Fate::Normal).await;
        assert_eq!(answer, expected, "at {caller}");
    }
}

#[tokio::test]
async fn a_response_is_taken_as_it_is() {
    check(ECHO, response(r#"{"Records":[]}"#)).await;
    check("serve(lambda *_: b'{garbage')", response("{garbage")).await;
    check("serve(lambda *_: b'')", response("")).await;
    let chunked = r#"
request_id, _, _ = next_event()
call("POST", RUNTIME + f"invocation/{request_id}/response", iter([b"[1,", b"2]"]))
"#;
    check(chunked, response("[1,2]")).await;
}

#[tokio::test]
async fn a_reported_error_is_thrown() {
    let failing = |body: &str, headers: &str| {
        format!("while True:\n    request_id, _, _ = next_event()\n    fail(request_id, {body}, {headers})")
    };
    let report = r#"'{"errorMessage":"no stock","errorType":"OutOfStock","stackTrace":["a","b"]}'"#;
    check(&failing(report, "{}"), thrown("OutOfStock", "no stock")).await;
    let header = r#"{"Lambda-Runtime-Function-Error-Type": "Header"}"#;
    check(&failing(report, header), thrown("OutOfStock", "no stock")).await;
    check(&failing(r#"'{"errorMessage":"no stock"}'"#, header), thrown("Header", "no stock")).await;
    check(&failing("'no stock'", "{}"), thrown("Runtime.Unknown", "no stock")).await;
}

#[tokio::test]
async fn an_error_of_the_start_is_thrown() {
    let report =
        r#"call("POST", RUNTIME + "init/error", '{"errorMessage":"no config","errorType":"Config"}')"#;
    let expected = "the program could not start: Config: no config";
    check_start(report, expected).await;
}

/// The error of a program that never asks for an event.
#[track_caller]
fn check_start(source: &str, expected: &str) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let program = Program::new(source);
        let error = start_error(&program.function(), Fate::Normal).await;
        assert_eq!(error, expected, "at {caller}");
    }
}

#[tokio::test]
async fn a_program_that_ends_before_its_first_event_says_why() {
    let silent = "the program could not start: exit status: 4 before the first invocation";
    check_start("sys.exit(4)", silent).await;
    let cause = "no table: ".to_owned() + &"x".repeat(9_000);
    let expected = format!(
        "the program could not start (exit status: 1 before the first invocation): ValueError: {cause}"
    );
    check_start("print('starting', flush=True)\nraise ValueError('no table: ' + 'x' * 9_000)", &expected)
        .await;
}

#[tokio::test]
async fn a_process_that_ends_has_crashed() {
    check("next_event(); sys.exit(3)", crash("exit status: 3")).await;
    check("next_event(); os.kill(os.getpid(), signal.SIGKILL)", crash("signal: 9 (SIGKILL)")).await;
}

#[tokio::test]
async fn a_process_that_hangs_is_timed_out() {
    let mut program = Program::new("next_event(); signal.pause()");
    program.options.timeout = Duration::from_millis(300);
    let function = program.function();
    assert_eq!(invoke(&function, "{}", "request-1", Fate::Normal).await, TIMEOUT);
    let measurement = function.measurement();
    assert!(measurement.wall_time >= Duration::from_millis(300), "{measurement:?}");
    assert_eq!((measurement.invocations, measurement.timeouts, measurement.crashes), (1, 1, 0));
}

#[tokio::test]
async fn a_start_that_hangs_is_ended() {
    let mut program = Program::new("signal.pause()");
    program.options.init_timeout = Duration::from_millis(300);
    let error = start_error(&program.function(), Fate::Normal).await;
    assert_eq!(error, "the program could not start: no event was asked for within 300ms");
}

#[tokio::test]
async fn after_a_failure_the_next_invocation_has_a_new_process() {
    let source = r#"
marker = os.path.join(os.path.dirname(__file__), "started")
if not os.path.exists(marker):
    open(marker, "w").close()
    sys.exit(1)
"#;
    let program = Program::new(&format!("{source}\n{ECHO}"));
    let function = program.function();
    let first = start_error(&function, Fate::Normal).await;
    assert_eq!(first, "the program could not start: exit status: 1 before the first invocation");
    assert_eq!(respond(&function, "{}").await, "{}");
    assert_eq!((function.measurement().starts, function.measurement().crashes), (2, 0));
}

#[tokio::test]
async fn a_process_that_ended_while_it_was_idle_is_replaced() {
    // The first of them ends after it was told that its response has arrived.
    let program = Program::new("request_id, event, _ = next_event(); respond(request_id, event)");
    let function = program.function();
    for event in ["1", "2", "3"] {
        assert_eq!(respond(&function, event).await, event);
    }
    assert_eq!((function.measurement().starts, function.measurement().crashes), (3, 0));
}

#[tokio::test]
async fn the_limit_of_a_response() {
    let response_of = |bytes: usize| {
        format!(
            r#"
request_id, _, _ = next_event()
status, body, _ = respond(request_id, b"x" * {bytes})
request_id, _, _ = next_event()
respond(request_id, [status, json.loads(body)])
"#
        )
    };
    let program = Program::new(&response_of(6_291_556));
    let function = program.function();
    assert_eq!(respond(&function, "{}").await.len(), 6_291_556);
    assert_eq!(json(respond(&function, "{}").await), json!([202, {"status": "OK"}]));

    let program = Program::new(&response_of(6_291_557));
    let function = program.function();
    let message = "the response has more than 6291556 bytes";
    let answer = invoke(&function, "{}", "request-1", Fate::Normal).await;
    assert_eq!(answer, thrown("Function.ResponseSizeTooLarge", message));
    // The environment goes on.
    let seen = json!([413, {"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"}]);
    assert_eq!(json(respond(&function, "{}").await), seen);
}

#[tokio::test]
async fn large_events_arrive() {
    let program = Program::new("serve(lambda request_id, event, headers: len(event))");
    assert_eq!(respond(&program.function(), &"x".repeat(6 * 1024 * 1024)).await, "6291456");
}

#[tokio::test]
async fn what_does_not_exist_is_refused() {
    let source = r#"
seen = [
    call("GET", "/2018-06-01/runtime/nonsense"),
    call("POST", "/2018-06-01/runtime/invocation/next"),
    call("GET", "/2015-03-31/runtime/invocation/next"),
]
request_id, _, _ = next_event()
seen.append(respond("other", b"{}"))
seen.append(fail("other", b"{}"))
respond(request_id, [[status, json.loads(body)["errorType"], json.loads(body)["errorMessage"]] for status, body, _ in seen])
"#;
    let program = Program::new(source);
    let missing = |request: &str| {
        json!([404, "NotFound", format!("there is no {request} in the Runtime API or the Extensions API")])
    };
    let unknown = json!([400, "InvalidRequestID", "no invocation with the ID other awaits an answer"]);
    assert_eq!(
        json(respond(&program.function(), "{}").await),
        json!([
            missing("GET /2018-06-01/runtime/nonsense"),
            missing("POST /2018-06-01/runtime/invocation/next"),
            missing("GET /2015-03-31/runtime/invocation/next"),
            unknown,
            unknown
        ])
    );
}

#[tokio::test]
async fn an_invocation_is_answered_once() {
    let source = r#"
request_id, _, _ = next_event()
respond(request_id, 1)
status, body, _ = respond(request_id, 2)
request_id, _, _ = next_event()
respond(request_id, [status, json.loads(body)["errorType"]])
"#;
    let program = Program::new(source);
    let function = program.function();
    assert_eq!(text(invoke(&function, "{}", "request-1", Fate::Normal).await), "1");
    let second = text(invoke(&function, "{}", "request-2", Fate::Normal).await);
    assert_eq!(json(second), json!([400, "InvalidRequestID"]));
}

#[tokio::test]
async fn the_headers_of_an_event() {
    let program = Program::new("serve(lambda request_id, event, headers: dict(headers))");
    let mut options = program.options.clone();
    options.timeout = Duration::from_secs(90);
    options.invoked_function_arn = "arn:aws:lambda:eu-west-1:111122223333:function:orders".to_owned();
    let function = BinaryFunction::new(options);
    let epoch_ms = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let before = epoch_ms();
    // The start of the process comes before the event is handed out.
    let request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd.~_:";
    let headers = json(text(invoke(&function, "{}", request_id, Fate::Normal).await));
    let header = |name: &str| headers[name].as_str().unwrap_or_default();
    assert_eq!(header("Content-Type").to_lowercase(), "application/json");
    assert_eq!(header("Lambda-Runtime-Aws-Request-Id"), request_id);
    assert_eq!(
        header("Lambda-Runtime-Invoked-Function-Arn"),
        "arn:aws:lambda:eu-west-1:111122223333:function:orders"
    );
    let trace = header("Lambda-Runtime-Trace-Id");
    assert!(trace.starts_with("Root=1-") && trace.ends_with(";Sampled=0"), "{trace}");
    let deadline: u64 = header("Lambda-Runtime-Deadline-Ms").parse().expect("milliseconds");
    assert!((before + 90_000..=epoch_ms() + 90_000).contains(&deadline), "{deadline} is not in 90 s");
}

#[tokio::test]
async fn the_variables_of_a_function() {
    let program = Program::new("serve(lambda request_id, event, headers: dict(os.environ))");
    let mut options = program.options.clone();
    options.function_name = "orders".to_owned();
    options.memory_mb = 256;
    options.region = "eu-west-1".to_owned();
    options.variables = vec![("OWN".into(), "1".into()), ("_HANDLER".into(), "mine".into())];
    let variables = json(respond(&BinaryFunction::new(options), "{}").await);
    #[track_caller]
    fn check(variables: &Value, name: &str, expected: &str) {
        assert_eq!(variables[name], expected, "{name}");
    }
    check(&variables, "AWS_LAMBDA_FUNCTION_NAME", "orders");
    check(&variables, "AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
    check(&variables, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256");
    check(&variables, "AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/orders");
    check(&variables, "AWS_LAMBDA_LOG_STREAM_NAME", "[$LATEST]00000000000000000000000000000001");
    check(&variables, "AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
    check(&variables, "TZ", ":UTC");
    check(&variables, "OWN", "1");
    check(&variables, "_HANDLER", "mine");
    let inherited = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    check(&variables, "AWS_REGION", &inherited("AWS_REGION", "eu-west-1"));
    check(&variables, "AWS_DEFAULT_REGION", &inherited("AWS_DEFAULT_REGION", "eu-west-1"));
    // `python3` may be a wrapper that adds to it.
    let path = variables["PATH"].as_str().unwrap_or_default();
    assert!(path.ends_with(&inherited("PATH", "none")), "{path}");
    let directory = std::env::current_dir().expect("there is one");
    check(&variables, "LAMBDA_TASK_ROOT", directory.to_str().expect("text"));
    let address = variables["AWS_LAMBDA_RUNTIME_API"].as_str().unwrap_or_default();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
}

#[tokio::test]
async fn an_environment_is_used_again() {
    let source =
        "count = 0\ndef handle(*_):\n    global count\n    count += 1\n    return count\nserve(handle)";
    let program = Program::new(source);
    let function = program.function();
    for expected in ["1", "2", "3"] {
        assert_eq!(respond(&function, "{}").await, expected);
    }
    let measurement = function.measurement();
    assert_eq!((measurement.starts, measurement.invocations, measurement.function_errors), (1, 3, 0));
    assert!(measurement.max_wall_time <= measurement.wall_time, "{measurement:?}");
    assert!(measurement.max_init_time > Duration::ZERO, "{measurement:?}");
    if cfg!(target_os = "linux") {
        // A Python interpreter has a few megabytes.
        let peak = measurement.peak_memory_bytes.unwrap_or_default();
        assert!((1 << 20..1 << 30).contains(&peak), "{peak} bytes");
    }
}

#[tokio::test]
async fn nothing_is_started_before_the_first_invocation() {
    let program = Program::new(PID);
    let function = program.function();
    assert_eq!(function.measurement().starts, 0);
    function.shutdown().await;
    assert_eq!(function.measurement().starts, 0);
}

#[tokio::test]
async fn what_cannot_be_started_is_an_error() {
    let start = async |command: &[&str], request_id: &str| {
        let function = BinaryFunction::new(BinaryOptions::new(command));
        function.invoke("{}".into(), request_id, Fate::Normal).await.expect_err("no program")
    };
    let error = start(&["/nonexistent/bootstrap", "argument"], "request-1").await;
    assert_eq!(error.to_string(), "cannot start /nonexistent/bootstrap");
    let StartError::Command { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(start(&[], "request-1").await.to_string(), "the function's command is empty");
    for request_id in ["", "a/b", "a b"] {
        assert_eq!(
            start(&["true"], request_id).await.to_string(),
            format!("request ID {request_id:?} is empty or has characters other than A-Z a-z 0-9 - . _ ~ :")
        );
    }
}

#[tokio::test]
async fn web_pages_get_no_event() {
    let pages = r#"
pages = [{"Origin": "https://example.com"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "rebound.example:80"}]
statuses = [call("GET", RUNTIME + "invocation/next", None, page)[0] for page in pages]
serve(lambda *_: statuses)
"#;
    check(pages, response("[403, 403, 403]")).await;
}

/// Only root can be another user.
#[tokio::test]
async fn a_program_of_another_user_gets_no_event() {
    let other = r#"
def is_refused():
    # Loaded now, because the other user may not read Python's library.
    "host".encode("idna")
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            next_event()
            os._exit(1)
        except (http.client.RemoteDisconnected, ConnectionResetError):
            os._exit(0)
    return os.waitpid(child, 0)[1] == 0

refused = os.getuid() != 0 or is_refused()
serve(lambda *_: refused)
"#;
    check(other, response("true")).await;
}
