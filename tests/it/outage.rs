//! An outage of a day in the simulated event source mapping: what the template's defaults discard, and which settings lose
//! nothing. `docs/outages.md` has the figures.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use kinesis_esm_simulator::{Discarded, SCENARIO_START_MS, Scenario, SimulationClock, StepKind};
use kinesis_handler::{
    BoxError, CircuitBreaker, Clock, Handler, JournalOptions, Options, ProcessError, Processor,
    QuarantineOptions, RawEvent, Record,
    journal::{JournalShard, MemoryJournal},
    retryable,
};
use lambda_host::{Answer, Function, Invocation, ServiceFunction};
use serde_json::{Value, json};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// A record arrives every ten minutes for two days; the dependency is down from the first hour on.
const RECORDS: u64 = 288;
const OUTAGE_START_MS: u64 = HOUR_MS;

/// The time after which Lambda replaces the environment, and with it the state of a circuit.
const ENVIRONMENT_MS: u64 = 2 * HOUR_MS;

/// The mapping's settings and the stream's retention.
struct Settings {
    mapping: Value,
    retention_hours: u64,
}

impl Settings {
    /// The defaults of `template.yaml`.
    fn defaults() -> Self {
        let mapping = json!({
            "BatchSize": 100,
            "MaximumRetryAttempts": 10,
            "MaximumRecordAgeInSeconds": 82_800,
            "BisectBatchOnFunctionError": true,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        });
        Settings { mapping, retention_hours: 24 }
    }

    /// Those of the environment `production` in `samconfig.toml`.
    fn recommended() -> Self {
        let mut settings = Settings { retention_hours: 168, ..Settings::defaults() };
        settings.mapping["MaximumRetryAttempts"] = json!(-1);
        settings.mapping["MaximumRecordAgeInSeconds"] = json!(601_200);
        settings
    }
}

/// The fates of the records.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    processed: usize,
    /// Discarded by the mapping, which its destination gets.
    discarded: usize,
    /// Minutes from the beginning of the outage to the first discard.
    first_discard_minutes: Option<u64>,
    quarantined: usize,
    /// Whether records were processed in the order of the stream.
    is_in_order: bool,
}

/// A function whose environment Lambda replaces now and then.
struct Environments<P, N> {
    new_handler: N,
    current: RefCell<Option<Environment<P>>>,
}

/// An environment, by its number.
type Environment<P> = (u64, Rc<ServiceFunction<Handler<P>, RawEvent>>);

impl<P: Processor + 'static, N: Fn() -> Handler<P>> Function for Environments<P, N> {
    async fn invoke(&self, invocation: Invocation<'_>) -> Result<Answer, BoxError> {
        let number = invocation.clock.epoch_ms() / ENVIRONMENT_MS;
        let existing = self.current.borrow().clone().filter(|(existing, _)| *existing == number);
        let (_, function) =
            existing.unwrap_or_else(|| (number, Rc::new(ServiceFunction::new((self.new_handler)()))));
        *self.current.borrow_mut() = Some((number, Rc::clone(&function)));
        function.invoke(invocation).await
    }
}

/// Runs two days with an outage of so many hours.
async fn run<P: Processor + 'static>(
    settings: &Settings,
    outage_hours: f64,
    journal: Option<&Arc<MemoryJournal>>,
    max_attempts: u32,
    processor: impl Fn(Rc<dyn Fn() -> bool>) -> P,
) -> Outcome {
    let records: Vec<_> = (0..RECORDS)
        .map(|number| json!({ "id": number, "atMs": number * 10 * MINUTE_MS, "text": "order" }))
        .collect();
    let scenario = json!({
        "mapping": settings.mapping,
        "stream": { "retentionHours": settings.retention_hours },
        "records": records,
    });
    let scenario = Scenario::parse(scenario.to_string().as_bytes()).expect("a scenario");
    let outage_end_ms = OUTAGE_START_MS + (outage_hours * HOUR_MS as f64) as u64;
    let function = |clock: &Rc<SimulationClock>| {
        let is_down: Rc<dyn Fn() -> bool> = {
            let clock = Rc::clone(clock);
            Rc::new(move || (OUTAGE_START_MS..outage_end_ms).contains(&(clock.now_ms() - SCENARIO_START_MS)))
        };
        let clock: Arc<dyn Clock> = Arc::new((**clock).clone());
        let new_handler = move || {
            let mut options = Options::builder().clock(Arc::clone(&clock)).application("orders");
            if let Some(journal) = journal {
                let quarantine = QuarantineOptions::default().max_attempts(max_attempts);
                options = options.journal(JournalOptions::new(journal.clone()).quarantine(quarantine));
            }
            let options = options.parallelization_factor(1).build().expect("legal options");
            Handler::try_with_options(processor(Rc::clone(&is_down)), options).expect("suitable options")
        };
        Environments { new_handler, current: RefCell::default() }
    };
    let report = scenario.run_with(0, function).await.expect("nothing impossible");
    let (mut discarded, mut first_discard_ms) = (0, None);
    report.for_each(|step| {
        if let StepKind::Discarded(Discarded { records, .. }) = &step.kind {
            discarded += records.len();
            first_discard_ms.get_or_insert(step.at_ms - SCENARIO_START_MS - OUTAGE_START_MS);
        }
    });
    let completed = report.completed();
    let numbers: Vec<u64> = completed.iter().map(|id| id.parse().expect("a number")).collect();
    let shard = JournalShard {
        application: "orders",
        stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/example",
        shard_id: "shardId-000000000000",
    };
    Outcome {
        processed: completed.len(),
        discarded,
        first_discard_minutes: first_discard_ms.map(|ms| ms / MINUTE_MS),
        quarantined: journal.map_or(0, |journal| journal.quarantine(shard).len()),
        is_in_order: numbers.is_sorted(),
    }
}

/// Fails in an outage with an error that is the record's.
fn failing(is_down: Rc<dyn Fn() -> bool>) -> impl Processor + 'static {
    async move |_: Record<'_>| -> Result<(), ProcessError> {
        if is_down() { Err(retryable("the warehouse is not available")) } else { Ok(()) }
    }
}

fn with_circuit_breaker(is_down: Rc<dyn Fn() -> bool>) -> impl Processor + 'static {
    CircuitBreaker::new(async move |_: Record<'_>| -> Result<(), ProcessError> {
        if is_down() { Err(retryable("the warehouse is not available")) } else { Ok(()) }
    })
}

fn with_quarantine() -> Option<Arc<MemoryJournal>> {
    Some(Arc::default())
}

const NOTHING_LOST: Outcome =
    Outcome { processed: 288, discarded: 0, first_discard_minutes: None, quarantined: 0, is_in_order: true };

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_day_loses_nothing_under_the_recommended_settings() {
    let settings = Settings::recommended();
    let journal = with_quarantine();
    assert_eq!(run(&settings, 24.0, journal.as_ref(), 50, with_circuit_breaker).await, NOTHING_LOST);
    // Without the quarantine, nothing but the mapping counts attempts.
    assert_eq!(run(&settings, 24.0, None, 50, failing).await, NOTHING_LOST);
}

#[tokio::test(start_paused = true)]
async fn the_defaults_discard_all_records_of_an_outage_but_the_first_minutes() {
    let defaults = Settings::defaults();
    let discarded = |discarded| Outcome {
        processed: 288 - discarded,
        discarded,
        first_discard_minutes: Some(2),
        ..NOTHING_LOST
    };
    assert_eq!(run(&defaults, 0.04, None, 5, failing).await, NOTHING_LOST);
    assert_eq!(run(&defaults, 1.0, None, 5, failing).await, discarded(6));
    assert_eq!(run(&defaults, 24.0, None, 5, failing).await, discarded(144));
    // A circuit breaker makes no difference to the attempts that the mapping counts.
    let journal = with_quarantine();
    assert_eq!(run(&defaults, 24.0, journal.as_ref(), 50, with_circuit_breaker).await, discarded(144));
}

#[tokio::test(start_paused = true)]
async fn without_a_circuit_breaker_good_records_are_quarantined_in_an_outage() {
    for (settings, max_attempts, quarantined) in
        [(Settings::defaults(), 5, 144), (Settings::recommended(), 50, 35)]
    {
        let journal = with_quarantine();
        let outcome = run(&settings, 24.0, journal.as_ref(), max_attempts, failing).await;
        assert_eq!(outcome, Outcome { quarantined, ..NOTHING_LOST });
    }
}

#[tokio::test(start_paused = true)]
async fn new_environments_count_attempts_until_their_circuit_is_open() {
    let journal = with_quarantine();
    let outcome = run(&Settings::recommended(), 24.0, journal.as_ref(), 5, with_circuit_breaker).await;
    assert_eq!(outcome, Outcome { quarantined: 5, ..NOTHING_LOST });
}

#[tokio::test(start_paused = true)]
async fn records_that_expire_in_an_outage_are_discarded() {
    // The settings but for the retention's: a day is too long for 23 hours.
    let mut settings = Settings::recommended();
    settings.mapping["MaximumRecordAgeInSeconds"] = json!(82_800);
    let journal = with_quarantine();
    let outcome = run(&settings, 24.0, journal.as_ref(), 50, with_circuit_breaker).await;
    let discarded =
        Outcome { discarded: 7, processed: 281, first_discard_minutes: Some(23 * 60), ..NOTHING_LOST };
    assert_eq!(outcome, discarded);
}
