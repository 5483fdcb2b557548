//! Every example, run as Lambda runs it.

use std::{fs, path::Path};

use lambda_host::{Answer, BinaryFunction, BinaryOptions, Fate};
use serde_json::{Value, json};

/// Invokes a function with a sample event once for each expected response.
async fn check(program: &str, event: &str, expected: &[Value]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(event);
    let event = fs::read(path).expect("a sample event");
    let function = BinaryFunction::new(BinaryOptions::new([program]));
    for (number, expected) in expected.iter().enumerate() {
        let request_id = format!("request-{number}");
        let answer = function.invoke(event.clone().into(), &request_id, Fate::Normal).await;
        let Answer::Response(response) = answer.expect("the program starts") else {
            panic!("{program} failed");
        };
        let response: Value = serde_json::from_slice(&response).expect("JSON");
        assert_eq!(response, *expected, "{program}, invocation {number}");
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

#[tokio::test]
async fn custom_journal() {
    // The second user record of each aggregate fails at its first attempt. In the next invocation the first aggregate resumes
    // there and passes.
    let failed = |number: &Value| json!({ "batchItemFailures": [{ "itemIdentifier": number }] });
    let expected: Vec<_> = sequence_numbers("aggregated.json").iter().take(2).map(failed).collect();
    check(env!("CARGO_BIN_EXE_custom-journal"), "aggregated.json", &expected).await;
}

#[tokio::test]
async fn own_runtime() {
    check(env!("CARGO_BIN_EXE_own-runtime"), "mixed.json", &[success(), success()]).await;
}

#[tokio::test]
async fn enhanced_fan_out() {
    check(env!("CARGO_BIN_EXE_enhanced-fan-out"), "enhanced-fan-out.json", &[success(), success()]).await;
}
