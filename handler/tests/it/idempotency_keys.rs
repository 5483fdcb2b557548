//! The time for which idempotency keys of processed records are kept, and those that an environment remembers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use kinesis_handler::{
    Clock, Context, Event, Handler, Options,
    idempotency::{
        IdempotencyEntry, IdempotencyFuture, IdempotencyStore, Idempotent, MemoryIdempotency, json_pointer,
    },
};
use tokio::time::Instant;

use crate::{
    batch::{SUCCESS, json, plain},
    effects::{ORDER, Orders, answer},
};

/// A clock that is set by hand.
#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn epoch_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

#[tokio::test]
async fn a_key_that_has_expired_is_processed_again() {
    for remembered in [0, 10] {
        let (orders, clock) = (Orders::default(), Arc::new(SetClock::default()));
        let processor = Idempotent::new(&orders, Arc::new(MemoryIdempotency::default()), json_pointer("/id"))
            .remember(remembered)
            .expire_after(Duration::from_secs(60));
        let options = Options::builder().application("orders").clock(clock.clone()).build();
        let handler = Handler::with_options(processor, options.expect("legal options"));
        let event = Event::new(vec![plain(1, ORDER)]).to_json();
        for (now_ms, calls) in [(0, 1), (59_999, 1), (60_000, 2), (119_999, 2)] {
            clock.0.store(now_ms, Ordering::Relaxed);
            let response = handler.handle(&event, &Context::default()).await.expect("a response");
            assert_eq!((json(&response).as_str(), orders.calls()), (SUCCESS, calls), "at {now_ms} ms");
        }
    }
}

/// A store that counts the calls that begin.
#[derive(Debug, Default)]
struct Counting {
    store: MemoryIdempotency,
    begun: AtomicU32,
}

impl IdempotencyStore for Counting {
    fn begin<'a>(
        &'a self,
        entry: &'a IdempotencyEntry,
        now_ms: u64,
    ) -> IdempotencyFuture<'a, Option<IdempotencyEntry>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.store.begin(entry, now_ms)
    }

    fn complete<'a>(&'a self, entry: &'a IdempotencyEntry) -> IdempotencyFuture<'a, ()> {
        self.store.complete(entry)
    }

    fn release<'a>(&'a self, id: &'a str, owner: &'a str) -> IdempotencyFuture<'a, ()> {
        self.store.release(id, owner)
    }
}

#[tokio::test]
async fn the_store_is_not_asked_for_keys_that_an_environment_remembers() {
    for (remembered, expected) in [(0, 3), (10, 1)] {
        let (orders, store) = (Orders::default(), Arc::new(Counting::default()));
        let processor = Idempotent::new(&orders, store.clone(), json_pointer("/id")).remember(remembered);
        for _ in 0..3 {
            assert_eq!(answer(&processor, ORDER).await, "ok");
        }
        assert_eq!((orders.calls(), store.begun.load(Ordering::Relaxed)), (1, expected));
    }
}
