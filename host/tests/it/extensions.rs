//! The Extensions API, and how environments end.

use std::{fs, path::Path};

use lambda_host::Fate;
use serde_json::{Value, json};

use crate::program::{ECHO, PID, Program, crash, invoke, is_running, json, respond, start_error};

/// A program that registers an extension for these events. `note` appends a line to a file.
fn with_extension(events: &str, rest: &str) -> Program {
    Program::new(&format!(
        r#"
def note(line):
    with open(os.path.join(os.path.dirname(__file__), "notes"), "a") as notes:
        notes.write(line + "\n")

status, registration, headers = call("POST", EXTENSION + "register", json.dumps({{"events": {events}}}), {{"Lambda-Extension-Name": "flusher"}})
IDENTIFIER = {{"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}}

def extension_event():
    return json.loads(call("GET", EXTENSION + "event/next", None, IDENTIFIER)[1])
{rest}
"#
    ))
}

fn notes(folder: &Path) -> Vec<String> {
    let notes = fs::read_to_string(folder.join("notes")).unwrap_or_default();
    notes.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_registration_is_confirmed() {
    let program = with_extension("[]", "serve(lambda *_: [status, json.loads(registration)])");
    let confirmed = json!([
        200,
        {"functionName": "simulated-function", "functionVersion": "$LATEST", "handler": "bootstrap"}
    ]);
    assert_eq!(json(respond(&program.function(), "{}").await), confirmed);
}

#[tokio::test]
async fn invocations_are_announced_to_who_asked_for_it() {
    let rest = r#"
request_id, _, headers = next_event()
announced = extension_event()
assert str(announced.pop("deadlineMs")) == headers["Lambda-Runtime-Deadline-Ms"]
assert announced.pop("tracing") == {"type": "X-Amzn-Trace-Id", "value": headers["Lambda-Runtime-Trace-Id"]}
respond(request_id, announced)
"#;
    let program = with_extension(r#"["INVOKE"]"#, rest);
    assert_eq!(
        json(respond(&program.function(), "{}").await),
        json!({
            "eventType": "INVOKE",
            "requestId": "request-1",
            "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:simulated-function",
        })
    );
}

#[tokio::test]
async fn a_shutdown_is_announced() {
    let rest = r#"
signal.signal(signal.SIGTERM, lambda *_: None)
def wait_for_shutdown():
    event = extension_event()
    assert event.pop("deadlineMs") > 0
    note(json.dumps(event))
    os._exit(0)
threading.Thread(target=wait_for_shutdown).start()
"#;
    let program = with_extension(r#"["SHUTDOWN"]"#, &format!("{rest}\n{ECHO}"));
    let function = program.function();
    respond(&function, "{}").await;
    function.shutdown().await;
    let events: Vec<Value> = notes(program.folder.path()).iter().map(json).collect();
    assert_eq!(events, [json!({"eventType": "SHUTDOWN", "shutdownReason": "SPINDOWN"})]);
}

/// The notes of the function when it gets SIGTERM.
const ON_SIGTERM: &str = r#"
def on_sigterm(*_):
    note("SIGTERM")
    sys.exit()
signal.signal(signal.SIGTERM, on_sigterm)
"#;

#[tokio::test]
async fn who_has_an_extension_gets_sigterm() {
    let program = with_extension("[]", &format!("{ON_SIGTERM}\n{ECHO}"));
    let function = program.function();
    respond(&function, "{}").await;
    function.shutdown().await;
    assert_eq!(notes(program.folder.path()), ["SIGTERM"]);
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed() {
    let program = with_extension("[]", &format!("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{PID}"));
    let function = program.function();
    let pid = respond(&function, "{}").await;
    function.shutdown().await;
    assert!(!is_running(&pid));
}

#[tokio::test]
async fn who_has_no_extension_is_killed_without_sigterm() {
    let note = r#"
def note(line):
    open(os.path.join(os.path.dirname(__file__), "notes"), "a").write(line + "\n")
"#;
    let program = Program::new(&format!("{note}{ON_SIGTERM}\n{ECHO}"));
    let function = program.function();
    respond(&function, "{}").await;
    function.shutdown().await;
    assert_eq!(notes(program.folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn an_extension_that_gives_up_ends_the_environment() {
    let give_up = |phase: &str| {
        format!(
            r#"call("POST", EXTENSION + "{phase}/error", b"", {{**IDENTIFIER, "Lambda-Extension-Function-Error-Type": "Extension.NoDisk"}})"#
        )
    };
    let program = with_extension("[]", &format!("{}\nsignal.pause()", give_up("init")));
    let error = start_error(&program.function(), Fate::Normal).await;
    assert_eq!(
        error,
        "the program could not start: extension flusher reported an init error: Extension.NoDisk"
    );
    let program = with_extension("[]", &format!("next_event()\n{}\nsignal.pause()", give_up("exit")));
    let answer = invoke(&program.function(), "{}", "request-1", Fate::Normal).await;
    assert_eq!(answer, crash("extension flusher reported an exit error: Extension.NoDisk"));
}

#[tokio::test]
async fn wrong_requests_of_extensions_are_refused() {
    let rest = r#"
NAME = {"Lambda-Extension-Name": "other"}
seen = [
    call("POST", EXTENSION + "register", "{}"),
    call("POST", EXTENSION + "register", '{"events":["RESTORE"]}', NAME),
    call("POST", EXTENSION + "register", "[", NAME),
    call("GET", EXTENSION + "event/next"),
    call("GET", EXTENSION + "event/next", None, {"Lambda-Extension-Identifier": IDENTIFIER["Lambda-Extension-Identifier"][:-1] + "7"}),
    call("POST", EXTENSION + "exit/error", ""),
]
serve(lambda *_: [[status, json.loads(body)["errorType"]] for status, body, _ in seen])
"#;
    assert_eq!(
        json(respond(&with_extension("[]", rest).function(), "{}").await),
        json!([
            [400, "Extension.MissingHeader"],
            [400, "Extension.InvalidEventType"],
            [400, "InvalidRequestFormat"],
            [403, "Extension.UnknownExtensionIdentifier"],
            [403, "Extension.UnknownExtensionIdentifier"],
            [403, "Extension.UnknownExtensionIdentifier"],
        ])
    );
}
