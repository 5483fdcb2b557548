//! Payloads that a producer has put into S3, with a pointer to them in the stream (claim check).
//!
//! A pointer is a payload of this JSON, whose first member is the marker:
//!
//! ```json
//! {"kinesisKitPayload":1,"bucket":"orders-payloads","key":"2026/5f1a","length":7340032,"sha256":"…64 hexadecimal digits…"}
//! ```
//!
//! [`Record::fetch`](crate::Record::fetch) reads the object, and checks its length and its digest. Anyone who may put records into
//! the stream chooses bucket and key, so only objects under prefixes that the [options](LargePayloadOptions) allow are read.

mod error;
mod fetch;
mod memory;
mod pointer;
mod prefix;
#[cfg(feature = "s3")]
mod s3;

use std::{fmt, pin::Pin};

#[cfg(feature = "s3")]
pub use s3::S3Payloads;

pub use error::{FetchError, PayloadStoreError, PointerError};
pub use fetch::FetchedRecord;
pub use memory::MemoryPayloads;
pub use pointer::PayloadPointer;
pub(crate) use prefix::AllowedPrefix;

#[cfg(feature = "s3")]
pub use crate::aws::StoreFault;
pub use crate::options::LargePayloadOptions;
pub(crate) use crate::options::LargePayloads;

/// The future of a store's read.
pub type PayloadFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, PayloadStoreError>> + Send + 'a>>;

/// A store of objects by bucket and key. [`MemoryPayloads`] is one for tests; S3 is `S3Payloads` (feature `s3`).
pub trait PayloadStore: fmt::Debug + Send + Sync {
    /// Reads an object of at most this many bytes. A larger one must not be read as a whole.
    ///
    /// # Errors
    ///
    /// [`PayloadStoreError::Missing`] and [`PayloadStoreError::TooLarge`] say that a later read would find the same;
    /// [`PayloadStoreError::Unavailable`] that it may succeed.
    fn get<'a>(&'a self, bucket: &'a str, key: &'a str, max_bytes: u64) -> PayloadFuture<'a>;
}
