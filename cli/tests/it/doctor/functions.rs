//! The function of a mapping: which one it is, its variables and limits, and the journal that mappings share.

use super::{SAM, TEMPLATE, check, check_all, check_clean, doctor, findings};

const VARIABLE: &str = "KINESIS_HANDLER_QUARANTINE: \"on\"";

#[test]
fn a_function_is_found_by_any_name_of_it() {
    let alias = "Alias: { Type: AWS::Lambda::Alias, Properties: { FunctionName: !Ref Version } }";
    let version =
        "Version: { Type: AWS::Lambda::Version, Properties: { FunctionName: !GetAtt Function.Arn } }";
    let other = "Other: { Type: AWS::Lambda::Function, Properties: { FunctionName: other } }";
    let template = TEMPLATE
        .replace("  Queue: {", &format!("  {alias}\n  {version}\n  {other}\n  Queue: {{"))
        .replace(
            "Function\n    Properties:\n      Env",
            "Function\n    Properties:\n      FunctionName: !Sub \"${AWS::StackName}-orders\"\n      Env",
        )
        .replace("MaximumRetryAttempts: 10", "MaximumRetryAttempts: 3");
    for name in [
        "!Ref Function",
        "!GetAtt Function.Arn",
        "!Ref Alias",
        "!Ref Version",
        "!Sub \"${Function}:live\"",
        "!Sub \"${Function.Arn}:live\"",
        "!Join [\":\", [!GetAtt Function.Arn, live]]",
        "!Join [\"\", [\"arn:\", !Ref AWS::Partition, \":lambda:\", !Ref AWS::Region, \":\", !Ref AWS::AccountId, \":function:\", !Ref Function]]",
        "!Sub \"${AWS::StackName}-orders\"",
        "!Sub \"${AWS::StackName}-orders:live\"",
        "!Sub \"arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-orders:live\"",
    ] {
        check(
            &template,
            "FunctionName: !Ref Function\n      Event",
            &format!("FunctionName: {name}\n      Event"),
            "error MaximumRetryAttempts",
        );
    }
    for name in ["!ImportValue x", "someone", "!Sub \"${AWS::StackName}-clicks\"", "!Ref Missing"] {
        check(
            &template,
            "FunctionName: !Ref Function\n      Event",
            &format!("FunctionName: {name}\n      Event"),
            "not-judged FunctionName",
        );
    }
    let sam = "Transform: AWS::Serverless-2016-10-31\n".to_owned() + &template;
    let sam = sam.replace(
        "AWS::Lambda::Function\n    Properties:\n",
        "AWS::Serverless::Function\n    Properties:\n      AutoPublishAlias: live\n      Role: !Ref Writer\n",
    );
    let writer = "Writer: { Type: AWS::IAM::Role, Properties: { Policies: [{ PolicyDocument: { Statement: [{ Effect: Allow, Action: \"s3:*\", Resource: \"*\" }] } }] } }";
    let sam = sam.replace("  Queue: {", &format!("  {writer}\n  Queue: {{"));
    for name in [
        "!Ref Function.Alias",
        "!Ref Functionaliaslive",
        "!Ref FunctionAliaslive",
        "!Ref FunctionVersion1a2b",
    ] {
        let expected =
            if name.contains("alias") { "not-judged FunctionName" } else { "error MaximumRetryAttempts" };
        check(
            &sam,
            "FunctionName: !Ref Function\n      Event",
            &format!("FunctionName: {name}\n      Event"),
            expected,
        );
    }
}

#[test]
fn a_function_outside_of_a_template_without_functions_is_noted() {
    let template = TEMPLATE.replace("AWS::Lambda::Function\n", "AWS::SQS::Queue\n");
    let run = doctor(
        &template.replace("FunctionName: !Ref Function\n      Event", "FunctionName: orders\n      Event"),
        "",
    );
    assert_eq!((run.exit_code, findings(&run)), (Some(0), Vec::new()), "{}", run.stderr);
    assert!(run.stderr.contains("mapping Mapping: the function is not in the template"), "{}", run.stderr);
}

#[test]
fn variables_with_which_the_function_cannot_start_are_errors() {
    for variable in [
        "KINESIS_HANDLER_QUARANTEEN: \"on\"",
        "KINESIS_HANDLER_QUARANTINE: \"yes\"",
        "KINESIS_HANDLER_QUARANTINE: \"off\"",
        "KINESIS_HANDLER_CHECKPOINT_STRICT: \"on\"",
        "KINESIS_HANDLER_DEADLINE_MARGIN_MS: 1s",
    ] {
        let run = doctor(&TEMPLATE.replace(VARIABLE, variable), "");
        assert_eq!(findings(&run), ["error Environment"], "{variable}: {}", run.stdout);
        assert!(run.stdout.contains(r#""resource":"Function""#), "{}", run.stdout);
    }
    check(SAM, VARIABLE, "KINESIS_HANDLER_QUARANTINE: \"off\"", "error Environment");
    check_clean(TEMPLATE, "JOURNAL_TABLE: journal", "JOURNAL_TABLE: !Ref Queue");
    check_clean(TEMPLATE, VARIABLE, "KINESIS_HANDLER_QUARANTINE: \"on\"\n          OTHER_VARIABLE: x");
    // It may be "off", and the attempts need "on".
    check(TEMPLATE, VARIABLE, "KINESIS_HANDLER_QUARANTINE: !ImportValue x", "not-judged Environment");
    check(
        TEMPLATE,
        "JOURNAL_TABLE: journal",
        "JOURNAL_TABLE: !If [Missing, a, !Ref AWS::NoValue]",
        "not-judged Environment",
    );
}

#[test]
fn the_factor_that_the_handler_knows_is_the_mapping_s() {
    let variable = "KINESIS_HANDLER_QUARANTINE: \"on\"\n          KINESIS_HANDLER_PARALLELIZATION_FACTOR: 2";
    check(TEMPLATE, VARIABLE, variable, "error KINESIS_HANDLER_PARALLELIZATION_FACTOR");
    check_clean(TEMPLATE, VARIABLE, &variable.replace('2', "1"));
}

#[test]
fn timeout_and_memory_have_higher_limits_on_managed_instances() {
    let with = |setting: &str| format!("    Properties:\n      {setting}\n      Environment");
    let from = "    Properties:\n      Environment";
    let managed = "CapacityProviderConfig: { LambdaManagedInstancesCapacityProviderConfig: {} }\n      ";
    check_clean(TEMPLATE, from, &with("Timeout: 1800"));
    check(TEMPLATE, from, &with("Timeout: 1801"), "error Timeout");
    check_clean(TEMPLATE, from, &with(&format!("{managed}Timeout: 5400")));
    check(TEMPLATE, from, &with(&format!("{managed}Timeout: 5401")), "error Timeout");
    check(TEMPLATE, from, &with("MemorySize: 10241"), "error MemorySize");
    check_clean(TEMPLATE, from, &with(&format!("{managed}MemorySize: 32768")));
    check(TEMPLATE, from, &with("MemorySize: 64"), "error MemorySize");
    check(
        SAM,
        "  Function:\n    Environment",
        "  Function:\n    Timeout: 1801\n    Environment",
        "error Timeout",
    );
}

#[test]
fn a_function_without_concurrency_is_a_warning() {
    let from = "    Properties:\n      Environment";
    let with = |value: &str| {
        format!("    Properties:\n      ReservedConcurrentExecutions: {value}\n      Environment")
    };
    check(TEMPLATE, from, &with("0"), "warning ReservedConcurrentExecutions");
    check_clean(TEMPLATE, from, &with("1"));
    check(TEMPLATE, from, &with("!ImportValue x"), "not-judged ReservedConcurrentExecutions");
}

/// A second mapping of the same function and stream, with this event source.
fn two_mappings(source: &str) -> String {
    let mapping =
        TEMPLATE.split("  Mapping:\n").nth(1).expect("a mapping").split("  Alarm:").next().expect("an end");
    let second = mapping.replace("!GetAtt Stream.Arn", source);
    let consumer = "Consumer: { Type: AWS::Kinesis::StreamConsumer, Properties: { ConsumerName: c, StreamARN: !GetAtt Stream.Arn } }";
    let role = "Blue: { Type: AWS::Lambda::Alias, Properties: { FunctionName: !Ref Function } }";
    TEMPLATE.replace("  Mapping:\n", &format!("  Mapping2:\n{second}  {consumer}\n  {role}\n  Mapping:\n"))
}

#[test]
fn mappings_that_share_a_journal_are_errors() {
    const SHARED: &str = "error KINESIS_HANDLER_JOURNAL_TABLE";
    for source in ["!GetAtt Consumer.ConsumerARN", "!GetAtt Stream.Arn"] {
        check(&two_mappings(source), "Position", "Position", SHARED);
    }
    // Through an alias, the function is the same, and so is its name, the default application.
    let through_alias = two_mappings("!GetAtt Consumer.ConsumerARN");
    let mapping = "FunctionName: !Ref Function\n      Event";
    check(&through_alias, mapping, "FunctionName: !Ref Blue\n      Event", SHARED);
    check_clean(
        &two_mappings("arn:aws:kinesis:eu-west-1:123456789012:stream/other").replace("86400", "82800"),
        "Position",
        "Position",
    );
    let disabled =
        two_mappings("!GetAtt Stream.Arn").replacen("ParallelizationFactor: 1", "Enabled: false", 1);
    check(&disabled, "Position", "Position", "warning Enabled");
    // Another function, but the same application.
    let variables = TEMPLATE
        .split("      Environment:")
        .nth(1)
        .expect("variables")
        .split("  Mapping:")
        .next()
        .expect("an end");
    let function = format!(
        "  Function2:\n    Type: AWS::Lambda::Function\n    Properties:\n      Environment:{variables}"
    );
    let green = two_mappings("!GetAtt Stream.Arn").replace("  Mapping2:", &format!("{function}  Mapping2:"));
    let green = green.replacen("FunctionName: !Ref Function\n", "FunctionName: !Ref Function2\n", 1);
    check_clean(&green, "Position", "Position");
    let application =
        "KINESIS_HANDLER_APPLICATION: !Ref AWS::StackName\n          KINESIS_HANDLER_QUARANTINE";
    check_all(&green, "KINESIS_HANDLER_QUARANTINE", application, &[SHARED]);
}

#[test]
fn a_function_that_ignores_the_globals_has_its_own_variables_only() {
    let function = "Type: AWS::Serverless::Function\n";
    let weak = SAM.replace("MaximumRetryAttempts: 10", "MaximumRetryAttempts: 3");
    check(&weak, function, function, "error MaximumRetryAttempts");
    check(
        &weak,
        function,
        &format!("{function}    IgnoreGlobals: [Timeout]\n"),
        "error MaximumRetryAttempts",
    );
    check_clean(&weak, function, &format!("{function}    IgnoreGlobals: [Environment]\n"));
    check_clean(&weak, function, &format!("{function}    IgnoreGlobals: \"*\"\n"));
}

#[test]
fn a_variable_that_a_condition_removes_is_not_one_of_the_globals() {
    let properties = "    Properties:\n      Events:";
    let variables =
        "Environment: { Variables: { KINESIS_HANDLER_MAX_ATTEMPTS: !If [No, 1, !Ref AWS::NoValue] } }";
    let weak = SAM.replace("MaximumRetryAttempts: 10", "MaximumRetryAttempts: 3");
    let weak = weak.replace("Globals:", "Conditions: { No: !Equals [a, b] }\nGlobals:");
    check_clean(&weak, properties, &format!("    Properties:\n      {variables}\n      Events:"));
}
