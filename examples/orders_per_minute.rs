//! A processor of tumbling windows: it counts the orders of each minute, and the money in them.
//!
//! The event source mapping has `TumblingWindowInSeconds: 60`. Lambda keeps the state of each shard, so the totals of a minute are one
//! for each shard: add them up where they are read.

use kinesis_handler::{
    BoxError, ProcessError, Record, WindowProcessor, Windows, event::TumblingWindow, run, tracing,
};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Order {
    quantity: u64,
    cents: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sales {
    orders: u64,
    cents: u64,
}

struct OrdersPerMinute;

impl WindowProcessor for OrdersPerMinute {
    type State = Sales;

    async fn process(&self, record: Record<'_>, sales: &mut Sales) -> Result<(), ProcessError> {
        let order: Order = record.json()?;
        sales.orders += 1;
        sales.cents += order.quantity * order.cents;
        Ok(())
    }

    async fn finish(&self, sales: &Sales, window: &TumblingWindow<'_>) -> Result<(), ProcessError> {
        // With the shard and the window as a key, writing it twice is no harm.
        let shard = window.shard_id.as_deref();
        tracing::info!(minute = &*window.start, shard, orders = sales.orders, cents = sales.cents, "sales");
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    run(Windows::new(OrdersPerMinute)).await
}
