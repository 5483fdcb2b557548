use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{Answer, FunctionError};

/// An event and the ID of its invocation.
#[derive(Debug, Clone)]
pub(super) struct Invocation {
    pub(super) event: Bytes,
    pub(super) request_id: String,
}

/// An invocation with the time at which it must be over, in milliseconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) invocation: Invocation,
    pub(super) deadline_ms: u64,
}

/// A report of a process.
#[derive(Debug)]
pub(super) enum Report {
    /// It asks for an event.
    Asked,
    /// It has answered. Its own request is not answered before it is accepted.
    Answered(Answer, Acceptance),
    /// It reports that it, or an extension of it, cannot go on.
    Failed(FunctionError),
}

/// Tells a process that its answer has arrived. It is kept until the process is killed, if it is not to learn that.
#[derive(Debug)]
pub(super) struct Acceptance(oneshot::Sender<()>);

impl Acceptance {
    pub(super) fn accept(self) {
        // Nobody listens if the process is gone.
        let _ = self.0.send(());
    }
}

/// The answer to an extension's `next`.
#[derive(Debug, Clone)]
pub(super) enum ExtensionEvent {
    Invoke(Offer),
    Shutdown { deadline_ms: u64 },
}

/// The events that an extension has asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Subscription {
    pub(super) invoke: bool,
    pub(super) shutdown: bool,
}

#[derive(Debug)]
struct Extension {
    name: String,
    subscription: Subscription,
    events: VecDeque<ExtensionEvent>,
}

/// The state that the environment and the server of one process share.
#[derive(Debug)]
pub(super) struct State {
    inner: Mutex<Inner>,
    changed: Notify,
    reports: mpsc::UnboundedSender<Report>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Waits for the process to ask for it.
    offered: Option<Offer>,
    /// The request ID that the process has, and has not answered.
    running: Option<String>,
    extensions: Vec<Extension>,
}

impl State {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Report>) {
        let (reports, receiver) = mpsc::unbounded_channel();
        (State { inner: Mutex::default(), changed: Notify::new(), reports }, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No change to it can be interrupted by a panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an event where the process will find it.
    pub(super) fn offer(&self, offer: Offer) {
        let mut inner = self.lock();
        for extension in inner.extensions.iter_mut().filter(|extension| extension.subscription.invoke) {
            extension.events.push_back(ExtensionEvent::Invoke(offer.clone()));
        }
        inner.offered = Some(offer);
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Whether the process has asked for what was offered.
    pub(super) fn offer_was_taken(&self) -> bool {
        self.lock().offered.is_none()
    }

    /// The process asks for an event.
    pub(super) async fn next(&self) -> Offer {
        self.report(Report::Asked);
        self.when(|inner| {
            let offer = inner.offered.take()?;
            inner.running = Some(offer.invocation.request_id.clone());
            Some(offer)
        })
        .await
    }

    /// Takes an answer to the invocation with this ID, and waits until it is accepted. `false` if there is no such
    /// invocation.
    pub(super) async fn answer(&self, request_id: &str, answer: Answer) -> bool {
        if self.lock().running.take_if(|running| running == request_id).is_none() {
            return false;
        }
        let (acceptance, accepted) = oneshot::channel();
        self.report(Report::Answered(answer, Acceptance(acceptance)));
        // Not accepted: then the process was killed, and nobody reads the reply.
        let _ = accepted.await;
        true
    }

    pub(super) fn report(&self, report: Report) {
        // Nobody listens if the environment is being given up.
        let _ = self.reports.send(report);
    }

    /// Gives an extension its index.
    pub(super) fn register(&self, name: String, subscription: Subscription) -> usize {
        let extensions = &mut self.lock().extensions;
        extensions.push(Extension { name, subscription, events: VecDeque::new() });
        extensions.len() - 1
    }

    /// The name of an extension, if it exists.
    pub(super) fn extension_name(&self, index: usize) -> Option<String> {
        self.lock().extensions.get(index).map(|extension| extension.name.clone())
    }

    /// The next event of an extension that exists.
    pub(super) async fn extension_event(&self, index: usize) -> ExtensionEvent {
        self.when(|inner| inner.extensions.get_mut(index)?.events.pop_front()).await
    }

    /// Tells the extensions that want to know. `false` if there are none at all.
    pub(super) fn announce_shutdown(&self, deadline_ms: u64) -> bool {
        let mut inner = self.lock();
        for extension in inner.extensions.iter_mut().filter(|extension| extension.subscription.shutdown) {
            extension.events.push_back(ExtensionEvent::Shutdown { deadline_ms });
        }
        let any = !inner.extensions.is_empty();
        drop(inner);
        self.changed.notify_waiters();
        any
    }

    /// Waits until there is something to take.
    async fn when<T>(&self, mut take: impl FnMut(&mut Inner) -> Option<T>) -> T {
        loop {
            // Made first, so that no change is missed.
            let changed = self.changed.notified();
            if let Some(taken) = take(&mut self.lock()) {
                return taken;
            }
            changed.await;
        }
    }
}
