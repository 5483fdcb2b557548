//! The function that a mapping invokes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::{
        mapping::Function,
        setting::Setting,
        template::{scalar, spell},
    },
    index::{Index, plain},
    properties::{express, number, raw},
    source::{id_of, tokens},
};

/// Most aliases and versions between a mapping and its function.
const MAX_HOPS: usize = 3;

/// Returns the function that a mapping names. Absent is one outside of a template that has no functions at all.
pub(super) fn of_mapping(index: &Index<'_>, properties: &Value) -> Setting<Function> {
    raw(properties, "FunctionName").and_then(|name| {
        if let Some(id) = id(index, &name, MAX_HOPS) {
            return Setting::Known(of_resource(index, &id));
        }
        let is_literal = scalar(&name).is_some_and(|name| !name.contains("{{resolve:"));
        if is_literal && !index.has_functions {
            return Setting::Absent;
        }
        Setting::Unknown(format!("{}, which is no function of this template", express(&name)))
    })
}

/// Returns the logical ID of the function that an expression names: by logical ID, by way of an alias or a version, or by
/// its name.
fn id(index: &Index<'_>, name: &Value, hops: usize) -> Option<String> {
    let spelled = spell(name)?;
    for token in tokens(&spelled).filter(|token| !token.starts_with("AWS::")) {
        let Some(id) = id_of(index.template, token) else {
            match generated_for(index, token) {
                Some(id) => return Some(id),
                None => continue,
            }
        };
        if index.is_function(&id) {
            return Some(id);
        }
        let (kind, properties) = index.template.resource(&id)?;
        if hops > 0 && ["AWS::Lambda::Alias", "AWS::Lambda::Version"].contains(&kind) {
            let properties = index.template.evaluate(properties)?;
            return self::id(index, &properties["FunctionName"], hops - 1);
        }
    }
    // arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME:QUALIFIER, ACCOUNT:function:NAME or NAME:QUALIFIER; the colons of
    // pseudo parameters are in the way.
    let plain = plain(&spelled);
    let (_, name) = plain.split_once(":function:").unwrap_or(("", &plain));
    index.function_named(name.split(':').next().unwrap_or(name))
}

/// Returns the function whose alias or version SAM generates with this logical ID, such as `FunctionAliaslive`.
fn generated_for(index: &Index<'_>, token: &str) -> Option<String> {
    for (kind, separator) in [("alias", "Alias"), ("version", "Version")] {
        for (at, _) in token.match_indices(separator) {
            let (function, name) = (&token[..at], &token[at + separator.len()..]);
            if !index.is_function(function) {
                continue;
            }
            let (_, properties) = index.template.resource(function)?;
            let properties = index.template.evaluate(properties).unwrap_or_default();
            let alias = properties.get("AutoPublishAlias");
            if alias.and_then(spell).is_some_and(|alias| kind == "version" || alias == name) {
                return Some(function.to_owned());
            }
        }
    }
    None
}

/// Returns a function of the template.
pub(super) fn of_resource(index: &Index<'_>, id: &str) -> Function {
    let (_, properties) = index.template.resource(id).unwrap_or(("", &Value::Null));
    let properties = index.template.evaluate(properties).unwrap_or_default();
    Function {
        id: id.to_owned(),
        variables: variables(&properties),
        timeout_s: number(&properties, "Timeout"),
        memory_mb: number(&properties, "MemorySize"),
        reserved_concurrency: number(&properties, "ReservedConcurrentExecutions"),
        is_on_managed_instances: Setting::Known(properties.get("CapacityProviderConfig").is_some()),
    }
}

fn variables(properties: &Value) -> Setting<BTreeMap<String, Setting<String>>> {
    let variables = raw(properties, "Environment").and_then(|environment| raw(&environment, "Variables"));
    let variables = match variables {
        Setting::Absent => return Setting::Known(BTreeMap::new()),
        Setting::Unknown(expression) => return Setting::Unknown(expression),
        Setting::Known(Value::Object(variables)) => variables,
        Setting::Known(other) => return Setting::Unknown(express(&other)),
    };
    let mut all = BTreeMap::new();
    for (name, value) in variables {
        if name.starts_with("Fn::") {
            return Setting::Unknown(express(&value));
        }
        let setting = match &value {
            Value::String(text) if text.contains("{{resolve:") => Setting::Unknown(text.clone()),
            value => scalar(value).map_or_else(|| Setting::Unknown(express(value)), Setting::Known),
        };
        all.insert(name, setting);
    }
    Setting::Known(all)
}
