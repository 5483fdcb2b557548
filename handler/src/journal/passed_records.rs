use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
};

use crate::{SequenceNumber, journal::JournalShard};

/// Number of Kinesis records of a shard that are remembered: those of some large batches.
const MAX_REMEMBERED: usize = 30_000;

/// Kinesis records that are processed and may still have an entry in the journal, because it could not be read before
/// them, or the entry not be deleted after them.
///
/// An entry before a batch usually means that the mapping has discarded its record. These were not discarded, so their
/// entries are cleared instead. Another environment does not know of them.
#[derive(Debug, Default)]
pub(crate) struct PassedRecords {
    /// By the shard's partition key. With the time when each was passed, in milliseconds since 1970: an entry that was
    /// written later is not of that time.
    shards: Mutex<HashMap<String, BTreeMap<SequenceNumber, u64>>>,
}

impl PassedRecords {
    pub(crate) fn remember(
        &self,
        shard: JournalShard<'_>,
        passed: impl IntoIterator<Item = SequenceNumber>,
        now_ms: u64,
    ) {
        let mut shards = self.shards();
        let remembered = shards.entry(shard.to_string()).or_default();
        for number in passed {
            // What an earlier batch has passed may be older than an entry.
            remembered.entry(number).or_insert(now_ms);
        }
        while remembered.len() > MAX_REMEMBERED {
            remembered.pop_first();
        }
        if remembered.is_empty() {
            shards.remove(&shard.to_string());
        }
    }

    pub(crate) fn forget(&self, shard: JournalShard<'_>, passed: impl IntoIterator<Item = SequenceNumber>) {
        let mut shards = self.shards();
        if shards.is_empty() {
            return;
        }
        let Some(remembered) = shards.get_mut(&shard.to_string()) else { return };
        for number in passed {
            remembered.remove(&number);
        }
        if remembered.is_empty() {
            shards.remove(&shard.to_string());
        }
    }

    /// Returns those of a shard, in order, with the time when each was passed.
    pub(crate) fn of(&self, shard: JournalShard<'_>) -> BTreeMap<SequenceNumber, u64> {
        self.shards().get(&shard.to_string()).cloned().unwrap_or_default()
    }

    fn shards(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<SequenceNumber, u64>>> {
        self.shards.lock().expect("nothing panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: usize) -> SequenceNumber {
        number.to_string().parse().expect("digits")
    }

    #[test]
    fn the_latest_ones_are_remembered() {
        let passed = PassedRecords::default();
        let shard = |shard_id| JournalShard { application: "a", stream_arn: "b", shard_id };
        let (a, b) = (shard("a"), shard("b"));
        passed.remember(a, (0..MAX_REMEMBERED + 2).map(number), 5);
        assert_eq!(
            (passed.of(a).len(), passed.of(a).first_key_value()),
            (MAX_REMEMBERED, Some((&number(2), &5)))
        );
        passed.forget(a, (0..MAX_REMEMBERED + 1).map(number));
        passed.remember(a, [number(MAX_REMEMBERED + 1)], 6);
        assert_eq!(passed.of(a), BTreeMap::from([(number(MAX_REMEMBERED + 1), 5)]));
        assert_eq!(passed.of(b), BTreeMap::new());
    }
}
