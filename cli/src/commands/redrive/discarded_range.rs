use kinesis_esm::{
    FailureRecord, FailureRecordError, StreamArn, StreamArnError,
    stream_arn::{is_consumer, stream_of},
};
use kinesis_handler::{Event, EventError, KinesisRecord, SequenceNumber, journal::ContentHash};
use thiserror::Error;

use crate::{aws::AwsError, delivery::skipped::SkippedRecord};

/// Records of a shard that Lambda discarded: the part of a failure record that is needed to redeliver them.
#[derive(Debug)]
pub(crate) struct DiscardedRange {
    pub(crate) owner: Owner,
    /// The ARN of the stream, or of the enhanced fan-out consumer, that the mapping read.
    pub(crate) event_source_arn: String,
    pub(crate) stream: StreamArn,
    pub(crate) shard_id: String,
    pub(crate) first: SequenceNumber,
    pub(crate) last: SequenceNumber,
    /// Number of discarded records, if it is known. On an enhanced fan-out consumer these are user records.
    pub(crate) batch_size: Option<u64>,
    /// The event, which Lambda writes to S3 only.
    pub(crate) payload: Option<Vec<u8>>,
}

/// The reader whose records were discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The ARN of a function, with the version or alias that the mapping invokes. Empty if it is not known.
    Function(String),
    /// A shard of an application, as the journal names it.
    Journal(String),
    /// A user record that an earlier run passed over, by its number in its aggregated record.
    Skipped { sub_sequence_number: Option<u64> },
}

/// Why a source has no range of discarded records in a place.
#[derive(Debug, Error)]
pub(crate) enum FoundError {
    #[error(transparent)]
    Document(#[from] FailureRecordError),
    #[error("streamArn cannot be read")]
    StreamArn(#[source] StreamArnError),
    #[error("failure records are nested more than {depth} levels deep")]
    Depth { depth: usize },
    #[error("expected one failure record, found {found}: save it to a file and use --file")]
    NotOne { found: usize },
    #[error("larger than the {max_bytes} bytes of the largest failure record")]
    Size { max_bytes: usize },
    #[error("an item of the journal that cannot be read: {reason}")]
    Item { reason: String },
    #[error("a skipped record whose data is not base64")]
    SkippedData,
    #[error("its source cannot return it")]
    Source(#[source] AwsError),
}

impl TryFrom<FailureRecord> for DiscardedRange {
    type Error = FoundError;

    fn try_from(record: FailureRecord) -> Result<Self, FoundError> {
        let batch = record.kinesis_batch_info;
        Ok(DiscardedRange {
            owner: Owner::Function(record.request_context.function_arn),
            stream: batch.stream().map_err(FoundError::StreamArn)?,
            event_source_arn: batch.stream_arn,
            shard_id: batch.shard_id,
            first: batch.start_sequence_number,
            last: batch.end_sequence_number,
            batch_size: batch.batch_size,
            payload: record.payload.map(String::into_bytes),
        })
    }
}

impl TryFrom<SkippedRecord<'_>> for DiscardedRange {
    type Error = FoundError;

    fn try_from(record: SkippedRecord<'_>) -> Result<Self, FoundError> {
        let payload = record.event_json().ok_or(FoundError::SkippedData)?;
        Ok(DiscardedRange {
            owner: Owner::Skipped { sub_sequence_number: record.sub_sequence_number },
            stream: record.stream_arn.parse().map_err(FoundError::StreamArn)?,
            event_source_arn: record.stream_arn.into_owned(),
            shard_id: record.shard_id.into_owned(),
            first: record.sequence_number,
            last: record.sequence_number,
            batch_size: Some(1),
            payload: Some(payload),
        })
    }
}

/// Why a payload cannot take the place of the records in the stream.
#[derive(Debug, Error)]
pub(crate) enum PayloadError {
    #[error("its payload cannot be read")]
    Event(#[source] EventError),
    /// Lambda writes the event that it discarded, so it is forged or damaged.
    #[error("its payload does not belong to it: {difference}")]
    Foreign { difference: String },
}

impl DiscardedRange {
    /// Returns the records of the payload, as Lambda sent them; `None` without a payload.
    pub(crate) fn payload_records(&self) -> Result<Option<Vec<KinesisRecord<'static>>>, PayloadError> {
        let Some(payload) = &self.payload else { return Ok(None) };
        let event = Event::parse(payload).map_err(PayloadError::Event)?;
        let records: Vec<_> = event.records.into_iter().map(KinesisRecord::into_owned).collect();
        for (index, record) in records.iter().enumerate() {
            let number = record.sequence_number;
            let difference = if record.shard_id.as_deref().is_some_and(|of| of != self.shard_id) {
                "is of another shard"
            } else if record
                .event_source_arn
                .as_deref()
                .is_some_and(|arn| stream_of(arn) != self.stream.as_str())
            {
                "is of another stream"
            } else if number < self.first || number > self.last {
                "is outside of the range"
            } else if index > 0 && number < records[index - 1].sequence_number {
                "is out of order"
            } else {
                continue;
            };
            return Err(PayloadError::Foreign { difference: format!("record {index} {difference}") });
        }
        Ok(Some(records))
    }

    /// Whether these records of the payload are all that were discarded.
    pub(crate) fn is_complete(&self, payload: &[KinesisRecord<'_>]) -> bool {
        let ends = payload.first().zip(payload.last());
        self.batch_size == Some(payload.len() as u64)
            && ends.is_some_and(|(first, last)| {
                (first.sequence_number, last.sequence_number) == (self.first, self.last)
            })
    }

    /// Whether an enhanced fan-out consumer discarded the records: it counts user records, not Kinesis records.
    pub(crate) fn is_fan_out(&self) -> bool {
        is_consumer(&self.event_source_arn)
    }

    /// Returns the text that identifies the discarded records in the progress file.
    ///
    /// The user records of an aggregate share a sequence number, so failure records of an enhanced fan-out consumer may
    /// have the same range and different payloads, or even equal ones. `name` tells those apart: that of the object or
    /// message. Without a payload the whole range is delivered, so one of several is enough.
    pub(crate) fn key(&self, name: Option<&str>) -> String {
        let DiscardedRange { owner, stream, shard_id, first, last, payload, .. } = self;
        let owner = match owner {
            Owner::Function(owner) | Owner::Journal(owner) => owner.clone(),
            Owner::Skipped { sub_sequence_number } => format!("skipped {sub_sequence_number:?}"),
        };
        let mut range = format!("{owner} {} {shard_id} {first}-{last}", stream.as_str());
        if let Some(name) = name.filter(|_| payload.is_some()) {
            range = format!("{range} {name}");
        }
        // Short, because a run may have a hundred thousand of them.
        ContentHash::new(range.as_bytes(), payload.as_deref().unwrap_or_default()).to_string()
    }

    /// Returns what failure records are sorted by: stream, shard, then the order in the shard.
    pub(crate) fn order(&self) -> (&str, &str, SequenceNumber, SequenceNumber) {
        (self.stream.as_str(), &self.shard_id, self.first, self.last)
    }
}
