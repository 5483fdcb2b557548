//! A chunk processor that posts orders to a bulk HTTP API, and maps the status of each item back to its user record.
//!
//! An item's ID is the user record's position, so that the API can recognize one that is posted twice.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Uri, header::CONTENT_TYPE};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use kinesis_handler::{
    BoxError, ChunkOutcome, ChunkProcessor, Chunks, ProcessError, Record, permanent, retryable, run,
};
use serde::{Deserialize, Serialize};

/// The most bytes of a response.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// A request: `{"items":[{"id":"…","order":"…"}]}`.
#[derive(Serialize)]
struct BulkRequest<'a> {
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    id: String,
    order: &'a str,
}

/// A response: `{"items":[{"status":201},{"status":429}]}`, in the order of the request.
#[derive(Deserialize)]
struct BulkResponse {
    items: Vec<ItemStatus>,
}

#[derive(Deserialize)]
struct ItemStatus {
    status: u16,
}

struct Poster {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

impl ChunkProcessor for Poster {
    async fn process(&self, chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
        let items = chunk.iter().map(item).collect::<Result<_, _>>()?;
        let body = serde_json::to_vec(&BulkRequest { items })?;
        let request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let response = self.client.request(request).await?;
        if !response.status().is_success() {
            return Err(retryable(format!("the bulk API has answered {}", response.status())));
        }
        let body =
            Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await.map_err(retryable)?;
        let response: BulkResponse = serde_json::from_slice(&body.to_bytes()).map_err(retryable)?;
        Ok(ChunkOutcome::Each(response.items.iter().map(outcome).collect()))
    }
}

fn item<'a>(record: &Record<'a>) -> Result<Item<'a>, ProcessError> {
    let id = format!("{}/{}", record.shard_id().unwrap_or_default(), record.position());
    Ok(Item { id, order: record.text()? })
}

/// Returns the outcome of an item: too many requests and errors of the server pass.
fn outcome(item: &ItemStatus) -> Result<(), ProcessError> {
    match item.status {
        200..=299 => Ok(()),
        status @ (429 | 500..) => Err(retryable(format!("status {status}"))),
        status => Err(permanent(format!("status {status}"))),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let uri = std::env::var("BULK_URL").map_err(|_| "BULK_URL is not set")?.parse()?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    run(Chunks::new(Poster { client, uri }).max_records(100).max_bytes(512 * 1024)).await
}
