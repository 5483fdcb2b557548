//! The rule about alarms: one whose metric has other dimensions watches nothing.

use super::{error, not_judged};
use crate::commands::doctor::{finding::Finding, mapping::AlarmMetric, setting::Setting};

/// Metrics of AWS/Lambda about mappings, with the dimension `EventSourceMappingUUID`.
const OF_MAPPINGS: [&str; 7] = [
    "PolledEventCount",
    "FilteredOutEventCount",
    "InvokedEventCount",
    "FailedInvokeEventCount",
    "DroppedEventCount",
    "OnFailureDestinationDeliveredEventCount",
    "DeletedEventCount",
];

/// Metrics of AWS/Lambda about functions that make no sense for all functions of the account together.
const OF_ONE_FUNCTION: [&str; 2] = ["IteratorAge", "DestinationDeliveryFailures"];

/// Metrics of AWS/Lambda about functions that exist for the whole account, too.
const OF_FUNCTIONS: [&str; 8] = [
    "ConcurrentExecutions",
    "Duration",
    "Errors",
    "Invocations",
    "PostRuntimeExtensionsDuration",
    "ProvisionedConcurrencyInvocations",
    "ProvisionedConcurrencySpilloverInvocations",
    "Throttles",
];

const OF_A_FUNCTION: &[&[&str]] =
    &[&["FunctionName"], &["FunctionName", "Resource"], &["ExecutedVersion", "FunctionName", "Resource"]];

/// Returns the sorted names of dimensions that exist for a metric, or `None` if that is not known.
fn dimension_sets(namespace: &str, metric: &str) -> Option<Vec<&'static [&'static str]>> {
    match namespace {
        "AWS/Lambda" if OF_MAPPINGS.contains(&metric) => Some(vec![&["EventSourceMappingUUID"]]),
        "AWS/Lambda" if OF_ONE_FUNCTION.contains(&metric) => Some(OF_A_FUNCTION.to_vec()),
        "AWS/Lambda" if OF_FUNCTIONS.contains(&metric) => {
            Some(OF_A_FUNCTION.iter().copied().chain([&[][..]]).collect())
        }
        "AWS/Kinesis" => {
            Some(vec![&["StreamName"], &["ShardId", "StreamName"], &["ConsumerName", "StreamName"]])
        }
        "AWS/SQS" => Some(vec![&["QueueName"]]),
        "KinesisHandler" => Some(vec![&["function", "stream"]]),
        _ => None,
    }
}

pub(super) fn dimensions(metric: &AlarmMetric) -> Option<Finding> {
    const SETTING: &str = "Dimensions";
    let (Setting::Known(namespace), Setting::Known(name)) = (&metric.namespace, &metric.name) else {
        return None;
    };
    let allowed = dimension_sets(namespace, name)?;
    let unknown = |expression: &str| {
        let reason = "an alarm on dimensions that the metric does not have watches nothing";
        let fix = format!("check that the alarm has the dimensions {}", list(&allowed));
        Some(not_judged(SETTING, expression, reason, fix).of(&metric.alarm))
    };
    let mut found = Vec::new();
    match &metric.dimensions {
        Setting::Absent => {}
        Setting::Unknown(expression) => return unknown(expression),
        Setting::Known(names) => {
            for name in names {
                match name {
                    Setting::Absent => {}
                    Setting::Unknown(expression) => return unknown(expression),
                    Setting::Known(name) => found.push(name.as_str()),
                }
            }
        }
    }
    found.sort_unstable();
    if allowed.contains(&found.as_slice()) {
        return None;
    }
    let shown = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    Some(
        error(
            SETTING,
            format!("{shown}, for {namespace} {name}"),
            "the metric does not exist with these dimensions, so the alarm watches nothing",
            list(&allowed),
        )
        .of(&metric.alarm),
    )
}

fn list(sets: &[&[&str]]) -> String {
    let sets: Vec<String> =
        sets.iter().map(|set| if set.is_empty() { "none".to_owned() } else { set.join(" and ") }).collect();
    sets.join("; or ")
}
