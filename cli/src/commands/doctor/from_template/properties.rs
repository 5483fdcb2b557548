//! Members of evaluated properties, as settings.

use serde_json::Value;

use super::super::{
    setting::Setting,
    template::{function, scalar, spell},
};

/// Longest expression that is shown.
const MAX_SHOWN_CHARS: usize = 160;

/// Returns a member that may be an expression. Unknown is one that another expression may add.
pub(super) fn raw(properties: &Value, name: &str) -> Setting<Value> {
    let Value::Object(members) = properties else {
        return if properties.is_null() { Setting::Absent } else { Setting::Unknown(express(properties)) };
    };
    if function(members).is_some() {
        return Setting::Unknown(express(properties));
    }
    match members.get(name) {
        Some(value) if !value.is_null() => Setting::Known(value.clone()),
        _ => match members.iter().find(|(name, _)| name.starts_with("Fn::")) {
            Some((name, argument)) => Setting::Unknown(express(&serde_json::json!({ name: argument }))),
            None => Setting::Absent,
        },
    }
}

/// Returns a member that is no expression.
pub(super) fn member(properties: &Value, name: &str) -> Setting<Value> {
    raw(properties, name).and_then(|value| {
        let is_expression = match &value {
            Value::Object(members) => function(members).is_some(),
            Value::String(text) => text.contains("{{resolve:"),
            _ => false,
        };
        if is_expression { Setting::Unknown(express(&value)) } else { Setting::Known(value) }
    })
}

pub(super) fn text(properties: &Value, name: &str) -> Setting<String> {
    parsed(properties, name, |text| Some(text.to_owned()))
}

pub(super) fn number(properties: &Value, name: &str) -> Setting<i64> {
    parsed(properties, name, whole_number)
}

/// Returns a number, which JSON or YAML may have as 5.0.
fn whole_number(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| text.strip_suffix(".0")?.parse().ok())
}

/// Returns a Boolean as any version of YAML spells it.
pub(super) fn boolean(properties: &Value, name: &str) -> Setting<bool> {
    parsed(properties, name, |text| match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    })
}

/// Returns a list, or a text that separates its items by commas.
pub(super) fn list(properties: &Value, name: &str) -> Setting<Vec<String>> {
    member(properties, name).and_then(|value| match &value {
        Value::Array(items) => match items.iter().map(scalar).collect() {
            Some(items) => Setting::Known(items),
            None => Setting::Unknown(express(&value)),
        },
        Value::String(text) => Setting::Known(text.split(',').map(|item| item.trim().to_owned()).collect()),
        other => Setting::Unknown(express(other)),
    })
}

fn parsed<T>(properties: &Value, name: &str, parse: impl Fn(&str) -> Option<T>) -> Setting<T> {
    member(properties, name).and_then(|value| {
        let parsed = scalar(&value).and_then(|text| parse(&text));
        parsed.map_or_else(|| Setting::Unknown(express(&value)), Setting::Known)
    })
}

/// Returns the text that stands for an unknown value.
pub(super) fn express(value: &Value) -> String {
    let text = spell(value).unwrap_or_else(|| value.to_string());
    if text.chars().count() <= MAX_SHOWN_CHARS {
        return text;
    }
    let shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    format!("{shown}…")
}
