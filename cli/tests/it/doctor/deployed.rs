//! The doctor on deployed functions.

use serde_json::{Value, json};

use super::findings;
use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{ScriptedKinesis, description, variables},
    scripted_stream::ARN,
};

const FUNCTION_ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:orders";

fn mapping() -> Value {
    json!({
        "UUID": "m", "EventSourceArn": ARN, "FunctionArn": FUNCTION_ARN, "StartingPosition": "TRIM_HORIZON",
        "FunctionResponseTypes": ["ReportBatchItemFailures"], "BisectBatchOnFunctionError": true,
        "MaximumRetryAttempts": 10, "MaximumRecordAgeInSeconds": 82_800, "ParallelizationFactor": 1,
        "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:s3:::failures" } }, "State": "Enabled",
    })
}

/// A mapping with other members.
fn with(members: &[(&str, Value)]) -> Value {
    let mut mapping = mapping();
    for (name, value) in members {
        mapping[name] = value.clone();
    }
    mapping
}

/// Judges the function, by this name, of an account that has these mappings.
fn deployed(
    name: &str,
    mappings: Vec<Value>,
    streams: impl Fn(&Value) -> (u16, Value) + Send + Sync + 'static,
) -> Run {
    let kinesis = ScriptedKinesis::start(move |operation, number, request| match operation {
        path if path.starts_with("/2015-03-31/functions/") => {
            let journal = [("JOURNAL_TABLE", "journal"), ("QUARANTINE", "on"), ("MAX_ATTEMPTS", "5")];
            let variables: serde_json::Map<_, _> = journal
                .iter()
                .map(|(name, value)| (format!("KINESIS_HANDLER_{name}"), json!(value)))
                .collect();
            let arn =
                if path.contains("live") { format!("{FUNCTION_ARN}:live") } else { FUNCTION_ARN.to_owned() };
            let variables = json!({ "Variables": variables });
            (200, json!({ "FunctionName": "orders", "FunctionArn": arn, "Environment": variables }))
        }
        // One mapping a page; emulators and the API list those of an alias by the alias only.
        path if path.starts_with("/2015-03-31/event-source-mappings") => {
            let queue = json!({ "UUID": "q", "EventSourceArn": "arn:aws:sqs:eu-west-1:123456789012:q" });
            let named = request.as_str().is_some_and(|query| query.contains("FunctionName="));
            let listed = mappings.iter().filter(|mapping| !named || mapping["FunctionArn"] == FUNCTION_ARN);
            let mut listed: Vec<Value> = listed.cloned().collect();
            listed.push(queue);
            let next = if number + 1 < listed.len() { json!("next") } else { Value::Null };
            (200, json!({ "EventSourceMappings": [listed[number]], "NextMarker": next }))
        }
        "DescribeStreamSummary" => streams(request),
        other => panic!("{other} is not expected"),
    });
    let url = kinesis.url();
    kit_where(&variables(&url), format!("doctor --format json --function {name}").split(' '), "")
}

fn judge(mappings: Vec<Value>) -> Run {
    deployed("orders", mappings, |_| description("orders"))
}

#[test]
fn a_deployed_function_is_judged_by_its_mappings() {
    let clean = judge(vec![mapping()]);
    assert_eq!((clean.exit_code, findings(&clean)), (Some(0), Vec::new()), "{}", clean.stderr);
    for (name, value, expected) in [
        // The stream keeps records for 24 hours.
        ("MaximumRecordAgeInSeconds", json!(86_400), Some("error MaximumRecordAgeInSeconds")),
        ("FunctionResponseTypes", json!([]), Some("error FunctionResponseTypes")),
        ("MaximumRetryAttempts", json!(3), Some("error MaximumRetryAttempts")),
        ("DestinationConfig", json!({ "OnFailure": {} }), Some("error DestinationConfig")),
        ("State", json!("Disabled"), Some("warning Enabled")),
        ("EventSourceArn", json!(format!("{ARN}/consumer/c:1")), None),
    ] {
        let run = judge(vec![with(&[(name, value)])]);
        let expected: Vec<String> = expected.map(str::to_owned).into_iter().collect();
        assert_eq!(findings(&run), expected, "{name}: {}", run.stderr);
    }
}

#[test]
fn mappings_of_aliases_and_versions_are_found() {
    let live = json!(format!("{FUNCTION_ARN}:live"));
    let other = json!("arn:aws:lambda:eu-west-1:123456789012:function:orders-archive");
    let mappings = || {
        vec![
            with(&[
                ("UUID", json!("live")),
                ("FunctionArn", live.clone()),
                ("MaximumRetryAttempts", json!(3)),
            ]),
            with(&[
                ("UUID", json!("other")),
                ("FunctionArn", other.clone()),
                ("MaximumRetryAttempts", json!(3)),
            ]),
        ]
    };
    let run = judge(mappings());
    assert_eq!(findings(&run), ["error MaximumRetryAttempts"], "{}", run.stderr);
    assert!(run.stdout.contains(r#""resource":"live""#), "{}", run.stdout);
    let mut mappings = mappings();
    mappings.push(with(&[("ParallelizationFactor", json!(2))]));
    let selected = deployed("orders:live", mappings, |_| description("orders"));
    assert_eq!(findings(&selected), ["error MaximumRetryAttempts"], "{}", selected.stderr);
}

#[test]
fn two_mappings_of_one_function_and_stream_share_a_journal() {
    let fan_out =
        with(&[("UUID", json!("fan-out")), ("EventSourceArn", json!(format!("{ARN}/consumer/c:1")))]);
    let run = judge(vec![mapping(), fan_out]);
    assert_eq!(findings(&run), ["error KINESIS_HANDLER_JOURNAL_TABLE"], "{}", run.stderr);
}

#[test]
fn a_stream_that_cannot_be_described_hides_nothing_else() {
    let hidden = format!("{ARN}-hidden");
    let mappings = vec![
        with(&[("EventSourceArn", json!(hidden)), ("MaximumRecordAgeInSeconds", json!(90_000))]),
        with(&[("UUID", json!("other")), ("MaximumRetryAttempts", json!(3))]),
    ];
    let run = deployed("orders", mappings, |request| {
        if request["StreamARN"].as_str().is_some_and(|arn| arn.ends_with("-hidden")) {
            (400, json!({ "__type": "AccessDeniedException", "message": "not authorized" }))
        } else {
            description("orders")
        }
    });
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    let expected =
        ["error MaximumRetryAttempts", "not-judged RetentionPeriodHours, RecordDistributionStrategy"];
    assert_eq!(findings(&run), expected, "{}", run.stdout);
    assert!(run.stdout.contains("AccessDeniedException"), "{}", run.stdout);
}

#[test]
fn filters_that_lambda_cannot_decrypt_are_not_judged() {
    let error = json!({ "ErrorCode": "KMSAccessDenied", "Message": "no kms:Decrypt" });
    let run = judge(vec![with(&[("FilterCriteriaError", error)])]);
    assert_eq!(findings(&run), ["not-judged FilterCriteria"], "{}", run.stderr);
}

#[test]
fn a_stream_that_distributes_records_by_itself_is_known() {
    let run = deployed("orders", vec![mapping()], |_| {
        let (status, mut answer) = description("orders");
        answer["StreamDescriptionSummary"]["RecordDistributionStrategy"] = json!("AUTO");
        (status, answer)
    });
    assert_eq!(findings(&run), ["warning RecordDistributionStrategy"], "{}", run.stderr);
}
