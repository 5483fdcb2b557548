use thiserror::Error;

use crate::SequenceNumberError;

/// Why a payload is not an event whose failures could be reported record by record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventError {
    /// The payload is not JSON.
    #[error("the event is not JSON (line {line}, column {column})")]
    NotJson {
        /// Line of the first error, from one.
        line: usize,
        /// Column of the first error, from one.
        column: usize,
    },
    /// The payload is JSON of another shape, or has a member twice.
    #[error(
        "not a Kinesis event: expected an object with one array \"Records\", or an array of records as EventBridge \
         Pipes delivers them (line {line}, column {column})"
    )]
    Shape {
        /// Line where the shape differs, from one.
        line: usize,
        /// Column where the shape differs, from one.
        column: usize,
    },
    /// There is no member `Records`.
    #[error("not a Kinesis event: expected an object with an array \"Records\", which is missing")]
    NoRecords,
    /// A member of the event has another type than it should have.
    #[error("the event's member \"{member}\": expected {expected}, found {found}")]
    Member {
        /// Name of the member.
        member: &'static str,
        /// Description of the legal values.
        expected: &'static str,
        /// The JSON type that was found.
        found: &'static str,
    },
    /// The member `kinesisKit` asks for something that this version does not know.
    #[error("unknown kinesisKit.mode {found}; expected \"resume\" or \"reprocess\"")]
    Mode {
        /// Mode that was found, shortened.
        found: String,
    },
    /// An element of `Records` is not an object, or has no object `kinesis`.
    #[error("not a Kinesis event: record {index}: expected {expected}, found {found}")]
    Record {
        /// Zero-based position in `Records`.
        index: usize,
        /// Description of the legal values.
        expected: &'static str,
        /// The JSON type that was found.
        found: &'static str,
    },
    /// A record comes from another service.
    #[error(
        "not a Kinesis event: record {index}: expected eventSource \"aws:kinesis\", found {event_source:?}"
    )]
    ForeignRecord {
        /// Zero-based position in `Records`.
        index: usize,
        /// The record's `eventSource`, shortened.
        event_source: String,
    },
    /// A record cannot be named in a response, because its sequence number is absent or not text.
    #[error("record {index}: sequenceNumber must be text, found {found}")]
    NoSequenceNumber {
        /// Zero-based position in `Records`.
        index: usize,
        /// The JSON type that was found.
        found: &'static str,
    },
    /// A record cannot be named in a response, because its sequence number is malformed.
    #[error("record {index}: invalid sequenceNumber")]
    SequenceNumber {
        /// Zero-based position in `Records`.
        index: usize,
        /// Reason why it is illegal.
        source: SequenceNumberError,
    },
}
