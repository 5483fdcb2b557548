use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

/// A server that answers as a test says: requests of JSON APIs such as that of Kinesis by the operation's name, those that
/// get something by their path, those of other methods such as `DELETE /path` by both, as those that make a mapping or an alias, and any
/// other POST as an invocation, by the name `Invoke`. An answer to a path that is text is sent as it is. The member `logResult` of an answer goes into Lambda's header for
/// it, if the log was asked for. The server lives as long as the test's process.
pub(crate) struct ScriptedKinesis {
    port: u16,
    requests: Arc<Mutex<Vec<Seen>>>,
}

/// A request to the API.
#[derive(Debug)]
struct Seen {
    operation: String,
    /// The region that it is signed for.
    region: String,
    /// The account that must own the bucket.
    owner: Option<String>,
    request: Value,
}

/// An HTTP status and a body.
pub(crate) type Answer = (u16, Value);

impl ScriptedKinesis {
    /// `answer` gets the operation, how many requests for it came before, and the request: its body, or else its query.
    pub(crate) fn start(answer: impl Fn(&str, usize, &Value) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let requests: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (answer, seen) = (Arc::new(answer), Arc::clone(&requests));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                thread::spawn(move || {
                    // `None` if the other side has gone away: it may be killed at any time.
                    let _ = serve(client, |operation, region, owner, request| {
                        let number = {
                            let mut seen = seen.lock().expect("no panic while locked");
                            let before = seen.iter().filter(|seen| seen.operation == operation).count();
                            let (operation, region) = (operation.to_owned(), region.to_owned());
                            let owner = owner.map(str::to_owned);
                            seen.push(Seen { operation, region, owner, request: request.clone() });
                            before
                        };
                        answer(operation, number, request)
                    });
                });
            }
        });
        ScriptedKinesis { port, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The requests for this operation so far.
    pub(crate) fn requests(&self, operation: &str) -> Vec<Value> {
        self.seen(operation, |seen| seen.request.clone())
    }

    /// The regions that the requests for this operation are signed for.
    pub(crate) fn regions(&self, operation: &str) -> Vec<String> {
        self.seen(operation, |seen| seen.region.clone())
    }

    /// The accounts that requests expect to own the bucket.
    pub(crate) fn owners(&self) -> Vec<String> {
        let seen = self.requests.lock().expect("no panic while locked");
        seen.iter().filter_map(|seen| seen.owner.clone()).collect()
    }

    fn seen<T>(&self, operation: &str, of: impl Fn(&Seen) -> T) -> Vec<T> {
        let seen = self.requests.lock().expect("no panic while locked");
        seen.iter().filter(|seen| seen.operation == operation).map(of).collect()
    }
}

/// Variables with which the command finds the server, whatever the machine's own configuration is.
pub(crate) fn variables(url: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ]
}

/// An error as the API answers it.
pub(crate) fn error(status: u16, code: &str) -> Answer {
    (status, json!({ "__type": code, "message": "asked to" }))
}

/// A record as the API hands it out.
pub(crate) fn record(sequence_number: &str) -> Value {
    json!({
        "SequenceNumber": sequence_number,
        "ApproximateArrivalTimestamp": 4_102_444_800.747,
        "Data": "aGVsbG8=",
        "PartitionKey": "k",
    })
}

/// The answer of a stream of this name that has existed for ever.
pub(crate) fn description(name: &str) -> Answer {
    let summary = json!({
        "StreamName": name,
        "StreamARN": format!("arn:aws:kinesis:eu-west-1:123456789012:stream/{name}"),
        "StreamStatus": "ACTIVE",
        "RetentionPeriodHours": 24,
        "StreamCreationTimestamp": 1_767_225_600.0,
        "EnhancedMonitoring": [],
        "OpenShardCount": 1,
    });
    (200, json!({ "StreamDescriptionSummary": summary }))
}

fn serve(client: TcpStream, answer: impl Fn(&str, &str, Option<&str>, &Value) -> Answer) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut first_line = String::new();
    reader.read_line(&mut first_line).ok()?;
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let (method, rest) = first_line.split_once(' ')?;
    let path_and_query = rest.split(' ').next()?;
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let by_path = match method {
        "GET" => path.to_owned(),
        // Mappings and aliases are made.
        "POST" if path.contains("/event-source-mappings") || path.ends_with("/aliases") => {
            format!("POST {path}")
        }
        "POST" => "Invoke".to_owned(),
        method => format!("{method} {path}"),
    };
    let mut body = match headers.get("content-length") {
        Some(length) => vec![0; length.parse().ok()?],
        None => Vec::new(),
    };
    reader.read_exact(&mut body).ok()?;
    let target = headers.get("x-amz-target").and_then(|target| target.split('.').nth(1));
    let operation = target.unwrap_or(&by_path);
    let request = match (body.is_empty(), query) {
        (true, "") => Value::Null,
        (true, query) => Value::from(query),
        (false, _) => serde_json::from_slice(&body).ok()?,
    };
    // Credential=KEY/DATE/REGION/SERVICE/aws4_request
    let credential = headers.get("authorization").and_then(|text| text.split_once("Credential="));
    let region = credential.and_then(|(_, rest)| rest.split('/').nth(2)).unwrap_or_default();
    let owner = headers.get("x-amz-expected-bucket-owner").map(String::as_str);
    let (status, mut body) = answer(operation, region, owner, &request);
    let log = body.as_object_mut().and_then(|body| body.remove("logResult"));
    let log = log.filter(|_| headers.get("x-amz-log-type").is_some_and(|kind| kind == "Tail"));
    let log = log
        .as_ref()
        .and_then(Value::as_str)
        .map_or(String::new(), |log| format!("X-Amz-Log-Result: {log}\r\n"));
    let body = match body {
        Value::String(text) if operation.contains('/') => text,
        json => json.to_string(),
    };
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n{log}Connection: close\r\n\r\n",
        body.len()
    );
    let mut client = client;
    client.write_all((head + &body).as_bytes()).ok()
}
