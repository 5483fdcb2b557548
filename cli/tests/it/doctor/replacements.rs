//! Changes that replace a mapping.

use std::fs;

use super::{SAM, TEMPLATE, doctor, findings};
use crate::kit::Run;

/// Judges a template against a baseline, with more arguments.
fn compare(template: &str, baseline: &str, args: &str) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("baseline.yaml");
    fs::write(&path, baseline).expect("a writable folder");
    doctor(template, &format!("--baseline {} {args}", path.display()))
}

/// The template, compared with itself before one change, has these findings.
#[track_caller]
fn check(template: &str, from: &str, to: &str, expected: &[&str]) {
    assert!(from == to || template.contains(from), "{from}");
    let run = compare(template, &template.replace(from, to), "");
    assert_eq!(findings(&run), expected, "{to}: {}{}", run.stdout, run.stderr);
}

#[test]
fn a_change_that_replaces_the_mapping_is_named() {
    check(TEMPLATE, "same", "same", &[]);
    check(TEMPLATE, "MaximumRetryAttempts: 10", "MaximumRetryAttempts: 1", &[]);
    check(TEMPLATE, "Default: TRIM_HORIZON", "Default: AT_TIMESTAMP", &["error StartingPosition"]);
    let source = ["error EventSourceArn"];
    check(TEMPLATE, "!GetAtt Stream.Arn", "arn:aws:kinesis:us-east-1:1:stream/a", &source);
    check(SAM, "stream/orders", "stream/orders/consumer/c:1", &source);
    check(TEMPLATE, "{ RetentionPeriodHours: 48 }", "{ RetentionPeriodHours: 48, Name: a }", &source);
    check(TEMPLATE, "  Mapping:\n", "  Orders:\n", &["error Resources"]);
    check(TEMPLATE, "!GetAtt Stream.Arn", "!ImportValue stream", &["not-judged EventSourceArn"]);
}

#[test]
fn equal_times_are_equal_however_they_are_spelled() {
    let with_time = |time: &str| {
        TEMPLATE.replace(
            "StartingPosition: !Ref Position",
            &format!("StartingPosition: AT_TIMESTAMP\n      StartingPositionTimestamp: {time}"),
        )
    };
    for time in ["1767225600", "1767225600.0", "\"1767225600\"", "'1767225600.00'", "1.7672256e9"] {
        let run = compare(&with_time("1767225600"), &with_time(time), "");
        assert_eq!(findings(&run), [""; 0], "{time}: {}", run.stderr);
    }
    let run = compare(&with_time("1767225600"), &with_time("1767225600.5"), "");
    assert_eq!(findings(&run), ["error StartingPositionTimestamp"]);
}

#[test]
fn the_baseline_has_values_of_its_own() {
    let position = |name: &str| format!("--{name} Position=AT_TIMESTAMP");
    let time = TEMPLATE.replace(
        "StartingPosition: !Ref Position",
        "StartingPosition: !Ref Position\n      StartingPositionTimestamp: !If [IsLatest, 1, !Ref Time]",
    );
    let time = time.replace("Parameters:\n", "Parameters:\n  Time: { Type: Number, Default: 7 }\n");
    let new = position("parameter");
    let changed = compare(&time, TEMPLATE, &new);
    assert_eq!(findings(&changed), ["error StartingPosition", "error StartingPositionTimestamp"]);
    let both = compare(&time, &time, &format!("{new} {}", position("baseline-parameter")));
    assert_eq!(findings(&both), [""; 0], "{}", both.stderr);
    let unknown = compare(TEMPLATE, TEMPLATE, "--baseline-parameter Nothing=1");
    assert_eq!(unknown.exit_code, Some(2));
    assert!(
        unknown.stderr.contains("baseline.yaml cannot be read as a template: it has no parameter Nothing"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn a_mapping_that_is_hidden_in_the_baseline_is_not_judged() {
    let nested =
        "Resources:\n  Nested: { Type: AWS::CloudFormation::Stack, Properties: { TemplateURL: t } }\n";
    let run = compare(TEMPLATE, nested, "");
    assert_eq!(findings(&run), ["not-judged Type"]);
    assert!(run.stdout.contains("Nested (baseline)"), "{}", run.stdout);
}
