//! A retry journal in a store of your own. This one is a map in memory, which forgets everything with the environment; a real
//! one is a table in a database that can read a range of keys and write several rows at once, if their versions are as
//! expected.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use kinesis_handler::{
    Classify, Function, JournalOptions, Options, ProcessError, Record, SequenceNumber,
    journal::{
        JournalEntries, JournalFuture, JournalShard, JournalStore, JournalWrite, RecordState, StateKind,
        StateRange, WriteOutcome,
    },
};

/// The key of an entry: its shard with application and stream, its kind, and the Kinesis record.
type Key = (String, StateKind, SequenceNumber);

/// A journal in memory, without a quarantine.
#[derive(Debug, Default)]
struct MapJournal {
    entries: Mutex<BTreeMap<Key, RecordState>>,
}

impl JournalStore for MapJournal {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        let key = |number| (shard.to_string(), range.kind, number);
        let first = "0".parse().expect("a number");
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = entries.range(key(first)..key(range.from)).rev().take(range.earlier);
        let mut states: Vec<_> = earlier.map(|(_, state)| state.clone()).collect();
        states.reverse();
        states.extend(entries.range(key(range.from)..=key(range.through)).map(|(_, state)| state.clone()));
        Box::pin(async { Ok(JournalEntries { states, ..JournalEntries::default() }) })
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |write: &JournalWrite<'_>| {
            (write.shard.to_string(), write.state.kind, write.state.sequence_number)
        };
        // All or none: another invocation may have written meanwhile.
        let is_expected = |write: &JournalWrite<'_>| {
            entries.get(&key(write)).map(|stored| stored.version) == write.expected_version
        };
        let outcome = match writes.iter().all(is_expected) {
            true => WriteOutcome::Written,
            false => WriteOutcome::Conflict,
        };
        if outcome == WriteOutcome::Written {
            entries.extend(writes.iter().map(|write| (key(write), write.state.clone())));
        }
        Box::pin(async move { Ok(outcome) })
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(&(shard.to_string(), kind, sequence_number));
        Box::pin(async { Ok(()) })
    }

    fn delete_version<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
        version: u64,
    ) -> JournalFuture<'a, WriteOutcome> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (shard.to_string(), kind, sequence_number);
        let outcome = match entries.get(&key).is_none_or(|stored| stored.version == version) {
            true => WriteOutcome::Written,
            false => WriteOutcome::Conflict,
        };
        if outcome == WriteOutcome::Written {
            entries.remove(&key);
        }
        Box::pin(async move { Ok(outcome) })
    }
}

/// Fails in the middle of an aggregated record at its first attempt, so that the journal has something to do.
async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    let is_second = record.position().sub_sequence_number == Some(1);
    match (is_second, record.attempt()) {
        (true, Some(1)) => Err("not yet").retryable(),
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    let journal = JournalOptions::new(Arc::new(MapJournal::default()));
    let options = Options::builder().application("orders").journal(journal).build()?;
    Function::new(process).options(options).run().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_the_contract_of_a_journal() {
        kinesis_handler::contract::check_journal(&MapJournal::default()).await;
    }
}
