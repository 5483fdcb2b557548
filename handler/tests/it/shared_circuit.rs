//! A circuit breaker whose state several environments share.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kinesis_handler::{
    CircuitBreaker, Clock, Context, Event, Handler, Options, ProcessError, Record, RecordProcessor,
    circuit::{CircuitFuture, CircuitStore, MemoryCircuits, OpenCircuit},
    retryable,
};
use tokio::time::{Instant, advance};

use crate::batch::{SUCCESS, failure, json, plain};

/// Virtual time, which begins at this number of milliseconds since 1970.
#[derive(Debug)]
pub(crate) struct TokioClock {
    pub(crate) start: Instant,
}

pub(crate) const START_MS: u64 = 1_000_000;

impl Clock for TokioClock {
    fn epoch_ms(&self) -> u64 {
        START_MS + u64::try_from(self.start.elapsed().as_millis()).expect("a test is short")
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// A dependency that all environments call.
#[derive(Default)]
pub(crate) struct Dependency {
    is_down: Mutex<bool>,
    calls: AtomicU32,
}

impl Dependency {
    pub(crate) fn set_down(&self, is_down: bool) {
        *self.is_down.lock().expect("no panic while locked") = is_down;
    }

    pub(crate) fn take_calls(&self) -> u32 {
        self.calls.swap(0, Ordering::Relaxed)
    }
}

impl RecordProcessor for &Dependency {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match *self.is_down.lock().expect("no panic while locked") {
            true if record.data() == b"hang" => {}
            true => return Err(retryable("down")),
            false => return Ok(()),
        }
        std::future::pending().await
    }
}

pub(crate) type Environment<'d> = Handler<CircuitBreaker<&'d Dependency>>;

pub(crate) const OPEN_TIME: Duration = Duration::from_secs(30);

pub(crate) fn environment(dependency: &Dependency, store: Option<Arc<dyn CircuitStore>>) -> Environment<'_> {
    let clock = Arc::new(TokioClock { start: Instant::now() });
    environment_at(dependency, store, clock)
}

pub(crate) fn environment_at(
    dependency: &Dependency,
    store: Option<Arc<dyn CircuitStore>>,
    clock: Arc<dyn Clock>,
) -> Environment<'_> {
    let breaker = CircuitBreaker::new(dependency).max_failures(2).open_time(OPEN_TIME);
    let breaker = match store {
        Some(store) => breaker.shared_in(store, "warehouse"),
        None => breaker,
    };
    let options = Options::builder().application("orders").clock(clock).build().expect("legal options");
    Handler::with_options(breaker, options)
}

/// Invokes an environment with a batch of these texts.
pub(crate) async fn invoke(environment: &Environment<'_>, texts: &[&str]) -> String {
    static INVOCATIONS: AtomicU32 = AtomicU32::new(0);
    let mut context = Context::default();
    context.request_id = format!("request-{}", INVOCATIONS.fetch_add(1, Ordering::Relaxed));
    context.deadline = START_MS + 10_000_000;
    let records = (1..).zip(texts).map(|(number, text)| plain(number, text)).collect();
    let response = environment.handle(&Event::new(records).to_json(), &context).await;
    json(&response.expect("a response"))
}

/// Two environments on one store, in a world with one clock.
fn two<'d>(dependency: &'d Dependency, store: &Arc<MemoryCircuits>) -> [Environment<'d>; 2] {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock { start: Instant::now() });
    [(); 2].map(|()| environment_at(dependency, Some(store.clone()), clock.clone()))
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_opens_in_one_environment_is_open_in_all() {
    let (dependency, store) = (Dependency::default(), Arc::new(MemoryCircuits::default()));
    let [first, second] = two(&dependency, &store);
    dependency.set_down(true);
    for _ in 0..2 {
        assert_eq!(invoke(&first, &["a"]).await, failure(1));
    }
    assert_eq!(dependency.take_calls(), 2);
    let expected = OpenCircuit { since_ms: START_MS, until_ms: START_MS + 30_000, error: "down".to_owned() };
    assert_eq!(
        store.circuits().into_iter().collect::<Vec<_>>(),
        [("orders#circuit#warehouse".to_owned(), expected)]
    );
    assert_eq!(invoke(&second, &["a"]).await, failure(1));
    assert_eq!(dependency.take_calls(), 0);

    // Without the store, the other one would call.
    assert_eq!(invoke(&environment(&dependency, None), &["a"]).await, failure(1));
    assert_eq!(dependency.take_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_environment_lets_a_record_through_and_closes_the_circuit_for_all() {
    let (dependency, store) = (Dependency::default(), Arc::new(MemoryCircuits::default()));
    let [first, second] = two(&dependency, &store);
    dependency.set_down(true);
    for _ in 0..2 {
        invoke(&first, &["a"]).await;
    }
    invoke(&second, &["a"]).await;
    dependency.take_calls();
    for probes in [&first, &second] {
        advance(OPEN_TIME).await;
        let other = if std::ptr::eq(probes, &raw const first) { &second } else { &first };
        assert_eq!(invoke(probes, &["a"]).await, failure(1));
        assert_eq!(invoke(other, &["a"]).await, failure(1));
        assert_eq!(dependency.take_calls(), 1);
    }
    dependency.set_down(false);
    advance(OPEN_TIME).await;
    assert_eq!(invoke(&second, &["a", "b"]).await, SUCCESS);
    assert!(store.circuits().is_empty());
    assert_eq!(invoke(&first, &["a", "b"]).await, SUCCESS);
    assert_eq!(dependency.take_calls(), 4);
}

/// A store that answers all reads with the same, so that several environments claim what they have read at the same time.
#[derive(Debug)]
struct OldReads {
    store: Arc<MemoryCircuits>,
    read: OpenCircuit,
}

impl CircuitStore for OldReads {
    fn read<'a>(&'a self, _: &'a str) -> CircuitFuture<'a, Option<OpenCircuit>> {
        Box::pin(async { Ok(Some(self.read.clone())) })
    }

    fn open<'a>(&'a self, id: &'a str, circuit: &'a OpenCircuit) -> CircuitFuture<'a, ()> {
        self.store.open(id, circuit)
    }

    fn claim<'a>(&'a self, id: &'a str, read_until_ms: u64, until_ms: u64) -> CircuitFuture<'a, bool> {
        self.store.claim(id, read_until_ms, until_ms)
    }

    fn close<'a>(&'a self, id: &'a str, until_ms: u64) -> CircuitFuture<'a, ()> {
        self.store.close(id, until_ms)
    }
}

#[tokio::test(start_paused = true)]
async fn of_environments_that_read_at_the_same_time_one_calls() {
    let (dependency, store) = (Dependency::default(), Arc::new(MemoryCircuits::default()));
    let read = OpenCircuit { since_ms: START_MS - 60_000, until_ms: START_MS - 1, error: "down".to_owned() };
    store.open("orders#circuit#warehouse", &read).await.expect("memory");
    let store = Arc::new(OldReads { store, read });
    dependency.set_down(true);
    for _ in 0..3 {
        let response = invoke(&environment(&dependency, Some(store.clone())), &["a"]).await;
        assert_eq!(response, failure(1));
    }
    assert_eq!(dependency.take_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_invocation_reads_the_store_once() {
    let (dependency, store) = (Dependency::default(), Arc::new(MemoryCircuits::default()));
    let environment = environment(&dependency, Some(store.clone()));
    for invocation in 1..=3 {
        assert_eq!(invoke(&environment, &["a", "b", "c"]).await, SUCCESS);
        assert_eq!(store.reads(), invocation);
    }
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_ends_while_it_calls_holds_up_the_others_for_a_time() {
    let (dependency, store) = (Dependency::default(), Arc::new(MemoryCircuits::default()));
    let [first, second] = two(&dependency, &store);
    dependency.set_down(true);
    for _ in 0..2 {
        invoke(&first, &["a"]).await;
    }
    advance(OPEN_TIME).await;
    {
        let mut call = Box::pin(invoke(&first, &["hang"]));
        assert!(futures_util::poll!(&mut call).is_pending());
        dependency.take_calls();
        invoke(&second, &["a"]).await;
        assert_eq!(dependency.take_calls(), 0);
        // A crash: nothing more of the first one reaches the store.
        std::mem::forget(call);
    }
    dependency.set_down(false);
    assert_eq!(invoke(&second, &["a"]).await, failure(1));
    advance(OPEN_TIME).await;
    assert_eq!(invoke(&second, &["a"]).await, SUCCESS);
    assert!(store.circuits().is_empty());
}
