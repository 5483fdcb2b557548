use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    time::Duration,
};

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use tokio::time::{sleep, timeout};

use super::{ApiFailure, AwsError, Backoff};
use crate::output::{meter, note::note};

/// Number of times that a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempts {
    /// A few times.
    Few,
    /// A few times if the service does not answer, and for half a minute if it refuses: one of many items must not stop
    /// the others.
    Bounded,
    /// As long as it takes, once the service has answered a request: until then a few times, because the configuration
    /// is likely wrong.
    Endless,
}

const FEW: u32 = 3;

/// With the delays between them, half a minute.
const BOUNDED: u32 = 8;

/// Time for an answer while the service has not answered any request.
const FIRST_ANSWER_TIME: Duration = Duration::from_secs(10);

/// A sender of requests that repeats those that fail for a while.
///
/// It does not look for signals: whoever waits for it drops it.
#[derive(Debug, Default)]
pub(crate) struct Repeater {
    has_answered: Cell<bool>,
    /// Kinds of failures that were reported on standard error.
    noted: RefCell<HashSet<String>>,
}

impl Repeater {
    /// Sends the request until it is answered, or fails in a way that will not pass. The error says what the request
    /// was about.
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
        self.upload(resource, operation, attempts, Duration::ZERO, request).await
    }

    /// Does the same as [`request`](Self::request) for a request whose body takes this time on a slow line.
    pub(crate) async fn upload<T, E, F>(
        &self,
        resource: &str,
        operation: &'static str,
        attempts: Attempts,
        upload_time: Duration,
        request: impl Fn() -> F,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let resource = resource.to_owned();
        if self.has_answered.get() && attempts == Attempts::Endless {
            let answer = self.send(operation, |_, _| false, None, request).await;
            return answer.map_err(|source| AwsError::Request { resource, operation, source });
        }
        let is_last = |attempt, failure: &ApiFailure| match attempts {
            Attempts::Bounded if !failure.is_unanswered() => attempt >= BOUNDED,
            _ => attempt >= FEW,
        };
        let waits_for_first = !self.has_answered.get() || attempts == Attempts::Few;
        let time = waits_for_first.then_some(FIRST_ANSWER_TIME + upload_time);
        let answer = self.send(operation, is_last, time, request).await;
        answer.map_err(|source| AwsError::Unusable { resource, operation, source })
    }

    /// Sends the request until `is_last` says so of an attempt, or until one of them has no answer in this time.
    async fn send<T, E, F>(
        &self,
        operation: &'static str,
        is_last: impl Fn(u32, &ApiFailure) -> bool,
        time: Option<Duration>,
        request: impl Fn() -> F,
    ) -> Result<T, ApiFailure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let mut backoff = Backoff::new();
        let mut attempt = 1;
        let mut _waiting = None;
        loop {
            let answer = match time {
                None => request().await,
                Some(time) => match timeout(time, request()).await {
                    Ok(answer) => answer,
                    Err(_) => return Err(ApiFailure::no_answer_within(time)),
                },
            };
            let failure = match answer {
                Ok(answer) => {
                    self.has_answered.set(true);
                    return Ok(answer);
                }
                Err(error) => ApiFailure::from(error),
            };
            if !failure.is_transient() || is_last(attempt, &failure) {
                return Err(failure);
            }
            if self.noted.borrow_mut().insert(failure.kind().to_owned()) {
                note(format_args!("{operation}: {failure}; retrying (further retries are not reported)"));
            }
            attempt += 1;
            let since = _waiting.take();
            _waiting = since.or_else(|| Some(meter::wait(format!("{operation}: {failure}"))));
            sleep(backoff.next_delay()).await;
        }
    }
}
