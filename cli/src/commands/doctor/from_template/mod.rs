//! The mappings and alarms of a template.

mod destination;
mod function;
mod index;
mod not_judged;
mod properties;
mod role;
mod source;

use serde_json::Value;

use super::{
    mapping::{AlarmMetric, Function, Mapping, Subject},
    rules::not_judged,
    setting::Setting,
    template::{Template, spell},
};
use index::Index;
use properties::{boolean, express, list, member, number, raw, text};

/// Returns what the rules judge in a template: mappings that are resources, and those that are events of SAM functions.
pub(super) fn subject(template: &Template) -> Subject {
    let index = Index::new(template);
    let findings = not_judged::findings(template);
    let mut subject = Subject { findings, has_parameters: template.has_parameters(), ..Subject::default() };
    for (id, kind, properties) in template.resources() {
        match kind {
            "AWS::Lambda::EventSourceMapping" => {
                let Some(properties) = template.evaluate(properties) else { continue };
                match source::is_kinesis(template, &properties) {
                    Some(true) => {
                        let function = function::of_mapping(&index, &properties);
                        subject.mappings.push(mapping(&index, id, &properties, "EventSourceArn", function));
                    }
                    Some(false) => {}
                    None => subject.findings.push(unread(id, "EventSourceArn", express(&properties))),
                }
            }
            "AWS::Serverless::Function" => {
                let Some(properties) = template.evaluate(properties) else { continue };
                add_events(&index, id, &properties, &mut subject);
            }
            "AWS::CloudWatch::Alarm" => {
                let Some(properties) = template.evaluate(properties) else { continue };
                subject.metrics.extend(metrics(id, &properties));
            }
            _ => {}
        }
    }
    if subject.mappings.is_empty() {
        subject.findings.extend(not_judged::switched_off(template));
    }
    subject
}

/// Adds the Kinesis events of a SAM function.
fn add_events(index: &Index<'_>, id: &str, properties: &Value, subject: &mut Subject) {
    let events = match raw(properties, "Events") {
        Setting::Absent => return,
        Setting::Known(Value::Object(events)) => events,
        Setting::Known(other) => return subject.findings.push(unread(id, "Events", express(&other))),
        Setting::Unknown(expression) => return subject.findings.push(unread(id, "Events", expression)),
    };
    for (name, event) in &events {
        let is_hidden = name.starts_with("Fn::");
        match text(event, "Type") {
            _ if is_hidden => subject.findings.push(unread(id, "Events", express(event))),
            Setting::Known(kind) if kind == "Kinesis" => {
                let function = Setting::Known(function::of_resource(index, id));
                let event = &event["Properties"];
                // The logical ID that SAM generates.
                let id = format!("{id}{name}");
                subject.mappings.push(mapping(index, &id, event, "Stream", function));
            }
            Setting::Known(_) | Setting::Absent => {}
            Setting::Unknown(expression) => subject.findings.push(unread(id, "Events", expression)),
        }
    }
}

fn unread(id: &str, setting: &str, expression: String) -> super::finding::Finding {
    not_judged(
        setting,
        expression,
        "it may hold a mapping from Kinesis that cannot be read here",
        "judge the transformed template, or check the deployed function with --function",
    )
    .of(id)
}

fn mapping(
    index: &Index<'_>,
    id: &str,
    properties: &Value,
    source: &str,
    function: Setting<Function>,
) -> Mapping {
    let template = index.template;
    let event_source = raw(properties, source);
    let destination = destination::of_mapping(index, properties, function.known(), source == "Stream");
    Mapping {
        id: id.to_owned(),
        stream: source::stream(template, &event_source),
        is_fan_out: source::is_fan_out(template, &event_source),
        event_source: source::identity(template, &event_source),
        function,
        is_enabled: boolean(properties, "Enabled"),
        starting_position: text(properties, "StartingPosition"),
        starting_timestamp: timestamp(properties),
        response_types: list(properties, "FunctionResponseTypes"),
        bisects: boolean(properties, "BisectBatchOnFunctionError"),
        retries: number(properties, "MaximumRetryAttempts"),
        record_age_s: number(properties, "MaximumRecordAgeInSeconds"),
        parallelization_factor: number(properties, "ParallelizationFactor"),
        batch_size: number(properties, "BatchSize"),
        batching_window_s: number(properties, "MaximumBatchingWindowInSeconds"),
        tumbling_window_s: number(properties, "TumblingWindowInSeconds"),
        destination,
        filters: filters(properties),
    }
}

/// Returns the starting time in one spelling: 1767225600.0 and "1767225600" are the same.
fn timestamp(properties: &Value) -> Setting<String> {
    text(properties, "StartingPositionTimestamp").and_then(|text| match text.parse::<f64>() {
        Ok(seconds) => Setting::Known(seconds.to_string()),
        Err(_) if text.is_empty() => Setting::Absent,
        Err(_) => Setting::Known(text),
    })
}

fn filters(properties: &Value) -> Setting<Vec<Setting<String>>> {
    let filters = member(properties, "FilterCriteria").and_then(|criteria| raw(&criteria, "Filters"));
    filters.and_then(|filters| match filters {
        Value::Array(filters) => Setting::Known(filters.iter().map(pattern).collect()),
        other => Setting::Unknown(express(&other)),
    })
}

/// Returns a pattern. A known text may still hold `${Name}` for unknown parts.
fn pattern(filter: &Value) -> Setting<String> {
    raw(filter, "Pattern").and_then(|pattern| match spell(&pattern) {
        Some(text) if pattern.is_string() => Setting::Known(text),
        Some(text) => Setting::Unknown(text),
        // CloudFormation accepts an object, which it converts to text.
        None if pattern.is_object() => Setting::Unknown(pattern.to_string()),
        None => Setting::Unknown(express(&pattern)),
    })
}

fn metrics(id: &str, properties: &Value) -> Vec<AlarmMetric> {
    let of_expressions = properties["Metrics"].as_array().into_iter().flatten();
    of_expressions
        .map(|metric| &metric["MetricStat"]["Metric"])
        .filter(|metric| !metric.is_null())
        .chain(properties.get("MetricName").map(|_| properties))
        .map(|metric| AlarmMetric {
            alarm: id.to_owned(),
            namespace: text(metric, "Namespace"),
            name: text(metric, "MetricName"),
            dimensions: raw(metric, "Dimensions").and_then(|dimensions| match dimensions {
                Value::Array(dimensions) => {
                    Setting::Known(dimensions.iter().map(|dimension| text(dimension, "Name")).collect())
                }
                other => Setting::Unknown(express(&other)),
            }),
        })
        .collect()
}
