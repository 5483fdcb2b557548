use std::cell::RefCell;

use kinesis_handler::{
    SequenceNumber,
    journal::{JournalShard, JournalStore, StateKind},
};

use super::{FailureRecord, FailureRecordError, Found, Handle, Owner};
use crate::{
    error::Error,
    journal_table::{JournalTable, ShardFilter},
};

/// The holes in a retry journal: Kinesis records that the function has seen the mapping discard.
#[derive(Debug)]
pub(crate) struct Holes {
    table: JournalTable,
    found: RefCell<Vec<Found>>,
}

impl Holes {
    /// Lists them: they are small.
    pub(super) async fn open(table: JournalTable, filter: &ShardFilter) -> Result<Self, Error> {
        let mut found = Vec::new();
        for partition_key in table.partition_keys(filter).await? {
            let Some(shard) = JournalShard::parse(&partition_key) else { continue };
            let entries = table.states(shard, StateKind::Hole).await?;
            for item in entries.unreadable {
                let name = format!("item {}", item.key.sort_key);
                let record = Err(FailureRecordError::Item { reason: item.reason });
                found.push(Found { name, record, handle: Handle::None });
            }
            for state in entries.states {
                found.push(Found {
                    name: format!("hole {}", state.sequence_number),
                    record: failure_record(shard, state.sequence_number),
                    handle: Handle::Hole(partition_key.clone()),
                });
            }
        }
        Ok(Holes { table, found: RefCell::new(found) })
    }

    /// Returns all of them, once.
    pub(super) fn take(&self) -> Vec<Found> {
        self.found.take()
    }

    /// Deletes a hole. The function has done it already, if the table is its journal.
    pub(super) async fn delete(
        &self,
        partition_key: &str,
        sequence_number: SequenceNumber,
    ) -> Result<(), Error> {
        let Some(shard) = JournalShard::parse(partition_key) else { return Ok(()) };
        let deleted = self.table.store().delete(shard, StateKind::Hole, sequence_number).await;
        deleted.map_err(|source| self.table.error(source))
    }
}

fn failure_record(
    shard: JournalShard<'_>,
    sequence_number: SequenceNumber,
) -> Result<FailureRecord, FailureRecordError> {
    Ok(FailureRecord {
        owner: Owner::Journal(shard.to_string()),
        event_source_arn: shard.stream_arn.to_owned(),
        stream: shard.stream_arn.parse().map_err(FailureRecordError::StreamArn)?,
        shard_id: shard.shard_id.to_owned(),
        first: sequence_number,
        last: sequence_number,
        batch_size: Some(1),
        payload: None,
    })
}
