//! Reads the order of each user record, and sums the values of orders.

use std::sync::atomic::{AtomicU64, Ordering};

use kinesis_handler::{ProcessError, Record, permanent};
use serde::Deserialize;

static CENTS: AtomicU64 = AtomicU64::new(0);

#[derive(Deserialize)]
struct Order<'a> {
    id: &'a str,
    item: &'a str,
    quantity: u32,
    cents: u64,
    note: &'a str,
}

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    let order: Order<'_> = record.json()?;
    if order.id.is_empty() || order.item.is_empty() || order.note.is_empty() {
        return Err(permanent("an order without a text"));
    }
    CENTS.fetch_add(u64::from(order.quantity) * order.cents, Ordering::Relaxed);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), kinesis_handler::Error> {
    #[cfg(feature = "count-allocations")]
    bench_allocations::report_on_demand();
    kinesis_handler::run(process).await
}
