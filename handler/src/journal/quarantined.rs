use std::fmt;

use super::UserRecordId;
use crate::SequenceNumber;

/// A user record that was given up, with all that is needed to look into it and to send it again.
///
/// Its position is its name: the same record, given up twice, is in the quarantine once.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuarantinedRecord {
    /// Sequence number of its Kinesis record.
    pub sequence_number: SequenceNumber,
    /// Name of the user record in the Kinesis record.
    pub id: UserRecordId,
    /// Data or kind of the record.
    pub content: QuarantinedContent,
    /// The payload; of an invalid aggregate, the Kinesis record's whole data; of the rest of an aggregate, an aggregate.
    pub data: Vec<u8>,
    /// The producer's partition key; of an invalid aggregate and of the rest of one, that of the Kinesis record.
    pub partition_key: Vec<u8>,
    /// The producer's explicit hash key, if it gave one.
    pub explicit_hash_key: Option<Vec<u8>>,
    /// When the stream received the Kinesis record, in milliseconds since 1970.
    pub arrival_ms: Option<u64>,
    /// Why it was given up.
    pub reason: QuarantineReason,
    /// Text of the last failure, shortened.
    pub error: String,
    /// Number of failures, as far as is known.
    pub attempts: u32,
    /// When it was given up, in milliseconds since 1970.
    pub quarantined_ms: u64,
    /// The request ID of the invocation that gave it up.
    pub request_id: String,
}

/// Bytes of payload and keys that an item holds. DynamoDB's limit is 400 KB, for names and all other attributes too.
pub(crate) const MAX_ITEM_PAYLOAD_BYTES: usize = 350 * 1024;

/// Size of the other attributes of an item, at most: the error and the request ID are the longest.
const OTHER_BYTES: usize = 4 * 1024;

impl QuarantinedRecord {
    /// Number of bytes of payload and keys.
    pub(crate) fn body_bytes(&self) -> usize {
        self.data.len() + self.partition_key.len() + self.explicit_hash_key.as_ref().map_or(0, Vec::len)
    }

    /// Largest size of the item that is written in a transaction. A larger body is written before it.
    pub(crate) fn item_bytes_bound(&self) -> usize {
        OTHER_BYTES + self.body_bytes().min(MAX_ITEM_PAYLOAD_BYTES)
    }
}

/// The reason why a record was quarantined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuarantinedContent {
    /// A Kinesis record that is one user record; on an enhanced fan-out consumer, any user record.
    Plain,
    /// A user record of an aggregate.
    Aggregated,
    /// A Kinesis record that looks aggregated and has illegal content.
    InvalidAggregate,
    /// An aggregate of the user records of one aggregate that come after those in the quarantine, because these are as
    /// many as the options allow. Some of them may never have been processed. To be delivered as it is.
    RestOfAggregate,
}

impl QuarantinedContent {
    /// All of them.
    #[cfg(feature = "dynamodb")]
    pub(crate) const ALL: [Self; 4] =
        [Self::Plain, Self::Aggregated, Self::InvalidAggregate, Self::RestOfAggregate];
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
    /// An earlier record of its partition key was quarantined in the same batch. It was not processed.
    Held,
}

impl QuarantineReason {
    /// All of them.
    #[cfg(feature = "dynamodb")]
    pub(crate) const ALL: [Self; 4] = [Self::Permanent, Self::MaxAttempts, Self::MaxAge, Self::Held];
}

/// As stored and logged.
impl fmt::Display for QuarantineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QuarantineReason::Permanent => "permanent",
            QuarantineReason::MaxAttempts => "maxAttempts",
            QuarantineReason::MaxAge => "maxAge",
            QuarantineReason::Held => "held",
        })
    }
}

/// Writes the text under which the content is stored.
impl fmt::Display for QuarantinedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QuarantinedContent::Plain => "plain",
            QuarantinedContent::Aggregated => "aggregated",
            QuarantinedContent::InvalidAggregate => "invalidAggregate",
            QuarantinedContent::RestOfAggregate => "restOfAggregate",
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
