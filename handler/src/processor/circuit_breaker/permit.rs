use std::{sync::Arc, thread, time::Duration};

use thiserror::Error;
use tokio::time::{Instant, timeout};

use super::{CircuitBreaker, Outage, State};
use crate::{Clock, ProcessError, not_now};

/// The error of a call that has taken all of its time.
#[derive(Debug, Error)]
#[error("processor did not finish in the time of the invocation")]
struct TimeOver;

/// The answer to a call that has failed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    AsItIs,
    NotNow,
}

impl Answer {
    pub(super) fn apply<P>(self, breaker: &CircuitBreaker<P>, error: ProcessError) -> ProcessError {
        match self {
            Answer::NotNow if (breaker.is_failure)(&error) => error.into_not_now(),
            Answer::NotNow | Answer::AsItIs => error,
        }
    }
}

/// A permission to call the processor. Dropped without an outcome, the call has panicked or was cancelled.
pub(super) struct Permit<'a, P> {
    pub(super) breaker: &'a CircuitBreaker<P>,
    pub(super) clock: &'a dyn Clock,
    /// Arrival of the invocation.
    pub(super) arrived: Instant,
    pub(super) is_probe: bool,
    /// The time that the call may take. `None` if the deadline guard alone decides.
    pub(super) time: Option<Duration>,
    /// Whether the outcome is not known yet.
    pub(super) is_open: bool,
    /// Whether the processor is called.
    pub(super) is_called: bool,
}

impl<P> Permit<'_, P> {
    pub(super) async fn in_time<T>(
        &mut self,
        call: impl Future<Output = Result<T, ProcessError>>,
    ) -> Result<T, ProcessError> {
        self.is_called = true;
        match self.time {
            Some(time) => timeout(time, call).await.unwrap_or_else(|_| Err(not_now(TimeOver))),
            None => call.await,
        }
    }

    /// Notes a call that has succeeded. Returns whether it has closed the circuit.
    pub(super) fn succeed(mut self) -> bool {
        self.is_open = false;
        let mut state = self.breaker.lock();
        match *state {
            State::Closed { failures: 0, .. } => {}
            State::Closed { .. } => *state = State::CLOSED,
            State::HalfOpen { .. } if self.is_probe => {
                *state = State::CLOSED;
                drop(state);
                tracing::info!("circuit closed");
                return true;
            }
            // A call of before the outage.
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
        false
    }

    /// Notes an error of the processor, and returns what is answered in its place.
    pub(super) fn fail(mut self, error: &ProcessError) -> Answer {
        // Both are the processor's code: if it panics, the call has ended without an outcome.
        let text = (self.breaker.is_failure)(error).then(|| error.to_string().into());
        self.is_open = false;
        if let Some(text) = text {
            return self.note_failure(text, None);
        }
        // The next record is let through at once, because this one says nothing.
        self.end_probe(Duration::ZERO);
        Answer::AsItIs
    }

    /// Notes a failure with this text, for calls that were cancelled with the arrival of their invocation.
    fn note_failure(&self, error: Arc<str>, cancelled: Option<Instant>) -> Answer {
        let breaker = self.breaker;
        let now = self.clock.instant();
        let mut state = breaker.lock();
        let outage = match &*state {
            State::Closed { cancelled: last, .. } if cancelled.is_some() && *last == cancelled => {
                return Answer::AsItIs;
            }
            State::Closed { failures, .. } if failures + 1 < breaker.max_failures.get() => {
                *state = State::Closed { failures: failures + 1, cancelled };
                return Answer::AsItIs;
            }
            State::Closed { .. } => Outage { since: now, error },
            State::HalfOpen { outage } if self.is_probe => Outage { since: outage.since, error },
            // A call of before the outage.
            State::Open { .. } | State::HalfOpen { .. } => return Answer::NotNow,
        };
        let answer = match breaker.max_outage {
            Some(max) if now.duration_since(outage.since) >= max => Answer::AsItIs,
            _ => Answer::NotNow,
        };
        let (error, is_first) = (Arc::clone(&outage.error), !self.is_probe);
        *state = State::Open { until: now + breaker.open_time, outage, is_shared: false };
        drop(state);
        if is_first {
            tracing::warn!(
                failures = breaker.max_failures.get(),
                openSeconds = breaker.open_time.as_secs_f64(),
                error = &*error,
                "circuit opened"
            );
        }
        answer
    }

    /// Ends a probe without an answer.
    pub(super) fn end_probe(&self, open_time: Duration) {
        let mut state = self.breaker.lock();
        if self.is_probe
            && let State::HalfOpen { outage } = &*state
        {
            let outage = outage.clone();
            // The store has it as it was before the probe.
            *state = State::Open { until: self.clock.instant() + open_time, outage, is_shared: true };
        }
    }
}

impl<P> Drop for Permit<'_, P> {
    fn drop(&mut self) {
        match self.is_open {
            true if thread::panicking() || !self.is_called => self.end_probe(Duration::ZERO),
            true => {
                self.note_failure(TimeOver.to_string().into(), Some(self.arrived));
            }
            false => {}
        }
    }
}
