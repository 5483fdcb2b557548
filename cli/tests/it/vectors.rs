//! Every frame of the deaggregation crate's vectors, through every way in.

use std::io::{BufRead, BufReader};

use base64::prelude::*;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kit::{Run, kit};

const VECTORS: &[u8] = include_bytes!("../../../deaggregation/tests/vectors/vectors.jsonl.gz");

#[derive(Deserialize)]
struct Vector {
    name: String,
    data_b64: String,
    partition_key: String,
    sequence_number: String,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    kind: String,
    user_records: Vec<UserRecord>,
}

#[derive(Deserialize)]
struct UserRecord {
    partition_key: String,
    explicit_hash_key: Option<String>,
    data_b64: String,
    sub_sequence_number: u64,
}

/// The members of an input besides the data.
#[derive(Clone, Copy)]
struct Told {
    sequence_number: bool,
    partition_key: bool,
    shard_id: Option<&'static str>,
    /// As JSON, digit for digit.
    arrival: &'static str,
}

fn vectors() -> Vec<Vector> {
    let lines = BufReader::new(GzDecoder::new(VECTORS)).lines();
    let vectors: Vec<Vector> =
        lines.map(|line| serde_json::from_str(&line.expect("text")).expect("a vector")).collect();
    assert_eq!(vectors.len(), 151);
    vectors
}

impl Vector {
    /// The lines that must come out. Of an invalid aggregate, the reason is left out.
    fn expected_lines(&self, told: Told) -> String {
        let line = |sub_sequence_number: Value,
                    aggregated: Value,
                    key: Option<&str>,
                    hash_key: Option<&str>,
                    data: Option<&str>| {
            format!(
                r#"{{"sequenceNumber":{},"subSequenceNumber":{sub_sequence_number},"aggregated":{aggregated},"partitionKey":{},"explicitHashKey":{},"data":{},"shardId":{},"approximateArrivalTimestamp":{}"#,
                json!(told.sequence_number.then_some(&self.sequence_number)),
                json!(key),
                json!(hash_key),
                json!(data),
                json!(told.shard_id),
                told.arrival,
            )
        };
        let own_key = told.partition_key.then_some(&*self.partition_key);
        match &*self.expected.kind {
            "invalid" => line(Value::Null, Value::Null, own_key, None, None) + ",\"invalid\":…}\n",
            "plain" => line(json!(0), json!(false), own_key, None, Some(&self.data_b64)) + "}\n",
            _ => {
                let lines = self.expected.user_records.iter().map(|record| {
                    line(
                        json!(record.sub_sequence_number),
                        json!(true),
                        Some(&record.partition_key),
                        record.explicit_hash_key.as_deref(),
                        Some(&record.data_b64),
                    ) + "}\n"
                });
                lines.collect()
            }
        }
    }

    fn exit_code(&self) -> i32 {
        i32::from(self.expected.kind == "invalid")
    }
}

/// The output without the reasons of invalid aggregates, which must be there.
fn without_reasons(stdout: &str) -> String {
    let without_reason = |line: &str| match line.split_once(r#","invalid":"#) {
        Some((line, reason)) => {
            assert!(reason.starts_with("\"aggregated record is invalid: "), "{reason}");
            format!("{line},\"invalid\":…}}\n")
        }
        None => format!("{line}\n"),
    };
    stdout.lines().map(without_reason).collect()
}

#[track_caller]
fn check_all(args: &str, stdin: &Value, told: Told, note: &str) {
    let Run { exit_code, stdout, stderr } = kit(args, stdin.to_string());
    let expected: Vec<String> = vectors().iter().map(|vector| vector.expected_lines(told)).collect();
    // Line by line: a diff of megabytes helps nobody.
    for (line, expected) in without_reasons(&stdout).lines().zip(expected.concat().lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(stdout.lines().count(), expected.concat().lines().count());
    let summary = "kinesis-kit: 151 Kinesis records, 11007 user records, 72 aggregated, 37 invalid, \
                   28 with a checksum mismatch\n";
    assert_eq!((exit_code, stderr), (Some(1), format!("{note}{summary}")));
}

#[test]
fn as_a_lambda_event() {
    let record = |vector: &Vector| {
        json!({
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": vector.partition_key,
                "sequenceNumber": vector.sequence_number,
                "data": vector.data_b64,
                "approximateArrivalTimestamp": 1545084650.987,
                "encryptionType": "NONE",
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": format!("shardId-000000000006:{}", vector.sequence_number),
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
            "awsRegion": "us-east-2",
            "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream",
        })
    };
    let event = json!({ "Records": vectors().iter().map(record).collect::<Vec<_>>() });
    let told = Told {
        sequence_number: true,
        partition_key: true,
        shard_id: Some("shardId-000000000006"),
        arrival: "1545084650.987",
    };
    check_all("inspect --format json --input event", &event, told, "");
    check_all("inspect --format json", &event, told, "kinesis-kit: took standard input as a Lambda event\n");
}

#[test]
fn as_get_records_output() {
    let record = |vector: &Vector| {
        json!({
            "SequenceNumber": vector.sequence_number,
            "ApproximateArrivalTimestamp": "2018-12-17T23:10:50.987000+01:00",
            "Data": vector.data_b64,
            "PartitionKey": vector.partition_key,
            "EncryptionType": "KMS",
        })
    };
    let records = vectors().iter().map(record).collect::<Vec<_>>();
    let output = json!({ "Records": records, "NextShardIterator": "AAA", "MillisBehindLatest": 0 });
    let told = Told { sequence_number: true, partition_key: true, shard_id: None, arrival: "1545084650.987" };
    check_all("inspect --format json --input records", &output, told, "");
    check_all(
        "inspect --format json",
        &output,
        told,
        "kinesis-kit: took standard input as get-records output\n",
    );
}

const NOTHING: Told = Told { sequence_number: false, partition_key: false, shard_id: None, arrival: "null" };

#[test]
fn as_base64() {
    for vector in vectors() {
        let base64 = format!("{}\n", vector.data_b64);
        let Run { exit_code, stdout, stderr } = kit("inspect --format json", base64);
        assert_eq!(without_reasons(&stdout), vector.expected_lines(NOTHING), "{}", vector.name);
        assert_eq!(exit_code, Some(vector.exit_code()), "{}", vector.name);
        assert!(
            stderr.starts_with("kinesis-kit: took standard input as base64\n"),
            "{}: {stderr}",
            vector.name
        );
    }
}

#[test]
fn as_raw_bytes() {
    for vector in vectors() {
        let data = BASE64_STANDARD.decode(&vector.data_b64).expect("base64");
        let Run { exit_code, stdout, .. } = kit("inspect --format json --input raw", data);
        assert_eq!(without_reasons(&stdout), vector.expected_lines(NOTHING), "{}", vector.name);
        assert_eq!(exit_code, Some(vector.exit_code()), "{}", vector.name);
    }
}
