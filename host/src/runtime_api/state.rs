use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::{Answer, FunctionError};

/// An event and the ID of its invocation.
#[derive(Debug, Clone)]
pub(super) struct QueuedInvocation {
    pub(super) event: Bytes,
    pub(super) request_id: String,
}

/// An invocation with the time at which it must be over, in milliseconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) invocation: QueuedInvocation,
    pub(super) deadline_ms: u64,
}

/// The end of a process's invocation. Its own request is not answered before it is accepted.
pub(super) type Answered = (Answer, Acceptance);

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
#[derive(Debug, Default)]
pub(super) struct State {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Request IDs of the invocations that have a place in the environment. No two of them share one, because the process
    /// answers by request ID.
    reserved: HashSet<String>,
    /// Invocations that wait for the process to ask for them, and whoever waits for their answers.
    offered: VecDeque<(Offer, oneshot::Sender<Answered>)>,
    /// Invocations that the process has and has not answered, by request ID.
    running: HashMap<String, oneshot::Sender<Answered>>,
    max_running: usize,
    /// The first of two: that the process asked for an event, or that it failed.
    start: Option<Result<(), FunctionError>>,
    /// Report that the process, or an extension of it, cannot go on.
    failure: Option<FunctionError>,
    extensions: Vec<Extension>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No change to it can be interrupted by a panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a place for an invocation with this request ID. `false` if there is one already.
    pub(super) fn reserve(&self, request_id: &str) -> bool {
        self.lock().reserved.insert(request_id.to_owned())
    }

    /// Gives the place of an invocation back.
    pub(super) fn release(&self, request_id: &str) {
        self.lock().reserved.remove(request_id);
    }

    /// Puts an event where the process will find it. The receiver gets the answer.
    pub(super) fn offer(&self, offer: Offer) -> oneshot::Receiver<Answered> {
        let (sender, answer) = oneshot::channel();
        let mut inner = self.lock();
        for extension in inner.extensions.iter_mut().filter(|extension| extension.subscription.invoke) {
            extension.events.push_back(ExtensionEvent::Invoke(offer.clone()));
        }
        inner.offered.push_back((offer, sender));
        drop(inner);
        self.changed.notify_waiters();
        answer
    }

    /// Returns whether the process has asked for an event that was offered.
    pub(super) fn was_taken(&self, request_id: &str) -> bool {
        !self.lock().offered.iter().any(|(offer, _)| offer.invocation.request_id == request_id)
    }

    /// Returns the largest number of events that the process had at the same time.
    pub(super) fn max_running(&self) -> usize {
        self.lock().max_running
    }

    /// Waits until the process has asked for its first event, or has reported that it cannot go on.
    pub(super) async fn started(&self) -> Result<(), FunctionError> {
        self.when(|inner| inner.start.clone()).await
    }

    /// Waits until the process reports that it cannot go on.
    pub(super) async fn failed(&self) -> FunctionError {
        self.when(|inner| inner.failure.clone()).await
    }

    /// The process asks for an event.
    pub(super) async fn next(&self) -> Offer {
        self.lock().start.get_or_insert(Ok(()));
        self.changed.notify_waiters();
        self.when(|inner| {
            let (offer, answer) = inner.offered.pop_front()?;
            inner.running.insert(offer.invocation.request_id.clone(), answer);
            inner.max_running = inner.max_running.max(inner.running.len());
            Some(offer)
        })
        .await
    }

    /// Takes an answer to the invocation with this ID, and waits until it is accepted. `false` if there is no such
    /// invocation.
    pub(super) async fn answer(&self, request_id: &str, answer: Answer) -> bool {
        let Some(receiver) = self.lock().running.remove(request_id) else { return false };
        let (acceptance, accepted) = oneshot::channel();
        // Nobody listens if the environment is being given up.
        let _ = receiver.send((answer, Acceptance(acceptance)));
        // Not accepted: then the process was killed, and nobody reads the reply.
        let _ = accepted.await;
        true
    }

    /// The process, or an extension of it, cannot go on.
    pub(super) fn fail(&self, error: FunctionError) {
        let mut inner = self.lock();
        inner.start.get_or_insert_with(|| Err(error.clone()));
        inner.failure.get_or_insert(error);
        drop(inner);
        self.changed.notify_waiters();
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
