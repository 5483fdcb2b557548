//! Invokes Lambda functions: programs over a local Runtime API, invoke URLs, and services in this process.
//!
//! An invocation ends with an [`Answer`]. A [`Function`] is what an event source mapping invokes with a batch of records.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod answer;
mod fate;
mod function;
mod invoke_url;
mod runtime_api;

pub use answer::{Answer, FunctionError};
pub use fate::Fate;
pub use function::{Function, InTurn, Invocation, ServiceFunction};
pub use invoke_url::{UrlError, UrlFunction};
pub use runtime_api::{
    BinaryFunction, BinaryOptions, Measurement, OutputObserver, StartError, reported_error,
};
