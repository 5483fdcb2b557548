//! {{project_name}}: a Lambda function that consumes a Kinesis data stream of orders.

mod processor;

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    kinesis_handler::run(processor::process).await
}
