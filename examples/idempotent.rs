//! Orders that a producer puts twice are processed once: the key is the order's ID, and DynamoDB keeps the keys.

use std::sync::Arc;

use kinesis_handler::{
    BoxError, ProcessError, Record,
    idempotency::{DynamoDbIdempotency, Idempotent, json_pointer},
    run, tracing,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    id: String,
}

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    let order: Order = record.json()?;
    tracing::info!(order = order.id, "order reserved");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let table = std::env::var("IDEMPOTENCY_TABLE").map_err(|_| "IDEMPOTENCY_TABLE is not set")?;
    let store = Arc::new(DynamoDbIdempotency::new(table));
    let processor = Idempotent::new(process, store, json_pointer("/id"))
        .on_repeat(|record| tracing::info!(position = %record.position(), "order was reserved already"));
    run(processor).await
}
