use std::rc::Rc;

use kinesis_esm_simulator::{Report, SCENARIO_START_MS, Scenario};
use serde_json::Value;

/// Runs a scenario under virtual time and returns its report.
pub(crate) fn run_with_seed(scenario: &Value, seed: u64) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let scenario = Scenario::parse(scenario.to_string().as_bytes()).expect("a scenario");
    runtime.block_on(async {
        let clock = Rc::new(scenario.simulation.clock(SCENARIO_START_MS));
        let (mut simulation, stream, function, ids) = scenario.into_parts(Rc::clone(&clock));
        simulation.seed = seed;
        let report = Report::new(ids);
        simulation.run(clock, stream, function, report.clone()).await.expect("nothing impossible");
        serde_json::to_value(&report).expect("JSON")
    })
}

pub(crate) fn run(scenario: &Value) -> Value {
    run_with_seed(scenario, 0)
}

/// The IDs of each invocation, such as `1-4`.
pub(crate) fn sequence(report: &Value) -> Vec<String> {
    report["invocations"].as_array().expect("a list").iter().map(|line| ids(&line["ids"])).collect()
}

/// IDs as the facts write them: the first and the last of a run.
pub(crate) fn ids(ids: &Value) -> String {
    match ids.as_array().map(Vec::as_slice) {
        Some([]) | None => "-".to_owned(),
        Some([only]) => only.as_str().expect("an ID").to_owned(),
        Some([first, .., last]) => {
            format!("{}-{}", first.as_str().expect("an ID"), last.as_str().expect("an ID"))
        }
    }
}
