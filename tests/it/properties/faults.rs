//! The faults in the calls of a store.

use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::sleep;

use super::plan::StoreFault;

/// The progress of the world. The stores are the only ones that have to know it on another thread, as far as types go.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) completions: AtomicUsize,
    pub(super) steps: AtomicUsize,
    /// The one of the world's invocations is at work at this moment, counted from zero.
    pub(super) invocation: AtomicUsize,
    /// The last invocation that has written to the quarantine, counted from one.
    pub(super) quarantining: AtomicUsize,
}

/// A moment of the world, as the stores and the processor see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) completions: usize,
    pub(super) steps: usize,
}

impl Progress {
    pub(super) fn now(&self) -> Moment {
        Moment {
            completions: self.completions.load(Ordering::Relaxed),
            steps: self.steps.load(Ordering::Relaxed),
        }
    }

    pub(super) fn invocation(&self) -> usize {
        self.invocation.load(Ordering::Relaxed)
    }

    /// Notes that an invocation writes to the quarantine.
    pub(super) fn begin_quarantine(&self, invocation: usize) {
        self.quarantining.store(invocation + 1, Ordering::Relaxed);
    }

    pub(super) fn has_quarantined(&self, invocation: usize) -> bool {
        self.quarantining.load(Ordering::Relaxed) == invocation + 1
    }
}

/// Faults of one call after the other, and over again.
#[derive(Debug)]
pub(super) struct FaultSchedule {
    faults: Vec<StoreFault>,
    calls: AtomicUsize,
}

impl FaultSchedule {
    pub(super) fn new(faults: Vec<StoreFault>) -> Self {
        FaultSchedule { faults, calls: AtomicUsize::new(0) }
    }

    pub(super) fn next(&self) -> StoreFault {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.faults.len() {
            0 => StoreFault::None,
            faults => self.faults[call % faults],
        }
    }
}

/// The answer of a call that has this fault; `None` if that is an error.
pub(super) async fn answer<T: Send + 'static>(
    fault: StoreFault,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    match fault {
        StoreFault::None => Some(call()),
        StoreFault::Fails => None,
        StoreFault::LosesAnswer => {
            call();
            None
        }
        StoreFault::Stalls => pending().await,
        StoreFault::AnswersLate(milliseconds) => {
            let answer = call();
            sleep(Duration::from_millis(milliseconds)).await;
            Some(answer)
        }
        StoreFault::ArrivesLate(milliseconds) => {
            // On its way, whatever becomes of the one who waits for it.
            let on_its_way = tokio::spawn(async move {
                sleep(Duration::from_millis(milliseconds)).await;
                call()
            });
            Some(on_its_way.await.expect("it does not panic"))
        }
    }
}
