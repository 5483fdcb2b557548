use std::{cell::RefCell, collections::HashSet};

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use tokio::time::sleep;

use super::{ApiFailure, AwsError, Backoff};
use crate::note::note;

/// How often a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempts {
    /// A few times: if it does not get through, the configuration is likely wrong.
    Few,
    /// A few times if the service does not answer, and for half a minute if it refuses: one of many items must not stop
    /// the others.
    Bounded,
    /// As long as it takes.
    Endless,
}

const FEW: u32 = 3;

/// With the delays between them, half a minute.
const BOUNDED: u32 = 8;

/// Sends requests again that fail for a while.
#[derive(Debug, Default)]
pub(crate) struct Repeater {
    /// Kinds of failures that standard error has been told of.
    noted: RefCell<HashSet<String>>,
}

impl Repeater {
    /// Sends the request until it is answered, or fails in a way that will not pass.
    pub(crate) async fn send<T, E, F>(
        &self,
        operation: &'static str,
        attempts: Attempts,
        request: impl Fn() -> F,
    ) -> Result<T, ApiFailure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let mut backoff = Backoff::new();
        let mut attempt = 1;
        loop {
            let failure = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => ApiFailure::from(error),
            };
            let is_last = match attempts {
                Attempts::Few => attempt >= FEW,
                Attempts::Bounded => attempt >= if failure.is_unanswered() { FEW } else { BOUNDED },
                Attempts::Endless => false,
            };
            if !failure.is_transient() || is_last {
                return Err(failure);
            }
            if self.noted.borrow_mut().insert(failure.kind().to_owned()) {
                note(format_args!("{operation}: {failure}; trying again, from now on without a word"));
            }
            attempt += 1;
            sleep(backoff.next_delay()).await;
        }
    }

    /// As [`send`](Self::send), with an error that says of what the request was.
    pub(crate) async fn request<T, E, F>(
        &self,
        resource: &str,
        operation: &'static str,
        attempts: Attempts,
        request: impl Fn() -> F,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let answer = self.send(operation, attempts, request).await;
        answer.map_err(|source| error(resource, operation, attempts, source))
    }
}

pub(super) fn error(
    resource: &str,
    operation: &'static str,
    attempts: Attempts,
    source: ApiFailure,
) -> AwsError {
    let resource = resource.to_owned();
    match attempts {
        Attempts::Few | Attempts::Bounded => AwsError::Unusable { resource, operation, source },
        Attempts::Endless => AwsError::Request { resource, operation, source },
    }
}
