//! Stands between a client of AWS and its server: notes requests, and lets some of them go wrong.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::capacity::Capacity;

/// The fate of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It is answered with this error of DynamoDB, and does not reach the server.
    Error { status: u16, code: &'static str },
    /// It is answered with the cancellation of a transaction for this reason, and does not reach the server.
    Cancelled(&'static str),
    /// The connection is closed, and it does not reach the server.
    Drop,
    /// The connection is closed after the server has done what it asks for.
    LoseAnswer,
    /// It is answered as DynamoDB does if it has done the transaction with this token already, and does not reach the
    /// server. With another token than the last transaction, it is refused.
    SameToken,
    /// No answer comes, and it does not reach the server.
    Stall,
    /// No answer comes, after the server has done what it asks for.
    StallAnswer,
    /// The request passes unchanged.
    None,
}

/// The proxy. Its threads end with the test.
pub(crate) struct FaultProxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    /// One request at a time: moto checks an update's condition and makes the update in two steps, and lets others come
    /// between.
    turn: Mutex<()>,
    /// For the requests to come, but for those that name no action.
    faults: Mutex<VecDeque<Fault>>,
    requests: Mutex<Vec<String>>,
    /// The token of the last transaction.
    token: Mutex<Option<String>>,
    capacity: Mutex<Option<Capacity>>,
    stalls: AtomicU32,
}

impl FaultProxy {
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let shared = Arc::new(Shared {
            server,
            turn: Mutex::default(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            token: Mutex::default(),
            capacity: Mutex::default(),
            stalls: AtomicU32::new(0),
        });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&for_thread);
                thread::spawn(move || shared.serve(client));
            }
        });
        FaultProxy { port, shared }
    }

    /// The fates of the next requests with an action.
    pub(crate) fn set_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.shared.faults.lock().expect("no panic while locked") = faults.into_iter().collect();
    }

    /// Throttles writes from now on.
    pub(crate) fn set_capacity(&self, capacity: Capacity) {
        *self.shared.capacity.lock().expect("no panic while locked") = Some(capacity);
    }

    /// The sort keys of all items whose writes were not throttled.
    pub(crate) fn written(&self) -> Vec<String> {
        let capacity = self.shared.capacity.lock().expect("no panic while locked");
        capacity.as_ref().map_or_else(Vec::new, |capacity| capacity.written().to_vec())
    }

    /// The requests since the last call: their actions, or methods where they name none.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.requests.lock().expect("no panic while locked"))
    }

    /// Number of requests that wait for an answer that will not come.
    pub(crate) fn stalls(&self) -> u32 {
        self.shared.stalls.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// One request after the other on a connection of a client.
    fn serve(&self, client: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(client.try_clone().ok()?);
        let mut client = client;
        loop {
            let request = read_message(&mut reader)?;
            let action = header(&request, "x-amz-target");
            let name = match &action {
                Some(action) => action.rsplit('.').next().unwrap_or_default().to_owned(),
                None => String::from_utf8_lossy(&request).split(' ').next().unwrap_or_default().to_owned(),
            };
            self.requests.lock().expect("no panic while locked").push(name);
            let fault = match action {
                Some(_) => self.faults.lock().expect("no panic while locked").pop_front(),
                None => None,
            };
            let body = body(&request);
            let token_before = body.get("ClientRequestToken").and_then(Value::as_str).and_then(|token| {
                self.token.lock().expect("no panic while locked").replace(token.to_owned())
            });
            let is_throttled = |capacity: &mut Option<Capacity>| {
                capacity.as_mut().is_some_and(|capacity| !capacity.takes(&body))
            };
            if is_throttled(&mut self.capacity.lock().expect("no panic while locked")) {
                let fault = match body.get("TransactItems") {
                    Some(_) => cancelled("ThrottlingError"),
                    None => failed(400, "ProvisionedThroughputExceededException"),
                };
                client.write_all(fault.as_bytes()).ok()?;
                continue;
            }
            match fault.unwrap_or(Fault::None) {
                Fault::SameToken => {
                    let token = body.get("ClientRequestToken").and_then(Value::as_str);
                    let answer = match token.is_some() && token_before.as_deref() == token {
                        true => message("200 OK", "{}"),
                        false => failed(400, "IdempotentParameterMismatchException"),
                    };
                    client.write_all(answer.as_bytes()).ok()?;
                }
                Fault::None => client.write_all(&self.forward(&request)?).ok()?,
                Fault::Drop => return None,
                Fault::LoseAnswer => {
                    self.forward(&request)?;
                    return None;
                }
                Fault::Stall => self.stall(),
                Fault::StallAnswer => {
                    self.forward(&request)?;
                    self.stall();
                }
                Fault::Error { status, code } => client.write_all(failed(status, code).as_bytes()).ok()?,
                Fault::Cancelled(reason) => client.write_all(cancelled(reason).as_bytes()).ok()?,
            }
        }
    }

    /// Longer than any test waits.
    fn stall(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_secs(600));
    }

    fn forward(&self, request: &[u8]) -> Option<Vec<u8>> {
        let _turn = self.turn.lock().expect("no panic while locked");
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server)).ok()?;
        server.write_all(request).ok()?;
        let mut answer = read_message(&mut BufReader::new(server))?;
        // The server closes its connection after each answer; the client's stays.
        let close = b"Connection: close\r\n";
        if let Some(at) = answer.windows(close.len()).position(|window| window.eq_ignore_ascii_case(close)) {
            answer.drain(at..at + close.len());
        }
        Some(answer)
    }
}

/// An error of DynamoDB as an HTTP message.
fn failed(status: u16, code: &str) -> String {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"asked to"}}"#);
    message(&format!("{status} Error"), &body)
}

/// A cancelled transaction as an HTTP message.
fn cancelled(reason: &str) -> String {
    let body = format!(
        r#"{{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message":"asked to","CancellationReasons":[{{"Code":"None"}},{{"Code":"{reason}"}}]}}"#
    );
    message("400 Error", &body)
}

fn message(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The JSON in a request; null if there is none.
fn body(request: &[u8]) -> Value {
    let start =
        request.windows(4).position(|window| window == b"\r\n\r\n").map_or(request.len(), |at| at + 4);
    serde_json::from_slice(&request[start..]).unwrap_or_default()
}

/// Head and body of an HTTP message. `None` at the end of the connection.
fn read_message(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    while !message.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut message).ok()? == 0 {
            return None;
        }
    }
    let length = header(&message, "content-length").map_or(0, |text| text.parse().expect("a length"));
    let start = message.len();
    message.resize(start + length, 0);
    reader.read_exact(&mut message[start..]).ok()?;
    Some(message)
}

fn header(message: &[u8], name: &str) -> Option<String> {
    String::from_utf8_lossy(message).lines().take_while(|line| !line.is_empty()).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}
