use std::{ffi::OsString, io};

use thiserror::Error;

use crate::FunctionError;

/// Why an invocation could not be begun.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The options name no program.
    #[error("the function's command is empty")]
    NoCommand,
    /// The program cannot be started.
    #[error("cannot start {}", command.display())]
    Command {
        /// The program, without its arguments.
        command: OsString,
        /// Why it cannot be started.
        source: io::Error,
    },
    /// The program has never asked for an event: neither this process nor an earlier one.
    #[error("the program could not start{}", init_reason(error, last_line.as_deref()))]
    Init {
        /// The end of the process, or the error that it reported.
        error: FunctionError,
        /// Line of the process's output that is most likely to say why: the last one, without a stack trace. `None` if there is none, or the
        /// options say so.
        last_line: Option<String>,
    },
    /// The request ID would not fit into a URL as it is.
    #[error("request ID {request_id:?} is empty or has characters other than A-Z a-z 0-9 - . _ ~ :")]
    RequestId {
        /// The request ID.
        request_id: String,
    },
    /// The Runtime API has no port or no thread to run on.
    #[error("cannot start the Lambda Runtime API")]
    RuntimeApi {
        /// Error of the operating system.
        source: io::Error,
    },
}

fn init_reason(error: &FunctionError, last_line: Option<&str>) -> String {
    match (error, last_line) {
        (FunctionError::Crash { how }, Some(line)) => format!(" ({how}): {line}"),
        (FunctionError::Crash { how }, None) => format!(": {how}"),
        (error, _) => format!(": {error}"),
    }
}
