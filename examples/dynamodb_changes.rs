//! Changes of a DynamoDB table, as its Kinesis streaming destination puts them into a stream, with the items as types.

use std::time::UNIX_EPOCH;

use kinesis_handler::{ProcessError, Record, run, tracing};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    let change = record.dynamodb_change()?;
    let made = change.creation_time().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    match change.new_image() {
        Some(image) => {
            let order: Order = image.read()?;
            tracing::info!(order = order.id, cents = order.cents, made, "order stored");
        }
        None => tracing::info!(id = change.event_id, made, "order removed"),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    run(process).await
}

#[cfg(test)]
mod tests {
    use kinesis_handler::{OwnedRecord, RecordProcessor};

    use super::*;

    async fn outcome(images: &str) -> Result<(), ProcessError> {
        let json = format!(
            r#"{{"eventID":"e","eventName":"MODIFY","tableName":"orders","dynamodb":{{
                "ApproximateCreationDateTime":1700000000123456,"Keys":{{"id":{{"S":"A-1"}}}}{images}}}}}"#
        );
        process.process(OwnedRecord::new(json).as_record()).await
    }

    #[tokio::test]
    async fn images_are_orders() {
        assert!(outcome("").await.is_ok());
        assert!(outcome(r#","NewImage":{"id":{"S":"A-1"},"cents":{"N":"850"}}"#).await.is_ok());
        let error = outcome(r#","NewImage":{"id":{"S":"A-1"}}"#).await.expect_err("no cents");
        assert!(error.is_permanent());
    }
}
