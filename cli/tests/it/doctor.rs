//! `doctor`: one weakness at a time, and none.

use std::fs;

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit, kit_where},
    scripted_kinesis::{ScriptedKinesis, description, variables},
    scripted_stream::ARN,
};

/// A template without a weakness: a mapping that stands by itself.
const TEMPLATE: &str = r#"
Parameters:
  Position: { Type: String, Default: TRIM_HORIZON }
Conditions:
  IsLatest: !Equals [!Ref Position, LATEST]
Resources:
  Stream:
    Type: AWS::Kinesis::Stream
    Properties: { RetentionPeriodHours: 48 }
  Failures: { Type: AWS::S3::Bucket }
  Queue: { Type: AWS::SQS::Queue }
  Topic: { Type: AWS::SNS::Topic }
  Function:
    Type: AWS::Lambda::Function
    Properties:
      Environment:
        Variables:
          KINESIS_HANDLER_QUARANTINE: "on"
          KINESIS_HANDLER_MAX_ATTEMPTS: 5
          KINESIS_HANDLER_MAX_AGE_SECONDS: "3600"
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !Ref Function
      EventSourceArn: !GetAtt Stream.Arn
      StartingPosition: !Ref Position
      FunctionResponseTypes: [ReportBatchItemFailures]
      BisectBatchOnFunctionError: true
      MaximumRetryAttempts: 10
      MaximumRecordAgeInSeconds: 86400
      ParallelizationFactor: 1
      DestinationConfig: { OnFailure: { Destination: !GetAtt Failures.Arn } }
  Alarm:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Namespace: AWS/Lambda
      MetricName: IteratorAge
      Dimensions: [{ Name: FunctionName, Value: !Ref Function }]
"#;

/// The same as an event of a SAM function, with its variables among the globals.
const SAM: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Environment: { Variables: { KINESIS_HANDLER_MAX_ATTEMPTS: 5 } }
Resources:
  Function:
    Type: AWS::Serverless::Function
    Properties:
      Events:
        Orders:
          Type: Kinesis
          Properties:
            Stream: arn:aws:kinesis:us-east-1:123456789012:stream/orders
            StartingPosition: TRIM_HORIZON
            FunctionResponseTypes: [ReportBatchItemFailures]
            BisectBatchOnFunctionError: true
            MaximumRetryAttempts: 10
            MaximumRecordAgeInSeconds: 82800
            DestinationConfig: { OnFailure: { Type: S3, Destination: arn:aws:s3:::failures } }
        Http: { Type: Api, Properties: { Path: /, Method: get } }
"#;

fn doctor(template: &str, args: &str) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("template.yaml");
    fs::write(&path, template).expect("a writable folder");
    kit(&format!("doctor --format json {} {args}", path.display()), "")
}

/// Severity and setting of each finding.
fn findings(run: &Run) -> Vec<String> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON lines");
        assert!(["reason", "mend", "found", "resource"].iter().all(|name| line[name].is_string()), "{line}");
        format!("{} {}", line["severity"].as_str().expect("text"), line["setting"].as_str().expect("text"))
    };
    run.stdout.lines().map(line).collect()
}

/// The template with one change has this one finding.
#[track_caller]
fn check(template: &str, from: &str, to: &str, expected: &str) {
    assert!(template.contains(from), "{from}");
    let run = doctor(&template.replace(from, to), "");
    assert_eq!((run.exit_code, findings(&run)), (Some(1), vec![expected.to_owned()]), "{to}: {}", run.stderr);
}

#[test]
fn a_clean_template_is_clean() {
    for template in [TEMPLATE, SAM] {
        let run = doctor(template, "");
        assert_eq!((run.exit_code, run.stdout.as_str()), (Some(0), ""), "{}", run.stderr);
        assert_eq!(run.stderr, "kinesis-kit: 0 errors, 0 warnings\n");
    }
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
        ("MaximumRetryAttempts: 10", "MaximumRetryAttempts: -1", "error MaximumRetryAttempts"),
        ("MaximumRetryAttempts: 10", "BatchSize: 9", "error MaximumRetryAttempts"),
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
        (
            "DestinationConfig: { OnFailure: { Destination: !GetAtt Failures.Arn } }",
            "BatchSize: 9",
            "error DestinationConfig",
        ),
        ("Default: TRIM_HORIZON", "Default: LATEST", "error StartingPosition"),
        ("!Ref Position\n", "!If [IsLatest, TRIM_HORIZON, LATEST]\n", "error StartingPosition"),
        ("ParallelizationFactor: 1", "ParallelizationFactor: 2", "warning ParallelizationFactor"),
        (
            "ParallelizationFactor: 1",
            "FilterCriteria: { Filters: [{ Pattern: '{\"data\":{\"a\":[1]}}' }] }",
            "error FilterCriteria",
        ),
        ("      Dimensions: [{ Name: FunctionName, Value: !Ref Function }]\n", "", "error Dimensions"),
        ("[{ Name: FunctionName, Value: !Ref Function }]", "[]", "error Dimensions"),
    ] {
        check(TEMPLATE, from, to, expected);
    }
    check(SAM, "Type: S3, Destination: arn:aws:s3:::failures", "Type: SQS", "warning DestinationConfig");
    let sub = "!Sub \"arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:orders3-dlq\"";
    check(TEMPLATE, "!GetAtt Failures.Arn", sub, "warning DestinationConfig");
    let pattern = |pattern: &str| format!("FilterCriteria: {{ Filters: [{{ Pattern: {pattern} }}] }}");
    for filter in
        [r#"!Sub '{"data":{"r":["${AWS::Region}"]}}'"#, r#"'{"$or":[{"partitionKey":["k"]},{"data":{}}]}'"#]
    {
        check(TEMPLATE, "ParallelizationFactor: 1", &pattern(filter), "error FilterCriteria");
    }
    let alias = "FunctionName: !Ref Alias\n      MaximumRetryAttempts: 3";
    let with_alias = TEMPLATE.replace(
        "Queue: {",
        "Alias: { Type: AWS::Lambda::Alias, Properties: { FunctionName: !Ref Function } }\n  Queue: {",
    );
    let with_alias = with_alias.replace("      MaximumRetryAttempts: 10\n", "");
    check(
        &with_alias,
        "FunctionName: !Ref Function\n      Event",
        &format!("{alias}\n      Event"),
        "error MaximumRetryAttempts",
    );
    check(
        SAM,
        "orders\n",
        "orders\n            ParallelizationFactor: 10\n",
        "warning ParallelizationFactor",
    );
}

/// The template with one change has no finding: it may be right.
#[track_caller]
fn check_silent(template: &str, from: &str, to: &str) {
    assert!(template.contains(from), "{from}");
    let run = doctor(&template.replace(from, to), "");
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(0), ""), "{to}: {}", run.stderr);
}

#[test]
fn what_only_cloudformation_knows_is_passed_over() {
    let import = "!ImportValue settings";
    check_silent(TEMPLATE, "[ReportBatchItemFailures]", import);
    check_silent(
        TEMPLATE,
        "BisectBatchOnFunctionError: true",
        &format!("BisectBatchOnFunctionError: {import}"),
    );
    check_silent(TEMPLATE, "MaximumRetryAttempts: 10", &format!("MaximumRetryAttempts: {import}"));
    check_silent(
        TEMPLATE,
        "MaximumRecordAgeInSeconds: 86400",
        &format!("MaximumRecordAgeInSeconds: {import}"),
    );
    check_silent(TEMPLATE, "!GetAtt Failures.Arn", "!ImportValue bucket-arn");
    check_silent(TEMPLATE, "!GetAtt Stream.Arn", "!ImportValue orders-stream");
    check_silent(
        TEMPLATE,
        "!GetAtt Stream.Arn",
        "!Sub arn:aws:kinesis:${AWS::Region}:${AWS::AccountId}:stream/s",
    );
    check_silent(TEMPLATE, "[{ Name: FunctionName, Value: !Ref Function }]", "!If [Missing, [1], []]");
    check_silent(
        TEMPLATE,
        "DestinationConfig: {",
        "DestinationConfig: !If [Missing, {}, { OnFailure: 1 }] #",
    );
    check_silent(TEMPLATE, "Namespace: AWS/Lambda\n", "Namespace: Orders\n");
    check_silent(TEMPLATE, "!GetAtt Stream.Arn", "'{{resolve:ssm:/orders/stream}}'");
}

#[test]
fn several_lanes_and_a_mirror_are_an_error() {
    let template = TEMPLATE.replace("ParallelizationFactor: 1", "ParallelizationFactor: 2");
    let template = template
        .replace("KINESIS_HANDLER_QUARANTINE: \"on\"", "KINESIS_HANDLER_CHECKPOINT_TABLE: !Ref Queue");
    assert_eq!(findings(&doctor(&template, "")), ["error ParallelizationFactor"]);
}

#[test]
fn parameters_take_the_place_of_defaults() {
    assert_eq!(findings(&doctor(TEMPLATE, "--parameter Position=LATEST")), ["error StartingPosition"]);
    let unknown = doctor(TEMPLATE, "--parameter Nothing=1");
    assert_eq!(unknown.exit_code, Some(2));
    assert!(unknown.stderr.contains("it has no parameter Nothing"), "{}", unknown.stderr);
}

#[test]
fn a_change_that_replaces_the_mapping_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let was = folder.path().join("was.yaml");
    let of = |template: &str, from: &str, to: &str| {
        fs::write(&was, template.replace(from, to)).expect("a writable folder");
        findings(&doctor(template, &format!("--was {}", was.display())))
    };
    assert_eq!(of(TEMPLATE, "nothing", "nothing"), [""; 0]);
    assert_eq!(of(TEMPLATE, "Default: TRIM_HORIZON", "Default: AT_TIMESTAMP"), ["error StartingPosition"]);
    assert_eq!(
        of(TEMPLATE, "!GetAtt Stream.Arn", "arn:aws:kinesis:us-east-1:1:stream/a"),
        ["error EventSourceArn"]
    );
    assert_eq!(of(SAM, "stream/orders", "stream/orders/consumer/c:1"), ["error EventSourceArn"]);
    assert_eq!(of(TEMPLATE, "MaximumRetryAttempts: 10", "MaximumRetryAttempts: 1"), [""; 0]);
    assert_eq!(of(TEMPLATE, "  Mapping:\n", "  Orders:\n"), ["error Resources"]);
    assert_eq!(
        of(TEMPLATE, "{ RetentionPeriodHours: 48 }", "{ RetentionPeriodHours: 48, Name: a }"),
        ["error EventSourceArn"]
    );
    fs::write(&was, TEMPLATE).expect("a writable folder");
    let run = doctor(TEMPLATE, &format!("--parameter Position=AT_TIMESTAMP --was {}", was.display()));
    assert_eq!(findings(&run), [""; 0], "deployed with the same value: {}", run.stderr);
}

#[test]
fn people_are_told_why_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("template.yaml");
    let template = TEMPLATE.replace("BisectBatchOnFunctionError: true", "BisectBatchOnFunctionError: false");
    fs::write(&path, template).expect("a writable folder");
    let run = kit(&format!("doctor {}", path.display()), "");
    assert_eq!(
        run.stdout,
        "error: Mapping: BisectBatchOnFunctionError is false\n  \
         why:  spent retries discard the whole rest of a batch, the good records behind the bad one included\n  \
         mend: BisectBatchOnFunctionError: true\n"
    );
    assert_eq!(run.stderr, "kinesis-kit: 1 error, 0 warnings\n");
}

#[test]
fn a_template_that_cannot_be_judged_is_wrong_usage() {
    for (text, expected) in [
        ("a: [", "cannot be taken as a template: "),
        ("Resources: {}", "has no mapping from Kinesis"),
        (&TEMPLATE.replace("AWS::Kinesis::Stream", "AWS::SQS::Queue"), "has no mapping from Kinesis"),
    ] {
        let run = doctor(text, "");
        assert_eq!((run.exit_code, run.stdout.as_str()), (Some(2), ""), "{text}");
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
}

/// The findings of a deployed function with this mapping.
fn deployed(mapping: Value) -> Run {
    let kinesis = ScriptedKinesis::start(move |operation, _, _| match operation {
        "/2015-03-31/functions/orders/configuration" => {
            let variables = json!({ "KINESIS_HANDLER_MAX_ATTEMPTS": "5" });
            (200, json!({ "FunctionName": "orders", "Environment": { "Variables": variables } }))
        }
        path if path.starts_with("/2015-03-31/event-source-mappings") => {
            let queue = json!({ "UUID": "q", "EventSourceArn": "arn:aws:sqs:eu-west-1:123456789012:q" });
            (200, json!({ "EventSourceMappings": [queue, mapping] }))
        }
        "DescribeStreamSummary" => description("orders"),
        other => panic!("{other} is not expected"),
    });
    let url = kinesis.url();
    kit_where(&variables(&url), "doctor --format json --function orders".split(' '), "")
}

#[test]
fn a_deployed_function_is_judged_by_its_mappings() {
    let mapping = json!({
        "UUID": "m", "EventSourceArn": ARN, "StartingPosition": "TRIM_HORIZON",
        "FunctionResponseTypes": ["ReportBatchItemFailures"], "BisectBatchOnFunctionError": true,
        "MaximumRetryAttempts": 10, "MaximumRecordAgeInSeconds": 82_800, "ParallelizationFactor": 1,
        "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:s3:::failures" } },
    });
    let clean = deployed(mapping.clone());
    assert_eq!((clean.exit_code, findings(&clean)), (Some(0), Vec::new()), "{}", clean.stderr);

    let with = |name: &str, value: Value| {
        let mut mapping = mapping.clone();
        mapping[name] = value;
        findings(&deployed(mapping))
    };
    // The stream keeps records for 24 hours.
    assert_eq!(with("MaximumRecordAgeInSeconds", json!(86_400)), ["error MaximumRecordAgeInSeconds"]);
    assert_eq!(with("FunctionResponseTypes", json!([])), ["error FunctionResponseTypes"]);
    assert_eq!(with("MaximumRetryAttempts", json!(3)), ["error MaximumRetryAttempts"]);
    assert_eq!(with("DestinationConfig", json!({ "OnFailure": {} })), ["error DestinationConfig"]);
    assert_eq!(with("EventSourceArn", json!(format!("{ARN}/consumer/c:1"))), [""; 0]);
}
