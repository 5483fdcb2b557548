use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::member::{object, text};
use crate::{
    error::Mismatch,
    kinesis_record::{Data, InvalidRecord, KinesisRecord},
};

/// What follows the stream's ARN in the ARN of an enhanced fan-out consumer.
const CONSUMER: &str = "/consumer/";

/// JSON with `Records`.
///
/// At first only the outline is read, then each member of a record on its own: what is wrong with one spoils no other.
#[derive(Debug)]
pub(super) struct Document<'a> {
    records: Vec<Result<RawRecord<'a>, InvalidRecord>>,
    /// Whether there is a member that only the answer of `GetRecords` has.
    is_get_records_output: bool,
}

/// What kind of records a document has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DocumentKind {
    /// Those of a Lambda event.
    Event,
    /// Those of the Kinesis API.
    Records,
}

impl<'a> Document<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, Mismatch> {
        // The derived reader would take an array for an object with its members in order.
        if !json.trim_ascii_start().starts_with(b"{") {
            let syntax = serde_json::from_slice::<IgnoredAny>(json);
            return Err(syntax.map_or_else(Mismatch::Json, |_| Mismatch::NoRecords));
        }
        let raw: RawDocument<'a> = serde_json::from_slice(json).map_err(|error| {
            // The text of a data error would quote what there is instead of an array, which may be long.
            if error.is_data() { Mismatch::NoRecords } else { Mismatch::Json(error) }
        })?;
        let records = raw.records.ok_or(Mismatch::NoRecords)?;
        Ok(Document {
            records: records.into_iter().map(|record| object(record, "record")).collect(),
            is_get_records_output: raw.next_shard_iterator.is_some() || raw.millis_behind_latest.is_some(),
        })
    }

    /// Whether at least one of the records is of this kind; one bad record does not change what a document is.
    /// Without records, any kind will do.
    pub(super) fn has(&self, kind: DocumentKind) -> bool {
        self.records.is_empty()
            || self.records.iter().flatten().any(|record| match kind {
                DocumentKind::Event => record.kinesis.is_some(),
                DocumentKind::Records => {
                    record.sequence_number.or(record.data).or(record.partition_key).is_some()
                }
            })
    }

    /// The kind of the records.
    pub(super) fn kind(&self) -> Result<DocumentKind, Mismatch> {
        if self.has(DocumentKind::Event) && !self.is_get_records_output {
            Ok(DocumentKind::Event)
        } else if self.has(DocumentKind::Records) {
            Ok(DocumentKind::Records)
        } else {
            Err(Mismatch::UnknownRecords)
        }
    }

    pub(super) fn into_kinesis_records(self, kind: DocumentKind) -> Vec<KinesisRecord<'a>> {
        let kinesis_record = |record| match (record, kind) {
            (Ok(record), DocumentKind::Event) => of_event(record),
            (Ok(record), DocumentKind::Records) => of_api(record),
            (Err(invalid), _) => of_members(RawMembers::default(), Some(invalid)),
        };
        self.records.into_iter().map(kinesis_record).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawDocument<'a> {
    #[serde(borrow)]
    records: Option<Vec<&'a RawValue>>,
    next_shard_iterator: Option<IgnoredAny>,
    millis_behind_latest: Option<IgnoredAny>,
}

/// A record of either kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawRecord<'a> {
    #[serde(borrow, rename = "kinesis")]
    kinesis: Option<&'a RawValue>,
    #[serde(borrow, rename = "eventID")]
    event_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "eventSourceARN")]
    event_source_arn: Option<&'a RawValue>,

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
}

/// What records of both kinds have: of an event, the member `kinesis`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMembers<'a> {
    #[serde(borrow)]
    sequence_number: Option<&'a RawValue>,
    #[serde(borrow)]
    approximate_arrival_timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    partition_key: Option<&'a RawValue>,
    #[serde(skip)]
    explicit_hash_key: Option<&'a RawValue>,
}

fn of_event(record: RawRecord<'_>) -> KinesisRecord<'_> {
    let members = match record.kinesis {
        Some(kinesis) => object(kinesis, "kinesis"),
        None => Err(InvalidRecord::Missing { member: "kinesis" }),
    };
    let (members, invalid) = match members {
        Ok(members) => (members, None),
        Err(invalid) => (RawMembers::default(), Some(invalid)),
    };
    // As for the handler, a record is good without these.
    let optional = |value| text(value, "", "").ok().flatten();
    KinesisRecord {
        shard_id: optional(record.event_id).and_then(shard_id),
        is_enhanced_fan_out: optional(record.event_source_arn).is_some_and(|arn| arn.contains(CONSUMER)),
        ..of_members(members, invalid)
    }
}

fn of_api(record: RawRecord<'_>) -> KinesisRecord<'_> {
    let members = RawMembers {
        sequence_number: record.sequence_number,
        approximate_arrival_timestamp: record.approximate_arrival_timestamp,
        data: record.data,
        partition_key: record.partition_key,
        explicit_hash_key: record.explicit_hash_key,
    };
    of_members(members, None)
}

/// `invalid` is what is already known to be wrong with the record.
fn of_members<'a>(members: RawMembers<'a>, mut invalid: Option<InvalidRecord>) -> KinesisRecord<'a> {
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
        partition_key,
        explicit_hash_key,
        shard_id: None,
        // A number, or text that needs no escapes.
        arrival: members
            .approximate_arrival_timestamp
            .and_then(|arrival| arrival.get().trim_matches('"').parse().ok()),
        is_enhanced_fan_out: false,
        data: match (invalid, data) {
            (Some(invalid), _) => Err(invalid),
            (None, Some(text)) => Ok(Data::Base64(text)),
            (None, None) => Err(InvalidRecord::Missing { member: "data" }),
        },
    }
}

/// An event ID is `shardId-000000000000:sequence number`.
fn shard_id(event_id: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let length = event_id.find(':')?;
    Some(match event_id {
        Cow::Borrowed(event_id) => Cow::Borrowed(&event_id[..length]),
        Cow::Owned(event_id) => Cow::Owned(event_id[..length].to_owned()),
    })
}
