//! A CloudFormation template, evaluated as far as parameters and conditions go.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use serde_yaml_ng::{Value as Yaml, value::TaggedValue};

/// A template as JSON, its short forms (`!Ref`) written out.
#[derive(Debug)]
pub(super) struct Template {
    document: Value,
    parameters: BTreeMap<String, String>,
}

impl Template {
    /// Reads YAML, of which JSON is a part.
    pub(super) fn parse(text: &str, overrides: &[(String, String)]) -> Result<Self, String> {
        // JSON first: not all of its escapes are YAML.
        let document = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(_) => {
                let mut yaml: Yaml = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
                yaml.apply_merge().map_err(|error| error.to_string())?;
                to_json(yaml)?
            }
        };
        let declared = document.get("Parameters").and_then(Value::as_object);
        let mut parameters: BTreeMap<String, String> = declared
            .into_iter()
            .flatten()
            // Of others, the default is only the name of the value.
            .filter(|(_, parameter)| {
                !parameter["Type"].as_str().is_some_and(|kind| kind.starts_with("AWS::SSM::"))
            })
            .filter_map(|(name, parameter)| Some((name.clone(), scalar(parameter.get("Default")?)?)))
            .collect();
        let unknown: Vec<&str> = overrides
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| declared.is_none_or(|declared| !declared.contains_key(*name)))
            .collect();
        if !unknown.is_empty() {
            return Err(format!("it has no parameter {}", unknown.join(", ")));
        }
        parameters.extend(overrides.iter().cloned());
        Ok(Template { document, parameters })
    }

    /// Whether it has a parameter of this name.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.document["Parameters"].get(name).is_some()
    }

    /// Resources that exist with these parameters: logical ID, type, and properties.
    pub(super) fn resources(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        let resources = self.document.get("Resources").and_then(Value::as_object);
        resources.into_iter().flatten().filter_map(|(id, resource)| {
            let exists = match resource.get("Condition").and_then(Value::as_str) {
                Some(condition) => self.condition(condition) != Some(false),
                None => true,
            };
            let kind = resource.get("Type")?.as_str()?;
            exists.then(|| (id.as_str(), kind, resource.get("Properties").unwrap_or(&Value::Null)))
        })
    }

    /// What all resources of a kind have in common, in a SAM template.
    pub(super) fn globals(&self, kind: &str) -> Option<&Value> {
        self.document.get("Globals")?.get(kind)
    }

    /// The resource with this logical ID.
    pub(super) fn resource(&self, id: &str) -> Option<(&str, &Value)> {
        self.resources().find(|(of, ..)| *of == id).map(|(_, kind, properties)| (kind, properties))
    }

    /// A value with parameters and conditions put in. What only CloudFormation knows stays as it is. `None` for what is
    /// not there: no such member, or `AWS::NoValue`.
    pub(super) fn evaluate(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Object(members) => {
                if let Some((function, argument)) = function(members) {
                    return self.call(function, argument, value);
                }
                let evaluated =
                    members.iter().filter_map(|(name, member)| Some((name.clone(), self.evaluate(member)?)));
                Some(Value::Object(evaluated.collect()))
            }
            Value::Array(items) => {
                Some(Value::Array(items.iter().filter_map(|item| self.evaluate(item)).collect()))
            }
            Value::Null => None,
            other => Some(other.clone()),
        }
    }

    fn call(&self, function: &str, argument: &Value, whole: &Value) -> Option<Value> {
        match (function, argument) {
            ("Ref", Value::String(name)) if name == "AWS::NoValue" => None,
            ("Ref", Value::String(name)) => match self.parameters.get(name) {
                Some(value) => Some(Value::String(value.clone())),
                None => Some(whole.clone()),
            },
            ("Fn::If", Value::Array(parts)) if parts.len() == 3 => {
                match parts[0].as_str().and_then(|condition| self.condition(condition)) {
                    Some(true) => self.evaluate(&parts[1]),
                    Some(false) => self.evaluate(&parts[2]),
                    // Whatever the condition, if both are the same.
                    None => {
                        let (one, other) = (self.evaluate(&parts[1]), self.evaluate(&parts[2]));
                        if one == other { one } else { Some(whole.clone()) }
                    }
                }
            }
            ("Fn::Sub", Value::String(text)) => {
                let mut text = text.clone();
                for (name, value) in &self.parameters {
                    text = text.replace(&format!("${{{name}}}"), value);
                }
                match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
                    // The short form of another function.
                    Some(name) if !name.contains("${") && !name.starts_with("AWS::") => {
                        Some(match name.split_once('.') {
                            Some((id, attribute)) => json!({ "Fn::GetAtt": [id, attribute] }),
                            None => json!({ "Ref": name }),
                        })
                    }
                    _ if text.contains("${") => Some(whole.clone()),
                    _ => Some(Value::String(text)),
                }
            }
            ("Fn::GetAtt", Value::String(text)) => {
                let parts: Vec<&str> = text.splitn(2, '.').collect();
                Some(json!({ "Fn::GetAtt": parts }))
            }
            ("Fn::FindInMap", Value::Array(keys)) if keys.len() >= 3 => {
                let mut found = self.document.get("Mappings");
                for key in &keys[..3] {
                    let key = self.evaluate(key).as_ref().and_then(scalar);
                    found = key.and_then(|key| found?.get(&key));
                }
                Some(found.unwrap_or(whole).clone())
            }
            _ => Some(whole.clone()),
        }
    }

    /// `None` if it depends on what only CloudFormation knows.
    fn condition(&self, name: &str) -> Option<bool> {
        self.holds(self.document.get("Conditions")?.get(name)?)
    }

    fn holds(&self, condition: &Value) -> Option<bool> {
        let (function, argument) = function(condition.as_object()?)?;
        match (function, argument) {
            ("Condition", Value::String(name)) => self.condition(name),
            ("Fn::Equals", Value::Array(sides)) if sides.len() == 2 => {
                let side = |value| scalar(&self.evaluate(value)?);
                Some(side(&sides[0])? == side(&sides[1])?)
            }
            ("Fn::Not", Value::Array(parts)) => self.holds(parts.first()?).map(|holds| !holds),
            ("Fn::And", Value::Array(parts)) => {
                parts.iter().map(|part| self.holds(part)).try_fold(true, |all, holds| Some(all && holds?))
            }
            ("Fn::Or", Value::Array(parts)) => {
                parts.iter().map(|part| self.holds(part)).try_fold(false, |any, holds| Some(any || holds?))
            }
            _ => None,
        }
    }
}

/// The name and the argument of an intrinsic function.
pub(super) fn function(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = members.iter().next().filter(|_| members.len() == 1)?;
    (name == "Ref" || name == "Condition" || name.starts_with("Fn::")).then_some((name.as_str(), argument))
}

/// Text of a scalar: parameters are text, whatever their type.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

fn to_json(yaml: Yaml) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::Number(number) => serde_json::to_value(number).map_err(|error| error.to_string())?,
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(to_json).collect::<Result<_, _>>()?),
        Yaml::Mapping(members) => {
            let member = |(name, value)| {
                let name = scalar(&to_json(name)?).ok_or("a key is no scalar")?;
                Ok::<_, String>((name, to_json(value)?))
            };
            Value::Object(members.into_iter().map(member).collect::<Result<_, _>>()?)
        }
        Yaml::Tagged(tagged) => {
            let TaggedValue { tag, value } = *tagged;
            let tag = tag.to_string();
            let name = tag.trim_start_matches('!');
            let argument = to_json(value)?;
            let (name, argument) = match (name, argument) {
                ("Ref" | "Condition", argument) => (name.to_owned(), argument),
                ("GetAtt", Value::String(text)) => {
                    let parts = text.splitn(2, '.').map(|part| Value::String(part.to_owned())).collect();
                    ("Fn::GetAtt".to_owned(), Value::Array(parts))
                }
                (name, argument) => (format!("Fn::{name}"), argument),
            };
            Value::Object(Map::from_iter([(name, argument)]))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
Parameters:
  Factor: { Type: Number, Default: 4 }
  Mirror: { Type: String, Default: "off" }
  NoDefault: { Type: String }
Conditions:
  HasMirror: !Not [!Equals [!Ref Mirror, "off"]]
  Both: !And [!Condition HasMirror, !Equals [a, a]]
  Unknown: !Equals [!Ref NoDefault, x]
Mappings:
  Env: { prod: { Retries: -1 } }
Resources:
  Always:
    Type: A
    Properties:
      Factor: !If [HasMirror, 1, !Ref Factor]
      Gone: !If [HasMirror, 1, !Ref AWS::NoValue]
      Text: !Sub "${Factor} lanes"
      Other: !GetAtt Stream.Arn
      Maybe: !If [Unknown, 1, 2]
      Same: !If [Unknown, 3, 3]
      Found: !FindInMap [Env, prod, Retries]
      Short: !Sub "${Stream.Arn}"
  Sometimes: { Type: B, Condition: Both }
"#;

    fn always(overrides: &[(&str, &str)]) -> (Value, usize) {
        let overrides: Vec<_> =
            overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let template = Template::parse(TEXT, &overrides).expect("a template");
        let (_, properties) = template.resource("Always").expect("it is there");
        (template.evaluate(properties).expect("properties"), template.resources().count())
    }

    #[test]
    fn parameters_and_conditions_are_put_in() {
        let get_att = json!({ "Fn::GetAtt": ["Stream", "Arn"] });
        let maybe = json!({ "Fn::If": ["Unknown", 1, 2] });
        assert_eq!(
            always(&[]),
            (
                json!({ "Factor": "4", "Text": "4 lanes", "Other": get_att, "Maybe": maybe, "Same": 3, "Found": -1,
                    "Short": get_att }),
                1
            )
        );
        assert_eq!(
            always(&[("Mirror", "on"), ("Factor", "2"), ("NoDefault", "x")]),
            (
                json!({ "Factor": 1, "Gone": 1, "Text": "2 lanes", "Other": get_att, "Maybe": 1, "Same": 3,
                    "Found": -1, "Short": get_att }),
                2
            )
        );
    }

    #[test]
    fn wrong_templates_are_named() {
        let overrides = [("Nothing".to_owned(), "1".to_owned())];
        assert_eq!(Template::parse(TEXT, &overrides).expect_err("refused"), "it has no parameter Nothing");
        assert!(Template::parse("a: [", &[]).is_err());
        // JSON as programs write it, and YAML that merges.
        assert!(Template::parse(r#"{"Description":"\ud83d\ude00"}"#, &[]).is_ok());
        let merged =
            Template::parse("a: &a { b: 1 }\nResources: { R: { Type: T, Properties: { <<: *a } } }", &[]);
        assert_eq!(merged.expect("a template").resource("R").map(|(_, of)| of["b"].clone()), Some(json!(1)));
    }
}
