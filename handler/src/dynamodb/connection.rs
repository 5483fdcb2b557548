use std::fmt;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use tokio::sync::OnceCell;

use super::client;

/// The client of one or more stores, which use the same connections. Nothing is read, made or connected before the first
/// call.
#[derive(Default)]
pub(crate) struct Connection {
    /// Where it runs, if the environment shall not decide that.
    config: Option<SdkConfig>,
    client: OnceCell<Client>,
    connected: OnceCell<()>,
}

impl Connection {
    pub(crate) fn with_config(config: SdkConfig) -> Self {
        Connection { config: Some(config), ..Connection::default() }
    }

    /// The client; the first call makes it.
    pub(crate) async fn client(&self) -> &Client {
        self.client.get_or_init(|| client::make(self.config.as_ref())).await
    }

    /// The client, connected: the first call does that. A second one waits for it.
    pub(crate) async fn connect(&self, table: &str) -> &Client {
        let client = self.client().await;
        self.connected.get_or_init(|| client::connect(client, table)).await;
        client
    }

    /// A request has gone the way that [`connect`](Self::connect) opens, which need not be opened again.
    pub(crate) fn note_connected(&self) {
        // An error means that it was noted before, or is being opened just now.
        let _ = self.connected.set(());
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
