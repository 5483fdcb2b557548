//! The targets of events: a Lambda function, a URL, a program, or a directory.

mod error;
mod lambda;
mod directory;
mod program_log;

use std::{ffi::OsString, fmt, path::PathBuf, time::Duration};

use bytes::Bytes;
use fastrand::u32 as random;
use kinesis_handler::journal::ContentHash;
use lambda_host::{Answer, BinaryFunction, BinaryOptions, Fate, UrlFunction};

pub(crate) use error::TargetError;

pub(crate) use program_log::ProgramLog;

use self::{directory::EventDirectory, lambda::LambdaFunction};
use crate::aws::{self, AwsError};

/// The target as the command line names it.
#[derive(Debug, Clone)]
pub(crate) enum TargetOptions {
    /// A Lambda function, by name or ARN.
    Function(String),
    /// Whatever takes events at this URL.
    Url(String),
    /// A program and its arguments, over the Lambda Runtime API.
    Command(Vec<OsString>, Environment),
    /// A directory that gets each event as a file.
    Directory(PathBuf),
}

/// The environment of a program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// Whether it gets nothing of this command's but `PATH` and `HOME`.
    pub(crate) is_clean: bool,
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// ARN of the IAM role whose credentials it gets.
    pub(crate) role_arn: Option<String>,
    pub(crate) log: ProgramLog,
}

impl Environment {
    /// Assumes the role, if there is one, and puts its credentials before the other variables, which may replace them.
    pub(crate) async fn with_credentials(mut self) -> Result<Self, AwsError> {
        if let Some(role_arn) = self.role_arn.take() {
            let credentials = aws::assume_role(&role_arn).await?;
            let values = [
                ("AWS_ACCESS_KEY_ID", credentials.access_key_id()),
                ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key()),
                ("AWS_SESSION_TOKEN", credentials.session_token().unwrap_or_default()),
            ];
            let values = values.map(|(name, value)| (name.into(), value.into()));
            self.variables.splice(..0, values);
        }
        Ok(self)
    }

    /// Sets it for a program.
    pub(crate) fn apply(self, options: &mut BinaryOptions) -> Result<(), TargetError> {
        options.clean_environment = self.is_clean;
        options.variables.extend(self.variables);
        // Once is enough.
        options.quotes_output = !matches!(self.log, ProgramLog::StandardError);
        options.log = Some(self.log.open()?);
        Ok(())
    }
}

/// Names the target in progress files. Queries of URLs and command lines may hold secrets, so they are hashed.
impl fmt::Display for TargetOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetOptions::Function(name) => write!(f, "function {name}"),
            TargetOptions::Url(url) => match url.split_once('?') {
                Some((url, query)) => write!(f, "{url}?{}", ContentHash::new(b"query", query.as_bytes())),
                None => f.write_str(url),
            },
            TargetOptions::Command(command, _) => {
                // No argument contains a zero byte.
                let words: Vec<&[u8]> = command.iter().map(|word| word.as_encoded_bytes()).collect();
                write!(f, "command {}", ContentHash::new(b"command", &words.join(&0)))
            }
            TargetOptions::Directory(path) => write!(f, "{}", path.display()),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Target {
    Function(LambdaFunction),
    Url(UrlFunction),
    Program(BinaryFunction),
    Directory(EventDirectory),
}

impl Target {
    /// `timeout` is that of the function, as far as this side has to know it. `region` is where a program is told that it
    /// runs, and where a function is that is not named by its ARN.
    pub(crate) async fn new(
        options: TargetOptions,
        region: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, TargetError> {
        match options {
            TargetOptions::Function(name) => {
                LambdaFunction::connect(name, region).await.map(Target::Function)
            }
            TargetOptions::Url(url) => Self::url(&url, timeout),
            TargetOptions::Command(command, environment) => {
                let mut options = BinaryOptions::new(command);
                environment.with_credentials().await?.apply(&mut options)?;
                options.timeout = timeout;
                if let Some(region) = region {
                    options.region = region.to_owned();
                }
                Ok(Self::program(options))
            }
            TargetOptions::Directory(path) => EventDirectory::open(path).map(Target::Directory),
        }
    }

    pub(crate) fn url(url: &str, timeout: Duration) -> Result<Self, TargetError> {
        UrlFunction::new(url, timeout).map(Target::Url).map_err(TargetError::Url)
    }

    pub(crate) fn program(options: BinaryOptions) -> Self {
        Target::Program(BinaryFunction::new(options))
    }

    /// Makes each invocation of a Lambda function write the end of its log, at most 4 KB, to standard error.
    pub(crate) fn show_log(&mut self) {
        if let Target::Function(function) = self {
            function.show_log();
        }
    }

    /// Whether an answer means that somebody has processed the event.
    pub(crate) fn processes(&self) -> bool {
        !matches!(self, Target::Directory(_))
    }

    /// Whether it takes events that are larger than Lambda's limit.
    pub(crate) fn takes_large_events(&self) -> bool {
        !matches!(self, Target::Function(_))
    }

    /// Fails if the target can be seen to be unreachable without an invocation.
    pub(crate) async fn check(&self) -> Result<(), TargetError> {
        match self {
            Target::Url(url) => url.check().await.map_err(TargetError::Unreachable),
            Target::Function(_) | Target::Program(_) | Target::Directory(_) => Ok(()),
        }
    }

    /// Hands over an event. What goes wrong in the function is an answer; an error ends the run.
    pub(crate) async fn invoke(
        &self,
        event: Bytes,
        request_id: &str,
        shard_id: &str,
    ) -> Result<Answer, TargetError> {
        match self {
            Target::Function(function) => function.invoke(event).await,
            Target::Url(url) => Ok(url.invoke(event).await),
            Target::Program(program) => {
                program.invoke(event, request_id, Fate::Normal).await.map_err(TargetError::Start)
            }
            Target::Directory(directory) => directory.write(&event, shard_id),
        }
    }

    /// Ends the processes, if there are any.
    pub(crate) async fn shutdown(&self) {
        if let Target::Program(program) = self {
            program.shutdown().await;
        }
    }
}

/// A request ID as Lambda makes them.
pub(crate) fn request_id() -> String {
    let (a, b, c, d) = (random(..), random(..), random(..), random(..));
    // Version 4, variant 1.
    format!(
        "{a:08x}-{:04x}-4{:03x}-{:04x}-{:04x}{d:08x}",
        b >> 16,
        b & 0xfff,
        (c >> 16) & 0x3fff | 0x8000,
        c & 0xffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_file_holds_no_secrets_of_a_target() {
        let shown = |options: TargetOptions| options.to_string();
        let url = |url: &str| shown(TargetOptions::Url(url.to_owned()));
        let command = |words: &[&str]| {
            shown(TargetOptions::Command(words.iter().map(Into::into).collect(), Environment::default()))
        };
        assert_eq!(url("http://127.0.0.1:9000/orders"), "http://127.0.0.1:9000/orders");
        let with_query = url("http://127.0.0.1:9000/orders?token=secret");
        assert!(with_query.starts_with("http://127.0.0.1:9000/orders?") && !with_query.contains("secret"));
        assert_ne!(with_query, url("http://127.0.0.1:9000/orders?token=other"));
        let with_token = command(&["orders", "--token", "secret"]);
        assert!(with_token.starts_with("command ") && !with_token.contains("secret"));
        assert_ne!(with_token, command(&["orders", "--token secret"]));
        assert_eq!(with_token, command(&["orders", "--token", "secret"]));
    }
}
