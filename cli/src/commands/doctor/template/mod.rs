//! A CloudFormation template, evaluated as far as its parameters and conditions go.

mod document;
mod evaluate;
mod for_each;
mod globals;
mod parameters;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use serde_json::Value;

pub(super) use document::parse;
pub(super) use evaluate::{function, scalar, spell};
pub(super) use parameters::ParameterFault;
use parameters::Parameters;

/// A template as JSON, its short forms (`!Ref`) written out, its loops (`Fn::ForEach`) unrolled, and SAM's globals added to
/// the functions.
#[derive(Debug)]
pub(super) struct Template {
    document: Value,
    parameters: Parameters,
    /// Conditions that were evaluated, `None` for those that depend on an unknown value.
    conditions: RefCell<HashMap<String, Option<bool>>>,
}

impl Template {
    /// Reads a template in YAML or JSON, with values that replace the defaults of its parameters.
    #[cfg(test)]
    pub(super) fn parse(text: &str, values: &[(String, String)]) -> Result<Self, String> {
        Self::new(document::parse(text)?, values)
    }

    /// Takes a template as JSON, with values that replace the defaults of its parameters.
    pub(super) fn new(document: Value, values: &[(String, String)]) -> Result<Self, String> {
        let parameters = Parameters::new(&document["Parameters"], values)?;
        let mut template = Template { document, parameters, conditions: RefCell::default() };
        template.document = for_each::unroll(&template)?;
        globals::apply(&mut template.document);
        Ok(template)
    }

    /// Whether the template declares parameters.
    pub(super) fn has_parameters(&self) -> bool {
        self.parameters.are_declared()
    }

    /// Returns the given values, as `NAME=VALUE`, that nothing was evaluated with so far.
    pub(super) fn unused_values(&self) -> Vec<String> {
        self.parameters.unused()
    }

    /// Returns the values that the template's own limits forbid.
    pub(super) fn parameter_faults(&self) -> Vec<ParameterFault> {
        self.parameters.faults()
    }

    /// Returns the resources that exist with these parameters: logical ID, type and properties.
    pub(super) fn resources(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        self.all_resources().filter(|(.., exists)| *exists != Some(false)).filter_map(|(id, resource, _)| {
            let kind = resource.get("Type")?.as_str()?;
            Some((id, kind, resource.get("Properties").unwrap_or(&Value::Null)))
        })
    }

    /// Returns all resources: logical ID, the resource, and whether it exists, `None` if that is unknown.
    pub(super) fn all_resources(&self) -> impl Iterator<Item = (&str, &Value, Option<bool>)> {
        let resources = self.document.get("Resources").and_then(Value::as_object);
        resources.into_iter().flatten().map(|(id, resource)| {
            let condition = resource.get("Condition").and_then(Value::as_str);
            (id.as_str(), resource, condition.map_or(Some(true), |condition| self.condition(condition)))
        })
    }

    /// Returns type and properties of the resource with this logical ID.
    pub(super) fn resource(&self, id: &str) -> Option<(&str, &Value)> {
        let resource = self.document.get("Resources")?.get(id)?;
        let condition = resource.get("Condition").and_then(Value::as_str);
        if condition.is_some_and(|condition| self.condition(condition) == Some(false)) {
            return None;
        }
        Some((resource.get("Type")?.as_str()?, resource.get("Properties").unwrap_or(&Value::Null)))
    }

    /// Returns the path that the AWS CDK gives a resource.
    pub(super) fn path(&self, id: &str) -> Option<&str> {
        self.document["Resources"][id]["Metadata"]["aws:cdk:path"].as_str()
    }

    /// Returns the names of the template's macros: those of `Transform`, and one at the top level (`Fn::Transform`).
    pub(super) fn transforms(&self) -> Vec<String> {
        let transforms = match self.document.get("Transform") {
            Some(Value::Array(transforms)) => transforms.as_slice(),
            Some(transform) => std::slice::from_ref(transform),
            None => &[],
        };
        let name = |transform: &Value| scalar(transform).or_else(|| scalar(&transform["Name"]));
        let transforms = transforms.iter().chain(self.document.get("Fn::Transform"));
        transforms.map(|transform| name(transform).unwrap_or_else(|| transform.to_string())).collect()
    }

    /// Returns whether a condition holds, `None` if it depends on an unknown value.
    fn condition(&self, name: &str) -> Option<bool> {
        if let Some(known) = self.conditions.borrow().get(name) {
            return *known;
        }
        // A condition that refers to itself meets this entry.
        self.conditions.borrow_mut().insert(name.to_owned(), None);
        let holds = self.holds(self.document.get("Conditions")?.get(name)?);
        self.conditions.borrow_mut().insert(name.to_owned(), holds);
        holds
    }
}

/// Values that are bound while a loop is unrolled.
type Bindings = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = r#"
Parameters:
  Factor: { Type: Number, Default: 4 }
  Mirror: { Type: String, Default: "off" }
  Names: { Type: CommaDelimitedList, Default: "a, b" }
  NoDefault: { Type: String }
Conditions:
  HasMirror: !Not [!Equals [!Ref Mirror, "off"]]
  Both: !And [!Condition HasMirror, !Equals [a, a]]
  Unknown: !Equals [!Ref NoDefault, x]
  Never: !And [!Condition Unknown, !Equals [a, b]]
  Always: !Or [!Condition Unknown, !Equals [!Ref NoDefault, !Sub "${NoDefault}"]]
  Circle: !Not [!Condition Circle]
Mappings:
  Env: { prod: { Retries: -1 } }
Resources:
  Always:
    Type: A
    Properties:
      Factor: !If [HasMirror, 1, !Ref Factor]
      Gone: !If [HasMirror, 1, !Ref AWS::NoValue]
      Text: !Sub "${Factor} batches"
      Other: !GetAtt Stream.Arn
      Maybe: !If [Unknown, 1, 2]
      Same: !If [Unknown, 3, 3]
      Never: !If [Never, 1, 2]
      Surely: !If [Always, 1, 2]
      Circle: !If [Circle, 1, 2]
      Found: !FindInMap [Env, prod, Retries]
      Default: !FindInMap [Env, dev, Retries, { DefaultValue: 5 }]
      Short: !Sub "${Stream.Arn}"
      Mapped: !Sub ["${A}-${B}-${!C}", { A: !Ref Factor, B: !Ref Stream }]
      Joined: !Join [":", [!GetAtt Stream.Arn, !Ref Mirror]]
      Selected: !Select [1, !Split ["/", "a/b"]]
      List: !Ref Names
  Sometimes: { Type: B, Condition: Both }
"#;

    fn always(values: &[(&str, &str)]) -> (Value, usize) {
        let values: Vec<_> =
            values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let template = Template::parse(TEXT, &values).expect("a template");
        let (_, properties) = template.resource("Always").expect("it exists");
        (template.evaluate(properties).expect("properties"), template.resources().count())
    }

    #[test]
    fn parameters_and_conditions_are_evaluated() {
        let mut expected = json!({
            "Factor": "4", "Text": "4 batches", "Other": { "Fn::GetAtt": ["Stream", "Arn"] },
            "Maybe": { "Fn::If": ["Unknown", 1, 2] }, "Same": 3, "Never": 2, "Surely": 1,
            "Circle": { "Fn::If": ["Circle", 1, 2] }, "Found": -1, "Default": 5,
            "Short": { "Fn::GetAtt": ["Stream", "Arn"] }, "Mapped": { "Fn::Sub": "4-${Stream}-${!C}" },
            "Joined": { "Fn::Sub": "${Stream.Arn}:off" }, "Selected": "b", "List": ["a", "b"],
        });
        assert_eq!(always(&[]), (expected.clone(), 1));
        for (name, value) in [
            ("Factor", json!(1)),
            ("Gone", json!(1)),
            ("Text", json!("2 batches")),
            ("Maybe", json!(1)),
            ("Mapped", json!({ "Fn::Sub": "2-${Stream}-${!C}" })),
            ("Joined", json!({ "Fn::Sub": "${Stream.Arn}:on" })),
        ] {
            expected[name] = value;
        }
        assert_eq!(always(&[("Mirror", "on"), ("Factor", "2"), ("NoDefault", "x")]), (expected, 2));
    }

    #[test]
    fn wrong_templates_are_named() {
        let values = [("Nothing".to_owned(), "1".to_owned())];
        assert_eq!(Template::parse(TEXT, &values).expect_err("refused"), "it has no parameter Nothing");
        assert!(Template::parse("a: [", &[]).is_err());
    }

    #[test]
    fn loops_are_unrolled() {
        let text = r#"
Parameters: { Names: { Type: CommaDelimitedList, Default: "Orders,Cli-cks" } }
Resources:
  Fn::ForEach::Each:
    - Name
    - !Ref Names
    - "&{Name}Function":
        Type: T
        Properties: { Text: !Sub "${Name}-${AWS::Region}", Plain: !Ref Name, Joined: "a-${Name}" }
  Fn::ForEach::Unknown: [Name, !Ref Missing, { "${Name}": { Type: T } }]
"#;
        let template = Template::parse(text, &[]).expect("a template");
        let (_, properties) = template.resource("ClicksFunction").expect("an iteration");
        let expected = json!({ "Text": { "Fn::Sub": "Cli-cks-${AWS::Region}" }, "Plain": "Cli-cks", "Joined": "a-Cli-cks" });
        assert_eq!(template.evaluate(properties), Some(expected));
        let ids: Vec<_> = template.all_resources().map(|(id, ..)| id).collect();
        assert_eq!(ids, ["ClicksFunction", "Fn::ForEach::Unknown", "OrdersFunction"]);
    }
}
