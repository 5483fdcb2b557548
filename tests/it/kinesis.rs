//! A stand-in for Kinesis.

use std::{
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
};

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    primitives::Blob,
    types::{Shard, StreamStatus},
};
use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, HashKeyRange, UserRecordInput};
use tokio::runtime::Runtime;

use crate::emulator::{free_port, wait_for};

/// Variables with which AWS tools find the stand-in, whatever the machine's own configuration is.
pub(crate) const CREDENTIALS: [(&str, &str); 5] = [
    ("AWS_ACCESS_KEY_ID", "key"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_CONFIG_FILE", "/dev/null"),
    ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
];

/// A Kinesis of its own, which ends with this value.
pub(crate) struct Kinesis {
    process: Child,
    port: u16,
    runtime: Runtime,
    client: Client,
}

impl Kinesis {
    pub(crate) fn start() -> Self {
        let (port, tls_port) = (free_port(), free_port());
        let mut command = Command::new("kinesis-local");
        command
            .env("KINESIS_MOCK_PLAIN_PORT", port.to_string())
            .env("KINESIS_MOCK_TLS_PORT", tls_port.to_string())
            .env("LOG_LEVEL", "ERROR");
        // By default each of these takes half a second.
        for operation in ["CREATE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "UPDATE_SHARD_COUNT"] {
            command.env(format!("{operation}_DURATION"), "0ms");
        }
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.expect("kinesis-local is installed: run the tests with `make test`");
        wait_for("Kinesis", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .endpoint_url(format!("http://127.0.0.1:{port}"))
            .build();
        Kinesis { process, port, runtime, client: Client::from_conf(config) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a stream that can be used.
    pub(crate) fn create_stream(&self, name: &str, shards: i32) {
        let request = self.client.create_stream().stream_name(name).shard_count(shards);
        self.runtime.block_on(request.send()).expect("a new stream");
        self.wait_until_active(name);
    }

    fn wait_until_active(&self, name: &str) {
        wait_for("the stream", || {
            let request = self.client.describe_stream_summary().stream_name(name);
            let answer = self.runtime.block_on(request.send()).expect("the stream is there");
            let status = answer.stream_description_summary.map(|summary| summary.stream_status);
            status == Some(StreamStatus::Active)
        });
    }

    /// Puts a record and returns its sequence number. The hash key decides on the shard; without it the partition key.
    pub(crate) fn put(&self, stream: &str, key: &str, hash_key: Option<u128>, data: &[u8]) -> String {
        let request = self.client.put_record().stream_name(stream).partition_key(key).data(Blob::new(data));
        let request = request.set_explicit_hash_key(hash_key.map(|key| key.to_string()));
        self.runtime.block_on(request.send()).expect("a record is taken").sequence_number
    }

    /// Puts the user records as one Kinesis record and returns its sequence number. The hash key is that of each of them:
    /// a KCL drops a whole aggregate if one of its user records does not belong to the shard.
    pub(crate) fn put_aggregate(
        &self,
        stream: &str,
        hash_key: Option<u128>,
        user_records: &[impl AsRef<[u8]>],
    ) -> String {
        let grouping = Grouping::ShardRanges(vec![HashKeyRange::FULL]);
        let options = AggregatorOptions { grouping, ..AggregatorOptions::default() };
        let mut aggregator = Aggregator::new(options).expect("the default limit");
        let explicit_hash_key = hash_key.map(|key| key.to_string());
        for (number, data) in user_records.iter().enumerate() {
            let partition_key = format!("key-{number}");
            let mut user_record = UserRecordInput::new(&partition_key, data);
            user_record.explicit_hash_key = explicit_hash_key.as_deref();
            assert_eq!(aggregator.add(user_record), Ok(None));
        }
        let record = aggregator.finish().remove(0);
        self.put(stream, &record.partition_key, hash_key, &record.data)
    }

    /// When the stream was created, in seconds since 1970.
    pub(crate) fn created_s(&self, stream: &str) -> i64 {
        let request = self.client.describe_stream_summary().stream_name(stream);
        let answer = self.runtime.block_on(request.send()).expect("the stream is there");
        answer.stream_description_summary.expect("a description").stream_creation_timestamp.secs()
    }

    /// All shards, closed ones included.
    pub(crate) fn shards(&self, stream: &str) -> Vec<Shard> {
        let request = self.client.list_shards().stream_name(stream);
        let answer = self.runtime.block_on(request.send()).expect("the stream is there");
        answer.shards.expect("a stream has shards")
    }

    /// Splits the shard in two.
    pub(crate) fn split_shard(&self, stream: &str, shard_id: &str) {
        let shards = self.shards(stream);
        let shard = shards.iter().find(|shard| shard.shard_id == shard_id).expect("a shard of the stream");
        let range = shard.hash_key_range.as_ref().expect("a shard has a range");
        let key = |text: &str| text.parse::<u128>().expect("a hash key");
        let (start, end) = (key(&range.starting_hash_key), key(&range.ending_hash_key));
        let middle = start + (end - start) / 2 + 1;
        let request = self.client.split_shard().stream_name(stream).shard_to_split(shard_id);
        let request = request.new_starting_hash_key(middle.to_string());
        self.runtime.block_on(request.send()).expect("a shard that can be split");
        self.wait_until_active(stream);
    }
}

impl Drop for Kinesis {
    fn drop(&mut self) {
        // Errors mean that it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
