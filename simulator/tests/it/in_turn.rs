use std::rc::Rc;

use kinesis_esm_simulator::{Report, SCENARIO_START_MS, Scenario};
use lambda_host::{BinaryFunction, BinaryOptions, InTurn};
use serde_json::{Value, json};

/// Runs a scenario with this Python program as its function, in virtual time. Also returns the number of its processes.
fn run(scenario: &Value, source: &str) -> (Value, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let scenario = Scenario::parse(scenario.to_string().as_bytes()).expect("a scenario");
    runtime.block_on(async {
        let clock = Rc::new(scenario.simulation.clock(SCENARIO_START_MS));
        let (simulation, stream, scripted, ids) = scenario.into_parts(Rc::clone(&clock));
        let report = Report::new(ids);
        let mut options = BinaryOptions::new(["python3", "-c", source]);
        options.timeout = simulation.function_timeout;
        let function = InTurn::new(BinaryFunction::new(options), scripted.duration);
        simulation.run(clock, stream, &function, report.clone()).await.expect("nothing impossible");
        function.function().shutdown().await;
        (serde_json::to_value(&report).expect("JSON"), function.function().measurement().starts)
    })
}

/// Three records in each of many shards, at the same times.
fn many_shards(function: Value, faults: Value) -> Value {
    let id = |shard: u32| format!("shardId-{shard:012}");
    let shards: Vec<_> = (0..40).map(|shard| json!({ "shardId": id(shard) })).collect();
    let records: Vec<_> = (0..120)
        .map(|record| json!({ "id": record, "shardId": id(record % 40), "atMs": record / 40, "text": "x" }))
        .collect();
    json!({
        "mapping": {
            "BatchSize": 2,
            "MaximumRetryAttempts": 1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        },
        "stream": { "shards": shards },
        "records": records,
        "function": function,
        "faults": faults,
    })
}

/// A function in Python that works for a random time and succeeds.
const UNSTEADY: &str = r#"
import http.client, os, random

def call(method, path, body=None):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2018-06-01/runtime/invocation/" + path, body)
    response = connection.getresponse()
    response.read()
    return response.headers

while True:
    request_id = call("GET", "next")["Lambda-Runtime-Aws-Request-Id"]
    sum(range(random.randrange(200_000)))
    call("POST", request_id + "/response", '{"batchItemFailures": []}')
"#;

#[test]
fn a_real_program_has_the_same_trace_each_time() {
    for duration_ms in [0, 5] {
        let faults = json!([
            { "kind": "duplicate", "atMs": 0, "untilMs": 3 },
            { "kind": "throttle", "atMs": 1_000 },
            { "kind": "lostResponse", "atMs": 1_000 },
        ]);
        let scenario = many_shards(json!({ "durationMs": duration_ms }), faults);
        let (first, starts) = run(&scenario, UNSTEADY);
        assert_eq!(starts, 1, "one at a time");
        assert_eq!(first["completed"].as_array().map(Vec::len), Some(120));
        assert_eq!(run(&scenario, UNSTEADY).0, first);
    }
}

#[test]
fn a_timeout_takes_all_of_its_time() {
    let function = json!({ "durationMs": 7, "timeoutMs": 1_500 });
    let scenario = json!({
        "mapping": { "MaximumRetryAttempts": 0 },
        "records": [{ "id": 1, "text": "x" }, { "id": 2, "text": "x", "atMs": 10_000 }],
        "function": function,
        "faults": [{ "kind": "timeout", "atMs": 0 }],
    });
    let (report, _) = run(&scenario, UNSTEADY);
    assert_eq!(report["completed"], json!(["2"]));
    assert_eq!(report["metrics"]["IteratorAge"], 1_500);
    assert_eq!(report["invocations"][0]["error"], "timed out");
}
