use serde_json::Value;

use crate::kit::{check, kit};

const LINES: &str = r#"{"partitionKey":"k","text":"one"}
{"partitionKey":"k","text":"two","explicitHashKey":"5"}

{"partitionKey":"l","data":"AAE="}
"#;

#[test]
fn an_event_looks_like_a_real_one() {
    let event = concat!(
        r#"{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"a","#,
        r#""sequenceNumber":"49590338271490256608559692538361571095921575989136588898","#,
        r#""data":"84mawgoBawoBbBIBNRoHCAAaA29uZRoJCAAQABoDdHdvGgYIARoCAAF1z+gbSE13d+G21yzHoWPf","#,
        r#""approximateArrivalTimestamp":1545084650.987,"encryptionType":"NONE"},"#,
        r#""eventSource":"aws:kinesis","eventVersion":"1.0","#,
        r#""eventID":"shardId-000000000000:49590338271490256608559692538361571095921575989136588898","#,
        r#""eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/lambda-role","#,
        r#""awsRegion":"us-east-1","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/example"}]}"#,
        "\n"
    );
    check("aggregate", LINES, 0, event, "kinesis-kit: packed 3 user records into 1 Kinesis record\n");
}

#[test]
fn the_options_shape_the_event() {
    let event = concat!(
        r#"{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"k","sequenceNumber":"9","data":"b25l","#,
        r#""approximateArrivalTimestamp":1.5,"encryptionType":"NONE"},"eventSource":"aws:kinesis","eventVersion":"1.0","#,
        r#""eventID":"shardId-000000000007:9","eventName":"aws:kinesis:record","#,
        r#""invokeIdentityArn":"arn:aws-cn:iam::210987654321:role/lambda-role","awsRegion":"cn-north-1","#,
        r#""eventSourceARN":"arn:aws-cn:kinesis:cn-north-1:210987654321:stream/s"},"#,
        r#"{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"k","sequenceNumber":"10","data":"dHdv","#,
        r#""approximateArrivalTimestamp":1.5,"encryptionType":"NONE"},"eventSource":"aws:kinesis","eventVersion":"1.0","#,
        r#""eventID":"shardId-000000000007:10","eventName":"aws:kinesis:record","#,
        r#""invokeIdentityArn":"arn:aws-cn:iam::210987654321:role/lambda-role","awsRegion":"cn-north-1","#,
        r#""eventSourceARN":"arn:aws-cn:kinesis:cn-north-1:210987654321:stream/s"}]}"#,
        "\n"
    );
    check(
        "aggregate --shard-id shardId-000000000007 --stream-arn arn:aws-cn:kinesis:cn-north-1:210987654321:stream/s \
         --first-sequence-number 9 --arrival 1970-01-01T00:00:01.5Z --size-limit 10",
        "{\"partitionKey\":\"k\",\"text\":\"one\"}\n{\"partitionKey\":\"k\",\"text\":\"two\"}",
        0,
        event,
        "kinesis-kit: packed 2 user records into 2 Kinesis records\n",
    );
}

#[test]
fn requests_are_what_the_aws_cli_reads() {
    check(
        "aggregate --output put-records",
        LINES,
        0,
        concat!(
            r#"{"Records":[{"Data":"84mawgoBawoBbBIBNRoHCAAaA29uZRoJCAAQABoDdHdvGgYIARoCAAF1z+gbSE13d+G21yzHoWPf","#,
            r#""PartitionKey":"a","ExplicitHashKey":"187279361568289349169310600456257773043"}]}"#,
            "\n"
        ),
        "kinesis-kit: packed 3 user records into 1 Kinesis record\n",
    );
    check(
        "aggregate --output put-records --group-by partition-key --stream-arn arn:aws:kinesis:us-east-1:123456789012:stream/s",
        LINES,
        0,
        concat!(
            r#"{"StreamARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s","Records":[{"Data":"b25l","PartitionKey":"k"},"#,
            r#"{"Data":"dHdv","PartitionKey":"k","ExplicitHashKey":"5"},{"Data":"AAE=","PartitionKey":"l"}]}"#,
            "\n"
        ),
        "kinesis-kit: packed 3 user records into 3 Kinesis records\n",
    );
}

#[test]
fn many_records_are_several_requests() {
    let lines: String =
        (0..501).map(|key| format!("{{\"partitionKey\":\"{key}\",\"text\":\"x\"}}\n")).collect();
    let run = kit("aggregate --output put-records --group-by partition-key", lines);
    let records: Vec<_> = run.stdout.lines().map(|request| request.matches("PartitionKey").count()).collect();
    assert_eq!(records, [500, 1]);
}

#[test]
fn nothing_in_is_nothing_out() {
    let packed_none = "kinesis-kit: packed 0 user records into 0 Kinesis records\n";
    check("aggregate", "\n \r\n", 0, "{\"Records\":[]}\n", packed_none);
    check("aggregate --output put-records", "", 0, "", packed_none);
}

#[test]
fn every_wrong_line_is_listed_and_nothing_is_written() {
    check(
        "aggregate --size-limit 100",
        format!(
            "{{\"partitionKey\":\"k\",\"text\":\"one\"}}\n\nfoo\n{{\"partitionKey\":\"\",\"text\":\"\"}}\n{}\n{{}}\n",
            format_args!("{{\"partitionKey\":\"k\",\"text\":\"{}\"}}", "x".repeat(100))
        ),
        1,
        "",
        "kinesis-kit: line 3: expected a JSON object\n\
         kinesis-kit: line 4: partition key has 0 characters, not 1 to 256\n\
         kinesis-kit: line 5: user record of 101 bytes (data and partition key) exceeds the limit of 100 bytes\n\
         kinesis-kit: line 6: partitionKey is missing\n\
         kinesis-kit: 4 of 5 lines cannot be aggregated: nothing was written\n",
    );

    let listed: String =
        (1..=20).map(|line| format!("kinesis-kit: line {line}: expected a JSON object\n")).collect();
    check(
        "aggregate",
        "x\n".repeat(1000),
        1,
        "",
        &format!(
            "{listed}kinesis-kit: there are more\nkinesis-kit: 1000 of 1000 lines cannot be aggregated: nothing was written\n"
        ),
    );
}

#[test]
fn an_event_that_lambda_would_not_deliver_is_written_with_a_warning() {
    let line = format!("{{\"partitionKey\":\"k\",\"text\":\"{}\"}}\n", "x".repeat(1_000_000));
    let run = kit("aggregate", line.repeat(5));
    let event_bytes = run.stdout.trim_end().len();
    assert!(event_bytes > 6_291_456);
    assert_eq!(run.exit_code, Some(0));
    assert_eq!(
        run.stderr,
        format!(
            "kinesis-kit: warning: the event has {event_bytes} bytes, more than the 6291456 that Lambda delivers at once\n\
             kinesis-kit: packed 5 user records into 5 Kinesis records\n"
        )
    );
}

#[test]
fn wrong_options_are_named() {
    let refused = |args: &str, reason: &str| {
        let run = kit(&format!("aggregate {args}"), "");
        assert_eq!((run.exit_code, &*run.stdout), (Some(2), ""));
        assert!(run.stderr.contains(reason), "{}", run.stderr);
    };
    refused("--size-limit 10485761", "'--size-limit <BYTES>': 10485761 is not in 1..=10485760");
    refused("--shard-id a:b", "'--shard-id <ID>': expected letters, digits, '_', '.' and '-'");
    refused("--arrival soon", "'--arrival <TIME>': expected seconds since 1970, or a time with its zone");
    refused(
        "--first-sequence-number +7",
        "'--first-sequence-number <NUMBER>': invalid character in the sequence number at byte 0, expected a digit",
    );
    refused(
        "--stream-arn s",
        "'--stream-arn <ARN>': expected arn:PARTITION:kinesis:REGION:ACCOUNT:stream/NAME",
    );
}

#[test]
fn sequence_numbers_may_run_out() {
    let largest = "6277101735386680763835789423207666416102355444464034512895";
    check(
        &format!("aggregate --group-by partition-key --first-sequence-number {largest}"),
        LINES,
        2,
        "",
        &format!(
            "kinesis-kit: not enough sequence numbers after {largest}: sequence number of 58 digits exceeds 192 bits\n"
        ),
    );
}

#[test]
fn user_records_of_many_keys_are_closed_before_they_fill_the_memory() {
    // More than 64 MiB of open Kinesis records, with 512 bytes for each.
    let keys = 64 * 1024 * 1024 / 512;
    let line = |key: usize| format!("{{\"partitionKey\":\"{key}\",\"text\":\"x\"}}\n");
    // The first key again behind all others: it shares no record with the first one, because that is closed by then.
    let lines: String = (0..keys).chain([0]).map(line).collect();
    let run = kit("aggregate --group-by partition-key --output put-records", lines);
    let packed = format!("kinesis-kit: packed {0} user records into {0} Kinesis records\n", keys + 1);
    assert_eq!((run.exit_code, run.stderr), (Some(0), packed));
}

#[test]
fn plain_json_lines_are_payloads_with_their_key_in_a_field() {
    let lines =
        "{\"id\":\"A-1\",\"customer\":{\"id\":\"c-1\"}}\n\n{\"id\":\"A-2\",\"customer\":{\"id\":2}}\n";
    let event = kit("aggregate --key /customer/id", lines);
    assert_eq!(event.exit_code, Some(0), "{}", event.stderr);
    let shown = kit("inspect --format json", &event.stdout).stdout;
    let shown: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let keys: Vec<_> = shown.iter().map(|line| line["partitionKey"].as_str().expect("text")).collect();
    assert_eq!(keys, ["c-1", "2"]);
    assert_eq!(shown[1]["data"], "eyJpZCI6IkEtMiIsImN1c3RvbWVyIjp7ImlkIjoyfX0=");

    let run = kit("aggregate --key name", lines);
    assert_eq!(run.exit_code, Some(1));
    assert!(
        run.stderr.starts_with("kinesis-kit: line 1: no field \"name\"\nkinesis-kit: line 3: no field"),
        "{}",
        run.stderr
    );
    let run = kit("aggregate", lines);
    assert!(run.stderr.contains("name the field that has its partition key: --key FIELD"), "{}", run.stderr);
}

#[test]
fn payloads_are_compressed_on_request() {
    for format in ["gzip", "zstd"] {
        let event =
            kit(&format!("aggregate --compress {format}"), "{\"partitionKey\":\"k\",\"text\":\"one\"}\n");
        assert_eq!(event.exit_code, Some(0), "{}", event.stderr);
        let shown = kit("inspect", &event.stdout).stdout;
        assert!(shown.ends_with(&format!("{format}: one\n")), "{shown}");
    }
}
