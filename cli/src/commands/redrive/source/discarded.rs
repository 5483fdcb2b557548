use std::{cell::RefCell, collections::HashMap};

use kinesis_handler::{
    SequenceNumber,
    journal::{JournalShard, JournalStore, RecordState, StateKind},
};

use super::{DiscardedRange, Found, FoundError, Handle, Owner};
use crate::{
    error::{Error, chain},
    journal_table::{
        Deletion, JournalTable, ShardFilter,
        stranded::{Retries, StrandedEntries},
    },
    output::note::{count, note},
};

/// Kinesis records that the mapping has discarded, as far as the retry journal knows: the entries of kind discarded, which the function has
/// seen, and stranded retry entries.
#[derive(Debug)]
pub(crate) struct DiscardedRecords {
    table: JournalTable,
    found: RefCell<Vec<Found>>,
}

/// The entries of one Kinesis record.
#[derive(Debug)]
pub(super) struct Entries {
    partition_key: String,
    sequence_number: SequenceNumber,
    has_discarded: bool,
    /// The stranded retry entry, as it was read. It may stay behind when the function writes a discarded.
    retry: Option<Box<RecordState>>,
}

impl DiscardedRecords {
    /// Lists them: they are small.
    pub(super) async fn open(
        table: JournalTable,
        filter: &ShardFilter,
        retries: Retries,
    ) -> Result<Self, Error> {
        let stranded_entries = StrandedEntries::new(retries);
        let mut found = Vec::new();
        let visit = async |shard: JournalShard<'_>| {
            let discarded = table.states(shard, StateKind::Discarded).await?;
            let retries = table.states(shard, StateKind::Retry).await?;
            for item in discarded.unreadable.into_iter().chain(retries.unreadable) {
                let name = format!("item {}", item.key.sort_key);
                let record = Err(FoundError::Item { reason: item.reason });
                found.push(Found { name, record, handle: Handle::None });
            }
            let mut stranded = HashMap::new();
            for state in retries.states {
                if stranded_entries.reason(shard, &state).await.is_some() {
                    stranded.insert(state.sequence_number, Box::new(state));
                }
            }
            let mut add = |name: &str, has_discarded, sequence_number, retry| {
                let partition_key = shard.to_string();
                let entries = Entries { partition_key, sequence_number, has_discarded, retry };
                found.push(Found {
                    name: format!("{name} {sequence_number}"),
                    record: failure_record(shard, sequence_number),
                    handle: Handle::Entries(entries),
                });
            };
            for state in discarded.states {
                add("discarded", true, state.sequence_number, stranded.remove(&state.sequence_number));
            }
            for (sequence_number, state) in stranded {
                add("stranded entry", false, sequence_number, Some(state));
            }
            Ok(())
        };
        let visited = table.for_each_shard(filter, visit).await?;
        if visited.unread > 0 {
            found.push(Found {
                name: count(visited.unread, "shard"),
                record: Err(FoundError::Item { reason: "its shard could not be read".to_owned() }),
                handle: Handle::None,
            });
        }
        Ok(DiscardedRecords { table, found: RefCell::new(found) })
    }

    /// Returns all of them, once.
    pub(super) fn take(&self) -> Vec<Found> {
        self.found.take()
    }

    /// Leaves out stranded entries that were written since they were listed: the mapping still retries them.
    pub(super) async fn unchanged(&self, found: Vec<Found>) -> Vec<Found> {
        let mut unchanged = Vec::new();
        for mut found in found {
            let is_unchanged = match &found.handle {
                Handle::Entries(Entries {
                    has_discarded: false, partition_key, retry: Some(state), ..
                }) => match JournalShard::parse(partition_key) {
                    Some(shard) => self.table.is_unchanged(shard, state).await,
                    None => Ok(false),
                },
                _ => Ok(true),
            };
            match is_unchanged {
                Ok(true) => unchanged.push(found),
                Ok(false) => {
                    note(format_args!("{}: written or deleted meanwhile, so it is left alone", found.name))
                }
                Err(error) => {
                    found.record = Err(FoundError::Item { reason: chain(&error) });
                    unchanged.push(found);
                }
            }
        }
        unchanged
    }

    /// Deletes the entries of a record. The function has done it already, if the table is its journal.
    pub(super) async fn delete(&self, entries: &Entries) -> Result<(), Error> {
        let Some(shard) = JournalShard::parse(&entries.partition_key) else { return Ok(()) };
        if entries.has_discarded {
            let deleted =
                self.table.store().delete(shard, StateKind::Discarded, entries.sequence_number).await;
            deleted.map_err(|source| self.table.error(source))?;
        }
        let Some(retry) = &entries.retry else { return Ok(()) };
        match self.table.delete_state(shard, retry).await? {
            Deletion::Deleted => Ok(()),
            Deletion::Changed => Err(Error::Entry { fault: "it was written meanwhile".to_owned() }),
            Deletion::Failed(fault) => Err(Error::Entry { fault }),
        }
    }
}

fn failure_record(
    shard: JournalShard<'_>,
    sequence_number: SequenceNumber,
) -> Result<DiscardedRange, FoundError> {
    Ok(DiscardedRange {
        owner: Owner::Journal(shard.to_string()),
        event_source_arn: shard.stream_arn.to_owned(),
        stream: shard.stream_arn.parse().map_err(FoundError::StreamArn)?,
        shard_id: shard.shard_id.to_owned(),
        first: sequence_number,
        last: sequence_number,
        batch_size: Some(1),
        payload: None,
    })
}
