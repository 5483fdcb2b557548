use kinesis_esm_simulator::Scenario;
use serde_json::Value;

/// Runs a scenario under virtual time and returns its report.
pub(crate) fn run_with_seed(scenario: &Value, seed: u64) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let scenario = Scenario::parse(scenario.to_string().as_bytes()).expect("a scenario");
    let report = runtime.block_on(scenario.run(seed)).expect("nothing impossible");
    serde_json::to_value(&report).expect("JSON")
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
