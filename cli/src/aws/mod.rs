//! The parts that all AWS services share: where they are found, how their failures read, and when a request is repeated.

mod failure;
mod backoff;
mod error;
mod repeat;
mod first_answer;
pub(crate) mod function_name;
pub(crate) mod event_source_mappings;
pub(crate) mod mapping_settings;
pub(crate) mod lambda_mappings;
pub(crate) mod object_prefix;
pub(crate) mod payload_bucket;

use std::time::Duration;

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, SdkConfig, environment::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider, retry::RetryConfig,
    sts::AssumeRoleProvider, timeout::TimeoutConfig,
};
use aws_sdk_kinesis::config::{
    Credentials, IdentityCache, ProvideCredentials, SharedCredentialsProvider, SharedIdentityCache,
};
use aws_types::service_config::ServiceConfigKey;
use kinesis_handler::BoxError;
use tokio::{sync::OnceCell, time::timeout};

use first_answer::FirstAnswer;

pub(crate) use backoff::Backoff;
pub(crate) use error::AwsError;
pub(crate) use failure::ApiFailure;
pub(crate) use repeat::{Attempts, Repeater};

/// Time for connecting to a service.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Longer than 10 MiB take on a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for credentials: a program or a service that provides them may hang.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(10);

const DYNAMODB_ATTEMPTS: u32 = 10;

/// Time until an answer of DynamoDB begins: its requests are small.
const DYNAMODB_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The services that are used, credentials included, as the SDK names them.
const SERVICES: [&str; 8] = ["Kinesis", "DynamoDB", "Lambda", "S3", "SQS", "STS", "SSO", "SSO OIDC"];

/// Finds region, credentials and endpoint where every AWS tool finds them. A region that is given comes first.
///
/// Clients of this configuration repeat nothing: the SDK would silently stop after a few attempts.
pub(crate) async fn config(region: Option<&str>) -> Result<SdkConfig, AwsError> {
    let mut loader = loader();
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let shared = credentials(region).await;
    let mut config = loader.load().await;
    if let Some(provider) = shared.provider.clone() {
        // The loader would wrap the provider, and then it would not be the one whose credentials the cache has.
        config =
            config.into_builder().credentials_provider(provider).identity_cache(shared.cache.clone()).build();
    }
    if config.region().is_none_or(|region| region.as_ref().is_empty()) {
        return Err(AwsError::NoRegion);
    }
    check_endpoints(&config)?;
    shared.check.get_or_try_init(|| check_credentials(&config)).await?;
    Ok(config)
}

fn loader() -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(REQUEST_TIMEOUT)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
}

/// The credentials of the clients of all regions.
#[derive(Debug)]
struct SharedCredentials {
    provider: Option<SharedCredentialsProvider>,
    cache: SharedIdentityCache,
    /// Whether there are any.
    check: OnceCell<()>,
}

/// Returns the one provider of credentials. It asks in the configured region, and in the given one only if none is
/// configured: a failure record may name any region, also one without STS.
async fn credentials(region: Option<&str>) -> &'static SharedCredentials {
    static CREDENTIALS: OnceCell<SharedCredentials> = OnceCell::const_new();

    let load = async || {
        let configured = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(region.map(|region| Region::new(region.to_owned())));
        let provider = loader().region(configured).load().await.credentials_provider();
        SharedCredentials { provider, cache: IdentityCache::lazy().build(), check: OnceCell::new() }
    };
    CREDENTIALS.get_or_init(load).await
}

/// Refuses an empty endpoint URL, with which the SDK panics.
fn check_endpoints(config: &SdkConfig) -> Result<(), AwsError> {
    let of_service = |service| {
        let key =
            ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url");
        config.service_config()?.load_config(key.build().expect("all three members are there"))
    };
    let mut urls =
        SERVICES.into_iter().filter_map(of_service).chain(config.endpoint_url().map(str::to_owned));
    if urls.any(|url| url.is_empty()) { Err(AwsError::EmptyEndpoint) } else { Ok(()) }
}

/// Asks for credentials now, because a request without them would fail with a text that hides it.
async fn check_credentials(config: &SdkConfig) -> Result<(), AwsError> {
    let Some(provider) = config.credentials_provider() else { return Ok(()) };
    let credentials = match timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await {
        Ok(credentials) => credentials.map_err(|error| AwsError::NoCredentials(error.into()))?,
        Err(_) => {
            let why =
                format!("their provider did not answer within {} seconds", CREDENTIALS_TIMEOUT.as_secs());
            return Err(AwsError::NoCredentials(why.into()));
        }
    };
    // The SDK panics when it signs with such an ID.
    if credentials.access_key_id().contains(char::is_control) {
        return Err(AwsError::NoCredentials("the access key ID contains a control character".into()));
    }
    Ok(())
}

/// Returns credentials of an IAM role, for an hour.
pub(crate) async fn assume_role(role_arn: &str) -> Result<Credentials, AwsError> {
    let config = config(None).await?;
    let role =
        AssumeRoleProvider::builder(role_arn).configure(&config).session_name("kinesis-kit").build().await;
    let refused = |source: BoxError| AwsError::Role { role_arn: role_arn.to_owned(), source };
    match timeout(CREDENTIALS_TIMEOUT, role.provide_credentials()).await {
        Ok(credentials) => credentials.map_err(|error| refused(error.into())),
        Err(_) => Err(refused(format!("no answer within {} seconds", CREDENTIALS_TIMEOUT.as_secs()).into())),
    }
}

/// A client of DynamoDB that repeats requests by itself, and longer than a function would.
pub(crate) async fn dynamodb(region: Option<&str>) -> Result<aws_sdk_dynamodb::Client, AwsError> {
    let config = config(region).await?;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(DYNAMODB_READ_TIMEOUT)
        .operation_attempt_timeout(REQUEST_TIMEOUT)
        .build();
    let config = aws_sdk_dynamodb::config::Builder::from(&config)
        .retry_config(RetryConfig::standard().with_max_attempts(DYNAMODB_ATTEMPTS))
        .retry_classifier(FirstAnswer::default())
        .timeout_config(timeouts);
    Ok(aws_sdk_dynamodb::Client::from_conf(config.build()))
}
