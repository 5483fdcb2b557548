//! ARNs of streams and of their enhanced fan-out consumers.

use std::str::FromStr;

use thiserror::Error;

/// The ARN of a stream: `arn:PARTITION:kinesis:REGION:ACCOUNT:stream/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamArn {
    text: String,
    partition: String,
    region: String,
    account: String,
}

/// Why a text is not a [`StreamArn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StreamArnError {
    /// It has another shape.
    #[error("expected arn:PARTITION:kinesis:REGION:ACCOUNT:stream/NAME")]
    Shape,
    /// It is the ARN of an enhanced fan-out consumer.
    #[error(
        "this is the ARN of a consumer: Lambda hands it no aggregated records; give the ARN of its stream"
    )]
    Consumer,
}

impl FromStr for StreamArn {
    type Err = StreamArnError;

    fn from_str(text: &str) -> Result<Self, StreamArnError> {
        let parts: Vec<&str> = text.split(':').collect();
        if is_consumer(text) {
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

/// The made-up stream of an event or a mapping that names none.
impl Default for StreamArn {
    fn default() -> Self {
        "arn:aws:kinesis:us-east-1:123456789012:stream/example".parse().expect("it has the shape above")
    }
}

impl StreamArn {
    /// Returns the ARN as it was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the name of the stream.
    pub fn name(&self) -> &str {
        self.text.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// Returns the region of the stream, such as `us-east-1`.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Returns the ARN of a made-up role in the stream's account, to invoke functions.
    pub fn role_arn(&self) -> String {
        format!("arn:{}:iam::{}:role/lambda-role", self.partition, self.account)
    }
}

/// Part of the ARN of an enhanced fan-out consumer: `STREAM_ARN/consumer/NAME:TIMESTAMP`.
const CONSUMER: &str = "/consumer/";

/// Returns whether the ARN of an event source is that of an enhanced fan-out consumer, not of a stream.
pub fn is_consumer(event_source_arn: &str) -> bool {
    event_source_arn.contains(CONSUMER)
}

/// Returns the ARN of the stream that an event source with this ARN reads: of a consumer's stream, or the same ARN.
pub fn stream_of(event_source_arn: &str) -> &str {
    event_source_arn.split_once(CONSUMER).map_or(event_source_arn, |(stream_arn, _)| stream_arn)
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

    #[test]
    fn the_stream_of_a_consumer_precedes_its_name() {
        let stream = "arn:aws:kinesis:us-east-1:123456789012:stream/s";
        let consumer = format!("{stream}/consumer/c:1");
        assert_eq!([stream_of(stream), stream_of(&consumer)], [stream, stream]);
        assert_eq!([is_consumer(stream), is_consumer(&consumer)], [false, true]);
    }
}
