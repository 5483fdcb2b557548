//! Totals in DynamoDB that count each order once, although records are delivered at least once: the total and a claim on the record
//! are written in one transaction.

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, TransactWriteItem, Update},
};
use kinesis_handler::{
    BoxError, Classify, ProcessError, Record, RecordProcessor, idempotency::is_claimed, run,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    item: String,
    quantity: u64,
}

struct Totals {
    client: Client,
    table: String,
    claims: String,
}

impl RecordProcessor for Totals {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let order: Order = record.json()?;
        let claim = record.claim(&self.claims).ok_or("the record has no idempotency key").permanent()?;
        let add = Update::builder()
            .table_name(&self.table)
            .key("item", AttributeValue::S(order.item))
            .update_expression("ADD quantity :quantity")
            .expression_attribute_values(":quantity", AttributeValue::N(order.quantity.to_string()))
            .build()?;
        let items = vec![claim, TransactWriteItem::builder().update(add).build()];
        match self.client.transact_write_items().set_transact_items(Some(items)).send().await {
            Ok(_) => Ok(()),
            // An earlier invocation has written both.
            Err(error) if is_claimed(&error, 0) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let (table, claims) = (variable("TOTALS_TABLE")?, variable("CLAIMS_TABLE")?);
    let client = Client::new(&aws_config::load_from_env().await);
    run(Totals { client, table, claims }).await
}
