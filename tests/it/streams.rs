//! `kinesis-kit simulate --stream` with a stand-in for Kinesis and real functions.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    emulator::{Function, kinesis_kit, order_function, wait_for},
    kinesis::{CREDENTIALS, Kinesis},
    polling::Polling,
};

const STREAM: &str = "orders";

const PARENT: &str = "shardId-000000000000";

fn scenario(retries: u32) -> Value {
    json!({ "mapping": {
        "MaximumRetryAttempts": retries,
        "BisectBatchOnFunctionError": true,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    } })
}

fn order(id: &str) -> Vec<u8> {
    json!({ "id": id, "quantity": 1, "cents": 5 }).to_string().into_bytes()
}

fn failing_order(id: &str) -> Vec<u8> {
    json!({ "id": id, "quantity": 1, "cents": 5, "simulateOutages": 1000 }).to_string().into_bytes()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// The IDs of the orders that the function has reserved, in that order.
fn orders(polling: &Polling) -> Vec<String> {
    let lines = polling.log_lines("order reserved");
    lines.iter().map(|line| line["order"].as_str().expect("an ID").to_owned()).collect()
}

#[test]
#[ignore = "needs kinesis-local: make test"]
fn records_are_delivered_in_order_and_what_fails_for_good_is_kept() {
    let kinesis = Kinesis::start();
    kinesis.create_stream(STREAM, 1);
    let first = kinesis.put(STREAM, "plain", None, &order("A-1"));
    let bad = kinesis.put_aggregate(STREAM, None, &[order("A-2"), failing_order("A-3"), order("A-4")]);
    kinesis.put_aggregate(STREAM, None, &[order("A-5"), order("A-6")]);
    let last = kinesis.put(STREAM, "plain", None, &order("A-7"));

    let mut polling = Polling::start(&kinesis, STREAM, &scenario(2), &["--", path(&order_function())]);
    polling.wait_for_records(3);
    polling.interrupt();

    // By the first record of each batch: all four; what follows the first; the bad one, retried twice; the rest.
    let invoked = polling.steps("invoked");
    let batches: Vec<_> = invoked.iter().map(|step| step["records"].as_u64().expect("a number")).collect();
    assert_eq!(batches, [4, 3, 1, 1, 1, 2], "{invoked:?}");
    assert_eq!(invoked[0]["firstSequenceNumber"], json!(first));
    assert_eq!(invoked[0]["reported"], json!([bad]));
    assert_eq!(invoked[2]["requestId"], invoked[4]["requestId"]);
    assert_eq!(invoked[5]["lastSequenceNumber"], json!(last));
    // The aggregate comes again and again, with the orders in front of the one that fails.
    assert_eq!(orders(&polling), ["A-1", "A-2", "A-2", "A-2", "A-2", "A-2", "A-5", "A-6", "A-7"]);

    let kept = polling.failure_records();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(kept[0]["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(kept[0]["responseContext"]["functionError"], Value::Null);
    let batch = &kept[0]["KinesisBatchInfo"];
    assert_eq!((&batch["startSequenceNumber"], &batch["batchSize"]), (&json!(bad), &json!(1)));
    assert_eq!(batch["streamArn"], "arn:aws:kinesis:us-east-1:000000000000:stream/orders");
    let payload = kept[0]["payload"].as_str().expect("the event as text");
    let payload: Value = serde_json::from_str(payload).expect("JSON");
    assert_eq!(payload["Records"][0]["kinesis"]["sequenceNumber"], json!(bad));
    assert!(polling.log().contains("3 records processed, 1 discarded, 0 lost, 1 failure record written"));
}

#[test]
#[ignore = "needs kinesis-local: make test"]
fn a_shards_records_come_before_those_of_its_children() {
    let kinesis = Kinesis::start();
    kinesis.create_stream(STREAM, 1);
    for number in 0..3 {
        kinesis.put(STREAM, "k", None, &order(&format!("parent-{number}")));
    }
    kinesis.split_shard(STREAM, PARENT);
    let [low, high] = [0, u128::MAX - 1];
    kinesis.put(STREAM, "k", Some(low), &order("child-low"));
    kinesis.put(STREAM, "k", Some(high), &order("child-high"));

    let mut polling = Polling::start(&kinesis, STREAM, &scenario(2), &["--", path(&order_function())]);
    polling.wait_for_records(5);
    // While it runs: one of the children is split, and its own children take over.
    let children: Vec<String> =
        kinesis.shards(STREAM).iter().skip(1).map(|shard| shard.shard_id.clone()).collect();
    assert_eq!(children.len(), 2);
    kinesis.put(STREAM, "k", Some(low), &order("child-low-again"));
    kinesis.split_shard(STREAM, &children[0]);
    kinesis.put(STREAM, "k", Some(low), &order("grandchild"));
    polling.wait_for_records(7);
    polling.interrupt();

    let orders = orders(&polling);
    assert_eq!(&orders[..3], ["parent-0", "parent-1", "parent-2"]);
    let mut both = orders[3..5].to_vec();
    both.sort_unstable();
    assert_eq!(both, ["child-high", "child-low"]);
    assert_eq!(&orders[5..], ["child-low-again", "grandchild"]);
    let acknowledged = polling.steps("acknowledged");
    assert_eq!(acknowledged[0]["shardId"], PARENT);
    assert!(acknowledged[1..].iter().all(|step| step["shardId"] != PARENT));
}

/// Waits for a file with the name of its own, and `.go`, before it answers an invocation.
const SLOW_FUNCTION: &str = r#"
import http.client, json, os, time

runtime = "/2018-06-01/runtime/invocation/"
with open(os.environ["PID_FILE"] + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(os.environ["PID_FILE"] + ".new", os.environ["PID_FILE"])
while True:
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request("GET", runtime + "next")
    response = connection.getresponse()
    event = json.loads(response.read())
    while not os.path.exists(os.environ["PID_FILE"] + ".go"):
        time.sleep(0.01)
    first = event["Records"][0]["kinesis"]["sequenceNumber"]
    print("handled", first, flush=True)
    request_id = response.headers["Lambda-Runtime-Aws-Request-Id"]
    connection.request("POST", runtime + request_id + "/response", json.dumps({"batchItemFailures": []}))
    connection.getresponse().read()
"#;

/// A run whose function, in Python, has its first invocation, and the function's process.
fn slow_run(kinesis: &Kinesis, folder: &Path) -> (Polling, String) {
    kinesis.create_stream(STREAM, 1);
    kinesis.put(STREAM, "k", None, b"hello");
    let program = folder.join("function.py");
    fs::write(&program, SLOW_FUNCTION).expect("a writable folder");
    let polling = Polling::start(kinesis, STREAM, &scenario(2), &["--", "python3", path(&program)]);
    wait_for("the function", || polling.pid_file().exists());
    wait_for("the read", || !polling.steps("read").is_empty());
    let process = fs::read_to_string(polling.pid_file()).expect("a process ID");
    assert!(is_running(&process));
    (polling, process)
}

fn is_running(process: &str) -> bool {
    let kill = Command::new("kill").args(["-s", "0", process]).output();
    kill.expect("kill runs").status.success()
}

#[test]
#[ignore = "needs kinesis-local: make test"]
fn an_interrupt_waits_for_the_invocation_and_leaves_no_process() {
    let (kinesis, folder) = (Kinesis::start(), tempfile::tempdir().expect("a temporary folder"));
    let (mut polling, process) = slow_run(&kinesis, folder.path());
    polling.signal("INT");
    let waits = "ended by SIGINT: waiting for 1 invocation to end";
    wait_for("the note", || polling.log().contains(waits));
    fs::write(polling.pid_file().with_extension("go"), "").expect("a writable folder");
    assert_eq!(polling.wait().code(), Some(0));
    assert!(polling.log().contains("\nhandled "), "{}", polling.log());
    assert!(polling.log().contains("1 invocation (1 ok), 1 record processed, 0 discarded, 0 lost"));
    assert!(!is_running(&process));
}

#[test]
#[ignore = "needs kinesis-local: make test"]
fn a_second_signal_kills_what_is_running() {
    let (kinesis, folder) = (Kinesis::start(), tempfile::tempdir().expect("a temporary folder"));
    let (mut polling, process) = slow_run(&kinesis, folder.path());
    polling.signal("INT");
    wait_for("the note", || polling.log().contains("waiting for 1 invocation"));
    polling.signal("TERM");
    assert_eq!(polling.wait().code(), Some(1));
    let killed = "ended by SIGTERM, 1 invocation killed: 0 invocations, 0 records processed";
    assert!(polling.log().contains(killed), "{}", polling.log());
    assert!(!is_running(&process));
}

#[test]
#[ignore = "needs kinesis-local and cargo-lambda: make test"]
fn a_function_behind_a_url_gets_the_records() {
    let kinesis = Kinesis::start();
    kinesis.create_stream(STREAM, 2);
    kinesis.put(STREAM, "k", Some(0), &order("A-1"));
    kinesis.put(STREAM, "k", Some(u128::MAX - 1), &order("A-2"));
    let function = Function::start(&order_function(), &[]);
    let mut polling = Polling::start(&kinesis, STREAM, &scenario(2), &["--url", &function.invoke_url()]);
    polling.wait_for_records(2);
    polling.interrupt();
    let log = function.log();
    assert!(log.contains(r#""order":"A-1""#) && log.contains(r#""order":"A-2""#), "{log}");
}

#[test]
#[ignore = "needs kinesis-local: make test"]
fn time_ends_a_run_and_a_stream_that_is_not_there_begins_none() {
    let kinesis = Kinesis::start();
    kinesis.create_stream(STREAM, 1);
    let simulate = |stream: &str| {
        let output = Command::new(kinesis_kit())
            .args(["simulate", "--for", "1", "--stream", stream, "--", path(&order_function())])
            .env("AWS_ENDPOINT_URL", kinesis.url())
            .envs(CREDENTIALS)
            .output()
            .expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
    let (exit_code, stdout, stderr) = simulate(&arn);
    assert_eq!((exit_code, stdout.as_str()), (Some(0), ""));
    let summary = "time is up: 0 invocations, 0 records processed, 0 discarded, 0 lost";
    assert_eq!(
        stderr,
        format!("kinesis-kit: polling {arn}, from its oldest record on\nkinesis-kit: {summary}\n")
    );

    let (exit_code, stdout, stderr) = simulate("nothing");
    assert_eq!((exit_code, stdout.as_str()), (Some(2), ""));
    let text =
        "kinesis-kit: stream nothing cannot be used: DescribeStreamSummary: ResourceNotFoundException: ";
    assert!(stderr.starts_with(text), "{stderr}");
}
