use std::borrow::Cow;

use kinesis_esm::stream_arn::is_consumer;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::member::{object, text};
use crate::input::kinesis_record::{Data, InvalidRecord, KinesisRecord};

/// A record in any of the forms in which services and tools write Kinesis records. Its members are not read yet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawRecord<'a> {
    /// The record in a Lambda event.
    #[serde(borrow)]
    kinesis: Option<&'a RawValue>,
    #[serde(borrow, rename = "eventID")]
    event_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "eventSourceARN")]
    event_source_arn: Option<&'a RawValue>,

    #[serde(borrow)]
    sequence_number: Option<&'a RawValue>,
    #[serde(borrow)]
    sub_sequence_number: Option<&'a RawValue>,
    #[serde(borrow)]
    approximate_arrival_timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    partition_key: Option<&'a RawValue>,
    #[serde(borrow)]
    explicit_hash_key: Option<&'a RawValue>,
    #[serde(borrow)]
    shard_id: Option<&'a RawValue>,

    /// The record's origin in an event of Firehose, or of Kinesis Data Analytics.
    #[serde(borrow, alias = "kinesisStreamRecordMetadata")]
    kinesis_record_metadata: Option<&'a RawValue>,

    #[serde(borrow, rename = "SequenceNumber")]
    api_sequence_number: Option<&'a RawValue>,
    #[serde(borrow, rename = "ApproximateArrivalTimestamp")]
    api_approximate_arrival_timestamp: Option<&'a RawValue>,
    #[serde(borrow, rename = "Data")]
    api_data: Option<&'a RawValue>,
    #[serde(borrow, rename = "PartitionKey")]
    api_partition_key: Option<&'a RawValue>,
    #[serde(borrow, rename = "ExplicitHashKey")]
    api_explicit_hash_key: Option<&'a RawValue>,
}

/// The members that records of all forms have.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordMembers<'a> {
    #[serde(borrow)]
    sequence_number: Option<&'a RawValue>,
    #[serde(borrow)]
    approximate_arrival_timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    partition_key: Option<&'a RawValue>,
    #[serde(borrow)]
    explicit_hash_key: Option<&'a RawValue>,
    #[serde(borrow)]
    shard_id: Option<&'a RawValue>,
}

impl<'a> RawRecord<'a> {
    pub(super) fn is_of_event(&self) -> bool {
        self.kinesis.is_some()
    }

    /// Whether the record has members of a Lambda event beside its data, as in EventBridge Pipes.
    pub(super) fn is_of_pipe(&self) -> bool {
        self.event_id.is_some() || self.event_source_arn.is_some()
    }

    /// Returns how many of the members there are that only records of the Kinesis API have.
    pub(super) fn api_members(&self) -> usize {
        count([self.api_sequence_number, self.api_data, self.api_partition_key])
    }

    /// Returns how many of the members there are that flat records have.
    pub(super) fn flat_members(&self) -> usize {
        count([self.sequence_number, self.data, self.partition_key.or(self.kinesis_record_metadata)])
    }

    /// Reads the record of a Lambda event.
    pub(super) fn into_record_of_event(self) -> KinesisRecord<'a> {
        let members = match self.kinesis {
            Some(kinesis) => object(kinesis, "kinesis"),
            None => Err(InvalidRecord::Missing { member: "kinesis" }),
        };
        let (members, invalid) = split(members);
        KinesisRecord {
            shard_id: self.event_shard_id(),
            is_deaggregated: self.is_of_consumer(),
            ..kinesis_record(members, invalid)
        }
    }

    /// Reads a record that the Kinesis API returned or takes.
    pub(super) fn into_record_of_api(self) -> KinesisRecord<'a> {
        let members = RecordMembers {
            sequence_number: self.api_sequence_number,
            approximate_arrival_timestamp: self.api_approximate_arrival_timestamp,
            data: self.api_data,
            partition_key: self.api_partition_key,
            explicit_hash_key: self.api_explicit_hash_key,
            shard_id: None,
        };
        kinesis_record(members, None)
    }

    /// Reads a record whose members stand beside its data, or beside it in an object of metadata.
    pub(super) fn into_flat_record(self) -> KinesisRecord<'a> {
        let (metadata, invalid) = match self.kinesis_record_metadata {
            Some(metadata) => split(object::<RecordMembers<'_>>(metadata, "record metadata")),
            None => (RecordMembers::default(), None),
        };
        let members = RecordMembers {
            sequence_number: self.sequence_number.or(metadata.sequence_number),
            approximate_arrival_timestamp: metadata
                .approximate_arrival_timestamp
                .or(self.approximate_arrival_timestamp),
            data: self.data,
            partition_key: self.partition_key.or(metadata.partition_key),
            explicit_hash_key: self.explicit_hash_key,
            shard_id: self.shard_id.or(metadata.shard_id),
        };
        let sub_sequence_number = self.sub_sequence_number.and_then(|number| number.get().parse().ok());
        let record = kinesis_record(members, invalid);
        KinesisRecord {
            shard_id: record.shard_id.or_else(|| self.event_shard_id()),
            sub_sequence_number,
            // The KCL and Firehose take aggregates apart before they hand records on.
            is_deaggregated: self.is_of_consumer()
                || sub_sequence_number.is_some()
                || self.kinesis_record_metadata.is_some(),
            ..record
        }
    }

    /// Returns the shard of an event ID, which is `shardId-000000000000:sequence number`.
    fn event_shard_id(&self) -> Option<Cow<'a, str>> {
        let event_id = optional(self.event_id)?;
        let length = event_id.find(':')?;
        Some(match event_id {
            Cow::Borrowed(event_id) => Cow::Borrowed(&event_id[..length]),
            Cow::Owned(event_id) => Cow::Owned(event_id[..length].to_owned()),
        })
    }

    fn is_of_consumer(&self) -> bool {
        optional(self.event_source_arn).is_some_and(|arn| is_consumer(&arn))
    }
}

fn count<const N: usize>(members: [Option<&RawValue>; N]) -> usize {
    members.iter().flatten().count()
}

/// Returns the text of a member that a record does not need, as in the handler.
fn optional(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    text(value, "", "").ok().flatten()
}

fn split(members: Result<RecordMembers<'_>, InvalidRecord>) -> (RecordMembers<'_>, Option<InvalidRecord>) {
    match members {
        Ok(members) => (members, None),
        Err(invalid) => (RecordMembers::default(), Some(invalid)),
    }
}

/// `invalid` is what is already known to be wrong with the record.
fn kinesis_record<'a>(members: RecordMembers<'a>, mut invalid: Option<InvalidRecord>) -> KinesisRecord<'a> {
    let mut known = |value, member, expected| match text(value, member, expected) {
        Ok(text) => text,
        Err(error) => {
            invalid.get_or_insert(error);
            None
        }
    };
    let sequence_number = known(members.sequence_number, "sequence number", "text");
    let data = known(members.data, "data", "base64 text");
    let partition_key = known(members.partition_key, "partition key", "text");
    let explicit_hash_key = known(members.explicit_hash_key, "explicit hash key", "text");
    KinesisRecord {
        sequence_number,
        sub_sequence_number: None,
        partition_key,
        explicit_hash_key,
        shard_id: optional(members.shard_id),
        // A number, or text that needs no escapes.
        arrival: members
            .approximate_arrival_timestamp
            .and_then(|arrival| arrival.get().trim_matches('"').parse().ok()),
        is_deaggregated: false,
        data: match (invalid, data) {
            (Some(invalid), _) => Err(invalid),
            (None, Some(text)) => Ok(Data::Base64(text)),
            (None, None) => Err(InvalidRecord::Missing { member: "data" }),
        },
    }
}
