//! A stand-in for the part of Lambda's API that a replay on Lambda needs: its event source mappings deliver.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use serde_json::{Value, json};

use crate::emulator::{kinesis_kit, misbehaving_function};

/// ARN of the function.
pub(crate) const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:orders";

/// The API. Its mappings end with it.
pub(crate) struct LambdaApi {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The live mapping, which delivers nothing here.
    live: Value,
    /// Variables of the function, and of `kinesis-kit`, which is the mapping.
    variables: BTreeMap<String, String>,
    folder: PathBuf,
    aliases: Vec<Value>,
    mappings: BTreeMap<String, (Value, Child)>,
    created: Vec<Value>,
}

impl LambdaApi {
    /// Starts it with a live mapping of these settings.
    pub(crate) fn start(live: Value, variables: BTreeMap<String, String>, folder: PathBuf) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let (aliases, mappings, created) = Default::default();
        let state = State { live, variables, folder, aliases, mappings, created };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // `None` if the other side is killed.
                let _ = serve(client, |method, path, body| {
                    shared.lock().expect("no panic while locked").answer(method, path, body)
                });
            }
        });
        LambdaApi { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The requests that have made a mapping.
    pub(crate) fn created(&self) -> Vec<Value> {
        self.lock().created.clone()
    }

    /// The numbers of mappings and aliases that are there, except the live one.
    pub(crate) fn left(&self) -> (usize, usize) {
        let state = self.lock();
        (state.mappings.len(), state.aliases.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while locked")
    }
}

impl Drop for LambdaApi {
    fn drop(&mut self) {
        let ids: Vec<String> = self.lock().mappings.keys().cloned().collect();
        for id in ids {
            self.lock().delete(&id);
        }
    }
}

impl State {
    fn answer(&mut self, method: &str, path_and_query: &str, body: &Value) -> (u16, Value) {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method, &parts[1..]) {
            ("GET", ["event-source-mappings"]) => {
                let mut mappings: Vec<Value> =
                    self.mappings.values().map(|(mapping, _)| mapping.clone()).collect();
                if query.contains("FunctionName") {
                    mappings.retain(|mapping| {
                        let arn = mapping["FunctionArn"].as_str().expect("text").replace(':', "%3A");
                        query.contains(&format!("FunctionName={arn}"))
                    });
                } else {
                    mappings.push(self.live.clone());
                }
                (200, json!({ "EventSourceMappings": mappings }))
            }
            ("POST", ["event-source-mappings"]) => (202, self.create(body)),
            ("GET", ["event-source-mappings", id]) => match self.mappings.get(*id) {
                Some((mapping, _)) => (200, mapping.clone()),
                None => not_found(),
            },
            ("DELETE", ["event-source-mappings", id]) => match self.delete(id) {
                Some(mapping) => (202, mapping),
                None => not_found(),
            },
            ("GET", ["functions", _, "configuration"]) => {
                let variables = json!({ "Variables": self.variables });
                (
                    200,
                    json!({ "FunctionName": "orders", "FunctionArn": FUNCTION_ARN, "Environment": variables }),
                )
            }
            ("POST", ["functions", _, "aliases"]) => {
                if self.aliases.iter().any(|alias| alias["Name"] == body["Name"]) {
                    return (409, json!({ "__type": "ResourceConflictException", "message": "it is there" }));
                }
                self.aliases.push(body.clone());
                (201, body.clone())
            }
            ("DELETE", ["functions", _, "aliases", name]) => {
                self.aliases.retain(|alias| alias["Name"] != *name);
                (204, Value::Null)
            }
            other => panic!("{other:?} is not known"),
        }
    }

    /// Makes a mapping, which is a simulation that polls the stream.
    fn create(&mut self, request: &Value) -> Value {
        self.created.push(request.clone());
        let function_arn = request["FunctionName"].as_str().expect("text");
        let (_, alias) = function_arn.rsplit_once(':').expect("an alias");
        assert!(self.aliases.iter().any(|of| of["Name"] == alias), "{alias} is there");
        let id = format!("mapping-{}", self.created.len());
        let mut settings = request.clone();
        let members = settings.as_object_mut().expect("an object");
        // The simulation has no other metrics.
        members.remove("MetricsConfig");
        let scenario = self.folder.join(format!("{id}.json"));
        fs::write(&scenario, json!({ "mapping": settings }).to_string()).expect("a writable folder");
        let source = request["EventSourceArn"].as_str().expect("text");
        let log = fs::File::create(self.folder.join(format!("{id}.log"))).expect("a writable folder");
        let process = Command::new(kinesis_kit())
            .args(["simulate", "--stream", source, "--format", "json", "--scenario"])
            .arg(&scenario)
            .arg("--failures")
            .arg(self.folder.join(format!("{id}.failures")))
            .arg("--")
            .arg(misbehaving_function())
            .envs(&self.variables)
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let mut mapping = request.clone();
        mapping["UUID"] = json!(id);
        mapping["State"] = json!("Enabled");
        mapping["FunctionArn"] = json!(function_arn);
        self.mappings.insert(id, (mapping.clone(), process));
        mapping
    }

    fn delete(&mut self, id: &str) -> Option<Value> {
        let (mapping, mut process) = self.mappings.remove(id)?;
        // Errors mean that it has ended by itself.
        let _ = process.kill();
        let _ = process.wait();
        Some(mapping)
    }
}

fn not_found() -> (u16, Value) {
    (404, json!({ "__type": "ResourceNotFoundException", "message": "it is not there" }))
}

fn serve(client: TcpStream, answer: impl FnOnce(&str, &str, &Value) -> (u16, Value)) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut first_line = String::new();
    reader.read_line(&mut first_line).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).ok()? };
    let mut words = first_line.split(' ');
    let (status, answer) = answer(words.next()?, words.next()?, &body);
    let kind =
        answer["__type"].as_str().map_or(String::new(), |kind| format!("x-amzn-ErrorType: {kind}\r\n"));
    let answer = if answer.is_null() { String::new() } else { answer.to_string() };
    let head = format!(
        "HTTP/1.1 {status} Stand-in\r\nContent-Type: application/json\r\n{kind}Content-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    let mut client = client;
    client.write_all((head + &answer).as_bytes()).ok()
}
