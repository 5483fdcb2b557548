use std::cell::Cell;

use tokio::sync::Notify;

/// The end of a run: nothing is invoked any more, and what has been invoked is waited for.
#[derive(Debug, Default)]
pub(crate) struct Halt {
    is_asked_for: Cell<bool>,
    in_flight: Cell<usize>,
    changed: Notify,
}

/// An invocation under way.
#[derive(Debug)]
pub(crate) struct InFlight<'h>(&'h Halt);

impl Halt {
    pub(crate) fn ask(&self) {
        self.is_asked_for.set(true);
        self.changed.notify_waiters();
    }

    /// Begins an invocation; `None` if there shall be no further one.
    pub(crate) fn enter(&self) -> Option<InFlight<'_>> {
        if self.is_asked_for.get() {
            return None;
        }
        self.in_flight.set(self.in_flight.get() + 1);
        Some(InFlight(self))
    }

    pub(crate) fn is_asked_for(&self) -> bool {
        self.is_asked_for.get()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Waits until it has been asked for.
    pub(crate) async fn asked(&self) {
        self.until(|| self.is_asked_for.get()).await;
    }

    /// Waits until nothing is under way.
    pub(crate) async fn idle(&self) {
        self.until(|| self.in_flight.get() == 0).await;
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            // Made first, so that nothing is missed.
            let changed = self.changed.notified();
            if condition() {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.changed.notify_waiters();
    }
}
