//! A circuit breaker whose state is in a store that is slow or does not work.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kinesis_handler::{
    CircuitBreaker, Clock, Context, Event, Handler, KinesisRecord, Options,
    circuit::{CircuitError, CircuitFuture, CircuitStore, MemoryCircuits, OpenCircuit},
};
use tokio::time::{Instant, advance, sleep};

use crate::{
    batch::{SUCCESS, failure, json, plain},
    shared_circuit::{Dependency, OPEN_TIME, START_MS, TokioClock, environment, environment_at, invoke},
};

/// A store that does not work, until it is repaired.
#[derive(Debug)]
struct Faulty {
    store: MemoryCircuits,
    fault: Mutex<&'static str>,
}

impl Faulty {
    fn call<'a, T: Send + 'a>(&'a self, call: CircuitFuture<'a, T>) -> CircuitFuture<'a, T> {
        let fault = *self.fault.lock().expect("no panic while locked");
        Box::pin(async move {
            match fault {
                "" => call.await,
                "hang" => std::future::pending().await,
                "panic" => panic!("asked to"),
                _ => Err(CircuitError::Store { source: "asked to".into() }),
            }
        })
    }
}

impl CircuitStore for Faulty {
    fn read<'a>(&'a self, id: &'a str) -> CircuitFuture<'a, Option<OpenCircuit>> {
        self.call(self.store.read(id))
    }

    fn open<'a>(&'a self, id: &'a str, circuit: &'a OpenCircuit) -> CircuitFuture<'a, ()> {
        self.call(self.store.open(id, circuit))
    }

    fn claim<'a>(&'a self, id: &'a str, read_until_ms: u64, until_ms: u64) -> CircuitFuture<'a, bool> {
        self.call(self.store.claim(id, read_until_ms, until_ms))
    }

    fn close<'a>(&'a self, id: &'a str, until_ms: u64) -> CircuitFuture<'a, ()> {
        self.call(self.store.close(id, until_ms))
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_store_each_environment_has_its_own_state() {
    for fault in ["fail", "panic", "hang"] {
        let dependency = Dependency::default();
        let store = Arc::new(Faulty { store: MemoryCircuits::default(), fault: Mutex::new(fault) });
        let broken = environment(&dependency, Some(store.clone()));
        assert_eq!(invoke(&broken, &["a", "b"]).await, SUCCESS, "{fault}");
        dependency.set_down(true);
        dependency.take_calls();
        for _ in 0..3 {
            assert_eq!(invoke(&broken, &["a"]).await, failure(1), "{fault}");
        }
        assert_eq!(dependency.take_calls(), 2, "{fault}");

        // What could not be written is written once it can.
        assert!(store.store.circuits().is_empty());
        *store.fault.lock().expect("no panic while locked") = "";
        assert_eq!(invoke(&broken, &["a"]).await, failure(1), "{fault}");
        assert_eq!(store.store.circuits().len(), 1, "{fault}");
        dependency.set_down(false);
        advance(OPEN_TIME).await;
        assert_eq!(invoke(&broken, &["a"]).await, SUCCESS, "{fault}");
        assert!(store.store.circuits().is_empty(), "{fault}");
    }
}

/// A store whose calls take this time.
#[derive(Debug)]
struct Slow {
    store: MemoryCircuits,
    time: Duration,
}

impl Slow {
    fn call<'a, T: Send + 'a>(&'a self, call: CircuitFuture<'a, T>) -> CircuitFuture<'a, T> {
        Box::pin(async move {
            sleep(self.time).await;
            call.await
        })
    }
}

impl CircuitStore for Slow {
    fn read<'a>(&'a self, id: &'a str) -> CircuitFuture<'a, Option<OpenCircuit>> {
        self.call(self.store.read(id))
    }

    fn open<'a>(&'a self, id: &'a str, circuit: &'a OpenCircuit) -> CircuitFuture<'a, ()> {
        self.call(self.store.open(id, circuit))
    }

    fn claim<'a>(&'a self, id: &'a str, read_until_ms: u64, until_ms: u64) -> CircuitFuture<'a, bool> {
        self.call(self.store.claim(id, read_until_ms, until_ms))
    }

    fn close<'a>(&'a self, id: &'a str, until_ms: u64) -> CircuitFuture<'a, ()> {
        self.call(self.store.close(id, until_ms))
    }
}

/// A slow store with a circuit that is open until this time.
async fn slow(time: Duration, until_ms: u64) -> Arc<Slow> {
    let store = MemoryCircuits::default();
    let open = OpenCircuit { since_ms: START_MS - 60_000, until_ms, error: "down".to_owned() };
    store.open("orders#circuit#warehouse", &open).await.expect("memory");
    Arc::new(Slow { store, time })
}

#[tokio::test(start_paused = true)]
async fn all_records_that_are_processed_at_once_wait_for_the_store() {
    let dependency = Dependency::default();
    let store = slow(Duration::from_secs(1), START_MS + 20_000).await;
    let breaker = CircuitBreaker::new(&dependency).shared_in(store.clone(), "warehouse");
    let clock = Arc::new(TokioClock { start: Instant::now() });
    let options = Options::builder().application("orders").clock(clock).concurrency(3).build();
    let environment = Handler::with_options(breaker, options.expect("legal options"));
    dependency.set_down(true);
    let records = (1..=5).map(|number| {
        KinesisRecord::new(number.to_string().parse().expect("digits"), number.to_string(), b"a")
    });
    let event = Event::new(records.collect()).to_json();
    let response = environment.handle(&event, &Context::default()).await.expect("a response");
    assert_eq!((response.counts().paused, json(&response)), (1, failure(1)));
    assert_eq!((dependency.take_calls(), store.store.reads()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_claim_leaves_a_probe_time_for_its_answer() {
    let dependency = Dependency::default();
    let store = slow(Duration::from_millis(1_500), START_MS - 1).await;
    let environment = environment(&dependency, Some(store));
    dependency.set_down(true);
    let mut context = Context::default();
    context.deadline = START_MS + 10_000;
    let response = environment.handle(&Event::new(vec![plain(1, "hang")]).to_json(), &context).await;
    let response = response.expect("a response");
    assert_eq!(dependency.take_calls(), 1);
    assert_eq!((response.counts().paused, response.counts().deadline_stops), (1, 0));
}

/// A store that closes no circuit as long as it is asked so.
#[derive(Debug, Default)]
struct NeverCloses {
    store: MemoryCircuits,
    closes: Mutex<bool>,
}

impl CircuitStore for NeverCloses {
    fn read<'a>(&'a self, id: &'a str) -> CircuitFuture<'a, Option<OpenCircuit>> {
        self.store.read(id)
    }

    fn open<'a>(&'a self, id: &'a str, circuit: &'a OpenCircuit) -> CircuitFuture<'a, ()> {
        self.store.open(id, circuit)
    }

    fn claim<'a>(&'a self, id: &'a str, read_until_ms: u64, until_ms: u64) -> CircuitFuture<'a, bool> {
        self.store.claim(id, read_until_ms, until_ms)
    }

    fn close<'a>(&'a self, id: &'a str, until_ms: u64) -> CircuitFuture<'a, ()> {
        match *self.closes.lock().expect("no panic while locked") {
            true => self.store.close(id, until_ms),
            false => Box::pin(async { Err(CircuitError::Store { source: "asked to".into() }) }),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_cannot_close_the_circuit_of_all_closes_its_own() {
    let (dependency, store) = (Dependency::default(), Arc::new(NeverCloses::default()));
    let clock: Arc<dyn Clock> = Arc::new(TokioClock { start: Instant::now() });
    let [first, second] = [(); 2].map(|()| environment_at(&dependency, Some(store.clone()), clock.clone()));
    dependency.set_down(true);
    for _ in 0..2 {
        invoke(&first, &["a"]).await;
    }
    dependency.set_down(false);
    advance(OPEN_TIME).await;
    for _ in 0..3 {
        assert_eq!(invoke(&first, &["a", "b"]).await, SUCCESS);
    }
    assert_eq!(invoke(&second, &["a"]).await, failure(1));

    // It is written as soon as that is possible.
    *store.closes.lock().expect("no panic while locked") = true;
    assert_eq!(invoke(&first, &["a"]).await, SUCCESS);
    assert!(store.store.circuits().is_empty());
    assert_eq!(invoke(&second, &["a"]).await, SUCCESS);

    // What another environment opens counts.
    *store.closes.lock().expect("no panic while locked") = false;
    dependency.set_down(true);
    for _ in 0..2 {
        invoke(&second, &["a"]).await;
    }
    dependency.take_calls();
    assert_eq!(invoke(&first, &["a"]).await, failure(1));
    assert_eq!(dependency.take_calls(), 0);
}
