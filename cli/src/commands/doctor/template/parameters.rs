use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

use super::scalar;

/// The parameters of a template and their values.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    declared: BTreeMap<String, Value>,
    values: BTreeMap<String, String>,
    /// Names of parameters that were given a value.
    given: Vec<String>,
    /// Names of parameters whose value was asked for.
    used: RefCell<BTreeSet<String>>,
}

/// A parameter's value that a limit of its declaration forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct ParameterFault {
    pub(in super::super) parameter: String,
    pub(in super::super) value: String,
    /// Name of the limit, such as `MaxValue`.
    pub(in super::super) limit: &'static str,
    pub(in super::super) allowed: String,
}

impl Parameters {
    /// Takes the declarations of a template, with values that replace the defaults.
    pub(super) fn new(declarations: &Value, values: &[(String, String)]) -> Result<Self, String> {
        let declared: BTreeMap<String, Value> = declarations
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, declaration)| (name.clone(), declaration.clone()))
            .collect();
        let unknown: Vec<&str> = values
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !declared.contains_key(*name))
            .collect();
        if !unknown.is_empty() {
            return Err(format!("it has no parameter {}", unknown.join(", ")));
        }
        let mut all: BTreeMap<String, String> = declared
            .iter()
            // The default of a parameter from the Parameter Store is the name of the value, not the value.
            .filter(|(_, declaration)| !kind(declaration).starts_with("AWS::SSM::"))
            .filter_map(|(name, declaration)| Some((name.clone(), scalar(declaration.get("Default")?)?)))
            .collect();
        all.extend(values.iter().cloned());
        let given = values.iter().map(|(name, _)| name.clone()).collect();
        Ok(Parameters { declared, values: all, given, used: RefCell::default() })
    }

    pub(super) fn are_declared(&self) -> bool {
        !self.declared.is_empty()
    }

    /// Returns the given values that nobody has asked for, as `NAME=VALUE`.
    pub(super) fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        let unused = self.given.iter().filter(|name| !used.contains(*name));
        unused.filter_map(|name| Some(format!("{name}={}", self.values.get(name)?))).collect()
    }

    /// Returns the value of a parameter, a list as an array.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        let value = self.values.get(name)?;
        self.used.borrow_mut().insert(name.to_owned());
        let kind = kind(self.declared.get(name)?);
        if kind == "CommaDelimitedList" || kind.starts_with("List<") {
            return Some(value.split(',').map(|item| Value::from(item.trim())).collect());
        }
        Some(Value::String(value.clone()))
    }

    /// Returns the values that the declarations forbid.
    pub(super) fn faults(&self) -> Vec<ParameterFault> {
        let faults = self.values.iter().filter_map(|(name, value)| {
            let declaration = self.declared.get(name)?;
            let (limit, allowed) = forbidden_by(declaration, value)?;
            Some(ParameterFault { parameter: name.clone(), value: value.clone(), limit, allowed })
        });
        faults.collect()
    }
}

fn kind(declaration: &Value) -> &str {
    declaration["Type"].as_str().unwrap_or_default()
}

/// Returns the limit that forbids this value, and the values that it allows.
fn forbidden_by(declaration: &Value, value: &str) -> Option<(&'static str, String)> {
    let number = |text: &str| text.parse::<f64>().ok();
    let limit = |name: &str| declaration.get(name).and_then(scalar);
    // A limit of a list is one of each item.
    let is_list = kind(declaration) == "CommaDelimitedList" || kind(declaration).starts_with("List<");
    let items: Vec<&str> = if is_list { value.split(',').map(str::trim).collect() } else { vec![value] };
    if let Some(allowed) = declaration.get("AllowedValues").and_then(Value::as_array) {
        let allowed: Vec<String> = allowed.iter().filter_map(scalar).collect();
        let is_allowed = |item: &&str| allowed.iter().any(|allowed| same(allowed, item));
        if !items.iter().all(is_allowed) {
            return Some(("AllowedValues", allowed.join(", ")));
        }
    }
    if kind(declaration).ends_with("Number") || kind(declaration) == "List<Number>" {
        for item in &items {
            let Some(found) = number(item) else { return Some(("Type", "a number".to_owned())) };
            if let Some(least) =
                limit("MinValue").filter(|least| number(least).is_some_and(|least| found < least))
            {
                return Some(("MinValue", format!("at least {least}")));
            }
            if let Some(most) = limit("MaxValue").filter(|most| number(most).is_some_and(|most| found > most))
            {
                return Some(("MaxValue", format!("at most {most}")));
            }
        }
    }
    let length = value.chars().count();
    let length_limit = |name| limit(name).and_then(|limit| limit.parse::<usize>().ok());
    if let Some(least) = length_limit("MinLength").filter(|least| length < *least) {
        return Some(("MinLength", format!("at least {least} characters")));
    }
    if let Some(most) = length_limit("MaxLength").filter(|most| length > *most) {
        return Some(("MaxLength", format!("at most {most} characters")));
    }
    None
}

/// Compares as CloudFormation does: numbers by value.
fn same(one: &str, other: &str) -> bool {
    one == other || matches!((one.parse::<f64>(), other.parse::<f64>()), (Ok(one), Ok(other)) if one == other)
}
