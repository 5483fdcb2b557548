//! Ignores its events, so it takes the time of the transport and of `lambda_runtime` alone.

use kinesis_handler::{RawEvent, RawEventLayer};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde_json::{Value, json};

async fn ignore(_: LambdaEvent<RawEvent>) -> Result<Value, Error> {
    Ok(json!({ "batchItemFailures": [] }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    #[cfg(feature = "count-allocations")]
    bench_allocations::report_on_demand();
    Runtime::new(service_fn(ignore)).layer(RawEventLayer).run().await
}
