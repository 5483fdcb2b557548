use serde_json::{Value, json};

use crate::kit::{check, check_in_columns, kit, kit_where};

/// Four records, of which the second always fails, and the fourth in three invocations.
const POISON: &str = r#"{
    "mapping": {"BatchSize": 100, "MaximumRetryAttempts": 1, "BisectBatchOnFunctionError": true,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:failures"}}},
    "records": [{"id": 1, "text": "x"}, {"id": 2, "text": "x"}, {"id": 3, "text": "x"}, {"id": 4, "text": "x"}],
    "function": {"fails": [{"id": 2}, {"id": 4, "times": 3}]}
}"#;

#[test]
fn the_table_tells_what_was_retried_bisected_and_discarded() {
    let table = "\
\x20       TIME  BATCH      REQUEST                               TRY  OUTCOME                       RECORDS
00:00:00.000  new        7746a55f-bad8-4037-b585-f767a79a3b6c    1  partial: records 2, 4 failed  1-4
00:00:00.035  remainder  8cae14cb-947e-40bd-a10d-666732024679    1  failed: records 2, 4          2-4
00:00:00.082  bisected   277fa208-e6b3-4e08-8dc4-a23a7e88e660    1  failed: record 2              2
00:00:00.305  retry      277fa208-e6b3-4e08-8dc4-a23a7e88e660    2  failed: record 2              2
00:00:00.310  DISCARDED 1 record: 2; RetryAttemptsExhausted, approximateInvokeCount 2, sent to SQS queue failures
00:00:00.310  bisected   c54302f2-eb1e-4f69-a176-53a37f1bcc44    1  partial: record 4 failed      3-4
00:00:00.352  remainder  d5c77190-958d-498b-a360-c6e191a93619    1  ok                            4

FATE       COUNT  RECORDS
processed      3  1, 3-4
discarded      1  2
dropped        0  -
unread         0  -

METRIC                                   VALUE
PolledEventCount                         4
FilteredOutEventCount                    0
InvokedEventCount                        12
FailedInvokeEventCount                   7
DroppedEventCount                        0
OnFailureDestinationDeliveredEventCount  1
IteratorAge (ms, maximum)                357
";
    check("simulate --scenario -", POISON, 0, table, "");
}

#[test]
fn json_is_one_object() {
    let json = concat!(
        r#"{"invocations":[{"atMs":0,"requestId":"7746a55f-bad8-4037-b585-f767a79a3b6c","#,
        r#""shardId":"shardId-000000000000","ids":["1","2","3","4"],"outcome":"partial","reported":["2","#,
        r#""4"]},"#,
        r#"{"atMs":35,"requestId":"8cae14cb-947e-40bd-a10d-666732024679","shardId":"shardId-000000000000","#,
        r#""ids":["2","3","4"],"outcome":"partial","reported":["2","4"]},"#,
        r#"{"atMs":82,"requestId":"277fa208-e6b3-4e08-8dc4-a23a7e88e660","shardId":"shardId-000000000000","#,
        r#""ids":["2"],"outcome":"partial","reported":["2"]},"#,
        r#"{"atMs":305,"requestId":"277fa208-e6b3-4e08-8dc4-a23a7e88e660","#,
        r#""shardId":"shardId-000000000000","ids":["2"],"outcome":"partial","reported":["2"]},"#,
        r#"{"atMs":310,"requestId":"c54302f2-eb1e-4f69-a176-53a37f1bcc44","#,
        r#""shardId":"shardId-000000000000","ids":["3","4"],"outcome":"partial","reported":["4"]},"#,
        r#"{"atMs":352,"requestId":"d5c77190-958d-498b-a360-c6e191a93619","#,
        r#""shardId":"shardId-000000000000","ids":["4"],"outcome":"success","reported":[]}],"#,
        r#""discarded":[{"ids":["2"],"#,
        r#""condition":"RetryAttemptsExhausted","approximateInvokeCount":2}],"#,
        r#""destination":[{"requestContext":{"requestId":"277fa208-e6b3-4e08-8dc4-a23a7e88e660","#,
        r#""functionArn":"arn:aws:lambda:us-east-1:123456789012:function:simulated-function","#,
        r#""condition":"RetryAttemptsExhausted","approximateInvokeCount":2},"#,
        r#""responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":null},"#,
        r#""version":"1.0","timestamp":"2026-01-01T00:00:00.310Z","#,
        r#""KinesisBatchInfo":{"shardId":"shardId-000000000000","#,
        r#""startSequenceNumber":"49670000000000000000000000000000133784000000000000000037","#,
        r#""endSequenceNumber":"49670000000000000000000000000000133784000000000000000037","#,
        r#""approximateArrivalOfFirstRecord":"2026-01-01T00:00:00.000Z","#,
        r#""approximateArrivalOfLastRecord":"2026-01-01T00:00:00.000Z","batchSize":1,"#,
        r#""streamArn":"arn:aws:kinesis:us-east-1:123456789012:stream/example"}}],"#,
        r#""dropped":[],"#,
        r#""completed":["1","3","4"],"#,
        r#""unread":[],"#,
        r#""metrics":{"PolledEventCount":4,"FilteredOutEventCount":0,"InvokedEventCount":12,"#,
        r#""FailedInvokeEventCount":7,"DroppedEventCount":0,"OnFailureDestinationDeliveredEventCount":1,"#,
        r#""IteratorAge":357}}"#,
        "\n"
    );
    check("simulate --scenario - --format json", POISON, 0, json, "");
}

#[test]
fn a_timeline_shows_faults_shards_lanes_and_drops() {
    let scenario = r#"{
        "mapping": {"ParallelizationFactor": 2, "MaximumRecordAgeInSeconds": 60, "BatchSize": 2,
            "FilterCriteria": {"Filters": [{"Pattern": "{\"data\":{\"ok\":[true]}}"}]}},
        "stream": {"shards": [{"shardId": "shardId-000000000000"},
            {"shardId": "shardId-000000000012", "parents": ["shardId-000000000000"]}]},
        "records": [
            {"id": "a-1", "text": "{\"ok\":true}", "shardId": "shardId-000000000000"},
            {"id": "a-2", "text": "{\"ok\":true}", "shardId": "shardId-000000000000"},
            {"id": "a-3", "text": "{\"ok\":true}", "shardId": "shardId-000000000000"},
            {"id": "a-4", "text": "{\"ok\":false}", "shardId": "shardId-000000000000"},
            {"id": "late", "text": "{\"ok\":true}", "shardId": "shardId-000000000012", "atMs": 90000000,
                "partitionKey": "z"}],
        "function": {"durationMs": 100, "timeoutMs": 3000, "fails": [{"id": "a-3", "how": "throw"}]},
        "faults": [{"kind": "throttle", "atMs": 0}, {"kind": "duplicate", "atMs": 200},
            {"kind": "clockJump", "atMs": 1500, "untilMs": 61500}, {"kind": "zombie", "atMs": 90000000}]
    }"#;
    let table = "\
\x20          TIME  SHARD  BATCH      REQUEST   TRY  OUTCOME                                   RECORDS
   00:00:00.000  0/0    FILTERED OUT 1 record: a-4; no filter admits them
   00:00:00.000  0/0    new        14d03022    1  throttled                                 a-1 to a-2
   00:00:00.218  0/0    retry      14d03022    2  ok                                        a-1 to a-2
   00:00:00.318  0/0    duplicate  14d03022    3  ok (ignored)                              a-1 to a-2
   00:00:00.418  0/0    new        344e34fa    1  failed: Scripted: as scripted             a-3
   00:00:00.735  0/0    retry      344e34fa    2  failed: Scripted: as scripted             a-3
   00:00:01.292  0/0    retry      344e34fa    3  failed: Scripted: as scripted             a-3
   00:01:01.500  0/0    DISCARDED 1 record: a-3; RecordAgeExceeded, approximateInvokeCount 1, dropped: no destination
1d 01:00:00.500  12/1   new        18647875    1  failed: timed out (fault, keeps running)  late
1d 01:00:03.713  12/1   retry      18647875    2  ok                                        late

FATE          COUNT  RECORDS
processed         3  a-1 to a-2, late
discarded         0  -
dropped           1  a-3
filtered out      1  a-4
unread            0  -

METRIC                                   VALUE
PolledEventCount                         5
FilteredOutEventCount                    1
InvokedEventCount                        11
FailedInvokeEventCount                   6
DroppedEventCount                        1
OnFailureDestinationDeliveredEventCount  0
IteratorAge (ms, maximum)                3813
";
    check_in_columns("120", "simulate --scenario - --seed 3", scenario, 0, table);
}

/// Checks the timeline alone.
#[track_caller]
fn check_timeline(scenario: &str, expected: &str) {
    let run = kit_where(&[("COLUMNS", "80")], ["simulate", "--scenario", "-"], scenario);
    assert_eq!(run.stdout.split_once("\n\n").map(|(timeline, _)| timeline), Some(expected));
}

#[test]
fn a_timeline_tells_what_is_read_again_and_what_closes_a_window() {
    check_timeline(
        r#"{
            "mapping": {"BatchSize": 2, "FunctionResponseTypes": ["ReportBatchItemFailures"]},
            "records": [{"id": 1, "text": ""}, {"id": 2, "text": ""}, {"id": 3, "text": ""}, {"id": 4, "text": ""}],
            "function": {"fails": [{"id": 2, "times": 1}]},
            "faults": [{"kind": "restart", "atMs": 20}]
        }"#,
        "\
\x20       TIME  BATCH      REQUEST   TRY  OUTCOME                   RECORDS
00:00:00.000  new        7746a55f    1  partial: record 2 failed  1-2
00:00:00.035  remainder  8cae14cb    1  ok (ignored)              2
00:00:01.040  reread     cdc4a23a    1  ok                        2-3
00:00:01.045  new        c54302f2    1  ok                        4",
    );
    check_timeline(
        r#"{
            "mapping": {"TumblingWindowInSeconds": 10, "MaximumRetryAttempts": 0,
                "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::failures"}}},
            "records": [{"id": 1, "text": ""}, {"id": 2, "text": "", "atMs": 12000}],
            "function": {"fails": [{"id": 2, "times": 1, "how": "crash"}]},
            "faults": [{"kind": "destinationFailure", "atMs": 0}]
        }"#,
        "\
\x20       TIME  BATCH         REQUEST   TRY  OUTCOME                       RECORDS
00:00:00.000  new           7746a55f    1  ok                            1
00:00:12.005  window-close  d438539d    1  ok                            -
00:00:12.010  new           e10d6667    1  failed: crashed: as scripted  2
00:00:12.015  DISCARDED 1 record: 2; RetryAttemptsExhausted,
\x20             approximateInvokeCount 1, dropped: the destination failed
00:00:12.015  window-close  e17653a3    1  ok                            -",
    );
}

#[test]
fn a_record_that_blocks_its_shard_does_not_fill_the_timeline() {
    let scenario = r#"{"records":[{"id":1,"text":"x"}],"function":{"fails":[{"id":1,"how":"throw"}]}}"#;
    let run = kit("simulate --scenario -", scenario);
    let tries: Vec<&str> = run
        .stdout
        .lines()
        .filter(|line| line.contains(" retry "))
        .filter_map(|line| line.split_whitespace().nth(3))
        .collect();
    assert_eq!(
        tries,
        ["2", "3", "4", "5", "6", "7", "8", "9", "10", "20", "50", "100", "200", "500", "1000"]
    );
    assert!(run.stdout.contains("EXPIRED 1 record: 1; older than the stream's retention"), "{}", run.stdout);
}

#[test]
fn a_seed_decides_the_request_ids() {
    let run = |seed: &str| kit(&format!("simulate --scenario - --seed {seed}"), POISON).stdout;
    assert_eq!(run("7"), run("7"));
    assert_eq!(run("0"), kit("simulate --scenario -", POISON).stdout);
    assert_ne!(run("7"), run("8"));
}

#[test]
fn what_is_wrong_is_told_with_its_causes() {
    let refused = |scenario: &str, message: &str| {
        check(
            "simulate --scenario -",
            scenario,
            2,
            "",
            &format!("kinesis-kit: cannot simulate standard input: {message}\n"),
        );
    };
    refused("", "the scenario cannot be read: EOF while parsing a value at line 1 column 0");
    refused(
        r#"{"mapping":{"BatchSize":0}}"#,
        "the scenario cannot be read: BatchSize: expected 1 to 10,000, found 0 at line 1 column 27",
    );
    refused(
        r#"{"records":[{"id":1,"text":"x"}],"function":{"fails":[{"id":"2"}]}}"#,
        r#"function.fails: unknown record "2""#,
    );
    refused(
        r#"{"records":[{"id":1,"text":"x"},{"id":"1","text":"x"}]}"#,
        r#"record 1 (zero-based): duplicate ID "1""#,
    );
    refused(r#"{"records":[{"id":1,"data":"?"}]}"#, r#"record "1": data is not base64: illegal byte at 0"#);
    refused(
        r#"{"records":[{"id":1,"text":"x","atMs":3155760000001}]}"#,
        "record \"1\": atMs: expected at most 3155760000000 (a hundred years), found 3155760000001",
    );
    check(
        "simulate --scenario no/such/file",
        "",
        2,
        "",
        "kinesis-kit: cannot read no/such/file: No such file or directory (os error 2)\n",
    );
    let run = kit("simulate", "");
    assert_eq!((run.exit_code, &*run.stdout), (Some(2), ""));
    assert!(run.stderr.contains("--scenario <FILE>"), "{}", run.stderr);
}

#[test]
fn an_empty_scenario_has_nothing_to_tell() {
    let metrics = json!({
        "PolledEventCount": 0, "FilteredOutEventCount": 0, "InvokedEventCount": 0, "FailedInvokeEventCount": 0,
        "DroppedEventCount": 0, "OnFailureDestinationDeliveredEventCount": 0, "IteratorAge": 0,
    });
    let run = kit("simulate --scenario - --format json", "{}");
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let expected = json!({
        "invocations": [], "discarded": [], "destination": [], "dropped": [], "completed": [], "unread": [],
        "metrics": metrics,
    });
    assert_eq!(report, expected);
}
