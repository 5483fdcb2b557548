use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::{
    BinaryOptions, Measurement, StartError,
    environment::{Ending, Environment},
    state::{Acceptance, Invocation},
};
use crate::{Answer, Fate, FunctionError};

/// The environments of a function.
#[derive(Debug)]
pub(super) struct Pool {
    options: Arc<BinaryOptions>,
    inner: Mutex<Inner>,
    /// Something that was busy no longer is.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// The one that was used last is used next.
    idle: Vec<Environment>,
    /// Each has been given up by the caller, and waits for the next invocation to begin.
    zombies: Vec<(Environment, Invocation)>,
    /// Invocations, zombies included, that are not over.
    busy: usize,
    measurement: Measurement,
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
        Pool { options: Arc::new(options), inner: Mutex::default(), freed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No change to it can be interrupted by a panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn measurement(&self) -> Measurement {
        self.lock().measurement.clone()
    }

    /// Invokes the function in an idle environment, or else in a new one.
    pub(super) async fn invoke(
        self: Arc<Self>,
        invocation: Invocation,
        fate: Fate,
    ) -> Result<Answer, StartError> {
        let _busy = Busy::new(&self);
        let mut environment = self.environment().await;
        // Not earlier: a cold start would give them a lead over their retry.
        self.release_zombies();
        let answer = loop {
            match environment? {
                Err(error) => break Answer::Error(error),
                Ok(ready) if fate == Fate::Zombie => {
                    self.lock().zombies.push((ready, invocation));
                    break Answer::Error(FunctionError::Timeout);
                }
                Ok(ready) => match self.invoke_in(ready, invocation.clone(), fate).await {
                    Some(answer) => break answer,
                    None => environment = self.environment().await,
                },
            }
        };
        self.lock().measurement.count(&answer);
        Ok(answer)
    }

    /// An environment whose process waits for an event, or why its start failed.
    async fn environment(&self) -> Result<Result<Environment, FunctionError>, StartError> {
        loop {
            // A statement of its own, so that the lock is not held any longer.
            let idle = self.lock().idle.pop();
            let Some(mut idle) = idle else { break };
            if !idle.has_ended() {
                return Ok(Ok(idle));
            }
        }
        let begun = Instant::now();
        let number = self.lock().measurement.starts + 1;
        let mut environment = Environment::start(Arc::clone(&self.options), number).await?;
        self.lock().measurement.starts += 1;
        match environment.init().await {
            Ok(()) => {
                self.lock().measurement.init_took(begun.elapsed());
                Ok(Ok(environment))
            }
            Err(error) => {
                environment.kill().await;
                Ok(Err(error))
            }
        }
    }

    /// Invokes the function in an environment. Returns `None` if the environment ended before the invocation began.
    async fn invoke_in(
        &self,
        mut environment: Environment,
        invocation: Invocation,
        fate: Fate,
    ) -> Option<Answer> {
        let begun = Instant::now();
        let ending = environment.invoke(invocation).await;
        if !matches!(ending, Ending::NotBegun) {
            self.lock().measurement.invocation_took(begun.elapsed());
        }
        let error = match ending {
            Ending::NotBegun => return None,
            Ending::Failed(error) => {
                environment.kill().await;
                error
            }
            Ending::Answered(answer, acceptance) => {
                self.lock().measurement.memory_peaked(environment.peak_memory_bytes());
                match fate {
                    Fate::Normal | Fate::Zombie => {
                        self.go_on(environment, acceptance);
                        return Some(answer);
                    }
                    Fate::LostResponse => {
                        self.go_on(environment, acceptance);
                        FunctionError::LostResponse
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

    fn go_on(&self, environment: Environment, acceptance: Acceptance) {
        acceptance.accept();
        self.lock().idle.push(environment);
    }

    fn release_zombies(self: &Arc<Self>) {
        let zombies = std::mem::take(&mut self.lock().zombies);
        for (environment, invocation) in zombies {
            let pool = Arc::clone(self);
            // Busy from here on, not from when the task first runs.
            self.lock().busy += 1;
            tokio::spawn(async move {
                let _busy = Busy(&pool);
                // Whatever it answers, nobody wants to know any more.
                let _ = pool.invoke_in(environment, invocation, Fate::Zombie).await;
            });
        }
    }

    /// Waits for what is running, then ends all environments.
    pub(super) async fn shutdown(self: Arc<Self>) {
        loop {
            // Made first, so that nothing is missed.
            let freed = self.freed.notified();
            if self.lock().busy == 0 {
                break;
            }
            freed.await;
        }
        let (idle, zombies) = {
            let mut inner = self.lock();
            (std::mem::take(&mut inner.idle), std::mem::take(&mut inner.zombies))
        };
        let zombies = zombies.into_iter().map(|(environment, _)| environment);
        join_all(idle.into_iter().chain(zombies).map(Environment::end)).await;
    }

    /// Kills the environments that are not busy.
    pub(super) fn abandon(&self) {
        let mut inner = self.lock();
        let rest = (std::mem::take(&mut inner.idle), std::mem::take(&mut inner.zombies));
        drop(inner);
        drop(rest);
    }
}
