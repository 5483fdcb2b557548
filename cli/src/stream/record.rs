//! From the API's types to ours.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::{
    primitives::DateTime,
    types::{EncryptionType, Record},
};
use bytes::Bytes;
use kinesis_esm::StreamRecord;
use kpl_deaggregation::HashKeyRange;

use super::Shard;
use crate::aws::AwsError;

/// # Errors
///
/// [`AwsError::Answer`] if its sequence number is none.
pub(super) fn stream_record(record: Record) -> Result<StreamRecord, AwsError> {
    let sequence_number = record.sequence_number.parse().map_err(|error| AwsError::Answer {
        operation: "GetRecords",
        what: format!("sequence number {:?}: {error}", record.sequence_number),
    })?;
    Ok(StreamRecord {
        sequence_number,
        // Streams that a service manages have none.
        partition_key: record.partition_key.unwrap_or_default(),
        data: Bytes::from(record.data.into_inner()),
        // A record without it must not look as if it was too old.
        arrival_ms: record.approximate_arrival_timestamp.map_or_else(now_ms, |time| epoch_ms(&time)),
        encryption_type: match record.encryption_type {
            Some(EncryptionType::Kms) => "KMS",
            _ => "NONE",
        },
    })
}

/// Rounded: the time comes as a float, which as nanoseconds is now and then one too low.
fn epoch_ms(time: &DateTime) -> u64 {
    u64::try_from((time.as_nanos() + 500_000) / 1_000_000).unwrap_or(0)
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// # Errors
///
/// [`AwsError::Answer`] if its hash keys are no range.
pub(super) fn shard(shard: aws_sdk_kinesis::types::Shard) -> Result<Shard, AwsError> {
    let hash_key_range =
        match shard.hash_key_range {
            None => HashKeyRange::FULL,
            Some(range) => HashKeyRange::from_decimal(&range.starting_hash_key, &range.ending_hash_key)
                .map_err(|error| AwsError::Answer {
                    operation: "ListShards",
                    what: format!("hash keys of {}: {error}", shard.shard_id),
                })?,
        };
    let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
    Ok(Shard {
        id: shard.shard_id,
        parents: parents.into_iter().flatten().collect(),
        hash_key_range,
        is_open: shard.sequence_number_range.is_none_or(|range| range.ending_sequence_number.is_none()),
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::primitives::Blob;

    use super::*;

    #[test]
    fn a_record_keeps_all_that_lambda_hands_on() {
        let sequence_number = "49590338271490256608559692538361571095921575989136588898";
        let record = Record::builder()
            .sequence_number(sequence_number)
            .partition_key("k")
            .data(Blob::new("hello"))
            .approximate_arrival_timestamp(DateTime::from_secs_and_nanos(1_767_225_600, 746_999_979))
            .encryption_type(EncryptionType::Kms);
        let record = stream_record(record.build().expect("a record")).expect("a sequence number");
        assert_eq!(record.sequence_number.to_string(), sequence_number);
        assert_eq!((record.partition_key.as_str(), &record.data[..]), ("k", &b"hello"[..]));
        assert_eq!((record.arrival_ms, record.encryption_type), (1_767_225_600_747, "KMS"));
    }

    #[test]
    fn a_wrong_sequence_number_is_refused() {
        let record = Record::builder().sequence_number("-1").partition_key("k").data(Blob::new("")).build();
        let error = stream_record(record.expect("a record")).expect_err("no number");
        let text = error.to_string();
        assert!(text.starts_with("unexpected response to GetRecords: sequence number"), "{text}");
    }
}
