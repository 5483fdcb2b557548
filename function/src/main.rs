//! A Lambda function that consumes a stream of orders.

mod outage;
mod order;

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    kinesis_handler::run(order::process).await
}
