//! Plans and states of Terraform, and the output of the AWS CDK.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{doctor, findings};
use crate::kit::{Run, kit};

/// Attributes of a mapping without a weakness, of those that are known while planning.
fn mapping() -> Value {
    json!({
        "batch_size": null, "bisect_batch_on_function_error": true, "enabled": true,
        "function_response_types": ["ReportBatchItemFailures"], "filter_criteria": [], "topics": null,
        "maximum_record_age_in_seconds": 3600, "maximum_retry_attempts": 10, "parallelization_factor": 1,
        "self_managed_event_source": [], "starting_position": "TRIM_HORIZON", "tumbling_window_in_seconds": 0,
    })
}

fn resource(address: &str, values: &Value) -> Value {
    let local = &address[address.find("aws_").expect("a type")..];
    let (kind, name) = local.split_once('.').expect("a type and a name");
    let name = name.split('[').next();
    json!({ "address": address, "mode": "managed", "type": kind, "name": name, "values": values })
}

fn references(references: &[&str]) -> Value {
    json!({ "references": references })
}

/// A plan that makes everything: stream and bucket in the root module, function and mapping in a module with instances.
fn plan(mapping: &Value, unknown: &Value) -> Value {
    let address = r#"module.consumer["eu.west"].aws_lambda_event_source_mapping.this[0]"#;
    let function = json!({
        "function_name": "worker",
        "environment": [{ "variables": { "KINESIS_HANDLER_JOURNAL_TABLE": "journal",
            "KINESIS_HANDLER_QUARANTINE": "on", "KINESIS_HANDLER_MAX_ATTEMPTS": "5" } }],
    });
    let policy = json!({ "Statement": [
        { "Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::failures/*" }] });
    let module = json!({ "address": r#"module.consumer["eu.west"]"#, "resources": [
        resource(r#"module.consumer["eu.west"].aws_lambda_function.this"#, &function),
        resource(address, mapping),
        resource(r#"module.consumer["eu.west"].aws_iam_role.this"#, &json!({ "name": "worker" })),
        resource(r#"module.consumer["eu.west"].aws_iam_role_policy.this"#,
            &json!({ "role": "worker", "policy": policy.to_string() })),
    ] });
    let root = json!({ "resources": [
        resource("aws_kinesis_stream.orders", &json!({ "name": "orders", "retention_period": 24 })),
        resource("aws_s3_bucket.failures", &json!({ "bucket": "failures" })),
        resource("aws_sqs_queue.failures", &json!({ "name": "failures" })),
    ], "child_modules": [module] });
    let expressions = json!({
        "event_source_arn": references(&["var.stream_arn"]),
        "function_name": references(&["aws_lambda_function.this.arn", "aws_lambda_function.this"]),
        "destination_config": [{ "on_failure": [{ "destination_arn": references(&["var.failures"]) }] }],
        "starting_position": references(&["var.starting_position"]),
    });
    let called = json!({ "resources": [
        { "address": "aws_lambda_event_source_mapping.this", "expressions": expressions },
        { "address": "aws_lambda_function.this", "expressions":
            { "role": references(&["aws_iam_role.this.arn", "aws_iam_role.this"]) } },
        { "address": "aws_iam_role.this", "expressions": { "name": { "constant_value": "worker" } } },
    ] });
    let call = json!({ "expressions": {
        "stream_arn": references(&["aws_kinesis_stream.orders.arn", "aws_kinesis_stream.orders"]),
        "failures": references(&["aws_s3_bucket.failures.arn", "aws_s3_bucket.failures"]),
    }, "module": called });
    let change = |address: &str, unknown: &Value| json!({ "address": address, "change": { "actions": ["create"], "after_unknown": unknown } });
    json!({
        "format_version": "1.2", "terraform_version": "1.9.0", "planned_values": { "root_module": root },
        "resource_changes": [
            change(address, unknown),
            change(r#"module.consumer["eu.west"].aws_lambda_function.this"#, &json!({ "arn": true, "role": true })),
            change(r#"module.consumer["eu.west"].aws_iam_role.this"#,
                &json!({ "arn": true, "managed_policy_arns": true, "inline_policy": true })),
            change("aws_kinesis_stream.orders", &json!({ "arn": true })),
            change("aws_s3_bucket.failures", &json!({ "arn": true })),
        ],
        "configuration": { "root_module": { "module_calls": { "consumer": call } } },
    })
}

/// ARNs of resources that the plan makes.
fn unknown() -> Value {
    json!({
        "event_source_arn": true, "function_name": true, "uuid": true, "amazon_managed_kafka_event_source_config": true,
        "destination_config": [{ "on_failure": [{ "destination_arn": true }] }], "function_response_types": [false],
    })
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

fn planned() -> Value {
    with(mapping(), "destination_config", json!([{ "on_failure": [{}] }]))
}

/// The plan has these findings, all of the mapping.
#[track_caller]
fn check_plan(plan: &Value, expected: &[&str]) {
    let run = doctor(&plan.to_string(), "");
    assert_eq!(findings(&run), expected, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.exit_code, Some(i32::from(!expected.is_empty())), "{}", run.stderr);
    for line in run.stdout.lines() {
        let finding: Value = serde_json::from_str(line).expect("JSON lines");
        assert_eq!(
            finding["resource"],
            r#"module.consumer["eu.west"].aws_lambda_event_source_mapping.this[0]"#
        );
    }
}

#[test]
fn a_plan_is_judged_with_what_its_references_name() {
    check_plan(&plan(&planned(), &unknown()), &[]);
    for (name, value, expected) in [
        // The function's variables, and the stream's retention.
        ("maximum_retry_attempts", json!(3), "error MaximumRetryAttempts"),
        ("maximum_record_age_in_seconds", json!(86_400), "error MaximumRecordAgeInSeconds"),
        ("starting_position", json!("LATEST"), "error StartingPosition"),
        ("function_response_types", json!([]), "error FunctionResponseTypes"),
        ("bisect_batch_on_function_error", json!(null), "error BisectBatchOnFunctionError"),
        ("parallelization_factor", json!(2), "warning ParallelizationFactor"),
        ("enabled", json!(false), "warning Enabled"),
        (
            "filter_criteria",
            json!([{ "filter": [{ "pattern": r#"{"data":{"a":[1]}}"# }] }]),
            "error FilterCriteria",
        ),
        ("destination_config", json!([]), "error DestinationConfig"),
    ] {
        let unknown = if name == "destination_config" { with(unknown(), name, json!([])) } else { unknown() };
        check_plan(&plan(&with(planned(), name, value), &unknown), &[expected]);
    }
}

#[test]
fn a_destination_is_known_by_the_variable_of_a_module_and_its_role_by_name() {
    let mut to_queue = plan(&planned(), &unknown());
    to_queue["configuration"]["root_module"]["module_calls"]["consumer"]["expressions"]["failures"] =
        references(&["aws_sqs_queue.failures.arn", "aws_sqs_queue.failures"]);
    // The role may write to the bucket only.
    check_plan(&to_queue, &["warning DestinationConfig", "warning Role"]);
    // It may be either.
    to_queue["configuration"]["root_module"]["module_calls"]["consumer"]["expressions"]["failures"] =
        references(&["aws_sqs_queue.failures.arn", "aws_sqs_queue.failures", "aws_s3_bucket.failures.arn"]);
    check_plan(&to_queue, &["not-judged DestinationConfig"]);
}

#[test]
fn an_attribute_that_is_not_set_has_the_default_and_one_that_is_unknown_is_not_judged() {
    let without = |name: &str| {
        let mut values = planned();
        values.as_object_mut().expect("an object").remove(name);
        (values, with(unknown(), name, json!(true)))
    };
    // The provider reads these back, so they are unknown even if nobody sets them.
    let (values, unset) = without("maximum_record_age_in_seconds");
    check_plan(&plan(&values, &unset), &["error MaximumRecordAgeInSeconds"]);
    // The configuration has an expression for this one.
    let (values, unknown) = without("starting_position");
    check_plan(&plan(&values, &unknown), &["not-judged StartingPosition"]);
}

#[test]
fn a_state_and_known_arns_are_read() {
    let arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/orders";
    let values = with(with(mapping(), "event_source_arn", json!(arn)), "function_name", json!("worker"));
    let destination =
        json!([{ "on_failure": [{ "destination_arn": "arn:aws:sns:eu-west-1:111122223333:t" }] }]);
    let values = with(values, "destination_config", destination);
    let values = with(values, "maximum_record_age_in_seconds", json!(604_800));
    let stream = json!({ "arn": arn, "name": "orders", "retention_period": 48 });
    let state = |mapping: &Value| {
        let resources = [
            resource("aws_kinesis_stream.orders", &stream),
            resource("aws_lambda_event_source_mapping.clicks", mapping),
        ];
        json!({ "format_version": "1.0", "values": { "root_module": { "resources": resources } } })
            .to_string()
    };
    let run = doctor(&state(&values), "");
    assert_eq!(
        findings(&run),
        ["error MaximumRecordAgeInSeconds", "warning DestinationConfig"],
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains(r#""resource":"aws_lambda_event_source_mapping.clicks""#), "{}", run.stdout);
    let queue = with(values, "event_source_arn", json!("arn:aws:sqs:eu-west-1:111122223333:q"));
    let run = doctor(&state(&queue), "");
    assert_eq!(run.exit_code, Some(2), "no mapping from Kinesis: {}", run.stdout);
}

#[test]
fn an_instance_reads_the_stream_with_its_own_key() {
    let stream = |key: &str, hours: i64| {
        resource(&format!("aws_kinesis_stream.orders[\"{key}\"]"), &json!({ "retention_period": hours }))
    };
    for (key, expected) in [("a", &["error MaximumRecordAgeInSeconds"][..]), ("b", &[])] {
        let address = format!("aws_lambda_event_source_mapping.this[\"{key}\"]");
        let values = with(mapping(), "maximum_record_age_in_seconds", json!(90_000));
        let values = with(values, "function_name", json!("worker"));
        let destination = json!([{ "on_failure": [{ "destination_arn": "arn:aws:s3:::failures" }] }]);
        let values = with(values, "destination_config", destination);
        let expressions =
            json!({ "event_source_arn": references(&["aws_kinesis_stream.orders", "each.key"]) });
        let configured =
            json!([{ "address": "aws_lambda_event_source_mapping.this", "expressions": expressions }]);
        let plan = json!({
            "format_version": "1.2",
            "planned_values": { "root_module": {
                "resources": [stream("a", 24), stream("b", 48), resource(&address, &values)] } },
            "resource_changes": [
                { "address": address, "change": { "after_unknown": { "event_source_arn": true } } }],
            "configuration": { "root_module": { "resources": configured } },
        });
        let run = doctor(&plan.to_string(), "");
        assert_eq!(findings(&run), expected, "{key}: {}{}", run.stdout, run.stderr);
    }
}

#[test]
fn a_stream_that_is_a_data_source_has_its_retention() {
    let arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/orders";
    let mut data = resource("aws_kinesis_stream.orders", &json!({ "arn": arn, "retention_period": 48 }));
    data["address"] = json!("data.aws_kinesis_stream.orders");
    data["mode"] = json!("data");
    for (age, expected) in [(90_000, &[][..]), (172_800, &["error MaximumRecordAgeInSeconds"])] {
        let values = with(mapping(), "event_source_arn", json!(arn));
        let values = with(values, "maximum_record_age_in_seconds", json!(age));
        let values = with(values, "function_name", json!("worker"));
        let destination = json!([{ "on_failure": [{ "destination_arn": "arn:aws:s3:::failures" }] }]);
        let values = with(values, "destination_config", destination);
        let mapping = resource("aws_lambda_event_source_mapping.this", &values);
        let plan = json!({
            "format_version": "1.2",
            "planned_values": { "root_module": { "resources": [mapping] } },
            "prior_state": { "values": { "root_module": { "resources": [data] } } },
        });
        let run = doctor(&plan.to_string(), "");
        assert_eq!(findings(&run), expected, "{age}: {}{}", run.stdout, run.stderr);
    }
}

#[test]
fn alarms_of_terraform_are_judged() {
    let mut plan = plan(&planned(), &unknown());
    let alarm = json!({ "namespace": "AWS/Lambda", "metric_name": "IteratorAge", "metric_query": [] });
    let right = with(alarm.clone(), "dimensions", json!({ "FunctionName": "worker" }));
    let query = json!([{ "id": "m", "metric": [{ "namespace": "AWS/Kinesis", "metric_name": "GetRecords.IteratorAgeMilliseconds",
        "dimensions": { "FunctionName": "worker" } }] }]);
    let resources = plan["planned_values"]["root_module"]["resources"].as_array_mut().expect("a list");
    for (name, values) in
        [("none", alarm), ("right", right), ("query", json!({ "namespace": null, "metric_query": query }))]
    {
        resources.push(resource(&format!("aws_cloudwatch_metric_alarm.{name}"), &values));
    }
    let run = doctor(&plan.to_string(), "");
    let named: Vec<_> = ["none", "right", "query"]
        .into_iter()
        .filter(|name| run.stdout.contains(&format!("\"aws_cloudwatch_metric_alarm.{name}\"")))
        .collect();
    assert_eq!(named, ["none", "query"], "{}", run.stdout);
}

#[test]
fn other_files_of_terraform_are_named() {
    for (text, expected) in [
        ("PK\u{3}\u{4}", "terraform show -json"),
        ("{\"@level\":\"info\"}\n{\"@level\":\"info\"}", "it is a log of Terraform"),
        (
            "{\"version\":4,\"terraform_version\":\"1.9.0\",\"lineage\":\"l\"}",
            "it is a state file of Terraform",
        ),
    ] {
        let run = doctor(text, "");
        assert_eq!(run.exit_code, Some(2), "{text}");
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
}

/// A stack whose mapping has this number of retries.
fn stack(path: &str, retries: i64) -> Value {
    let metadata = |name: &str| json!({ "aws:cdk:path": format!("{path}/{name}") });
    json!({ "Resources": {
        "Orders1234": { "Type": "AWS::Kinesis::Stream", "Properties": { "RetentionPeriodHours": 48 } },
        "Failures1234": { "Type": "AWS::S3::Bucket" },
        "FnSource1234": { "Type": "AWS::Lambda::EventSourceMapping", "Metadata": metadata("Fn/Source/Resource"),
            "Properties": {
                "FunctionName": "worker", "EventSourceArn": { "Fn::GetAtt": ["Orders1234", "Arn"] },
                "StartingPosition": "TRIM_HORIZON", "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "BisectBatchOnFunctionError": true, "MaximumRetryAttempts": retries, "MaximumRecordAgeInSeconds": 3600,
                "DestinationConfig": { "OnFailure": { "Destination": { "Fn::GetAtt": ["Failures1234", "Arn"] } } },
            } },
    } })
}

fn write(folder: &Path, name: &str, document: &Value) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
    fs::write(path, document.to_string()).expect("a writable folder");
}

/// An app with a stack, a stage with the same stack, and a nested stack.
fn assembly(folder: &Path) {
    let artifact =
        |kind: &str, name: &str, value: &str| json!({ "type": kind, "properties": { name: value } });
    let stack_of = |file: &str| artifact("aws:cloudformation:stack", "templateFile", file);
    write(
        folder,
        "manifest.json",
        &json!({ "version": "36.0.0", "artifacts": {
            "Orders.assets": artifact("cdk:asset-manifest", "file", "Orders.assets.json"),
            "Orders": stack_of("Orders.template.json"),
            "assembly-Prod": artifact("cdk:cloud-assembly", "directoryName", "assembly-Prod"),
        } }),
    );
    let mut orders = stack("Orders", 10);
    orders["Resources"]["Nested1234"] = json!({ "Type": "AWS::CloudFormation::Stack",
        "Metadata": { "aws:cdk:path": "Orders/Nested", "aws:asset:path": "OrdersNested.nested.template.json" },
        "Properties": { "TemplateURL": { "Fn::Sub": "https://s3.${AWS::Region}.${AWS::URLSuffix}/assets/1.json" } } });
    write(folder, "Orders.template.json", &orders);
    write(folder, "OrdersNested.nested.template.json", &stack("Orders/Nested", -1));
    let artifacts = json!({ "ProdOrders": stack_of("ProdOrders.template.json") });
    write(folder, "assembly-Prod/manifest.json", &json!({ "version": "36.0.0", "artifacts": artifacts }));
    write(folder, "assembly-Prod/ProdOrders.template.json", &stack("Prod/Orders", -1));
}

fn resources(run: &Run) -> Vec<String> {
    let resource = |line: &str| {
        let finding: Value = serde_json::from_str(line).expect("JSON lines");
        format!(
            "{} {}",
            finding["resource"].as_str().expect("text"),
            finding["setting"].as_str().expect("text")
        )
    };
    run.stdout.lines().map(resource).collect()
}

#[test]
fn all_stacks_of_the_cdk_are_judged_and_named_by_their_paths() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assembly(folder.path());
    let doctor = |path: &Path| kit(&format!("doctor --format json {}", path.display()), "");
    for path in [folder.path().to_owned(), folder.path().join("manifest.json")] {
        let run = doctor(&path);
        let expected = [
            "Orders/Nested/Fn/Source/Resource MaximumRetryAttempts",
            "Prod/Orders/Fn/Source/Resource MaximumRetryAttempts",
        ];
        assert_eq!(
            (run.exit_code, resources(&run)),
            (Some(1), expected.map(str::to_owned).to_vec()),
            "{}",
            run.stderr
        );
    }
    // Its nested stack is judged with a template of its own, too.
    let run = doctor(&folder.path().join("Orders.template.json"));
    assert_eq!(resources(&run), ["Orders/Nested/Fn/Source/Resource MaximumRetryAttempts"], "{}", run.stderr);
    fs::remove_file(folder.path().join("OrdersNested.nested.template.json")).expect("it was written");
    let run = doctor(&folder.path().join("Orders.template.json"));
    assert_eq!(resources(&run), ["Orders/Nested Type"], "not judged: {}", run.stderr);
    let empty = tempfile::tempdir().expect("a temporary folder");
    let run = doctor(empty.path());
    assert_eq!(run.exit_code, Some(2));
    assert!(run.stderr.contains("manifest.json"), "{}", run.stderr);
}
