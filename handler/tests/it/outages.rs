//! Outages: a processor that answers "not now", and the circuit breaker that does.

use std::{
    num::NonZeroU32,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use kinesis_handler::{
    ChunkOutcome, ChunkProcessor, Chunks, CircuitBreaker, CircuitState, Clock, Context, Event, Handler,
    KinesisRecord, OwnedRecord, ProcessError, Processor, Record, RecordProcessor, SystemClock,
    journal::{JournalShard, MemoryJournal},
    not_now, permanent, retryable,
};
use tokio::time::advance;

use crate::batch::{NoText, STREAM_ARN, SUCCESS, aggregate, failure, json, plain};
use crate::options::TestOptions;

const SHARD: JournalShard<'static> =
    JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: "shardId-000000000000" };

/// A dependency of processors: what it answers, and to how many calls.
#[derive(Default)]
struct Dependency {
    answer: Mutex<Option<fn() -> ProcessError>>,
    calls: AtomicU32,
}

impl Dependency {
    fn new(answer: Option<fn() -> ProcessError>) -> Self {
        Dependency { answer: Mutex::new(answer), calls: AtomicU32::new(0) }
    }

    fn set(&self, answer: Option<fn() -> ProcessError>) {
        *self.answer.lock().expect("no panic while locked") = answer;
    }

    fn take_calls(&self) -> u32 {
        self.calls.swap(0, Ordering::Relaxed)
    }

    fn call(&self) -> Result<(), ProcessError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.answer.lock().expect("no panic while locked").map_or(Ok(()), |error| Err(error()))
    }
}

impl RecordProcessor for &Dependency {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        match record.text()? {
            "bad" => Err(permanent("bad")),
            "hang" => std::future::pending().await,
            "panic" => panic!("asked to"),
            _ => self.call(),
        }
    }
}

/// A chunk processor with an outcome for each user record.
struct EachOf<'d>(&'d Dependency);

impl ChunkProcessor for EachOf<'_> {
    async fn process(&self, chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
        let answer = self.0.call();
        let of = |_: &Record<'_>| match &answer {
            Ok(()) => Ok(()),
            Err(error) => Err(retryable(error.to_string())),
        };
        Ok(ChunkOutcome::Each(chunk.iter().map(of).collect()))
    }
}

fn with_quarantine(journal: &Arc<MemoryJournal>) -> TestOptions {
    TestOptions {
        application: Some("orders".to_owned()),
        journal: Some(journal.clone()),
        quarantine: true,
        max_attempts: NonZeroU32::new(3),
        parallelization_factor: NonZeroU32::new(1),
        ..TestOptions::default()
    }
}

async fn handle(processor: impl Processor, records: &[KinesisRecord<'_>], options: &TestOptions) -> String {
    let handler = Handler::try_with_options(processor, options.build()).expect("suitable options");
    json(
        &handler
            .handle(&Event::new(records.to_vec()).to_json(), &Context::default())
            .await
            .expect("a response"),
    )
}

/// The failed attempts that a journal counts, of all user records together.
fn attempts(journal: &MemoryJournal) -> u32 {
    journal.states(SHARD).iter().flat_map(|state| state.progress.attempts.values()).sum()
}

#[tokio::test]
async fn not_now_counts_no_attempt_and_is_never_quarantined() {
    let dependency = Dependency::new(Some(|| not_now("maintenance")));
    let concurrent =
        |journal: &Arc<MemoryJournal>| TestOptions { concurrency: Some(4), ..with_quarantine(journal) };
    let up_to = async |chunk: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
        let done = chunk.iter().take_while(|record| record.data() == b"ok").count();
        Ok(ChunkOutcome::ProcessedUpTo { records: done, error: not_now("maintenance") })
    };
    let journal = Arc::new(MemoryJournal::default());
    let records = [plain(1, "bad"), aggregate(2, &["a", "b"]), plain(3, "c")];
    for _ in 0..9 {
        assert_eq!(handle(&dependency, &records, &with_quarantine(&journal)).await, failure(2));
        assert_eq!(handle(&dependency, &records, &concurrent(&journal)).await, failure(2));
        assert_eq!(handle(Chunks::new(up_to), &records[1..], &with_quarantine(&journal)).await, failure(2));
    }
    assert_eq!(attempts(&journal), 0);
    let quarantine: Vec<_> = journal.quarantine(SHARD).into_iter().map(|record| record.data).collect();
    assert_eq!(quarantine, [b"bad"]);
}

#[tokio::test]
async fn what_precedes_a_pause_is_kept() {
    let journal = Arc::new(MemoryJournal::default());
    let done = Mutex::new(Vec::new());
    let is_down = Mutex::new(true);
    let processor = async |record: Record<'_>| -> Result<(), ProcessError> {
        let text = record.text()?;
        if text == "b" && *is_down.lock().expect("no panic while locked") {
            return Err(not_now("maintenance"));
        }
        done.lock().expect("no panic while locked").push((text.to_owned(), record.attempt()));
        Ok(())
    };
    let records = [aggregate(1, &["a", "b", "c"])];
    assert_eq!(handle(&processor, &records, &with_quarantine(&journal)).await, failure(1));
    *is_down.lock().expect("no panic while locked") = false;
    assert_eq!(handle(&processor, &records, &with_quarantine(&journal)).await, SUCCESS);
    let done = done.into_inner().expect("no panic while locked");
    let expected = [("a", 1), ("b", 1), ("c", 1)].map(|(text, attempt)| (text.to_owned(), Some(attempt)));
    assert_eq!(done, expected);
}

/// Calls a breaker with records of these texts, and returns the answers.
async fn answers(breaker: &impl RecordProcessor, texts: &[&str]) -> String {
    let mut answers = Vec::new();
    for text in texts {
        let record = OwnedRecord::new(text).with_remaining_time(Duration::from_secs(10));
        answers.push(match breaker.process(record.as_record()).await {
            Ok(()) => "ok",
            Err(error) if error.is_permanent() => "permanent",
            Err(error) if error.is_not_now() => "not now",
            Err(_) => "retryable",
        });
    }
    answers.join(", ")
}

fn busy() -> ProcessError {
    retryable("busy")
}

#[tokio::test(start_paused = true)]
async fn a_circuit_opens_after_failures_in_a_row_and_then_calls_nothing() {
    let dependency = Dependency::new(Some(busy));
    let breaker = CircuitBreaker::new(&dependency).max_failures(3).open_time(Duration::from_secs(30));
    assert_eq!(answers(&breaker, &["a", "a"]).await, "retryable, retryable");
    dependency.set(None);
    assert_eq!(answers(&breaker, &["a"]).await, "ok");
    dependency.set(Some(busy));
    // A permanent error is the record's, and neither a failure nor a success of the dependency.
    assert_eq!(answers(&breaker, &["a", "a", "bad", "a"]).await, "retryable, retryable, permanent, not now");
    assert_eq!((breaker.state(), dependency.take_calls()), (CircuitState::Open, 6));
    advance(Duration::from_millis(29_999)).await;
    assert_eq!(answers(&breaker, &["a", "bad", "hang"]).await, "not now, not now, not now");
    assert_eq!(dependency.take_calls(), 0);
    let record = OwnedRecord::new("a");
    let error = breaker.process(record.as_record()).await.expect_err("open");
    assert_eq!(format!("{error:?}"), "not now(circuit is open: busy)");
}

#[tokio::test(start_paused = true)]
async fn a_half_open_circuit_lets_one_record_through() {
    let dependency = Dependency::new(Some(busy));
    let breaker = CircuitBreaker::new(&dependency).max_failures(1).open_time(Duration::from_secs(30));
    assert_eq!(answers(&breaker, &["a"]).await, "not now");
    for _ in 0..3 {
        advance(Duration::from_secs(30)).await;
        dependency.take_calls();
        assert_eq!(answers(&breaker, &["a", "a", "a"]).await, "not now, not now, not now");
        assert_eq!(dependency.take_calls(), 1);
    }
    advance(Duration::from_secs(30)).await;
    {
        let record = OwnedRecord::new("hang");
        let mut probe = Box::pin(breaker.process(record.as_record()));
        assert!(futures_util::poll!(&mut probe).is_pending());
        assert_eq!(breaker.state(), CircuitState::HalfOpen);
        assert_eq!(answers(&breaker, &["a"]).await, "not now");
    }
    // The probe was cancelled, as the deadline guard does.
    assert_eq!(breaker.state(), CircuitState::Open);
    assert_eq!(dependency.take_calls(), 0);
    advance(Duration::from_secs(30)).await;
    dependency.set(None);
    assert_eq!(answers(&breaker, &["bad", "a", "a"]).await, "permanent, ok, ok");
    assert_eq!(breaker.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_an_answer_is_no_attempt() {
    let dependency = Dependency::new(Some(busy));
    let breaker = CircuitBreaker::new(&dependency).max_failures(1).open_time(Duration::from_secs(30));
    assert_eq!(answers(&breaker, &["a"]).await, "not now");
    advance(Duration::from_secs(30)).await;
    // It has ten seconds, and answers before they are over.
    let begin = SystemClock.instant();
    assert_eq!(answers(&breaker, &["hang"]).await, "not now");
    assert!((9_800..10_000).contains(&begin.elapsed().as_millis()));
    assert_eq!(breaker.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_cancelled_open_a_circuit_and_panics_do_not() {
    let dependency = Dependency::default();
    let breaker = CircuitBreaker::new(&dependency).max_failures(2);
    let options = TestOptions { concurrency: Some(1), ..TestOptions::default() };
    for (text, state) in [("panic", CircuitState::Closed), ("hang", CircuitState::Open)] {
        for _ in 0..2 {
            let breaker = async |record: Record<'_>| breaker.process(record).await;
            let handler = Handler::with_options(breaker, options.build());
            let context = {
                let mut context = Context::default();
                context.deadline = SystemClock.epoch_ms() + 2_000;
                context
            };
            let event = Event::new(vec![plain(1, text)]).to_json();
            assert_eq!(json(&handler.handle(&event, &context).await.expect("a response")), failure(1));
        }
        assert_eq!(breaker.state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_cancelled_together_are_one_failure() {
    let dependency = Dependency::default();
    let circuit = CircuitBreaker::new(&dependency).max_failures(2);
    let options = TestOptions { concurrency: Some(8), ..TestOptions::default() };
    let keyed = |number: u64| {
        let mut record = plain(number, "hang");
        record.partition_key = number.to_string().into();
        record
    };
    let event = Event::new((1..9).map(keyed).collect()).to_json();
    for state in [CircuitState::Closed, CircuitState::Open] {
        let breaker = async |record: Record<'_>| circuit.process(record).await;
        let handler = Handler::with_options(breaker, options.build());
        let mut context = Context::default();
        context.deadline = SystemClock.epoch_ms() + 2_000;
        assert_eq!(json(&handler.handle(&event, &context).await.expect("a response")), failure(1));
        assert_eq!(circuit.state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_error_panics_leaves_the_circuit_able_to_close() {
    let dependency = Dependency::new(Some(busy));
    let breaker = CircuitBreaker::new(&dependency).max_failures(1).open_time(Duration::from_secs(30));
    assert_eq!(answers(&breaker, &["a"]).await, "not now");
    advance(Duration::from_secs(30)).await;
    dependency.set(Some(|| retryable(NoText)));
    assert!(AssertUnwindSafe(answers(&breaker, &["a"])).catch_unwind().await.is_err());
    dependency.set(None);
    assert_eq!(answers(&breaker, &["a"]).await, "ok");
    assert_eq!(breaker.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_processor_decides_which_errors_are_an_outage_and_for_how_long() {
    let dependency = Dependency::new(Some(busy));
    let breaker = CircuitBreaker::new(&dependency).max_failures(1).failures_if(ProcessError::is_not_now);
    assert_eq!(answers(&breaker, &["a", "a"]).await, "retryable, retryable");
    dependency.set(Some(|| not_now("maintenance")));
    assert_eq!(answers(&breaker, &["a"]).await, "not now");
    assert_eq!(breaker.state(), CircuitState::Open);

    let dependency = Dependency::new(Some(busy));
    let breaker = CircuitBreaker::new(&dependency).max_failures(1).max_outage(Duration::from_secs(60));
    assert_eq!(answers(&breaker, &["a"]).await, "not now");
    let open_time = CircuitBreaker::<()>::DEFAULT_OPEN_TIME;
    for answer in ["not now", "retryable", "retryable"] {
        advance(open_time).await;
        assert_eq!(answers(&breaker, &["a", "a"]).await, format!("{answer}, not now"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_chunks_counts_the_attempts_before_the_circuit_opens() {
    let (journal, dependency) = (Arc::new(MemoryJournal::default()), Dependency::new(Some(busy)));
    let handler = Handler::try_with_options(
        Chunks::new(CircuitBreaker::new(EachOf(&dependency)).max_failures(2)),
        with_quarantine(&journal).build(),
    )
    .expect("suitable options");
    let event = Event::new(vec![aggregate(1, &["a", "b"]), plain(2, "c")]).to_json();
    let handle = async || json(&handler.handle(&event, &Context::default()).await.expect("a response"));
    for _ in 0..20 {
        assert_eq!(handle().await, failure(1));
        advance(Duration::from_secs(10)).await;
    }
    // The first chunk of three, before the circuit is open.
    assert_eq!((attempts(&journal), journal.quarantine(SHARD).len()), (3, 0));
    dependency.set(None);
    advance(Duration::from_secs(30)).await;
    assert_eq!(handle().await, SUCCESS);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_concurrent_calls_quarantines_nothing() {
    let (journal, dependency) = (Arc::new(MemoryJournal::default()), Dependency::new(Some(busy)));
    let options = TestOptions { concurrency: Some(8), ..with_quarantine(&journal) };
    let handler = Handler::with_options(CircuitBreaker::new(&dependency).max_failures(2), options.build());
    let records: Vec<_> = (1..9).map(|number| plain(number, "a")).collect();
    let event = Event::new(records).to_json();
    let handle = async || json(&handler.handle(&event, &Context::default()).await.expect("a response"));
    for _ in 0..20 {
        assert_eq!(handle().await, failure(1));
        advance(Duration::from_secs(10)).await;
    }
    assert!(attempts(&journal) <= 1 && journal.quarantine(SHARD).is_empty());
    dependency.set(None);
    advance(Duration::from_secs(30)).await;
    assert_eq!(handle().await, SUCCESS);
}
