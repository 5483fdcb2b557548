use serde_json::{Map, Value};

use super::{Bindings, Template, scalar};

/// Key prefix of a loop of the transform `AWS::LanguageExtensions`.
const PREFIX: &str = "Fn::ForEach::";

/// Most values that the unrolled loops of a template may have: far above what a template of 1 MB holds.
const MAX_VALUES: usize = 250_000;

/// Returns the template's document with its loops unrolled. A loop over a collection that is unknown stays in place.
pub(super) fn unroll(template: &Template) -> Result<Value, String> {
    let document = &template.document;
    if !contains_loop(document) {
        return Ok(document.clone());
    }
    let mut left = MAX_VALUES;
    expand(template, document, &Bindings::new(), &mut left)
        .ok_or_else(|| format!("its loops (Fn::ForEach) have more than {MAX_VALUES} values"))
}

fn contains_loop(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(name, member)| name.starts_with(PREFIX) || contains_loop(member))
        }
        Value::Array(items) => items.iter().any(contains_loop),
        _ => false,
    }
}

/// Returns `None` if the result has too many values.
fn expand(template: &Template, value: &Value, bindings: &Bindings, left: &mut usize) -> Option<Value> {
    *left = left.checked_sub(1)?;
    Some(match value {
        Value::String(text) => Value::String(bind(text, bindings)),
        Value::Array(items) => Value::Array(
            items.iter().map(|item| expand(template, item, bindings, left)).collect::<Option<_>>()?,
        ),
        Value::Object(members) => {
            if let Some(bound) =
                members.get("Ref").and_then(Value::as_str).and_then(|name| bindings.get(name))
                && members.len() == 1
            {
                return Some(Value::String(bound.clone()));
            }
            let mut expanded = Map::new();
            for (name, member) in members {
                match iterations(template, name, member, bindings) {
                    Some((variable, items, body)) => {
                        for item in items {
                            let mut inner = bindings.clone();
                            inner.insert(variable.to_owned(), item);
                            if let Value::Object(members) = expand(template, body, &inner, left)? {
                                expanded.extend(members);
                            }
                        }
                    }
                    None => {
                        expanded.insert(bind(name, bindings), expand(template, member, bindings, left)?);
                    }
                }
            }
            Value::Object(expanded)
        }
        other => other.clone(),
    })
}

/// Returns variable, items and body of a loop whose collection is known.
fn iterations<'a>(
    template: &Template,
    name: &str,
    member: &'a Value,
    bindings: &Bindings,
) -> Option<(&'a str, Vec<String>, &'a Value)> {
    name.strip_prefix(PREFIX)?;
    let [variable, collection, body] = member.as_array()?.as_slice() else { return None };
    let Some(Value::Array(items)) = template.evaluate(collection) else { return None };
    let items = items.iter().map(|item| Some(bind(&scalar(item)?, bindings))).collect::<Option<_>>()?;
    Some((variable.as_str()?, items, body))
}

/// Replaces `${Variable}`, and `&{Variable}`, which keeps letters and digits only.
fn bind(text: &str, bindings: &Bindings) -> String {
    let mut bound = text.to_owned();
    for (variable, value) in bindings {
        if bound.contains('{') {
            let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            bound = bound
                .replace(&format!("${{{variable}}}"), value)
                .replace(&format!("&{{{variable}}}"), &plain);
        }
    }
    bound
}
