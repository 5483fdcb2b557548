//! Settings of the mapping itself.

use super::{SAM, TEMPLATE, check, check_all, check_clean, doctor, findings};

/// The template reads through a consumer with enhanced fan-out.
fn fan_out() -> String {
    let consumer = "Consumer: { Type: AWS::Kinesis::StreamConsumer, Properties: { ConsumerName: c, StreamARN: !GetAtt Stream.Arn } }";
    TEMPLATE
        .replace("  Queue: {", &format!("  {consumer}\n  Queue: {{"))
        .replace("EventSourceArn: !GetAtt Stream.Arn", "EventSourceArn: !GetAtt Consumer.ConsumerARN")
}

/// The template's stream distributes records by itself.
fn automatic(template: &str) -> String {
    template.replace("RetentionPeriodHours: 48", "RetentionPeriodHours: 48, RecordDistributionStrategy: AUTO")
}

fn filter(pattern: &str) -> String {
    format!("FilterCriteria: {{ Filters: [{{ Pattern: {pattern} }}] }}")
}

#[test]
fn each_weakness_is_found_alone() {
    let weaknesses = [
        ("[ReportBatchItemFailures]", "[]", "error FunctionResponseTypes"),
        ("FunctionResponseTypes: [ReportBatchItemFailures]", "BatchSize: 9", "error FunctionResponseTypes"),
        (
            "BisectBatchOnFunctionError: true",
            "BisectBatchOnFunctionError: false",
            "error BisectBatchOnFunctionError",
        ),
        ("BisectBatchOnFunctionError: true", "BatchSize: 9", "error BisectBatchOnFunctionError"),
        ("MaximumRetryAttempts: 10", "MaximumRetryAttempts: 3", "error MaximumRetryAttempts"),
        ("MaximumRetryAttempts: 10", "MaximumRetryAttempts: 5", "warning MaximumRetryAttempts"),
    ];
    for (from, to, expected) in weaknesses {
        check(TEMPLATE, from, to, expected);
        check(SAM, from, to, expected);
    }
    for (from, to, expected) in [
        ("InSeconds: 86400", "InSeconds: -1", "error MaximumRecordAgeInSeconds"),
        ("MaximumRecordAgeInSeconds: 86400", "BatchSize: 9", "error MaximumRecordAgeInSeconds"),
        ("InSeconds: 86400", "InSeconds: 172800", "error MaximumRecordAgeInSeconds"),
        ("RetentionPeriodHours: 48", "ShardCount: 1", "error MaximumRecordAgeInSeconds"),
        ("SECONDS: \"3600\"", "SECONDS: \"86400\"", "error KINESIS_HANDLER_MAX_AGE_SECONDS"),
        ("!GetAtt Failures.Arn", "!GetAtt Queue.Arn", "warning DestinationConfig"),
        ("!GetAtt Failures.Arn", "!Ref Topic", "warning DestinationConfig"),
        ("!GetAtt Failures.Arn", "\"\"", "error DestinationConfig"),
        (
            "DestinationConfig: { OnFailure: { Destination: !GetAtt Failures.Arn } }",
            "BatchSize: 9",
            "error DestinationConfig",
        ),
        ("Default: TRIM_HORIZON", "Default: LATEST", "error StartingPosition"),
        ("!Ref Position\n", "!If [IsLatest, TRIM_HORIZON, LATEST]\n", "error StartingPosition"),
        ("ParallelizationFactor: 1", "ParallelizationFactor: 2", "warning ParallelizationFactor"),
        ("ParallelizationFactor: 1", "Enabled: false", "warning Enabled"),
    ] {
        check(TEMPLATE, from, to, expected);
    }
    let skips = "SECONDS: \"86400\"\n          KINESIS_HANDLER_AGE_POLICY: skip";
    check(TEMPLATE, "SECONDS: \"3600\"", skips, "error KINESIS_HANDLER_MAX_AGE_SECONDS");
    let sub = "!Sub \"arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:orders3-dlq\"";
    check(TEMPLATE, "!GetAtt Failures.Arn", sub, "warning DestinationConfig");
    check(
        SAM,
        "orders\n",
        "orders\n            ParallelizationFactor: 10\n",
        "warning ParallelizationFactor",
    );
}

#[test]
fn a_type_without_a_destination_is_no_destination() {
    for kind in ["S3", "SQS", "SNS"] {
        check(
            SAM,
            "Type: S3, Destination: arn:aws:s3:::failures",
            &format!("Type: {kind}"),
            "error DestinationConfig",
        );
    }
    check(
        SAM,
        "Type: S3, Destination: arn:aws:s3:::failures",
        "Type: SQS, Destination: !ImportValue q",
        "warning DestinationConfig",
    );
}

#[test]
fn a_starting_time_needs_its_position_and_the_position_a_time() {
    let position = "StartingPosition: !Ref Position";
    for (to, expected) in [
        ("StartingPosition: AT_TIMESTAMP", "error StartingPositionTimestamp"),
        (
            "{ StartingPosition: AT_TIMESTAMP, StartingPositionTimestamp: \"\" }",
            "error StartingPositionTimestamp",
        ),
        (
            "{ StartingPosition: TRIM_HORIZON, StartingPositionTimestamp: 1767225600 }",
            "error StartingPositionTimestamp",
        ),
        ("StartingPosition: EARLIEST", "error StartingPosition"),
        ("BatchSize: 9", "error StartingPosition"),
    ] {
        let to = to.trim_matches(['{', '}', ' ']).replace(", ", "\n      ");
        check(TEMPLATE, position, &to, expected);
    }
    let with_time = "StartingPosition: AT_TIMESTAMP\n      StartingPositionTimestamp: !ImportValue time";
    check_clean(TEMPLATE, position, with_time);
}

#[test]
fn a_filter_on_user_records_drops_aggregates_of_a_standard_iterator() {
    for pattern in [
        r#"'{"data":{"a":[1]}}'"#,
        r#"'{"partitionKey":["k"]}'"#,
        r#"!Sub '{"data":{"r":["${AWS::Region}"]}}'"#,
        r#"'{"$or":[{"partitionKey":["k"]},{"data":{}}]}'"#,
        "not JSON",
    ] {
        check(TEMPLATE, "ParallelizationFactor: 1", &filter(pattern), "error FilterCriteria");
        check_clean(&fan_out(), "ParallelizationFactor: 1", &filter(pattern));
    }
    check(TEMPLATE, "ParallelizationFactor: 1", &filter("!ImportValue pattern"), "not-judged FilterCriteria");
    check_clean(&fan_out(), "ParallelizationFactor: 1", &filter("!ImportValue pattern"));
}

#[test]
fn concurrent_batches_of_a_fan_out_consumer_keep_the_order_of_keys() {
    check_clean(&fan_out(), "ParallelizationFactor: 1", "ParallelizationFactor: 4");
    let literal = "arn:aws:kinesis:eu-west-1:123456789012:stream/s/consumer/c:1767225600";
    let literal =
        TEMPLATE.replace("!GetAtt Stream.Arn", literal).replace("InSeconds: 86400", "InSeconds: 82800");
    check_clean(&literal, "ParallelizationFactor: 1", "ParallelizationFactor: 4");
    let unknown = literal.replace("EventSourceArn: arn", "EventSourceArn: !ImportValue arn");
    check(
        &unknown,
        "ParallelizationFactor: 1",
        "ParallelizationFactor: 4",
        "not-judged ParallelizationFactor",
    );
}

#[test]
fn concurrent_batches_and_a_mirror_are_an_error() {
    let variable =
        "KINESIS_HANDLER_CHECKPOINT_TABLE: !Ref Queue\n          KINESIS_HANDLER_QUARANTINE: \"on\"";
    let template = TEMPLATE.replace("KINESIS_HANDLER_QUARANTINE: \"on\"", variable);
    check(&template, "ParallelizationFactor: 1", "ParallelizationFactor: 2", "error ParallelizationFactor");
}

#[test]
fn a_tumbling_window_has_no_mirror_no_journal_no_filter_and_nothing_concurrent() {
    const JOURNAL: &str = "error TumblingWindowInSeconds";
    const WINDOW: &str = "error TumblingWindowInSeconds";
    let window = "ParallelizationFactor: 1\n      TumblingWindowInSeconds: 60";
    let with_window = TEMPLATE.replace("ParallelizationFactor: 1", window);
    check_all(&with_window, "Window", "Window", &[JOURNAL]);
    check_all(&with_window, "InSeconds: 60", "InSeconds: 0", &[]);
    check_all(&with_window, "InSeconds: 60", "InSeconds: 901", &[WINDOW, JOURNAL]);
    check_all(&with_window, "Factor: 1", "Factor: 2", &[WINDOW, JOURNAL, "warning ParallelizationFactor"]);
    check_all(
        &with_window,
        "ParallelizationFactor: 1",
        &filter("'{\"eventName\":[\"a\"]}'"),
        &[WINDOW, JOURNAL],
    );
    let mirror = "CHECKPOINT_TABLE: mirror\n          KINESIS_HANDLER_QUARANTINE: \"on\"";
    check_all(&with_window, "QUARANTINE: \"on\"", mirror, &[WINDOW, JOURNAL]);
    let plain = with_window.split("      Environment:").next().expect("a start").to_owned()
        + "      Timeout: 60\n  Mapping"
        + with_window.split("  Mapping").nth(1).expect("an end");
    check_all(&plain, "InSeconds: 60", "InSeconds: 60", &[]);
    let concurrency = |number| {
        format!(
            "Timeout: 60\n      Environment: {{ Variables: {{ KINESIS_HANDLER_CONCURRENCY: {number} }} }}"
        )
    };
    check_all(&plain, "Timeout: 60", &concurrency(16), &[WINDOW]);
    check_all(&plain, "Timeout: 60", &concurrency(1), &[]);
    let run = doctor(&plain.replace("Timeout: 60", &concurrency(16)), "");
    assert!(run.stderr.contains("window-with-concurrency") || run.stdout.contains("window-with-concurrency"));
}

#[test]
fn numbers_out_of_range_are_named() {
    for (to, expected) in [
        ("ParallelizationFactor: 11", &["error ParallelizationFactor", "warning ParallelizationFactor"][..]),
        ("BatchSize: 0", &["error BatchSize"]),
        ("BatchSize: 10001", &["error BatchSize"]),
        ("MaximumBatchingWindowInSeconds: 301", &["error MaximumBatchingWindowInSeconds"]),
    ] {
        check_all(TEMPLATE, "ParallelizationFactor: 1", to, expected);
    }
    check_all(TEMPLATE, "Attempts: 10\n", "Attempts: 10001\n", &["error MaximumRetryAttempts"]);
    let age = ["error KINESIS_HANDLER_MAX_AGE_SECONDS", "error MaximumRecordAgeInSeconds"];
    check_all(TEMPLATE, "InSeconds: 86400", "InSeconds: 59", &age);
}

#[test]
fn an_age_above_the_probable_retention_of_an_existing_stream_is_a_warning() {
    let run = doctor(&SAM.replace("82800", "86400"), "");
    assert_eq!(findings(&run), ["warning MaximumRecordAgeInSeconds"], "{}", run.stderr);
    check(TEMPLATE, "Hours: 48", "Hours: !ImportValue hours", "not-judged RetentionPeriodHours");
}

#[test]
fn automatic_distribution_keeps_no_order_and_no_aggregates() {
    let setting = "RecordDistributionStrategy";
    let window = "ParallelizationFactor: 1\n      TumblingWindowInSeconds: 60";
    let nothing = "Position";
    check(&automatic(TEMPLATE), nothing, nothing, &format!("warning {setting}"));
    check(&automatic(&fan_out()), nothing, nothing, &format!("error {setting}"));
    let expected = [&format!("error {setting}"), "error TumblingWindowInSeconds"];
    check_all(&automatic(TEMPLATE), "ParallelizationFactor: 1", window, &expected);
    check_clean(&automatic(TEMPLATE), "AUTO", "USER_PARTITION_KEY");
    check(&automatic(TEMPLATE), "AUTO", "!ImportValue strategy", &format!("not-judged {setting}"));
}

#[test]
fn the_hash_range_filter_needs_hash_keys_of_the_shard() {
    let (quarantine, filter) =
        ("QUARANTINE: \"on\"", "QUARANTINE: \"on\"\n          KINESIS_HANDLER_HASH_RANGE_FILTER: \"on\"");
    let setting = "KINESIS_HANDLER_HASH_RANGE_FILTER";
    check_clean(TEMPLATE, quarantine, filter);
    let expected = [&format!("error {setting}"), "warning RecordDistributionStrategy"];
    check_all(&automatic(TEMPLATE), quarantine, filter, &expected);
}

#[test]
fn unlimited_retries_need_the_quarantine_and_an_age() {
    for unlimited in ["MaximumRetryAttempts: -1", "BatchSize: 9"] {
        for template in [TEMPLATE, SAM] {
            check_clean(template, "MaximumRetryAttempts: 10", unlimited);
            let without = template
                .replace("QUARANTINE: \"on\"", "CONCURRENCY: \"1\"")
                .replace("KINESIS_HANDLER_MAX_ATTEMPTS: 5", "KINESIS_HANDLER_LOOK_AHEAD: 5")
                .replace(
                    "KINESIS_HANDLER_MAX_AGE_SECONDS: \"3600\"",
                    "KINESIS_HANDLER_DEADLINE_MARGIN_MS: 5",
                );
            check(&without, "MaximumRetryAttempts: 10", unlimited, "error MaximumRetryAttempts");
        }
    }
    let unlimited = TEMPLATE.replace("MaximumRetryAttempts: 10", "MaximumRetryAttempts: -1");
    check_all(
        &unlimited,
        "InSeconds: 86400",
        "InSeconds: -1",
        &["error MaximumRecordAgeInSeconds", "error MaximumRetryAttempts"],
    );
}
