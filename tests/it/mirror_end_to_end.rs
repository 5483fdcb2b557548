//! The checkpoint mirror of real binaries: rows in a real DynamoDB API, and no connection where there is no table.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::Duration,
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use kinesis_handler::{Event, KinesisRecord};
use serde_json::{Value, json};

use crate::{
    emulator::{Function, misbehaving_function, order_function, wait_for},
    events,
    fault_proxy::{Fault, FaultProxy},
    moto::{self, Moto},
};

const TABLE: &str = "orders-mirror";

fn start(binary: &Path, port: u16, more: &[(&'static str, &str)]) -> Function {
    let mut variables = moto::variables(port);
    variables.extend(more.iter().map(|&(name, value)| (name, value.to_owned())));
    variables.push(("RUST_LOG", "info,kinesis_handler=debug".to_owned()));
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Function::start_with_timeout(binary, &variables, Some(Duration::from_secs(10)))
}

fn response(answer: &crate::emulator::Answer) -> Value {
    assert!(answer.success, "{}", answer.stderr);
    serde_json::from_str(&answer.stdout).expect("the response is JSON")
}

/// The last line of a batch in the log.
fn batch(function: &Function) -> Value {
    let log = function.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("a log line is JSON"));
    lines.rev().find(|line| line["message"] == "batch processed").expect("a batch")
}

fn wait_for_next(function: &Function) {
    wait_for("the function's first request", || {
        function.requests().iter().any(|line| line.contains("/runtime/invocation/next"))
    });
}

/// Checkpoint, sub-sequence number, application.
async fn row(client: &Client) -> Option<[String; 3]> {
    let key = AttributeValue::S("shardId-000000000000".to_owned());
    let item = client.get_item().table_name(TABLE).key("leaseKey", key).consistent_read(true).send().await;
    let item = item.expect("moto answers").item?;
    Some(["checkpoint", "checkpointSubSequenceNumber", "kitApp"].map(|name| {
        let value = &item[name];
        value.as_s().or(value.as_n()).expect("text or number").clone()
    }))
}

fn expected(position: u64, sub: u64) -> Option<[String; 3]> {
    let sequence_number = events::sequence_number(position).to_string();
    Some([sequence_number, sub.to_string(), "function-under-test".to_owned()])
}

#[tokio::test]
#[ignore = "needs cargo-lambda and moto: make test"]
async fn a_function_writes_its_row_once_for_each_batch() {
    let moto = Moto::start();
    let proxy = FaultProxy::start(moto.port);
    let client = Client::new(&moto::config(moto.port).await);
    moto::create_table(&client, TABLE).await;
    let function = start(&order_function(), proxy.port, &[("KINESIS_HANDLER_CHECKPOINT_TABLE", TABLE)]);
    wait_for_next(&function);
    assert_eq!(proxy.take_requests(), [""; 0], "no call before the first event");
    assert_eq!(function.remote_ports(), [function.runtime_api_port], "no connection before the first event");

    // Its second Kinesis record is an aggregate of two, whose second user record fails.
    response(&function.invoke(&events::path("partial-failure.json")));
    assert_eq!(row(&client).await, expected(1, 0));
    assert_eq!(proxy.take_requests(), ["GET", "UpdateItem"]);
    response(&function.invoke(&events::path("aggregated.json")));
    assert_eq!(row(&client).await, expected(2, 2));
    assert_eq!(proxy.take_requests(), ["UpdateItem"]);
    let line = batch(&function);
    for count in ["checkpointAlreadyAhead", "checkpointLeaseOwned", "checkpointWriteErrors"] {
        assert_eq!(line.get(count), None, "counts of zero are omitted");
    }

    response(&function.invoke(&events::path("plain.json")));
    assert_eq!(batch(&function)["checkpointAlreadyAhead"], 1);
    assert_eq!(row(&client).await, expected(2, 2));
}

#[tokio::test]
#[ignore = "needs cargo-lambda and moto: make test"]
async fn a_write_that_fails_is_in_the_log_and_fails_no_batch_but_a_strict_one() {
    let moto = Moto::start();
    let proxy = FaultProxy::start(moto.port);
    let success = json!({ "batchItemFailures": [] });
    let last = json!({ "batchItemFailures": [{ "itemIdentifier": events::sequence_number(2) }] });
    for (strict, expected) in [("off", &success), ("on", &last)] {
        let variables =
            [("KINESIS_HANDLER_CHECKPOINT_TABLE", TABLE), ("KINESIS_HANDLER_CHECKPOINT_STRICT", strict)];
        let function = start(&order_function(), proxy.port, &variables);
        // There is no table.
        assert_eq!(response(&function.invoke(&events::path("aggregated.json"))), *expected);
        assert_eq!(batch(&function)["checkpointWriteErrors"], 1);
        let log = function.log();
        assert!(
            log.contains("\"checkpoint not written\"") && log.contains("ResourceNotFoundException"),
            "{log}"
        );
        assert!(!log.contains("teapot"), "a payload in the log");
    }
}

#[tokio::test]
#[ignore = "needs cargo-lambda and moto: make test"]
async fn a_server_that_does_not_answer_never_costs_the_invocation() {
    let moto = Moto::start();
    let proxy = FaultProxy::start(moto.port);
    let client = Client::new(&moto::config(moto.port).await);
    moto::create_table(&client, TABLE).await;
    let mut variables = moto::variables(proxy.port);
    variables.push(("KINESIS_HANDLER_CHECKPOINT_TABLE", TABLE.to_owned()));
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let timeout = Duration::from_secs(2);
    let function = Function::start_with_timeout(&misbehaving_function(), &variables, Some(timeout));
    let event = |data: &[&str]| {
        let record = |(position, data): (u64, &&str)| {
            let mut record = KinesisRecord::new(events::sequence_number(position), "key", data.as_bytes());
            record.shard_id = Some("shardId-000000000000".into());
            record.event_source_arn = Some("arn:aws:kinesis:us-east-1:123456789012:stream/orders".into());
            record
        };
        Event::new((0..).zip(data).map(record).collect()).to_json()
    };

    // After a deadline stop: what was done is written in what is left.
    let stopped = json!({ "batchItemFailures": [{ "itemIdentifier": events::sequence_number(1) }] });
    assert_eq!(response(&function.invoke_with(&event(&["fine", "wait"]))), stopped);
    assert_eq!(row(&client).await, expected(0, 0));

    // A table that hangs takes half of what is left, and the answer comes in time.
    proxy.set_faults([Fault::Stall; 10]);
    let started = std::time::Instant::now();
    assert_eq!(response(&function.invoke_with(&event(&["fine", "wait"]))), stopped);
    assert!(started.elapsed() < timeout, "{:?}", started.elapsed());
    assert_eq!(batch(&function)["checkpointWriteErrors"], 1);
}

#[tokio::test]
#[ignore = "needs cargo-lambda: make test"]
async fn without_a_table_nothing_is_connected_but_the_runtime_api() {
    // Where every AWS service is supposed to be.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("a bound port").port();
    listener.set_nonblocking(true).expect("a socket can be told so");
    let function = start(&order_function(), port, &[("KINESIS_HANDLER_CHECKPOINT_STRICT", "off")]);
    for event in ["aggregated.json", "partial-failure.json", "six-megabytes.json"] {
        response(&function.invoke(&events::path(event)));
        let ports = function.remote_ports();
        assert!(
            !ports.is_empty() && ports.iter().all(|&port| port == function.runtime_api_port),
            "{ports:?}"
        );
    }
    let refused = listener.accept().map(drop).expect_err("nobody has come");
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    let requests = function.requests();
    assert!(requests.iter().all(|line| line.contains("/runtime/")), "{requests:?}");
}
