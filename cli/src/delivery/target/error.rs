use std::{io, path::PathBuf};

use lambda_host::{StartError, UrlError};
use thiserror::Error;

use crate::aws::AwsError;

/// Why events cannot be handed over at all.
#[derive(Debug, Error)]
pub(crate) enum TargetError {
    #[error("the function's URL cannot be used")]
    Url(#[source] UrlError),
    #[error("the function's URL cannot be reached")]
    Unreachable(#[source] io::Error),
    #[error("the function cannot be invoked")]
    Start(#[source] StartError),
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error("cannot write events to {}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot write the log to {}", path.display())]
    Log { path: PathBuf, source: io::Error },
}

impl TargetError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            TargetError::Aws(error) => error.exit_code(),
            TargetError::Url(_)
            | TargetError::Unreachable(_)
            | TargetError::Start(_)
            | TargetError::Directory { .. }
            | TargetError::Log { .. } => 2,
        }
    }
}
