use std::{env, ffi::OsString, net::SocketAddr, num::NonZeroUsize, time::Duration};

use super::OutputObserver;

/// The version of every simulated function.
pub(super) const FUNCTION_VERSION: &str = "$LATEST";

/// The handler's name of every simulated function. Custom runtimes ignore it.
pub(super) const HANDLER: &str = "bootstrap";

/// A function that is a program.
///
/// Start from [`BinaryOptions::new`] and set fields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BinaryOptions {
    /// The program and its arguments. The program is looked up in `PATH`, unless it contains a slash.
    pub command: Vec<OsString>,
    /// Name that the function is told. Default `simulated-function`.
    pub function_name: String,
    /// Memory that the function is told, in MB. Nothing enforces it. Default 512.
    pub memory_mb: u32,
    /// Longest time of an invocation in real time, from offering its event to the process. Default 60 seconds.
    pub timeout: Duration,
    /// Longest time of a process until it asks for its first event. Default 10 seconds, as in Lambda.
    pub init_timeout: Duration,
    /// Number of events that a process may have at the same time. Default 1. With more, the process is one of [Lambda Managed
    /// Instances](https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-execution-environment.html): it
    /// gets the number as `AWS_LAMBDA_MAX_CONCURRENCY`, and a timeout does not end it.
    pub concurrency: NonZeroUsize,
    /// ARN that the function is told to be invoked by. The default has the default name and region.
    pub invoked_function_arn: String,
    /// `AWS_REGION` and `AWS_DEFAULT_REGION` of the function, where the caller's environment lacks them. Default
    /// `us-east-1`.
    pub region: String,
    /// Whether the function gets nothing of the caller's environment but `PATH` and `HOME`. By default it gets all of it,
    /// the caller's AWS credentials included.
    pub clean_environment: bool,
    /// Gets what the processes print, instead of the caller's standard error. Default none.
    pub log: Option<OutputObserver>,
    /// Whether an error of the program's start quotes the last line that the program has printed. Default `true`; `false` suits
    /// a caller whose user has seen the log.
    pub quotes_output: bool,
    /// Sees what the processes print, besides the log. Default none.
    pub output_observer: Option<OutputObserver>,
    /// Further variables of the function's environment. They take precedence over Lambda's and the caller's.
    pub variables: Vec<(OsString, OsString)>,
}

impl BinaryOptions {
    /// This program with its arguments, and defaults for the rest.
    pub fn new(command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        BinaryOptions {
            command: command.into_iter().map(Into::into).collect(),
            function_name: "simulated-function".to_owned(),
            memory_mb: 512,
            timeout: Duration::from_secs(60),
            init_timeout: Duration::from_secs(10),
            concurrency: NonZeroUsize::MIN,
            invoked_function_arn: "arn:aws:lambda:us-east-1:123456789012:function:simulated-function"
                .to_owned(),
            region: "us-east-1".to_owned(),
            clean_environment: false,
            log: None,
            quotes_output: true,
            output_observer: None,
            variables: Vec::new(),
        }
    }

    /// Returns whether a process may have several events at the same time.
    pub(super) fn is_concurrent(&self) -> bool {
        self.concurrency > NonZeroUsize::MIN
    }

    /// Returns the variables of the process with this number; the rest is the caller's, unless that is left out.
    pub(super) fn process_variables(
        &self,
        runtime_api: SocketAddr,
        number: u64,
    ) -> Vec<(OsString, OsString)> {
        let mut variables: Vec<(OsString, OsString)> = [
            ("AWS_LAMBDA_FUNCTION_NAME", self.function_name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", FUNCTION_VERSION.to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory_mb.to_string()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", self.function_name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", format!("[{FUNCTION_VERSION}]{number:032x}")),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("_HANDLER", HANDLER.to_owned()),
            ("TZ", ":UTC".to_owned()),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        // In Lambda, too, it is the working directory.
        if let Ok(directory) = env::current_dir() {
            variables.push(("LAMBDA_TASK_ROOT".into(), directory.into()));
        }
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            if self.clean_environment || env::var_os(name).is_none() {
                variables.push((name.into(), self.region.clone().into()));
            }
        }
        if self.clean_environment {
            let kept = |name: &str| Some((OsString::from(name), env::var_os(name)?));
            variables.extend(["PATH", "HOME"].into_iter().filter_map(kept));
        }
        variables.extend(self.variables.iter().cloned());
        if self.is_concurrent() {
            variables.push(("AWS_LAMBDA_MAX_CONCURRENCY".into(), self.concurrency.to_string().into()));
        }
        // Without a scheme: that is what Lambda gives. The last word, as nothing works with another value.
        variables.push(("AWS_LAMBDA_RUNTIME_API".into(), runtime_api.to_string().into()));
        variables
    }
}
