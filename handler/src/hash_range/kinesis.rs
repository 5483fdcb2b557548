use std::fmt;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_kinesis::{
    Client,
    config::Builder,
    error::{ProvideErrorMetadata, SdkError},
    types::{RecordDistributionStrategy, Shard},
};
use kpl_deaggregation::HashKeyRange;
use tokio::sync::OnceCell;

use super::{ShardRange, ShardRangeError, ShardRangeFuture, ShardRangeSource, StreamRanges};
use crate::aws::{self, StoreFault};

/// The largest number of shards in a response of `ListShards`.
const MAX_RESULTS: i32 = 10_000;

/// The ranges of a stream's shards as Kinesis lists them.
///
/// It needs the permissions `kinesis:DescribeStreamSummary` and `kinesis:ListShards` on the stream. Connecting and each attempt
/// take at most one second; there are at most three attempts. Nothing is read, made or connected before the first call.
#[derive(Default)]
pub struct KinesisShardRanges {
    /// Configuration of the SDK, if the environment shall not decide it.
    config: Option<SdkConfig>,
    client: OnceCell<Client>,
}

impl KinesisShardRanges {
    /// Returns a source with region, credentials and endpoint as the environment has them.
    pub fn new() -> Self {
        KinesisShardRanges::default()
    }

    /// Returns a source with region, credentials and endpoint of this configuration.
    pub fn with_config(config: SdkConfig) -> Self {
        KinesisShardRanges { config: Some(config), client: OnceCell::new() }
    }

    /// Returns a source behind a client with time limits and attempts of its own.
    pub fn with_client(client: Client) -> Self {
        KinesisShardRanges { config: None, client: OnceCell::new_with(Some(client)) }
    }

    async fn client(&self) -> &Client {
        let make = async || {
            let config = match &self.config {
                Some(config) => config.clone(),
                None => aws_config::defaults(BehaviorVersion::latest()).load().await,
            };
            let config = Builder::from(&config).timeout_config(aws::timeouts()).retry_config(aws::retries());
            Client::from_conf(config.build())
        };
        self.client.get_or_init(make).await
    }

    async fn list_all(&self, stream_arn: &str) -> Result<StreamRanges, ShardRangeError> {
        let client = self.client().await;
        let described = client.describe_stream_summary().stream_arn(stream_arn).send().await;
        let summary = described.map_err(failure)?.stream_description_summary;
        let strategy = summary.and_then(|summary| summary.record_distribution_strategy);
        if strategy == Some(RecordDistributionStrategy::Auto) {
            return Ok(StreamRanges::ServiceManaged);
        }
        let mut shards = Vec::new();
        let mut next_token = None;
        loop {
            let request = client.list_shards().max_results(MAX_RESULTS);
            // The token stands for the stream; both together are refused.
            let request = match next_token {
                Some(token) => request.next_token(token),
                None => request.stream_arn(stream_arn),
            };
            let page = request.send().await.map_err(failure)?;
            for shard in page.shards.unwrap_or_default() {
                shards.push(range(shard)?);
            }
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(StreamRanges::Shards(shards));
            }
        }
    }
}

impl ShardRangeSource for KinesisShardRanges {
    fn list<'a>(&'a self, stream_arn: &'a str) -> ShardRangeFuture<'a> {
        Box::pin(self.list_all(stream_arn))
    }
}

impl fmt::Debug for KinesisShardRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisShardRanges").finish_non_exhaustive()
    }
}

fn failure<E>(error: SdkError<E>) -> ShardRangeError
where
    E: ProvideErrorMetadata + std::error::Error + fmt::Debug + 'static,
{
    ShardRangeError::Source { source: Box::new(StoreFault::from(error)) }
}

fn range(shard: Shard) -> Result<ShardRange, ShardRangeError> {
    let Shard { shard_id, hash_key_range, .. } = shard;
    let bounds = hash_key_range.map(|range| (range.starting_hash_key, range.ending_hash_key));
    let range = match bounds {
        Some((first, last)) => HashKeyRange::from_decimal(&first, &last).map_err(|error| error.to_string()),
        None => Err("no hash key range".to_owned()),
    };
    match range {
        Ok(range) => Ok(ShardRange { shard_id, range }),
        Err(fault) => Err(ShardRangeError::Shard { shard_id, fault }),
    }
}
