//! Records made by the deaggregation modules for Python and Node, and by hand: see `tests/vectors/README.md`.

use std::io::{BufRead, BufReader};

use base64::prelude::*;
use flate2::read::GzDecoder;
use kpl_deaggregation::{
    Checksum, ChecksumVerifier, Content, DeaggregationCursor, Deaggregator, HashKeyRange,
    InvalidAggregatePolicy, encode,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    name: String,
    data_b64: String,
    partition_key: String,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    kind: Kind,
    user_records: Vec<UserRecord>,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Aggregated,
    Plain,
    Invalid,
}

#[derive(Deserialize, Debug, PartialEq)]
struct UserRecord {
    partition_key: String,
    explicit_hash_key: Option<String>,
    data_b64: String,
    sub_sequence_number: u64,
}

impl From<kpl_deaggregation::UserRecord<'_>> for UserRecord {
    fn from(user_record: kpl_deaggregation::UserRecord<'_>) -> Self {
        UserRecord {
            partition_key: user_record.partition_key_text().into_owned(),
            explicit_hash_key: user_record.explicit_hash_key_text().map(Into::into),
            data_b64: BASE64_STANDARD.encode(user_record.data),
            sub_sequence_number: user_record.sub_sequence_number,
        }
    }
}

fn vectors() -> Vec<Vector> {
    let file = include_bytes!("../vectors/vectors.jsonl.gz");
    let lines = BufReader::new(GzDecoder::new(&file[..])).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

#[test]
fn every_frame_has_its_expected_outcome() {
    // One for all: tables of one frame must not leak into the next.
    let mut deaggregator = Deaggregator::new(InvalidAggregatePolicy::Fail);
    let vectors = vectors();
    assert_eq!(vectors.len(), 151);
    for Vector { name, data_b64, partition_key, expected } in &vectors {
        let data = BASE64_STANDARD.decode(data_b64).unwrap();
        let outcome = match deaggregator.deaggregate(partition_key.as_bytes(), &data) {
            Err(_) => (Kind::Invalid, Vec::new()),
            Ok(user_records) if user_records.content() == Content::Aggregated => {
                (Kind::Aggregated, user_records.map(UserRecord::from).collect())
            }
            Ok(user_records) => {
                let user_records: Vec<_> = user_records.map(UserRecord::from).collect();
                let itself = UserRecord {
                    partition_key: partition_key.clone(),
                    explicit_hash_key: None,
                    data_b64: data_b64.clone(),
                    sub_sequence_number: 0,
                };
                assert_eq!(user_records, [itself], "{name}");
                (Kind::Plain, Vec::new())
            }
        };
        assert_eq!(outcome.0, expected.kind, "{name}");
        assert_eq!(outcome.1, expected.user_records, "{name}");
    }
}

#[test]
fn records_verified_at_once_have_the_same_user_records() {
    let vectors = vectors();
    let data: Vec<_> =
        vectors.iter().map(|vector| BASE64_STANDARD.decode(&vector.data_b64).unwrap()).collect();
    // Of each record also one with a wrong digest, if it has one.
    let damaged = data.iter().map(|data| {
        let mut damaged = data.clone();
        if let Some(last) = damaged.last_mut() {
            *last ^= 1;
        }
        damaged
    });
    let damaged: Vec<_> = damaged.collect();
    let records: Vec<&[u8]> = data.iter().chain(&damaged).map(Vec::as_slice).collect();

    let mut verifier = ChecksumVerifier::default();
    let checksums = verifier.verify(&records);
    assert_eq!(checksums.len(), records.len());
    for checksum in [Checksum::NotAggregated, Checksum::Matches, Checksum::Mismatch] {
        assert!(checksums.contains(&checksum), "{checksum:?}");
    }
    for policy in [InvalidAggregatePolicy::Fail, InvalidAggregatePolicy::Raw, InvalidAggregatePolicy::Skip] {
        let mut cursor = DeaggregationCursor::new(Deaggregator::new(policy));
        let mut verified = DeaggregationCursor::new(Deaggregator::new(policy));
        for (index, (&data, &checksum)) in records.iter().zip(checksums).enumerate() {
            let expected = cursor.start(b"key", data);
            assert_eq!(verified.start_verified(b"key", data, checksum), expected, "record {index}");
            assert!(verified.by_ref().eq(cursor.by_ref()), "record {index}");
        }
    }
}

#[test]
fn a_wrong_checksum_only_changes_the_interpretation() {
    let frame = encode([kpl_deaggregation::UserRecord::new(b"inner", b"data")]).unwrap();
    let mut damaged = frame.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut cursor = DeaggregationCursor::new(Deaggregator::default());
    let mut check = |data, checksum, content, partition_key: &str| {
        assert_eq!(cursor.start_verified(b"outer", data, checksum), Ok(content));
        let user_records: Vec<_> = cursor.by_ref().collect();
        assert_eq!(user_records.len(), 1);
        assert_eq!(user_records[0].partition_key_text(), partition_key);
    };
    check(&frame[..], Checksum::NotAggregated, Content::Plain, "outer");
    check(&frame, Checksum::Mismatch, Content::ChecksumMismatch, "outer");
    check(&damaged, Checksum::Matches, Content::Aggregated, "inner");
    check(b"plain", Checksum::Matches, Content::Plain, "outer");
    check(b"plain", Checksum::Mismatch, Content::Plain, "outer");
}

#[test]
fn an_invalid_aggregate_becomes_what_the_caller_chose() {
    let invalid: Vec<_> =
        vectors().into_iter().filter(|vector| vector.expected.kind == Kind::Invalid).collect();
    assert!(!invalid.is_empty());
    let mut raw = Deaggregator::new(InvalidAggregatePolicy::Raw);
    let mut skip = Deaggregator::new(InvalidAggregatePolicy::Skip);
    for Vector { name, data_b64, .. } in &invalid {
        let data = BASE64_STANDARD.decode(data_b64).unwrap();
        let user_records = raw.deaggregate(b"key", &data).unwrap();
        assert!(matches!(user_records.content(), Content::InvalidRaw(_)), "{name}");
        let delivered: Vec<_> = user_records.map(|record| (record.partition_key, record.data)).collect();
        assert_eq!(delivered, [(&b"key"[..], &data[..])], "{name}");

        let user_records = skip.deaggregate(b"key", &data).unwrap();
        assert!(matches!(user_records.content(), Content::InvalidSkipped(_)), "{name}");
        assert_eq!(user_records.count(), 0, "{name}");
    }
}

#[track_caller]
fn check_reason(name: &str, expected: &str) {
    let vector = vectors().into_iter().find(|vector| vector.name == name).unwrap();
    let data = BASE64_STANDARD.decode(vector.data_b64).unwrap();
    let mut deaggregator = Deaggregator::default();
    let result = deaggregator.deaggregate(b"key", &data).map(drop);
    assert_eq!(result.map_err(|invalid| invalid.to_string()), Err(expected.to_owned()));
}

#[test]
fn an_invalid_aggregate_says_what_is_wrong_and_where() {
    check_reason(
        "handmade/repeat-pk-index-last-bad",
        "user record 0: partition_key_index 9 is out of range (keys in the table: 1)",
    );
    check_reason(
        "handmade/oor-ehk-single",
        "user record 0: explicit_hash_key_index 1 is out of range (keys in the table: 1)",
    );
    check_reason(
        "handmade/fuzz-43",
        "user record 2: partition_key_index 32 is out of range (keys in the table: 3)",
    );
    check_reason("handmade/bad-missing-data-among-valid", "user record 1: data is missing");
    check_reason("handmade/bad-pk-index-as-packed", "user record 0: partition_key_index is missing");
    check_reason(
        "handmade/bad-inner-data-length-past-record",
        "byte 13: length 9 runs past the end of the message (remaining: 1)",
    );
    check_reason("handmade/bad-trailing-zero-byte", "byte 21: field number 0 is illegal");
    check_reason("handmade/group-depth-5000", "byte 221: groups are nested deeper than 100 levels");
}

#[derive(Deserialize)]
struct RangeVector {
    name: String,
    data_b64: String,
    starting_hash_key: String,
    ending_hash_key: String,
    user_records: Vec<RangedUserRecord>,
    per_user_record_filter_keeps: Vec<u64>,
}

#[derive(Deserialize)]
struct RangedUserRecord {
    effective_hash_key: Option<String>,
}

#[test]
fn the_range_filter_judges_each_user_record() {
    let vectors = include_str!("../vectors/hash_range.jsonl").lines();
    let mut deaggregator = Deaggregator::default();
    for vector in vectors {
        let vector: RangeVector = serde_json::from_str(vector).unwrap();
        let data = BASE64_STANDARD.decode(vector.data_b64).unwrap();
        let range = HashKeyRange::from_decimal(&vector.starting_hash_key, &vector.ending_hash_key).unwrap();
        let user_records = deaggregator.deaggregate(b"key", &data).unwrap();

        let hash_keys: Vec<_> = user_records.clone().map(|record| record.effective_hash_key()).collect();
        let expected: Vec<_> = vector
            .user_records
            .iter()
            .map(|record| record.effective_hash_key.as_ref().map(|text| text.parse().unwrap()))
            .collect();
        assert_eq!(hash_keys, expected, "{}", vector.name);

        let kept: Vec<_> = user_records
            .filter(|user_record| user_record.belongs_to(&range))
            .map(|user_record| user_record.sub_sequence_number)
            .collect();
        assert_eq!(kept, vector.per_user_record_filter_keeps, "{}", vector.name);
    }
}
