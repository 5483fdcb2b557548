use serde_json::{Map, Value, json};

use super::Template;

/// Longest text that CloudFormation accepts as a parameter's value. A longer one is not substituted, so that a template
/// that repeats it cannot take all memory.
const MAX_SUBSTITUTED_BYTES: usize = 4096;

impl Template {
    /// Returns a value with parameters, conditions and maps put in. An expression that only CloudFormation can evaluate
    /// stays in place. `None` stands for a value that is absent, such as `AWS::NoValue`.
    pub(in super::super) fn evaluate(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Object(members) => match function(members) {
                Some((function, argument)) => self.call(function, argument, value),
                None => {
                    let members = members.iter();
                    let evaluated =
                        members.filter_map(|(name, member)| Some((name.clone(), self.evaluate(member)?)));
                    Some(Value::Object(evaluated.collect()))
                }
            },
            Value::Array(items) => {
                Some(Value::Array(items.iter().filter_map(|item| self.evaluate(item)).collect()))
            }
            Value::Null => None,
            other => Some(other.clone()),
        }
    }

    fn call(&self, function: &str, argument: &Value, whole: &Value) -> Option<Value> {
        let evaluated = match (function, argument) {
            ("Ref", Value::String(name)) if name == "AWS::NoValue" => return None,
            ("Ref", Value::String(name)) => self.parameters.value(name),
            ("Fn::If", Value::Array(parts)) if parts.len() == 3 => {
                match parts[0].as_str().and_then(|condition| self.condition(condition)) {
                    Some(true) => return self.evaluate(&parts[1]),
                    Some(false) => return self.evaluate(&parts[2]),
                    // Whatever the condition, if both are the same.
                    None => match (self.evaluate(&parts[1]), self.evaluate(&parts[2])) {
                        (one, other) if one == other => return one,
                        _ => None,
                    },
                }
            }
            ("Fn::Sub", Value::String(text)) => self.substitute(text, &Map::new()),
            ("Fn::Sub", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(text), Value::Object(variables)] => self.substitute(text, variables),
                _ => None,
            },
            ("Fn::Join", Value::Array(parts)) => self.join(parts),
            ("Fn::Select", Value::Array(parts)) => self.select(parts),
            ("Fn::Split", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(delimiter), text] if !delimiter.is_empty() => match self.evaluate(text) {
                    Some(Value::String(text)) => {
                        Some(text.split(delimiter.as_str()).map(Value::from).collect())
                    }
                    _ => None,
                },
                _ => None,
            },
            ("Fn::GetAtt", Value::String(text)) => {
                text.split_once('.').map(|(id, attribute)| json!({ "Fn::GetAtt": [id, attribute] }))
            }
            ("Fn::FindInMap", Value::Array(keys)) if keys.len() >= 3 => self.find_in_map(keys),
            _ => None,
        };
        Some(evaluated.unwrap_or_else(|| whole.clone()))
    }

    /// Replaces `${Name}` by the value of a variable or of a parameter.
    fn substitute(&self, text: &str, variables: &Map<String, Value>) -> Option<Value> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, (name, after))) =
            rest.split_once("${").and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            result.push_str(before);
            rest = after;
            let value = match variables.get(name) {
                Some(value) => self.evaluate(value),
                None => self.parameters.value(name),
            };
            match value.as_ref().and_then(spell).filter(|value| value.len() <= MAX_SUBSTITUTED_BYTES) {
                Some(value) => result.push_str(&value),
                // The text would no longer tell the variable from a parameter or a resource.
                None if variables.contains_key(name) => return None,
                None => result.push_str(&format!("${{{name}}}")),
            }
        }
        result.push_str(rest);
        Some(of_spelling(result))
    }

    fn join(&self, parts: &[Value]) -> Option<Value> {
        let [Value::String(delimiter), list] = parts else { return None };
        let Some(Value::Array(items)) = self.evaluate(list) else { return None };
        let items: Vec<String> = items.iter().map(spell).collect::<Option<_>>()?;
        Some(of_spelling(items.join(delimiter)))
    }

    fn select(&self, parts: &[Value]) -> Option<Value> {
        let [index, list] = parts else { return None };
        let index: usize = scalar(&self.evaluate(index)?)?.parse().ok()?;
        let Some(Value::Array(items)) = self.evaluate(list) else { return None };
        items.get(index).cloned()
    }

    fn find_in_map(&self, keys: &[Value]) -> Option<Value> {
        let mut keys_of_map = keys[..3].iter().map(|key| self.evaluate(key).as_ref().and_then(scalar));
        let (map, first, second) = (keys_of_map.next()??, keys_of_map.next()??, keys_of_map.next()??);
        let found = self.document["Mappings"].get(&map).and_then(|map| map.get(&first)?.get(&second));
        match found {
            Some(Value::String(text)) if text.len() > MAX_SUBSTITUTED_BYTES => None,
            // The values of a map are text, or lists of text.
            Some(Value::Object(_)) => None,
            Some(Value::Array(items)) if items.len() > MAX_SUBSTITUTED_BYTES => None,
            Some(found) => Some(found.clone()),
            None => self.evaluate(keys.get(3)?.get("DefaultValue")?),
        }
    }

    /// Returns whether the body of a condition holds, `None` if it depends on an unknown value.
    pub(super) fn holds(&self, condition: &Value) -> Option<bool> {
        let (function, argument) = function(condition.as_object()?)?;
        match (function, argument) {
            ("Condition", Value::String(name)) => self.condition(name),
            ("Fn::Equals", Value::Array(sides)) if sides.len() == 2 => {
                let (left, right) = (self.evaluate(&sides[0])?, self.evaluate(&sides[1])?);
                match (scalar(&left), scalar(&right)) {
                    (Some(left), Some(right)) => Some(left == right),
                    // Equal expressions have equal values; different ones may.
                    _ => (spell(&left)? == spell(&right)?).then_some(true),
                }
            }
            ("Fn::Not", Value::Array(parts)) => self.holds(parts.first()?).map(|holds| !holds),
            // One side that is known decides, whatever the others are.
            ("Fn::And", Value::Array(parts)) => self.all(parts, true),
            ("Fn::Or", Value::Array(parts)) => self.all(parts, false),
            _ => None,
        }
    }

    /// Returns `usual` if all parts hold this value, its opposite if any part does, or else `None`.
    fn all(&self, parts: &[Value], usual: bool) -> Option<bool> {
        let holds: Vec<Option<bool>> = parts.iter().map(|part| self.holds(part)).collect();
        if holds.contains(&Some(!usual)) {
            return Some(!usual);
        }
        (!holds.contains(&None)).then_some(usual)
    }
}

/// Returns name and argument of an intrinsic function.
pub(in super::super) fn function(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = members.iter().next().filter(|_| members.len() == 1)?;
    (name == "Ref" || name == "Condition" || name.starts_with("Fn::")).then_some((name.as_str(), argument))
}

/// Returns the text of a scalar: parameters are text, whatever their type.
pub(in super::super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Returns an evaluated value as a text in which `${Name}` and `${Name.Attribute}` stand for what is unknown. Equal texts
/// stand for equal values.
pub(in super::super) fn spell(value: &Value) -> Option<String> {
    let Value::Object(members) = value else { return scalar(value) };
    match function(members)? {
        ("Ref", Value::String(name)) => Some(format!("${{{name}}}")),
        ("Fn::GetAtt", Value::Array(parts)) => {
            let parts: Vec<&str> = parts.iter().map(Value::as_str).collect::<Option<_>>()?;
            Some(format!("${{{}}}", parts.join(".")))
        }
        ("Fn::Sub", Value::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// Returns the value that a text of [`spell`] stands for, in the shortest form.
fn of_spelling(text: String) -> Value {
    let token = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match token.filter(|name| !name.contains(['{', '!'])) {
        Some(name) => match name.split_once('.') {
            Some((id, attribute)) => json!({ "Fn::GetAtt": [id, attribute] }),
            None => json!({ "Ref": name }),
        },
        None if text.replace("${!", "").contains("${") => json!({ "Fn::Sub": text }),
        None if text.contains("${!") => Value::String(text.replace("${!", "${")),
        None => Value::String(text),
    }
}
