use kpl_deaggregation::{
    Aggregator, AggregatorOptions, Content, Deaggregator, Grouping, HashKeyRange, PutEntry, UserRecordInput,
};
use md5::{Digest, Md5};
use proptest::{collection::vec, option, prelude::*};
use prost::Message;

use crate::oracle::{self, AggregatedRecord, Fields, Record, Tag};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn tag() -> impl Strategy<Value = Tag> {
    (bytes(), option::of(bytes())).prop_map(|(key, value)| Tag { key, value })
}

/// Mostly valid messages: an index is now and then out of range, a required field now and then absent.
fn message() -> impl Strategy<Value = AggregatedRecord> {
    let index = || prop_oneof![20 => 0..4u64, 1 => any::<u64>()];
    let record = (
        option::weighted(0.98, index()),
        option::weighted(0.3, index()),
        option::weighted(0.98, bytes()),
        vec(tag(), 0..2),
    )
        .prop_map(|(partition_key_index, explicit_hash_key_index, data, tags)| Record {
            partition_key_index,
            explicit_hash_key_index,
            data,
            tags,
        });
    (vec(bytes(), 3..6), vec(bytes(), 3..6), vec(record, 0..12)).prop_map(
        |(partition_key_table, explicit_hash_key_table, records)| AggregatedRecord {
            partition_key_table,
            explicit_hash_key_table,
            records,
        },
    )
}

/// Partition key, explicit hash key, data.
type Input = (String, Option<u128>, Vec<u8>);

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let partition_key = prop_oneof!["[a-d]", "\\PC{1,20}"];
    vec(
        (
            partition_key,
            option::weighted(0.3, prop_oneof![0..4u128, any::<u128>()]),
            vec(any::<u8>(), 0..300),
        ),
        0..40,
    )
}

fn aggregate(inputs: &[Input], options: AggregatorOptions) -> Vec<PutEntry> {
    let mut aggregator = Aggregator::new(options).unwrap();
    let mut kinesis_records = Vec::new();
    for (partition_key, explicit_hash_key, data) in inputs {
        let explicit_hash_key = explicit_hash_key.map(|hash_key| hash_key.to_string());
        let user_record = UserRecordInput {
            explicit_hash_key: explicit_hash_key.as_deref(),
            ..UserRecordInput::new(partition_key, data)
        };
        kinesis_records.extend(aggregator.add(user_record).unwrap());
    }
    kinesis_records.extend(aggregator.finish());
    kinesis_records
}

/// The user records of a Kinesis record as a consumer sees them. A plain one's explicit hash key is the Kinesis
/// record's.
fn user_records(kinesis_record: &PutEntry) -> Vec<Input> {
    let mut deaggregator = Deaggregator::default();
    let user_records =
        deaggregator.deaggregate(kinesis_record.partition_key.as_bytes(), &kinesis_record.data).unwrap();
    let plain_hash_key =
        kinesis_record.explicit_hash_key.as_ref().filter(|_| user_records.content() == Content::Plain);
    assert_eq!(user_records.len(), kinesis_record.user_records);
    user_records
        .map(|record| {
            let explicit_hash_key =
                record.explicit_hash_key_text().or(plain_hash_key.map(|text| text.as_str().into()));
            (
                record.partition_key_text().into_owned(),
                explicit_hash_key.map(|text| text.parse().unwrap()),
                record.data.to_vec(),
            )
        })
        .collect()
}

proptest! {
    #[test]
    fn canonical_frames_decode_as_prost_decodes_them(message in message()) {
        let encoded = message.encode_to_vec();
        prop_assert_eq!(oracle::deaggregate(&encoded).ok(), message.user_records());
        oracle::assert_agrees_with_prost(&encoded);
    }

    #[test]
    fn damaged_messages_never_decode_differently_from_prost(
        message in message(),
        flips in vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let mut encoded = message.encode_to_vec();
        for flip in flips {
            let bit = flip.index(encoded.len() * 8);
            encoded[bit / 8] ^= 1 << (bit % 8);
        }
        oracle::assert_agrees_with_prost(&encoded);
    }

    #[test]
    fn arbitrary_messages_never_decode_differently_from_prost(message in vec(any::<u8>(), 0..200)) {
        oracle::assert_agrees_with_prost(&message);
    }

    #[test]
    fn truncated_messages_are_whole_or_invalid(message in message(), at in any::<prop::sample::Index>()) {
        let encoded = message.encode_to_vec();
        let truncated = &encoded[..at.index(encoded.len())];
        oracle::assert_agrees_with_prost(truncated);
        if let (Ok(whole), Ok(part)) = (oracle::deaggregate(&encoded), oracle::deaggregate(truncated)) {
            // An empty message makes no frame; any other prefix that is legal ends between two fields.
            prop_assert!(truncated.is_empty() || is_prefix(&part, &whole));
        }
    }

    #[test]
    fn truncated_and_damaged_frames_are_plain(message in message(), at in any::<prop::sample::Index>()) {
        let frame = oracle::enclose(&message.encode_to_vec());
        let truncated = &frame[..at.index(frame.len())];
        check_plain(truncated)?;

        let mut damaged = frame.clone();
        let bit = at.index(frame.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        check_plain(&damaged)?;
    }

    #[test]
    fn nothing_is_lost_reordered_or_too_large(inputs in inputs(), limit in 340..2000usize, by_shard in any::<bool>()) {
        let half = HashKeyRange::new(0, u128::MAX / 2).unwrap();
        let other_half = HashKeyRange::new(u128::MAX / 2 + 1, u128::MAX).unwrap();
        let grouping =
            if by_shard { Grouping::ShardRanges(vec![half, other_half]) } else { Grouping::PartitionKey };
        let kinesis_records = aggregate(&inputs, AggregatorOptions { size_limit_bytes: limit, grouping });

        for record in &kinesis_records {
            prop_assert!(record.data.len() + record.partition_key.len() <= limit);
        }
        // User records of one key come out in the order in which they went in.
        let stable = |mut records: Vec<Input>| {
            records.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
            records
        };
        let outputs: Vec<_> = kinesis_records.iter().flat_map(user_records).collect();
        prop_assert_eq!(stable(outputs), stable(inputs));
    }

    #[test]
    fn aggregates_go_to_the_shard_of_their_user_records(inputs in inputs()) {
        let ranges = vec![
            HashKeyRange::new(0, u128::MAX / 3).unwrap(),
            HashKeyRange::new(u128::MAX / 3 + 1, u128::MAX).unwrap(),
        ];
        let grouping = Grouping::ShardRanges(ranges.clone());
        let shard_of = |partition_key: &str, explicit_hash_key: Option<u128>| {
            let hash_key = explicit_hash_key
                .unwrap_or_else(|| u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into()));
            ranges.iter().position(|range| range.contains(hash_key))
        };
        for record in aggregate(&inputs, AggregatorOptions { grouping, ..Default::default() }) {
            let explicit_hash_key = record.explicit_hash_key.as_ref().map(|text| text.parse().unwrap());
            let shard = shard_of(&record.partition_key, explicit_hash_key);
            for (partition_key, explicit_hash_key, _) in user_records(&record) {
                prop_assert_eq!(shard_of(&partition_key, explicit_hash_key), shard);
            }
        }
    }
}

fn is_prefix(part: &[Fields], whole: &[Fields]) -> bool {
    whole.starts_with(part)
}

fn check_plain(data: &[u8]) -> Result<(), TestCaseError> {
    let mut deaggregator = Deaggregator::default();
    let user_records = deaggregator.deaggregate(b"key", data).unwrap();
    prop_assert!(matches!(user_records.content(), Content::Plain | Content::ChecksumMismatch));
    let delivered: Vec<_> = user_records.map(|user_record| user_record.data).collect();
    prop_assert_eq!(delivered, [data]);
    Ok(())
}
