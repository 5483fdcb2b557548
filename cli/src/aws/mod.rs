//! What all AWS services have in common: where they are found, how their failures read, and when a request is repeated.

mod failure;
mod backoff;
mod error;
mod repeat;

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_kinesis::config::ProvideCredentials;

pub(crate) use backoff::Backoff;
pub(crate) use error::AwsError;
pub(crate) use failure::ApiFailure;
pub(crate) use repeat::{Attempts, Repeater};

/// Longer than 10 MiB take on a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

const DYNAMODB_ATTEMPTS: u32 = 10;

/// Finds region, credentials and endpoint where every AWS tool finds them. A region that is given comes first.
///
/// Clients of this configuration repeat nothing: the SDK would give up after a few attempts, without a word.
pub(crate) async fn config(region: Option<&str>) -> Result<SdkConfig, AwsError> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(REQUEST_TIMEOUT).build();
    let loader = loader.retry_config(RetryConfig::disabled()).timeout_config(timeouts);
    let config = loader.load().await;
    if config.region().is_none() {
        return Err(AwsError::NoRegion);
    }
    // Asked now, because a request without them would fail with a text that hides it.
    if let Some(provider) = config.credentials_provider() {
        let credentials = provider.provide_credentials().await;
        credentials.map_err(|error| AwsError::NoCredentials(error.into()))?;
    }
    Ok(config)
}

/// DynamoDB, which repeats requests by itself, and longer than a function would.
pub(crate) async fn dynamodb(region: Option<&str>) -> Result<aws_sdk_dynamodb::Client, AwsError> {
    let config = aws_sdk_dynamodb::config::Builder::from(&config(region).await?)
        .retry_config(RetryConfig::standard().with_max_attempts(DYNAMODB_ATTEMPTS));
    Ok(aws_sdk_dynamodb::Client::from_conf(config.build()))
}
