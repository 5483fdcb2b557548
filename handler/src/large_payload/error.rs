use thiserror::Error;

use crate::BoxError;

/// A payload with the marker of a pointer that is none. No retry changes that.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PointerError {
    /// The payload is not the JSON of a pointer. Values are left out.
    #[error(
        "expected the members kinesisKitPayload, bucket, key, length and sha256 (line {line}, column {column})"
    )]
    Json {
        /// Line of the fault, from one.
        line: usize,
        /// Column of the fault, from one.
        column: usize,
    },
    /// The pointer is of a version that this crate does not know.
    #[error("expected version 1, found {found}")]
    Version {
        /// Value of the marker.
        found: u64,
    },
    /// A member has an illegal value.
    #[error("member {member}: expected {expected}")]
    Member {
        /// Name of the member.
        member: &'static str,
        /// Description of the legal values.
        expected: &'static str,
    },
    /// The payload is larger than any pointer.
    #[error("{bytes} bytes are more than a pointer has ({limit})")]
    TooLong {
        /// Length of the payload.
        bytes: usize,
        /// Largest length of a pointer, in bytes.
        limit: usize,
    },
}

/// The reason why a store returns no object.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PayloadStoreError {
    /// There is no such object.
    #[error("no such object")]
    Missing,
    /// The object is larger than was asked for.
    #[error("the object is larger than {max_bytes} bytes")]
    TooLarge {
        /// The most bytes that were asked for.
        max_bytes: u64,
    },
    /// The store could not be asked, refused the request, or did not answer: throttling, for example. A retry may succeed.
    #[error("the object cannot be read")]
    Unavailable(#[source] BoxError),
}

/// A large payload that cannot be fetched.
///
/// The texts hold nothing of payloads and no keys of objects, because they end up in logs. `?` makes a permanent error of all but
/// [`Store`](Self::Store): no retry brings an object back or changes a pointer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The payload has the marker of a pointer, and is none.
    #[error("pointer to a large payload is invalid")]
    Pointer(#[from] PointerError),
    /// The pointer names an object outside of what the options allow.
    #[error(
        "pointer to a large payload names an object in bucket {bucket} that KINESIS_HANDLER_LARGE_PAYLOADS does not allow"
    )]
    NotAllowed {
        /// Name of the bucket.
        bucket: String,
    },
    /// The payload is larger than the limit.
    #[error("large payload has {length} bytes, more than the limit max_large_payload_bytes of {limit} bytes")]
    TooLarge {
        /// Length that the pointer states, in bytes.
        length: u64,
        /// Largest length that is allowed, in bytes.
        limit: u64,
    },
    /// There is no such object: it has expired, or was never put.
    #[error("large payload is no longer in bucket {bucket}, or never was")]
    Missing {
        /// Name of the bucket.
        bucket: String,
    },
    /// The object has another length than the pointer states.
    #[error("large payload in bucket {bucket} does not have the {length} bytes that its pointer states")]
    Length {
        /// Name of the bucket.
        bucket: String,
        /// Length that the pointer states, in bytes.
        length: u64,
    },
    /// The object has another content than the one that the pointer was made for.
    #[error("large payload in bucket {bucket} does not have the SHA-256 that its pointer states")]
    Digest {
        /// Name of the bucket.
        bucket: String,
    },
    /// The object could not be read now.
    #[error("large payload cannot be read from bucket {bucket}")]
    Store {
        /// Name of the bucket.
        bucket: String,
        /// Error of the store.
        source: BoxError,
    },
}

impl FetchError {
    /// Returns whether no retry can help.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, FetchError::Store { .. })
    }
}
