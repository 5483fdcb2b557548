//! A circuit breaker around a processor: in an outage of the warehouse, batches wait and no record uses up its attempts.
//!
//! `docs/outages.md` has the settings of the mapping that belong to it.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use kinesis_handler::{BoxError, CircuitBreaker, Classify, ProcessError, Record, RecordProcessor, run};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    item: String,
    quantity: u64,
}

/// A client of a warehouse. Here its first calls fail, as those of a real one do in an outage.
#[derive(Default)]
struct Warehouse {
    calls: AtomicU32,
}

impl Warehouse {
    async fn reserve(&self, item: &str, quantity: u64) -> Result<(), String> {
        tokio::task::yield_now().await;
        match self.calls.fetch_add(1, Ordering::Relaxed) {
            0..2 => Err(format!("the warehouse is down: {quantity} × {item} not reserved")),
            _ => Ok(()),
        }
    }
}

impl RecordProcessor for Warehouse {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let order: Order = record.json()?;
        self.reserve(&order.item, order.quantity).await.retryable()
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let open_ms = std::env::var("OPEN_MS").map_or(Ok(30_000), |text| text.parse())?;
    let breaker =
        CircuitBreaker::new(Warehouse::default()).max_failures(2).open_time(Duration::from_millis(open_ms));
    run(breaker).await
}
