use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::{Client, config::Builder};

use super::transaction_conflict::TransactionConflicts;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_ATTEMPTS: u32 = 3;

/// The SDK waits up to 20 seconds between attempts. An invocation should not.
const MAX_BACKOFF: Duration = Duration::from_millis(200);

/// Returns the time limits of a client: an invocation should not wait for longer.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

/// Returns how often, and how soon, a client sends a request again.
pub(crate) fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS).with_max_backoff(MAX_BACKOFF)
}

pub(super) async fn make(config: Option<&SdkConfig>) -> Client {
    let loaded;
    let config = match config {
        Some(config) => config,
        None => {
            loaded = aws_config::defaults(BehaviorVersion::latest()).load().await;
            &loaded
        }
    };
    let config = Builder::from(config)
        .timeout_config(timeouts())
        .retry_config(retries())
        .retry_classifier(TransactionConflicts);
    Client::from_conf(config.build())
}

/// Opens the connection that the first request will use, which takes the name's resolution, TCP and TLS.
///
/// The SDK has no call for that alone, so an update is made into the request that DynamoDB answers at its root with
/// `healthy`: it asks for no action, so it needs no permission and can change nothing. Whatever comes back, or nothing:
/// the request will tell.
pub(super) async fn connect(client: &Client, table: &str) {
    let ping = client
        .update_item()
        .table_name(table)
        .customize()
        .config_override(Builder::default().retry_config(RetryConfig::disabled()))
        .mutate_request(|request| {
            request.set_method("GET").expect("GET is a method");
            for header in ["content-length", "content-type", "x-amz-target"] {
                request.headers_mut().remove(header);
            }
            *request.body_mut() = "".into();
        });
    drop(ping.send().await);
}
