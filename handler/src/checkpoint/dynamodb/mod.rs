//! The lease table in DynamoDB. Nothing else in the crate knows the AWS SDK.

mod client;
mod update;
mod item;
mod fault;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_config::SdkConfig;
use tokio::{runtime, sync::OnceCell};

pub use fault::StoreFault;

use super::{Checkpoint, CheckpointFuture, CheckpointStore};

/// A lease table in DynamoDB: HASH key `leaseKey` (text), no sort key.
///
/// Each write is one conditional `UpdateItem`, without a read before it, and needs only that permission on the table.
/// Connecting and each attempt take at most one second; there are at most three attempts.
///
/// Nothing is read, made or connected before the first batch arrives: not during a cold start.
#[derive(Debug)]
pub struct DynamoDbCheckpoints {
    shared: Arc<Shared>,
    is_warm: AtomicBool,
}

struct Shared {
    table: String,
    /// Where it runs, if the environment shall not decide that.
    config: Option<SdkConfig>,
    client: OnceCell<aws_sdk_dynamodb::Client>,
}

impl DynamoDbCheckpoints {
    /// The table of this name, with region, credentials and endpoint as the environment has them.
    pub fn new(table: impl Into<String>) -> Self {
        Self::make(table.into(), None)
    }

    /// The table of this name, with region, credentials and endpoint of this configuration. The time limits and
    /// attempts are those of the mirror all the same.
    pub fn with_config(table: impl Into<String>, config: SdkConfig) -> Self {
        Self::make(table.into(), Some(config))
    }

    fn make(table: String, config: Option<SdkConfig>) -> Self {
        let shared = Shared { table, config, client: OnceCell::new() };
        DynamoDbCheckpoints { shared: Arc::new(shared), is_warm: AtomicBool::new(false) }
    }
}

impl Shared {
    /// The client; the first call makes it and has it connect. A second one waits for that.
    async fn client(&self) -> &aws_sdk_dynamodb::Client {
        let make = async || {
            let client = client::make(self.config.as_ref()).await;
            client::connect(&client, &self.table).await;
            client
        };
        self.client.get_or_init(make).await
    }
}

impl CheckpointStore for DynamoDbCheckpoints {
    fn write<'a>(&'a self, checkpoint: Checkpoint<'a>) -> CheckpointFuture<'a> {
        Box::pin(async move {
            let client = self.shared.client().await;
            update::write(client, &self.shared.table, &checkpoint).await
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
                shared.client().await;
            });
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("table", &self.table).finish_non_exhaustive()
    }
}
