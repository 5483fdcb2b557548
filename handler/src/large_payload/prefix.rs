/// A prefix of objects that may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedPrefix {
    bucket: String,
    prefix: String,
}

impl AllowedPrefix {
    /// Parses `s3://BUCKET` or `s3://BUCKET/PREFIX`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (bucket, prefix) = match text.strip_prefix("s3://")?.split_once('/') {
            Some(parts) => parts,
            None => (text.strip_prefix("s3://")?, ""),
        };
        is_bucket(bucket).then(|| AllowedPrefix { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// Whether an object is in the bucket, under a key that begins with the prefix.
    pub(crate) fn has(&self, bucket: &str, key: &str) -> bool {
        self.bucket == bucket && key.starts_with(&self.prefix)
    }
}

/// Returns whether a bucket may have this name.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
pub(super) fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(allowed: &str, bucket: &str, key: &str, expected: bool) {
        let allowed = AllowedPrefix::parse(allowed).expect("a prefix");
        assert_eq!(allowed.has(bucket, key), expected);
    }

    #[test]
    fn objects_are_allowed_by_bucket_and_prefix() {
        check("s3://orders", "orders", "any/key", true);
        check("s3://orders/", "orders", "any/key", true);
        check("s3://orders/large/", "orders", "large/key", true);
        check("s3://orders/large/", "orders", "larger", false);
        check("s3://orders/large/", "orders", "other/large/key", false);
        check("s3://orders", "orders-secret", "key", false);
        check("s3://orders/large/", "others", "large/key", false);
    }

    #[test]
    fn anything_else_is_no_prefix() {
        for text in
            ["", "orders", "s3://", "s3:///large", "s3://Orders", "https://orders", "s3://or", "s3://*"]
        {
            assert_eq!(AllowedPrefix::parse(text), None, "{text}");
        }
    }
}
