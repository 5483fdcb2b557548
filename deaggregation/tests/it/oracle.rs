//! A second decoder: the format as prost generates it, with fields that can tell absent from empty.

use kpl_deaggregation::{Content, Deaggregator, InvalidAggregate, InvalidAggregatePolicy};
use md5::{Digest, Md5};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AggregatedRecord {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) partition_key_table: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) explicit_hash_key_table: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Record {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) data: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tag {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) value: Option<Vec<u8>>,
}

/// Partition key, explicit hash key, data.
pub(crate) type Fields = (Vec<u8>, Option<Vec<u8>>, Vec<u8>);

impl AggregatedRecord {
    /// The user records; `None` if one lacks a required field or refers to a key that is not there.
    pub(crate) fn user_records(&self) -> Option<Vec<Fields>> {
        let key = |table: &[Vec<u8>], index: u64| table.get(usize::try_from(index).ok()?).cloned();
        self.records
            .iter()
            .map(|record| {
                let explicit_hash_key = match record.explicit_hash_key_index {
                    Some(index) => Some(key(&self.explicit_hash_key_table, index)?),
                    None => None,
                };
                Some((
                    key(&self.partition_key_table, record.partition_key_index?)?,
                    explicit_hash_key,
                    record.data.clone()?,
                ))
            })
            .collect()
    }
}

pub(crate) fn enclose(message: &[u8]) -> Vec<u8> {
    [b"\xf3\x89\x9a\xc2", message, Md5::digest(message).as_slice()].concat()
}

/// Returns the user records that the crate reads from a protobuf message in a correct frame. Panics where it breaks its own promises.
pub(crate) fn deaggregate(message: &[u8]) -> Result<Vec<Fields>, InvalidAggregate> {
    let data = enclose(message);
    let mut deaggregator = Deaggregator::new(InvalidAggregatePolicy::Fail);
    let user_records = deaggregator.deaggregate(b"key", &data)?;
    let count = user_records.len();
    let content = user_records.content();
    let user_records: Vec<_> = user_records.collect();
    assert_eq!(user_records.len(), count);
    if message.is_empty() {
        assert_eq!(content, Content::Plain);
    } else {
        assert_eq!(content, Content::Aggregated);
        assert!(user_records.iter().map(|user_record| user_record.sub_sequence_number).eq(0..count as u64));
    }
    Ok(user_records
        .into_iter()
        .map(|user_record| {
            (
                user_record.partition_key.to_vec(),
                user_record.explicit_hash_key.map(<[u8]>::to_vec),
                user_record.data.to_vec(),
            )
        })
        .collect())
}

/// Whatever prost can read, the crate reads in the same way. The reverse does not hold: the crate tolerates more.
#[track_caller]
pub(crate) fn assert_agrees_with_prost(message: &[u8]) {
    let ours = deaggregate(message);
    if message.is_empty() {
        return;
    }
    if let Ok(theirs) = AggregatedRecord::decode(message) {
        assert_eq!(ours.ok(), theirs.user_records());
    }
}
