//! The journal's table in DynamoDB.

mod key;
mod key_attributes;
mod state_item;
mod quarantine_item;
mod read;
mod write;
mod quarantine_reader;

use std::{error::Error, fmt, sync::Arc};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
};

use super::{
    ItemKey, JournalEntries, JournalError, JournalFuture, JournalShard, JournalStore, JournalWrite,
    QuarantinedRecord, RecordState, StateKind, StateRange, UnreadableItem, WriteOutcome,
};
use crate::{
    SequenceNumber,
    aws::{Connection, StoreFault},
};
pub(crate) use key::REPLAY_POSITION as REPLAY_POSITION_KEY;
pub use quarantine_reader::{QuarantinePage, QuarantineReader};

/// A journal in a DynamoDB table: HASH key `pk` (text), RANGE key `sk` (text), time to live in `expiresAt`.
///
/// `pk` is the shard, as [`JournalShard`] prints it. `sk` starts with `S#` for the state of a Kinesis record that comes
/// again, with `H#` for that of a discarded record, and with `Q#` for a user record in the quarantine; the sequence number follows,
/// with its two-digit length in front, so that the keys are in stream order. Only states have a time to live. The table may also have
/// [positions of replays](crate::replay::DynamoDbReplayPositions), with the key `P#`.
///
/// It needs the permissions `Query`, `PutItem` and `DeleteItem` on the table. Connecting and each attempt take at most
/// one second; there are at most three attempts. Nothing is read, made or connected before the first call.
///
/// A payload and keys of more than 350 KB together span items, which are written before the rest. If that fails then,
/// those items stay: the next write of the same user record uses them within an hour and replaces them later. After a day
/// without their record, [`QuarantinePage::unreadable`] lists them.
#[derive(Debug)]
pub struct DynamoDbJournal {
    table: String,
    connection: Arc<Connection>,
}

impl DynamoDbJournal {
    /// The table of this name, with region, credentials and endpoint as the environment has them.
    pub fn new(table: impl Into<String>) -> Self {
        Self::with_connection(table.into(), Arc::default())
    }

    /// The table of this name, with region, credentials and endpoint of this configuration. The time limits and
    /// attempts are those of the journal all the same.
    pub fn with_config(table: impl Into<String>, config: SdkConfig) -> Self {
        Self::with_connection(table.into(), Arc::new(Connection::with_config(config)))
    }

    pub(crate) fn with_connection(table: String, connection: Arc<Connection>) -> Self {
        DynamoDbJournal { table, connection }
    }

    /// The table of this name behind a client with time limits and attempts of its own: for tools, which may wait longer
    /// than an invocation.
    pub fn with_client(table: impl Into<String>, client: Client) -> Self {
        Self::with_connection(table.into(), Arc::new(Connection::with_client(client)))
    }

    /// Reads the keys of all items. It scans the whole table, which costs as much as reading it; the permission is
    /// `Scan`.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`].
    pub async fn scan_keys(&self) -> Result<TableKeys, JournalError> {
        read::scan_keys(&self.connection, &self.table).await
    }

    /// Reads all entries of a kind that the shard has, expired ones included.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`]. An item that cannot be read is not an error but a part of the answer.
    pub async fn states(
        &self,
        shard: JournalShard<'_>,
        kind: StateKind,
    ) -> Result<JournalEntries, JournalError> {
        read::all_states(&self.connection, &self.table, shard, kind).await
    }

    /// Reads the quarantine of a shard, page by page.
    pub fn quarantine(&self, shard: JournalShard<'_>) -> QuarantineReader {
        QuarantineReader::new(Arc::clone(&self.connection), self.table.clone(), shard)
    }

    /// Deletes a state, unless it was written again since it was read. Returns whether it was as it was read; that it is
    /// gone already is no error.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`]; then it may be deleted or not.
    pub async fn delete_unchanged(
        &self,
        shard: JournalShard<'_>,
        state: &RecordState,
    ) -> Result<bool, JournalError> {
        write::delete_unchanged(self.connection.client().await, &self.table, shard, state).await
    }

    /// Takes a record out of the quarantine, with all parts of its payload, unless it was put there anew since it was
    /// read. Returns whether it was as it was read; that it is gone already is no error.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`]; then it may be gone, or parts of its payload may be left over, which nothing reads.
    pub async fn delete_quarantined(
        &self,
        shard: JournalShard<'_>,
        record: &QuarantinedRecord,
    ) -> Result<bool, JournalError> {
        write::delete_quarantined(self.connection.client().await, &self.table, shard, record).await
    }

    /// Deletes the item with this key, whatever it is: for [unreadable items](UnreadableItem). The parts of a payload go
    /// with their head. It is not an error if there is no such item.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`]; then it may be gone, or not.
    pub async fn delete_item(&self, key: &ItemKey) -> Result<(), JournalError> {
        write::delete_item(&self.connection, &self.table, key).await
    }
}

/// The keys that a journal's table has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableKeys {
    /// Partition keys of all shards that have something in the table, in their order; [`JournalShard::parse`] reads
    /// them.
    pub partition_keys: Vec<String>,
    /// Items whose keys are not the journal's, in the order of their keys. What has a key of the journal and cannot be
    /// read is found by reading its shard.
    pub foreign: Vec<UnreadableItem>,
}

impl JournalStore for DynamoDbJournal {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        Box::pin(read::states(&self.connection, &self.table, shard, range))
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        Box::pin(write::write(&self.connection, &self.table, writes))
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        Box::pin(async move {
            let client = self.connection.client().await;
            write::delete(client, &self.table, shard, kind, sequence_number).await
        })
    }

    fn delete_version<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
        version: u64,
    ) -> JournalFuture<'a, WriteOutcome> {
        Box::pin(async move {
            let client = self.connection.client().await;
            write::delete_version(client, &self.table, shard, kind, sequence_number, version).await
        })
    }
}

fn failure<E>(error: SdkError<E>) -> JournalError
where
    E: ProvideErrorMetadata + Error + fmt::Debug + 'static,
{
    JournalError::Store { source: Box::new(StoreFault::from(error)) }
}
