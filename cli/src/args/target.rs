use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgGroup, builder::RangedU64ValueParser};

use crate::delivery::target::{Environment, ProgramLog, TargetOptions};

// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("target").required(true).args(["function", "url", "events", "command"]))]
pub(crate) struct TargetArgs {
    /// The Lambda function, by its name or ARN, with or without a version or alias
    #[arg(long, value_name = "NAME", help_heading = "Where events go")]
    function: Option<String>,
    /// Invoke URL of the function, such as http://127.0.0.1:9000/2015-03-31/functions/_/invocations
    #[arg(long, value_name = "INVOKE_URL", help_heading = "Where events go")]
    url: Option<String>,
    /// A directory that gets each event as a file, for `cargo lambda invoke --data-file`; nothing counts as processed
    #[arg(long, value_name = "DIR", help_heading = "Where events go")]
    events: Option<PathBuf>,
    /// The function, a program and its arguments, started as Lambda would start it. If it ends
    /// before it asks for its first event, nothing is reported as delivered (exit code 2). It gets the environment of this command,
    /// AWS credentials included, unless --clean-env
    #[arg(last = true, value_name = "COMMAND", help_heading = "Where events go")]
    command: Vec<OsString>,
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// Timeout of the function at --url, or of COMMAND
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "60",
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=5400),
        help_heading = "Where events go"
    )]
    timeout: u64,
}

impl TargetArgs {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    pub(crate) fn options(&self) -> TargetOptions {
        let TargetArgs { function, url, events, command, environment, .. } = self;
        match (function, url, events) {
            (Some(name), ..) => TargetOptions::Function(name.clone()),
            (_, Some(url), _) => TargetOptions::Url(url.clone()),
            (.., Some(path)) => TargetOptions::Directory(path.clone()),
            _ => TargetOptions::Command(command.clone(), environment.environment()),
        }
    }
}

// As above.
#[derive(Debug, clap::Args)]
pub(crate) struct EnvironmentArgs {
    /// Start COMMAND without the environment of this command, but for PATH and HOME; credentials and settings that it needs
    /// are given with --env
    #[arg(long, requires = "command", help_heading = "Where events go")]
    clean_env: bool,
    /// A variable for COMMAND: NAME=VALUE, or NAME to pass on the one of this command
    #[arg(long, value_name = "NAME[=VALUE]", requires = "command", value_parser = variable, help_heading = "Where events go")]
    env: Vec<(OsString, OsString)>,
    /// Give COMMAND the credentials of this IAM role, such as the function's own, instead of those of this command, so that
    /// missing permissions show. They last for an hour; some SDKs prefer AWS_PROFILE, which --clean-env leaves out
    #[arg(long, value_name = "ROLE_ARN", requires = "command", value_parser = role_arn, help_heading = "Where events go")]
    assume_role: Option<String>,
    /// Append what COMMAND prints to this file, instead of standard error
    #[arg(
        long,
        value_name = "FILE",
        requires = "command",
        conflicts_with = "quiet",
        help_heading = "Where events go"
    )]
    log: Option<PathBuf>,
    /// Show nothing of what COMMAND prints
    #[arg(long, requires = "command", help_heading = "Where events go")]
    quiet: bool,
}

impl EnvironmentArgs {
    pub(crate) fn environment(&self) -> Environment {
        let EnvironmentArgs { clean_env, env, assume_role, log, quiet } = self;
        Environment {
            is_clean: *clean_env,
            variables: env.clone(),
            role_arn: assume_role.clone(),
            log: match log {
                Some(path) => ProgramLog::File(path.clone()),
                None if *quiet => ProgramLog::Quiet,
                None => ProgramLog::StandardError,
            },
        }
    }
}

fn role_arn(text: &str) -> Result<String, &'static str> {
    match text.starts_with("arn:") && text.contains(":role/") {
        true => Ok(text.to_owned()),
        false => Err("expected arn:PARTITION:iam::ACCOUNT:role/NAME"),
    }
}

fn variable(text: &str) -> Result<(OsString, OsString), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.into())),
        None => (text, std::env::var_os(text)),
    };
    match value {
        _ if name.is_empty() => Err("expected NAME=VALUE or NAME".to_owned()),
        Some(value) => Ok((name.into(), value)),
        None => Err(format!("{name} is not in the environment: expected NAME=VALUE")),
    }
}

// As above.
#[derive(Debug, clap::Args)]
pub(crate) struct DeliveryArgs {
    /// Largest number of Kinesis records in an event
    #[arg(
        long,
        value_name = "RECORDS",
        default_value = "100",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000),
        help_heading = "How events are delivered"
    )]
    pub(crate) batch_size: usize,
    /// Number of times that a batch may fail, without any progress, before it is reported as failed
    #[arg(
        long,
        value_name = "TIMES",
        default_value = "3",
        value_parser = RangedU64ValueParser::<u32>::new().range(1..=10_000),
        help_heading = "How events are delivered"
    )]
    pub(crate) attempts: u32,
}

// As above.
#[derive(Debug, clap::Args)]
pub(crate) struct PaceArgs {
    /// Reads of a shard per second, out of the 5 that all of its readers share
    #[arg(long, value_name = "NUMBER", default_value = "2", value_parser = reads, help_heading = "How events are delivered")]
    pub(crate) reads_per_second: f64,
}

impl PaceArgs {
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.reads_per_second)
    }
}

fn reads(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(reads) if (0.01..=1_000.0).contains(&reads) => Ok(reads),
        _ => Err("expected a number from 0.01 to 1000"),
    }
}
