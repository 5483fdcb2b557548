//! Lambda's event filtering, as far as it concerns Kinesis (rule 6): which records a mapping delivers at all.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html> lists the operators,
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis-filtering.html> says what goes for Kinesis. Where they are
//! silent (arrays, absence), and on equal numbers, this follows EventBridge's open engine, `aws/event-ruler`: Lambda
//! says that its rules are EventBridge's.
//!
//! Deliberately absent: EventBridge operators that Lambda does not list (`wildcard`, `cidr`, nested forms of `prefix`
//! and `suffix`); IP addresses that are equal in different notations; numbers that a double does not hold.

mod error;
mod place;
mod verdict;
mod numeric;
mod rule;
mod pattern;
mod criteria;

pub use criteria::FilterCriteria;
pub use error::FilterError;
