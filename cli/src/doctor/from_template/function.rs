//! The function that a mapping invokes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::{
        mapping::Function,
        setting::Setting,
        template::{Template, scalar, spell},
    },
    properties::{express, number, raw},
    source::{id_of, tokens},
};

/// Most aliases and versions between a mapping and its function.
const MAX_HOPS: usize = 3;

/// Returns the function that a mapping names. Absent is one outside of a template that has no functions at all.
pub(super) fn of_mapping(template: &Template, properties: &Value) -> Setting<Function> {
    raw(properties, "FunctionName").and_then(|name| {
        if let Some(id) = id(template, &name, MAX_HOPS) {
            return Setting::Known(of_resource(template, &id));
        }
        let is_literal = scalar(&name).is_some_and(|name| !name.contains("{{resolve:"));
        match functions(template).as_slice() {
            [] if is_literal => Setting::Absent,
            // Which other could it be?
            [only] if !is_literal => Setting::Known(of_resource(template, only)),
            _ => Setting::Unknown(format!("{}, which is no function of this template", express(&name))),
        }
    })
}

fn functions(template: &Template) -> Vec<String> {
    let is_function = |kind: &str| ["AWS::Lambda::Function", "AWS::Serverless::Function"].contains(&kind);
    template.resources().filter(|(_, kind, _)| is_function(kind)).map(|(id, ..)| id.to_owned()).collect()
}

/// Returns the logical ID of the function that an expression names: by logical ID, by way of an alias or a version, or by
/// its name.
fn id(template: &Template, name: &Value, hops: usize) -> Option<String> {
    let spelled = spell(name)?;
    let functions = functions(template);
    for token in tokens(&spelled).filter(|token| !token.starts_with("AWS::")) {
        if let Some(id) = id_of(template, token) {
            if functions.contains(&id) {
                return Some(id);
            }
            let (kind, properties) = template.resource(&id)?;
            if hops > 0 && ["AWS::Lambda::Alias", "AWS::Lambda::Version"].contains(&kind) {
                let properties = template.evaluate(properties)?;
                return self::id(template, &properties["FunctionName"], hops - 1);
            }
        } else if let Some(id) = functions.iter().find(|id| is_generated(template, id, token)) {
            return Some(id.clone());
        }
    }
    // arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME:QUALIFIER, ACCOUNT:function:NAME or NAME:QUALIFIER; the colons of
    // pseudo parameters are in the way.
    let plain = spelled.replace("AWS::", "");
    let (_, name) = plain.split_once(":function:").unwrap_or(("", &plain));
    let name = name.split(':').next().unwrap_or(name);
    functions.into_iter().find(|id| {
        let properties = template.resource(id).and_then(|(_, properties)| template.evaluate(properties));
        let own = properties.and_then(|properties| spell(&properties["FunctionName"]));
        own.is_some_and(|own| own.replace("AWS::", "") == name)
    })
}

/// Returns whether a token is an alias or a version that SAM generates for a function.
fn is_generated(template: &Template, function: &str, token: &str) -> bool {
    let Some(rest) = token.strip_prefix(function) else { return false };
    let alias = properties(template, function, "AutoPublishAlias");
    alias.and_then(|alias| spell(&alias)).is_some_and(|alias| {
        rest.strip_prefix("Alias").is_some_and(|name| name == alias) || rest.starts_with("Version")
    })
}

/// Returns a property of a function; in a SAM template, those of all functions are defaults.
fn properties(template: &Template, id: &str, name: &str) -> Option<Value> {
    let (kind, properties) = template.resource(id)?;
    let own = template.evaluate(properties).unwrap_or_default();
    let of_all = template.globals("Function").filter(|_| kind == "AWS::Serverless::Function");
    own.get(name).cloned().or_else(|| template.evaluate(of_all?)?.get(name).cloned())
}

pub(super) fn of_resource(template: &Template, id: &str) -> Function {
    let (kind, properties) = template.resource(id).unwrap_or(("", &Value::Null));
    let own = template.evaluate(properties).unwrap_or_default();
    let of_all = template.globals("Function").filter(|_| kind == "AWS::Serverless::Function");
    let of_all = of_all.and_then(|globals| template.evaluate(globals)).unwrap_or_default();
    let or_global = |name: &str| match number(&own, name) {
        Setting::Absent => number(&of_all, name),
        found => found,
    };
    let is_managed =
        ["CapacityProviderConfig"].iter().any(|name| own.get(name).or(of_all.get(name)).is_some());
    Function {
        id: id.to_owned(),
        variables: variables(&[&of_all, &own]),
        timeout_s: or_global("Timeout"),
        memory_mb: or_global("MemorySize"),
        is_on_managed_instances: Setting::Known(is_managed),
    }
}

/// Returns the variables, later ones first in rank.
fn variables(sources: &[&Value]) -> Setting<BTreeMap<String, Setting<String>>> {
    let mut all = BTreeMap::new();
    for properties in sources {
        let variables = raw(properties, "Environment").and_then(|environment| raw(&environment, "Variables"));
        match variables {
            Setting::Absent => {}
            Setting::Unknown(expression) => return Setting::Unknown(expression),
            Setting::Known(Value::Object(variables)) => {
                for (name, value) in variables {
                    if name.starts_with("Fn::") {
                        return Setting::Unknown(express(&value));
                    }
                    let setting = match &value {
                        Value::String(text) if text.contains("{{resolve:") => Setting::Unknown(text.clone()),
                        value => {
                            scalar(value).map_or_else(|| Setting::Unknown(express(value)), Setting::Known)
                        }
                    };
                    all.insert(name, setting);
                }
            }
            Setting::Known(other) => return Setting::Unknown(express(&other)),
        }
    }
    Setting::Known(all)
}
