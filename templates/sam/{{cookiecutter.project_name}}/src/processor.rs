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
    use kinesis_handler::{OwnedRecord, RecordProcessor};

    use super::*;

    async fn outcome(data: &str) -> Result<(), String> {
        let record = OwnedRecord::new(data).with_partition_key("customer-1");
        process.process(record.as_record()).await.map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn an_order_is_processed() {
        assert_eq!(outcome(r#"{"id":"A-1","quantity":2}"#).await, Ok(()));
    }

    #[tokio::test]
    async fn an_order_without_quantity_is_a_permanent_error() {
        assert_eq!(
            outcome(r#"{"id":"A-1","quantity":0}"#).await,
            Err("permanent(quantity is zero)".to_owned())
        );
    }
}
