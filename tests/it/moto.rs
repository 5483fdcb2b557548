//! A DynamoDB server (moto) of a test's own.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::{
    Client,
    config::Credentials,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType,
    },
};

use aws_sdk_lambda::{
    primitives::Blob,
    types::{Environment, FunctionCode, Runtime},
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
            // No web page in a browser on this machine may use it.
            .env("MOTO_DISABLE_GLOBAL_CORS", "true")
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

/// Makes a lease table, as the template has it.
pub(crate) async fn create_table(client: &Client, name: &str) {
    let index = GlobalSecondaryIndex::builder()
        .index_name("LeaseOwnerToLeaseKeyIndex")
        .key_schema(key("leaseOwner", KeyType::Hash))
        .key_schema(key("leaseKey", KeyType::Range))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build());
    client
        .create_table()
        .table_name(name)
        .attribute_definitions(text("leaseKey"))
        .attribute_definitions(text("leaseOwner"))
        .key_schema(key("leaseKey", KeyType::Hash))
        .global_secondary_indexes(index.build().expect("name and key"))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .expect("moto makes a table");
}

/// Makes a table for a retry journal, as the template has it.
pub(crate) async fn create_journal_table(client: &Client, name: &str) {
    client
        .create_table()
        .table_name(name)
        .attribute_definitions(text("pk"))
        .attribute_definitions(text("sk"))
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .expect("moto makes a table");
}

/// Makes a function with these variables, and a timeout of a second. Its code is never run.
pub(crate) async fn create_function(config: &SdkConfig, port: u16, name: &str, variables: &[(&str, &str)]) {
    // There is no other need for the SDK of IAM.
    let body = "Action=CreateRole&Version=2010-05-08&RoleName=function&AssumeRolePolicyDocument=%7B%7D";
    let credential = "Credential=test/20260101/us-east-1/iam/aws4_request";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("moto listens");
    connection.write_all(request.as_bytes()).expect("moto reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("moto answers");
    let (_, rest) = answer.split_once("<Arn>").unwrap_or_else(|| panic!("a role, not {answer}"));
    let role = rest.split('<').next().expect("a split has a first part");

    let environment = variables
        .iter()
        .fold(Environment::builder(), |environment, (name, value)| environment.variables(*name, *value));
    aws_sdk_lambda::Client::new(config)
        .create_function()
        .function_name(name)
        .runtime(Runtime::Providedal2023)
        .handler("bootstrap")
        .role(role)
        .timeout(1)
        .environment(environment.build())
        // An empty archive.
        .code(
            FunctionCode::builder()
                .zip_file(Blob::new(*b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"))
                .build(),
        )
        .send()
        .await
        .expect("moto makes a function");
}

fn text(name: &str) -> AttributeDefinition {
    let definition = AttributeDefinition::builder().attribute_name(name);
    definition.attribute_type(ScalarAttributeType::S).build().expect("name and type")
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("name and type")
}

const REGION: &str = "us-east-1";

pub(crate) fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
