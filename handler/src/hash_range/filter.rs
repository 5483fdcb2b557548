use std::{
    collections::HashMap,
    error::Error,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use kpl_deaggregation::{HashKeyRange, UserRecord};
use tokio::time::{Instant, timeout_at};

use super::{ShardRangeError, ShardRangeSource, StreamRanges};
use crate::{
    HandlerError, Options, batch::stop::store_panic, event::Event, invocation::Invocation,
    record::BatchRecord,
};

/// The time after which a stream's shards are listed again for a shard that is still not known: a source that fails must not
/// be asked in each invocation.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The time after which the shards of a stream are listed again although a shard is known: a range is wrong as soon as the stream
/// has become service-managed, or was deleted and made again.
const REFRESH_AFTER: Duration = Duration::from_secs(300);

/// The hash-range filter of a batch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) enum BatchRange {
    /// User records are not filtered.
    #[default]
    Off,
    /// They should be, but the shard's range is not known, so they are not.
    Unknown,
    /// Those of aggregates are passed over if they are not in this range.
    Within(HashKeyRange),
}

impl BatchRange {
    pub(crate) fn range(&self) -> Option<&HashKeyRange> {
        match self {
            BatchRange::Within(range) => Some(range),
            BatchRange::Off | BatchRange::Unknown => None,
        }
    }
}

/// Returns whether a user record of an aggregate belongs to another shard. That of a plain record is always its own: Kinesis has
/// put it there, by an explicit hash key that Lambda does not hand out.
#[inline(never)]
pub(crate) fn is_out_of(range: &HashKeyRange, record: &BatchRecord<'_>) -> bool {
    if !record.aggregated {
        return false;
    }
    let mut user_record = UserRecord::new(record.partition_key, record.data);
    user_record.explicit_hash_key = record.explicit_hash_key;
    !user_record.belongs_to(range)
}

/// The hash-range filter of one environment, with the ranges that it knows.
pub(crate) struct HashRangeFilter {
    source: Arc<dyn ShardRangeSource>,
    /// Streams by ARN.
    streams: Mutex<HashMap<String, KnownStream>>,
}

struct KnownStream {
    /// Ranges by shard.
    ranges: HashMap<String, HashKeyRange>,
    is_service_managed: bool,
    /// Time of the last attempt to list the shards.
    asked: Instant,
}

impl HashRangeFilter {
    /// Returns the filter of the options; `None` if it is off.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        let source = Arc::clone(options.shard_ranges.as_ref()?);
        Some(HashRangeFilter { source, streams: Mutex::default() })
    }

    /// Returns the filter for a batch. On an enhanced fan-out consumer it is off: Lambda has deaggregated the records, and
    /// passed over those of other shards itself.
    ///
    /// # Errors
    ///
    /// [`HandlerError::ServiceManagedStream`].
    pub(crate) async fn of_batch(
        &self,
        event: &Event<'_>,
        invocation: &Invocation<'_>,
    ) -> Result<BatchRange, HandlerError> {
        let Some(first) = event.records.first().filter(|first| !first.is_enhanced_fan_out()) else {
            return Ok(BatchRange::Off);
        };
        let (Some(stream_arn), Some(shard_id)) = (first.stream_arn(), first.shard_id.as_deref()) else {
            tracing::warn!("user records are not filtered: the event does not name stream and shard");
            return Ok(BatchRange::Unknown);
        };
        let now = invocation.clock.instant();
        if let Some(known) = self.known(stream_arn, shard_id, now) {
            return known;
        }
        let (listed, error) = match self.list(stream_arn, invocation.read_by()).await {
            Ok(listed) => (Some(listed), None),
            Err(error) => (None, Some(whole_text(&error))),
        };
        self.keep(stream_arn, listed, now);
        let range = self.known(stream_arn, shard_id, now).unwrap_or(Ok(BatchRange::Unknown));
        match (error, &range) {
            (Some(error), Ok(BatchRange::Unknown)) => tracing::error!(error, "user records are not filtered"),
            (Some(error), _) => {
                tracing::warn!(error, "user records are filtered by the hash range that was listed before");
            }
            (None, Ok(BatchRange::Unknown)) => {
                tracing::warn!("user records are not filtered: the stream does not list the shard");
            }
            (None, _) => {}
        }
        range
    }

    /// Returns the filter for a batch of a shard, as far as it is known. `None` if the shards must be listed.
    fn known(
        &self,
        stream_arn: &str,
        shard_id: &str,
        now: Instant,
    ) -> Option<Result<BatchRange, HandlerError>> {
        let streams = self.lock();
        let stream = streams.get(stream_arn)?;
        let age = now.saturating_duration_since(stream.asked);
        let is_new = age < RETRY_AFTER;
        match stream.ranges.get(shard_id) {
            Some(range) => (age < REFRESH_AFTER).then_some(Ok(BatchRange::Within(*range))),
            // The strategy may be changed back.
            None if is_new && stream.is_service_managed => Some(Err(HandlerError::ServiceManagedStream)),
            None if is_new => Some(Ok(BatchRange::Unknown)),
            None => None,
        }
    }

    /// Keeps the ranges of a stream. Without new ones, those that are known stay.
    fn keep(&self, stream_arn: &str, listed: Option<StreamRanges>, now: Instant) {
        let mut streams = self.lock();
        let stream = streams.entry(stream_arn.to_owned()).or_insert_with(|| KnownStream {
            ranges: HashMap::new(),
            is_service_managed: false,
            asked: now,
        });
        stream.asked = now;
        let Some(listed) = listed else { return };
        stream.is_service_managed = listed == StreamRanges::ServiceManaged;
        stream.ranges = match listed {
            StreamRanges::Shards(shards) => {
                shards.into_iter().map(|shard| (shard.shard_id, shard.range)).collect()
            }
            StreamRanges::ServiceManaged => HashMap::new(),
        };
    }

    async fn list(&self, stream_arn: &str, by: Option<Instant>) -> Result<StreamRanges, ShardRangeError> {
        // The time limit is inside of the guard, because a future may panic when it is cancelled.
        let list = async {
            let list = async { self.source.list(stream_arn).await };
            match by {
                Some(by) => timeout_at(by, list).await.unwrap_or(Err(ShardRangeError::OutOfTime)),
                None => list.await,
            }
        };
        let listed = AssertUnwindSafe(list).catch_unwind().await;
        listed.unwrap_or_else(|panic| Err(ShardRangeError::Source { source: store_panic(&*panic) }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, KnownStream>> {
        // Nothing that can panic runs while it is locked.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whole_text(error: &ShardRangeError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
