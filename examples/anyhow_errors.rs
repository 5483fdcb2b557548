//! `anyhow` in the code that a processor calls. `?` does not convert such an error (Rust permits no further conversion next
//! to the one from every error type), and it could not know whether a retry can help: say so with [`Classify`].

use anyhow::{Context as _, ensure};
use kinesis_handler::{Classify, ProcessError, Record, run};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    id: String,
    quantity: u32,
}

fn check(order: &Order) -> anyhow::Result<()> {
    ensure!(order.quantity > 0, "an order of nothing");
    Ok(())
}

/// Stores an order. Here it always succeeds; a database may not.
async fn store(order: &Order) -> anyhow::Result<()> {
    let id = order.id.strip_prefix("A-").context("an ID of another shop")?;
    tokio::task::yield_now().await;
    ensure!(!id.is_empty(), "an ID without a number");
    Ok(())
}

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    let order: Order = record.json()?;
    // No retry makes the order valid.
    check(&order).permanent()?;
    // The database may be back at the next attempt.
    store(&order).await.retryable()
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    run(process).await
}

#[cfg(test)]
mod tests {
    use kinesis_handler::{OwnedRecord, RecordProcessor};

    use super::*;

    async fn outcome(data: &str) -> String {
        format!("{:?}", process.process(OwnedRecord::new(data).as_record()).await)
    }

    #[tokio::test]
    async fn each_error_is_what_the_processor_says() {
        assert_eq!(outcome(r#"{"id":"A-1","quantity":1}"#).await, "Ok(())");
        assert_eq!(outcome(r#"{"id":"A-1","quantity":0}"#).await, "Err(permanent(an order of nothing))");
        assert_eq!(outcome(r#"{"id":"B-1","quantity":1}"#).await, "Err(retryable(an ID of another shop))");
    }
}
