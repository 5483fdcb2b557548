use std::{ops::RangeInclusive, sync::Arc};

use super::OptionsError;
use crate::large_payload::{AllowedPrefix, PayloadStore};

/// No function has more memory than ten times of that.
const MAX_BYTES: RangeInclusive<u64> = 1..=1 << 30;

/// The options of large payloads: the store that has them, and the objects in it that may be read.
///
/// By default no object may be read, because whoever puts a record chooses the bucket and the key of its pointer.
#[derive(Debug, Clone)]
pub struct LargePayloadOptions {
    store: Arc<dyn PayloadStore>,
    allowed: Vec<String>,
    max_bytes: u64,
}

impl LargePayloadOptions {
    /// Default of [`max_bytes`](Self::max_bytes): 16 MiB, which a function with 128 MB can hold next to an event of 6 MB.
    pub const DEFAULT_MAX_BYTES: u64 = 16 * 1024 * 1024;

    /// Returns the options of large payloads in this store.
    pub fn new(store: Arc<dyn PayloadStore>) -> Self {
        LargePayloadOptions { store, allowed: Vec::new(), max_bytes: Self::DEFAULT_MAX_BYTES }
    }

    /// Allows objects: `s3://BUCKET`, or `s3://BUCKET/PREFIX` for those whose keys begin with a prefix. May be called several times.
    #[must_use]
    pub fn allow(mut self, prefix: impl Into<String>) -> Self {
        self.allowed.push(prefix.into());
        self
    }

    /// Sets the most bytes (1 to 1 GiB) of a payload that is fetched; to fetch a larger one is a permanent error. By default
    /// 16 MiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Checks the values.
    pub(crate) fn build(self) -> Result<LargePayloads, OptionsError> {
        let expected = "s3://BUCKET or s3://BUCKET/PREFIX";
        let wrong = |text: String| OptionsError::value("large_payloads", text, expected);
        if self.allowed.is_empty() {
            return Err(wrong(String::new()));
        }
        let allowed =
            self.allowed.into_iter().map(|text| AllowedPrefix::parse(&text).ok_or_else(|| wrong(text)));
        let allowed = allowed.collect::<Result<_, _>>()?;
        if !MAX_BYTES.contains(&self.max_bytes) {
            let expected = "1 to 1073741824 bytes";
            return Err(OptionsError::value("max_large_payload_bytes", self.max_bytes, expected));
        }
        Ok(LargePayloads { store: self.store, allowed, max_bytes: self.max_bytes })
    }
}

/// Options whose values were checked.
#[derive(Debug)]
pub(crate) struct LargePayloads {
    pub(crate) store: Arc<dyn PayloadStore>,
    pub(crate) allowed: Vec<AllowedPrefix>,
    pub(crate) max_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::large_payload::MemoryPayloads;

    #[track_caller]
    fn check_refused(options: LargePayloadOptions, expected: &str) {
        assert_eq!(options.build().map(drop).expect_err("a wrong value").to_string(), expected);
    }

    #[test]
    fn values_are_checked() {
        let options = LargePayloadOptions::new(Arc::new(MemoryPayloads::default()));
        let expected = "large_payloads: expected s3://BUCKET or s3://BUCKET/PREFIX, found";
        check_refused(options.clone(), &format!("{expected} \"\""));
        check_refused(options.clone().allow("orders"), &format!("{expected} \"orders\""));
        for bytes in [0, 1_073_741_825] {
            let expected =
                format!("max_large_payload_bytes: expected 1 to 1073741824 bytes, found \"{bytes}\"");
            check_refused(options.clone().allow("s3://orders").max_bytes(bytes), &expected);
        }
        options.allow("s3://orders").allow("s3://others/large/").build().expect("legal values");
    }
}
