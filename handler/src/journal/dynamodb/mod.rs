//! The journal's table in DynamoDB.

mod key;
mod key_attributes;
mod state_item;
mod quarantine_item;
mod read;
mod write;

use std::{error::Error, fmt, sync::Arc};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::{
    JournalError, JournalFuture, JournalShard, JournalStore, JournalWrite, QuarantinedRecord, RecordState,
    StateKind, StateRange, WriteOutcome,
};
use crate::{
    SequenceNumber,
    dynamodb::{Connection, StoreFault},
};

/// A journal in a DynamoDB table: HASH key `pk` (text), RANGE key `sk` (text), time to live in `expiresAt`.
///
/// `pk` is the shard, as [`JournalShard`] prints it. `sk` starts with `S#` for the state of a Kinesis record that comes
/// again, with `H#` for that of a hole, and with `Q#` for a user record in the quarantine; the sequence number follows,
/// with its two-digit length in front, so that the keys are in stream order. Only states have a time to live.
///
/// It needs the permissions `Query`, `PutItem` and `DeleteItem` on the table. Connecting and each attempt take at most
/// one second; there are at most three attempts. Nothing is read, made or connected before the first call.
///
/// A payload of more than 350 KB spans items, which are written before the rest. If that fails then, or the state has
/// another version, those items stay: the next write of the same user record takes their place, and nothing reads them.
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

    /// The quarantine of a shard, in stream order, with all payloads: in memory at once.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`]; [`UnreadableItem`](JournalError::UnreadableItem) also if parts of a payload are missing.
    pub async fn quarantine(&self, shard: JournalShard<'_>) -> Result<Vec<QuarantinedRecord>, JournalError> {
        read::quarantine(&self.connection, &self.table, shard).await
    }
}

impl JournalStore for DynamoDbJournal {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, Vec<RecordState>> {
        Box::pin(read::states(&self.connection, &self.table, shard, range))
    }

    fn write<'a>(&'a self, write: JournalWrite<'a>) -> JournalFuture<'a, WriteOutcome> {
        Box::pin(async move { write::write(self.connection.client().await, &self.table, write).await })
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
}

fn failure<E>(error: SdkError<E>) -> JournalError
where
    E: ProvideErrorMetadata + Error + fmt::Debug + 'static,
{
    JournalError::Store { source: Box::new(StoreFault::from(error)) }
}
