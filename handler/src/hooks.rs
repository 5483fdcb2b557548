//! Functions that a handler calls when something happens to a batch.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use crate::{BatchOutcome, ProcessError, Record, checkpoint::CheckpointPosition};

/// Functions that a handler calls when something happens to a batch: for logs, metrics, caches and tests.
///
/// They observe; the outcome of a batch does not depend on them. A hook that panics is logged. An asynchronous one that takes too
/// long is cancelled: [`on_shard_start`](Self::on_shard_start) after a quarter of the time until the deadline guard stops the batch,
/// [`on_batch_end`](Self::on_batch_end) in time for the response. A hook that is not set costs nothing.
///
/// [`Function::on_start`](crate::Function::on_start) and [`Function::on_shutdown`](crate::Function::on_shutdown) are the hooks of the
/// environment. Hooks are part of the options, so layers around a [`Handler`](crate::Handler) do not matter to them:
///
/// ```
/// use kinesis_handler::{Handler, Hooks, Options, ProcessError, Record, tracing};
///
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     record.text()?;
///     Ok(())
/// }
///
/// let hooks = Hooks::new()
///     .on_shard_start(async |shard| tracing::info!(checkpoint = shard.checkpoint.map(|at| at.to_string()), "new shard"))
///     .on_record_failed(|record, error| tracing::warn!(position = %record.position(), %error, "record failed"))
///     .on_batch_end(async |batch| tracing::info!(records = batch.records.len(), "batch processed"));
/// let handler = Handler::with_options(process, Options::default().with_hooks(hooks));
/// # let _ = handler;
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Hooks {
    pub(crate) shard_start: Option<AsyncHook<ShardStart>>,
    record_processed: Option<ProcessedHook>,
    record_failed: Option<FailedHook>,
    pub(crate) batch_end: Option<AsyncHook<BatchOutcome>>,
}

type ProcessedHook = Arc<dyn Fn(Record<'_>) + Send + Sync>;
type FailedHook = Arc<dyn Fn(Record<'_>, &ProcessError) + Send + Sync>;
pub(crate) type AsyncHook<T> = Arc<dyn Fn(T) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The first batch of a shard in this environment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardStart {
    /// ARN of the stream. `None` if the event does not contain it.
    pub stream_arn: Option<String>,
    /// The shard. `None` if the event does not contain it.
    pub shard_id: Option<String>,
    /// The position up to which the [checkpoint mirror](crate::checkpoint) has the shard as processed. `None` without a mirror, if
    /// it has none, and if it cannot be read.
    pub checkpoint: Option<CheckpointPosition>,
}

impl Hooks {
    /// Returns hooks of which none is set.
    pub fn new() -> Self {
        Hooks::default()
    }

    /// Calls `hook` before the first record of a shard in this environment is processed.
    ///
    /// With a [checkpoint mirror](crate::checkpoint), the shard's row is read before, which in DynamoDB needs the permission
    /// `dynamodb:GetItem` on the table.
    pub fn on_shard_start<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(ShardStart) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.shard_start = Some(Arc::new(move |shard| Box::pin(hook(shard))));
        self
    }

    /// Calls `hook` after the processor has returned `Ok` for a user record. It must not block.
    pub fn on_record_processed(mut self, hook: impl Fn(Record<'_>) + Send + Sync + 'static) -> Self {
        self.record_processed = Some(Arc::new(hook));
        self
    }

    /// Calls `hook` after the processor has returned an error for a user record, or has panicked. It must not block.
    ///
    /// Records that never reach a processor, such as invalid aggregates, are in the outcome of
    /// [`on_batch_end`](Self::on_batch_end) only.
    pub fn on_record_failed(
        mut self,
        hook: impl Fn(Record<'_>, &ProcessError) + Send + Sync + 'static,
    ) -> Self {
        self.record_failed = Some(Arc::new(hook));
        self
    }

    /// Calls `hook` at the end of each batch, when journal and mirror are written, with the outcome of each user record.
    ///
    /// It costs a second walk over the batch. An invocation that fails before its first record has no outcome. One that fails after its
    /// records, because a window could not be finished or its state not be returned, has one with an [`error`](BatchOutcome::error).
    pub fn on_batch_end<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(BatchOutcome) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.batch_end = Some(Arc::new(move |batch| Box::pin(hook(batch))));
        self
    }

    /// Whether a hook wants to know of each call of the processor.
    pub(crate) fn observe_records(&self) -> bool {
        self.record_processed.is_some() || self.record_failed.is_some()
    }

    /// Calls the hook of a call of the processor with this result.
    pub(crate) fn note(&self, record: Record<'_>, result: Result<(), &ProcessError>) {
        let call = || match (result, &self.record_processed, &self.record_failed) {
            (Ok(()), Some(hook), _) => hook(record),
            (Err(error), _, Some(hook)) => hook(record, error),
            _ => {}
        };
        if catch_unwind(AssertUnwindSafe(call)).is_err() {
            // The panic hook has logged the text.
            tracing::error!("hook of a record panicked");
        }
    }
}

/// Shows which of them are set.
impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("shard_start", &self.shard_start.is_some())
            .field("record_processed", &self.record_processed.is_some())
            .field("record_failed", &self.record_failed.is_some())
            .field("batch_end", &self.batch_end.is_some())
            .finish()
    }
}

/// Calls a hook, and logs if it panics or is cancelled at this time.
pub(crate) async fn call<T>(name: &'static str, hook: &AsyncHook<T>, argument: T, by: Option<Instant>) {
    // The time limit is inside of the guard, because a future may panic when it is cancelled.
    let limited = async {
        let called = async { hook(argument).await };
        match by {
            Some(by) => timeout_at(by, called).await.is_ok(),
            None => {
                called.await;
                true
            }
        }
    };
    match AssertUnwindSafe(limited).catch_unwind().await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(hook = name, "hook cancelled, because it has taken too long"),
        Err(_) => tracing::error!(hook = name, "hook panicked"),
    }
}
