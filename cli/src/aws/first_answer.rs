use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::config::{
    interceptors::InterceptorContext,
    retry::{ClassifyRetry, RetryAction},
};

use crate::output::note::note;

/// Time in which a service has to answer its first request; a retry that is due later is not made.
const TIME: Duration = Duration::from_secs(3);

/// A rule for the SDK's own retries: none of a service that does not answer at all, because region, endpoint or
/// credentials are likely wrong.
#[derive(Debug, Default)]
pub(super) struct FirstAnswer {
    has_come: AtomicBool,
    /// Time of the first failure. The SDK asks more than once about a failure, so they are not counted.
    first_failure: OnceLock<Instant>,
}

impl FirstAnswer {
    /// Returns the time of the first failure. If the service has not answered, a note says why the command waits.
    fn first_failure(&self, context: &InterceptorContext) -> Instant {
        *self.first_failure.get_or_init(|| {
            if context.response().is_none() {
                note(format_args!("DynamoDB does not answer; retrying for up to {} seconds", TIME.as_secs()));
            }
            Instant::now()
        })
    }
}

impl ClassifyRetry for FirstAnswer {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        if !context.is_failed() {
            self.has_come.store(true, Ordering::Relaxed);
        }
        let is_awaited = !self.has_come.load(Ordering::Relaxed);
        if is_awaited && self.first_failure(context).elapsed() >= TIME {
            return RetryAction::RetryForbidden;
        }
        RetryAction::NoActionIndicated
    }

    fn name(&self) -> &'static str {
        "first answer"
    }
}
