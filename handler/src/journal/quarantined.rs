use std::fmt;

use super::UserRecordId;
use crate::SequenceNumber;

/// A user record that was given up, with all that is needed to look into it and to send it again.
///
/// Its position is its name: the same record, given up twice, is in the quarantine once.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuarantinedRecord {
    /// Of its Kinesis record.
    pub sequence_number: SequenceNumber,
    /// Which user record of the Kinesis record.
    pub id: UserRecordId,
    /// What it is.
    pub content: QuarantinedContent,
    /// The payload; of an invalid aggregate, the Kinesis record's whole data.
    pub data: Vec<u8>,
    /// The producer's partition key; of an invalid aggregate, that of the Kinesis record.
    pub partition_key: Vec<u8>,
    /// The producer's explicit hash key, if it gave one.
    pub explicit_hash_key: Option<Vec<u8>>,
    /// When the stream received the Kinesis record, in milliseconds since 1970.
    pub arrival_ms: Option<u64>,
    /// Why it was given up.
    pub reason: QuarantineReason,
    /// What the last failure was, shortened.
    pub error: String,
    /// How often it has failed, as far as is known.
    pub attempts: u32,
    /// When it was given up, in milliseconds since 1970.
    pub quarantined_ms: u64,
    /// The request ID of the invocation that gave it up.
    pub request_id: String,
}

/// What was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuarantinedContent {
    /// A Kinesis record that is one user record; on an enhanced fan-out consumer, any user record.
    Plain,
    /// A user record of an aggregate.
    Aggregated,
    /// A Kinesis record that looks aggregated and has illegal content.
    InvalidAggregate,
}

/// Why a user record was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuarantineReason {
    /// Its error is permanent.
    Permanent,
    /// It has failed as often as the options allow.
    MaxAttempts,
    /// It has failed, and is older than the options allow.
    MaxAge,
}

/// As stored and logged.
impl fmt::Display for QuarantineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QuarantineReason::Permanent => "permanent",
            QuarantineReason::MaxAttempts => "maxAttempts",
            QuarantineReason::MaxAge => "maxAge",
        })
    }
}

/// As stored.
impl fmt::Display for QuarantinedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QuarantinedContent::Plain => "plain",
            QuarantinedContent::Aggregated => "aggregated",
            QuarantinedContent::InvalidAggregate => "invalidAggregate",
        })
    }
}

/// Shows the payload's length, not the payload.
impl fmt::Debug for QuarantinedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuarantinedRecord")
            .field("sequence_number", &self.sequence_number)
            .field("id", &self.id)
            .field("content", &self.content)
            .field("data", &format_args!("{} bytes", self.data.len()))
            .field("reason", &self.reason)
            .field("error", &self.error)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
