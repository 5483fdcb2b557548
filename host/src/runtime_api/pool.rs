use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use futures_util::future::join_all;
use tokio::sync::{Mutex as AsyncMutex, Notify, oneshot};

use super::{
    BinaryOptions, Measurement, StartError,
    environment::{Ending, Environment},
    state::{Acceptance, Answered, QueuedInvocation},
};
use crate::{Answer, Fate, FunctionError};

/// The environments of a function.
#[derive(Debug)]
pub(super) struct Pool {
    options: Arc<BinaryOptions>,
    inner: Mutex<Inner>,
    /// Held while an environment with several places starts: others wait for these places.
    start: AsyncMutex<()>,
    /// Something that was busy no longer is.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Free places, each with its environment. The one that was used last is used next.
    idle: Vec<Arc<Environment>>,
    /// Each has been given up by the caller, and waits for the next invocation to begin.
    zombies: Vec<(PoolSlot, QueuedInvocation)>,
    /// Environments that have been started, also those whose places are all in use.
    environments: Vec<Weak<Environment>>,
    /// Whether a process has ever asked for an event.
    has_started: bool,
    /// Invocations, zombies included, that are not over.
    busy: usize,
    measurement: Measurement,
}

/// A place in an environment, reserved for an invocation.
#[derive(Debug)]
struct PoolSlot {
    environment: Arc<Environment>,
    request_id: String,
}

/// Counts as busy for as long as it lives, also when its task is cancelled.
struct Busy<'p>(&'p Pool);

impl<'p> Busy<'p> {
    fn new(pool: &'p Pool) -> Self {
        pool.lock().busy += 1;
        Busy(pool)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
        self.0.freed.notify_waiters();
    }
}

impl Pool {
    pub(super) fn new(options: BinaryOptions) -> Self {
        Pool {
            options: Arc::new(options),
            inner: Mutex::default(),
            start: AsyncMutex::default(),
            freed: Notify::new(),
        }
    }

    /// Returns whether an environment may have several invocations at the same time.
    pub(super) fn is_concurrent(&self) -> bool {
        self.options.is_concurrent()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No change to it can be interrupted by a panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn measurement(&self) -> Measurement {
        self.lock().measurement.clone()
    }

    /// Invokes the function in an environment with a free place, or else in a new one.
    pub(super) async fn invoke(
        self: Arc<Self>,
        invocation: QueuedInvocation,
        fate: Fate,
    ) -> Result<Answer, StartError> {
        let _busy = Busy::new(&self);
        let mut place = self.place(&invocation.request_id).await;
        // Not earlier: a cold start would give them a lead over their retry.
        self.release_zombies();
        let answer = loop {
            match place? {
                Err(error) => break Answer::Error(error),
                Ok(ready) if fate == Fate::Zombie => {
                    self.lock().zombies.push((ready, invocation));
                    break Answer::Error(FunctionError::Timeout);
                }
                Ok(ready) => match self.invoke_in(ready, invocation.clone(), fate).await {
                    Some(answer) => break answer,
                    None => place = self.place(&invocation.request_id).await,
                },
            }
        };
        self.lock().measurement.count(&answer);
        Ok(answer)
    }

    /// A place in an environment that has started, or why its start failed.
    async fn place(&self, request_id: &str) -> Result<Result<PoolSlot, FunctionError>, StartError> {
        if let Some(place) = self.idle_place(request_id) {
            return Ok(Ok(place));
        }
        let _start = match self.options.is_concurrent() {
            true => Some(self.start.lock().await),
            false => None,
        };
        match self.idle_place(request_id) {
            Some(place) => Ok(Ok(place)),
            None => self.new_place(request_id).await,
        }
    }

    /// A free place in an environment that has no invocation with this request ID.
    fn idle_place(&self, request_id: &str) -> Option<PoolSlot> {
        loop {
            let environment = {
                let idle = &mut self.lock().idle;
                let position = idle.iter().rposition(|environment| environment.reserve(request_id))?;
                idle.remove(position)
            };
            if !environment.has_ended() {
                return Some(PoolSlot { environment, request_id: request_id.to_owned() });
            }
            environment.release(request_id);
        }
    }

    /// A place in a new environment, whose other places become free.
    async fn new_place(&self, request_id: &str) -> Result<Result<PoolSlot, FunctionError>, StartError> {
        let begun = Instant::now();
        let number = self.lock().measurement.starts + 1;
        let environment = Arc::new(Environment::start(Arc::clone(&self.options), number).await?);
        {
            let mut inner = self.lock();
            inner.measurement.starts += 1;
            inner.environments.retain(|environment| environment.strong_count() > 0);
            inner.environments.push(Arc::downgrade(&environment));
        }
        match environment.init().await {
            Ok(()) => {
                environment.reserve(request_id);
                let mut inner = self.lock();
                inner.measurement.init_took(begun.elapsed());
                inner.has_started = true;
                let others = self.options.concurrency.get() - 1;
                inner.idle.extend(std::iter::repeat_n(&environment, others).cloned());
                Ok(Ok(PoolSlot { environment, request_id: request_id.to_owned() }))
            }
            Err(error) => {
                environment.kill().await;
                match self.lock().has_started {
                    true => Ok(Err(error)),
                    // As good as a program that is not there: every further event would have the same end.
                    false => {
                        // Also what is not quoted is passed on before the error is seen.
                        let last_line = environment.last_line().filter(|_| self.options.quotes_output);
                        Err(StartError::Init { error, last_line })
                    }
                }
            }
        }
    }

    /// Invokes the function in an environment. Returns `None` if the environment ended before the invocation began.
    async fn invoke_in(
        self: &Arc<Self>,
        place: PoolSlot,
        invocation: QueuedInvocation,
        fate: Fate,
    ) -> Option<Answer> {
        let begun = Instant::now();
        let environment = Arc::clone(&place.environment);
        let ending = environment.invoke(invocation).await;
        if !matches!(ending, Ending::NotBegun) {
            let measurement = &mut self.lock().measurement;
            measurement.invocation_took(begun.elapsed());
            measurement.concurrency_was(environment.max_concurrency());
        }
        let error = match ending {
            Ending::NotBegun => return None,
            Ending::Failed(error) => {
                environment.kill().await;
                error
            }
            Ending::Late(answer) => {
                self.wait_for_late_answer(place, answer);
                FunctionError::Timeout
            }
            Ending::Answered(answer, acceptance) => {
                self.lock().measurement.memory_peaked(environment.peak_memory_bytes());
                match fate {
                    Fate::Normal | Fate::Zombie => {
                        self.go_on(place, acceptance);
                        return Some(answer);
                    }
                    Fate::LostResponse => {
                        self.go_on(place, acceptance);
                        FunctionError::LostResponse
                    }
                    Fate::Timeout if self.options.is_concurrent() => {
                        self.go_on(place, acceptance);
                        FunctionError::Timeout
                    }
                    Fate::Timeout => {
                        environment.kill().await;
                        FunctionError::Timeout
                    }
                    Fate::Crash => FunctionError::Crash { how: environment.kill().await },
                }
            }
        };
        Some(Answer::Error(error))
    }

    fn go_on(&self, place: PoolSlot, acceptance: Acceptance) {
        acceptance.accept();
        let PoolSlot { environment, request_id } = place;
        environment.release(&request_id);
        self.lock().idle.push(environment);
    }

    /// Keeps the place of an invocation whose time is up until the process answers. It does not count as busy: it may
    /// never end.
    fn wait_for_late_answer(self: &Arc<Self>, place: PoolSlot, answer: oneshot::Receiver<Answered>) {
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(acceptance) = place.environment.late_answer(answer).await {
                pool.go_on(place, acceptance);
            }
        });
    }

    fn release_zombies(self: &Arc<Self>) {
        let zombies = std::mem::take(&mut self.lock().zombies);
        for (place, invocation) in zombies {
            let pool = Arc::clone(self);
            // Busy from here on, not from when the task first runs.
            self.lock().busy += 1;
            tokio::spawn(async move {
                let _busy = Busy(&pool);
                // Whatever it answers, nobody wants to know any more.
                let _ = pool.invoke_in(place, invocation, Fate::Zombie).await;
            });
        }
    }

    /// Waits for what is running, then ends all environments. Invocations whose time is up are not waited for.
    pub(super) async fn shutdown(self: Arc<Self>) {
        loop {
            // Made first, so that nothing is missed.
            let freed = self.freed.notified();
            if self.lock().busy == 0 {
                break;
            }
            freed.await;
        }
        let environments: Vec<_> = {
            let mut inner = self.lock();
            let environments =
                std::mem::take(&mut inner.environments).iter().filter_map(Weak::upgrade).collect();
            inner.idle.clear();
            inner.zombies.clear();
            environments
        };
        join_all(environments.iter().map(|environment| environment.end())).await;
    }

    /// Kills the environments that are not busy.
    pub(super) fn abandon(&self) {
        let mut inner = self.lock();
        let rest = (std::mem::take(&mut inner.idle), std::mem::take(&mut inner.zombies));
        drop(inner);
        drop(rest);
    }
}
