use std::borrow::Cow;

use base64::prelude::*;
use kinesis_handler::{Event, KinesisRecord, SequenceNumber, journal::ContentHash};
use kpl_deaggregation::{UserRecord, encode};
use serde::{Deserialize, Serialize};

/// A user record that was passed over, as a line of the file has it: the members that `inspect` writes, its stream and its
/// error.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SkippedRecord<'a> {
    pub(crate) stream_arn: Cow<'a, str>,
    pub(crate) shard_id: Cow<'a, str>,
    pub(crate) sequence_number: SequenceNumber,
    /// Number of the user record in its aggregated record, counted from zero.
    pub(crate) sub_sequence_number: Option<u64>,
    pub(crate) aggregated: bool,
    pub(crate) partition_key: Cow<'a, str>,
    pub(crate) explicit_hash_key: Option<Cow<'a, str>>,
    /// Payload in base64.
    pub(crate) data: String,
    /// Seconds since 1970.
    pub(crate) approximate_arrival_timestamp: Option<f64>,
    pub(crate) error: Cow<'a, str>,
}

impl SkippedRecord<'_> {
    /// Sets the payload.
    pub(super) fn with_data(self, data: &[u8]) -> Self {
        SkippedRecord { data: BASE64_STANDARD.encode(data), ..self }
    }

    /// Sets all that a user record of an aggregated record has. `first_sub` is added to its number.
    pub(super) fn with_user_record(self, user_record: &UserRecord<'_>, first_sub: u64) -> Self {
        let text = |key: &[u8]| Cow::Owned(String::from_utf8_lossy(key).into_owned());
        SkippedRecord {
            sub_sequence_number: Some(first_sub + user_record.sub_sequence_number),
            aggregated: true,
            partition_key: text(user_record.partition_key),
            explicit_hash_key: user_record.explicit_hash_key.map(text),
            ..self.with_data(user_record.data)
        }
    }

    /// Returns the hash by which a file knows that it has the record, whatever its error was.
    pub(super) fn identity(&self) -> ContentHash {
        let SkippedRecord { stream_arn, shard_id, sequence_number, sub_sequence_number, .. } = self;
        let SkippedRecord { partition_key, explicit_hash_key, .. } = self;
        // User records that Lambda has deaggregated share their position.
        let keys = format!(
            "{stream_arn} {shard_id} {sequence_number} {sub_sequence_number:?} {partition_key:?} {explicit_hash_key:?}"
        );
        ContentHash::new(keys.as_bytes(), self.data.as_bytes())
    }

    /// Returns the JSON of an event with this record alone. A user record of an aggregate is in an aggregate of its own, so
    /// that it keeps its keys. Returns `None` if the data is not base64.
    pub(crate) fn event_json(&self) -> Option<Vec<u8>> {
        let mut data = BASE64_STANDARD.decode(&self.data).ok()?;
        if self.aggregated {
            let mut user_record = UserRecord::new(self.partition_key.as_bytes(), &data);
            user_record.explicit_hash_key = self.explicit_hash_key.as_deref().map(str::as_bytes);
            data = encode([user_record])?;
        }
        let mut record = KinesisRecord::new(self.sequence_number, &*self.partition_key, &data);
        let arrival = self.approximate_arrival_timestamp.filter(|seconds| *seconds >= 0.0);
        record.approximate_arrival_ms = arrival.map(|seconds| (seconds * 1000.0).round() as u64);
        record.shard_id = Some(self.shard_id.as_ref().into());
        record.event_source_arn = Some(self.stream_arn.as_ref().into());
        Some(Event::new(vec![record]).to_json())
    }
}
