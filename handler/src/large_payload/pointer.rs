use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{error::PointerError, prefix::is_bucket};

/// The version of pointers that this crate reads and writes.
const VERSION: u64 = 1;

/// The name of the first member, by which a pointer is recognized.
const MARKER: &[u8] = b"\"kinesisKitPayload\"";

/// Most bytes of a key: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const MAX_KEY_BYTES: usize = 1024;

/// A key of the greatest length, of which each byte is escaped, and the rest.
const MAX_POINTER_BYTES: usize = 8 * 1024;

/// A pointer to a payload in S3, which takes the place of the payload in the stream.
///
/// ```
/// use kinesis_handler::large_payload::PayloadPointer;
///
/// let pointer = PayloadPointer::new("orders-payloads", "2026/5f1a", b"a large payload")?;
/// let read = PayloadPointer::read(&pointer.to_json()).expect("it has the marker")?;
/// assert_eq!((read.bucket(), read.key(), read.length()), ("orders-payloads", "2026/5f1a", 15));
/// assert!(PayloadPointer::read(b"{\"id\":\"A-1001\"}").is_none());
/// # Ok::<(), kinesis_handler::large_payload::PointerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadPointer {
    bucket: String,
    key: String,
    length: u64,
    sha256: [u8; 32],
}

/// The JSON of a pointer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PointerJson {
    kinesis_kit_payload: u64,
    bucket: String,
    key: String,
    length: u64,
    sha256: String,
}

impl PayloadPointer {
    /// Returns the pointer to an object that has this payload.
    ///
    /// # Errors
    ///
    /// [`PointerError::Member`] for a bucket or a key that S3 would not take, and for a key with a part `.` or `..`.
    pub fn new(
        bucket: impl Into<String>,
        key: impl Into<String>,
        payload: &[u8],
    ) -> Result<Self, PointerError> {
        let pointer = PayloadPointer {
            bucket: bucket.into(),
            key: key.into(),
            length: payload.len() as u64,
            sha256: Sha256::digest(payload).into(),
        };
        pointer.check()?;
        Ok(pointer)
    }

    /// Reads a payload as a pointer; `None` if it does not begin as one.
    ///
    /// # Errors
    ///
    /// A [`PointerError`] for a payload that begins as a pointer, and is none.
    pub fn read(payload: &[u8]) -> Option<Result<Self, PointerError>> {
        let members = payload.trim_ascii_start().strip_prefix(b"{")?;
        if !members.trim_ascii_start().starts_with(MARKER) {
            return None;
        }
        Some(Self::parse(payload))
    }

    fn parse(payload: &[u8]) -> Result<Self, PointerError> {
        if payload.len() > MAX_POINTER_BYTES {
            return Err(PointerError::TooLong { bytes: payload.len(), limit: MAX_POINTER_BYTES });
        }
        // The parser's own error quotes values.
        let json: PointerJson = serde_json::from_slice(payload)
            .map_err(|error| PointerError::Json { line: error.line(), column: error.column() })?;
        if json.kinesis_kit_payload != VERSION {
            return Err(PointerError::Version { found: json.kinesis_kit_payload });
        }
        let sha256 = digest(&json.sha256);
        let expected = "64 hexadecimal digits";
        let sha256 = sha256.ok_or(PointerError::Member { member: "sha256", expected })?;
        let pointer = PayloadPointer { bucket: json.bucket, key: json.key, length: json.length, sha256 };
        pointer.check()?;
        Ok(pointer)
    }

    fn check(&self) -> Result<(), PointerError> {
        if !is_bucket(&self.bucket) {
            return Err(PointerError::Member { member: "bucket", expected: "the name of a bucket" });
        }
        // A server on the way to the store may resolve these parts, and so leave the prefix that is allowed.
        let is_key = (1..=MAX_KEY_BYTES).contains(&self.key.len())
            && !self.key.split('/').any(|part| matches!(part, "." | ".."));
        match is_key {
            true => Ok(()),
            false => {
                let expected = "1 to 1024 bytes without the parts \".\" and \"..\"";
                Err(PointerError::Member { member: "key", expected })
            }
        }
    }

    /// Returns the JSON that takes the payload's place.
    pub fn to_json(&self) -> Vec<u8> {
        let json = PointerJson {
            kinesis_kit_payload: VERSION,
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            length: self.length,
            sha256: self.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        serde_json::to_vec(&json).expect("texts and numbers are always JSON")
    }

    /// Returns the name of the bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns the key of the object.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the length of the payload, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the SHA-256 of the payload.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Returns whether an object is the payload that the pointer was made for.
    pub(super) fn has_digest_of(&self, payload: &[u8]) -> bool {
        Sha256::digest(payload)[..] == self.sha256
    }
}

/// Reads hexadecimal digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn json(bucket: &str, key: &str, rest: &str) -> String {
        format!(r#"{{"kinesisKitPayload":1,"bucket":"{bucket}","key":"{key}","length":5,"sha256":"{rest}"#)
    }

    #[test]
    fn a_pointer_is_read_as_it_was_written() {
        let pointer = PayloadPointer::new("orders", "large/é", b"hello").expect("a pointer");
        let text = String::from_utf8(pointer.to_json()).expect("text");
        assert_eq!(text, json("orders", "large/é", &format!("{SHA256}\"}}")));
        assert_eq!(PayloadPointer::read(text.as_bytes()), Some(Ok(pointer.clone())));
        let spaced = text.replace(':', ": ").replace('{', " {\n ");
        assert_eq!(PayloadPointer::read(spaced.as_bytes()), Some(Ok(pointer.clone())));
        assert!(pointer.has_digest_of(b"hello") && !pointer.has_digest_of(b"hellO"));
    }

    #[test]
    fn other_payloads_are_no_pointers() {
        for payload in [
            &b""[..],
            b"{",
            b"{}",
            b"[]",
            b"hello",
            br#"{"id":1,"kinesisKitPayload":1}"#,
            b"\"kinesisKitPayload\"",
        ] {
            assert_eq!(PayloadPointer::read(payload), None);
        }
    }

    #[track_caller]
    fn check_refused(payload: &str, expected: &str) {
        let error =
            PayloadPointer::read(payload.as_bytes()).expect("it has the marker").expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_payload_that_begins_as_a_pointer_and_is_none_is_an_error_without_its_values() {
        let end = format!("{SHA256}\"}}");
        let members = "expected the members kinesisKitPayload, bucket, key, length and sha256";
        check_refused(r#"{"kinesisKitPayload":"secret"}"#, &format!("{members} (line 1, column 29)"));
        check_refused(r#"{"kinesisKitPayload":1}"#, &format!("{members} (line 1, column 23)"));
        let more = json("orders", "k", &format!("{SHA256}\",\"secret\":1}}"));
        check_refused(&more, &format!("{members} (line 1, column 146)"));
        check_refused(&json("orders", "k", &end).replace(":1,", ":2,"), "expected version 1, found 2");
        for bucket in ["se cret", "..", "Secret", "se/cret"] {
            check_refused(&json(bucket, "k", &end), "member bucket: expected the name of a bucket");
        }
        let key = "member key: expected 1 to 1024 bytes without the parts \".\" and \"..\"";
        for text in ["", "large/../secret", "..", "./k", &"k".repeat(1025)] {
            check_refused(&json("orders", text, &end), key);
        }
        for digest in ["", &SHA256[1..], &SHA256.replace('2', "é"), &SHA256.replace('2', "+")] {
            check_refused(
                &json("orders", "k", &format!("{digest}\"}}")),
                "member sha256: expected 64 hexadecimal digits",
            );
        }
        let long = json("orders", "k", &end) + &" ".repeat(8 * 1024);
        check_refused(&long, &format!("{} bytes are more than a pointer has (8192)", long.len()));
    }
}
