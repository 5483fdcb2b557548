//! The configuration file of the AWS SAM CLI, of which the doctor takes the parameters of a deployment.
//!
//! <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-sam-cli-config.html>

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::template;
use crate::{error::Error, input::Input};

/// Names of the file, in the order in which the SAM CLI looks for it.
const NAMES: [&str; 3] = ["samconfig.toml", "samconfig.yaml", "samconfig.yml"];

/// The settings of `sam deploy` in one environment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SamConfig {
    pub(super) file: PathBuf,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) stack_name: Option<String>,
    pub(super) region: Option<String>,
}

/// Reads the file beside a template, or in the current folder.
pub(super) fn read(template: &Path, environment: &str) -> Result<SamConfig, Error> {
    let beside = template.parent().unwrap_or(Path::new(""));
    let folders = [beside, Path::new("")];
    let file =
        folders.iter().flat_map(|folder| NAMES.map(|name| folder.join(name))).find(|file| file.is_file());
    let Some(file) = file else {
        return Err(Error::Usage(format!("--config-env: no samconfig.toml beside {}", template.display())));
    };
    let Input { name, bytes } = Input::read(&file)?;
    let fail = |reason: String| Error::Usage(format!("{name}: {reason}"));
    let text = String::from_utf8(bytes).map_err(|_| fail("not UTF-8".to_owned()))?;
    let is_toml = file.extension().is_some_and(|extension| extension == "toml");
    let document = if is_toml {
        toml::from_str(&text).map_err(|error| error.to_string().trim_end().replace('\n', " "))
    } else {
        template::parse(&text)
    };
    let config = document.and_then(|document| of_environment(&document, environment)).map_err(fail)?;
    Ok(SamConfig { file, ..config })
}

fn of_environment(document: &Value, environment: &str) -> Result<SamConfig, String> {
    let Some(commands) = document.get(environment) else {
        let names = document.as_object().into_iter().flatten().filter(|(_, value)| value.is_object());
        let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
        return Err(format!("no environment {environment:?}, only {}", names.join(", ")));
    };
    // The settings of the command go before those of all commands.
    let setting = |name: &str| {
        let settings = ["deploy", "global"].map(|command| &commands[command]["parameters"][name]);
        settings.into_iter().find(|value| !value.is_null())
    };
    let text = |name: &str| setting(name).and_then(Value::as_str).map(str::to_owned);
    Ok(SamConfig {
        file: PathBuf::new(),
        parameters: setting("parameter_overrides").map(overrides).transpose()?.unwrap_or_default(),
        stack_name: text("stack_name"),
        region: text("region"),
    })
}

/// Reads `parameter_overrides`: a text, a list of texts, or a table.
fn overrides(value: &Value) -> Result<Vec<(String, String)>, String> {
    let wrong = |found: &str| format!("parameter_overrides: expected NAME=VALUE, found {found:?}");
    let texts: Vec<&str> = match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().ok_or_else(|| wrong(&item.to_string())))
            .collect::<Result<_, _>>()?,
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                template::scalar(value).map(|value| (name.clone(), value)).ok_or_else(|| wrong(name))
            };
            return members.iter().map(member).collect();
        }
        other => return Err(wrong(&other.to_string())),
    };
    let mut parameters = Vec::new();
    for text in texts {
        let words =
            shlex::split(text).ok_or_else(|| "parameter_overrides: a quote is not closed".to_owned())?;
        for word in words {
            // The form of `aws cloudformation deploy`.
            let long =
                word.strip_prefix("ParameterKey=").and_then(|rest| rest.split_once(",ParameterValue="));
            let (name, value) = long.or_else(|| word.split_once('=')).ok_or_else(|| wrong(&word))?;
            parameters.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(overrides: Value, expected: &[(&str, &str)]) {
        let document = json!({ "production": { "deploy": { "parameters": { "parameter_overrides": overrides } },
            "global": { "parameters": { "stack_name": "orders", "region": "eu-west-1" } } } });
        let config = of_environment(&document, "production").expect("a configuration");
        let parameters: Vec<_> = config.parameters.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(parameters, expected);
        assert_eq!(
            (config.stack_name.as_deref(), config.region.as_deref()),
            (Some("orders"), Some("eu-west-1"))
        );
    }

    #[test]
    fn overrides_have_all_forms_of_the_sam_cli() {
        let expected = [("Factor", "4"), ("Names", "a b")];
        check(json!("Factor=4 Names=\"a b\""), &expected);
        check(json!("ParameterKey=Factor,ParameterValue=4 'Names=a b'"), &expected);
        check(json!(["Factor=4", "Names='a b'"]), &expected);
        check(json!({ "Factor": 4, "Names": "a b" }), &expected);
        check(Value::Null, &[]);
    }

    #[test]
    fn wrong_configurations_are_named() {
        let read = |document: Value| of_environment(&document, "production");
        assert_eq!(
            read(json!({ "version": 0.1, "default": {}, "staging": {} })),
            Err(r#"no environment "production", only default, staging"#.to_owned())
        );
        let with = |overrides: Value| {
            read(
                json!({ "production": { "deploy": { "parameters": { "parameter_overrides": overrides } } } }),
            )
        };
        let wrong = Err(r#"parameter_overrides: expected NAME=VALUE, found "Factor""#.to_owned());
        assert_eq!(with(json!("Factor")), wrong);
        assert_eq!(with(json!("Factor='4")), Err("parameter_overrides: a quote is not closed".to_owned()));
    }
}
