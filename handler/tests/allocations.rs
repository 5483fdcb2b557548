//! Memory allocations of an invocation. It is a program of its own, because its allocator counts.

#![allow(missing_docs, clippy::print_stdout, reason = "tests")]

use std::{
    env,
    hint::black_box,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use allocation_counter::measure;
use kinesis_handler::{Context, Event, Handler, KinesisRecord, ProcessError, Record, run};
use kpl_deaggregation::{UserRecord, encode};
use tokio::runtime::{Builder, Runtime};

/// The most allocations of an invocation without the Runtime API. They are for metrics and the deadline.
const MAX_CORE: u64 = 10;

/// The most allocations of an invocation with the Runtime API, `lambda_runtime` and metrics.
const MAX_WITH_HTTP: u64 = 100;

/// The name of the test that measures in another process, which has the variables of a Lambda function.
const CHILD: &str = "with_http_in_another_process";

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    black_box(record.data());
    Ok(())
}

/// Returns the event of a batch of aggregated records.
fn event(kinesis_records: u64, user_records: usize) -> Vec<u8> {
    let records = (1..=kinesis_records).map(|number| {
        let user_record = UserRecord::new(b"user-key", &[b'.'; 100]);
        let data = encode(vec![user_record; user_records]).expect("there are user records");
        let number = number.to_string().parse().expect("digits");
        let mut record = KinesisRecord::new(number, "kinesis-key", &data);
        record.shard_id = Some("shardId-000000000000".into());
        record.event_source_arn = Some("arn:aws:kinesis:us-east-1:123456789012:stream/orders".into());
        record.approximate_arrival_ms = Some(1_767_225_600_125);
        record
    });
    Event::new(records.collect()).to_json()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn deadline_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    (now + Duration::from_secs(60)).as_millis() as u64
}

/// Returns the number of allocations in which a warm handler handles an event.
fn allocations(handler: &Handler<impl kinesis_handler::RecordProcessor>, event: &[u8]) -> u64 {
    let runtime = runtime();
    let mut context = Context::default();
    context.deadline = deadline_ms();
    let handle = || drop(runtime.block_on(handler.handle(event, &context)).expect("a response"));
    handle();
    measure(handle).count_total
}

#[test]
fn records_need_no_allocations() {
    let (small, large) = (event(1, 2), event(100, 350));
    let handler = Handler::new(process);
    // Three groups of Kinesis records in one buffer.
    let of_large = allocations(&handler, &large);
    assert_eq!(of_large, allocations(&handler, &small));
    assert!(of_large <= MAX_CORE, "{of_large}");
}

#[test]
fn http_and_metrics_need_few_allocations() {
    let (few, many) = (with_http(10), with_http(110));
    let of_each = (many - few) / 100;
    assert!((1..=MAX_WITH_HTTP).contains(&of_each), "{of_each}");
}

/// Returns the number of allocations of a function that gets so many events.
fn with_http(invocations: usize) -> u64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the function connects");
        serve(stream, invocations);
    });
    let output = Command::new(env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "--nocapture", CHILD])
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .envs([("AWS_LAMBDA_FUNCTION_NAME", "orders"), ("AWS_LAMBDA_FUNCTION_VERSION", "1")])
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .output()
        .expect("it starts");
    server.join().expect("all invocations were answered");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = output.lines().filter(|line| line.contains("\"UserRecords\":700")).count();
    assert_eq!(lines, invocations, "{output}");
    let count = output.lines().find_map(|line| line.split("allocations: ").nth(1)).expect("the count");
    count.trim().parse().expect("a number")
}

/// Answers so many requests for an event, and takes the responses. Then it closes the connection, which ends the function.
fn serve(mut stream: TcpStream, invocations: usize) {
    let event = event(2, 350);
    let mut requests = BufReader::new(stream.try_clone().expect("a descriptor"));
    for _ in 0..invocations {
        assert!(read_request(&mut requests).starts_with("GET /2018-06-01/runtime/invocation/next "));
        let head = format!(
            "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: 1\r\nlambda-runtime-deadline-ms: {}\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:orders\r\n\
             content-length: {}\r\n\r\n",
            deadline_ms(),
            event.len()
        );
        stream.write_all(&[head.as_bytes(), &event].concat()).expect("connected");
        assert!(read_request(&mut requests).starts_with("POST /2018-06-01/runtime/invocation/1/response "));
        stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").expect("connected");
    }
    read_request(&mut requests);
}

/// Reads a request with its body, and returns the first line.
fn read_request(requests: &mut impl BufRead) -> String {
    let mut lines = requests.by_ref().lines().map(|line| line.expect("a line").to_lowercase());
    let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
    let length: u64 = length.map_or(0, |length| length.parse().expect("a number"));
    let body = std::io::copy(&mut requests.take(length), &mut std::io::sink()).expect("a body");
    assert_eq!(body, length);
    head.into_iter().next().unwrap_or_default().replacen("get", "GET", 1).replacen("post", "POST", 1)
}

#[test]
#[ignore = "the other test runs it in a process with the variables of a function"]
fn with_http_in_another_process() {
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return;
    }
    let runtime = runtime();
    let counted = measure(|| {
        let _ended = runtime.block_on(run(process)).expect_err("the connection was closed");
    });
    println!("allocations: {}", counted.count_total);
}
