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

impl ClassifyRetry for FirstAnswer {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        if !context.is_failed() {
            self.has_come.store(true, Ordering::Relaxed);
        }
        let is_awaited = !self.has_come.load(Ordering::Relaxed);
        if is_awaited && self.first_failure.get_or_init(Instant::now).elapsed() >= TIME {
            return RetryAction::RetryForbidden;
        }
        RetryAction::NoActionIndicated
    }

    fn name(&self) -> &'static str {
        "first answer"
    }
}
