//! The lease table in DynamoDB.

mod update;
mod item;
mod scan;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use tokio::runtime;

use super::{Checkpoint, CheckpointError, CheckpointFuture, CheckpointStore, LeaseRows, RowFuture};
use crate::aws::{Connection, StoreFault, text_value};

/// A lease table in DynamoDB: HASH key `leaseKey` (text), no sort key.
///
/// Each write is one conditional `UpdateItem`, without a read before it, and needs only that permission on the table.
/// Connecting and each attempt take at most one second; there are at most three attempts.
///
/// The store reads, makes and connects nothing before the first batch arrives, so a cold start does not pay for it.
#[derive(Debug)]
pub struct DynamoDbCheckpoints {
    shared: Arc<Shared>,
    is_warm: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    table: String,
    connection: Arc<Connection>,
}

impl DynamoDbCheckpoints {
    /// The table of this name, with region, credentials and endpoint as the environment has them.
    pub fn new(table: impl Into<String>) -> Self {
        Self::with_connection(table.into(), Arc::default())
    }

    /// The table of this name, with region, credentials and endpoint of this configuration. The time limits and
    /// attempts are those of the mirror all the same.
    pub fn with_config(table: impl Into<String>, config: SdkConfig) -> Self {
        Self::with_connection(table.into(), Arc::new(Connection::with_config(config)))
    }

    /// The table of this name behind a client with time limits and attempts of its own: for tools, which may wait longer
    /// than an invocation.
    pub fn with_client(table: impl Into<String>, client: Client) -> Self {
        Self::with_connection(table.into(), Arc::new(Connection::with_client(client)))
    }

    /// Returns all leases of the table, those that cannot be read apart. Rows of a KCL that are not leases (leader, workers,
    /// migration) are skipped. It scans the table, strongly consistent; the permission is `dynamodb:Scan`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Store`] if DynamoDB does not answer a page.
    pub async fn rows(&self) -> Result<LeaseRows, CheckpointError> {
        let Shared { table, connection } = &*self.shared;
        scan::rows(connection.client().await, table).await
    }

    pub(crate) fn with_connection(table: String, connection: Arc<Connection>) -> Self {
        let shared = Shared { table, connection };
        DynamoDbCheckpoints { shared: Arc::new(shared), is_warm: AtomicBool::new(false) }
    }
}

impl CheckpointStore for DynamoDbCheckpoints {
    fn write<'a>(&'a self, checkpoint: Checkpoint<'a>) -> CheckpointFuture<'a> {
        Box::pin(async move {
            let Shared { table, connection } = &*self.shared;
            update::write(connection.connect(table).await, table, &checkpoint).await
        })
    }

    fn read<'a>(&'a self, shard_id: &'a str) -> RowFuture<'a> {
        Box::pin(async move {
            let Shared { table, connection } = &*self.shared;
            let read = connection.connect(table).await.get_item().table_name(table).consistent_read(true);
            let answer = read.key("leaseKey", text_value(shard_id)).send().await;
            let answer = answer
                .map_err(|error| CheckpointError::Store { source: Box::new(StoreFault::from(error)) })?;
            answer.item().map(item::row).transpose()
        })
    }

    fn warm_up(&self) {
        if self.is_warm.swap(true, Ordering::Relaxed) {
            return;
        }
        // A task, so that it goes on while a processor computes. Without a runtime the first write does it.
        if let Ok(runtime) = runtime::Handle::try_current() {
            let shared = Arc::clone(&self.shared);
            runtime.spawn(async move {
                shared.connection.connect(&shared.table).await;
            });
        }
    }
}
