use std::borrow::Cow;

use base64::prelude::*;
use kinesis_handler::event::Base64Fault;
use kpl_deaggregation::InvalidAggregate;
use thiserror::Error;

use crate::stream::arrival::Arrival;

/// A Kinesis record, as far as the input tells it: a wrong one is shown beside the others, not refused.
#[derive(Debug)]
pub(crate) struct KinesisRecord<'a> {
    /// As the input has it, which need not be a legal one.
    pub(crate) sequence_number: Option<Cow<'a, str>>,
    /// Position in the aggregate from which the KCL has taken the record.
    pub(crate) sub_sequence_number: Option<u64>,
    pub(crate) partition_key: Option<Cow<'a, str>>,
    /// Only a request to put records tells it.
    pub(crate) explicit_hash_key: Option<Cow<'a, str>>,
    pub(crate) shard_id: Option<Cow<'a, str>>,
    pub(crate) arrival: Option<Arrival>,
    /// Whether Lambda (on an enhanced fan-out consumer), Firehose or the KCL has deaggregated it.
    pub(crate) is_deaggregated: bool,
    pub(crate) data: Result<Data<'a>, InvalidRecord>,
}

/// The data of a Kinesis record as the input holds it.
#[derive(Debug)]
pub(crate) enum Data<'a> {
    Bytes(Cow<'a, [u8]>),
    /// Not checked yet.
    Base64(Cow<'a, str>),
}

/// Why a Kinesis record holds no user records that could be shown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum InvalidRecord {
    #[error("{member} is missing")]
    Missing { member: &'static str },
    #[error("{member} is {found} instead of {expected}")]
    Type { member: &'static str, found: &'static str, expected: &'static str },
    #[error("{member} cannot be read: {fault}")]
    Json { member: &'static str, fault: String },
    /// An element of a list that is no record, and holds none.
    #[error("{reason}")]
    Document { reason: String },
    #[error("data is not base64")]
    Base64(#[source] Base64Fault),
    #[error("aggregated record is invalid")]
    Frame(#[source] InvalidAggregate),
}

impl<'a> KinesisRecord<'a> {
    /// A record of which no more is known.
    pub(crate) fn of_data(data: impl Into<Cow<'a, [u8]>>) -> Self {
        KinesisRecord {
            sequence_number: None,
            sub_sequence_number: None,
            partition_key: None,
            explicit_hash_key: None,
            shard_id: None,
            arrival: None,
            is_deaggregated: false,
            data: Ok(Data::Bytes(data.into())),
        }
    }

    /// A record that cannot be read.
    pub(crate) fn invalid(invalid: InvalidRecord) -> Self {
        KinesisRecord { data: Err(invalid), ..KinesisRecord::of_data(&[][..]) }
    }

    /// Returns the record with text and data of its own.
    pub(crate) fn into_owned(self) -> KinesisRecord<'static> {
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        KinesisRecord {
            sequence_number: owned(self.sequence_number),
            partition_key: owned(self.partition_key),
            explicit_hash_key: owned(self.explicit_hash_key),
            shard_id: owned(self.shard_id),
            data: self.data.map(|data| match data {
                Data::Bytes(bytes) => Data::Bytes(Cow::Owned(bytes.into_owned())),
                Data::Base64(text) => Data::Base64(Cow::Owned(text.into_owned())),
            }),
            sub_sequence_number: self.sub_sequence_number,
            arrival: self.arrival,
            is_deaggregated: self.is_deaggregated,
        }
    }

    /// The data, decoded. As in the handler, base64 is canonical, padded, and of the standard alphabet.
    pub(crate) fn decode(&self) -> Result<Cow<'_, [u8]>, InvalidRecord> {
        match &self.data {
            Ok(Data::Bytes(bytes)) => Ok(Cow::Borrowed(bytes)),
            Ok(Data::Base64(text)) => match BASE64_STANDARD.decode(text.as_bytes()) {
                Ok(bytes) => Ok(Cow::Owned(bytes)),
                Err(error) => Err(InvalidRecord::Base64(error.into())),
            },
            Err(invalid) => Err(invalid.clone()),
        }
    }
}
