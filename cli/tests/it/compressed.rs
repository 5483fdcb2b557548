//! Compressed payloads: `put` makes them, and what is shown to people is decompressed and says so.

use std::{io::Write, sync::Arc};

use base64::prelude::*;
use flate2::write::{GzEncoder, ZlibEncoder};
use kinesis_handler::compression::{Compression, DecompressionLimits};
use kpl_deaggregation::{Deaggregator, UserRecord, encode};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

use crate::{
    kit::{kit, kit_where},
    scripted_kinesis::{ScriptedKinesis, variables},
    scripted_stream::ScriptedStream,
    scripted_table::{ScriptedTable, quarantined},
};

const ORDER: &str = r#"{"id":"A-1"}"#;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn zlib(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// The payloads of an aggregate, and how they are shown.
fn payloads() -> [(Vec<u8>, String); 4] {
    [
        (gzip(ORDER), format!("gzip: {ORDER}")),
        (zlib(ORDER), format!("zlib: {ORDER}")),
        (compress_to_vec(ORDER.as_bytes(), CompressionLevel::Fastest), format!("zstd: {ORDER}")),
        (ORDER.as_bytes().to_vec(), ORDER.to_owned()),
    ]
}

fn aggregate() -> Vec<u8> {
    encode(payloads().iter().map(|(data, _)| UserRecord::new(b"key", data))).expect("user records")
}

/// The end of each line of a table but the first: its column DATA.
#[track_caller]
fn check_data(stdout: &str, expected: &[String]) {
    let lines: Vec<_> = stdout.lines().skip(1).collect();
    assert_eq!(lines.len(), expected.len(), "{stdout}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.ends_with(&format!("  {expected}")), "{line:?} does not end with {expected:?}");
    }
}

fn shown() -> Vec<String> {
    payloads().into_iter().map(|(_, shown)| shown).collect()
}

/// The column `data` of JSON lines.
fn data(stdout: &str) -> Vec<Vec<u8>> {
    let data = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON lines");
        BASE64_STANDARD.decode(line["data"].as_str().expect("text")).expect("base64")
    };
    stdout.lines().map(data).collect()
}

#[test]
fn put_compresses_each_user_record() {
    let lines =
        [ORDER, "two"].map(|text| json!({ "partitionKey": "k", "text": text }).to_string()).join("\n");
    for (option, format) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
        let kinesis = ScriptedKinesis::start(|operation, _, request| match operation {
            "ListShards" => (
                200,
                json!({ "Shards": [{ "ShardId": "a", "SequenceNumberRange": { "StartingSequenceNumber": "1" },
                    "HashKeyRange": { "StartingHashKey": "0",
                        "EndingHashKey": "340282366920938463463374607431768211455" } }] }),
            ),
            _ => {
                let records = request["Records"].as_array().expect("records");
                let result = |_: &Value| json!({ "SequenceNumber": "7", "ShardId": "a" });
                let results: Vec<_> = records.iter().map(result).collect();
                (200, json!({ "FailedRecordCount": 0, "Records": results }))
            }
        });
        let args = format!("put --stream orders --compress {option}");
        let run = kit_where(&variables(&kinesis.url()), args.split(' '), &lines);
        assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
        let record = kinesis.requests("PutRecords")[0]["Records"][0]["Data"].clone();
        let record = BASE64_STANDARD.decode(record.as_str().expect("base64")).expect("base64");
        let mut deaggregator = Deaggregator::default();
        let user_records = deaggregator.deaggregate(b"k", &record).expect("an aggregate");
        let payloads: Vec<_> = user_records
            .map(|user_record| {
                assert_eq!(Compression::detect(user_record.data), Some(format));
                format.decompress(user_record.data, DecompressionLimits::default()).expect("it is whole")
            })
            .collect();
        assert_eq!(payloads, [ORDER.as_bytes(), b"two"]);
    }
}

#[test]
fn inspect_decompresses_for_people_only() {
    let stdin = BASE64_STANDARD.encode(aggregate());
    let run = kit("inspect -", &stdin);
    check_data(&run.stdout, &shown());
    let run = kit("inspect --format json -", &stdin);
    assert_eq!(data(&run.stdout), payloads().map(|(data, _)| data));
    // What cannot be decompressed is shown as it is.
    let run = kit("inspect -", BASE64_STANDARD.encode(&gzip(ORDER)[..12]));
    assert!(run.stdout.contains("0x1f8b08") && !run.stdout.contains("gzip"), "{}", run.stdout);
}

#[test]
fn records_of_a_stream_are_decompressed_for_people_only() {
    let aggregate = aggregate();
    let stream = ScriptedStream::of(&[(7, &aggregate)]);
    let kinesis = ScriptedKinesis::start(move |operation, _, request| stream.answer(operation, request));
    let run = |args: &str| kit_where(&variables(&kinesis.url()), args.split(' '), "");
    for command in ["inspect --stream orders", "tail --stream orders --from trim-horizon --count 4"] {
        check_data(&run(command).stdout, &shown());
        let json = run(&format!("{command} --format json"));
        assert_eq!(data(&json.stdout), payloads().map(|(data, _)| data));
    }
}

#[test]
fn quarantined_payloads_are_decompressed_for_people_only() {
    let mut item = quarantined(7, None, "");
    item["data"] = json!({ "B": BASE64_STANDARD.encode(gzip(ORDER)) });
    item["bytes"] = json!({ "N": gzip(ORDER).len().to_string() });
    let table = Arc::new(ScriptedTable::of([item]));
    let server = ScriptedKinesis::start(move |operation, _, request| table.answer(operation, request));
    let run = |args: &str| {
        let args = format!("quarantine show --table journal {args}");
        kit_where(&variables(&server.url()), args.split_whitespace(), "")
    };
    let text = run("").stdout;
    assert!(text.contains(&format!("gzip: {ORDER}")), "{text}");
    let json = run("--format json").stdout;
    assert!(json.contains(&BASE64_STANDARD.encode(gzip(ORDER))) && !json.contains("gzip: "), "{json}");
}
