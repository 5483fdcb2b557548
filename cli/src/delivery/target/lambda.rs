use std::{
    cell::Cell,
    io::{self, Write},
    time::Duration,
};

use aws_sdk_lambda::{
    Client,
    config::{Builder, StalledStreamProtectionConfig, timeout::TimeoutConfig},
    error::SdkError,
    primitives::Blob,
    types::LogType,
};
use base64::prelude::*;
use bytes::Bytes;
use lambda_host::{Answer, FunctionError, reported_error};

use super::TargetError;
use crate::{
    aws::{self, ApiFailure, AwsError},
    output::{cell, meter},
};

/// Longest time for an invocation: a function runs for 5,400 s at most, on Lambda Managed Instances, and its response takes
/// some time, too.
const TIMEOUT: Duration = Duration::from_secs(91 * 60);

/// A function behind Lambda's API, invoked synchronously.
#[derive(Debug)]
pub(crate) struct LambdaFunction {
    client: Client,
    name: String,
    /// Whether Lambda has answered any request.
    has_answered: Cell<bool>,
    /// Whether Lambda returns the end of the log, which is then written to standard error.
    shows_log: bool,
}

/// Status of an invocation that Lambda has waited for. Others are accepted (202) or tried (204) only.
const INVOKED: i32 = 200;

impl LambdaFunction {
    /// The region of an ARN comes first.
    pub(super) async fn connect(name: String, region: Option<&str>) -> Result<Self, TargetError> {
        // arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME
        let of_arn = name.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
        let config = aws::config(of_arn.or(region)).await?;
        let config = Builder::from(&config)
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(TIMEOUT).build())
            // Nothing flows while the function works.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let client = Client::from_conf(config.build());
        Ok(LambdaFunction { client, name, has_answered: Cell::new(false), shows_log: false })
    }

    pub(super) fn show_log(&mut self) {
        self.shows_log = true;
    }

    pub(super) async fn invoke(&self, event: Bytes) -> Result<Answer, TargetError> {
        let operation = "Invoke";
        // The blob is a copy: the SDK takes no shared bytes.
        let request = self.client.invoke().function_name(&self.name).payload(Blob::new(event.to_vec()));
        let request = request.set_log_type(self.shows_log.then_some(LogType::Tail));
        match request.send().await {
            Ok(answer) => {
                self.has_answered.set(true);
                answer.log_result.as_deref().into_iter().for_each(write_log);
                let body = answer.payload.map(Blob::into_inner).unwrap_or_default();
                Ok(match answer.function_error {
                    Some(_) => Answer::Error(reported_error(&body, None)),
                    None if answer.status_code == INVOKED => Answer::Response(Bytes::from(body)),
                    None => {
                        let error_type = operation.to_owned();
                        let status = answer.status_code;
                        let message = format!("Lambda has not waited for the function (status {status})");
                        Answer::Error(FunctionError::Thrown { error_type, message })
                    }
                })
            }
            Err(error) => {
                let is_unreachable =
                    matches!(error, SdkError::DispatchFailure(_)) && !self.has_answered.get();
                self.has_answered.set(!is_unreachable);
                let source = ApiFailure::from(error);
                if source.is_throttling() {
                    return Ok(Answer::Throttled);
                }
                // It may have run, or it is about this event, and not about all of them.
                let is_of_event = source.is_transient() || source.is("RequestTooLargeException");
                if is_of_event && !is_unreachable {
                    let (error_type, message) = (operation.to_owned(), source.to_string());
                    return Ok(Answer::Error(FunctionError::Thrown { error_type, message }));
                }
                let resource = format!("function {}", self.name);
                Err(AwsError::Unusable { resource, operation, source }.into())
            }
        }
    }
}

/// Writes the end of a log, in base64, to standard error. A log may have any text, so control characters are escaped, except for the tabs of Lambda's own lines.
fn write_log(log: &str) {
    let Ok(log) = BASE64_STANDARD.decode(log) else { return };
    let log = String::from_utf8_lossy(&log);
    // If standard error is closed, there is no better place.
    let _ = meter::beside(|| {
        let mut stderr = io::stderr().lock();
        log.lines().try_for_each(|line| writeln!(stderr, "{}", cell::escape(&line.replace('\t', "  "))))
    });
}
