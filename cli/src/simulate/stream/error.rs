use std::{io, path::PathBuf};

use kinesis_esm_simulator::{BoxError, StartError, UrlError};
use thiserror::Error;

use super::api_failure::ApiFailure;

/// Why a stream is not polled, or no longer.
#[derive(Debug, Error)]
pub(crate) enum StreamError {
    #[error("cannot write failure records to {}", path.display())]
    Failures { path: PathBuf, source: io::Error },
    #[error("the function's URL cannot be used")]
    Url(#[source] UrlError),
    #[error("no AWS region is configured: set AWS_REGION, name one in the profile, or give the stream's ARN")]
    NoRegion,
    #[error("no AWS credentials")]
    NoCredentials(#[source] BoxError),
    /// By name or ARN.
    #[error("stream {stream} cannot be polled: {operation}")]
    Start { stream: String, operation: &'static str, source: ApiFailure },
    #[error("polling stream {stream} has ended: {operation}")]
    Poll { stream: String, operation: &'static str, source: ApiFailure },
    #[error("Kinesis answered {operation} with something wrong: {what}")]
    Answer { operation: &'static str, what: String },
    #[error("the function cannot be invoked")]
    Function(#[source] StartError),
    #[error("signals cannot be awaited")]
    Signals(#[source] io::Error),
    #[error("the simulation cannot go on")]
    Simulation(#[source] BoxError),
}

impl StreamError {
    /// What has ended a simulation. Sources and functions box their errors.
    pub(super) fn of_simulation(error: BoxError) -> Self {
        match error.downcast::<StreamError>() {
            Ok(error) => *error,
            Err(error) => match error.downcast::<StartError>() {
                Ok(error) => StreamError::Function(*error),
                Err(error) => StreamError::Simulation(error),
            },
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            StreamError::Failures { .. }
            | StreamError::Url(_)
            | StreamError::NoRegion
            | StreamError::NoCredentials(_)
            | StreamError::Start { .. }
            | StreamError::Function(_) => 2,
            StreamError::Poll { .. }
            | StreamError::Answer { .. }
            | StreamError::Signals(_)
            | StreamError::Simulation(_) => 1,
        }
    }
}
