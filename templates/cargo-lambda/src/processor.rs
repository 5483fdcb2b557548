use kinesis_handler::{ProcessError, Record, permanent, tracing};
use serde::Deserialize;

/// The payload of a user record: `{"id":"A-1","quantity":2}`.
#[derive(Deserialize)]
struct Order {
    id: String,
    quantity: u32,
}

/// Processes one user record. It must be idempotent, because a record can come more than once.
pub async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    // A payload that is not an order never will be one: `?` makes it a permanent error.
    let order: Order = record.json()?;
    if order.quantity == 0 {
        return Err(permanent("quantity is zero"));
    }
    // Your own work goes here. `?` makes most other errors retryable.
    tracing::info!(order = order.id, quantity = order.quantity, "order received");
    Ok(())
}

#[cfg(test)]
mod tests {
    use kinesis_handler::testing::TestBatch;

    use super::*;

    #[tokio::test]
    async fn a_batch_of_orders_is_processed() {
        let batch = TestBatch::new()
            .record(r#"{"id":"A-1","quantity":2}"#)
            .aggregate([r#"{"id":"A-2","quantity":1}"#, r#"{"id":"A-3","quantity":5}"#]);
        batch.run(process).await.assert_fates(&["processed", "processed", "processed"]);
    }

    #[tokio::test]
    async fn a_batch_stops_at_an_order_without_quantity() {
        let batch =
            TestBatch::new().record(r#"{"id":"A-1","quantity":2}"#).record(r#"{"id":"A-2","quantity":0}"#);
        let run = batch.run(process).await;
        run.assert_fates(&["processed", "failed: quantity is zero"]);
        // Lambda delivers again from the second record on.
        assert_eq!(run.reported(), Some(2));
    }
}
