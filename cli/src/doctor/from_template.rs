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
            "AWS::Lambda::EventSourceMapping" if is_kinesis(template, &properties) => {
                let function = function_id(template, &properties["FunctionName"]);
                mappings.push(mapping(template, id, &properties, "EventSourceArn", function.as_deref()));
            }
            "AWS::Serverless::Function" => {
                let events = properties["Events"].as_object();
                for (name, event) in
                    events.into_iter().flatten().filter(|(_, event)| event["Type"] == "Kinesis")
                {
                    // As SAM names it.
                    let id_of_event = format!("{id}{name}");
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
    let filters = properties["FilterCriteria"]["Filters"].as_array();
    Mapping {
        id: id.to_owned(),
        event_source_arn: source_text(template, &properties[source]),
        starting_position: text(&properties["StartingPosition"]),
        starting_timestamp: text(&properties["StartingPositionTimestamp"]),
        response_types: match &properties["FunctionResponseTypes"] {
            Value::Null => Some(Vec::new()),
            Value::Array(kinds) => kinds.iter().map(scalar).collect(),
            // Of a list that is a parameter.
            Value::String(kinds) => Some(kinds.split(',').map(|kind| kind.trim().to_owned()).collect()),
            _ => None,
        },
        bisects: setting(&properties["BisectBatchOnFunctionError"], boolean),
        retries: setting(&properties["MaximumRetryAttempts"], |text| text.parse().ok()),
        record_age_s: setting(&properties["MaximumRecordAgeInSeconds"], |text| text.parse().ok()),
        parallelization_factor: setting(&properties["ParallelizationFactor"], |text| text.parse().ok()),
        destination: destination(template, &properties["DestinationConfig"]),
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

/// The logical ID that a `Ref` or `Fn::GetAtt` names, without an attribute.
fn named_resource(value: &Value) -> Option<String> {
    let id = match function(value.as_object()?)? {
        ("Ref", Value::String(id)) => id.as_str(),
        ("Fn::GetAtt", Value::Array(parts)) => parts.first()?.as_str()?,
        _ => return None,
    };
    // SAM's `Function.Alias`.
    Some(id.split('.').next().unwrap_or(id).to_owned())
}

/// The function that a mapping invokes, by way of an alias or a version, too.
fn function_id(template: &Template, name: &Value) -> Option<String> {
    let functions: Vec<(&str, Option<Value>)> = template
        .resources()
        .filter(|(_, kind, _)| ["AWS::Lambda::Function", "AWS::Serverless::Function"].contains(kind))
        .map(|(id, _, properties)| (id, template.evaluate(properties)))
        .collect();
    let is_function = |id: &str| functions.iter().any(|(of, _)| *of == id);
    let mut named = named_resource(name);
    for _ in 0..2 {
        match named.as_deref() {
            Some(id) if is_function(id) => return named,
            Some(id) => {
                let properties =
                    template.resource(id).and_then(|(_, properties)| template.evaluate(properties));
                named = properties.and_then(|properties| named_resource(&properties["FunctionName"]));
            }
            None => break,
        }
    }
    let literal = name.as_str().map(|name| name.rsplit(':').next().unwrap_or(name));
    let by_name = functions.iter().find(|(_, properties)| {
        literal.is_some()
            && properties.as_ref().and_then(|properties| properties["FunctionName"].as_str()) == literal
    });
    match (by_name, &functions[..]) {
        (Some((id, _)), _) => Some((*id).to_owned()),
        // Which other could it be?
        (None, [(id, _)]) if literal.is_none() => Some((*id).to_owned()),
        _ => None,
    }
}

fn is_kinesis(template: &Template, properties: &Value) -> bool {
    let source = &properties["EventSourceArn"];
    if let Some(arn) = source.as_str().filter(|text| text.starts_with("arn:")) {
        return arn.contains(":kinesis:");
    }
    let named = named_resource(source).and_then(|id| Some(template.resource(&id)?.0.to_owned()));
    if let Some(kind) = named {
        return kind.starts_with("AWS::Kinesis::");
    }
    // A parameter, or some function. Streams have a starting position; what else has one, has a name of its own.
    let text = source.to_string().to_ascii_lowercase();
    let is_other =
        ["dynamodb", "table", "kafka", "msk", "docdb", "cluster"].iter().any(|other| text.contains(other));
    let has_others =
        ["Topics", "Queues", "SelfManagedEventSource"].iter().any(|name| properties.get(name).is_some());
    text.contains("kinesis") || (properties.get("StartingPosition").is_some() && !is_other && !has_others)
}

/// The source, with what a change of would replace the stream or consumer itself.
fn source_text(template: &Template, source: &Value) -> Option<String> {
    let mut shown = text(source)?;
    let resource = named_resource(source).and_then(|id| template.resource(&id));
    let properties = resource.and_then(|(_, properties)| template.evaluate(properties)).unwrap_or_default();
    for name in ["Name", "ConsumerName", "StreamARN"] {
        if let Some(value) = source_text(template, &properties[name]) {
            shown.push_str(&format!(" ({name} {value})"));
        }
    }
    Some(shown)
}

fn destination(template: &Template, config: &Value) -> Option<Destination> {
    let on_failure = &config["OnFailure"];
    // What cannot be evaluated may well have one.
    let is_function = |value: &Value| value.as_object().is_some_and(|members| function(members).is_some());
    if is_function(config) || is_function(on_failure) {
        return Some(Destination::Other);
    }
    // SAM takes a type beside it, and makes the queue or topic if there is nothing else.
    if let Some(kind) = on_failure["Type"].as_str() {
        return Some(of_service(kind));
    }
    let value = &on_failure["Destination"];
    if let Some(arn) = value.as_str() {
        return if arn.is_empty() { None } else { Some(of_service(arn)) };
    }
    if value.is_null() {
        return None;
    }
    let named = named_resource(value).and_then(|id| Some(of_service(template.resource(&id)?.0)));
    Some(named.unwrap_or_else(|| of_service(&value.to_string())))
}

/// By an ARN, a type of resources, or whatever else has the service's name in it.
fn of_service(text: &str) -> Destination {
    let text = text.to_ascii_lowercase();
    let kinds = [("sqs", Destination::Sqs), ("sns", Destination::Sns), ("s3", Destination::S3)];
    let exact = kinds.iter().find(|(name, _)| text == *name || text.contains(&format!(":{name}:")));
    let listed = kinds.iter().find(|(name, _)| text.contains(&format!("\"{name}\"")));
    exact.or(listed).map_or(Destination::Other, |(_, kind)| *kind)
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
            if !has_dimensions_always(metric) {
                continue;
            }
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

/// Whether this metric makes sense with dimensions only. Others, of namespaces of one's own, may well have none.
fn has_dimensions_always(metric: &Value) -> bool {
    const OF_THE_ACCOUNT: [&str; 3] =
        ["ConcurrentExecutions", "UnreservedConcurrentExecutions", "ClaimedAccountConcurrency"];
    match metric["Namespace"].as_str() {
        Some("AWS/Lambda") => {
            !metric["MetricName"].as_str().is_some_and(|name| OF_THE_ACCOUNT.contains(&name))
        }
        Some(namespace) => namespace.starts_with("AWS/") || namespace == "KinesisHandler",
        None => false,
    }
}
