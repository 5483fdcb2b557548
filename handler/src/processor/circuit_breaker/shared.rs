use std::{
    collections::VecDeque,
    error::Error as _,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, lock::Mutex as AsyncMutex};
use thiserror::Error;
use tokio::time::timeout;

use super::{CircuitBreaker, Outage, Permit, State, probe_time};
use crate::{
    Clock, ProcessError, Record,
    batch::stop::store_panic,
    circuit::{CircuitError, CircuitFuture, CircuitStore, OpenCircuit},
    journal::shorten,
    not_now,
};

/// The error of a call that another environment makes.
#[derive(Debug, Error)]
#[error("circuit is open: another environment tries whether the outage is over")]
struct ProbedElsewhere;

/// More invocations than an environment has at once.
const MAX_REQUESTS: usize = 256;

/// The part of the time of an invocation that a call of the store may take: a quarter.
const PART_OF_TIME: u32 = 4;

/// The longest time that a call of the store may take. Without the store, records are processed all the same.
const MAX_TIME: Duration = Duration::from_secs(2);

/// A circuit that several environments share, and what this one knows of it.
pub(super) struct SharedCircuit {
    store: Arc<dyn CircuitStore>,
    name: String,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Request IDs of the last invocations.
    requests: VecDeque<(String, HasAsked)>,
    /// `until_ms` of the circuit that this environment has read or written last. `None` if it was closed, or is not known.
    until_ms: Option<u64>,
    /// `until_ms` of a circuit that this environment has closed, which could not be written.
    unwritten_close: Option<u64>,
}

/// Whether an invocation has asked the store. It is locked meanwhile: where several user records are processed at once, the others wait
/// for the answer to the first one.
type HasAsked = Arc<AsyncMutex<bool>>;

/// The call of a store.
#[derive(Debug, Clone, Copy)]
enum Call {
    Read,
    Open,
    Claim,
    Close,
}

impl SharedCircuit {
    pub(super) fn new(store: Arc<dyn CircuitStore>, name: String) -> Self {
        SharedCircuit { store, name, known: Mutex::default() }
    }

    /// Returns whether the invocation of a record has asked the store.
    fn has_asked(&self, first: Record<'_>) -> HasAsked {
        let request_id = first.request_id();
        let mut known = self.lock();
        if let Some((_, has_asked)) = known.requests.iter().rev().find(|(known, _)| known == request_id) {
            return Arc::clone(has_asked);
        }
        if known.requests.len() == MAX_REQUESTS {
            known.requests.pop_front();
        }
        let has_asked = HasAsked::default();
        known.requests.push_back((request_id.to_owned(), Arc::clone(&has_asked)));
        has_asked
    }

    /// Returns the circuit; the inner `None` if it is closed, and the outer one if it is not known.
    async fn read(&self, first: Record<'_>) -> Option<Option<OpenCircuit>> {
        let unwritten_close = self.lock().unwritten_close;
        if let Some(until_ms) = unwritten_close {
            self.close_at(first, until_ms).await;
        }
        let id = self.id(first);
        let read = self.call(Call::Read, first, || self.store.read(&id)).await?;
        let mut known = self.lock();
        let read = read.filter(|circuit| known.unwritten_close != Some(circuit.until_ms));
        known.until_ms = read.as_ref().map(|circuit| circuit.until_ms);
        Some(read)
    }

    /// Opens the circuit. Returns whether that is written.
    async fn open(&self, first: Record<'_>, circuit: &OpenCircuit) -> bool {
        let id = self.id(first);
        let is_open = self.call(Call::Open, first, || self.store.open(&id, circuit)).await.is_some();
        if is_open {
            self.lock().until_ms = Some(circuit.until_ms);
        }
        is_open
    }

    /// Claims the right to call the processor until a time. Returns whether another environment has it, or has closed the circuit:
    /// `false` also if that is not known.
    async fn is_claimed_elsewhere(&self, first: Record<'_>, until_ms: u64) -> bool {
        let Some(read_until_ms) = self.lock().until_ms else { return false };
        let id = self.id(first);
        match self.call(Call::Claim, first, || self.store.claim(&id, read_until_ms, until_ms)).await {
            Some(true) => {
                self.lock().until_ms = Some(until_ms);
                false
            }
            Some(false) => true,
            None => false,
        }
    }

    /// Closes the circuit that was claimed.
    async fn close(&self, first: Record<'_>) {
        let Some(until_ms) = self.lock().until_ms.take() else { return };
        // Until it is written, also if this call is cancelled.
        self.lock().unwritten_close = Some(until_ms);
        self.close_at(first, until_ms).await;
    }

    async fn close_at(&self, first: Record<'_>, until_ms: u64) {
        let id = self.id(first);
        if self.call(Call::Close, first, || self.store.close(&id, until_ms)).await.is_some() {
            let mut known = self.lock();
            known.unwritten_close = known.unwritten_close.filter(|unwritten| *unwritten != until_ms);
        }
    }

    fn id(&self, first: Record<'_>) -> String {
        format!("{}#circuit#{}", first.parts().invocation.application, self.name)
    }

    /// Calls the store. `None`, after a warning, if it fails: the state of the environment counts.
    async fn call<'f, T>(
        &self,
        call: Call,
        first: Record<'_>,
        send: impl FnOnce() -> CircuitFuture<'f, T>,
    ) -> Option<T> {
        // The time limit is inside of the guard, because a future may panic when it is cancelled.
        let limited = async {
            let sent = async { send().await };
            let time = first.remaining_time().map_or(MAX_TIME, |time| MAX_TIME.min(time / PART_OF_TIME));
            timeout(time, sent).await.unwrap_or(Err(CircuitError::OutOfTime))
        };
        let result = AssertUnwindSafe(limited).catch_unwind().await;
        let result = result.unwrap_or_else(|panic| Err(CircuitError::Store { source: store_panic(&*panic) }));
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let text = match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        let call = format!("{call:?}").to_lowercase();
        tracing::warn!(circuit = self.name, call, error = text, "circuit is not shared");
        None
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing that can panic runs while it is locked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedCircuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCircuit").field("name", &self.name).field("store", &self.store).finish()
    }
}

impl<P> CircuitBreaker<P> {
    /// Decides whether the processor is called. `first` is the first user record of the call.
    pub(super) async fn admit<'a>(&'a self, first: Record<'a>) -> Result<Permit<'a, P>, ProcessError> {
        let Some(shared) = &self.shared else { return self.admit_here(first) };
        {
            let has_asked = shared.has_asked(first);
            let mut has_asked = has_asked.lock().await;
            if !*has_asked {
                self.synchronize(shared, first).await;
                *has_asked = true;
            }
        }
        let mut permit = self.admit_here(first)?;
        if !permit.is_probe {
            return Ok(permit);
        }
        // If the call takes longer, another environment tries it as well, which does no harm.
        let until_ms = permit.clock.epoch_ms().saturating_add(milliseconds(self.open_time));
        if shared.is_claimed_elsewhere(first, until_ms).await {
            // The next invocation reads what has become of it.
            permit.end_probe(self.open_time);
            return Err(not_now(ProbedElsewhere));
        }
        // The claim has taken a part of it.
        permit.time = probe_time(first);
        Ok(permit)
    }

    /// Takes over the state that the store has, or writes the one that it does not have yet.
    async fn synchronize(&self, shared: &SharedCircuit, first: Record<'_>) {
        let clock = &*first.parts().invocation.clock;
        if self.is_open_here_only(clock) {
            return self.share(shared, first).await;
        }
        let Some(read) = shared.read(first).await else { return };
        let (now, now_ms) = (clock.instant(), clock.epoch_ms());
        // Clocks differ, and this environment would not wait for longer.
        let after = |ms: u64| now + Duration::from_millis(ms.saturating_sub(now_ms)).min(self.open_time);
        let before = |ms: u64| now.checked_sub(Duration::from_millis(now_ms.saturating_sub(ms)));
        let mut state = self.lock();
        let was_closed = matches!(*state, State::Closed { .. });
        match (&*state, read) {
            // A call of this environment decides, or it knows of an outage that the store does not know of.
            (State::HalfOpen { .. } | State::Open { is_shared: false, .. }, _) => {}
            (State::Closed { .. }, None) => {}
            (State::Open { .. }, None) => {
                *state = State::CLOSED;
                drop(state);
                tracing::info!("circuit closed by another environment");
            }
            (State::Closed { .. } | State::Open { .. }, Some(OpenCircuit { since_ms, until_ms, error })) => {
                let outage = Outage { since: before(since_ms).unwrap_or(now), error: error.into() };
                let text = Arc::clone(&outage.error);
                *state = State::Open { until: after(until_ms), outage, is_shared: true };
                drop(state);
                if was_closed {
                    tracing::warn!(error = &*text, "circuit opened by another environment");
                }
            }
        }
    }

    /// Returns whether the circuit is open, and the store does not know.
    fn is_open_here_only(&self, clock: &dyn Clock) -> bool {
        match &*self.lock() {
            State::Open { is_shared: false, until, .. } => clock.instant() < *until,
            _ => false,
        }
    }

    /// Writes the state if the circuit is open and the store does not know.
    async fn share(&self, shared: &SharedCircuit, first: Record<'_>) {
        let clock = &*first.parts().invocation.clock;
        let (now, now_ms) = (clock.instant(), clock.epoch_ms());
        let (circuit, written_until) = match &*self.lock() {
            State::Open { is_shared: false, until, outage } => {
                let left = milliseconds(until.saturating_duration_since(now));
                let since = milliseconds(now.saturating_duration_since(outage.since));
                let circuit = OpenCircuit {
                    since_ms: now_ms.saturating_sub(since),
                    until_ms: now_ms.saturating_add(left),
                    error: shorten(&outage.error),
                };
                (circuit, *until)
            }
            _ => return,
        };
        if shared.open(first, &circuit).await
            && let State::Open { is_shared, until, .. } = &mut *self.lock()
        {
            *is_shared = *until == written_until;
        }
    }

    /// Writes what a call has changed, if the state is shared.
    pub(super) async fn note_outcome(&self, first: Record<'_>, is_closed: bool) {
        match &self.shared {
            Some(shared) if is_closed => shared.close(first).await,
            Some(shared) => self.share(shared, first).await,
            None => {}
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
