//! Values and parts of a template that can, or cannot, be evaluated.

use super::{SAM, TEMPLATE, check, check_clean, doctor, findings};

/// A mapping that is a resource, without its settings.
const STREAM: &str = "Stream: { Type: AWS::Kinesis::Stream, Properties: { RetentionPeriodHours: 48 } }";

#[test]
fn a_value_that_only_cloudformation_knows_is_not_judged() {
    for (from, to, expected) in [
        ("[ReportBatchItemFailures]", "!ImportValue x", "FunctionResponseTypes"),
        (
            "BisectBatchOnFunctionError: true",
            "BisectBatchOnFunctionError: !ImportValue x",
            "BisectBatchOnFunctionError",
        ),
        ("MaximumRetryAttempts: 10", "MaximumRetryAttempts: !ImportValue x", "MaximumRetryAttempts"),
        (
            "MaximumRetryAttempts: 10",
            "MaximumRetryAttempts: '{{resolve:ssm:/retries}}'",
            "MaximumRetryAttempts",
        ),
        ("InSeconds: 86400", "InSeconds: !ImportValue x", "MaximumRecordAgeInSeconds"),
        ("!GetAtt Failures.Arn", "!ImportValue bucket-arn", "DestinationConfig"),
        (
            "DestinationConfig: {",
            "DestinationConfig: !If [Missing, {}, { OnFailure: 1 }] #",
            "DestinationConfig",
        ),
        ("ParallelizationFactor: 1", "ParallelizationFactor: !ImportValue x", "ParallelizationFactor"),
        ("ParallelizationFactor: 1", "Enabled: !ImportValue x", "Enabled"),
        ("ParallelizationFactor: 1", "FilterCriteria: !ImportValue x", "FilterCriteria"),
        ("ParallelizationFactor: 1", "TumblingWindowInSeconds: !ImportValue x", "TumblingWindowInSeconds"),
        ("!Ref Position\n", "!ImportValue x\n", "StartingPosition"),
        ("MAX_ATTEMPTS: 5", "MAX_ATTEMPTS: !ImportValue x", "KINESIS_HANDLER_MAX_ATTEMPTS"),
        ("[{ Name: FunctionName, Value: !Ref Function }]", "!If [Missing, [1], []]", "Dimensions"),
        ("{ Name: FunctionName, Value", "{ Name: !ImportValue x, Value", "Dimensions"),
    ] {
        check(TEMPLATE, from, to, &format!("not-judged {expected}"));
    }
    check(TEMPLATE, "!Ref Function\n      Event", "!ImportValue x\n      Event", "not-judged FunctionName");
    // The probable retention is known.
    for source in [
        "!ImportValue orders-stream",
        "!Sub arn:aws:kinesis:${AWS::Region}:${AWS::AccountId}:stream/s",
        "'{{resolve:ssm:/s}}'",
    ] {
        check(TEMPLATE, "!GetAtt Stream.Arn", source, "warning MaximumRecordAgeInSeconds");
    }
    check_clean(TEMPLATE, "Namespace: AWS/Lambda\n", "Namespace: Orders\n");
    // It may be a stream of DynamoDB.
    check(TEMPLATE, "!GetAtt Stream.Arn", "!ImportValue timetable", "not-judged EventSourceArn");
}

#[test]
fn a_parameter_without_a_default_is_named_in_what_is_not_judged() {
    let template = TEMPLATE.replace(", Default: TRIM_HORIZON", "");
    let run = doctor(&template, "");
    assert_eq!(findings(&run), ["not-judged StartingPosition"]);
    assert!(run.stdout.contains(r#""found":"${Position}""#), "{}", run.stdout);
    assert_eq!(findings(&doctor(&template, "--parameter Position=TRIM_HORIZON")), [""; 0]);
    assert_eq!(findings(&doctor(&template, "--parameter Position=LATEST")), ["error StartingPosition"]);
    let unknown = doctor(TEMPLATE, "--parameter Nothing=1");
    assert_eq!(unknown.exit_code, Some(2));
    assert!(unknown.stderr.contains("it has no parameter Nothing"), "{}", unknown.stderr);
}

#[test]
fn members_that_a_transform_adds_are_not_judged() {
    let include = "Fn::Transform: { Name: AWS::Include, Parameters: { Location: s3://shared/retries.yaml } }";
    let expected = "not-judged FunctionResponseTypes, BisectBatchOnFunctionError, MaximumRetryAttempts, \
                    MaximumRecordAgeInSeconds, DestinationConfig, Enabled, StartingPositionTimestamp, FilterCriteria, \
                    ParallelizationFactor, TumblingWindowInSeconds";
    let start = TEMPLATE.split("      FunctionResponseTypes").next().expect("a start");
    check(&format!("{start}      {include}\n"), "Position", "Position", expected);
    let start = SAM.split("            FunctionResponseTypes").next().expect("a start");
    let sam = format!("{start}            {include}\n");
    check(&sam, "Fn::Transform", "Fn::Transform", expected);
    // Nothing tells that it is a mapping from Kinesis.
    let start = TEMPLATE.split("      EventSourceArn").next().expect("a start");
    check(&format!("{start}      {include}\n"), "Position", "Position", "not-judged EventSourceArn");
}

#[test]
fn parts_that_may_hold_mappings_are_not_judged() {
    let nested = "Nested: { Type: AWS::CloudFormation::Stack, Properties: { TemplateURL: s3://b/t.yaml } }";
    let application = "Nested: { Type: AWS::Serverless::Application, Properties: { Location: ./t.yaml } }";
    let module = "Nested: { Type: Org::Kinesis::Consumer::MODULE }";
    let each = "Fn::ForEach::Consumers: [Name, !Ref Names, { \"${Name}\": { Type: AWS::Lambda::EventSourceMapping } }]";
    let include = "Fn::Transform: { Name: AWS::Include, Parameters: { Location: s3://b/t.yaml } }";
    for (part, setting) in [
        (nested, "Type"),
        (application, "Type"),
        (module, "Type"),
        (each, "Fn::ForEach::Consumers"),
        (include, "Fn::Transform"),
    ] {
        check(TEMPLATE, "  Queue: {", &format!("  {part}\n  Queue: {{"), &format!("not-judged {setting}"));
        // Alone, too: the template may well have a mapping.
        check(&format!("Resources:\n  {part}\n"), "Resources", "Resources", &format!("not-judged {setting}"));
    }
    check(
        SAM,
        "Transform: AWS::Serverless-2016-10-31",
        "Transform: [AWS::Serverless-2016-10-31, Mine]",
        "not-judged Transform",
    );
    check(
        TEMPLATE,
        "Parameters:",
        "Fn::Transform: { Name: AWS::Include, Parameters: { Location: s3://b/t.yaml } }\nParameters:",
        "not-judged Transform",
    );
    let include = "      Fn::Transform: { Name: AWS::Include }\n      Timeout: 9\n";
    let function = format!("  Other:\n    Type: AWS::Serverless::Function\n    Properties:\n{include}");
    check(SAM, "Resources:\n", &format!("Resources:\n{function}"), "not-judged Events");
    for events in [
        "!If [Missing, {}, { In: { Type: Kinesis } }]",
        "{ Fn::Transform: { Name: Mine } }",
        "{ Fn::ForEach::E: [A, !Ref B, {}] }",
    ] {
        let function =
            format!("Other: {{ Type: AWS::Serverless::Function, Properties: {{ Events: {events} }} }}");
        check(SAM, "Resources:\n", &format!("Resources:\n  {function}\n"), "not-judged Events");
    }
}

#[test]
fn mappings_in_a_loop_are_judged() {
    let text = format!(
        r#"
Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]
Resources:
  {STREAM}
  Fn::ForEach::Consumers:
    - Name
    - [Orders, Clicks]
    - "${{Name}}Function":
        Type: AWS::Serverless::Function
        Properties:
          Events:
            In:
              Type: Kinesis
              Properties:
                Stream: !GetAtt Stream.Arn
                StartingPosition: TRIM_HORIZON
                FunctionResponseTypes: [ReportBatchItemFailures]
                BisectBatchOnFunctionError: true
                MaximumRetryAttempts: 10
                MaximumRecordAgeInSeconds: 82800
"#
    );
    let run = doctor(&text, "");
    assert_eq!(findings(&run), ["error DestinationConfig"; 2], "{}", run.stderr);
    for id in ["OrdersFunctionIn", "ClicksFunctionIn"] {
        assert!(run.stdout.contains(id), "{}", run.stdout);
    }
}

#[test]
fn a_false_condition_is_named() {
    let conditional =
        TEMPLATE.replace("EventSourceMapping\n", "EventSourceMapping\n    Condition: IsLatest\n");
    let run = doctor(&conditional, "");
    assert_eq!(
        (run.exit_code, findings(&run)),
        (Some(1), vec!["not-judged Condition".to_owned()]),
        "{}",
        run.stderr
    );
    assert!(
        run.stdout.contains("IsLatest") && run.stdout.contains("is false with these parameters"),
        "{}",
        run.stdout
    );
    assert_eq!(findings(&doctor(&conditional, "--parameter Position=LATEST")), ["error StartingPosition"]);
    let sam = SAM.replace("Function\n    Prop", "Function\n    Condition: No\n    Prop");
    let sam = sam.replace("Globals:", "Conditions: { No: !Equals [a, b] }\nGlobals:");
    check(&sam, "No", "No", "not-judged Condition");
    // Beside a mapping that exists, there is nothing to judge.
    let other = "Other: { Type: AWS::Lambda::EventSourceMapping, Condition: IsLatest, Properties: { StartingPosition: LATEST } }";
    check_clean(TEMPLATE, "  Queue: {", &format!("  {other}\n  Queue: {{"));
}

#[test]
fn values_outside_of_the_template_s_own_limits_are_errors() {
    let declared = |declaration: &str| {
        TEMPLATE.replace("Parameters:\n", &format!("Parameters:\n  P: {{ {declaration} }}\n"))
    };
    for (declaration, good, bad, limit) in [
        ("Type: Number, MinValue: 2, Default: 2", "2.5", "1", "MinValue"),
        ("Type: Number, MaxValue: 2, Default: 2", "2.0", "3", "MaxValue"),
        ("Type: Number, Default: 2", "1", "many", "Type"),
        ("Type: String, AllowedValues: [a, 1], Default: a", "1.0", "b", "AllowedValues"),
        ("Type: CommaDelimitedList, AllowedValues: [a, b], Default: a", "b,a", "a,c", "AllowedValues"),
        ("Type: String, MinLength: 2, Default: aa", "ab", "a", "MinLength"),
        ("Type: String, MaxLength: 2, Default: aa", "ab", "abc", "MaxLength"),
    ] {
        let template = declared(declaration);
        assert_eq!(findings(&doctor(&template, &format!("--parameter P={good}"))), [""; 0], "{declaration}");
        let run = doctor(&template, &format!("--parameter P={bad}"));
        assert_eq!(findings(&run), [format!("error {limit}")], "{declaration}");
    }
    let wrong_default = declared("Type: Number, MaxValue: 2, Default: 3");
    check(&wrong_default, "Position", "Position", "error MaxValue");
}

#[test]
fn documents_without_bounds_are_refused_at_once() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let alias = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
    }
    for (text, expected) in [
        (bomb, "its aliases expand to more than"),
        (format!("a: {}", "[".repeat(200_000)), "more than 256 brackets are open"),
        ("[".repeat(200_000), "recursion limit exceeded"),
        ("- ".repeat(200_000), "recursion limit exceeded"),
    ] {
        let run = doctor(&text, "");
        assert_eq!(run.exit_code, Some(2));
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
}
