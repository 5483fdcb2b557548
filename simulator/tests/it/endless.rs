//! Simulations that would go on for longer than anybody waits, and streams of many shards.

use std::{cell::Cell, rc::Rc, time::Duration};

use kinesis_esm::ShardInfo;
use kinesis_esm_simulator::{
    NoProgress, ReadFrom, SCENARIO_START_MS, Scenario, ScriptedFunction, Shard, Simulation, SimulationClock,
    Source, Stream, StreamReader,
};
use kinesis_handler::BoxError;
use kpl_deaggregation::HashKeyRange;
use serde_json::{Value, json};

/// Runs a scenario whose single record can make no progress for the retention of a year.
#[track_caller]
fn check_no_progress(mut scenario: Value) {
    scenario["records"] = json!([{ "id": "1", "text": "x" }]);
    scenario["stream"] = json!({ "retentionHours": 8760 });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let mut read = Scenario::parse(scenario.to_string().as_bytes()).expect("a scenario");
    assert_eq!(read.simulation.max_deliveries_without_progress, Some(30_000_000));
    read.simulation.max_deliveries_without_progress = Some(50_000);
    let ended = runtime.expect("a runtime").block_on(read.run(0));
    let error = ended.map(drop).expect_err("it has no end").downcast::<NoProgress>().expect("no progress");
    assert_eq!((error.deliveries, &*error.shard_id), (50_050, "shardId-000000000000"), "{scenario}");
    assert!(error.to_string().contains("no progress in 50050 deliveries in a row"), "{error}");
}

#[test]
fn a_record_that_is_tried_without_a_pause_ends_the_simulation() {
    let throws = json!({ "durationMs": 0, "fails": [{ "id": "1", "how": "throw" }] });
    check_no_progress(json!({ "function": throws, "undocumented": { "firstRetryDelayMs": 0 } }));
    check_no_progress(json!({ "function": throws, "undocumented": { "maxRetryDelayMs": 0 } }));
    let throttled = json!([{ "kind": "throttle", "atMs": 0, "untilMs": u64::MAX }]);
    check_no_progress(json!({ "faults": throttled, "undocumented": { "maxRetryDelayMs": 1 } }));
}

#[test]
fn a_poller_that_restarts_for_ever_ends_the_simulation() {
    let restarts = json!([{ "kind": "restart", "atMs": 0, "untilMs": u64::MAX }]);
    check_no_progress(json!({ "faults": restarts, "undocumented": { "restartDelayMs": 0 } }));
}

#[test]
fn a_window_that_cannot_be_closed_ends_the_simulation() {
    check_no_progress(json!({
        "mapping": { "TumblingWindowInSeconds": 1 },
        "function": { "response": "no state" },
        "faults": [{ "kind": "crash", "atMs": 60_000, "untilMs": u64::MAX }],
        "undocumented": { "maxRetryDelayMs": 1 },
    }));
}

#[test]
fn a_record_that_blocks_its_shard_for_a_year_is_simulated_to_its_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let scenario = json!({
        "stream": { "retentionHours": 8760 },
        "records": [{ "id": "1", "text": "x" }],
        // As often as with the default delays in a year, but in the time that a test may take.
        "undocumented": { "maxRetryDelayMs": 3_600_000, "firstRetryDelayMs": 3_600_000 },
        "function": { "fails": [{ "id": "1", "how": "throw" }] },
    });
    let scenario = Scenario::parse(scenario.to_string().as_bytes()).expect("a scenario");
    let report = runtime.expect("a runtime").block_on(scenario.run(0)).expect("an end");
    let report = serde_json::to_value(&report).expect("JSON");
    assert_eq!(report["dropped"], json!([{ "ids": ["1"], "why": "trimmed" }]));
}

/// A stream that counts how often its shards are listed.
struct Listed {
    stream: Stream,
    lists: Rc<Cell<usize>>,
}

impl Source for Listed {
    type Reader = StreamReader;

    async fn shards(&self) -> Result<Vec<ShardInfo>, BoxError> {
        self.lists.set(self.lists.get() + 1);
        self.stream.shards().await
    }

    async fn reader(&self, shard_id: &str, from: ReadFrom) -> Result<StreamReader, BoxError> {
        self.stream.reader(shard_id, from).await
    }

    fn retention_ms(&self) -> u64 {
        self.stream.retention_ms()
    }
}

#[tokio::test(start_paused = true)]
async fn shards_whose_children_are_known_are_listed_once() {
    let shard = |number: usize| {
        let parents = if number < 100 { Vec::new() } else { vec![format!("shard-{}", number - 100)] };
        let info = ShardInfo { id: format!("shard-{number}"), parents, hash_key_range: HashKeyRange::FULL };
        Shard { info, is_closed: number < 900, records: Rc::new([]) }
    };
    let clock = Rc::new(SimulationClock::new(SCENARIO_START_MS, Vec::new()));
    let stream = Stream::new(Rc::clone(&clock), Duration::from_secs(60), (0..1_000).map(shard).collect());
    let lists = Rc::new(Cell::new(0));
    let source = Listed { stream, lists: Rc::clone(&lists) };
    let simulation = Simulation::default();
    simulation.run(clock, source, ScriptedFunction::default(), |_| {}).await.expect("nothing impossible");
    assert_eq!(lists.get(), 1);
}

#[test]
fn parents_come_first_whatever_the_order_of_the_list() {
    let shards: Vec<_> = (0..20_000)
        .rev()
        .map(|number: u32| match number.checked_sub(1) {
            Some(parent) => json!({ "shardId": number.to_string(), "parents": [parent.to_string()] }),
            None => json!({ "shardId": "0" }),
        })
        .collect();
    let scenario = json!({ "stream": { "shards": shards } });
    let scenario = Scenario::parse(scenario.to_string().as_bytes()).expect("a scenario");
    let order: Vec<_> = scenario.shards().iter().map(|shard| shard.info.id.clone()).collect();
    assert_eq!(order, (0..20_000).map(|number| number.to_string()).collect::<Vec<_>>());
}
