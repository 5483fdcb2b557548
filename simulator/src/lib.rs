//! A deterministic model of the event source mapping between a Kinesis data stream and an AWS Lambda function.

mod answer;
mod runtime_api;
mod invoke_url;

pub use answer::{Answer, FunctionError};
pub use invoke_url::{UrlError, UrlFunction};
pub use runtime_api::{BinaryFunction, BinaryOptions, Fate, Measurement, StartError};
