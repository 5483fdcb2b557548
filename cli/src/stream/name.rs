use std::{fmt, str::FromStr};

use kinesis_esm::{StreamArn, StreamArnError};

/// A stream as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamName {
    /// In the region that the environment names.
    Name(String),
    /// In its own region.
    Arn(StreamArn),
}

impl StreamName {
    /// For a request: either this or [`arn`](Self::arn).
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            StreamName::Name(name) => Some(name.clone()),
            StreamName::Arn(_) => None,
        }
    }

    pub(crate) fn arn(&self) -> Option<&StreamArn> {
        match self {
            StreamName::Name(_) => None,
            StreamName::Arn(arn) => Some(arn),
        }
    }
}

impl FromStr for StreamName {
    type Err = StreamArnError;

    fn from_str(text: &str) -> Result<Self, StreamArnError> {
        if text.starts_with("arn:") {
            return Ok(StreamName::Arn(text.parse()?));
        }
        Ok(StreamName::Name(text.to_owned()))
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamName::Name(name) => f.write_str(name),
            StreamName::Arn(arn) => f.write_str(arn.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_by_its_name_or_its_arn() {
        let name: StreamName = "orders".parse().expect("any name");
        assert_eq!((name.name(), name.arn()), (Some("orders".to_owned()), None));
        let text = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
        let arn: StreamName = text.parse().expect("an ARN");
        assert_eq!((arn.name(), arn.arn().map(StreamArn::region)), (None, Some("eu-west-1")));
        assert_eq!((name.to_string(), arn.to_string()), ("orders".to_owned(), text.to_owned()));
        let consumer = format!("{text}/consumer/c:1").parse::<StreamName>();
        assert_eq!(consumer, Err(StreamArnError::Consumer));
    }
}
