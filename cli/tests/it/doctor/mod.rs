//! `doctor`: one weakness at a time, and none.

mod alarms;
mod decisions;
mod deployed;
mod evaluation;
mod functions;
mod mappings;
mod replacements;
mod roles;
mod sources;

use std::fs;

use serde_json::Value;

use crate::kit::{Run, kit};

/// A template without a weakness: a mapping that is a resource.
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
          KINESIS_HANDLER_JOURNAL_TABLE: journal
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
    Environment:
      Variables: { KINESIS_HANDLER_JOURNAL_TABLE: journal, KINESIS_HANDLER_QUARANTINE: "on", KINESIS_HANDLER_MAX_ATTEMPTS: 5 }
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
        assert!(["reason", "fix", "found", "resource"].iter().all(|name| line[name].is_string()), "{line}");
        format!("{} {}", line["severity"].as_str().expect("text"), line["setting"].as_str().expect("text"))
    };
    run.stdout.lines().map(line).collect()
}

/// The template with one change has these findings, and the exit code says whether there are any.
#[track_caller]
fn check_all(template: &str, from: &str, to: &str, expected: &[&str]) {
    assert!(template.contains(from), "{from}");
    let run = doctor(&template.replace(from, to), "");
    let exit_code = if expected.is_empty() { 0 } else { 1 };
    assert_eq!(
        (run.exit_code, findings(&run)),
        (Some(exit_code), owned(expected)),
        "{to}: {}{}",
        run.stdout,
        run.stderr
    );
}

/// The template with one change has this one finding.
#[track_caller]
fn check(template: &str, from: &str, to: &str, expected: &str) {
    check_all(template, from, to, &[expected]);
}

/// The template with one change has no findings, and everything in it is judged.
#[track_caller]
fn check_clean(template: &str, from: &str, to: &str) {
    check_all(template, from, to, &[]);
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
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
fn people_read_the_reason_and_the_fix() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("template.yaml");
    let template = TEMPLATE.replace("BisectBatchOnFunctionError: true", "BisectBatchOnFunctionError: false");
    let template =
        template.replace("ParallelizationFactor: 1", "TumblingWindowInSeconds: !ImportValue \"a\\eb\"");
    fs::write(&path, template).expect("a writable folder");
    let run = kit(&format!("doctor {}", path.display()), "");
    let file = path.display();
    assert_eq!(
        run.stdout,
        format!(
            "error: Mapping: BisectBatchOnFunctionError: false\n  \
             at:   {file}:29\n  \
             why:  when retries are exhausted, the whole batch is discarded, including valid records\n  \
             fix:  BisectBatchOnFunctionError: true\n  \
             rule: bisect\n\
             not judged: Mapping: TumblingWindowInSeconds: {{\"Fn::ImportValue\":\"a\\u001bb\"}}\n  \
             at:   {file}:32\n  \
             why:  the value is not known here, so it may be one that loses records\n  \
             fix:  give its parameters values with --parameter, or check the deployed function with --function\n  \
             rule: not-judged\n"
        )
    );
    assert_eq!(run.stderr, "kinesis-kit: 1 error, 0 warnings, 1 not judged\n");
}

#[test]
fn parameters_are_given_only_to_a_template_that_has_some() {
    let hidden = TEMPLATE.replace("ParallelizationFactor: 1", "TumblingWindowInSeconds: !ImportValue window");
    let (_, resources) = hidden.split_once("Resources:").expect("a section");
    let without_parameters = format!("Resources:{}", resources.replace("!Ref Position", "TRIM_HORIZON"));
    for (template, is_advised) in [(hidden.as_str(), true), (&without_parameters, false)] {
        let run = doctor(template, "");
        assert_eq!(findings(&run), ["not-judged TumblingWindowInSeconds"], "{}", run.stderr);
        assert_eq!(run.stdout.contains("with --parameter"), is_advised, "{}", run.stdout);
    }
}

#[test]
fn a_value_that_the_template_overrides_is_named() {
    let factor = "ParallelizationFactor: !If [IsLatest, !Ref Factor, 1]";
    let template = TEMPLATE.replace("ParallelizationFactor: 1", factor);
    let template = template.replace("Parameters:", "Parameters:\n  Factor: { Type: Number, Default: 1 }");
    let run = doctor(&template, "--parameter Factor=4");
    assert_eq!((run.exit_code, findings(&run)), (Some(0), Vec::new()), "{}", run.stderr);
    assert!(run.stderr.contains("--parameter Factor=4 changes nothing that is judged"), "{}", run.stderr);
    let run = doctor(&template, "--parameter Factor=4 --parameter Position=LATEST");
    assert!(findings(&run).contains(&"warning ParallelizationFactor".to_owned()), "{}", run.stdout);
    assert!(!run.stderr.contains("changes nothing"), "{}", run.stderr);
}

#[test]
fn a_template_that_cannot_be_read_is_wrong_usage() {
    for (text, expected) in [
        ("a: [", "cannot be read as a template: "),
        ("{\"Resources\": {,}}", "cannot be read as a template: key must be a string at line 1 column 16"),
        ("a: b", "is not a template: it has no Resources; expected a template of CloudFormation or SAM"),
        ("Resources: {}", "has no mapping from Kinesis"),
        (&TEMPLATE.replace("AWS::Kinesis::Stream", "AWS::SQS::Queue"), "has no mapping from Kinesis"),
    ] {
        let run = doctor(text, "");
        assert_eq!((run.exit_code, run.stdout.as_str()), (Some(2), ""), "{text}");
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
}

#[test]
fn a_byte_order_mark_and_utf_16_are_read() {
    let template = TEMPLATE.replace("MaximumRetryAttempts: 10", "MaximumRetryAttempts: 3");
    let utf_16: Vec<u8> = template.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [["\u{feff}", &template].concat().into_bytes(), [&[0xff, 0xfe][..], &utf_16].concat()] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("template.yaml");
        fs::write(&path, bytes).expect("a writable folder");
        let run = kit(&format!("doctor --format json {}", path.display()), "");
        assert_eq!(findings(&run), ["error MaximumRetryAttempts"], "{}", run.stderr);
    }
}
