use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use super::{
    JournalEntries, JournalFuture, JournalShard, JournalStore, JournalWrite, MAX_WRITE_ITEMS,
    QuarantinedRecord, RecordState, StateKind, StateRange, UserRecordId, WriteOutcome,
};
use crate::SequenceNumber;

/// A journal in memory, with exactly the rules of the real one: for tests.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    tables: Mutex<Tables>,
}

/// Keyed by the shard's partition key.
#[derive(Debug, Default)]
struct Tables {
    states: BTreeMap<(String, StateKind, SequenceNumber), RecordState>,
    quarantine: BTreeMap<(String, SequenceNumber, UserRecordId), QuarantinedRecord>,
}

impl MemoryJournal {
    /// All states of a shard: those of one kind after those of the other.
    pub fn states(&self, shard: JournalShard<'_>) -> Vec<RecordState> {
        let shard = shard.to_string();
        let tables = self.tables();
        tables.states.iter().filter(|((of, ..), _)| *of == shard).map(|(_, state)| state.clone()).collect()
    }

    /// The quarantine of a shard, in stream order.
    pub fn quarantine(&self, shard: JournalShard<'_>) -> Vec<QuarantinedRecord> {
        let shard = shard.to_string();
        let tables = self.tables();
        tables
            .quarantine
            .iter()
            .filter(|((of, ..), _)| *of == shard)
            .map(|(_, record)| record.clone())
            .collect()
    }

    /// Stores a state as it is, without any condition.
    pub fn put(&self, shard: JournalShard<'_>, state: RecordState) {
        self.tables().states.insert((shard.to_string(), state.kind, state.sequence_number), state);
    }

    /// Does what [`read`](JournalStore::read) does.
    pub fn read_now(&self, shard: JournalShard<'_>, range: StateRange) -> Vec<RecordState> {
        let StateRange { kind, from, through, earlier } = range;
        let mut states = self.states(shard);
        states.retain(|state| state.kind == kind && state.sequence_number <= through);
        let before = states.partition_point(|state| state.sequence_number < from);
        states.split_off(before.saturating_sub(earlier))
    }

    /// Does what [`write`](JournalStore::write) does.
    ///
    /// # Panics
    ///
    /// If there are more items than [`MAX_WRITE_ITEMS`], or two with the same key: DynamoDB refuses such a write, and so
    /// it must not be made.
    pub fn write_now(&self, writes: &[JournalWrite<'_>]) -> WriteOutcome {
        check_items(writes);
        let mut tables = self.tables();
        let key = |write: &JournalWrite<'_>| {
            (write.shard.to_string(), write.state.kind, write.state.sequence_number)
        };
        let is_expected = |write: &JournalWrite<'_>| {
            tables.states.get(&key(write)).map(|stored| stored.version) == write.expected_version
        };
        if !writes.iter().all(is_expected) {
            return WriteOutcome::Conflict;
        }
        for write in writes {
            tables.states.insert(key(write), write.state.clone());
            for record in write.quarantined {
                let key = (write.shard.to_string(), record.sequence_number, record.id);
                tables.quarantine.insert(key, record.clone());
            }
        }
        WriteOutcome::Written
    }

    /// Does what [`delete`](JournalStore::delete) does.
    pub fn delete_now(&self, shard: JournalShard<'_>, kind: StateKind, sequence_number: SequenceNumber) {
        self.tables().states.remove(&(shard.to_string(), kind, sequence_number));
    }

    /// Does what [`delete_version`](JournalStore::delete_version) does.
    pub fn delete_version_now(
        &self,
        shard: JournalShard<'_>,
        kind: StateKind,
        sequence_number: SequenceNumber,
        version: u64,
    ) -> WriteOutcome {
        let mut tables = self.tables();
        let key = (shard.to_string(), kind, sequence_number);
        if tables.states.get(&key).is_some_and(|stored| stored.version != version) {
            return WriteOutcome::Conflict;
        }
        tables.states.remove(&key);
        WriteOutcome::Written
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("nothing panics while it holds the lock")
    }
}

#[track_caller]
fn check_items(writes: &[JournalWrite<'_>]) {
    let mut keys = BTreeSet::new();
    let mut items = 0;
    for JournalWrite { shard, state, quarantined, .. } in writes {
        items += 1 + quarantined.len();
        keys.insert((shard, state.sequence_number, Err(state.kind)));
        keys.extend(quarantined.iter().map(|record| (shard, record.sequence_number, Ok(record.id))));
    }
    assert!(items <= MAX_WRITE_ITEMS, "a write of {items} items, and DynamoDB takes {MAX_WRITE_ITEMS}");
    assert_eq!(keys.len(), items, "a write with two items of the same key");
}

impl JournalStore for MemoryJournal {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        Box::pin(
            async move { Ok(JournalEntries { states: self.read_now(shard, range), unreadable: Vec::new() }) },
        )
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        Box::pin(async move { Ok(self.write_now(writes)) })
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        Box::pin(async move {
            self.delete_now(shard, kind, sequence_number);
            Ok(())
        })
    }

    fn delete_version<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
        version: u64,
    ) -> JournalFuture<'a, WriteOutcome> {
        Box::pin(async move { Ok(self.delete_version_now(shard, kind, sequence_number, version)) })
    }
}
