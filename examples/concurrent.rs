//! Several user records at once: those of one partition key in order, one after the other, those of different keys while the others
//! wait.
//!
//! The processor reads a balance, waits, and writes the new one. That is safe, because no other record of the customer is processed in
//! between.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kinesis_handler::{Function, Options, ProcessError, Record, RecordProcessor, tracing};
use serde::Deserialize;
use tokio::time::sleep;

#[derive(Deserialize)]
struct Order {
    quantity: u64,
}

/// The numbers of items that customers have ordered, in a service that takes its time.
#[derive(Default)]
struct Balances {
    by_customer: Mutex<HashMap<Vec<u8>, u64>>,
}

impl Balances {
    async fn read(&self, customer: &[u8]) -> u64 {
        sleep(Duration::from_millis(5)).await;
        self.by_customer.lock().unwrap_or_else(PoisonError::into_inner).get(customer).copied().unwrap_or(0)
    }

    async fn write(&self, customer: &[u8], items: u64) {
        sleep(Duration::from_millis(5)).await;
        self.by_customer.lock().unwrap_or_else(PoisonError::into_inner).insert(customer.to_vec(), items);
    }
}

impl RecordProcessor for Balances {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let order: Order = record.json()?;
        let items = self.read(record.partition_key()).await + order.quantity;
        self.write(record.partition_key(), items).await;
        tracing::info!(items, "ordered");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    let options = Options::builder().concurrency(16).build()?;
    Function::new(Balances::default()).options(options).run().await
}

#[cfg(test)]
mod tests {
    use kinesis_handler::{
        Handler,
        testing::{TestBatch, TestRecord},
    };
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn customers_overlap_and_no_order_gets_lost() {
        let order = |customer: usize| {
            TestRecord::new(r#"{"quantity":1}"#).partition_key(format!("customer-{customer}"))
        };
        // Ten customers with three orders each.
        let batch = TestBatch::new().aggregate((0..30).map(|number| order(number % 10)));
        let options = Options::builder().concurrency(16).build().expect("a legal number");
        let balances = Balances::default();
        let start = Instant::now();
        let handler =
            Handler::with_options(async |record: Record<'_>| balances.process(record).await, options);
        batch.run_with(&handler).await.assert_fates(&["processed"; 30]);
        // One by one it would take ten times as long.
        assert!(start.elapsed() < Duration::from_millis(50), "{:?}", start.elapsed());
        drop(handler);
        let by_customer = balances.by_customer.into_inner().expect("no panic while locked");
        assert!(by_customer.len() == 10 && by_customer.values().all(|&items| items == 3), "{by_customer:?}");
    }
}
