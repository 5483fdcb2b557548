//! Sums the lengths of user records.

use aws_lambda_events::{event::kinesis::KinesisEvent, streams::KinesisEventResponse};
use lambda_runtime::{Error, LambdaEvent, service_fn};

async fn handle(event: LambdaEvent<KinesisEvent>) -> Result<KinesisEventResponse, Error> {
    // The sum is one of the counts that are printed.
    Ok(bench_plain_rust::handle(event.payload, |_| Ok(())))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    #[cfg(feature = "count-allocations")]
    bench_allocations::report_on_demand();
    lambda_runtime::run(service_fn(handle)).await
}
