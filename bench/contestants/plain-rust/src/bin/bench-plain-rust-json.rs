//! Reads the order of each user record, and sums the values of orders.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lambda_events::{event::kinesis::KinesisEvent, streams::KinesisEventResponse};
use lambda_runtime::{Error, LambdaEvent, service_fn};
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

fn process(data: &[u8]) -> Result<(), Error> {
    let order: Order<'_> = serde_json::from_slice(data)?;
    if order.id.is_empty() || order.item.is_empty() || order.note.is_empty() {
        return Err("an order without a text".into());
    }
    CENTS.fetch_add(u64::from(order.quantity) * order.cents, Ordering::Relaxed);
    Ok(())
}

async fn handle(event: LambdaEvent<KinesisEvent>) -> Result<KinesisEventResponse, Error> {
    Ok(bench_plain_rust::handle(event.payload, process))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    #[cfg(feature = "count-allocations")]
    bench_allocations::report_on_demand();
    lambda_runtime::run(service_fn(handle)).await
}
