//! Window processors on simulated mappings: each record counts once, in its window, whatever fails.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use kinesis_esm_simulator::{Scenario, ServiceFunction};
use kinesis_handler::{
    Handler, ProcessError, RawEvent, Record, WindowProcessor, Windows, event::TumblingWindow, retryable,
};
use proptest::{collection::vec, prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const WINDOW_S: u64 = 10;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Texts {
    texts: Vec<String>,
}

/// Texts by the shard and the start of their window.
type Finished = BTreeMap<(String, String), Vec<String>>;

/// Collects the texts of each window. A text fails as often as its end says, and a window as often as it has texts.
#[derive(Clone, Default)]
struct Collect {
    attempts: Rc<RefCell<HashMap<String, u32>>>,
    finished: Rc<RefCell<Finished>>,
    /// Whether a text is in the state before it may fail.
    adds_early: bool,
    /// A sabotage: texts are kept here instead of in the state, so that nothing undoes them.
    outside: Option<Rc<RefCell<Vec<String>>>>,
}

impl Collect {
    fn fails(&self, what: &str, times: u32) -> bool {
        let mut attempts = self.attempts.borrow_mut();
        let attempt = attempts.entry(what.to_owned()).or_default();
        *attempt += 1;
        *attempt <= times
    }
}

impl WindowProcessor for Collect {
    type State = Texts;

    async fn process(&self, record: Record<'_>, state: &mut Texts) -> Result<(), ProcessError> {
        let text = record.text()?;
        let add = |state: &mut Texts| match &self.outside {
            Some(texts) => texts.borrow_mut().push(text.to_owned()),
            None => state.texts.push(text.to_owned()),
        };
        if self.adds_early {
            add(state);
        }
        tokio::task::yield_now().await;
        let (_, times) = text.rsplit_once('-').expect("a number");
        if self.fails(text, times.parse()?) {
            return Err(retryable("asked to"));
        }
        if !self.adds_early {
            add(state);
        }
        Ok(())
    }

    async fn finish(&self, state: &Texts, window: &TumblingWindow<'_>) -> Result<(), ProcessError> {
        let shard_id = window.shard_id.as_deref().unwrap_or_default();
        if self.fails(&format!("{shard_id} {}", window.start), 1) {
            return Err(retryable("asked to"));
        }
        let texts = match &self.outside {
            Some(texts) => std::mem::take(&mut *texts.borrow_mut()),
            None => state.texts.clone(),
        };
        let window = (shard_id.to_owned(), window.start.clone().into_owned());
        self.finished.borrow_mut().insert(window, texts);
        Ok(())
    }
}

/// A Kinesis record: when it arrives in milliseconds after the one before, and how often each of its user records fails.
type Arrival = (u64, Vec<u32>);

/// A kind of fault, when it strikes in milliseconds, and for how long if that is not once.
type Fault = (&'static str, u64, Option<u64>);

/// Returns the scenario, and the texts of each window in the order of shards and time. From the record `split_at` on, the shard is split
/// in two.
fn scenario(arrivals: &[Arrival], faults: &[Fault], split_at: Option<usize>) -> (Value, Vec<Vec<String>>) {
    let (mut at_ms, mut records) = (0, Vec::new());
    let mut windows = BTreeMap::<(usize, u64), Vec<String>>::new();
    let shard_id = |number: usize| format!("shardId-{number:012}");
    for (number, (after_ms, failures)) in arrivals.iter().enumerate() {
        at_ms += after_ms;
        let text = |(sub, times): (usize, &u32)| format!("{number}.{sub}-{times}");
        let texts: Vec<String> = failures.iter().enumerate().map(text).collect();
        let user_record = |text: &String| json!({ "partitionKey": "k", "text": text });
        let user_records: Vec<Value> = texts.iter().map(user_record).collect();
        let is_split = split_at.is_some_and(|split_at| split_at <= number);
        let shard = if is_split { 1 + number % 2 } else { 0 };
        records.push(json!({ "id": format!("{number:03}"), "atMs": at_ms, "shardId": shard_id(shard),
            "userRecords": user_records }));
        windows.entry((shard, at_ms / (WINDOW_S * 1_000))).or_default().extend(texts);
    }
    let fault = |&(kind, at_ms, length_ms): &Fault| match length_ms {
        Some(length_ms) => json!({ "kind": kind, "atMs": at_ms, "untilMs": at_ms + length_ms }),
        None => json!({ "kind": kind, "atMs": at_ms }),
    };
    let faults: Vec<Value> = faults.iter().map(fault).collect();
    let mut shards = vec![json!({ "shardId": shard_id(0) })];
    if split_at.is_some() {
        shards.extend([1, 2].map(|child| json!({ "shardId": shard_id(child), "parents": [shard_id(0)] })));
    }
    let scenario = json!({
        "mapping": { "FunctionResponseTypes": ["ReportBatchItemFailures"], "TumblingWindowInSeconds": WINDOW_S,
            "BisectBatchOnFunctionError": true },
        "stream": { "shards": shards },
        "records": records,
        "faults": faults,
    });
    (scenario, windows.into_values().collect())
}

/// Returns the texts of each window that was finished.
fn finished(scenario: &Value, seed: u64, collect: Collect) -> Vec<Vec<String>> {
    let finished = Rc::clone(&collect.finished);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let scenario = Scenario::parse(scenario.to_string().as_bytes()).expect("a scenario");
    let handler = Handler::new(Windows::new(collect));
    let run = scenario.run_with(seed, |_| ServiceFunction::<_, RawEvent>::new(handler));
    runtime.block_on(run).expect("nothing impossible");
    let texts = finished.borrow();
    texts.values().filter(|texts| !texts.is_empty()).cloned().collect()
}

/// Every fault of the simulator. A jump of the clock is short of the records' age.
fn fault() -> impl Strategy<Value = Fault> {
    let once = prop_oneof![
        Just("throttle"),
        Just("timeout"),
        Just("crash"),
        Just("lostResponse"),
        Just("duplicate"),
        Just("zombie"),
        Just("restart"),
        Just("destinationFailure"),
    ];
    let lasting = prop_oneof![Just("throttle"), Just("clockJump"), Just("lateActivation")];
    let at_ms = || 0..40_000_u64;
    prop_oneof![
        4 => (once, at_ms()).prop_map(|(kind, at_ms)| (kind, at_ms, None)),
        1 => (lasting, at_ms(), 1..30_000_u64)
            .prop_map(|(kind, at_ms, length_ms)| (kind, at_ms, Some(length_ms))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Without faults that deliver something twice, each window ends with exactly its records, in order.
    #[test]
    fn each_record_counts_once_in_its_window(
        arrivals in vec((0..4_000_u64, vec(prop_oneof![4 => Just(0_u32), 1 => 1..3_u32], 1..4)), 1..12),
        faults in vec(fault(), 0..4),
        split_at in prop::option::weighted(0.3, 0..12_usize),
        seed in any::<u64>(),
        adds_early in any::<bool>(),
    ) {
        let (scenario, windows) = scenario(&arrivals, &faults, split_at);
        prop_assert_eq!(finished(&scenario, seed, Collect { adds_early, ..Collect::default() }), windows);
    }
}

#[test]
fn a_window_stays_open_while_retries_keep_its_records_waiting() {
    // Three timeouts take longer than an idle window stays open.
    let (scenario, windows) = scenario(&[(1, vec![0]), (1_000, vec![0])], &[("timeout", 0, None); 3], None);
    assert_eq!(finished(&scenario, 0, Collect::default()), windows);
}

#[test]
fn each_shard_ends_windows_of_its_own() {
    let arrivals: Vec<Arrival> = (0..6).map(|_| (1_000, vec![0, 1])).collect();
    let (scenario, windows) = scenario(&arrivals, &[], Some(2));
    assert_eq!(windows.len(), 3, "{windows:?}");
    assert_eq!(finished(&scenario, 0, Collect::default()), windows);
}

#[test]
fn what_a_failed_record_has_added_is_undone() {
    let (scenario, windows) = scenario(&[(0, vec![0]), (10, vec![0, 1])], &[], None);
    assert_eq!(finished(&scenario, 0, Collect { adds_early: true, ..Collect::default() }), windows);
}

#[test]
fn a_state_that_no_failure_undoes_is_noticed() {
    let (scenario, windows) = scenario(&[(0, vec![0]), (10, vec![0, 1])], &[], None);
    let outside = Some(Rc::default());
    assert_ne!(finished(&scenario, 0, Collect { outside, ..Collect::default() }), windows);
}
