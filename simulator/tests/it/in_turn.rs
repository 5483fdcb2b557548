use std::rc::Rc;

use kinesis_esm_simulator::{BinaryFunction, InTurn, Report, SCENARIO_START_MS, Scenario};
use serde_json::{Value, json};

use crate::program::Program;

/// Runs a scenario with this program as its function, in virtual time. Also returns how many processes there were.
fn run(scenario: &Value, program: &Program) -> (Value, u64) {
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
        let mut options = program.options.clone();
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

/// Works for a time that nobody knows.
const UNSTEADY: &str = r#"
import random
def handle(request_id, event, headers):
    sum(range(random.randrange(200_000)))
    return {"batchItemFailures": []}
serve(handle)
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
        let program = Program::new(UNSTEADY);
        let (first, starts) = run(&scenario, &program);
        assert_eq!(starts, 1, "one at a time");
        assert_eq!(first["completed"].as_array().map(Vec::len), Some(120));
        assert_eq!(run(&scenario, &program).0, first);
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
    let (report, _) = run(&scenario, &Program::new(UNSTEADY));
    assert_eq!(report["completed"], json!(["2"]));
    assert_eq!(report["metrics"]["IteratorAge"], 1_500);
    assert_eq!(report["invocations"][0]["error"], "timed out");
}
