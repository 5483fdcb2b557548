use std::fmt;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use tokio::sync::OnceCell;

use super::client;

/// The client of one or more stores, which use the same connections. Nothing is read, made or connected before the first
/// call.
#[derive(Default)]
pub(crate) struct Connection {
    /// Configuration of the SDK, if the environment shall not decide it.
    config: Option<SdkConfig>,
    client: OnceCell<Client>,
    connected: OnceCell<()>,
}

impl Connection {
    pub(crate) fn with_config(config: SdkConfig) -> Self {
        Connection { config: Some(config), ..Connection::default() }
    }

    pub(crate) fn with_client(client: Client) -> Self {
        Connection { client: OnceCell::new_with(Some(client)), ..Connection::default() }
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use aws_config::{BehaviorVersion, Region};
    use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};

    use super::*;

    /// Returns the number of requests that reach a server which answers the first of them.
    async fn requests(uses: impl AsyncFnOnce(&Connection)) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let server = thread::spawn(move || {
            let mut requests = 0;
            for client in listener.incoming() {
                let mut client = client.expect("a connection");
                let mut request = [0; 4096];
                let length = client.read(&mut request).expect("a request");
                if request[..length].starts_with(b"end") {
                    break;
                }
                requests += 1;
                client
                    .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                    .expect("a client that waits");
            }
            requests
        });
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("t", "t", None, None, "t")))
            .endpoint_url(format!("http://{address}"))
            .build();
        uses(&Connection::with_config(config)).await;
        let mut client = std::net::TcpStream::connect(address).expect("the server is there");
        client.write_all(b"end").expect("the server reads");
        server.join().expect("no panic")
    }

    #[tokio::test]
    async fn a_connection_is_opened_once() {
        let once = async |connection: &Connection| {
            tokio::join!(connection.connect("orders"), connection.connect("orders"));
            connection.connect("others").await;
        };
        assert_eq!(requests(once).await, 1);
    }

    #[tokio::test]
    async fn a_connection_that_was_used_is_not_opened_again() {
        let used = async |connection: &Connection| {
            connection.client().await;
            connection.note_connected();
            connection.connect("orders").await;
        };
        assert_eq!(requests(used).await, 0);
    }
}
