//! The aggregated record format of the Kinesis Producer Library (KPL), both ways.
//!
//! A producer that aggregates packs many *user records* into one *Kinesis record*:
//!
//! ```text
//! F3 89 9A C2 | protobuf AggregatedRecord | MD5 of the protobuf bytes (16 bytes)
//! ```
//!
//! [`Deaggregator`] reads a Kinesis record's data. It validates an aggregated record completely before it returns the
//! first user record, then yields user records lazily, borrowed from the input: nothing is copied, and nothing is allocated
//! per user record. Other data is one plain user record, so a stream with both needs no special care:
//!
//! ```
//! use kpl_deaggregation::{Aggregator, Deaggregator, InvalidAggregatePolicy, UserRecordInput};
//!
//! let mut aggregator = Aggregator::default();
//! for text in ["one", "two"] {
//!     let full = aggregator.add(UserRecordInput::new("key", text))?;
//!     assert!(full.is_none(), "two small user records fit into one Kinesis record");
//! }
//!
//! let mut deaggregator = Deaggregator::new(InvalidAggregatePolicy::Fail);
//! for kinesis_record in aggregator.finish() {
//!     let partition_key = kinesis_record.partition_key.as_bytes();
//!     let user_records = deaggregator.deaggregate(partition_key, &kinesis_record.data)?;
//!     let texts: Vec<&[u8]> = user_records.map(|user_record| user_record.data).collect();
//!     assert_eq!(texts, [b"one", b"two"]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`ChecksumVerifier`] verifies many Kinesis records at once, which is faster. [`Aggregator`] makes aggregated records,
//! and [`HashKeyRange`] decides which user records belong to a shard.
//!
//! The format is described in `aggregation-format.md` of awslabs/amazon-kinesis-producer. Where that document leaves a
//! case open, this crate never guesses: see [`InvalidAggregate`] for what is refused and [`Deaggregator`] for what is
//! tolerated.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod invalid;
mod wire;
mod frame;
mod md5;
mod checksum;
mod hash_key;
mod user_record;
mod walk;
mod deaggregate;
mod message;
mod input;
mod key_table;
mod batch;
mod aggregate;
mod encode;

pub use aggregate::{AggregateError, Aggregator, AggregatorOptions, Grouping, MAX_SIZE_LIMIT_BYTES};
pub use checksum::{Checksum, ChecksumVerifier, VectorInstructions};
pub use deaggregate::{
    Content, DEFAULT_MAX_KEY_BYTES, DeaggregationCursor, Deaggregator, InvalidAggregatePolicy, UserRecords,
};
pub use encode::encode;
pub use hash_key::{HashKeyRange, HashKeyRangeError};
pub use input::{PutEntry, UserRecordInput};
pub use invalid::{InvalidAggregate, Table};
pub use user_record::UserRecord;
