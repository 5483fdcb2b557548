use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use lru::LruCache;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{Digest, IdempotencyEntry, IdempotencyStore};
use crate::{Classify, ProcessError, Record, RecordProcessor, not_now, permanent, record::BatchRecord};

/// The time for which a record without a deadline, as outside of Lambda, is taken to be in progress: the longest that a function had
/// for years.
const NO_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// A processor that processes one of the user records with the same key, and passes over the others: those that a producer has put
/// again, and those that are delivered again.
///
/// The key is what the key function returns, such as the ID of an order; a record without a key is always processed. Before a record
/// is processed, the [store](IdempotencyStore) notes its key as in progress until the function's deadline, and afterwards as
/// processed until it [expires](Self::expire_after).
///
/// | the store has the key | the record |
/// |---|---|
/// | not | is processed. If it fails or panics, the key is forgotten |
/// | as processed | is passed over, and counts as processed |
/// | as in progress, of another call | is answered with [`not_now`](crate::not_now): that call may fail |
/// | of another payload | is a permanent error, unless the payload [is ignored](Self::ignore_payload) |
///
/// If the store cannot be used, the answer is `not_now`, too. If only the note that a record is processed cannot be written, that is
/// logged, and the record counts as processed. A crash after the effect, before this note, repeats the effect once the time of the
/// crashed call is over; see [`claim`](Record::claim) for effects in DynamoDB. The keys belong to user records, so those of an aggregate are
/// independent of each other.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use kinesis_handler::{
///     ProcessError, Record, idempotency::{DynamoDbIdempotency, Idempotent, json_pointer}, run,
/// };
///
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     record.text()?;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kinesis_handler::Error> {
/// let store = Arc::new(DynamoDbIdempotency::new("orders-idempotency"));
/// run(Idempotent::new(process, store, json_pointer("/orderId"))).await
/// # }
/// ```
#[must_use]
pub struct Idempotent<P, K> {
    processor: P,
    store: Arc<dyn IdempotencyStore>,
    key: K,
    expires_after: Duration,
    checks_payload: bool,
    on_repeat: Option<OnRepeat>,
    /// Keys that this environment has seen as processed.
    recent: Option<Mutex<LruCache<String, Recent>>>,
}

type OnRepeat = Box<dyn Fn(Record<'_>) + Send + Sync>;

/// A key that is processed.
#[derive(Debug, Clone, Copy)]
struct Recent {
    payload: Digest,
    expires_ms: u64,
}

/// The key function's key was that of another payload.
#[derive(Debug, Error)]
#[error("idempotency key was used with another payload")]
struct OtherPayload;

impl<P, K> Idempotent<P, K>
where
    K: Fn(Record<'_>) -> Result<Option<String>, ProcessError>,
{
    /// Default of [`expire_after`](Self::expire_after).
    pub const DEFAULT_EXPIRY: Duration = Duration::from_secs(8 * 24 * 60 * 60);

    /// Default of [`remember`](Self::remember).
    pub const DEFAULT_REMEMBERED: usize = 1_000;

    /// Returns the processor with a key function and the defaults. An error of the key function fails the record.
    pub fn new(processor: P, store: Arc<dyn IdempotencyStore>, key: K) -> Self {
        Idempotent {
            processor,
            store,
            key,
            expires_after: Self::DEFAULT_EXPIRY,
            checks_payload: true,
            on_repeat: None,
            recent: remembered(Self::DEFAULT_REMEMBERED),
        }
    }

    /// Sets the time for which the key of a processed record is kept, by default 8 days: longer than any mapping retries.
    pub fn expire_after(mut self, time: Duration) -> Self {
        self.expires_after = time;
        self
    }

    /// Takes records with the same key and another payload for repetitions, too. By default they are permanent errors.
    pub fn ignore_payload(mut self) -> Self {
        self.checks_payload = false;
        self
    }

    /// Sets a function that is called for each record that is passed over.
    pub fn on_repeat(mut self, hook: impl Fn(Record<'_>) + Send + Sync + 'static) -> Self {
        self.on_repeat = Some(Box::new(hook));
        self
    }

    /// Sets how many keys of processed records an environment remembers, by default 1,000: for these the store is not asked. Zero turns it
    /// off.
    pub fn remember(mut self, keys: usize) -> Self {
        self.recent = remembered(keys);
        self
    }

    /// Returns the processor.
    pub fn get_ref(&self) -> &P {
        &self.processor
    }

    /// Returns the processor without the keys.
    pub fn into_inner(self) -> P {
        self.processor
    }

    /// Passes over a record whose key is processed.
    fn repeat(&self, record: Record<'_>, own: Digest, found: Digest) -> Result<(), ProcessError> {
        if self.checks_payload && own != found {
            return Err(permanent(OtherPayload));
        }
        metrics::counter!("RepeatedRecords").increment(1);
        tracing::debug!(position = %record.position(), "record was processed already");
        if let Some(on_repeat) = &self.on_repeat {
            on_repeat(record);
        }
        Ok(())
    }

    fn lock(&self) -> Option<MutexGuard<'_, LruCache<String, Recent>>> {
        Some(self.recent.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn recall(&self, id: &str, now_ms: u64) -> Option<Recent> {
        self.lock()?.get(id).copied().filter(|recent| now_ms < recent.expires_ms)
    }

    fn note(&self, entry: &IdempotencyEntry) {
        if let Some(mut recent) = self.lock() {
            let IdempotencyEntry { payload, expires_ms, .. } = *entry;
            recent.put(entry.id.clone(), Recent { payload, expires_ms });
        }
    }
}

impl<P: RecordProcessor, K> RecordProcessor for Idempotent<P, K>
where
    K: Fn(Record<'_>) -> Result<Option<String>, ProcessError>,
{
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let Some(key) = (self.key)(record)? else { return self.processor.process(record).await };
        let mut entry = begun(record, &key)?;
        let now_ms = record.parts().invocation.clock.epoch_ms();
        if let Some(recent) = self.recall(&entry.id, now_ms) {
            return self.repeat(record, entry.payload, recent.payload);
        }
        if let Some(found) = self.store.begin(&entry, now_ms).await.not_now()? {
            if found.in_progress_until_ms.is_some() {
                return Err(not_now("another record with the same idempotency key is in progress"));
            }
            self.note(&found);
            return self.repeat(record, entry.payload, found.payload);
        }
        let processed = AssertUnwindSafe(self.processor.process(record)).catch_unwind().await;
        if !matches!(processed, Ok(Ok(()))) {
            if let Err(fault) = self.store.release(&entry.id, &entry.owner).await {
                tracing::warn!(error = %ProcessError::from(fault), "idempotency key stays in progress until the deadline");
            }
            return processed.unwrap_or_else(|panic| resume_unwind(panic));
        }
        let now_ms = record.parts().invocation.clock.epoch_ms();
        entry.in_progress_until_ms = None;
        entry.expires_ms = now_ms.saturating_add(milliseconds(self.expires_after));
        self.note(&entry);
        if let Err(fault) = self.store.complete(&entry).await {
            tracing::warn!(error = %ProcessError::from(fault), "idempotency key not written as processed");
        }
        Ok(())
    }
}

/// Returns the entry of a record that begins to be processed.
fn begun(record: Record<'_>, key: &str) -> Result<IdempotencyEntry, ProcessError> {
    let BatchRecord { invocation, data, .. } = record.parts();
    let now_ms = invocation.clock.epoch_ms();
    let remaining =
        invocation.deadline.map(|deadline| deadline.saturating_duration_since(invocation.clock.instant()));
    let until_ms = now_ms.saturating_add(milliseconds(remaining.unwrap_or(NO_DEADLINE)));
    // Keys may be personal data, and longer than a key of DynamoDB.
    let id = format!("{}#{}", invocation.application, Digest(Sha256::digest(key).into()));
    // A retry of an unchanged batch has the same request ID.
    let random = getrandom::u64().map_err(|error| not_now(error.to_string()))?;
    Ok(IdempotencyEntry {
        id,
        // A producer that compresses the same payload again may get other bytes, with another time in them.
        payload: Digest(Sha256::digest(record.payload().unwrap_or(data)).into()),
        owner: format!("{}/{random:016x}", invocation.request_id),
        in_progress_until_ms: Some(until_ms),
        expires_ms: until_ms.saturating_add(milliseconds(NO_DEADLINE)),
    })
}

fn remembered(keys: usize) -> Option<Mutex<LruCache<String, Recent>>> {
    NonZeroUsize::new(keys).map(|keys| Mutex::new(LruCache::new(keys)))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
