//! A function that is measured: the program, and the process while it runs.

use std::{
    path::PathBuf,
    process::Stdio,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use bench_events::Event;

use crate::{
    dynamodb::DynamoDb,
    process::{peak_memory_bytes, settled_cpu_ns},
    runtime_api::{Call, RuntimeApi},
};

/// Longest time that a start or an invocation may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The names of contestants that have a meaning for tables and goals: title, and variables besides Lambda's.
type Known = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The contestant with journal and mirror.
const WITH_TABLES: &str = "ours-tables";

const KNOWN: [Known; 11] = [
    ("ours", "kinesis-handler", &[]),
    ("ours-avx2", "kinesis-handler, AVX2 only", &[("KINESIS_HANDLER_VECTOR_INSTRUCTIONS", "avx2")]),
    ("ours-json", "kinesis-handler, typed JSON", &[]),
    ("ours-sdk", "kinesis-handler, AWS SDK linked", &[]),
    (WITH_TABLES, "kinesis-handler, journal and mirror", &[]),
    // The memory is kept, as the others of ours keep it.
    (
        "transport",
        "lambda_runtime alone",
        &[("MALLOC_TRIM_THRESHOLD_", "67108864"), ("MALLOC_MMAP_THRESHOLD_", "33554432")],
    ),
    ("plain-rust", "plain Rust", &[]),
    ("plain-rust-json", "plain Rust, typed JSON", &[]),
    ("go", "Go", &[]),
    ("node", "Node.js + Powertools", &[]),
    ("python", "Python + Powertools", &[]),
];

/// A program to be measured.
#[derive(Clone)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) program: PathBuf,
    /// The same function, built to count its allocations.
    pub(crate) counting: Option<PathBuf>,
    /// The files and folders of its deployment package; none if that is the program.
    pub(crate) package: Vec<PathBuf>,
    variables: &'static [(&'static str, &'static str)],
}

impl FromStr for Contestant {
    type Err = anyhow::Error;

    /// Reads a contestant as `NAME=PROGRAM`.
    fn from_str(text: &str) -> Result<Self> {
        let (name, program) = text.split_once('=').context("expected NAME=PROGRAM")?;
        let names = || KNOWN.map(|(name, ..)| name).join(", ");
        let (name, title, variables) = *KNOWN
            .iter()
            .find(|(known, ..)| *known == name)
            .with_context(|| format!("unknown name {name:?}, expected one of {}", names()))?;
        Ok(Contestant {
            name,
            title,
            program: program.into(),
            counting: None,
            package: Vec::new(),
            variables,
        })
    }
}

impl Contestant {
    /// Returns the same function that counts its allocations, if there is one.
    pub(crate) fn counting(&self) -> Option<Self> {
        Some(Contestant { program: self.counting.clone()?, ..self.clone() })
    }
}

/// Wall and CPU time of an invocation.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) wall_ms: f64,
    pub(crate) cpu_ms: f64,
}

/// A running function that waits for an event.
pub(crate) struct Session {
    name: &'static str,
    child: Child,
    pid: u32,
    api: RuntimeApi,
    /// The requests for the next event, as many as there may be invocations at once. There are none while those run.
    waiting: Vec<oneshot::Sender<Bytes>>,
    input: ChildStdin,
    output: JoinHandle<String>,
    /// Lines of standard error.
    errors: mpsc::UnboundedReceiver<String>,
    /// Its tables, if it has some.
    _tables: Option<DynamoDb>,
    cold_start: Duration,
    invocations: usize,
}

impl Session {
    /// Starts the program and waits until it asks for its first event.
    pub(crate) async fn start(contestant: &Contestant) -> Result<Self> {
        Self::start_with(contestant, 1).await
    }

    /// Starts the program as on Lambda Managed Instances, if it takes several invocations at once, and waits until it asks
    /// for as many events.
    pub(crate) async fn start_with(contestant: &Contestant, concurrency: usize) -> Result<Self> {
        let mut api = RuntimeApi::start().await?;
        let tables = if contestant.name == WITH_TABLES { Some(DynamoDb::start().await?) } else { None };
        let mut command = Command::new(&contestant.program);
        command
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", api.address().as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
                ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench"),
                ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]bench"),
                ("AWS_REGION", "us-east-1"),
                ("_HANDLER", "function.handler"),
                ("POWERTOOLS_SERVICE_NAME", "bench"),
                ("POWERTOOLS_TRACE_DISABLED", "true"),
            ])
            .envs(contestant.variables.iter().copied())
            .envs(tables.iter().flat_map(DynamoDb::variables))
            .envs((concurrency > 1).then(|| ("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.to_string())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let started = Instant::now();
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", contestant.program.display()))?;
        let pid = child.id().context("the process has already ended")?;
        let output = read_to_end(child.stdout.take());
        let mut errors = read_lines(child.stderr.take());
        // Waiting for the end of the program closes the standard input that it still has.
        let input = child.stdin.take().context("standard input is closed")?;
        let first_call = tokio::select! {
            call = timeout(TIMEOUT, api.call()) => call.context("did not ask for an event in time")??,
            status = child.wait() => bail!("ended ({}): {}", status?, last_lines(&mut errors).await),
        };
        let cold_start = started.elapsed();
        let mut session = Session {
            name: contestant.name,
            child,
            pid,
            api,
            waiting: Vec::new(),
            input,
            output,
            errors,
            _tables: tables,
            cold_start,
            invocations: 0,
        };
        session.wait(first_call)?;
        while session.waiting.len() < concurrency {
            let call = timeout(TIMEOUT, session.api.call())
                .await
                .context("does not take several events at once")??;
            session.wait(call)?;
        }
        Ok(session)
    }

    fn wait(&mut self, call: Call) -> Result<()> {
        match call {
            Call::Next(next) => self.waiting.push(next),
            Call::Response(body, _) | Call::Error(body) => bail!("failed at start: {}", excerpt(&body)),
        }
        Ok(())
    }

    /// Time from the start of the program to its request for the first event.
    pub(crate) fn cold_start(&self) -> Duration {
        self.cold_start
    }

    /// Invokes the function as often at once as it waits for events, and checks its responses. The times are those until all
    /// have responded.
    pub(crate) async fn invoke(&mut self, event: &Event) -> Result<Sample> {
        let cpu_before = settled_cpu_ns(self.pid).await;
        let invocations = self.waiting.len();
        let mut responses = Vec::new();
        let sent = Instant::now();
        for next in self.waiting.drain(..) {
            ensure!(next.send(event.body.clone()).is_ok(), "{} has ended", self.name);
        }
        let mut last = sent;
        while responses.len() < invocations || self.waiting.len() < invocations {
            match timeout(TIMEOUT, self.api.call()).await?? {
                Call::Response(response, received) => {
                    responses.push(response);
                    last = received;
                }
                Call::Next(next) => self.waiting.push(next),
                Call::Error(error) => bail!("{} failed on {}: {}", self.name, event.name, excerpt(&error)),
            }
            ensure!(self.waiting.len() <= responses.len(), "{} has not answered {}", self.name, event.name);
        }
        let cpu_ns = settled_cpu_ns(self.pid).await - cpu_before;
        ensure!(responses.len() == invocations, "{} has answered {} twice", self.name, event.name);
        for response in responses {
            let response: Value = serde_json::from_slice(&response).context("response is not JSON")?;
            ensure!(
                response == json!({"batchItemFailures": []}),
                "{} answered {} with {response}",
                self.name,
                event.name
            );
        }
        self.invocations += invocations;
        let wall_ms = last.duration_since(sent).as_secs_f64() * 1e3;
        Ok(Sample { wall_ms, cpu_ms: cpu_ns as f64 / 1e6 })
    }

    /// Returns the number of allocations that a program has made so far, if it has been built to count them.
    pub(crate) async fn allocations(&mut self) -> Result<u64> {
        self.input.write_all(b"?").await?;
        loop {
            let line = timeout(TIMEOUT, self.errors.recv()).await.context("does not count allocations")?;
            let line = line.with_context(|| format!("{} has ended", self.name))?;
            if let Some(number) = line.strip_prefix("allocations ") {
                return Ok(number.parse()?);
            }
        }
    }

    /// Ends the program.
    pub(crate) async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Ends the program. Returns its peak memory in bytes, after checking the counts that it has printed.
    pub(crate) async fn finish(mut self, event: &Event) -> Result<u64> {
        let peak = peak_memory_bytes(self.pid).with_context(|| format!("{} has ended", self.name))?;
        self.child.kill().await?;
        let output = self.output.await?;
        let printed: Vec<Value> = output.lines().filter_map(printed_counts).collect();
        ensure!(
            printed.is_empty() || printed.len() == self.invocations,
            "{}: expected counts of {} invocations, found {}",
            self.name,
            self.invocations,
            printed.len()
        );
        for (member, expected) in [
            ("UserRecords", event.user_records),
            ("UserBytes", event.user_bytes),
            ("Bytes", event.data_bytes),
        ] {
            let wrong =
                printed.iter().filter_map(|counts| counts.get(member)).find(|found| **found != expected);
            if let Some(found) = wrong {
                bail!("{}: {member} of {}: expected {expected}, found {found}", self.name, event.name);
            }
        }
        Ok(peak)
    }
}

/// Returns a printed line if it has counts: the library's metrics, or those that other contestants print.
fn printed_counts(line: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(line).ok()?;
    line.get("UserRecords").is_some().then_some(line)
}

/// Reads what a program prints while it runs, so that it never waits for a full pipe.
fn read_to_end(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> JoinHandle<String> {
    tokio::spawn(async move {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read until an error is all there is.
            let _ = pipe.read_to_end(&mut bytes).await;
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Reads the lines that a program prints while it runs.
fn read_lines(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut bytes = Vec::new();
        let Some(mut pipe) = pipe.map(BufReader::new) else { return };
        // What was read until an error is all there is.
        while pipe.read_until(b'\n', &mut bytes).await.is_ok_and(|read| read > 0) {
            let line = String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned();
            bytes.clear();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Returns the last lines of a program that has ended.
async fn last_lines(lines: &mut mpsc::UnboundedReceiver<String>) -> String {
    let mut all = Vec::new();
    while let Some(line) = lines.recv().await {
        all.push(line);
    }
    all[all.len().saturating_sub(5)..].join("\n")
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(1_000).collect()
}
