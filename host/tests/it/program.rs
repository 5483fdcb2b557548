//! Functions in Python, which need nothing but its standard library.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use lambda_host::{Answer, BinaryFunction, BinaryOptions, Fate, FunctionError};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// A bound that is reached only if something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// The imports of every program: the client's side of the Runtime API, and a gate to meet the test at.
const LAMBDA: &str = r#"
import http.client, json, os, signal, socket, sys, threading

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
RUNTIME = "/2018-06-01/runtime/"
EXTENSION = "/2020-01-01/extension/"

def call(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(API)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read(), response.headers

def next_event():
    _, event, headers = call("GET", RUNTIME + "invocation/next")
    return headers["Lambda-Runtime-Aws-Request-Id"], event, headers

def respond(request_id, response, headers={}):
    body = response if isinstance(response, bytes) else json.dumps(response).encode()
    return call("POST", RUNTIME + f"invocation/{request_id}/response", body, headers)

def fail(request_id, body, headers={}):
    return call("POST", RUNTIME + f"invocation/{request_id}/error", body, headers)

def gate(text):
    """Tells the test, and waits until it is let through."""
    connection = socket.create_connection(("127.0.0.1", int(os.environ["GATE"])))
    connection.sendall(text.encode() + b"\n")
    connection.recv(1)

def serve(handle):
    while True:
        request_id, event, headers = next_event()
        respond(request_id, handle(request_id, event, headers))
"#;

pub(crate) const ECHO: &str = "serve(lambda request_id, event, headers: event)";

pub(crate) const PID: &str = "serve(lambda request_id, event, headers: os.getpid())";

/// A program in a folder of its own.
pub(crate) struct Program {
    pub(crate) folder: TempDir,
    pub(crate) options: BinaryOptions,
}

impl Program {
    pub(crate) fn new(source: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("function.py");
        fs::write(&path, format!("{LAMBDA}\n{source}")).expect("a writable folder");
        let options = BinaryOptions::new(["python3".into(), path.into_os_string()]);
        Program { folder, options }
    }

    pub(crate) fn meets_at(mut self, gate: &Gate) -> Self {
        let port = gate.0.local_addr().expect("it is bound").port();
        self.options.variables.push(("GATE".into(), port.to_string().into()));
        self
    }

    pub(crate) fn function(&self) -> BinaryFunction {
        BinaryFunction::new(self.options.clone())
    }
}

/// The file in which programs note that they have come to a certain place, and wait.
pub(crate) struct Gate(TcpListener);

/// A program that waits at the gate. Dropping it lets the program through.
pub(crate) struct Waiting {
    pub(crate) text: String,
    connection: BufReader<TcpStream>,
}

impl Gate {
    pub(crate) async fn new() -> Self {
        Gate(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    #[track_caller]
    pub(crate) fn arrival(&self) -> impl Future<Output = Waiting> {
        within_patience(async {
            let (connection, _) = self.0.accept().await.expect("a connection");
            let mut connection = BufReader::new(connection);
            let mut text = String::new();
            connection.read_line(&mut text).await.expect("a line of text");
            Waiting { text: text.trim_end().to_owned(), connection }
        })
    }
}

impl Waiting {
    pub(crate) async fn let_through(mut self) {
        self.connection.write_all(b"!").await.expect("it waits");
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub(crate) fn end(mut self) -> impl Future<Output = ()> {
        within_patience(async move {
            let mut rest = String::new();
            // A killed process may also reset the connection.
            let read = self.connection.read_line(&mut rest).await.unwrap_or(0);
            assert_eq!((read, rest.as_str()), (0, ""));
        })
    }
}

#[track_caller]
fn within_patience<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        match timeout(PATIENCE, future).await {
            Ok(result) => result,
            Err(_) => panic!("nothing happened, at {caller}"),
        }
    }
}

pub(crate) async fn invoke(function: &BinaryFunction, event: &str, request_id: &str, fate: Fate) -> Answer {
    function
        .invoke(Bytes::from(event.to_owned()), request_id, fate)
        .await
        .expect("the program can be started")
}

/// The error of a program that never asks for an event.
pub(crate) async fn start_error(function: &BinaryFunction, fate: Fate) -> String {
    let answer = function.invoke("{}".into(), "request-1", fate).await;
    answer.expect_err("no event was asked for").to_string()
}

/// The response to an event, as text.
pub(crate) async fn respond(function: &BinaryFunction, event: &str) -> String {
    text(invoke(function, event, "request-1", Fate::Normal).await)
}

#[track_caller]
pub(crate) fn text(answer: Answer) -> String {
    match answer {
        Answer::Response(response) => String::from_utf8(response.into()).expect("text"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn json(text: impl AsRef<[u8]>) -> Value {
    serde_json::from_slice(text.as_ref()).expect("JSON")
}

pub(crate) fn response(text: &str) -> Answer {
    Answer::Response(Bytes::from(text.to_owned()))
}

pub(crate) fn thrown(error_type: &str, message: &str) -> Answer {
    Answer::Error(FunctionError::Thrown { error_type: error_type.to_owned(), message: message.to_owned() })
}

pub(crate) fn crash(how: &str) -> Answer {
    Answer::Error(FunctionError::Crash { how: how.to_owned() })
}

pub(crate) const TIMEOUT: Answer = Answer::Error(FunctionError::Timeout);

/// Whether there is such a process. Only Linux can tell; elsewhere nothing is running.
pub(crate) fn is_running(pid: &str) -> bool {
    pid.parse::<u32>().expect("a process ID");
    Path::new("/proc").join(pid).exists()
}
