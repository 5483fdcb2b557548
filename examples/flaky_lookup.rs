//! A processor with a client that fails now and then: a struct holds the client, `anyhow` tells where an error came from, and
//! [`Classify`] decides for each error whether a retry can help.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context as _, bail};
use kinesis_handler::{Classify, ProcessError, Record, RecordProcessor, run, tracing};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    id: String,
    item: String,
    quantity: u64,
}

/// A client of a price service. Here every third call fails, as a real one does during a deployment.
#[derive(Default)]
struct Prices {
    calls: AtomicU32,
}

impl Prices {
    /// Returns the price in cents; `None` if there is no such item.
    async fn look_up(&self, item: &str) -> anyhow::Result<Option<u64>> {
        tokio::task::yield_now().await;
        if self.calls.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            bail!("the price service is not available");
        }
        Ok((!item.is_empty()).then_some(850))
    }
}

/// A processor of orders. It is made once for an environment and shared by all of its invocations.
#[derive(Default)]
struct Orders {
    prices: Prices,
    /// Prices by item: most orders need no call.
    known: Mutex<HashMap<String, u64>>,
}

impl Orders {
    async fn price(&self, item: &str) -> anyhow::Result<Option<u64>> {
        // The lock is not held while the service answers.
        if let Some(price) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(item) {
            return Ok(Some(*price));
        }
        let price = self.prices.look_up(item).await.with_context(|| format!("price of {item}"))?;
        if let Some(price) = price {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(item.to_owned(), price);
        }
        Ok(price)
    }
}

impl RecordProcessor for Orders {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        // A payload that is no order is a permanent error by itself.
        let order: Order = record.json()?;
        // An outage passes: the mapping retries from this record on.
        let price = self.price(&order.item).await.retryable()?;
        // An item that does not exist still will not at the next attempt.
        let price = price.context("unknown item").permanent()?;
        tracing::info!(order = order.id, total_cents = price * order.quantity, "order priced");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    run(Orders::default()).await
}

#[cfg(test)]
mod tests {
    use kinesis_handler::OwnedRecord;

    use super::*;

    async fn outcome(orders: &Orders, item: &str) -> String {
        let payload = format!(r#"{{"id":"A-1","item":"{item}","quantity":2}}"#);
        format!("{:?}", orders.process(OwnedRecord::new(payload).as_record()).await)
    }

    #[tokio::test]
    async fn an_outage_is_retryable_and_an_unknown_item_is_not() {
        let orders = Orders::default();
        assert_eq!(outcome(&orders, "teapot").await, "Ok(())");
        assert_eq!(outcome(&orders, "").await, "Err(permanent(unknown item))");
        let outage = "Err(retryable(price of cup: the price service is not available))";
        assert_eq!(outcome(&orders, "cup").await, outage);
        // Known by now, so that no call can fail.
        assert_eq!(outcome(&orders, "teapot").await, "Ok(())");
        assert_eq!(outcome(&orders, "cup").await, "Ok(())");
    }
}
