use kinesis_handler::BoxError;
use thiserror::Error;

use super::ApiFailure;

/// Why an AWS service could not be used.
#[derive(Debug, Error)]
pub(crate) enum AwsError {
    #[error("no AWS region is configured: set AWS_REGION, name one in the profile, or give an ARN")]
    NoRegion,
    #[error(
        "an AWS endpoint URL is empty: set or unset AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SERVICE, and the profile's \
         endpoint_url"
    )]
    EmptyEndpoint,
    #[error("no AWS credentials")]
    NoCredentials(#[source] BoxError),
    #[error("role {role_arn} cannot be assumed")]
    Role { role_arn: String, source: BoxError },
    /// The first request of all did not get through: the command line or the configuration is likely wrong.
    #[error("{resource} cannot be used: {operation}")]
    Unusable { resource: String, operation: &'static str, source: ApiFailure },
    /// A later one did not.
    #[error("{resource} can no longer be used: {operation}")]
    Request { resource: String, operation: &'static str, source: ApiFailure },
    #[error("unexpected response to {operation}: {what}")]
    Answer { operation: &'static str, what: String },
}

impl AwsError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            AwsError::NoRegion
            | AwsError::EmptyEndpoint
            | AwsError::NoCredentials(_)
            | AwsError::Role { .. }
            | AwsError::Unusable { .. } => 2,
            AwsError::Request { .. } | AwsError::Answer { .. } => 1,
        }
    }

    /// Whether the service has answered with this error.
    pub(crate) fn is(&self, code: &str) -> bool {
        match self {
            AwsError::Unusable { source, .. } | AwsError::Request { source, .. } => source.is(code),
            _ => false,
        }
    }

    /// Whether the service has not answered at all.
    pub(crate) fn is_unanswered(&self) -> bool {
        match self {
            AwsError::Unusable { source, .. } | AwsError::Request { source, .. } => source.is_unanswered(),
            _ => false,
        }
    }
}
