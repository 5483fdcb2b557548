//! A deterministic model of the event source mapping between a Kinesis data stream and an AWS Lambda function.

mod answer;
mod runtime_api;

pub use answer::{Answer, FunctionError};
pub use runtime_api::{BinaryFunction, BinaryOptions, Fate, Measurement, StartError};
