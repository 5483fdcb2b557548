//! The event source of a mapping.

use kinesis_esm::stream_arn::{is_consumer, stream_of};
use serde_json::Value;

use super::{
    super::{
        mapping::Stream,
        setting::Setting,
        template::{Template, spell},
    },
    properties::{express, number, raw, text},
};

/// Returns whether a mapping reads from Kinesis, `None` if nothing tells.
pub(super) fn is_kinesis(template: &Template, properties: &Value) -> Option<bool> {
    let has_others =
        ["Topics", "Queues", "SelfManagedEventSource"].iter().any(|name| properties.get(name).is_some());
    if has_others {
        return Some(false);
    }
    let source = match raw(properties, "EventSourceArn") {
        Setting::Known(source) => source,
        Setting::Unknown(_) => return None,
        Setting::Absent => return Some(false),
    };
    if let Some((_, kind, _)) = resource(template, &source) {
        return Some(kind.starts_with("AWS::Kinesis::"));
    }
    let spelled = spell(&source).unwrap_or_else(|| source.to_string()).to_ascii_lowercase();
    if spelled.starts_with("arn:") {
        return Some(spelled.contains(":kinesis:"));
    }
    if spelled.contains("kinesis") {
        return Some(true);
    }
    if ["dynamodb", "kafka", "docdb"].iter().any(|other| spelled.contains(other)) {
        return Some(false);
    }
    // A parameter or an expression. Only streams have a starting position, and tables and clusters have streams, too.
    match raw(properties, "StartingPosition") {
        Setting::Absent => Some(false),
        Setting::Unknown(_) => None,
        Setting::Known(_) if ["table", "msk", "cluster"].iter().any(|other| spelled.contains(other)) => None,
        Setting::Known(_) => Some(true),
    }
}

/// Returns logical ID, type and evaluated properties of the only resource that an expression refers to.
pub(super) fn resource<'a>(template: &'a Template, value: &Value) -> Option<(String, &'a str, Value)> {
    let spelled = spell(value)?;
    let mut found = None;
    for token in tokens(&spelled).filter(|token| !token.starts_with("AWS::")) {
        let id = id_of(template, token)?;
        if found.as_ref().is_some_and(|found| *found != id) {
            return None;
        }
        found = Some(id);
    }
    let id = found?;
    let (kind, properties) = template.resource(&id)?;
    Some((id, kind, template.evaluate(properties).unwrap_or_default()))
}

/// Returns the names in `${Name}` and `${Name.Attribute}`.
pub(super) fn tokens(spelled: &str) -> impl Iterator<Item = &str> {
    spelled.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0))
}

/// Returns the logical ID in a token. A logical ID from Terraform may have dots, too.
pub(super) fn id_of(template: &Template, token: &str) -> Option<String> {
    let mut id = token;
    loop {
        if template.resource(id).is_some() {
            return Some(id.to_owned());
        }
        id = id.rsplit_once('.')?.0;
    }
}

/// Returns the text that stands for the event source, with the names whose change replaces the stream or consumer itself.
pub(super) fn identity(template: &Template, source: &Setting<Value>) -> Setting<String> {
    source.clone().and_then(|source| {
        let Some(spelled) = spell(&source) else { return Setting::Unknown(express(&source)) };
        let is_known = |token: &str| token.starts_with("AWS::") || id_of(template, token).is_some();
        if spelled.contains("{{resolve:") || !tokens(&spelled).all(is_known) {
            return Setting::Unknown(spelled);
        }
        Setting::Known(with_names(template, &source, spelled))
    })
}

fn with_names(template: &Template, source: &Value, mut shown: String) -> String {
    let Some((_, _, properties)) = resource(template, source) else { return shown };
    for name in ["Name", "ConsumerName"] {
        if let Some(value) = properties.get(name).and_then(spell) {
            shown.push_str(&format!(" ({name} {value})"));
        }
    }
    match properties.get("StreamARN") {
        Some(stream) => {
            let stream = with_names(template, stream, express(stream));
            format!("{shown} (StreamARN {stream})")
        }
        None => shown,
    }
}

/// Returns the stream, by way of its consumer, too.
pub(super) fn stream(template: &Template, source: &Setting<Value>) -> Stream {
    let Setting::Known(source) = source else { return Stream::default() };
    match resource(template, source) {
        Some((_, "AWS::Kinesis::StreamConsumer", properties)) if properties.get("StreamARN").is_some() => {
            let Setting::Known(stream) = raw(&properties, "StreamARN") else { return Stream::default() };
            match resource(template, &stream) {
                // A consumer of a consumer does not exist.
                Some((_, "AWS::Kinesis::StreamConsumer", _)) => Stream::default(),
                _ => self::stream(template, &Setting::Known(stream)),
            }
        }
        Some((id, "AWS::Kinesis::Stream", properties)) => Stream {
            arn: Setting::Known(format!("${{{id}.Arn}}")),
            retention_hours: match number(&properties, "RetentionPeriodHours") {
                Setting::Absent => Setting::Known(DEFAULT_RETENTION_HOURS),
                other => other,
            },
            distribution: text(&properties, "RecordDistributionStrategy"),
        },
        _ => {
            let spelled = spell(source).unwrap_or_else(|| express(source));
            Stream { arn: Setting::Known(stream_of(&spelled).to_owned()), ..Stream::default() }
        }
    }
}

/// The API's default.
const DEFAULT_RETENTION_HOURS: i64 = 24;

/// Returns whether the source is a consumer with enhanced fan-out.
pub(super) fn is_fan_out(template: &Template, source: &Setting<Value>) -> Setting<bool> {
    source.clone().and_then(|source| {
        if let Some((_, kind, _)) = resource(template, &source) {
            return Setting::Known(kind == "AWS::Kinesis::StreamConsumer");
        }
        match spell(&source) {
            Some(text) if text.contains(":stream/") => Setting::Known(is_consumer(&text)),
            other => Setting::Unknown(other.unwrap_or_else(|| express(&source))),
        }
    })
}
