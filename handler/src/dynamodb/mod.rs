//! What the stores in DynamoDB share. Nothing but these and the stores knows the AWS SDK.

mod transaction_conflict;
mod client;
mod connection;
mod fault;
mod attribute;

pub(crate) use attribute::{Item, Unreadable, number, number_value, text, text_value, unreadable};
pub(crate) use connection::Connection;
pub use fault::StoreFault;
