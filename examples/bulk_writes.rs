//! A chunk processor that writes 25 user records at once with DynamoDB's `BatchWriteItem`, and maps the items that DynamoDB has
//! not processed back to their user records.
//!
//! The item's key is the user record's position, so a user record that is written twice is one item.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::{
    Client,
    primitives::Blob,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use kinesis_handler::{BoxError, ChunkOutcome, ChunkProcessor, Chunks, ProcessError, Record, retryable, run};

/// The most items that DynamoDB takes at once.
const MAX_ITEMS: usize = 25;

const KEY: &str = "position";

struct Writer {
    client: Client,
    table: String,
}

impl ChunkProcessor for Writer {
    async fn process(&self, chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
        let requests = chunk.iter().map(put).collect::<Result<Vec<_>, _>>()?;
        let response = self.client.batch_write_item().request_items(&self.table, requests).send().await?;
        // Throttled, for example.
        let unprocessed: HashSet<_> = response
            .unprocessed_items()
            .and_then(|tables| tables.get(&self.table))
            .into_iter()
            .flatten()
            .filter_map(|request| request.put_request()?.item().get(KEY)?.as_s().ok())
            .collect();
        let outcome = |record: &Record<'_>| match unprocessed.contains(&key(record)) {
            true => Err(retryable("DynamoDB has not processed the item")),
            false => Ok(()),
        };
        Ok(ChunkOutcome::Each(chunk.iter().map(outcome).collect()))
    }
}

fn key(record: &Record<'_>) -> String {
    format!("{}/{}", record.shard_id().unwrap_or_default(), record.position())
}

fn put(record: &Record<'_>) -> Result<WriteRequest, ProcessError> {
    let item = HashMap::from([
        (KEY.to_owned(), AttributeValue::S(key(record))),
        ("data".to_owned(), AttributeValue::B(Blob::new(record.data()))),
    ]);
    let put = PutRequest::builder().set_item(Some(item)).build()?;
    Ok(WriteRequest::builder().put_request(put).build())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let table = std::env::var("ORDER_TABLE").map_err(|_| "ORDER_TABLE is not set")?;
    let client = Client::new(&aws_config::load_from_env().await);
    run(Chunks::new(Writer { client, table }).max_records(MAX_ITEMS)).await
}
