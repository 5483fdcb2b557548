use std::{fmt, sync::Arc};

use bytes::Bytes;
use kinesis_handler::{KinesisRecord, SequenceNumber};

use crate::stream_arn::{StreamArn, stream_of};

/// A record of a stream. Shared: a batch that is split or delivered again holds the same records.
pub type SharedRecord = Arc<StreamRecord>;

/// A Kinesis record of a stream or, on an enhanced fan-out consumer, a user record that Lambda has deaggregated.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// Increasing in its shard. The user records that Lambda has taken out of one aggregate share it.
    pub sequence_number: SequenceNumber,
    /// The partition key.
    pub partition_key: String,
    /// The data, not encoded.
    pub data: Bytes,
    /// When the stream received it, in milliseconds since 1970.
    pub arrival_ms: u64,
    /// `NONE` or `KMS`.
    pub encryption_type: &'static str,
}

/// Shows the lengths of data and key, not what they hold.
impl fmt::Debug for StreamRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamRecord")
            .field("sequence_number", &self.sequence_number)
            .field("partition_key", &format_args!("{} bytes", self.partition_key.len()))
            .field("data", &format_args!("{} bytes", self.data.len()))
            .field("arrival_ms", &self.arrival_ms)
            .field("encryption_type", &self.encryption_type)
            .finish()
    }
}

/// The members that all records of a shard share in events.
#[derive(Debug, Clone)]
pub struct Origin {
    shard_id: String,
    event_source_arn: String,
    role_arn: String,
}

impl Origin {
    /// Returns the origin of a shard of this stream, or of this enhanced fan-out consumer, read by a made-up role of its
    /// account, or by one of the default stream if this is no ARN.
    pub fn new(shard_id: &str, event_source_arn: &str) -> Self {
        let stream = stream_of(event_source_arn).parse::<StreamArn>().unwrap_or_default();
        Origin {
            shard_id: shard_id.to_owned(),
            event_source_arn: event_source_arn.to_owned(),
            role_arn: stream.role_arn(),
        }
    }

    /// Returns the ID of the shard.
    pub fn shard_id(&self) -> &str {
        &self.shard_id
    }

    /// Returns the ARN of the stream, or of the enhanced fan-out consumer.
    pub fn event_source_arn(&self) -> &str {
        &self.event_source_arn
    }
}

impl StreamRecord {
    /// The record as an event holds it.
    pub fn in_event<'a>(&self, origin: &'a Origin) -> KinesisRecord<'a> {
        self.with_data(origin, &self.data)
    }

    fn with_data<'a>(&self, origin: &'a Origin, data: &[u8]) -> KinesisRecord<'a> {
        let mut record = KinesisRecord::new(self.sequence_number, self.partition_key.clone(), data);
        record.approximate_arrival_ms = Some(self.arrival_ms);
        record.encryption_type = Some(self.encryption_type.into());
        record.shard_id = Some(origin.shard_id.as_str().into());
        record.event_source_arn = Some(origin.event_source_arn.as_str().into());
        record.invoke_identity_arn = Some(origin.role_arn.as_str().into());
        record
    }

    /// Length of the record's JSON in an event, in bytes, without the comma in front of it.
    pub fn json_bytes(&self, origin: &Origin) -> usize {
        // Base64 needs no escapes, so the data's part need not be written to be counted.
        let without_data = serde_json::to_vec(&self.with_data(origin, &[])).expect("a record is JSON");
        without_data.len() + self.data.len().div_ceil(3) * 4
    }
}

#[cfg(test)]
mod tests {
    use kinesis_handler::Event;

    use super::*;

    #[test]
    fn the_counted_length_is_that_of_the_event() {
        let origin = Origin {
            shard_id: "shardId-000000000000".to_owned(),
            event_source_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/s".to_owned(),
            role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        };
        for length in 0..7 {
            let record = StreamRecord {
                sequence_number: "12".parse().expect("digits"),
                partition_key: "a \"key\"\n".to_owned(),
                data: vec![7; length].into(),
                arrival_ms: 1_767_225_600_001,
                encryption_type: "NONE",
            };
            let event = Event::new(vec![record.in_event(&origin)]).to_json();
            assert_eq!(r#"{"Records":[]}"#.len() + record.json_bytes(&origin), event.len());
        }
    }
}
