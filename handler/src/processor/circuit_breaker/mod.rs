mod permit;
mod shared;

use std::{
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::time::Instant;

use crate::{
    ChunkOutcome, ChunkProcessor, ProcessError, Record, RecordProcessor, circuit::CircuitStore, not_now,
};
use permit::{Answer, Permit};
use shared::SharedCircuit;

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
/// The state belongs to the environment: each new one begins with a closed circuit, unless a [store](Self::shared_in) shares it. The
/// mapping counts each stopped batch as a
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
    shared: Option<SharedCircuit>,
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
        /// Whether the store that shares the state has it.
        is_shared: bool,
    },
    /// A probe is in flight.
    HalfOpen { outage: Outage },
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
            shared: None,
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

    /// Shares the state with other environments, under this name within the application of the options
    /// (`KINESIS_HANDLER_APPLICATION`). By default each environment has a state of its own.
    ///
    /// The store is read once in an invocation, at its first user record. A circuit that opens is open in all environments, and
    /// when the time is over, the one that claims it lets a user record through. If the store fails, the state of the environment
    /// counts, and a warning is logged.
    pub fn shared_in(mut self, store: Arc<dyn CircuitStore>, name: impl Into<String>) -> Self {
        self.shared = Some(SharedCircuit::new(store, name.into()));
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

    /// Decides by the state of this environment.
    fn admit_here<'a>(&'a self, first: Record<'a>) -> Result<Permit<'a, P>, ProcessError> {
        let invocation = first.parts().invocation;
        let clock = &*invocation.clock;
        let mut state = self.lock();
        let is_probe = match &*state {
            State::Closed { .. } => false,
            State::Open { until, outage, .. } if *until <= clock.instant() => {
                let outage = outage.clone();
                *state = State::HalfOpen { outage };
                true
            }
            State::Open { outage, .. } | State::HalfOpen { outage } => {
                return Err(not_now(CircuitOpen(Arc::clone(&outage.error))));
            }
        };
        let time = if is_probe { probe_time(first) } else { None };
        let arrived = invocation.arrived;
        Ok(Permit { breaker: self, clock, arrived, is_probe, time, is_open: true, is_called: false })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the time that a probe may take. One that the deadline guard interrupts would count as an attempt.
fn probe_time(first: Record<'_>) -> Option<Duration> {
    first.remaining_time().map(|remaining| remaining.saturating_sub(ANSWER_TIME.min(remaining / 10)))
}

impl<P: RecordProcessor> RecordProcessor for CircuitBreaker<P> {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let mut permit = self.admit(record).await?;
        match permit.in_time(self.processor.process(record)).await {
            Ok(()) => {
                if permit.succeed() {
                    self.note_outcome(record, true).await;
                }
                Ok(())
            }
            Err(error) => {
                let error = permit.fail(&error).apply(self, error);
                self.note_outcome(record, false).await;
                Err(error)
            }
        }
    }
}

impl<P: ChunkProcessor> ChunkProcessor for CircuitBreaker<P> {
    async fn process(&self, chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
        let Some(&first) = chunk.first() else { return Ok(ChunkOutcome::Processed) };
        let mut permit = self.admit(first).await?;
        let mut is_closed = false;
        let outcome = match permit.in_time(self.processor.process(chunk)).await {
            Ok(ChunkOutcome::Processed) => {
                is_closed = permit.succeed();
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
                        is_closed = permit.succeed();
                        Answer::AsItIs
                    }
                };
                let results =
                    results.into_iter().map(|result| result.map_err(|error| answer.apply(self, error)));
                Ok(ChunkOutcome::Each(results.collect()))
            }
            Err(error) => Err(permit.fail(&error).apply(self, error)),
        };
        self.note_outcome(first, is_closed).await;
        outcome
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
