//! To and from the types of `aws_lambda_events`, for services that are built on them.

use aws_lambda_events::{encodings::SecondTimestamp, kinesis as aws};
use chrono::DateTime;
use thiserror::Error;

use super::{Event, EventError, KinesisRecord, UnreadableRecord};

/// Why an event has no counterpart in `aws_lambda_events`, which can express less.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConversionError {
    /// A record's data cannot be read.
    #[error("record {index} cannot be read")]
    Unreadable {
        /// Zero-based position in the event.
        index: usize,
        /// Reason why it cannot be read.
        source: UnreadableRecord,
    },
    /// A record has no arrival timestamp, or one beyond the range of dates.
    #[error("record {index} has no usable arrival timestamp")]
    ArrivalTimestamp {
        /// Zero-based position in the event.
        index: usize,
    },
    /// A record has an encryption type other than `NONE` and `KMS`.
    #[error("record {index} has the encryption type {encryption_type:?}")]
    EncryptionType {
        /// Zero-based position in the event.
        index: usize,
        /// The encryption type.
        encryption_type: String,
    },
    /// The event belongs to a tumbling window.
    #[error("the event belongs to a tumbling window")]
    TumblingWindow,
}

impl<'a> TryFrom<&'a aws::KinesisEvent> for Event<'a> {
    type Error = EventError;

    /// # Errors
    ///
    /// [`EventError::SequenceNumber`]: that type also holds records that no response could name.
    fn try_from(event: &'a aws::KinesisEvent) -> Result<Self, EventError> {
        event
            .records
            .iter()
            .enumerate()
            .map(|(index, record)| from_aws(index, record))
            .collect::<Result<_, _>>()
            .map(Event::new)
    }
}

fn from_aws(index: usize, record: &aws::KinesisEventRecord) -> Result<KinesisRecord<'_>, EventError> {
    let sequence_number = record
        .kinesis
        .sequence_number
        .parse()
        .map_err(|source| EventError::SequenceNumber { index, source })?;
    let text = |text: &Option<String>| text.clone().map(Into::into);
    let shard_id =
        record.event_id.as_deref().and_then(|event_id| event_id.split_once(':')).map(|(shard, _)| shard);
    Ok(KinesisRecord {
        approximate_arrival_ms: u64::try_from(
            record.kinesis.approximate_arrival_timestamp.timestamp_millis(),
        )
        .ok(),
        encryption_type: Some(
            match record.kinesis.encryption_type {
                aws::KinesisEncryptionType::Kms => "KMS",
                _ => "NONE",
            }
            .into(),
        ),
        shard_id: shard_id.map(Into::into),
        event_source_arn: text(&record.event_source_arn),
        invoke_identity_arn: text(&record.invoke_identity_arn),
        ..KinesisRecord::new(sequence_number, record.kinesis.partition_key.as_str(), &record.kinesis.data)
    })
}

impl TryFrom<&Event<'_>> for aws::KinesisEvent {
    type Error = ConversionError;

    /// # Errors
    ///
    /// Any [`ConversionError`].
    fn try_from(event: &Event<'_>) -> Result<Self, ConversionError> {
        if event.window.is_some() {
            return Err(ConversionError::TumblingWindow);
        }
        let mut converted = aws::KinesisEvent::default();
        for (index, record) in event.records.iter().enumerate() {
            converted.records.push(to_aws(index, record)?);
        }
        Ok(converted)
    }
}

fn to_aws(index: usize, record: &KinesisRecord<'_>) -> Result<aws::KinesisEventRecord, ConversionError> {
    let arrival = record
        .approximate_arrival_ms
        .and_then(|milliseconds| DateTime::from_timestamp_millis(milliseconds.try_into().ok()?))
        .ok_or(ConversionError::ArrivalTimestamp { index })?;
    let data = record.data.decode().map_err(|source| ConversionError::Unreadable { index, source })?;

    // These types are non-exhaustive: only their fields can be set.
    let mut kinesis = aws::KinesisRecord::default();
    kinesis.approximate_arrival_timestamp = SecondTimestamp(arrival);
    *kinesis.data = data;
    kinesis.encryption_type = match record.encryption_type.as_deref() {
        None | Some("NONE") => aws::KinesisEncryptionType::None,
        Some("KMS") => aws::KinesisEncryptionType::Kms,
        Some(other) => {
            return Err(ConversionError::EncryptionType { index, encryption_type: other.to_owned() });
        }
    };
    kinesis.partition_key = record.partition_key.to_string();
    kinesis.sequence_number = record.sequence_number.to_string();
    kinesis.kinesis_schema_version = Some("1.0".to_owned());

    let mut converted = aws::KinesisEventRecord::default();
    converted.event_id =
        record.shard_id.as_ref().map(|shard_id| format!("{shard_id}:{}", record.sequence_number));
    converted.event_name = Some("aws:kinesis:record".to_owned());
    converted.event_source = Some(super::read::EVENT_SOURCE.to_owned());
    converted.event_version = Some("1.0".to_owned());
    converted.event_source_arn = record.event_source_arn.as_deref().map(str::to_owned);
    converted.aws_region = record.region().map(str::to_owned);
    converted.invoke_identity_arn = record.invoke_identity_arn.as_deref().map(str::to_owned);
    converted.kinesis = kinesis;
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RecordData;

    fn record() -> KinesisRecord<'static> {
        let mut record = KinesisRecord::new("7".parse().expect("digits"), "key", b"data");
        record.approximate_arrival_ms = Some(1_545_084_650_987);
        record.encryption_type = Some("KMS".into());
        record.shard_id = Some("shardId-000000000006".into());
        record.event_source_arn = Some("arn:aws:kinesis:us-east-2:123456789012:stream/s".into());
        record.invoke_identity_arn = Some("arn:aws:iam::123456789012:role/r".into());
        record
    }

    #[test]
    fn converts_there_and_back() {
        let event = Event::new(vec![record()]);
        let converted = aws::KinesisEvent::try_from(&event).expect("expressible");
        let deserialized: aws::KinesisEvent =
            serde_json::from_slice(&event.to_json()).expect("Lambda's layout");
        assert_eq!(converted, deserialized);
        assert_eq!(Event::try_from(&converted).expect("nameable").records, event.records);
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut KinesisRecord<'static>), expected: &str) {
        let mut record = record();
        change(&mut record);
        let error = aws::KinesisEvent::try_from(&Event::new(vec![record])).expect_err("not expressible");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_cannot_be_expressed_is_named() {
        check_refused(|record| record.data = RecordData::Base64(b"!".into()), "record 0 cannot be read");
        check_refused(
            |record| record.approximate_arrival_ms = None,
            "record 0 has no usable arrival timestamp",
        );
        check_refused(
            |record| record.encryption_type = Some("FUTURE".into()),
            "record 0 has the encryption type \"FUTURE\"",
        );

        let mut event = aws::KinesisEvent::default();
        event.records.push(aws::KinesisEventRecord::default());
        let error = Event::try_from(&event).map(drop).expect_err("no sequence number");
        assert_eq!(error.to_string(), "record 0: invalid sequenceNumber");
    }
}
