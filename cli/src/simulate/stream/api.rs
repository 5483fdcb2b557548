use std::{cell::RefCell, collections::HashSet, time::Duration};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_kinesis::{
    Client,
    config::{ProvideCredentials, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        get_records::GetRecordsOutput, get_shard_iterator::builders::GetShardIteratorFluentBuilder,
        list_shards::ListShardsOutput,
    },
};
use tokio::time::sleep;

use super::{StreamError, api_failure::ApiFailure, backoff::Backoff};
use crate::{note::note, stream_name::StreamName};

/// How often the first request of all is sent: if it does not get through, the configuration is likely wrong.
const START_ATTEMPTS: u32 = 3;

/// Most records that a read returns: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const READ_LIMIT: i32 = 10_000;

/// Shards that one request lists: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html>
const LIST_LIMIT: i32 = 1_000;

/// Longer than 10 MiB take on a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The part of the Kinesis API that polling needs, for one stream. Requests that fail for a while are repeated for as
/// long as it takes.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    stream: StreamName,
    /// Kinds of failures that standard error has been told of.
    noted: RefCell<HashSet<String>>,
}

/// What Kinesis says about a stream.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) arn: String,
    pub(super) retention_ms: u64,
}

/// What a read of a shard came to.
#[derive(Debug)]
pub(super) enum Fetched {
    Records(GetRecordsOutput),
    /// Iterators live for five minutes.
    ExpiredIterator,
}

impl Api {
    /// Finds region, credentials and endpoint where every AWS tool finds them.
    pub(super) async fn connect(stream: StreamName) -> Result<Self, StreamError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(arn) = stream.arn() {
            loader = loader.region(Region::new(arn.region().to_owned()));
        }
        // Repeating is done here: the SDK gives up after a few attempts.
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(REQUEST_TIMEOUT).build();
        let loader = loader.retry_config(RetryConfig::disabled()).timeout_config(timeouts);
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(StreamError::NoRegion);
        }
        // Asked now, because a request without them would fail with a text that hides it.
        if let Some(provider) = config.credentials_provider() {
            let credentials = provider.provide_credentials().await;
            credentials.map_err(|error| StreamError::NoCredentials(error.into()))?;
        }
        Ok(Api { client: Client::new(&config), stream, noted: RefCell::default() })
    }

    pub(super) async fn describe(&self) -> Result<Description, StreamError> {
        let operation = "DescribeStreamSummary";
        let request = || {
            let request = self.client.describe_stream_summary();
            request.set_stream_name(self.stream.name()).set_stream_arn(self.stream_arn()).send()
        };
        let answer = self
            .repeat(operation, START_ATTEMPTS, request)
            .await
            .map_err(|source| StreamError::Start { stream: self.stream.to_string(), operation, source })?;
        let Some(summary) = answer.stream_description_summary else {
            return Err(StreamError::Answer { operation, what: "no description".to_owned() });
        };
        match u64::try_from(summary.retention_period_hours) {
            Ok(hours @ 1..) => {
                Ok(Description { arn: summary.stream_arn, retention_ms: hours * 60 * 60 * 1000 })
            }
            // Without a retention every record would be too old to be delivered.
            _ => {
                let what = format!("a retention of {} hours", summary.retention_period_hours);
                Err(StreamError::Answer { operation, what })
            }
        }
    }

    /// A page of the stream's shards. `None` if the token is no longer valid.
    pub(super) async fn list_shards(
        &self,
        next_token: Option<String>,
    ) -> Result<Option<ListShardsOutput>, StreamError> {
        let operation = "ListShards";
        let request = || {
            let request = self.client.list_shards().max_results(LIST_LIMIT);
            // The token stands for the stream; both together are refused.
            match next_token.clone() {
                Some(token) => request.next_token(token),
                None => request.set_stream_name(self.stream.name()).set_stream_arn(self.stream_arn()),
            }
            .send()
        };
        match self.repeat(operation, u32::MAX, request).await {
            Ok(page) => Ok(Some(page)),
            Err(failure) if failure.is("ExpiredNextTokenException") => Ok(None),
            Err(failure) => Err(self.poll_error(operation, failure)),
        }
    }

    /// An iterator of the shard; `begin` says where.
    pub(super) async fn iterator(
        &self,
        shard_id: &str,
        begin: impl Fn(GetShardIteratorFluentBuilder) -> GetShardIteratorFluentBuilder,
    ) -> Result<String, StreamError> {
        let operation = "GetShardIterator";
        let request = || {
            let request = begin(self.client.get_shard_iterator().shard_id(shard_id));
            request.set_stream_name(self.stream.name()).set_stream_arn(self.stream_arn()).send()
        };
        let answer = self.repeat(operation, u32::MAX, request).await;
        let answer = answer.map_err(|failure| self.poll_error(operation, failure))?;
        answer.shard_iterator.ok_or_else(|| {
            let what = format!("no iterator of {shard_id}");
            StreamError::Answer { operation, what }
        })
    }

    /// The records at the iterator.
    pub(super) async fn records(&self, iterator: &str) -> Result<Fetched, StreamError> {
        let operation = "GetRecords";
        let request = || {
            let request = self.client.get_records().shard_iterator(iterator).limit(READ_LIMIT);
            // Not needed beside an iterator, but policies may ask for it.
            request.set_stream_arn(self.stream_arn()).send()
        };
        match self.repeat(operation, u32::MAX, request).await {
            Ok(records) => Ok(Fetched::Records(records)),
            Err(failure) if failure.is("ExpiredIteratorException") => Ok(Fetched::ExpiredIterator),
            Err(failure) => Err(self.poll_error(operation, failure)),
        }
    }

    fn stream_arn(&self) -> Option<String> {
        self.stream.arn().map(|arn| arn.as_str().to_owned())
    }

    fn poll_error(&self, operation: &'static str, source: ApiFailure) -> StreamError {
        StreamError::Poll { stream: self.stream.to_string(), operation, source }
    }

    /// Sends the request until it is answered, at most this often.
    async fn repeat<T, E, F>(
        &self,
        operation: &'static str,
        attempts: u32,
        request: impl Fn() -> F,
    ) -> Result<T, ApiFailure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let mut backoff = Backoff::new();
        let mut attempt = 1;
        loop {
            let failure = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => ApiFailure::from(error),
            };
            if !failure.is_transient() || attempt >= attempts {
                return Err(failure);
            }
            if self.noted.borrow_mut().insert(failure.kind().to_owned()) {
                note(format_args!("{operation}: {failure}; trying again, from now on without a word"));
            }
            attempt = attempt.saturating_add(1);
            sleep(backoff.next_delay()).await;
        }
    }
}
