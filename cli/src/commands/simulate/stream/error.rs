use std::{io, path::PathBuf};

use kinesis_handler::BoxError;
use thiserror::Error;

use crate::{aws::AwsError, delivery::target::TargetError};

/// Why a stream is not polled, or no longer.
#[derive(Debug, Error)]
pub(crate) enum StreamError {
    #[error("cannot write failure records to {}", path.display())]
    Failures { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("signals cannot be awaited")]
    Signals(#[source] io::Error),
    #[error("the simulation cannot continue")]
    Simulation(#[source] BoxError),
}

impl StreamError {
    /// Returns the reason why a simulation ended. Sources and functions box their errors.
    pub(super) fn of_simulation(error: BoxError) -> Self {
        match error.downcast::<AwsError>() {
            Ok(error) => StreamError::Aws(*error),
            Err(error) => match error.downcast::<TargetError>() {
                Ok(error) => StreamError::Target(*error),
                Err(error) => StreamError::Simulation(error),
            },
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            StreamError::Aws(error) => error.exit_code(),
            StreamError::Target(error) => error.exit_code(),
            StreamError::Failures { .. } => 2,
            StreamError::Signals(_) | StreamError::Simulation(_) => 1,
        }
    }
}
