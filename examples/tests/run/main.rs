//! Every example, run as Lambda runs it.

mod server;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
};

use base64::prelude::*;
use flate2::{Compression, write::GzEncoder};
use kinesis_handler::large_payload::PayloadPointer;
use lambda_host::{Answer, BinaryFunction, BinaryOptions, Fate, OutputObserver};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use server::{Request, busy_bulk_api, dynamodb, serve, stingy_dynamodb};

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
    check_payloads_with(BinaryOptions::new([program]), payloads, expected).await;
}

/// As [`check_payloads`], with options.
async fn check_payloads_with(options: BinaryOptions, payloads: &[Vec<u8>], expected: Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/plain.json");
    let mut event: Value = serde_json::from_slice(&fs::read(path).expect("a sample event")).expect("JSON");
    let records = event["Records"].as_array_mut().expect("records");
    assert!(records.len() >= payloads.len());
    records.truncate(payloads.len());
    for (record, payload) in records.iter_mut().zip(payloads) {
        record["kinesis"]["data"] = BASE64_STANDARD.encode(payload).into();
    }
    let function = BinaryFunction::new(options);
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
async fn large_payloads() {
    let order = br#"{"id":"A-1"}"#;
    let pointer = |bucket| PayloadPointer::new(bucket, "large/1", order).expect("a pointer").to_json();
    let paths = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&paths);
    let answer = move |request: Request| {
        seen.lock().expect("no panic while locked").push(request.path);
        (200, order.to_vec())
    };
    let (endpoint, server) = serve(answer).await;
    let check = async |bucket, expected| {
        let allowed = [("KINESIS_HANDLER_LARGE_PAYLOADS", "s3://orders/large/")];
        let options = with_aws(env!("CARGO_BIN_EXE_large-payloads"), &endpoint, &allowed);
        check_payloads_with(options, &[order.to_vec(), pointer(bucket)], expected).await;
    };
    check("orders", success()).await;
    check("others", second_failed()).await;
    server.abort();
    assert_eq!(*paths.lock().expect("no panic while locked"), ["/orders/large/1?x-id=GetObject"]);
}

#[tokio::test]
async fn custom_journal() {
    // The second user record of each aggregate fails at its first attempt. In the next invocation the first aggregate resumes
    // there and passes.
    let failed = |number: &Value| json!({ "batchItemFailures": [{ "itemIdentifier": number }] });
    let expected: Vec<_> = sequence_numbers("aggregated.json").iter().take(2).map(failed).collect();
    check(env!("CARGO_BIN_EXE_custom-journal"), "aggregated.json", &expected).await;
}

#[tokio::test]
async fn bulk_writes() {
    let sizes = Arc::<Mutex<Vec<usize>>>::default();
    let (endpoint, server) = stingy_dynamodb(Arc::clone(&sizes)).await;
    let options = with_aws(env!("CARGO_BIN_EXE_bulk-writes"), &endpoint, &[("ORDER_TABLE", "orders")]);
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
        // The line with the handler's metrics is the last one of an invocation. One with metrics of the example may be before it.
        let id = format!("\"requestId\":\"request-{number}\"");
        let is_of_handler = |line: &str| !line.contains("\"_aws\"") || line.contains("\"KinesisRecords\"");
        loop {
            let text = String::from_utf8(output.lock().expect("no panic").clone()).expect("UTF-8");
            let (lines, _) = text.rsplit_once('\n').unwrap_or_default();
            let lines = lines.lines().filter(|line| line.contains(&id) && is_of_handler(line));
            if !lines.clone().any(|line| line.contains("\"_aws\"")) {
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

#[tokio::test]
async fn http_bulk() {
    let sizes = Arc::<Mutex<Vec<usize>>>::default();
    let (url, server) = busy_bulk_api(Arc::clone(&sizes)).await;
    let mut options = BinaryOptions::new([env!("CARGO_BIN_EXE_http-bulk")]);
    options.clean_environment = true;
    options.variables = [("BULK_URL".into(), format!("{url}/orders").into())].into();
    // The second user record is in the first Kinesis record, which is reported; then all are processed.
    let first = sequence_numbers("aggregated.json").swap_remove(0);
    let failed = json!({ "batchItemFailures": [{ "itemIdentifier": first }] });
    check_with(options, "aggregated.json", &[failed, success()]).await;
    server.abort();
    let sizes = sizes.lock().expect("no panic while locked").clone();
    assert!(sizes.len() == 2 && sizes[0] > 1 && sizes[0] == sizes[1], "{sizes:?}");
}

/// Options with which an example finds AWS at this endpoint.
fn with_aws(program: &str, endpoint: &str, variables: &[(&str, &str)]) -> BinaryOptions {
    let mut options = BinaryOptions::new([program]);
    options.clean_environment = true;
    let aws = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    options.variables =
        aws.iter().chain(variables).map(|&(name, value)| (name.into(), value.into())).collect();
    options
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
    let requests = Arc::<Mutex<Vec<Value>>>::default();
    let (endpoint, server) = dynamodb(|_| (200, json!({})), Arc::clone(&requests)).await;
    let options = with_aws(env!("CARGO_BIN_EXE_idempotent"), &endpoint, &[("IDEMPOTENCY_TABLE", "keys")]);
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
    let (endpoint, server) = dynamodb(answer, Arc::clone(&requests)).await;
    let tables = [("TOTALS_TABLE", "totals"), ("CLAIMS_TABLE", "claims")];
    let options = with_aws(env!("CARGO_BIN_EXE_claim"), &endpoint, &tables);
    check_with(options, "aggregated.json", &[success(), success()]).await;
    server.abort();
    let requests = requests.lock().expect("no panic while locked");
    let ids = |requests: &[Value]| -> Vec<Value> {
        requests.iter().map(|request| request["TransactItems"][0]["Put"]["Item"]["id"].clone()).collect()
    };
    assert_eq!(requests.len(), 16);
    assert_eq!(ids(&requests[..8]), ids(&requests[8..]));
}
