use std::{ffi::OsString, io};

use thiserror::Error;

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
