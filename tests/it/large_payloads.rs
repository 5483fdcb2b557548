//! Payloads and records that are too large for the stream, or for an event: with stand-ins for Kinesis and S3, and a real function.

use aws_sdk_s3::{Client, primitives::ByteStream};
use base64::prelude::*;
use kpl_deaggregation::{UserRecord, encode};
use serde_json::{Value, json};

use crate::{
    emulator::misbehaving_function,
    operator::{Operator, Run, STREAM},
};

const MIB: usize = 1024 * 1024;

fn s3(operator: &Operator, bucket: &str) -> Client {
    let config = aws_sdk_s3::config::Builder::from(&operator.config).force_path_style(true).build();
    let client = Client::from_conf(config);
    operator.runtime.block_on(client.create_bucket().bucket(bucket).send()).expect("moto makes a bucket");
    client
}

fn keys(operator: &Operator, s3: &Client, bucket: &str) -> Vec<String> {
    let listed = operator.runtime.block_on(s3.list_objects_v2().bucket(bucket).send());
    let listed = listed.expect("moto answers");
    listed.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect()
}

/// Replays the stream to the function, which may fetch these payloads.
fn replay(operator: &Operator, allowed: &str) -> Run {
    let function = misbehaving_function();
    let args = format!(
        "replay --stream {STREAM} --from trim-horizon --restart --attempts 1 --format json -- {}",
        function.display()
    );
    operator.kit(&args, &[("KINESIS_HANDLER_LARGE_PAYLOADS", allowed)])
}

#[track_caller]
fn check_failed(run: &Run, expected: &str) {
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    let error = run.lines()[0]["error"].clone();
    assert!(error.as_str().is_some_and(|error| error.contains(expected)), "{error}");
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn a_payload_in_s3_comes_back_through_the_pointer_in_the_stream() {
    let operator = Operator::start(1);
    let s3 = s3(&operator, "payloads");
    let large = "x".repeat(5 * MIB);
    let file = operator.path("lines.jsonl");
    let lines =
        ["small", large.as_str()].map(|text| json!({ "partitionKey": "k", "text": text }).to_string());
    std::fs::write(&file, lines.join("\n")).expect("a writable folder");
    let put = operator
        .kit(&format!("put --stream {STREAM} --large-to s3://payloads/large {}", file.display()), &[]);
    assert_eq!(put.exit_code, Some(0), "{}", put.stderr);
    let keys = keys(&operator, &s3, "payloads");
    assert_eq!(keys.len(), 1, "{keys:?}");
    let shown = operator.kit(&format!("inspect --stream {STREAM}"), &[]);
    let place = format!("pointer to {} bytes in s3://payloads/{}", large.len(), keys[0]);
    assert!(shown.stdout.contains(&place), "{}", shown.stdout);

    let run = replay(&operator, "s3://payloads/large/");
    assert_eq!(run.exit_code, Some(0), "{}{}", run.stdout, run.stderr);
    assert!(operator.processed() == ["small", &large]);

    // Whoever may put records must not choose what is read.
    check_failed(&replay(&operator, "s3://payloads/other/"), "does not allow");
    check_failed(&replay(&operator, "s3://others"), "does not allow");

    let replace = s3.put_object().bucket("payloads").key(&keys[0]);
    let other = ByteStream::from("y".repeat(5 * MIB).into_bytes());
    operator.runtime.block_on(replace.body(other).send()).expect("moto takes an object");
    check_failed(&replay(&operator, "s3://payloads/large/"), "does not have the SHA-256");
    let replace = s3.put_object().bucket("payloads").key(&keys[0]);
    operator
        .runtime
        .block_on(replace.body(ByteStream::from_static(b"short")).send())
        .expect("moto takes an object");
    check_failed(&replay(&operator, "s3://payloads/large/"), "does not have the 5242880 bytes");
    let delete = s3.delete_object().bucket("payloads").key(&keys[0]);
    operator.runtime.block_on(delete.send()).expect("moto deletes an object");
    check_failed(&replay(&operator, "s3://payloads/large/"), "is no longer in bucket payloads");
    assert_eq!(operator.processed().len(), 2 + 5, "the small record precedes the large one in each run");
}

/// A failure record of one Kinesis record, as Lambda writes it for one that no function gets.
fn failure(data: &[u8]) -> Value {
    let (number, shard_id) =
        ("49590338271490256608559692538361571095921575989136588898", "shardId-000000000000");
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
    let event = json!({ "Records": [{
        "kinesis": { "kinesisSchemaVersion": "1.0", "partitionKey": "a", "sequenceNumber": number,
            "data": BASE64_STANDARD.encode(data), "approximateArrivalTimestamp": 1_767_225_600.0 },
        "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": format!("{shard_id}:{number}"),
        "eventName": "aws:kinesis:record", "invokeIdentityArn": "arn:aws:iam::000000000000:role/r",
        "awsRegion": "us-east-1", "eventSourceARN": arn,
    }] });
    json!({
        "requestContext": { "requestId": "r", "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:orders",
            "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 11 },
        "version": "1.0",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "KinesisBatchInfo": { "shardId": shard_id, "startSequenceNumber": number, "endSequenceNumber": number,
            "approximateArrivalOfFirstRecord": "2026-01-01T00:00:00Z",
            "approximateArrivalOfLastRecord": "2026-01-01T00:00:00Z", "batchSize": 1, "streamArn": arn },
        "payload": event.to_string(),
    })
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn a_record_of_ten_megabytes_comes_back_from_the_s3_destination() {
    let operator = Operator::start(1);
    let s3 = s3(&operator, "failures");
    // The largest record that a stream takes.
    let texts: Vec<String> = (0..10).map(|index| format!("{index}{}", "x".repeat(MIB - 100))).collect();
    let aggregate = encode(texts.iter().map(|text| UserRecord::new(b"k", text.as_bytes()))).expect("some");
    let plain = "p".repeat(10 * MIB);
    assert!(aggregate.len() > 9 * MIB && aggregate.len() <= 10 * MIB, "{}", aggregate.len());
    for (key, data) in [("a", &aggregate[..]), ("b", plain.as_bytes())] {
        let body = ByteStream::from(failure(data).to_string().into_bytes());
        let put = s3.put_object().bucket("failures").key(format!("aws/lambda/m/shardId-000000000000/{key}"));
        operator.runtime.block_on(put.body(body).send()).expect("moto takes an object");
    }
    let function = misbehaving_function();
    let split = "redrive --s3 s3://failures --split --attempts 1 --format json";
    let run = operator.kit(&format!("{split} -- {}", function.display()), &[]);
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    let outcomes: Vec<_> = run.lines().iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["processed", "failed"], "{}", run.stdout);
    assert!(operator.processed() == texts);
    assert_eq!(keys(&operator, &s3, "failures"), ["aws/lambda/m/shardId-000000000000/b"]);

    // The function that gets the single payload through S3.
    let args = format!("{split} --large-to s3://failures-payloads/large/ -- {}", function.display());
    operator
        .runtime
        .block_on(s3.create_bucket().bucket("failures-payloads").send())
        .expect("moto makes a bucket");
    let run = operator.kit(&args, &[("KINESIS_HANDLER_LARGE_PAYLOADS", "s3://failures-payloads/large/")]);
    assert_eq!(run.exit_code, Some(0), "{}{}", run.stdout, run.stderr);
    assert!(operator.processed()[10..] == [plain]);
    assert_eq!(keys(&operator, &s3, "failures"), Vec::<String>::new());
}
