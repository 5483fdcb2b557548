use std::fmt;

use base64::prelude::*;
use bytes::Bytes;
use kinesis_esm::StreamRecord;
use kinesis_handler::{SequenceNumber, event::Base64Fault};
use kpl_deaggregation::{
    Aggregator, AggregatorOptions, Grouping, HashKeyRange, MAX_SIZE_LIMIT_BYTES, UserRecordInput,
};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use super::{SCENARIO_START_MS, ScenarioError, check};

/// A record of a scenario, or a user record of one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawRecord {
    #[serde(deserialize_with = "id", default)]
    pub(super) id: String,
    pub(super) shard_id: Option<String>,
    #[serde(default)]
    pub(super) at_ms: u64,
    partition_key: Option<String>,
    explicit_hash_key: Option<String>,
    text: Option<String>,
    data: Option<String>,
    size_bytes: Option<usize>,
    user_records: Option<Vec<RawRecord>>,
}

/// Text, or a number for one.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(IdVisitor)
}

/// Not an untagged enum: that would keep each ID in a form of its own first.
struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an ID: text, or a number from zero")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

const PARTITION_KEY: &str = "k";

/// A buffer that stands for data of a given size: all of it is a part of the same buffer.
#[derive(Default)]
pub(super) struct Payloads {
    longest: Bytes,
}

impl Payloads {
    fn of_size(&mut self, bytes: usize) -> Bytes {
        if self.longest.len() < bytes {
            self.longest = vec![b'x'; bytes].into();
        }
        self.longest.slice(..bytes)
    }
}

impl RawRecord {
    pub(super) fn into_stream_record(
        self,
        id: &str,
        sequence_number: SequenceNumber,
        payloads: &mut Payloads,
    ) -> Result<StreamRecord, ScenarioError> {
        if id.is_empty() {
            return Err(ScenarioError::NoId);
        }
        check::time(format_args!("record {id:?}: atMs"), self.at_ms)?;
        let arrival_ms = SCENARIO_START_MS + self.at_ms;
        let (data, aggregate_key) = match &self.user_records {
            Some(_) => self.aggregate(id, payloads)?,
            None => (self.payload(id, payloads)?, None),
        };
        let partition_key = self.partition_key.or(aggregate_key).unwrap_or_else(|| PARTITION_KEY.to_owned());
        Ok(StreamRecord { sequence_number, partition_key, data, arrival_ms, encryption_type: "NONE" })
    }

    fn payload(&self, id: &str, payloads: &mut Payloads) -> Result<Bytes, ScenarioError> {
        let id = || id.to_owned();
        match (&self.text, &self.data, self.size_bytes, &self.user_records) {
            (Some(text), None, None, None) => Ok(text.clone().into()),
            (None, Some(data), None, None) => match BASE64_STANDARD.decode(data) {
                Ok(data) => Ok(data.into()),
                Err(error) => Err(ScenarioError::Base64 { id: id(), source: Base64Fault::from(error) }),
            },
            (None, None, Some(bytes), None) if bytes <= MAX_SIZE_LIMIT_BYTES => Ok(payloads.of_size(bytes)),
            (None, None, Some(bytes), None) => Err(ScenarioError::TooLarge { id: id(), bytes }),
            _ => Err(ScenarioError::Payload { id: id() }),
        }
    }

    /// The user records in one Kinesis record, and its partition key.
    fn aggregate(&self, id: &str, payloads: &mut Payloads) -> Result<(Bytes, Option<String>), ScenarioError> {
        let user_records = match (&self.user_records, &self.text, &self.data, self.size_bytes) {
            (Some(user_records), None, None, None) if !user_records.is_empty() => user_records,
            _ => return Err(ScenarioError::Payload { id: id.to_owned() }),
        };
        let options = AggregatorOptions {
            size_limit_bytes: MAX_SIZE_LIMIT_BYTES,
            grouping: Grouping::ShardRanges(vec![HashKeyRange::FULL]),
        };
        let mut aggregator = Aggregator::new(options).expect("the largest limit is legal");
        let mut inputs = 0;
        for (index, user_record) in user_records.iter().enumerate() {
            let name = format!("{id}, user record {index}");
            let differs = user_record.shard_id.is_some() && user_record.shard_id != self.shard_id
                || user_record.at_ms != 0 && user_record.at_ms != self.at_ms;
            if differs {
                return Err(ScenarioError::UserRecordElsewhere { id: name });
            }
            let data = user_record.payload(&name, payloads)?;
            let own_key = user_record.partition_key.as_deref().or(self.partition_key.as_deref());
            let input = UserRecordInput {
                explicit_hash_key: user_record.explicit_hash_key.as_deref(),
                ..UserRecordInput::new(own_key.unwrap_or(PARTITION_KEY), &data)
            };
            let full =
                aggregator.add(input).map_err(|source| ScenarioError::Aggregate { id: name, source })?;
            inputs += usize::from(full.is_some());
        }
        let mut kinesis_records = aggregator.finish();
        match kinesis_records.pop() {
            Some(record) if inputs == 0 => Ok((record.data.into(), Some(record.partition_key))),
            _ => Err(ScenarioError::TooLarge { id: id.to_owned(), bytes: MAX_SIZE_LIMIT_BYTES + 1 }),
        }
    }
}
