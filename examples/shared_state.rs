//! A processor with state: whatever is expensive to make (clients, connection pools, caches) is made once for an
//! environment, before the first event, and shared by all of its invocations.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kinesis_handler::{Function, ProcessError, Record, RecordProcessor, tracing};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    quantity: u64,
}

/// A processor that counts ordered items for each customer since the environment was started.
///
/// A processor may be called by several invocations at once (on Lambda Managed Instances), so its state is behind a lock.
#[derive(Default)]
struct Totals {
    by_customer: Mutex<HashMap<String, u64>>,
}

impl RecordProcessor for Totals {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let order: Order = record.json()?;
        let items = {
            let mut totals = self.by_customer.lock().unwrap_or_else(PoisonError::into_inner);
            let total = totals.entry(record.partition_key_text().into_owned()).or_default();
            *total += order.quantity;
            *total
        };
        tracing::info!(items, "ordered");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    Function::new(Totals::default())
        .on_shutdown(|| async { tracing::info!("the environment ends") })
        .run()
        .await
}
