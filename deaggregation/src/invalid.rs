use std::fmt;

use thiserror::Error;

/// Why a frame with the right magic number and MD5 digest cannot be used: none of its user records is delivered.
///
/// `offset` is a zero-based byte position in the Kinesis record's data, the magic number included; `user_record` is a
/// zero-based position in the frame, the sub-sequence number it would have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidAggregate {
    /// The data is longer than the 4 GiB that offsets can address.
    #[error("a frame of {length} bytes is longer than {} bytes", u32::MAX)]
    TooLong {
        /// Length of the data in bytes.
        length: usize,
    },
    /// The message ends inside a varint.
    #[error("byte {offset}: varint is cut off")]
    TruncatedVarint {
        /// Start of the varint.
        offset: usize,
    },
    /// A varint has more than ten bytes.
    #[error("byte {offset}: varint is longer than 10 bytes")]
    OverlongVarint {
        /// Start of the varint.
        offset: usize,
    },
    /// A field's tag does not fit into 32 bits.
    #[error("byte {offset}: field tag {tag} exceeds 32 bits")]
    TagOutOfRange {
        /// Start of the tag.
        offset: usize,
        /// The tag's value.
        tag: u64,
    },
    /// A field has the number zero.
    #[error("byte {offset}: field number 0 is illegal")]
    FieldNumberZero {
        /// Start of the tag.
        offset: usize,
    },
    /// A field has wire type 6 or 7, which protobuf does not define.
    #[error("byte {offset}: wire type {wire_type} is not defined")]
    UndefinedWireType {
        /// Start of the tag.
        offset: usize,
        /// The wire type.
        wire_type: u8,
    },
    /// A value is longer than what is left of the message that holds it.
    #[error("byte {offset}: length {length} runs past the end of the message (remaining: {remaining})")]
    TruncatedValue {
        /// Start of the value.
        offset: usize,
        /// Length that the value should have, in bytes.
        length: u64,
        /// Length of the rest of the message, in bytes.
        remaining: usize,
    },
    /// A group ends that was not begun, or another than the innermost one.
    #[error("byte {offset}: end of group {field_number} without its start")]
    UnmatchedEndGroup {
        /// Start of the tag.
        offset: usize,
        /// Number of the group's field.
        field_number: u32,
    },
    /// Groups are nested deeper than 100 levels.
    #[error("byte {offset}: groups are nested deeper than {limit} levels")]
    GroupsTooDeep {
        /// Start of the tag of the group that is one too many.
        offset: usize,
        /// Nesting that is allowed.
        limit: usize,
    },
    /// A user record has no partition key index.
    #[error("user record {user_record}: partition_key_index is missing")]
    MissingPartitionKeyIndex {
        /// Position in the frame.
        user_record: u64,
    },
    /// A user record has no data. Absent is not the same as empty.
    #[error("user record {user_record}: data is missing")]
    MissingData {
        /// Position in the frame.
        user_record: u64,
    },
    /// The keys of all user records together have more bytes than the deaggregator allows, because many refer to a long one.
    #[error("keys of the user records have more than {limit} bytes in all")]
    TooManyKeyBytes {
        /// Sum that is allowed.
        limit: u64,
    },
    /// A user record refers to a key that the frame does not have.
    #[error("user record {user_record}: {table}_index {index} is out of range (keys in the table: {length})")]
    IndexOutOfRange {
        /// Position in the frame.
        user_record: u64,
        /// Key table that is meant.
        table: Table,
        /// The index, zero-based.
        index: u64,
        /// Number of keys in the table.
        length: usize,
    },
}

/// One of the two key tables of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// The table of partition keys: `partition_key_table`.
    PartitionKey,
    /// The table of explicit hash keys: `explicit_hash_key_table`.
    ExplicitHashKey,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Table::PartitionKey => "partition_key",
            Table::ExplicitHashKey => "explicit_hash_key",
        })
    }
}
