//! A DynamoDB server (moto) of a test's own.

use std::{
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::{
    Client,
    config::Credentials,
    types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType},
};

use crate::emulator::{free_port, repository, wait_for};

/// A server on a free port. It ends when this is dropped.
pub(crate) struct Moto {
    process: Child,
    pub(crate) port: u16,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let port = free_port();
        let process = Command::new(repository().join(".tools/servers/bin/python"))
            .args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto is installed: run the tests with `make test`");
        let moto = Moto { process, port };
        wait_for("moto", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        moto
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // Errors mean that it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The variables of a Lambda environment whose AWS services are all at this port.
pub(crate) fn variables(port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", endpoint(port)),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_SESSION_TOKEN", "test".to_owned()),
    ]
}

/// Whatever listens at this port, as the SDK has to know it.
pub(crate) async fn config(port: u16) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(Credentials::new("test", "test", None, None, "the test"))
        .endpoint_url(endpoint(port))
        .load()
        .await
}

/// Makes a lease table.
pub(crate) async fn create_table(client: &Client, name: &str) {
    create(client, name, &[("leaseKey", KeyType::Hash)]).await;
}

/// Makes a table for a retry journal.
pub(crate) async fn create_journal_table(client: &Client, name: &str) {
    create(client, name, &[("pk", KeyType::Hash), ("sk", KeyType::Range)]).await;
}

/// Makes a table whose keys are text.
async fn create(client: &Client, name: &str, keys: &[(&str, KeyType)]) {
    let mut request = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in keys {
        let attribute = AttributeDefinition::builder()
            .attribute_name(*name)
            .attribute_type(ScalarAttributeType::S)
            .build();
        let key = KeySchemaElement::builder().attribute_name(*name).key_type(kind.clone()).build();
        request = request
            .attribute_definitions(attribute.expect("name and type"))
            .key_schema(key.expect("name and type"));
    }
    request.send().await.expect("moto makes a table");
}

const REGION: &str = "us-east-1";

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
