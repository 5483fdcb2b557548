use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    finding::{Finding, Severity},
    mapping::{Destination, Mapping, Setting},
    template::{Template, function, scalar},
};

/// The mappings from Kinesis of a template: those that stand by themselves, and those that are events of SAM functions.
pub(super) fn mappings(template: &Template) -> Vec<Mapping> {
    let mut mappings = Vec::new();
    for (id, kind, properties) in template.resources() {
        let Some(properties) = template.evaluate(properties) else { continue };
        match kind {
            "AWS::Lambda::EventSourceMapping" if is_kinesis(template, &properties["EventSourceArn"]) => {
                let function = named_resource(&properties["FunctionName"]);
                mappings.push(mapping(template, id, &properties, "EventSourceArn", function.as_deref()));
            }
            "AWS::Serverless::Function" => {
                let events = properties["Events"].as_object();
                for (name, event) in
                    events.into_iter().flatten().filter(|(_, event)| event["Type"] == "Kinesis")
                {
                    let id_of_event = format!("{id}.{name}");
                    mappings.push(mapping(template, &id_of_event, &event["Properties"], "Stream", Some(id)));
                }
            }
            _ => {}
        }
    }
    mappings
}

fn mapping(
    template: &Template,
    id: &str,
    properties: &Value,
    source: &str,
    function_id: Option<&str>,
) -> Mapping {
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(scalar).collect()
    };
    let on_failure = &properties["DestinationConfig"]["OnFailure"];
    let filters = properties["FilterCriteria"]["Filters"].as_array();
    Mapping {
        id: id.to_owned(),
        event_source_arn: text(&properties[source]),
        starting_position: text(&properties["StartingPosition"]),
        starting_timestamp: text(&properties["StartingPositionTimestamp"]),
        response_types: list(&properties["FunctionResponseTypes"]),
        bisects: setting(&properties["BisectBatchOnFunctionError"], boolean),
        retries: setting(&properties["MaximumRetryAttempts"], |text| text.parse().ok()),
        record_age_s: setting(&properties["MaximumRecordAgeInSeconds"], |text| text.parse().ok()),
        parallelization_factor: setting(&properties["ParallelizationFactor"], |text| text.parse().ok()),
        destination: destination(template, &on_failure["Destination"], &on_failure["Type"]),
        filters: filters.into_iter().flatten().filter_map(|filter| text(&filter["Pattern"])).collect(),
        retention_hours: retention(template, &properties[source]),
        variables: variables(template, function_id),
    }
}

/// A scalar, or a function as JSON: two of them are alike only if they stand for the same.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        other => Some(scalar(other).unwrap_or_else(|| other.to_string())),
    }
}

fn setting<T>(value: &Value, parse: impl Fn(&str) -> Option<T>) -> Setting<T> {
    match value {
        Value::Null => Setting::Absent,
        other => scalar(other).and_then(|text| parse(&text)).map_or(Setting::Unknown, Setting::Known),
    }
}

/// As YAML has them, in any of its versions.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The logical ID that a `Ref` or `Fn::GetAtt` names.
fn named_resource(value: &Value) -> Option<String> {
    match function(value.as_object()?)? {
        ("Ref", Value::String(id)) => Some(id.clone()),
        ("Fn::GetAtt", Value::Array(parts)) => parts.first()?.as_str().map(str::to_owned),
        ("Fn::GetAtt", Value::String(text)) => text.split('.').next().map(str::to_owned),
        _ => None,
    }
}

fn is_kinesis(template: &Template, source: &Value) -> bool {
    if let Some(arn) = source.as_str() {
        return arn.contains(":kinesis:");
    }
    match named_resource(source).and_then(|id| Some(template.resource(&id)?.0.to_owned())) {
        Some(kind) => kind.starts_with("AWS::Kinesis::"),
        // Some other function: its text may tell.
        None => source.to_string().contains("kinesis") || source.to_string().contains("Stream"),
    }
}

fn destination(template: &Template, value: &Value, kind: &Value) -> Option<Destination> {
    let of = |text: &str| {
        if text.contains("s3") || text.contains("S3") {
            Destination::S3
        } else if text.contains("sqs") || text.contains("SQS") {
            Destination::Sqs
        } else if text.contains("sns") || text.contains("SNS") {
            Destination::Sns
        } else {
            Destination::Other
        }
    };
    // SAM takes a type beside it, and makes the queue or topic if there is nothing else.
    if let Some(kind) = kind.as_str() {
        return Some(of(kind));
    }
    if value.is_null() {
        return None;
    }
    if let Some(arn) = value.as_str() {
        return if arn.is_empty() { None } else { Some(of(arn.split(':').nth(2).unwrap_or_default())) };
    }
    let named = named_resource(value).and_then(|id| Some(of(template.resource(&id)?.0)));
    Some(named.unwrap_or_else(|| of(&value.to_string())))
}

/// Of the stream in the template that the mapping, or its consumer, reads.
fn retention(template: &Template, source: &Value) -> Option<i64> {
    let id = named_resource(source)?;
    let (kind, properties) = template.resource(&id)?;
    let properties = template.evaluate(properties)?;
    match kind {
        "AWS::Kinesis::Stream" => match &properties["RetentionPeriodHours"] {
            // The API's default.
            Value::Null => Some(24),
            hours => scalar(hours)?.parse().ok(),
        },
        "AWS::Kinesis::StreamConsumer" => retention(template, &properties["StreamARN"]),
        _ => None,
    }
}

/// Of the function; in SAM templates, those of all functions come first.
fn variables(template: &Template, function_id: Option<&str>) -> BTreeMap<String, String> {
    let resource = function_id.and_then(|id| template.resource(id));
    let of_all =
        resource.filter(|(kind, _)| *kind == "AWS::Serverless::Function").and(template.globals("Function"));
    let mut variables = BTreeMap::new();
    for properties in [of_all, resource.map(|(_, properties)| properties)].into_iter().flatten() {
        let Some(properties) = template.evaluate(properties) else { continue };
        for (name, value) in properties["Environment"]["Variables"].as_object().into_iter().flatten() {
            variables.extend(text(value).map(|value| (name.clone(), value)));
        }
    }
    variables
}

/// Alarms that watch nothing.
pub(super) fn alarms(template: &Template) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, kind, properties) in template.resources() {
        let (true, Some(properties)) = (kind == "AWS::CloudWatch::Alarm", template.evaluate(properties))
        else {
            continue;
        };
        let of_metrics = properties["Metrics"].as_array().into_iter().flatten();
        let metrics = of_metrics
            .map(|metric| &metric["MetricStat"]["Metric"])
            .filter(|metric| !metric.is_null())
            .chain(properties.get("MetricName").map(|_| &properties));
        for metric in metrics {
            let has_dimensions = match &metric["Dimensions"] {
                Value::Null => false,
                Value::Array(dimensions) => !dimensions.is_empty(),
                _ => true,
            };
            if !has_dimensions {
                findings.push(Finding {
                    severity: Severity::Error,
                    resource: id.to_owned(),
                    setting: "Dimensions",
                    found: "none".to_owned(),
                    reason: "it watches no function, stream or mapping in particular, but all of them, or a metric that does \
                             not exist, and stays silent",
                    mend: format!("the dimensions of {}", text(&metric["MetricName"]).unwrap_or_default()),
                });
            }
        }
    }
    findings
}
