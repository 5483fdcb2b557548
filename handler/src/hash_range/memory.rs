use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ShardRange, ShardRangeFuture, ShardRangeSource, StreamRanges};

/// A source in memory with one answer for each stream, for tests.
#[derive(Debug)]
pub struct MemoryShardRanges {
    ranges: Mutex<StreamRanges>,
    calls: Mutex<u32>,
}

impl MemoryShardRanges {
    /// Returns a source of these shards.
    pub fn new(shards: impl IntoIterator<Item = ShardRange>) -> Self {
        Self::of(StreamRanges::Shards(shards.into_iter().collect()))
    }

    /// Returns a source that answers this.
    pub fn of(ranges: StreamRanges) -> Self {
        MemoryShardRanges { ranges: Mutex::new(ranges), calls: Mutex::default() }
    }

    /// Replaces the answer, as a reshard does.
    pub fn set(&self, ranges: StreamRanges) {
        *lock(&self.ranges) = ranges;
    }

    /// Returns the number of calls so far.
    pub fn calls(&self) -> u32 {
        *lock(&self.calls)
    }
}

impl ShardRangeSource for MemoryShardRanges {
    fn list<'a>(&'a self, _: &'a str) -> ShardRangeFuture<'a> {
        *lock(&self.calls) += 1;
        Box::pin(std::future::ready(Ok(lock(&self.ranges).clone())))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs while it is locked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
