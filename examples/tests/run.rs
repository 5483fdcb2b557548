//! Every example, run as Lambda runs it.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
};

use base64::prelude::*;
use flate2::{Compression, write::GzEncoder};
use lambda_host::{Answer, BinaryFunction, BinaryOptions, Fate, OutputObserver};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Invokes a function with a sample event once for each expected response.
async fn check(program: &str, event: &str, expected: &[Value]) {
    check_with(BinaryOptions::new([program]), event, expected).await;
}

/// As [`check`], with options.
async fn check_with(options: BinaryOptions, event: &str, expected: &[Value]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(event);
    let event = fs::read(path).expect("a sample event");
    let function = BinaryFunction::new(options);
    for (number, expected) in expected.iter().enumerate() {
        let request_id = format!("request-{number}");
        let answer = function.invoke(event.clone().into(), &request_id, Fate::Normal).await;
        let Answer::Response(response) = answer.expect("the program starts") else {
            panic!("the function failed");
        };
        let response: Value = serde_json::from_slice(&response).expect("JSON");
        assert_eq!(response, *expected, "invocation {number}");
    }
    function.shutdown().await;
}

fn success() -> Value {
    json!({ "batchItemFailures": [] })
}

/// The numbers of a sample event's Kinesis records.
fn sequence_numbers(event: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(event);
    let event: Value = serde_json::from_slice(&fs::read(path).expect("a sample event")).expect("JSON");
    let records = event["Records"].as_array().expect("records");
    records.iter().map(|record| record["kinesis"]["sequenceNumber"].clone()).collect()
}

#[tokio::test]
async fn shared_state() {
    check(env!("CARGO_BIN_EXE_shared-state"), "aggregated.json", &[success(), success()]).await;
}

#[tokio::test]
async fn anyhow_errors() {
    check(env!("CARGO_BIN_EXE_anyhow-errors"), "aggregated.json", &[success()]).await;
}

#[tokio::test]
async fn flaky_lookup() {
    check(env!("CARGO_BIN_EXE_flaky-lookup"), "aggregated.json", &[success(), success()]).await;
}

#[tokio::test]
async fn protobuf_payloads() {
    // The sample events are JSON, which is no such message.
    let first = sequence_numbers("plain.json").swap_remove(0);
    let failed = json!({ "batchItemFailures": [{ "itemIdentifier": first }] });
    check(env!("CARGO_BIN_EXE_protobuf-payloads"), "plain.json", &[failed]).await;
}

/// Invokes a function with the records of a sample event, whose data is replaced.
async fn check_payloads(program: &str, payloads: &[Vec<u8>], expected: Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/plain.json");
    let mut event: Value = serde_json::from_slice(&fs::read(path).expect("a sample event")).expect("JSON");
    let records = event["Records"].as_array_mut().expect("records");
    assert!(records.len() >= payloads.len());
    records.truncate(payloads.len());
    for (record, payload) in records.iter_mut().zip(payloads) {
        record["kinesis"]["data"] = BASE64_STANDARD.encode(payload).into();
    }
    let function = BinaryFunction::new(BinaryOptions::new([program]));
    let answer = function.invoke(event.to_string().into_bytes().into(), "request", Fate::Normal).await;
    let Answer::Response(response) = answer.expect("the program starts") else {
        panic!("the function failed");
    };
    assert_eq!(serde_json::from_slice::<Value>(&response).expect("JSON"), expected);
    function.shutdown().await;
}

/// The response in which the second record of the sample event has failed.
fn second_failed() -> Value {
    json!({ "batchItemFailures": [{ "itemIdentifier": sequence_numbers("plain.json").swap_remove(1) }] })
}

fn gzip(json: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json.as_bytes()).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

#[tokio::test]
async fn zstd_payloads() {
    let order = br#"{"id":"A-1"}"#;
    let zstd = compress_to_vec(&order[..], CompressionLevel::Fastest);
    let program = env!("CARGO_BIN_EXE_zstd-payloads");
    check_payloads(program, &[order.to_vec(), zstd.clone()], success()).await;
    check_payloads(program, &[zstd.clone(), zstd[..9].to_vec()], second_failed()).await;
}

#[tokio::test]
async fn cloudwatch_logs() {
    let logs = |message: &str| {
        gzip(&format!(
            r#"{{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s",
                "subscriptionFilters":[],"logEvents":[{{"id":"1","timestamp":1,"message":"{message}"}}]}}"#
        ))
    };
    let program = env!("CARGO_BIN_EXE_cloudwatch-logs");
    check_payloads(program, &[logs("one"), logs("two")], success()).await;
    check_payloads(program, &[logs("one"), logs("")], second_failed()).await;
}

#[tokio::test]
async fn dynamodb_changes() {
    let change = |cents: &str| {
        let change = format!(
            r#"{{"eventID":"e","eventName":"INSERT","tableName":"orders","dynamodb":{{"Keys":{{}},
                "ApproximateCreationDateTime":1700000000123,
                "NewImage":{{"id":{{"S":"A-1"}},"cents":{{"N":"{cents}"}}}}}}}}"#
        );
        change.into_bytes()
    };
    let program = env!("CARGO_BIN_EXE_dynamodb-changes");
    check_payloads(program, &[change("850"), change("0")], success()).await;
    check_payloads(program, &[change("850"), change("many")], second_failed()).await;
}

#[tokio::test]
async fn custom_journal() {
    // The second user record of each aggregate fails at its first attempt. In the next invocation the first aggregate resumes
    // there and passes.
    let failed = |number: &Value| json!({ "batchItemFailures": [{ "itemIdentifier": number }] });
    let expected: Vec<_> = sequence_numbers("aggregated.json").iter().take(2).map(failed).collect();
    check(env!("CARGO_BIN_EXE_custom-journal"), "aggregated.json", &expected).await;
}

/// A DynamoDB that answers one `BatchWriteItem` after the other: it does not process the first item of the first one.
async fn stingy_dynamodb(listener: TcpListener, sizes: Arc<Mutex<Vec<usize>>>) {
    loop {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        while let Some(body) = read_body(&mut connection).await {
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            let items = body["RequestItems"]["orders"].as_array().expect("items");
            let is_first = {
                let mut sizes = sizes.lock().expect("no panic while locked");
                sizes.push(items.len());
                sizes.len() == 1
            };
            let unprocessed = if is_first { json!({ "orders": items[..1] }) } else { json!({}) };
            let body = json!({ "UnprocessedItems": unprocessed }).to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: ";
            let response = format!("{head}{}\r\n\r\n{body}", body.len());
            connection.write_all(response.as_bytes()).await.expect("the client reads");
        }
    }
}

/// Reads an HTTP request and returns its body; `None` at the end of the connection.
async fn read_body(connection: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut request, mut part) = (Vec::new(), [0; 65_536]);
    loop {
        let read = connection.read(&mut part).await.ok().filter(|&read| read > 0)?;
        request.extend_from_slice(&part[..read]);
        let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let (_, length) = head.split_once("content-length: ").expect("a length");
        let length: usize = length.lines().next().and_then(|line| line.parse().ok()).expect("a number");
        if request.len() == end + 4 + length {
            return Some(request.split_off(end + 4));
        }
    }
}

#[tokio::test]
async fn bulk_writes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let sizes = Arc::<Mutex<Vec<usize>>>::default();
    let server = tokio::spawn(stingy_dynamodb(listener, Arc::clone(&sizes)));
    let mut options = BinaryOptions::new([env!("CARGO_BIN_EXE_bulk-writes")]);
    options.clean_environment = true;
    options.variables = [
        ("ORDER_TABLE", "orders"),
        ("AWS_ENDPOINT_URL", &endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into();
    // The item of the first user record was not processed, so its Kinesis record is reported; then all are.
    let first = sequence_numbers("aggregated.json").swap_remove(0);
    let failed = json!({ "batchItemFailures": [{ "itemIdentifier": first }] });
    check_with(options, "aggregated.json", &[failed, success()]).await;
    server.abort();
    let sizes = sizes.lock().expect("no panic while locked").clone();
    assert!(sizes.len() >= 2 && sizes[0] > 1 && sizes.iter().all(|&size| size <= 25), "{sizes:?}");
}

#[tokio::test]
async fn orders_per_minute() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/tumbling-window.json");
    let mut event: Value = serde_json::from_slice(&fs::read(path).expect("a sample event")).expect("JSON");
    event["state"] = json!({});
    let function = BinaryFunction::new(BinaryOptions::new([env!("CARGO_BIN_EXE_orders-per-minute")]));
    let mut states = Vec::new();
    for number in 0..3 {
        let json = event.to_string().into_bytes();
        let answer = function.invoke(json.into(), &format!("request-{number}"), Fate::Normal).await;
        let Answer::Response(response) = answer.expect("the program starts") else {
            panic!("the function failed");
        };
        let response: Value = serde_json::from_slice(&response).expect("JSON");
        assert_eq!(response["batchItemFailures"], json!([]));
        event["state"] = response["state"].clone();
        states.push(response["state"]["orders"].clone());
        if number == 1 {
            // Its last invocation has no records, and the state is no longer asked for.
            (event["Records"], event["isFinalInvokeForWindow"]) = (json!([]), json!(true));
        }
    }
    function.shutdown().await;
    let orders = states[0].as_u64().expect("a number");
    assert!(orders > 0);
    assert_eq!(states[1], json!(2 * orders), "the second batch adds to the first");
}

#[tokio::test]
async fn own_runtime() {
    check(env!("CARGO_BIN_EXE_own-runtime"), "mixed.json", &[success(), success()]).await;
}

/// Invokes a function with the sample event's first record, and then with one whose data is replaced by what is no text, and returns
/// its messages after each of them.
async fn messages(program: &str, variables: &[(&str, &str)]) -> [Vec<String>; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/plain.json");
    let mut event: Value = serde_json::from_slice(&fs::read(path).expect("a sample event")).expect("JSON");
    event["Records"].as_array_mut().expect("records").truncate(1);
    let output = Arc::<Mutex<Vec<u8>>>::default();
    let mut options = BinaryOptions::new([program]);
    options.clean_environment = true;
    options.variables = variables.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    let observed = Arc::clone(&output);
    let observe = move |bytes: &[u8]| observed.lock().expect("no panic").extend_from_slice(bytes);
    options.log = Some(OutputObserver::new(observe));
    let function = BinaryFunction::new(options);
    let mut messages = [Vec::new(), Vec::new()];
    for (number, messages) in messages.iter_mut().enumerate() {
        let json = event.to_string().into_bytes();
        let answer = function.invoke(json.into(), &format!("request-{number}"), Fate::Normal).await;
        assert!(matches!(answer, Ok(Answer::Response(_))));
        event["Records"][0]["kinesis"]["data"] = BASE64_STANDARD.encode(b"\xff").into();
        // The line with the metrics is the last one of an invocation.
        let id = format!("\"requestId\":\"request-{number}\"");
        let is_metrics = |line: &str| line.contains("\"_aws\"") && line.contains(&id);
        loop {
            let text = String::from_utf8(output.lock().expect("no panic").clone()).expect("UTF-8");
            let lines = text.lines().filter(|line| line.contains(&id));
            if !lines.clone().any(is_metrics) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
            let message = |line: &str| {
                let line: Value = serde_json::from_str(line).expect("JSON");
                line["message"].as_str().unwrap_or("metrics").to_owned()
            };
            messages.extend(lines.map(message));
            break;
        }
    }
    function.shutdown().await;
    messages
}

#[tokio::test]
async fn logs_are_kept_until_a_batch_fails() {
    let level = ("AWS_LAMBDA_LOG_LEVEL", "DEBUG");
    let buffer = ("KINESIS_HANDLER_LOG_BUFFER_BYTES", "100000");
    for (program, message) in
        [(env!("CARGO_BIN_EXE_shared-state"), Some("ordered")), (env!("CARGO_BIN_EXE_own-runtime"), None)]
    {
        let all: Vec<_> = message.into_iter().chain(["batch processed", "metrics"]).collect();
        let [good, bad] = messages(program, &[level]).await;
        assert_eq!(good, all, "{program}");
        assert_eq!(bad, ["record failed, batch stopped", "batch processed", "metrics"], "{program}");
        let [good, bad] = messages(program, &[level, buffer]).await;
        assert_eq!(good, ["metrics"], "{program}");
        assert_eq!(bad, ["record failed, batch stopped", "batch processed", "metrics"], "{program}");
    }
}

#[tokio::test]
async fn enhanced_fan_out() {
    check(env!("CARGO_BIN_EXE_enhanced-fan-out"), "enhanced-fan-out.json", &[success(), success()]).await;
}

#[tokio::test]
async fn concurrent() {
    check(env!("CARGO_BIN_EXE_concurrent"), "aggregated.json", &[success(), success()]).await;
}

#[tokio::test]
async fn hooks() {
    check(env!("CARGO_BIN_EXE_hooks"), "aggregated.json", &[success(), success()]).await;
}

/// A bulk API that answers one request after the other: it is too busy for the second item of the first one.
async fn busy_bulk_api(listener: TcpListener, sizes: Arc<Mutex<Vec<usize>>>) {
    loop {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        while let Some(body) = read_body(&mut connection).await {
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            let items = body["items"].as_array().expect("items").len();
            let is_first = {
                let mut sizes = sizes.lock().expect("no panic while locked");
                sizes.push(items);
                sizes.len() == 1
            };
            let status = |item| if is_first && item == 1 { 429 } else { 201 };
            let items: Vec<_> = (0..items).map(|item| json!({ "status": status(item) })).collect();
            let body = json!({ "items": items }).to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
            let response = format!("{head}{}\r\n\r\n{body}", body.len());
            connection.write_all(response.as_bytes()).await.expect("the client reads");
        }
    }
}

#[tokio::test]
async fn http_bulk() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/orders", listener.local_addr().expect("an address"));
    let sizes = Arc::<Mutex<Vec<usize>>>::default();
    let server = tokio::spawn(busy_bulk_api(listener, Arc::clone(&sizes)));
    let mut options = BinaryOptions::new([env!("CARGO_BIN_EXE_http-bulk")]);
    options.clean_environment = true;
    options.variables = [("BULK_URL".into(), url.into())].into();
    // The second user record is in the first Kinesis record, which is reported; then all are processed.
    let first = sequence_numbers("aggregated.json").swap_remove(0);
    let failed = json!({ "batchItemFailures": [{ "itemIdentifier": first }] });
    check_with(options, "aggregated.json", &[failed, success()]).await;
    server.abort();
    let sizes = sizes.lock().expect("no panic while locked").clone();
    assert!(sizes.len() == 2 && sizes[0] > 1 && sizes[0] == sizes[1], "{sizes:?}");
}

/// Variables with which an example finds a DynamoDB at this endpoint.
fn with_dynamodb(program: &str, endpoint: &str, tables: &[(&str, &str)]) -> BinaryOptions {
    let mut options = BinaryOptions::new([program]);
    options.clean_environment = true;
    let aws = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    options.variables = aws.iter().chain(tables).map(|&(name, value)| (name.into(), value.into())).collect();
    options
}

/// A DynamoDB that answers each request as `answer` says, which gets the number of requests before.
async fn dynamodb(
    listener: TcpListener,
    answer: impl Fn(usize) -> (u16, Value),
    requests: Arc<Mutex<Vec<Value>>>,
) {
    loop {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        while let Some(body) = read_body(&mut connection).await {
            let number = {
                let mut requests = requests.lock().expect("no panic while locked");
                requests.push(serde_json::from_slice(&body).expect("JSON"));
                requests.len() - 1
            };
            let (status, body) = answer(number);
            let body = body.to_string();
            let head = "content-type: application/x-amz-json-1.0\r\ncontent-length: ";
            let response = format!("HTTP/1.1 {status} Answer\r\n{head}{}\r\n\r\n{body}", body.len());
            connection.write_all(response.as_bytes()).await.expect("the client reads");
        }
    }
}

#[tokio::test]
async fn circuit_breaker() {
    let first = sequence_numbers("aggregated.json").swap_remove(0);
    let failed = || json!({ "batchItemFailures": [{ "itemIdentifier": first }] });
    // The warehouse is up at the third call, which an open circuit does not make.
    for (open_ms, third) in [("0", success()), ("60000", failed())] {
        let mut options = BinaryOptions::new([env!("CARGO_BIN_EXE_circuit-breaker")]);
        options.variables = vec![("OPEN_MS".into(), open_ms.into())];
        check_with(options, "aggregated.json", &[failed(), failed(), third]).await;
    }
}

#[tokio::test]
async fn idempotent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let requests = Arc::<Mutex<Vec<Value>>>::default();
    let server = tokio::spawn(dynamodb(listener, |_| (200, json!({})), Arc::clone(&requests)));
    let options =
        with_dynamodb(env!("CARGO_BIN_EXE_idempotent"), &endpoint, &[("IDEMPOTENCY_TABLE", "keys")]);
    check_with(options, "aggregated.json", &[success(), success()]).await;
    server.abort();
    let requests = requests.lock().expect("no panic while locked");
    // Eight orders are begun and completed, also if the client sends one of the requests twice.
    let keys = |is_begun: bool| -> BTreeSet<_> {
        let puts = requests.iter().filter(|put| put["Item"]["inProgressUntil"].is_object() == is_begun);
        puts.map(|put| put["Item"]["id"]["S"].as_str().expect("a key")).collect()
    };
    assert_eq!((keys(true).len(), keys(false).len()), (8, 8), "{requests:?}");
    // The second time, the environment remembers them.
    let owner = |put: &Value| put["Item"]["owner"]["S"].as_str().map(str::to_owned);
    let owners: Vec<_> = requests.iter().filter_map(owner).collect();
    assert!(owners.iter().any(|owner| owner.starts_with("request-0/")), "{owners:?}");
    assert!(owners.iter().all(|owner| owner.starts_with("request-0/")), "{owners:?}");
}

#[tokio::test]
async fn claim() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let requests = Arc::<Mutex<Vec<Value>>>::default();
    // The second time, each record is claimed.
    let answer = |number| match number {
        0..8 => (200, json!({})),
        _ => (
            400,
            json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "message": "Transaction cancelled",
                "CancellationReasons": [{ "Code": "ConditionalCheckFailed" }, { "Code": "None" }],
            }),
        ),
    };
    let server = tokio::spawn(dynamodb(listener, answer, Arc::clone(&requests)));
    let tables = [("TOTALS_TABLE", "totals"), ("CLAIMS_TABLE", "claims")];
    let options = with_dynamodb(env!("CARGO_BIN_EXE_claim"), &endpoint, &tables);
    check_with(options, "aggregated.json", &[success(), success()]).await;
    server.abort();
    let requests = requests.lock().expect("no panic while locked");
    let ids = |requests: &[Value]| -> Vec<Value> {
        requests.iter().map(|request| request["TransactItems"][0]["Put"]["Item"]["id"].clone()).collect()
    };
    assert_eq!(requests.len(), 16);
    assert_eq!(ids(&requests[..8]), ids(&requests[8..]));
}
