//! The parts that the stores in DynamoDB share. Only these and the stores know the AWS SDK.

mod transaction_conflict;
mod client;
mod connection;
mod fault;
mod attribute;
mod throttled;

pub(crate) use attribute::{Item, Unreadable, number, number_value, text, text_value, unreadable};
pub(crate) use connection::Connection;
pub use fault::StoreFault;
pub(crate) use throttled::until_not_throttled;
pub(crate) use transaction_conflict::is_cancelled_for_now;
