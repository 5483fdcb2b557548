//! A user record as a processor gets it, its payload and its position.

pub(crate) mod decompressing;
pub(crate) mod idempotency_key;
pub(crate) mod json_mismatch;
pub(crate) mod payload;

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    Clock, ExtendedSequenceNumber, OptionsError, SequenceNumber, SystemClock,
    compression::DecompressionLimits,
    event::KinesisRecord,
    hash_range::filter::BatchRange,
    invocation::Invocation,
    large_payload::LargePayloadOptions,
    record::decompressing::{DecompressedData, DecompressingRecord},
    record::idempotency_key::IdempotencyKey,
};

/// A user record, as a processor gets it: what a producer has put, with where it comes from.
///
/// It borrows from the event and is cheap to copy. To keep one, make it [owned](Record::to_owned_record); to make one
/// in a test, start with [`OwnedRecord::new`]. Its `Debug` does not show the data, so it can be logged.
#[derive(Clone, Copy)]
pub struct Record<'a>(RecordSource<'a>);

/// The place where a record's parts are. A reference to it is all that moves from the batch through the processor's futures:
/// each move of all parts would cost as much as the rest of the work on a small record.
#[derive(Clone, Copy)]
enum RecordSource<'a> {
    Batch(&'a BatchRecord<'a>),
    Owned(&'a OwnedRecord),
    Decompressing(&'a DecompressingRecord<'a>),
}

/// A user record of a batch.
#[derive(Clone, Copy)]
pub(crate) struct BatchRecord<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) partition_key: &'a [u8],
    pub(crate) explicit_hash_key: Option<&'a [u8]>,
    pub(crate) sub_sequence_number: Option<u64>,
    pub(crate) aggregated: bool,
    pub(crate) attempt: Option<u32>,
    pub(crate) kinesis_record: &'a KinesisRecord<'a>,
    pub(crate) invocation: &'a Invocation<'a>,
}

impl<'a> Record<'a> {
    pub(crate) fn of_batch(record: &'a BatchRecord<'a>) -> Self {
        Record(RecordSource::Batch(record))
    }

    pub(crate) fn decompressing(record: &'a DecompressingRecord<'a>) -> Self {
        Record(RecordSource::Decompressing(record))
    }

    #[inline]
    pub(crate) fn parts(&self) -> BatchRecord<'a> {
        match self.0 {
            RecordSource::Batch(record) => *record,
            RecordSource::Owned(record) => record.parts(),
            RecordSource::Decompressing(record) => record.record,
        }
    }

    /// Returns the place for the decompressed data, if payloads are decompressed transparently.
    fn decompressed_data(&self) -> Option<&'a DecompressedData> {
        match self.0 {
            RecordSource::Batch(_) => None,
            RecordSource::Owned(record) => record.decompressed.as_ref(),
            RecordSource::Decompressing(record) => Some(&record.decompressed),
        }
    }

    /// The payload; may be empty.
    #[inline]
    pub fn data(&self) -> &'a [u8] {
        self.parts().data
    }

    /// The producer's partition key: UTF-8 from every known producer, but an aggregate does not guarantee it.
    pub fn partition_key(&self) -> &'a [u8] {
        self.parts().partition_key
    }

    /// The partition key as text, with U+FFFD for what is not UTF-8.
    pub fn partition_key_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.parts().partition_key)
    }

    /// The producer's explicit hash key: decimal text, but an aggregate does not guarantee it.
    ///
    /// `None` if it gave none, and for records that are not aggregated: Lambda does not hand it out.
    pub fn explicit_hash_key(&self) -> Option<&'a [u8]> {
        self.parts().explicit_hash_key
    }

    /// The explicit hash key as text, with U+FFFD for what is not UTF-8.
    pub fn explicit_hash_key_text(&self) -> Option<Cow<'a, str>> {
        self.parts().explicit_hash_key.map(String::from_utf8_lossy)
    }

    /// Returns the position of the record in its shard: unique and increasing, except on an enhanced fan-out consumer.
    pub fn position(&self) -> ExtendedSequenceNumber {
        ExtendedSequenceNumber {
            sequence_number: self.parts().kinesis_record.sequence_number,
            sub_sequence_number: self.parts().sub_sequence_number,
        }
    }

    /// Whether the record was packed into an aggregate. Always false on an enhanced fan-out consumer, where Lambda
    /// unpacks aggregates and does not tell.
    pub fn is_aggregated(&self) -> bool {
        self.parts().aggregated
    }

    /// The shard, such as `shardId-000000000000`. Lambda always tells it; a hand-written event may not.
    pub fn shard_id(&self) -> Option<&'a str> {
        self.parts().kinesis_record.shard_id.as_deref()
    }

    /// ARN of the stream, also on an enhanced fan-out consumer. Lambda always tells it; a hand-written event may not.
    pub fn stream_arn(&self) -> Option<&'a str> {
        self.parts().kinesis_record.stream_arn()
    }

    /// When the stream received the Kinesis record, to the millisecond. Lambda always tells it; a hand-written event
    /// may not.
    pub fn approximate_arrival_timestamp(&self) -> Option<SystemTime> {
        self.parts()
            .kinesis_record
            .approximate_arrival_ms
            .map(|milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds))
    }

    /// Returns the time since the stream received the Kinesis record, to the millisecond; zero if the clocks differ by more. Lambda
    /// always tells the arrival; a hand-written event may not.
    pub fn age(&self) -> Option<Duration> {
        let BatchRecord { kinesis_record, invocation, .. } = self.parts();
        let arrival_ms = kinesis_record.approximate_arrival_ms?;
        Some(Duration::from_millis(invocation.clock.epoch_ms().saturating_sub(arrival_ms)))
    }

    /// `NONE`, `KMS`, or whatever Kinesis adds.
    pub fn encryption_type(&self) -> Option<&'a str> {
        self.parts().kinesis_record.encryption_type.as_deref()
    }

    /// Returns the number of attempts, this one included. `None` without a retry journal: Lambda does not tell.
    pub fn attempt(&self) -> Option<u32> {
        self.parts().attempt
    }

    /// Returns the time that is left until the deadline guard stops the batch and cancels what is still running. `None`
    /// outside of Lambda.
    pub fn remaining_time(&self) -> Option<Duration> {
        self.parts().invocation.remaining_time()
    }

    /// Returns the name of the user record, which is the same at each delivery and that of no other one.
    ///
    /// `None` on an enhanced fan-out consumer, where sub-sequence numbers are not known, in an event that does not tell stream and
    /// shard, and in an event of `kinesis-kit` in mode `reprocess`, which may hold a part of an aggregate, with other sub-sequence numbers.
    pub fn idempotency_key(&self) -> Option<IdempotencyKey<'a>> {
        match self.parts().invocation.is_reprocessing {
            true => None,
            false => IdempotencyKey::new(self.stream_arn(), self.shard_id(), self.position()),
        }
    }

    /// The request ID of the invocation.
    pub fn request_id(&self) -> &'a str {
        &self.parts().invocation.request_id
    }

    /// A copy that borrows nothing.
    pub fn to_owned_record(&self) -> OwnedRecord {
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(|text| Cow::Owned(text.to_owned()));
        let BatchRecord { kinesis_record, invocation, .. } = self.parts();
        OwnedRecord {
            data: self.data().to_vec(),
            partition_key: self.partition_key().to_vec(),
            explicit_hash_key: self.explicit_hash_key().map(<[u8]>::to_vec),
            sub_sequence_number: self.parts().sub_sequence_number,
            aggregated: self.is_aggregated(),
            attempt: self.attempt(),
            kinesis_record: KinesisRecord {
                approximate_arrival_ms: kinesis_record.approximate_arrival_ms,
                encryption_type: owned(&kinesis_record.encryption_type),
                shard_id: owned(&kinesis_record.shard_id),
                event_source_arn: owned(&kinesis_record.event_source_arn),
                // The user record's own data and partition key stand above.
                ..KinesisRecord::new(kinesis_record.sequence_number, "", &[])
            },
            invocation: Invocation {
                request_id: Cow::Owned(invocation.request_id.clone().into_owned()),
                application: Cow::Owned(invocation.application.clone().into_owned()),
                xray_trace_id: owned(&invocation.xray_trace_id),
                stream: None,
                shard_id: None,
                fates: None,
                ..invocation.clone()
            },
            decompressed: self.decompressed_data().map(|_| DecompressedData::default()),
        }
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("position", &format_args!("{}", self.position()))
            .field("shard_id", &self.shard_id())
            // Often personal data.
            .field("partition_key", &format_args!("{} bytes", self.parts().partition_key.len()))
            .field("data", &format_args!("{} bytes", self.parts().data.len()))
            .finish_non_exhaustive()
    }
}

/// A user record that borrows nothing: to keep, to send to another task, or to test a processor with.
///
/// ```
/// use kinesis_handler::{OwnedRecord, ProcessError, Record, RecordProcessor};
///
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     record.text()?;
///     Ok(())
/// }
///
/// # async fn test() {
/// let record = OwnedRecord::new("text").with_partition_key("key");
/// assert!(process.process(record.as_record()).await.is_ok());
/// # }
/// ```
#[derive(Clone)]
pub struct OwnedRecord {
    data: Vec<u8>,
    partition_key: Vec<u8>,
    explicit_hash_key: Option<Vec<u8>>,
    sub_sequence_number: Option<u64>,
    aggregated: bool,
    attempt: Option<u32>,
    kinesis_record: KinesisRecord<'static>,
    invocation: Invocation<'static>,
    /// Decompressed data; absent unless payloads are decompressed transparently.
    decompressed: Option<DecompressedData>,
}

impl OwnedRecord {
    /// A plain record with this payload: partition key `key`, sequence number 0, no more.
    pub fn new(data: impl AsRef<[u8]>) -> Self {
        let sequence_number = "0".parse::<SequenceNumber>().expect("zero is a number");
        OwnedRecord {
            data: data.as_ref().to_vec(),
            partition_key: b"key".to_vec(),
            explicit_hash_key: None,
            sub_sequence_number: Some(0),
            aggregated: false,
            attempt: None,
            kinesis_record: KinesisRecord::new(sequence_number, "", &[]),
            invocation: Invocation {
                request_id: Cow::Borrowed(""),
                application: Cow::Borrowed(""),
                is_reprocessing: false,
                is_replay: false,
                xray_trace_id: None,
                stream: None,
                shard_id: None,
                arrived: SystemClock.instant(),
                stop_at: None,
                deadline: None,
                clock: Arc::new(SystemClock),
                store_by: OnceLock::new(),
                frozen: None,
                fates: None,
                skip_rule: None,
                hash_range: BatchRange::Off,
                decompression: DecompressionLimits::default(),
                large_payloads: None,
            },
            decompressed: None,
        }
    }

    /// The record as a processor takes it.
    pub fn as_record(&self) -> Record<'_> {
        Record(RecordSource::Owned(self))
    }

    pub(crate) fn parts(&self) -> BatchRecord<'_> {
        BatchRecord {
            data: &self.data,
            partition_key: &self.partition_key,
            explicit_hash_key: self.explicit_hash_key.as_deref(),
            sub_sequence_number: self.sub_sequence_number,
            aggregated: self.aggregated,
            attempt: self.attempt,
            kinesis_record: &self.kinesis_record,
            invocation: &self.invocation,
        }
    }

    /// Sets the partition key.
    pub fn with_partition_key(mut self, partition_key: impl AsRef<[u8]>) -> Self {
        self.partition_key = partition_key.as_ref().to_vec();
        self
    }

    /// Sets the explicit hash key.
    pub fn with_explicit_hash_key(mut self, explicit_hash_key: impl AsRef<[u8]>) -> Self {
        self.explicit_hash_key = Some(explicit_hash_key.as_ref().to_vec());
        self
    }

    /// Sets the position.
    pub fn with_position(mut self, position: ExtendedSequenceNumber) -> Self {
        self.kinesis_record.sequence_number = position.sequence_number;
        self.sub_sequence_number = position.sub_sequence_number;
        self
    }

    /// Makes the record part of an aggregated record.
    pub fn in_aggregate(mut self) -> Self {
        self.aggregated = true;
        self
    }

    /// Sets the shard.
    pub fn with_shard_id(mut self, shard_id: impl Into<String>) -> Self {
        self.kinesis_record.shard_id = Some(Cow::Owned(shard_id.into()));
        self
    }

    /// Sets the stream's ARN.
    pub fn with_stream_arn(mut self, stream_arn: impl Into<String>) -> Self {
        self.kinesis_record.event_source_arn = Some(Cow::Owned(stream_arn.into()));
        self
    }

    /// Sets the arrival time. It is cut to milliseconds; before 1970 is none.
    pub fn with_approximate_arrival_timestamp(mut self, arrival: SystemTime) -> Self {
        let since_1970 = arrival.duration_since(UNIX_EPOCH).ok();
        self.kinesis_record.approximate_arrival_ms = since_1970.map(|since| since.as_millis() as u64);
        self
    }

    /// Sets the attempt, counted from one.
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// Sets the time that is left from now on.
    pub fn with_remaining_time(mut self, remaining: Duration) -> Self {
        self.invocation.stop_at = Some(self.invocation.clock.instant() + remaining);
        self
    }

    /// Makes the record as a processor gets it with the option
    /// [`decompress`](crate::OptionsBuilder::decompress): [`json`](Record::json) and its like read what its data decompresses to.
    pub fn decompressing(mut self) -> Self {
        self.decompressed = Some(DecompressedData::default());
        self
    }

    /// Makes the record as a processor gets it with the option [`large_payloads`](crate::OptionsBuilder::large_payloads):
    /// [`fetch`](Record::fetch) reads the payload that its data points to.
    ///
    /// # Errors
    ///
    /// [`OptionsError::Value`] for a prefix or a number of bytes that is none.
    pub fn with_large_payloads(mut self, options: LargePayloadOptions) -> Result<Self, OptionsError> {
        self.invocation.large_payloads = Some(Arc::new(options.build()?));
        Ok(self)
    }

    /// Replaces the payload.
    pub(crate) fn with_data(mut self, data: Vec<u8>) -> Self {
        self.data = data;
        self
    }

    /// Sets the request ID.
    pub fn with_request_id(mut self, request_id: impl Into<String>) -> Self {
        self.invocation.request_id = Cow::Owned(request_id.into());
        self
    }
}

impl fmt::Debug for OwnedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_record().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_for_a_test_has_what_was_set() {
        let position = ExtendedSequenceNumber {
            sequence_number: "12".parse().expect("digits"),
            sub_sequence_number: Some(3),
        };
        let arrival = UNIX_EPOCH + Duration::from_millis(1_545_084_650_987);
        let record = OwnedRecord::new("data")
            .with_partition_key("k")
            .with_explicit_hash_key("5")
            .with_position(position)
            .in_aggregate()
            .with_shard_id("shardId-000000000001")
            .with_stream_arn("arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/c:1")
            .with_approximate_arrival_timestamp(arrival)
            .with_attempt(2)
            .with_remaining_time(Duration::from_secs(3600))
            .with_request_id("r");
        // Through a copy, so that nothing gets lost there either.
        let record = record.as_record().to_owned_record();
        let record = record.as_record();
        assert_eq!(record.data(), b"data");
        assert_eq!((record.partition_key(), record.partition_key_text()), (&b"k"[..], "k".into()));
        assert_eq!(
            (record.explicit_hash_key(), record.explicit_hash_key_text()),
            (Some(&b"5"[..]), Some("5".into()))
        );
        assert_eq!((record.position(), record.is_aggregated()), (position, true));
        assert_eq!(record.shard_id(), Some("shardId-000000000001"));
        assert_eq!(record.stream_arn(), Some("arn:aws:kinesis:us-east-1:123456789012:stream/s"));
        assert_eq!(record.approximate_arrival_timestamp(), Some(arrival));
        assert_eq!((record.attempt(), record.request_id()), (Some(2), "r"));
        assert!(record.remaining_time() > Some(Duration::from_secs(3000)));
    }

    #[test]
    fn debug_shows_neither_payload_nor_partition_key() {
        let text = format!("{:?}", OwnedRecord::new("secret").with_partition_key("customer-1"));
        assert!(text.contains("6 bytes") && !text.contains("secret") && !text.contains("115"), "{text}");
        assert!(text.contains("10 bytes") && !text.contains("customer"), "{text}");
    }
}
