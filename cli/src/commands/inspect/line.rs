use kpl_deaggregation::{Content, UserRecord};

use super::shown_key::{Keys, ShownKey};
use crate::{
    error,
    input::kinesis_record::{InvalidRecord, KinesisRecord},
};

/// The cells of one user record besides its Kinesis record's, or of a Kinesis record that cannot be deaggregated.
///
/// Cells without a value in the input are `None`. For an invalid record these are all cells of a user record, the data
/// included, because no part of it may pass for a user record.
#[derive(Debug)]
pub(super) struct InspectLine<'a> {
    pub(super) sub_sequence_number: Option<u64>,
    pub(super) aggregated: Option<bool>,
    pub(super) partition_key: Option<ShownKey<'a>>,
    pub(super) explicit_hash_key: Option<ShownKey<'a>>,
    pub(super) data: Option<&'a [u8]>,
    /// Why there is no user record.
    pub(super) invalid: Option<String>,
}

impl<'a> InspectLine<'a> {
    pub(super) fn of_user_record(
        kinesis_record: &'a KinesisRecord<'_>,
        content: Content,
        user_record: &UserRecord<'a>,
        keys: Keys,
    ) -> Self {
        if content != Content::Aggregated {
            return InspectLine {
                sub_sequence_number: Some(0),
                ..InspectLine::of_plain_record(kinesis_record, user_record.data, keys)
            };
        }
        InspectLine {
            sub_sequence_number: Some(user_record.sub_sequence_number),
            aggregated: Some(true),
            partition_key: Some(ShownKey::of(user_record.partition_key, keys)),
            explicit_hash_key: user_record.explicit_hash_key.map(|key| ShownKey::of(key, keys)),
            data: Some(user_record.data),
            invalid: None,
        }
    }

    /// A record that is deaggregated. On an enhanced fan-out consumer, nothing tells its place in an aggregate.
    pub(super) fn of_deaggregated_record(
        kinesis_record: &'a KinesisRecord<'_>,
        data: &'a [u8],
        keys: Keys,
    ) -> Self {
        InspectLine {
            sub_sequence_number: kinesis_record.sub_sequence_number,
            ..InspectLine::of_plain_record(kinesis_record, data, keys)
        }
    }

    pub(super) fn of_invalid_record(
        kinesis_record: &'a KinesisRecord<'_>,
        reason: &InvalidRecord,
        keys: Keys,
    ) -> Self {
        InspectLine {
            sub_sequence_number: None,
            aggregated: None,
            partition_key: shown(kinesis_record.partition_key.as_deref(), keys),
            explicit_hash_key: None,
            data: None,
            invalid: Some(error::chain(reason)),
        }
    }

    /// Whether a key of the line is not shown whole.
    pub(super) fn has_shortened_key(&self) -> bool {
        [&self.partition_key, &self.explicit_hash_key]
            .into_iter()
            .flatten()
            .any(|key| key.shortened_bytes.is_some())
    }

    fn of_plain_record(kinesis_record: &'a KinesisRecord<'_>, data: &'a [u8], keys: Keys) -> Self {
        InspectLine {
            sub_sequence_number: None,
            aggregated: Some(false),
            partition_key: shown(kinesis_record.partition_key.as_deref(), keys),
            explicit_hash_key: shown(kinesis_record.explicit_hash_key.as_deref(), keys),
            data: Some(data),
            invalid: None,
        }
    }
}

fn shown(key: Option<&str>, keys: Keys) -> Option<ShownKey<'_>> {
    key.map(|key| ShownKey::of(key.as_bytes(), keys))
}
