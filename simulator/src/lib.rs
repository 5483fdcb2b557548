//! A deterministic model of the event source mapping between a Kinesis data stream and an AWS Lambda function.

mod filter;
mod answer;

pub use answer::{Answer, FunctionError};
pub use filter::{FilterCriteria, FilterError};
