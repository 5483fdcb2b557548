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
    /// The payload is JSON of another shape.
    #[error(
        "not a Kinesis event: expected an object with an array \"Records\" of objects with an object \"kinesis\" \
         (line {line}, column {column})"
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
    /// The member `kinesisKit` asks for something that this version does not know.
    #[error("the event's \"kinesisKit.mode\" is {found}, and known are \"replay\" and \"redrive\"")]
    Mode {
        /// What stands there, shortened.
        found: String,
    },
    /// A record comes from another service, or has no member `kinesis`.
    #[error(
        "not a Kinesis event: record {index} has no \"kinesis\" member or another \"eventSource\" than \
         \"aws:kinesis\" ({event_source:?})"
    )]
    ForeignRecord {
        /// Zero-based position in `Records`.
        index: usize,
        /// The record's `eventSource`, shortened; empty if it has none.
        event_source: String,
    },
    /// A record cannot be named in a response, because its sequence number is absent or not text.
    #[error("record {index} cannot be named: sequence number is {found}")]
    NoSequenceNumber {
        /// Zero-based position in `Records`.
        index: usize,
        /// The JSON type that was found.
        found: &'static str,
    },
    /// A record cannot be named in a response, because its sequence number is malformed.
    #[error("record {index} cannot be named")]
    SequenceNumber {
        /// Zero-based position in `Records`.
        index: usize,
        /// What is wrong with it.
        source: SequenceNumberError,
    },
}
