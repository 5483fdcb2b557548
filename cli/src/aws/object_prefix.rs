use std::{fmt, str::FromStr};

/// A prefix of objects, as `s3://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectPrefix {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
}

impl FromStr for ObjectPrefix {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix("s3://").ok_or("expected s3://BUCKET or s3://BUCKET/PREFIX")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err("expected s3://BUCKET or s3://BUCKET/PREFIX");
        }
        Ok(ObjectPrefix { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for ObjectPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_may_be_empty() {
        let of = |bucket: &str, prefix: &str| {
            Ok(ObjectPrefix { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
        };
        assert_eq!("s3://failures".parse(), of("failures", ""));
        assert_eq!("s3://failures/aws/lambda/".parse(), of("failures", "aws/lambda/"));
        for text in ["failures", "s3://", "s3:///a", "https://failures"] {
            assert!(text.parse::<ObjectPrefix>().is_err(), "{text}");
        }
    }
}
