//! Forms in which services and tools hand out Kinesis records, and text encodings of their files.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::kit::{check, kit};

/// Base64 of `one`, of `two`, and of an aggregate of both with the key `k`.
const ONE: &str = "b25l";
const TWO: &str = "dHdv";
const AGGREGATE: &str = "84mawgoBaxoHCAAaA29uZRoHCAAaA3R3b0s8vQwjbuq1OM6wBLyAHeA=";

/// Checks what standard error names the input, and of each line: sequence number, sub-sequence number, partition key, data.
#[track_caller]
fn check_read(input: impl AsRef<[u8]>, taken_as: &str, expected: Value) {
    let run = kit("inspect --format json", input);
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            json!([line["sequenceNumber"], line["subSequenceNumber"], line["partitionKey"], line["data"]])
        })
        .collect();
    assert_eq!(
        (run.exit_code, run.stderr, json!(lines)),
        (Some(0), format!("kinesis-kit: took standard input as {taken_as}\n"), expected)
    );
}

fn event() -> Value {
    let record = |number: &str, data: &str| json!({ "kinesis": { "sequenceNumber": number, "partitionKey": "p", "data": data } });
    json!({ "Records": [record("1", ONE), record("2", AGGREGATE)] })
}

fn of_event() -> Value {
    json!([["1", 0, "p", ONE], ["2", 0, "k", ONE], ["2", 1, "k", TWO]])
}

fn failure_record(payload: Option<Value>) -> Value {
    let mut record = json!({
        "requestContext": { "condition": "RetryAttemptsExhausted" },
        "KinesisBatchInfo": { "shardId": "shardId-000000000000", "startSequenceNumber": "1", "endSequenceNumber": "2" },
    });
    if let Some(payload) = payload {
        record["payload"] = payload;
    }
    record
}

/// The messages of an SQS event, and of `aws sqs receive-message`, with these bodies.
fn sqs(bodies: &[Value]) -> [Value; 2] {
    let event: Vec<_> =
        bodies.iter().map(|body| json!({ "eventSource": "aws:sqs", "body": body.to_string() })).collect();
    let received: Vec<_> = bodies.iter().map(|body| json!({ "Body": body.to_string() })).collect();
    [json!({ "Records": event }), json!({ "Messages": received })]
}

fn sns_notification(message: &Value) -> Value {
    json!({ "Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": message.to_string() })
}

#[test]
fn events_of_other_services_are_read() {
    let flat = |number: &str, data: &str| {
        json!({ "kinesisSchemaVersion": "1.0", "partitionKey": "p", "sequenceNumber": number, "data": data,
            "approximateArrivalTimestamp": 1.5, "eventSource": "aws:kinesis", "eventID": format!("shardId-000000000003:{number}"),
            "eventSourceARN": "arn:aws:kinesis:us-east-1:1:stream/s" })
    };
    let pipe = json!([flat("1", ONE), flat("2", AGGREGATE)]);
    check_read(pipe.to_string(), "an event of EventBridge Pipes", of_event());
    let shards = kit("inspect --input event --format json", pipe.to_string()).stdout;
    assert_eq!(
        shards.matches(r#""shardId":"shardId-000000000003","approximateArrivalTimestamp":1.5"#).count(),
        3
    );

    let firehose = json!({ "invocationId": "i", "deliveryStreamArn": "arn", "region": "us-east-1", "records": [
        { "recordId": "r", "approximateArrivalTimestamp": 1767225600100u64, "data": ONE, "kinesisRecordMetadata":
            { "sequenceNumber": "1", "subsequenceNumber": "", "partitionKey": "p", "shardId": "shardId-000000000003",
              "approximateArrivalTimestamp": 1767225600100u64 } },
        { "recordId": "r", "data": AGGREGATE },
    ] });
    check_read(
        firehose.to_string(),
        "a Firehose event",
        json!([["1", null, "p", ONE], [null, 0, "k", ONE], [null, 1, "k", TWO]]),
    );
    let arrival = kit("inspect --format json", firehose.to_string()).stdout;
    assert!(
        arrival.contains(r#""shardId":"shardId-000000000003","approximateArrivalTimestamp":1767225600.1"#),
        "{arrival}"
    );

    let analytics = json!({ "applicationArn": "arn", "streamArn": "arn", "records": [
        { "recordId": "r", "data": ONE, "kinesisStreamRecordMetadata": { "sequenceNumber": "1", "partitionKey": "p" } },
    ] });
    check_read(analytics.to_string(), "a Kinesis Data Analytics event", json!([["1", null, "p", ONE]]));

    let daemon = concat!(
        r#"{"action":"initialize","shardId":"shardId-000000000000","sequenceNumber":"TRIM_HORIZON","subSequenceNumber":0}"#,
        "\n",
        r#"{"action":"processRecords","millisBehindLatest":0,"records":[{"action":"record","data":"dHdv","partitionKey":"p","#,
        r#""approximateArrivalTimestamp":1767225600100,"sequenceNumber":"1","subSequenceNumber":4}]}"#,
        "\n",
        r#"{"action":"checkpoint","sequenceNumber":"1","subSequenceNumber":4}"#,
        "\n",
        r#"{"action":"shutdownRequested"}"#,
    );
    check_read(daemon, "messages to a MultiLangDaemon client", json!([["1", 4, "p", TWO]]));
}

#[test]
fn parts_of_outputs_are_read() {
    let record = json!({ "SequenceNumber": "1", "PartitionKey": "p", "Data": ONE });
    check_read(json!([record]).to_string(), "get-records output", json!([["1", 0, "p", ONE]]));
    check_read(record.to_string(), "get-records output", json!([["1", 0, "p", ONE]]));
    check_read(event()["Records"][0].to_string(), "a Lambda event", json!([["1", 0, "p", ONE]]));
    let lines = format!("{}\n{}\n", event()["Records"][0], event()["Records"][1]);
    check_read(lines, "a Lambda event", of_event());
    check_read(json!([event(), event()]).to_string(), "a Lambda event", {
        let [once, twice] = [of_event(), of_event()].map(|lines| lines.as_array().cloned().expect("a list"));
        json!([once, twice].concat())
    });
    check_read(format!("\"{ONE}\"\n"), "base64", json!([[null, 0, null, ONE]]));
    check_read(json!([ONE, TWO]).to_string(), "base64", json!([[null, 0, null, ONE], [null, 0, null, TWO]]));
    check_read(
        format!("{ONE}\t{TWO}\n"),
        "the base64 of 2 records",
        json!([[null, 0, null, ONE], [null, 0, null, TWO]]),
    );
    // The command's own output.
    let own = kit("inspect --format json", event().to_string()).stdout;
    check_read(own, "a list of records", of_event());
}

#[test]
fn failure_records_are_read_with_their_payload_wherever_they_come_from() {
    let as_text = failure_record(Some(json!(event().to_string())));
    let as_object = failure_record(Some(event()));
    for record in [&as_text, &as_object] {
        check_read(record.to_string(), "a Lambda event in a failure record", of_event());
        for messages in sqs(&[(*record).clone()]) {
            check_read(
                messages.to_string(),
                "a Lambda event in a failure record in an SQS message",
                of_event(),
            );
        }
        let in_topic = sqs(&[sns_notification(record)]);
        check_read(
            in_topic[0].to_string(),
            "a Lambda event in a failure record in an SNS message in an SQS message",
            of_event(),
        );
        let sns = json!({ "Records": [{ "EventSource": "aws:sns", "Sns": sns_notification(record) }] });
        check_read(
            sns.to_string(),
            "a Lambda event in a failure record in an SNS message in an SNS event",
            of_event(),
        );
    }
    let bus = json!({ "detail-type": "t", "source": "s", "detail": as_object });
    check_read(bus.to_string(), "a Lambda event in a failure record in an EventBridge event", of_event());
    check_read(as_text.to_string().replace('\n', ""), "a Lambda event in a failure record", of_event());
    check_read(json!(as_text.to_string()).to_string(), "a Lambda event in a failure record", of_event());
}

#[track_caller]
fn check_named(input: &Value, reason: &str) {
    let stderr = format!("kinesis-kit: cannot read standard input as Kinesis records: {reason}\n");
    check("inspect", input.to_string(), 2, "", &stderr);
}

#[test]
fn what_holds_no_records_is_named_with_what_to_do() {
    let hint = "a failure record without \"payload\" names records but does not hold them: \
                `kinesis-kit redrive --file` reads them from the stream";
    let record = failure_record(None);
    check_named(&record, hint);
    check_named(&json!([record]), &format!("element 0: {hint}"));
    check_named(&json!(record.to_string()), hint);
    let [event, received] = sqs(&[sns_notification(&record)]);
    check_named(&event, &format!("element 0: an SQS message: an SNS message: {hint}"));
    check_named(&received, &format!("element 0: an SQS message: an SNS message: {hint}"));
    check_named(
        &json!({ "Records": [{ "eventSource": "aws:dynamodb", "dynamodb": {} }] }),
        r#"element 0: an event of "aws:dynamodb", not of "aws:kinesis" (--input raw shows it as one record)"#,
    );
}

#[test]
fn one_message_that_holds_none_is_listed_beside_the_others() {
    let [event, _] = sqs(&[failure_record(Some(event())), failure_record(None)]);
    let run = kit("inspect --format json", event.to_string());
    assert_eq!((run.exit_code, run.stdout.lines().count()), (Some(1), 4));
    let last = run.stdout.lines().last().unwrap_or_default();
    assert!(
        last.contains(r#""data":null"#) && last.contains("an SQS message: a failure record without"),
        "{last}"
    );
}

#[track_caller]
fn check_raw(input: &str, reason: &str) {
    let stderr = kit("inspect --format json", input).stderr;
    assert_eq!(stderr, format!("kinesis-kit: took standard input as raw bytes ({reason})\n"));
}

#[test]
fn json_is_never_refused_for_not_being_base64() {
    check_raw("[1]", r#"element 0: expected a JSON object with "Records", found a number"#);
    check_raw("12345", r#"expected a JSON object with "Records", found a number"#);
    check_raw(r#""not base64""#, r#"expected a JSON object with "Records", found text"#);
    check_raw(r#"{"Records":5}"#, r#""Records": expected an array, found a number"#);
    check_raw(r#"{"records":{}}"#, r#""records": expected an array, found an object"#);
    check_raw(r#"{"Messages":"x"}"#, r#""Messages": expected an array, found text"#);
    check_raw(r#"{"body":"x y"}"#, r#"an SQS message: expected a JSON object with "Records", found text"#);
    check_raw(
        r#"{"detail":{"a":1}}"#,
        r#"an EventBridge event: JSON object without "kinesis", "Data" or "data""#,
    );
    check_raw(r#"{"Records":[],"Records":[]}"#, "document cannot be read: duplicate field `Records`");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let run = kit("inspect --format json", deep);
    assert!(run.stderr.contains("JSON with too many documents inside each other"), "{}", run.stderr);
}

/// The text with a byte order mark, in UTF-8 and both kinds of UTF-16, and in UTF-16 without a mark.
fn encodings(text: &str) -> [Vec<u8>; 5] {
    let utf_16 =
        |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let marked = format!("\u{feff}{text}");
    [
        marked.clone().into_bytes(),
        utf_16(&marked, u16::to_le_bytes),
        utf_16(&marked, u16::to_be_bytes),
        utf_16(text, u16::to_le_bytes),
        utf_16(text, u16::to_be_bytes),
    ]
}

#[test]
fn every_encoding_of_a_text_is_read() {
    let lines =
        format!("{}\n{}\n", r#"{"partitionKey":"п","text":"one"}"#, r#"{"partitionKey":"п","text":"two"}"#);
    let scenario = r#"{"records":[{"id":"один","text":"x"}]}"#;
    let plain = [kit("aggregate", &lines), kit("simulate --scenario -", scenario)];
    for (event, (lines, scenario)) in encodings(&event().to_string())
        .into_iter()
        .zip(encodings(&lines).into_iter().zip(encodings(scenario)))
    {
        check_read(event, "a Lambda event", of_event());
        assert_eq!([kit("aggregate", lines), kit("simulate --scenario -", scenario)], plain);
    }
    for base64 in encodings(AGGREGATE) {
        check_read(base64, "base64", json!([[null, 0, "k", ONE], [null, 1, "k", TWO]]));
    }
}

#[test]
fn a_template_may_have_a_byte_order_mark() {
    let template =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml")).expect("text");
    let folder = tempfile::tempdir().expect("a folder");
    let doctor = |bytes: &[u8]| {
        let path = folder.path().join("template.yaml");
        fs::write(&path, bytes).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_kinesis-kit")).arg("doctor").arg(&path).output();
        output.expect("the binary runs")
    };
    let plain = doctor(template.as_bytes());
    assert!(plain.status.success());
    for bytes in encodings(&template) {
        assert_eq!(doctor(&bytes), plain);
    }
}

#[test]
fn a_text_that_cannot_be_decoded_is_named() {
    let broken = b"\xff\xfe{\0}";
    let reason = "malformed UTF-16: a single byte at 4; save it as UTF-8";
    for command in ["inspect --input event", "aggregate", "simulate --scenario -"] {
        let stderr = kit(command, broken).stderr;
        assert_eq!(stderr, format!("kinesis-kit: cannot read standard input: {reason}\n"), "{command}");
    }
    check_raw_bytes(broken, reason);
}

#[track_caller]
fn check_raw_bytes(input: &[u8], reason: &str) {
    let run = kit("inspect --format json", input);
    assert_eq!(run.stderr, format!("kinesis-kit: took standard input as raw bytes ({reason})\n"));
    let line: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(line["data"], json!("//57AH0="));
}
