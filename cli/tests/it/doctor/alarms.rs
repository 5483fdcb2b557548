//! Alarms that watch nothing.

use super::{TEMPLATE, check, check_clean};

/// The template's alarm watches this.
fn alarm(namespace: &str, metric: &str, dimensions: &[&str]) -> String {
    let dimensions: Vec<String> =
        dimensions.iter().map(|name| format!("{{ Name: {name}, Value: x }}")).collect();
    TEMPLATE
        .replace("Namespace: AWS/Lambda", &format!("Namespace: {namespace}"))
        .replace("MetricName: IteratorAge", &format!("MetricName: {metric}"))
        .replace("[{ Name: FunctionName, Value: !Ref Function }]", &format!("[{}]", dimensions.join(", ")))
}

#[test]
fn an_alarm_needs_dimensions_that_its_metric_has() {
    for (namespace, metric, dimensions) in [
        ("AWS/Lambda", "IteratorAge", &[][..]),
        ("AWS/Lambda", "IteratorAge", &["GoodFunctionName"]),
        ("AWS/Lambda", "IteratorAge", &["functionname"]),
        ("AWS/Lambda", "IteratorAge", &["FunctionName", "StreamName"]),
        ("AWS/Lambda", "DroppedEventCount", &["FunctionName"]),
        ("AWS/Lambda", "Errors", &["Function"]),
        ("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", &["FunctionName"]),
        ("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", &[]),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", &["Queue"]),
        ("KinesisHandler", "FailedBatches", &["FunctionName"]),
        ("KinesisHandler", "FailedBatches", &["function"]),
        ("KinesisHandler", "FailedBatches", &[]),
    ] {
        check(&alarm(namespace, metric, dimensions), "Position", "Position", "error Dimensions");
    }
    check(
        TEMPLATE,
        "      Dimensions: [{ Name: FunctionName, Value: !Ref Function }]\n",
        "",
        "error Dimensions",
    );
}

#[test]
fn alarms_on_a_whole_account_and_on_other_services_are_fine() {
    for (namespace, metric, dimensions) in [
        ("AWS/Lambda", "IteratorAge", &["Resource", "FunctionName"][..]),
        ("AWS/Lambda", "DroppedEventCount", &["EventSourceMappingUUID"]),
        ("AWS/Lambda", "ConcurrentExecutions", &[]),
        ("AWS/Lambda", "UnreservedConcurrentExecutions", &[]),
        ("AWS/Lambda", "ClaimedAccountConcurrency", &[]),
        ("AWS/Kinesis", "IncomingRecords", &["StreamName", "ShardId"]),
        ("AWS/Kinesis", "SubscribeToShardEvent.MillisBehindLatest", &["StreamName", "ConsumerName"]),
        ("AWS/SES", "Reputation.BounceRate", &[]),
        ("AWS/DynamoDB", "UserErrors", &[]),
        ("AWS/DynamoDB", "AccountProvisionedReadCapacityUtilization", &[]),
        ("AWS/Usage", "CallCount", &["Service", "Type"]),
        ("KinesisHandler", "FailedBatches", &["stream", "function"]),
    ] {
        check_clean(&alarm(namespace, metric, dimensions), "Position", "Position");
    }
}

#[test]
fn each_metric_of_an_expression_is_judged() {
    let metric = |dimension: &str| {
        format!(
            "Metrics:\n        - {{ Id: a, Expression: b * 2 }}\n        - {{ Id: b, MetricStat: {{ Metric: {{ Namespace: \
             AWS/Lambda, MetricName: IteratorAge, Dimensions: [{{ Name: {dimension}, Value: x }}] }} }} }}"
        )
    };
    let from = "Namespace: AWS/Lambda\n      MetricName: IteratorAge\n      Dimensions: [{ Name: FunctionName, Value: !Ref Function }]";
    check(TEMPLATE, from, &metric("Function"), "error Dimensions");
    check_clean(TEMPLATE, from, &metric("FunctionName"));
}
