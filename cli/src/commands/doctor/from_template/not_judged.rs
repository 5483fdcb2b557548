//! Parts of a template that the doctor cannot judge, and values that the template does not allow.

use serde_json::Value;

use super::{
    super::{
        finding::{Finding, Severity},
        rules::not_judged,
        template::Template,
    },
    properties::express,
    source::is_kinesis,
};

/// Transforms that add no mappings, or whose effect the doctor knows.
const KNOWN_TRANSFORMS: [&str; 5] = [
    "AWS::Serverless-2016-10-31",
    "AWS::LanguageExtensions",
    "AWS::CodeDeployBlueGreen",
    "AWS::SecretsManager-2020-07-23",
    "AWS::SecretsManager-2024-09-16",
];

const MAY_HOLD: &str = "it may hold a mapping from Kinesis";

pub(super) fn findings(template: &Template) -> Vec<Finding> {
    let mut findings: Vec<Finding> = template
        .parameter_faults()
        .into_iter()
        .map(|fault| {
            let found = format!("{}={}", fault.parameter, fault.value);
            let reason = "CloudFormation refuses the value";
            Finding::new(Severity::Error, fault.limit, found, reason, fault.allowed)
                .of(&fault.parameter)
                .by("parameter-limits")
        })
        .collect();
    for transform in template.transforms() {
        if !KNOWN_TRANSFORMS.contains(&transform.as_str()) {
            let fix = "judge the transformed template";
            let reason = "the macro may add or change mappings";
            findings.push(not_judged("Transform", transform, reason, fix).of("template"));
        }
    }
    for (id, resource, exists) in template.all_resources() {
        if exists == Some(false) {
            continue;
        }
        let fix = "judge the transformed template, or check the deployed function with --function";
        let kind = resource.get("Type").and_then(Value::as_str).unwrap_or_default();
        if id.starts_with("Fn::") {
            findings.push(not_judged(id, express(resource), MAY_HOLD, fix).of(id));
        } else if ["AWS::CloudFormation::Stack", "AWS::Serverless::Application"].contains(&kind)
            || kind.ends_with("::MODULE")
        {
            let location = ["TemplateURL", "Location"].map(|name| &resource["Properties"][name]);
            let location = location.into_iter().find(|location| !location.is_null());
            let found =
                location.map_or_else(|| kind.to_owned(), |location| format!("{kind} {}", express(location)));
            findings.push(not_judged("Type", found, MAY_HOLD, "judge that template on its own").of(id));
        }
    }
    findings
}

/// Returns an entry for each mapping that does not exist, because its condition is false with these parameters.
pub(super) fn switched_off(template: &Template) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, resource, exists) in template.all_resources() {
        if exists != Some(false) {
            continue;
        }
        let properties = template.evaluate(&resource["Properties"]).unwrap_or_default();
        let mappings = match resource["Type"].as_str() {
            Some("AWS::Lambda::EventSourceMapping") if is_kinesis(template, &properties) != Some(false) => {
                vec![id.to_owned()]
            }
            Some("AWS::Serverless::Function") => {
                let events = properties["Events"].as_object().into_iter().flatten();
                events
                    .filter(|(_, event)| event["Type"] == "Kinesis")
                    .map(|(name, _)| format!("{id}{name}"))
                    .collect()
            }
            _ => Vec::new(),
        };
        findings.extend(mappings.iter().map(|mapping| {
            not_judged(
                "Condition",
                express(&resource["Condition"]),
                "the condition is false with these parameters, so the mapping does not exist",
                "judge it with the values that create it: --parameter",
            )
            .of(mapping)
        }));
    }
    findings
}
