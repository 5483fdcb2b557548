//! A deterministic model of the event source mapping between a Kinesis data stream and an AWS Lambda function.

mod answer;

pub use answer::{Answer, FunctionError};
