use std::{fmt, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::Builder,
    error::SdkError,
    operation::get_object::{GetObjectError, GetObjectOutput},
};
use tokio::sync::OnceCell;

use super::{PayloadFuture, PayloadStore, PayloadStoreError};
use crate::aws::StoreFault;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Time until an answer begins. A body that stalls is ended by the SDK.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

const MAX_ATTEMPTS: u32 = 3;

/// The SDK waits up to 20 seconds between attempts. An invocation should not.
const MAX_BACKOFF: Duration = Duration::from_millis(200);

/// Large payloads in S3. Nothing is read, made or connected before the first of them is fetched.
///
/// Buckets are in the function's region. The function needs `s3:GetObject` on the objects; without `s3:ListBucket` on the bucket,
/// S3 denies access to an object that is not there, which is then taken for an error that a retry may fix.
#[derive(Default)]
pub struct S3Payloads {
    /// Configuration of the SDK, if the environment shall not decide it.
    config: Option<SdkConfig>,
    client: OnceCell<Client>,
}

impl S3Payloads {
    /// Returns the store with region, credentials and endpoint from the environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the store with this configuration.
    pub fn with_config(config: SdkConfig) -> Self {
        S3Payloads { config: Some(config), client: OnceCell::new() }
    }

    async fn client(&self) -> &Client {
        let make = async || {
            let loaded;
            let config = match &self.config {
                Some(config) => config,
                None => {
                    loaded = aws_config::defaults(BehaviorVersion::latest()).load().await;
                    &loaded
                }
            };
            let timeouts =
                TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
            let retries =
                RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS).with_max_backoff(MAX_BACKOFF);
            // Stand-ins for S3 have no host names for buckets. S3 takes both forms.
            let config =
                Builder::from(config).force_path_style(true).timeout_config(timeouts).retry_config(retries);
            Client::from_conf(config.build())
        };
        self.client.get_or_init(make).await
    }
}

impl PayloadStore for S3Payloads {
    fn get<'a>(&'a self, bucket: &'a str, key: &'a str, max_bytes: u64) -> PayloadFuture<'a> {
        Box::pin(async move {
            let request = self.client().await.get_object().bucket(bucket).key(key);
            match request.send().await {
                Ok(object) => read(object, max_bytes).await,
                Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                    Err(PayloadStoreError::Missing)
                }
                Err(error) => Err(unavailable(error)),
            }
        })
    }
}

/// Returns the error without the message of S3, which names the object for example if access is denied.
fn unavailable<R: fmt::Debug>(error: SdkError<GetObjectError, R>) -> PayloadStoreError {
    PayloadStoreError::Unavailable(StoreFault::from(error).without_message().into())
}

/// Reads the object, as far as it is not larger than it may be.
async fn read(object: GetObjectOutput, max_bytes: u64) -> Result<Vec<u8>, PayloadStoreError> {
    let too_large = || PayloadStoreError::TooLarge { max_bytes };
    let length = object.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
    if length > max_bytes {
        return Err(too_large());
    }
    let mut payload = Vec::with_capacity(usize::try_from(length).map_err(|_| too_large())?);
    let mut body = object.body;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| PayloadStoreError::Unavailable(error.into()))?;
        if (payload.len() + chunk.len()) as u64 > max_bytes {
            return Err(too_large());
        }
        payload.extend_from_slice(&chunk);
    }
    Ok(payload)
}

impl fmt::Debug for S3Payloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Payloads").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use aws_sdk_s3::error::ErrorMetadata;

    use super::*;

    #[test]
    fn an_error_has_no_key_of_an_object() {
        let message = "User: arn:aws:sts::123456789012:assumed-role/r/f is not authorized to perform: s3:GetObject on resource: \
                       \"arn:aws:s3:::orders/large/secret\"";
        let metadata = ErrorMetadata::builder().code("AccessDenied").message(message).build();
        let error = SdkError::service_error(GetObjectError::generic(metadata), ());
        let error = unavailable(error);
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("AccessDenied"));
    }
}
