use std::time::Duration;

use aws_sdk_kinesis::{
    Client,
    operation::{
        describe_stream_summary::DescribeStreamSummaryOutput, get_records::GetRecordsOutput,
        list_shards::ListShardsOutput,
    },
    types::{PutRecordsRequestEntry, PutRecordsResultEntry, StreamStatus},
};
use tokio::time::sleep;

use super::{Position, Shard, record::shard, shard::parents_first};
use crate::{
    aws::{self, Attempts, AwsError, Repeater},
    output::meter,
    stream::name::StreamName,
};

/// Most records that a read returns: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const READ_LIMIT: i32 = 10_000;

/// Shards that one request lists: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html>
const LIST_LIMIT: i32 = 1_000;

const DESCRIBE: &str = "DescribeStreamSummary";

/// Interval at which a new stream is looked at.
const CREATION_INTERVAL: Duration = Duration::from_millis(500);

/// Most records of a request.
///
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
pub(crate) const MAX_PUT_RECORDS: usize = 500;

/// Most data and partition keys that a request may have on every stream, in bytes. Streams that are set to larger
/// records take more, so that a record above it may stand alone.
pub(crate) const MAX_PUT_BYTES: usize = 5 * 1024 * 1024;

/// Bytes that a slow line takes in a second.
const SLOW_BYTES_PER_SECOND: usize = 128 * 1024;

/// The part of the Kinesis API that is needed, for one stream. Requests that fail for a while are repeated for as
/// long as it takes.
#[derive(Debug)]
pub(crate) struct Api {
    client: Client,
    stream: StreamName,
    /// Name of the stream in errors.
    resource: String,
    repeater: Repeater,
    /// Number of times that a read is sent.
    attempts: Attempts,
    /// Most records that a read returns.
    read_limit: i32,
}

/// The description of a stream.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) arn: String,
    pub(crate) retention_ms: u64,
    /// `USER_PARTITION_KEY` or `AUTO`, if the stream has a strategy.
    pub(crate) distribution: Option<String>,
    /// When the stream was created, in seconds since 1970.
    pub(crate) created_s: Option<i64>,
}

/// The outcome of reading a shard.
#[derive(Debug)]
pub(super) enum Fetched {
    Records(GetRecordsOutput),
    /// Iterators live for five minutes.
    ExpiredIterator,
}

impl Api {
    /// Finds region, credentials and endpoint where every AWS tool finds them; the region is that of the stream, if it
    /// is named by its ARN.
    pub(crate) async fn connect(stream: StreamName) -> Result<Self, AwsError> {
        let config = aws::config(stream.arn().map(|arn| arn.region())).await?;
        let resource = format!("stream {stream}");
        let (client, repeater) = (Client::new(&config), Repeater::default());
        Ok(Api { client, stream, resource, repeater, attempts: Attempts::Endless, read_limit: READ_LIMIT })
    }

    /// Sends reads as often as this; without it, as long as it takes.
    pub(crate) fn with_attempts(self, attempts: Attempts) -> Self {
        Api { attempts, ..self }
    }

    /// Reads at most so many records at a time, for a look at the next ones.
    pub(crate) fn with_read_limit(self, records: i32) -> Self {
        Api { read_limit: records, ..self }
    }

    pub(crate) async fn describe(&self) -> Result<Description, AwsError> {
        let operation = DESCRIBE;
        let Some(summary) = self.describe_summary().await?.stream_description_summary else {
            return Err(AwsError::Answer { operation, what: "no description".to_owned() });
        };
        match u64::try_from(summary.retention_period_hours) {
            Ok(hours @ 1..) => {
                let strategy = summary.record_distribution_strategy;
                let distribution = strategy.map(|strategy| strategy.as_str().to_owned());
                let retention_ms = hours * 60 * 60 * 1000;
                // Some emulators leave it out.
                let created_s = Some(summary.stream_creation_timestamp.secs()).filter(|&seconds| seconds > 0);
                Ok(Description { arn: summary.stream_arn, retention_ms, distribution, created_s })
            }
            // Without a retention every record would be too old to be delivered.
            _ => {
                let what = format!("a retention of {} hours", summary.retention_period_hours);
                Err(AwsError::Answer { operation, what })
            }
        }
    }

    /// All shards that the stream has now, closed ones included, parents before children.
    pub(crate) async fn shards(&self) -> Result<Vec<Shard>, AwsError> {
        let mut shards = Vec::new();
        let mut next_token = None;
        loop {
            let Some(page) = self.list_shards(next_token.take()).await? else {
                // From the beginning: it may have changed.
                shards.clear();
                continue;
            };
            for listed in page.shards.unwrap_or_default() {
                shards.push(shard(listed)?);
            }
            match page.next_token {
                None => return Ok(parents_first(shards)),
                next => next_token = next,
            }
        }
    }

    /// A page of the stream's shards. `None` if the token is no longer valid.
    async fn list_shards(&self, next_token: Option<String>) -> Result<Option<ListShardsOutput>, AwsError> {
        let request = || {
            let request = self.client.list_shards().max_results(LIST_LIMIT);
            // The token stands for the stream; both together are refused.
            match next_token.clone() {
                Some(token) => request.next_token(token),
                None => request.set_stream_name(self.stream.name()).set_stream_arn(self.stream_arn()),
            }
            .send()
        };
        match self.repeater.request(&self.resource, "ListShards", Attempts::Endless, request).await {
            Ok(page) => Ok(Some(page)),
            Err(error) if error.is("ExpiredNextTokenException") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An iterator of the shard.
    pub(super) async fn iterator(&self, shard_id: &str, position: Position) -> Result<String, AwsError> {
        let operation = "GetShardIterator";
        let request = || {
            let request = position.begin(self.client.get_shard_iterator().shard_id(shard_id));
            request.set_stream_name(self.stream.name()).set_stream_arn(self.stream_arn()).send()
        };
        let answer = self.repeater.request(&self.resource, operation, self.attempts, request).await?;
        answer.shard_iterator.ok_or_else(|| {
            let what = format!("no iterator of {shard_id}");
            AwsError::Answer { operation, what }
        })
    }

    /// The records at the iterator.
    pub(super) async fn records(&self, iterator: &str) -> Result<Fetched, AwsError> {
        let request = || {
            let request = self.client.get_records().shard_iterator(iterator).limit(self.read_limit);
            // Not needed beside an iterator, but policies may ask for it.
            request.set_stream_arn(self.stream_arn()).send()
        };
        match self.repeater.request(&self.resource, "GetRecords", self.attempts, request).await {
            Ok(records) => Ok(Fetched::Records(records)),
            Err(error) if error.is("ExpiredIteratorException") => Ok(Fetched::ExpiredIterator),
            Err(error) => Err(error),
        }
    }

    /// Makes the stream, unless it is there already. Returns whether it is new.
    pub(crate) async fn create(&self, shards: i32) -> Result<bool, AwsError> {
        let request = || {
            let name = match self.stream.arn() {
                Some(arn) => Some(arn.name().to_owned()),
                None => self.stream.name(),
            };
            self.client.create_stream().set_stream_name(name).shard_count(shards).send()
        };
        // First, because a stream that is there cannot be told from one that is being changed by the answer to CreateStream.
        if self.exists().await? {
            return Ok(false);
        }
        match self.repeater.request(&self.resource, "CreateStream", Attempts::Few, request).await {
            Ok(_) => Ok(true),
            // Somebody else has made it meanwhile.
            Err(error) if error.is("ResourceInUseException") => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn exists(&self) -> Result<bool, AwsError> {
        match self.describe_summary().await {
            Ok(_) => Ok(true),
            Err(error) if error.is("ResourceNotFoundException") => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn describe_summary(&self) -> Result<DescribeStreamSummaryOutput, AwsError> {
        let request = || {
            let request = self.client.describe_stream_summary();
            request.set_stream_name(self.stream.name()).set_stream_arn(self.stream_arn()).send()
        };
        self.repeater.request(&self.resource, DESCRIBE, Attempts::Few, request).await
    }

    /// Waits until the stream takes records.
    pub(crate) async fn wait_until_active(&self) -> Result<(), AwsError> {
        let _waiting = meter::wait(format!("{} to become active", self.resource));
        loop {
            match self
                .describe_summary()
                .await?
                .stream_description_summary
                .map(|summary| summary.stream_status)
            {
                Some(StreamStatus::Active | StreamStatus::Updating) => return Ok(()),
                Some(StreamStatus::Creating) => sleep(CREATION_INTERVAL).await,
                status => {
                    let what = format!("status {status:?} of {}", self.resource);
                    return Err(AwsError::Answer { operation: DESCRIBE, what });
                }
            }
        }
    }

    /// Puts records. Each of them may fail by itself.
    pub(crate) async fn put_records(
        &self,
        records: &[PutRecordsRequestEntry],
    ) -> Result<Vec<PutRecordsResultEntry>, AwsError> {
        let operation = "PutRecords";
        let request = || {
            let request = self.client.put_records().set_records(Some(records.to_vec()));
            request.set_stream_name(self.stream.name()).set_stream_arn(self.stream_arn()).send()
        };
        let bytes: usize = records.iter().map(|record| record.data.as_ref().len()).sum();
        let time = Duration::from_secs((bytes / SLOW_BYTES_PER_SECOND) as u64);
        let sent = self.repeater.upload(&self.resource, operation, Attempts::Endless, time, request);
        let answer = sent.await?;
        if answer.records.len() != records.len() {
            let what = format!("{} results for {} records", answer.records.len(), records.len());
            return Err(AwsError::Answer { operation, what });
        }
        Ok(answer.records)
    }

    fn stream_arn(&self) -> Option<String> {
        self.stream.arn().map(|arn| arn.as_str().to_owned())
    }
}
