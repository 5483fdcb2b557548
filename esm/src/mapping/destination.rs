use std::str::FromStr;

use thiserror::Error;

/// The destination for failure records of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    arn: String,
    kind: DestinationKind,
}

/// The service of a [`Destination`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationKind {
    /// Gets the failure record as a message.
    Sqs,
    /// Gets the failure record as a message; a subscriber finds it in the member `Message` of what SNS makes of it.
    Sns,
    /// Gets the failure record and the batch that failed as an object (rule 24).
    S3,
}

/// Why a text is not a [`Destination`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{arn:?} is not the ARN of an SQS queue, an SNS topic or an S3 bucket")]
pub struct DestinationError {
    /// Text that was given.
    pub arn: String,
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(arn: &str) -> Result<Self, DestinationError> {
        let mut parts = arn.splitn(6, ':');
        let (arn_prefix, _, service) = (parts.next(), parts.next(), parts.next());
        let resource = parts.nth(2).filter(|resource| !resource.is_empty());
        let kind = match (arn_prefix, service, resource) {
            (Some("arn"), Some("sqs"), Some(_)) => DestinationKind::Sqs,
            (Some("arn"), Some("sns"), Some(_)) => DestinationKind::Sns,
            (Some("arn"), Some("s3"), Some(_)) => DestinationKind::S3,
            _ => return Err(DestinationError { arn: arn.to_owned() }),
        };
        Ok(Destination { arn: arn.to_owned(), kind })
    }
}

impl Destination {
    /// Returns the ARN of the destination.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Returns the service of the destination.
    pub fn kind(&self) -> DestinationKind {
        self.kind
    }
}
