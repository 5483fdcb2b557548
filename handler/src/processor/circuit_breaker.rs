use std::{
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use thiserror::Error;
use tokio::time::{Instant, timeout};

use crate::{ChunkOutcome, ChunkProcessor, Clock, ProcessError, Record, RecordProcessor, not_now};

/// The part of a probe's time that is left for its answer, at most: the deadline guard would count an interrupted probe as an
/// attempt.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// A processor that stops calling another one while something that every record needs is down, so that an outage costs no record
/// its attempts.
///
/// - **Closed**: user records go to the processor. After a number of failures in a row the circuit opens.
/// - **Open**: each call is answered with [`not_now`], which stops the batch at the record, without calling the processor.
/// - **Half-open**: after a time one user record (or chunk) is let through, and others are answered with `not_now`. If the record
///   is processed, the circuit closes; if it fails, the circuit is open for the same time again.
///
/// A failure is an error that is not permanent, or a call that is cancelled because its time is over; all calls that are cancelled
/// at the end of an invocation are one failure. A permanent error and a panic are about the record: they neither open nor close the
/// circuit. The failure that opens the circuit, and that of the
/// record which is let through, are answered with `not_now`, so an outage counts one attempt less than the number of
/// failures that open the circuit.
///
/// The state belongs to the environment: each new one begins with a closed circuit. The mapping counts each stopped batch as a
/// retry of its own: it needs `MaximumRetryAttempts: -1` (or thousands), and a `MaximumRecordAgeInSeconds` longer than the outage.
///
/// **A record that never succeeds**, and whose error is retryable, looks like an outage if no other record is processed in
/// between: it keeps the circuit open until the mapping discards it. Make such errors permanent, exclude them with
/// [`failures_if`](Self::failures_if), or limit the time with [`max_outage`](Self::max_outage).
///
/// ```no_run
/// use std::time::Duration;
///
/// use kinesis_handler::{CircuitBreaker, Classify, ProcessError, Record, run};
///
/// # async fn store(_: &str) -> Result<(), std::io::Error> { Ok(()) }
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     store(record.text()?).await.retryable()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kinesis_handler::Error> {
/// run(CircuitBreaker::new(process).max_failures(3).open_time(Duration::from_secs(30))).await
/// # }
/// ```
///
/// It goes around a chunk processor inside the [`Chunks`](crate::Chunks): `Chunks::new(CircuitBreaker::new(process))`.
#[must_use]
pub struct CircuitBreaker<P> {
    processor: P,
    max_failures: NonZeroU32,
    open_time: Duration,
    max_outage: Option<Duration>,
    is_failure: Box<dyn Fn(&ProcessError) -> bool + Send + Sync>,
    state: Mutex<State>,
}

/// The state of a [`CircuitBreaker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// User records go to the processor.
    Closed,
    /// Calls are answered with [`not_now`] until the time is over.
    Open,
    /// One user record or chunk is in flight, and decides about the others.
    HalfOpen,
}

#[derive(Debug)]
enum State {
    Closed {
        failures: u32,
        /// Arrival of the invocation whose end was the last failure: all calls that it has cancelled are one.
        cancelled: Option<Instant>,
    },
    Open {
        until: Instant,
        outage: Outage,
    },
    /// A probe is in flight.
    HalfOpen {
        outage: Outage,
    },
}

impl State {
    const CLOSED: Self = State::Closed { failures: 0, cancelled: None };
}

/// The time since which a circuit is not closed, and the text of the last failure.
#[derive(Debug, Clone)]
struct Outage {
    since: Instant,
    error: Arc<str>,
}

/// The error of a call that is not made.
#[derive(Debug, Error)]
#[error("circuit is open: {0}")]
struct CircuitOpen(Arc<str>);

/// The error of a call that has taken all of its time.
#[derive(Debug, Error)]
#[error("processor did not finish in the time of the invocation")]
struct TimeOver;

impl<P> CircuitBreaker<P> {
    /// Default of [`max_failures`](Self::max_failures).
    pub const DEFAULT_MAX_FAILURES: NonZeroU32 = NonZeroU32::new(3).expect("not zero");

    /// Default of [`open_time`](Self::open_time).
    pub const DEFAULT_OPEN_TIME: Duration = Duration::from_secs(30);

    /// Returns a closed circuit before a processor, with the defaults.
    pub fn new(processor: P) -> Self {
        CircuitBreaker {
            processor,
            max_failures: Self::DEFAULT_MAX_FAILURES,
            open_time: Self::DEFAULT_OPEN_TIME,
            max_outage: None,
            is_failure: Box::new(|error| !error.is_permanent()),
            state: Mutex::new(State::CLOSED),
        }
    }

    /// Sets the number of failures in a row that open the circuit, by default 3. With the quarantine, its number of attempts must be
    /// greater.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn max_failures(mut self, failures: u32) -> Self {
        self.max_failures = NonZeroU32::new(failures).expect("a circuit opens after at least one failure");
        self
    }

    /// Sets the time for which the circuit is open before a user record is let through, by default 30 seconds.
    pub fn open_time(mut self, time: Duration) -> Self {
        self.open_time = time;
        self
    }

    /// Sets the time after which the record is suspected in place of an outage: from then on, the failures of user records that are
    /// let through are answered as they are, so they count as attempts. By default there is none.
    pub fn max_outage(mut self, time: Duration) -> Self {
        self.max_outage = Some(time);
        self
    }

    /// Sets which errors mean that something is down, by default all that are not permanent. The others neither open nor close the
    /// circuit.
    pub fn failures_if(mut self, is_failure: impl Fn(&ProcessError) -> bool + Send + Sync + 'static) -> Self {
        self.is_failure = Box::new(is_failure);
        self
    }

    /// Returns the state. The circuit is open until a call finds that the time is over.
    pub fn state(&self) -> CircuitState {
        match *self.lock() {
            State::Closed { .. } => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// Returns the processor.
    pub fn get_ref(&self) -> &P {
        &self.processor
    }

    /// Returns the processor without the circuit.
    pub fn into_inner(self) -> P {
        self.processor
    }

    /// Decides whether the processor is called. `first` is the first user record of the call.
    fn admit<'a>(&'a self, first: Record<'a>) -> Result<Permit<'a, P>, ProcessError> {
        let invocation = first.parts().invocation;
        let clock = &*invocation.clock;
        let mut state = self.lock();
        let is_probe = match &*state {
            State::Closed { .. } => false,
            State::Open { until, outage } if *until <= clock.instant() => {
                let outage = outage.clone();
                *state = State::HalfOpen { outage };
                true
            }
            State::Open { outage, .. } | State::HalfOpen { outage } => {
                return Err(not_now(CircuitOpen(Arc::clone(&outage.error))));
            }
        };
        // An interrupted probe would count as an attempt.
        let time = first.remaining_time().filter(|_| is_probe);
        let time = time.map(|remaining| remaining.saturating_sub(ANSWER_TIME.min(remaining / 10)));
        Ok(Permit { breaker: self, clock, arrived: invocation.arrived, is_probe, time, is_open: true })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: RecordProcessor> RecordProcessor for CircuitBreaker<P> {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let permit = self.admit(record)?;
        match permit.in_time(self.processor.process(record)).await {
            Ok(()) => {
                permit.succeed();
                Ok(())
            }
            Err(error) => Err(permit.fail(&error).apply(self, error)),
        }
    }
}

impl<P: ChunkProcessor> ChunkProcessor for CircuitBreaker<P> {
    async fn process(&self, chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
        let Some(&first) = chunk.first() else { return Ok(ChunkOutcome::Processed) };
        let permit = self.admit(first)?;
        match permit.in_time(self.processor.process(chunk)).await {
            Ok(ChunkOutcome::Processed) => {
                permit.succeed();
                Ok(ChunkOutcome::Processed)
            }
            Ok(ChunkOutcome::ProcessedUpTo { records, error }) => {
                let error = permit.fail(&error).apply(self, error);
                Ok(ChunkOutcome::ProcessedUpTo { records, error })
            }
            Ok(ChunkOutcome::Each(results)) => {
                let failed = results.iter().filter_map(|result| result.as_ref().err());
                let answer = match failed.max_by_key(|&error| (self.is_failure)(error)) {
                    Some(error) => permit.fail(error),
                    None => {
                        permit.succeed();
                        Answer::AsItIs
                    }
                };
                let results =
                    results.into_iter().map(|result| result.map_err(|error| answer.apply(self, error)));
                Ok(ChunkOutcome::Each(results.collect()))
            }
            Err(error) => Err(permit.fail(&error).apply(self, error)),
        }
    }
}

/// The answer to a call that has failed.
#[derive(Debug, Clone, Copy)]
enum Answer {
    AsItIs,
    NotNow,
}

impl Answer {
    fn apply<P>(self, breaker: &CircuitBreaker<P>, error: ProcessError) -> ProcessError {
        match self {
            Answer::NotNow if (breaker.is_failure)(&error) => error.into_not_now(),
            Answer::NotNow | Answer::AsItIs => error,
        }
    }
}

/// A permission to call the processor. Dropped without an outcome, the call has panicked or was cancelled.
struct Permit<'a, P> {
    breaker: &'a CircuitBreaker<P>,
    clock: &'a dyn Clock,
    /// Arrival of the invocation.
    arrived: Instant,
    is_probe: bool,
    /// The time that the call may take. `None` if the deadline guard alone decides.
    time: Option<Duration>,
    /// Whether the outcome is not known yet.
    is_open: bool,
}

impl<P> Permit<'_, P> {
    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, ProcessError>>,
    ) -> Result<T, ProcessError> {
        match self.time {
            Some(time) => timeout(time, call).await.unwrap_or_else(|_| Err(not_now(TimeOver))),
            None => call.await,
        }
    }

    fn succeed(mut self) {
        self.is_open = false;
        let mut state = self.breaker.lock();
        match *state {
            State::Closed { failures: 0, .. } => {}
            State::Closed { .. } => *state = State::CLOSED,
            State::HalfOpen { .. } if self.is_probe => {
                *state = State::CLOSED;
                drop(state);
                tracing::info!("circuit closed");
            }
            // A call of before the outage.
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    /// Notes an error of the processor, and returns what is answered in its place.
    fn fail(mut self, error: &ProcessError) -> Answer {
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
        *state = State::Open { until: now + breaker.open_time, outage };
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
    fn end_probe(&self, open_time: Duration) {
        let mut state = self.breaker.lock();
        if self.is_probe
            && let State::HalfOpen { outage } = &*state
        {
            let outage = outage.clone();
            *state = State::Open { until: self.clock.instant() + open_time, outage };
        }
    }
}

impl<P> Drop for Permit<'_, P> {
    fn drop(&mut self) {
        match self.is_open {
            true if thread::panicking() => self.end_probe(Duration::ZERO),
            true => {
                self.note_failure(TimeOver.to_string().into(), Some(self.arrived));
            }
            false => {}
        }
    }
}

impl<P: fmt::Debug> fmt::Debug for CircuitBreaker<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("processor", &self.processor)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
