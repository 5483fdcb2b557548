use std::{
    io::Read,
    process::{Command, Stdio},
};

use base64::prelude::*;
use kpl_deaggregation::{UserRecord, encode};
use serde_json::{Value, json};

use crate::kit::{check, kit, kit_with};

/// An aggregate of two user records with the key `k`: `one` and `two`.
const AGGREGATE: &str = "84mawgoBaxoHCAAaA29uZRoHCAAaA3R3b0s8vQwjbuq1OM6wBLyAHeA=";

const TWO_LINES: &str = concat!(
    r#"{"sequenceNumber":null,"subSequenceNumber":0,"aggregated":true,"partitionKey":"k","explicitHashKey":null,"data":"b25l","shardId":null,"approximateArrivalTimestamp":null}"#,
    "\n",
    r#"{"sequenceNumber":null,"subSequenceNumber":1,"aggregated":true,"partitionKey":"k","explicitHashKey":null,"data":"dHdv","shardId":null,"approximateArrivalTimestamp":null}"#,
    "\n",
);

/// A plain record of which nothing but the data is known.
fn plain_line(data: &str) -> String {
    format!(
        "{{\"sequenceNumber\":null,\"subSequenceNumber\":0,\"aggregated\":false,\"partitionKey\":null,\
         \"explicitHashKey\":null,\"data\":\"{data}\",\"shardId\":null,\"approximateArrivalTimestamp\":null}}\n"
    )
}

#[track_caller]
fn check_auto(stdin: &str, stdout: &str, taken_as: &str) {
    let none = if stdout.is_empty() { "kinesis-kit: no records\n" } else { "" };
    check(
        "inspect --format json",
        stdin,
        0,
        stdout,
        &format!("kinesis-kit: took standard input as {taken_as}\n{none}"),
    );
}

#[test]
fn auto_takes_what_fits_first_and_says_so() {
    check_auto(r#"{"Records":[]}"#, "", "a Lambda event");
    check_auto(r#"{"Records":[],"MillisBehindLatest":0}"#, "", "get-records output");
    check_auto(AGGREGATE, TWO_LINES, "base64");
    check_auto(&format!("\n  {}\r\n{}\n", &AGGREGATE[..9], &AGGREGATE[9..]), TWO_LINES, "base64");
    check_auto("1234", &plain_line("1234"), "base64");
    check_auto("\n", &plain_line(""), "base64");
    check_auto("a b", &plain_line("YSBi"), "raw bytes (byte at line 1, column 2 is not part of base64)");
    check_auto("[]", "", "an empty list");
    check_auto(r#"{"id":1}"#, &plain_line("eyJpZCI6MX0="), r#"raw bytes (JSON object without "Records")"#);
    check_auto(
        r#"{"Records":[{}]}"#,
        &plain_line("eyJSZWNvcmRzIjpbe31dfQ=="),
        r#"raw bytes (element 0: JSON object without "kinesis", "Data" or "data")"#,
    );
    check_auto(
        "{\"id\":1}\n{\"id\":2}\n",
        &plain_line("eyJpZCI6MX0KeyJpZCI6Mn0K"),
        r#"raw bytes (element 0: JSON object without "kinesis", "Data" or "data"); if each line is a payload, name the field of its partition key: kinesis-kit aggregate --key FIELD packs them, kinesis-kit invoke --key FIELD delivers them"#,
    );
    check_auto(
        r#"{"Records":["#,
        &plain_line("eyJSZWNvcmRzIjpb"),
        "raw bytes (not JSON: EOF while parsing a list at line 1 column 12)",
    );
}

#[test]
fn an_option_for_a_stream_is_not_ignored_with_a_file() {
    for (option, name) in
        [("--from 10m", "--from"), ("--count 2", "--count"), ("--shard s", "--shard"), ("--for 1", "--for")]
    {
        check(&format!("inspect {option} -"), "{}", 2, "", &format!("kinesis-kit: {name} is for --stream\n"));
    }
}

#[track_caller]
fn check_refused(kind: &str, stdin: &str, message: &str) {
    check(
        &format!("inspect --input {kind}"),
        stdin,
        2,
        "",
        &format!("kinesis-kit: cannot read standard input as {message}\n"),
    );
}

#[test]
fn an_input_of_another_kind_is_refused() {
    let event = r#"{"Records":[{"kinesis":{"sequenceNumber":"1","data":""}}]}"#;
    let records = r#"{"Records":[{"SequenceNumber":"1","Data":""}]}"#;
    check_refused("event", records, r#"a Lambda event: no record has a member "kinesis""#);
    check_refused(
        "records",
        event,
        r#"get-records output: no record has a member "SequenceNumber", "Data" or "PartitionKey""#,
    );
    check_refused("event", "{}", r#"a Lambda event: JSON object without "Records""#);
    check_refused(
        "event",
        r#"["1", null]"#,
        r#"a Lambda event: element 0: expected a JSON object with "Records", found text"#,
    );
    check_refused(
        "records",
        r#"{"Records":"none"}"#,
        r#"get-records output: "Records": expected an array, found text"#,
    );
    check_refused("event", "", "a Lambda event: not JSON: EOF while parsing a value at line 1 column 0");
    check_refused(
        "event",
        "{\n\"Records\":[}",
        "a Lambda event: not JSON: expected value at line 2 column 12",
    );
    check_refused("base64", "YWJj\nYW?j", "base64: byte at line 2, column 3 is not part of base64");
    check_refused("base64", "YWJjYQ", "base64: length or padding is not that of base64");
}

#[test]
fn what_cannot_be_read_is_named() {
    check(
        "inspect no/such/file",
        "",
        2,
        "",
        "kinesis-kit: cannot read no/such/file: No such file or directory (os error 2)\n",
    );
}

#[test]
fn nothing_on_standard_error_acts_on_the_terminal() {
    let run = kit_with(["inspect", "no\u{1b}[2J\nsuch\u{202e}file"], "");
    assert_eq!(
        run.stderr,
        "kinesis-kit: cannot read no\\u{1b}[2J\\nsuch\\u{202e}file: No such file or directory (os error 2)\n"
    );
}

/// Each record has something wrong with it, or looks as if it had.
const ODD_EVENT: &str = r#"{"Records":[
    {"kinesis":{"sequenceNumber":"007","partitionKey":"ключ","data":"YQ==","approximateArrivalTimestamp":1.5}},
    {"kinesis":{"sequenceNumber":"2","partitionKey":"k","data":"Y!=="},"eventID":"shardId-000000000001:2"},
    {"kinesis":{"sequenceNumber":"3","partitionKey":"k"}},
    {"kinesis":{"sequenceNumber":"4","partitionKey":{},"data":["YQ=="]}},
    {"kinesis":{"sequenceNumber":"5","partitionKey":5,"data":"YQ=="}},
    {"kinesis":{"sequenceNumber":6,"partitionKey":"k","data":"YQ=="}},
    {"kinesis":{"sequenceNumber":"7","data":"\ud800"}},
    {"kinesis":{"sequenceNumber":"8","data":"YQ==","data":"YQ=="}},
    {"kinesis":"9"},
    {"eventID":"shardId-000000000001:10"},
    null,
    {"kinesis":{"sequenceNumber":"12","partitionKey":null,"data":"YQ==","approximateArrivalTimestamp":"?"}},
    {"kinesis":{"sequenceNumber":"13","partitionKey":"a","data":"84mawgoBaxoHCAAaA29uZRoHCAAaA3R3b0s8vQwjbuq1OM6wBLyAHeA="},
        "eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/c:1"},
    {"kinesis":{"sequenceNumber":"14","partitionKey":"a","data":"84mawgoBaxoHCAAaA29uZRoHCAAaA3R3b0s8vQwjbuq1OM6wBLyAHeA="}}
]}"#;

#[test]
fn a_bad_record_leaves_the_others_readable() {
    let lines = [
        r#"{"sequenceNumber":"007","subSequenceNumber":0,"aggregated":false,"partitionKey":"ключ","explicitHashKey":null,"data":"YQ==","shardId":null,"approximateArrivalTimestamp":1.5}"#,
        r#"{"sequenceNumber":"2","subSequenceNumber":null,"aggregated":null,"partitionKey":"k","explicitHashKey":null,"data":null,"shardId":"shardId-000000000001","approximateArrivalTimestamp":null,"invalid":"data is not base64: illegal byte at 1"}"#,
        r#"{"sequenceNumber":"3","subSequenceNumber":null,"aggregated":null,"partitionKey":"k","explicitHashKey":null,"data":null,"shardId":null,"approximateArrivalTimestamp":null,"invalid":"data is missing"}"#,
        r#"{"sequenceNumber":"4","subSequenceNumber":null,"aggregated":null,"partitionKey":null,"explicitHashKey":null,"data":null,"shardId":null,"approximateArrivalTimestamp":null,"invalid":"data is an array instead of base64 text"}"#,
        r#"{"sequenceNumber":"5","subSequenceNumber":null,"aggregated":null,"partitionKey":null,"explicitHashKey":null,"data":null,"shardId":null,"approximateArrivalTimestamp":null,"invalid":"partition key is a number instead of text"}"#,
        r#"{"sequenceNumber":null,"subSequenceNumber":null,"aggregated":null,"partitionKey":"k","explicitHashKey":null,"data":null,"shardId":null,"approximateArrivalTimestamp":null,"invalid":"sequence number is a number instead of text"}"#,
        r#"{"sequenceNumber":"7","subSequenceNumber":null,"aggregated":null,"partitionKey":null,"explicitHashKey":null,"data":null,"shardId":null,"approximateArrivalTimestamp":null,"invalid":"data cannot be read: unexpected end of hex escape"}"#,
        r#"{"sequenceNumber":null,"subSequenceNumber":null,"aggregated":null,"partitionKey":null,"explicitHashKey":null,"data":null,"shardId":null,"approximateArrivalTimestamp":null,"invalid":"kinesis cannot be read: duplicate field `data`"}"#,
        r#"{"sequenceNumber":null,"subSequenceNumber":null,"aggregated":null,"partitionKey":null,"explicitHashKey":null,"data":null,"shardId":null,"approximateArrivalTimestamp":null,"invalid":"kinesis is text instead of an object"}"#,
        r#"{"sequenceNumber":null,"subSequenceNumber":null,"aggregated":null,"partitionKey":null,"explicitHashKey":null,"data":null,"shardId":"shardId-000000000001","approximateArrivalTimestamp":null,"invalid":"kinesis is missing"}"#,
        r#"{"sequenceNumber":null,"subSequenceNumber":null,"aggregated":null,"partitionKey":null,"explicitHashKey":null,"data":null,"shardId":null,"approximateArrivalTimestamp":null,"invalid":"record is null instead of an object"}"#,
        r#"{"sequenceNumber":"12","subSequenceNumber":0,"aggregated":false,"partitionKey":null,"explicitHashKey":null,"data":"YQ==","shardId":null,"approximateArrivalTimestamp":null}"#,
        r#"{"sequenceNumber":"13","subSequenceNumber":null,"aggregated":false,"partitionKey":"a","explicitHashKey":null,"data":"84mawgoBaxoHCAAaA29uZRoHCAAaA3R3b0s8vQwjbuq1OM6wBLyAHeA=","shardId":null,"approximateArrivalTimestamp":null}"#,
        r#"{"sequenceNumber":"14","subSequenceNumber":0,"aggregated":true,"partitionKey":"k","explicitHashKey":null,"data":"b25l","shardId":null,"approximateArrivalTimestamp":null}"#,
        r#"{"sequenceNumber":"14","subSequenceNumber":1,"aggregated":true,"partitionKey":"k","explicitHashKey":null,"data":"dHdv","shardId":null,"approximateArrivalTimestamp":null}"#,
        "",
    ];
    check(
        "inspect --format json --input event",
        ODD_EVENT,
        1,
        &lines.join("\n"),
        "kinesis-kit: 14 Kinesis records, 5 user records, 1 aggregated, 10 invalid\n",
    );
}

#[test]
fn records_of_the_api_tell_what_they_can() {
    let records = r#"{"Records":[
        {"SequenceNumber":"1","Data":"YQ==","PartitionKey":"k","ApproximateArrivalTimestamp":1545084650.98},
        {"SequenceNumber":"2","Data":"YQ==","PartitionKey":"k","ApproximateArrivalTimestamp":"2018-12-17T22:10:50Z"},
        {"Data":"YQ==","PartitionKey":"k","ExplicitHashKey":"5"},
        {"SequenceNumber":"4","Data":"YQ","PartitionKey":"k","ExplicitHashKey":"5"},
        {"Data":"84mawgoBaxoHCAAaA29uZRoHCAAaA3R3b0s8vQwjbuq1OM6wBLyAHeA=","PartitionKey":"a","ExplicitHashKey":"5"}
    ]}"#;
    let lines = [
        r#"{"sequenceNumber":"1","subSequenceNumber":0,"aggregated":false,"partitionKey":"k","explicitHashKey":null,"data":"YQ==","shardId":null,"approximateArrivalTimestamp":1545084650.98}"#,
        r#"{"sequenceNumber":"2","subSequenceNumber":0,"aggregated":false,"partitionKey":"k","explicitHashKey":null,"data":"YQ==","shardId":null,"approximateArrivalTimestamp":1545084650.0}"#,
        r#"{"sequenceNumber":null,"subSequenceNumber":0,"aggregated":false,"partitionKey":"k","explicitHashKey":"5","data":"YQ==","shardId":null,"approximateArrivalTimestamp":null}"#,
        r#"{"sequenceNumber":"4","subSequenceNumber":null,"aggregated":null,"partitionKey":"k","explicitHashKey":null,"data":null,"shardId":null,"approximateArrivalTimestamp":null,"invalid":"data is not base64: illegal length or padding"}"#,
        TWO_LINES,
    ];
    check(
        "inspect --format json --input records",
        records,
        1,
        &lines.join("\n"),
        "kinesis-kit: 5 Kinesis records, 5 user records, 1 aggregated, 1 invalid\n",
    );
}

#[test]
fn the_table_is_for_people() {
    let event = r#"{"Records":[
        {"kinesis":{"sequenceNumber":"49590338271490256608559692538361571095921575989136588898","partitionKey":"注文-1",
            "data":"eyJjZW50cyI6MTI1MCwibm90ZSI6IumAn+OBj1xuIn0K","approximateArrivalTimestamp":1545084650.987}},
        {"kinesis":{"sequenceNumber":"49590338271490256608559692540925702759324208523137515618","partitionKey":"a",
            "data":"84mawgoBaxoHCAAaA29uZRoHCAAaA3R3b0s8vQwjbuq1OM6wBLyAHeA=","approximateArrivalTimestamp":1545084651}},
        {"kinesis":{"sequenceNumber":"3","partitionKey":"","data":""}},
        {"kinesis":{"sequenceNumber":"4","data":"84mawgoBaxoHCAAaA29uZRoHCAAaA3R3b0s8vQwjbuq1OM6wBLyAHeE="}},
        {"kinesis":{"sequenceNumber":"5","partitionKey":"k","data":"!"}}
    ]}"#;
    let table = "\
POSITION                                                    KEY     HASH KEY  ARRIVAL (UTC)            SIZE  DATA
49590338271490256608559692538361571095921575989136588898:0  注文-1  -         2018-12-17 22:10:50.987    33  {\"cents\":1250,\"note\":\"速く\\n\"}\\n
49590338271490256608559692540925702759324208523137515618:0  k       -         2018-12-17 22:10:51.000     3  one
49590338271490256608559692540925702759324208523137515618:1  k       -         2018-12-17 22:10:51.000     3  two
3:0                                                         \"\"      -         -                           0  \"\"
4:0                                                         -       -         -                          41  0xf3899ac20a016b1a0708001a036f6e651a0708001a0374776f4b3cbd0c236eeab538ceb004bc801de1
5                                                           k       -         -                           -  INVALID: data is not base64: illegal byte at 0
";
    let notes = "kinesis-kit: took standard input as a Lambda event\n\
                 kinesis-kit: 5 Kinesis records, 5 user records, 1 aggregated, 1 invalid, 1 with a checksum mismatch\n";
    check("inspect", event, 1, table, notes);
}

#[test]
fn the_table_has_a_summary() {
    check(
        "inspect --input base64",
        AGGREGATE,
        0,
        "POSITION  KEY  HASH KEY  ARRIVAL (UTC)  SIZE  DATA\n\
         :0        k    -         -                 3  one\n\
         :1        k    -         -                 3  two\n",
        "kinesis-kit: 1 Kinesis record, 2 user records, 1 aggregated, 0 invalid\n",
    );
    check("inspect --input records", r#"{"Records":[]}"#, 0, "", "kinesis-kit: no records\n");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kinesis-kit"))
        .args(["inspect", "--format", "json", "--input", "raw"])
        // More than a pipe holds.
        .arg(env!("CARGO_BIN_EXE_kinesis-kit"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut [0; 10]).expect("output");
    drop(stdout);
    let output = child.wait_with_output().expect("an end");
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}

#[test]
fn wrong_usage_is_told_from_failed_work() {
    assert_eq!(kit("inspect --format xml", "").exit_code, Some(2));
    assert_eq!(kit("", "").exit_code, Some(2));
    assert_eq!(kit("--version", "").stdout, concat!("kinesis-kit ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn an_input_without_records_says_so() {
    let empty = "kinesis-kit: took standard input as empty\nkinesis-kit: no records\n";
    for format in ["json", "table"] {
        for input in ["", "\u{feff}"] {
            check(&format!("inspect --format {format}"), input, 0, "", empty);
        }
        let run = kit(&format!("inspect --input event --format {format}"), r#"{"Records":[]}"#);
        assert_eq!((run.exit_code, run.stderr.as_str()), (Some(0), "kinesis-kit: no records\n"));
    }
}

/// An event with an aggregate in which every user record has one key of 300 KB.
fn event_with_a_huge_key(user_records: usize) -> String {
    let key = "k".repeat(300_000);
    let user_record = UserRecord::new(key.as_bytes(), b"data");
    let data = encode(std::iter::repeat_n(user_record, user_records)).expect("user records");
    let data = BASE64_STANDARD.encode(data);
    json!({ "Records": [{ "kinesis": { "sequenceNumber": "1", "partitionKey": "p", "data": data } }] })
        .to_string()
}

#[test]
fn one_huge_key_does_not_make_the_output_huge() {
    // About as many as there may be before the keys are more than 1 GiB together.
    let user_records = 3_500;
    let event = event_with_a_huge_key(user_records);
    assert!(event.len() < 500_000);
    let shortened = "kinesis-kit: 3500 lines with a key of more than 1024 bytes, which is shortened: \
                     --full-keys shows it whole\n";
    for (format, bytes_per_line) in [("json", 300), ("table", 120)] {
        let run = kit(&format!("inspect --input event --format {format}"), &event);
        assert_eq!(run.exit_code, Some(0));
        // A table has no room for long keys.
        assert_eq!(run.stderr.ends_with(shortened), format == "json", "{}", run.stderr);
        assert_eq!(run.stderr.contains("--full-keys"), format == "json", "{}", run.stderr);
        assert!(run.stdout.len() < user_records * bytes_per_line, "{} bytes as {format}", run.stdout.len());
        assert!(run.stdout.lines().count() >= user_records);
    }
    let run = kit("inspect --input event", event_with_a_huge_key(60_000));
    assert_eq!(run.exit_code, Some(1));
    assert!(run.stdout.contains("invalid"), "{}", run.stdout);
    assert!(run.stdout.len() < 1_000, "{} bytes", run.stdout.len());
    let one = json!({ "Records": [{ "Data": "", "PartitionKey": "é".repeat(600), "ExplicitHashKey": "5" }] })
        .to_string();
    let shown = |args: &str| -> Value {
        serde_json::from_str(&kit(&format!("inspect --format json {args}"), &one).stdout).expect("JSON")
    };
    let (short, whole) = (shown(""), shown("--full-keys"));
    assert_eq!(short["partitionKey"], json!(format!("{}…", "é".repeat(64))));
    assert_eq!((&short["partitionKeyBytes"], &short["explicitHashKey"]), (&json!(1200), &json!("5")));
    assert_eq!(
        (&whole["partitionKey"], &whole["partitionKeyBytes"]),
        (&json!("é".repeat(600)), &Value::Null)
    );
}

#[test]
fn a_shortened_key_is_not_taken_for_a_key() {
    let one = json!({ "Records": [{ "Data": "", "PartitionKey": "k".repeat(1025) }] }).to_string();
    let line = kit("inspect --format json", &one).stdout;
    check(
        "aggregate",
        line,
        1,
        "",
        "kinesis-kit: line 1: its key is shortened: `kinesis-kit inspect --full-keys` writes it whole\n\
         kinesis-kit: 1 of 1 lines cannot be aggregated: nothing was written\n",
    );
}
