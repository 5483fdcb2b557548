use std::str::FromStr;

use thiserror::Error;

/// The ARN of a stream: `arn:PARTITION:kinesis:REGION:ACCOUNT:stream/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamArn {
    text: String,
    partition: String,
    region: String,
    account: String,
}

/// Why a text is not a [`StreamArn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum StreamArnError {
    #[error("expected arn:PARTITION:kinesis:REGION:ACCOUNT:stream/NAME")]
    Shape,
    #[error(
        "this is the ARN of a consumer: Lambda hands it no aggregated records; give the ARN of its stream"
    )]
    Consumer,
}

impl FromStr for StreamArn {
    type Err = StreamArnError;

    fn from_str(text: &str) -> Result<Self, StreamArnError> {
        let parts: Vec<&str> = text.split(':').collect();
        if text.contains("/consumer/") {
            return Err(StreamArnError::Consumer);
        }
        match parts[..] {
            ["arn", partition, "kinesis", region, account, stream]
                if ![partition, region, account].contains(&"")
                    && stream
                        .strip_prefix("stream/")
                        .is_some_and(|name| !name.is_empty() && !name.contains('/')) =>
            {
                Ok(StreamArn {
                    text: text.to_owned(),
                    partition: partition.to_owned(),
                    region: region.to_owned(),
                    account: account.to_owned(),
                })
            }
            _ => Err(StreamArnError::Shape),
        }
    }
}

/// The stream of an event that names none.
impl Default for StreamArn {
    fn default() -> Self {
        "arn:aws:kinesis:us-east-1:123456789012:stream/example".parse().expect("it has the shape above")
    }
}

impl StreamArn {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The stream's name.
    pub(crate) fn name(&self) -> &str {
        self.text.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// Returns the region of the stream, such as `us-east-1`.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// A role of the stream's account.
    pub(crate) fn role_arn(&self) -> String {
        format!("arn:{}:iam::{}:role/lambda-role", self.partition, self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, expected: StreamArnError) {
        assert_eq!(text.parse::<StreamArn>(), Err(expected));
    }

    #[test]
    fn a_stream_arn_has_six_parts() {
        let arn: StreamArn = "arn:aws-cn:kinesis:cn-north-1:210987654321:stream/s".parse().expect("an ARN");
        assert_eq!(arn.as_str(), "arn:aws-cn:kinesis:cn-north-1:210987654321:stream/s");
        assert_eq!((arn.region(), arn.name()), ("cn-north-1", "s"));
        assert_eq!(arn.role_arn(), "arn:aws-cn:iam::210987654321:role/lambda-role");

        check_refused("orders", StreamArnError::Shape);
        check_refused("arn:aws:kinesis:us-east-1:123456789012:stream/", StreamArnError::Shape);
        check_refused("arn:aws:kinesis::123456789012:stream/s", StreamArnError::Shape);
        check_refused("arn:aws:sqs:us-east-1:123456789012:stream/s", StreamArnError::Shape);
        check_refused(
            "arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/c:1",
            StreamArnError::Consumer,
        );
    }
}
