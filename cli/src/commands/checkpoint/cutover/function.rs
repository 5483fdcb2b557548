use std::collections::HashMap;

use crate::{aws::lambda_mappings::LambdaMappings, error::Error};

/// A function, or a version or alias of it, as far as a cut-over depends on it.
#[derive(Debug)]
pub(super) struct TargetFunction {
    name: String,
    /// Its application in the table.
    pub(super) application: String,
    /// Longest time of an invocation, in seconds.
    pub(super) timeout_s: u64,
    variables: HashMap<String, String>,
}

impl TargetFunction {
    pub(super) async fn read(lambda: &LambdaMappings, name: &str) -> Result<Self, Error> {
        let configuration = lambda.function(name).await?;
        let environment = configuration.environment;
        if let Some(error) = environment.as_ref().and_then(|environment| environment.error.as_ref()) {
            let text = error.message.as_deref().unwrap_or("unknown error");
            return Err(Error::Usage(format!("function {name}: its variables cannot be read: {text}")));
        }
        let variables = environment.and_then(|environment| environment.variables).unwrap_or_default();
        let application = variables.get("KINESIS_HANDLER_APPLICATION").cloned();
        let application = application.or(configuration.function_name).unwrap_or_else(|| name.to_owned());
        // AWS's default.
        let timeout_s = configuration.timeout.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(3);
        Ok(TargetFunction { name: name.to_owned(), application, timeout_s, variables })
    }

    /// Returns an error if the function would not skip what the table has as processed.
    pub(super) fn check(&self, table: &str) -> Result<(), Error> {
        let TargetFunction { name, variables, .. } = self;
        let variable = |name: &str| variables.get(name).map(String::as_str);
        match variable("KINESIS_HANDLER_CHECKPOINT_TABLE") {
            Some(found) if found == table => {}
            Some(found) => {
                return Err(Error::Usage(format!(
                    "function {name} mirrors its position into table {found}, not into {table}"
                )));
            }
            None => {
                return Err(Error::Usage(format!(
                    "function {name} has no checkpoint mirror: set KINESIS_HANDLER_CHECKPOINT_TABLE"
                )));
            }
        }
        if variable("KINESIS_HANDLER_CUTOVER") != Some("on") {
            return Err(Error::Usage(format!(
                "function {name} would process records twice: set KINESIS_HANDLER_CUTOVER=on (parameter Cutover of the template) first"
            )));
        }
        Ok(())
    }
}
