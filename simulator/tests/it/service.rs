//! Services of Lambda events as functions.

use std::{cell::RefCell, rc::Rc, time::Duration};

use kinesis_esm_simulator::{SCENARIO_START_MS, Scenario};
use kinesis_handler::{LambdaEvent, SequenceNumber};
use lambda_host::ServiceFunction;
use serde_json::{Value, json};
use tokio::time::sleep;

/// Runs the scenario with this function, and returns its report and what the function was given.
async fn run<F: Future<Output = Result<Value, String>> + 'static>(
    scenario: Value,
    function: impl Fn(LambdaEvent<Value>) -> F + Clone + 'static,
) -> (Value, Vec<LambdaEvent<Value>>) {
    let scenario = Scenario::parse(scenario.to_string().as_bytes()).expect("a scenario");
    let events = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&events);
    let service = tower::service_fn(move |event: LambdaEvent<Value>| {
        seen.borrow_mut().push(event.clone());
        function(event)
    });
    let function = ServiceFunction::<_, Value>::new(service);
    let report = scenario.run_with(0, |_| function).await.expect("nothing impossible");
    let events = events.borrow().clone();
    (serde_json::to_value(&report).expect("JSON"), events)
}

fn reporting() -> Value {
    json!({ "FunctionResponseTypes": ["ReportBatchItemFailures"], "MaximumRetryAttempts": 1 })
}

#[tokio::test(start_paused = true)]
async fn a_service_gets_events_and_contexts_as_lambda_makes_them() {
    let (report, events) = run(
        json!({
            "mapping": { "FunctionName": "orders" },
            "records": [{ "id": "1", "atMs": 1_500, "partitionKey": "k", "text": "hello" }],
            "function": { "timeoutMs": 7_000 },
        }),
        async |_| Ok(json!({})),
    )
    .await;
    assert_eq!(events.len(), 1);
    let LambdaEvent { payload, context } = &events[0];
    let number = payload["Records"][0]["kinesis"]["sequenceNumber"].as_str().expect("a number");
    assert!(number.parse::<SequenceNumber>().is_ok());
    let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/example";
    assert_eq!(
        *payload,
        json!({ "Records": [{
            "kinesis": {
                "kinesisSchemaVersion": "1.0", "partitionKey": "k", "sequenceNumber": number, "data": "aGVsbG8=",
                "approximateArrivalTimestamp": 1_767_225_601.5, "encryptionType": "NONE",
            },
            "eventSource": "aws:kinesis", "eventVersion": "1.0",
            "eventID": format!("shardId-000000000000:{number}"), "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role", "awsRegion": "us-east-1",
            "eventSourceARN": arn,
        }] })
    );
    assert_eq!(context.invoked_function_arn, "arn:aws:lambda:us-east-1:123456789012:function:orders");
    let began = report["invocations"][0]["atMs"].as_u64().expect("a time");
    assert_eq!(context.deadline, SCENARIO_START_MS + began + 7_000);
    assert_eq!(report["invocations"][0]["requestId"], context.request_id);
}

#[tokio::test(start_paused = true)]
async fn errors_panics_and_endless_work_are_function_errors() {
    let records = json!([{ "id": "1", "text": "" }]);
    let scenario = json!({ "mapping": reporting(), "records": records, "function": { "timeoutMs": 3_000 } });
    let errors = |report: &Value| -> Vec<String> {
        let lines = report["invocations"].as_array().expect("a list");
        lines.iter().map(|line| line["error"].as_str().expect("an error").to_owned()).collect()
    };
    let (report, _) = run(scenario.clone(), async |_| Err("no database".to_owned())).await;
    assert_eq!(errors(&report), ["Error: no database"; 2]);
    // Not `panic!`, which would print.
    let (report, _) = run(scenario.clone(), async |_| std::panic::resume_unwind(Box::new("oh"))).await;
    assert_eq!(errors(&report), ["crashed: panicked: oh"; 2]);
    let (report, _) = run(scenario, async |_| std::future::pending().await).await;
    assert_eq!(errors(&report), ["timed out"; 2]);
    let retried = report["invocations"][1]["atMs"].as_u64().expect("a time");
    assert!((3_200..3_300).contains(&retried), "after {retried} ms");
}

#[tokio::test(start_paused = true)]
async fn a_zombie_goes_on_beside_its_retry() {
    let ends = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&ends);
    let scenario = json!({
        "mapping": reporting(),
        "records": [{ "id": "1", "text": "" }],
        "function": { "timeoutMs": 3_000 },
        "faults": [{ "atMs": 0, "kind": "zombie" }],
    });
    let function = move |event: LambdaEvent<Value>| {
        let noted = Rc::clone(&noted);
        async move {
            // Many steps, so that the fault strikes between two of them.
            for _ in 0..100 {
                sleep(Duration::from_millis(10)).await;
            }
            noted.borrow_mut().push(event.context.request_id);
            Ok(json!({}))
        }
    };
    let (report, events) = run(scenario, function).await;
    assert_eq!(report["invocations"][0]["fault"], "zombie");
    assert_eq!((events.len(), report["completed"].clone()), (2, json!(["1"])));
    // Both have come to their end, under one request ID.
    let request_id = events[0].context.request_id.clone();
    assert_eq!(*ends.borrow(), [request_id.clone(), request_id]);
}

#[tokio::test(start_paused = true)]
async fn rules_27_and_28_the_state_goes_from_invocation_to_invocation() {
    let scenario = json!({
        "mapping": { "TumblingWindowInSeconds": 60, "BatchSize": 1 },
        "records": [{ "id": "1", "text": "" }, { "id": "2", "text": "" }, { "id": "3", "atMs": 60_000, "text": "" }],
    });
    let (report, events) = run(scenario, async |event: LambdaEvent<Value>| {
        let count = event.payload["state"]["count"].as_u64().unwrap_or(0) + 1;
        Ok(json!({ "state": { "count": count } }))
    })
    .await;
    let seen: Vec<_> = events
        .iter()
        .map(|LambdaEvent { payload, .. }| {
            (
                payload["window"]["start"].as_str().expect("a time"),
                payload["Records"].as_array().expect("a list").len(),
                payload["state"].clone(),
                payload["isFinalInvokeForWindow"] == true,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("2026-01-01T00:00:00Z", 1, json!({}), false),
            ("2026-01-01T00:00:00Z", 1, json!({ "count": 1 }), false),
            ("2026-01-01T00:00:00Z", 0, json!({ "count": 2 }), true),
            ("2026-01-01T00:01:00Z", 1, json!({}), false),
            ("2026-01-01T00:01:00Z", 0, json!({ "count": 1 }), true),
        ]
    );
    assert!(events.iter().all(|event| event.payload["isWindowTerminatedEarly"] == false));
    assert_eq!(events[2].payload["window"]["end"], "2026-01-01T00:01:00Z");
    assert_eq!(events[2].payload["shardId"], "shardId-000000000000");
    assert_eq!(report["completed"], json!(["1", "2", "3"]));
}

#[tokio::test(start_paused = true)]
async fn rule_28_a_state_that_grows_too_large_ends_its_window_early() {
    let scenario = json!({
        "mapping": { "TumblingWindowInSeconds": 60, "BatchSize": 1 },
        "records": [{ "id": "1", "text": "" }, { "id": "2", "text": "" }],
    });
    let (_, events) = run(scenario, async |event: LambdaEvent<Value>| {
        let is_first =
            event.payload["state"] == json!({}) && event.payload["isWindowTerminatedEarly"] != true;
        Ok(json!({ "state": { "text": if is_first { "x".repeat(1024 * 1024) } else { String::new() } } }))
    })
    .await;
    let early: Vec<_> = events.iter().map(|event| event.payload["isWindowTerminatedEarly"] == true).collect();
    assert_eq!(early, [false, true, false, true]);
    assert_eq!(events[2].payload["state"], json!({}));
}

#[tokio::test(start_paused = true)]
async fn rule_28_a_failing_last_invocation_keeps_the_shard_waiting() {
    let failures = Rc::new(RefCell::new(3));
    let left = Rc::clone(&failures);
    let scenario = json!({
        "mapping": { "TumblingWindowInSeconds": 10 },
        "records": [{ "id": "1", "text": "" }, { "id": "2", "atMs": 10_000, "text": "" }],
    });
    let function = move |event: LambdaEvent<Value>| {
        let fails = event.payload["isFinalInvokeForWindow"] == true && *left.borrow() > 0;
        if fails {
            *left.borrow_mut() -= 1;
        }
        async move { if fails { Err("not now".to_owned()) } else { Ok(json!({ "state": {} })) } }
    };
    let (report, events) = run(scenario, function).await;
    let sizes: Vec<_> =
        events.iter().map(|event| event.payload["Records"].as_array().expect("a list").len()).collect();
    assert_eq!(sizes, [1, 0, 0, 0, 0, 1, 0]);
    assert_eq!(report["completed"], json!(["1", "2"]));
}
