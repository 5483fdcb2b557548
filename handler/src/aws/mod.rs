//! The parts that the stores in DynamoDB, and in S3, share. Only these and the stores know the AWS SDK.

#[cfg(feature = "dynamodb")]
mod transaction_conflict;
#[cfg(feature = "dynamodb")]
mod client;
#[cfg(feature = "dynamodb")]
mod condition;
#[cfg(feature = "dynamodb")]
mod connection;
mod fault;
#[cfg(feature = "dynamodb")]
mod attribute;
#[cfg(feature = "dynamodb")]
mod throttled;

#[cfg(feature = "dynamodb")]
pub(crate) use attribute::{Item, Unreadable, number, number_value, text, text_value, unreadable};
#[cfg(feature = "hash-range-filter")]
pub(crate) use client::{retries, timeouts};
#[cfg(feature = "dynamodb")]
pub(crate) use condition::is_condition_met;
#[cfg(feature = "dynamodb")]
pub(crate) use connection::Connection;
pub use fault::StoreFault;
#[cfg(feature = "dynamodb")]
pub(crate) use throttled::until_not_throttled;
#[cfg(feature = "dynamodb")]
pub(crate) use transaction_conflict::is_cancelled_for_now;
