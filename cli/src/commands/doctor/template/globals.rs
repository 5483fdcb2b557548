use serde_json::{Map, Value};

use super::function;

/// Adds the properties that all functions of a SAM template have in common to each of them, as SAM does: members of objects
/// are added, lists are joined, and the function's own value comes before any other.
pub(super) fn apply(document: &mut Value) {
    let Some(Value::Object(globals)) = document["Globals"].get("Function").cloned() else { return };
    let resources = document.get_mut("Resources").and_then(Value::as_object_mut);
    for function in resources.into_iter().flatten().map(|(_, resource)| resource) {
        if function["Type"] != "AWS::Serverless::Function" {
            continue;
        }
        let ignored = function["IgnoreGlobals"].clone();
        let is_ignored = |name: &str| {
            ignored == "*"
                || ignored.as_array().is_some_and(|names| names.iter().any(|ignored| ignored == name))
        };
        let globals: Map<String, Value> = globals
            .iter()
            .filter(|(name, _)| !is_ignored(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let own = function["Properties"].take();
        function["Properties"] = merge(Value::Object(globals), own);
    }
}

fn merge(global: Value, own: Value) -> Value {
    match (global, own) {
        (global, Value::Null) => global,
        (Value::Object(mut global), Value::Object(own))
            if function(&global).is_none() && function(&own).is_none() =>
        {
            for (name, value) in own {
                let of_all = global.remove(&name).unwrap_or_default();
                global.insert(name, merge(of_all, value));
            }
            Value::Object(global)
        }
        (Value::Array(mut global), Value::Array(own)) => {
            global.extend(own);
            Value::Array(global)
        }
        (_, own) => own,
    }
}
