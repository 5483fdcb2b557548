use std::{cell::RefCell, collections::BTreeMap};

use aws_sdk_s3::{Client, config::Builder, types::EncodingType};
use futures_util::stream::{self, StreamExt};

use super::{Found, FoundError, Handle, Lane, Waiting, document};
use crate::aws::{self, ApiFailure, Attempts, AwsError, Repeater, object_prefix::ObjectPrefix};

/// Number of keys that are listed before the first of them is worked on, so that many shards are worked on at once: keys are
/// in the order of shards. A key takes about 200 bytes.
const MAX_LISTED: usize = 100_000;

/// Number of objects of a lane that are read at once.
const CONCURRENCY: usize = 16;

/// Largest object that can be a failure record: the event is at most 6 MiB of JSON, and as text in JSON at most twice
/// as long.
const MAX_OBJECT_BYTES: usize = 16 * 1024 * 1024;

/// Number of times that an object is read whose body breaks off.
const BODY_ATTEMPTS: u32 = 3;

/// A bucket that is an on-failure destination: an object for each failure record, under keys that put those of a shard
/// into their order.
#[derive(Debug)]
pub(crate) struct Bucket {
    client: Client,
    name: String,
    prefix: String,
    /// Account that must own the bucket, if that was said.
    owner: Option<String>,
    resource: String,
    repeater: Repeater,
    listing: RefCell<Listing>,
}

#[derive(Debug, Default)]
struct Listing {
    /// Keys and sizes that are in no lane yet.
    objects: Vec<(String, u64)>,
    /// Token with which the list continues.
    next: Option<String>,
    is_complete: bool,
}

impl Bucket {
    pub(super) async fn open(prefix: ObjectPrefix, owner: Option<String>) -> Result<Self, AwsError> {
        let config = aws::config(None).await?;
        // Stand-ins for S3 have no host names for buckets. S3 takes both forms.
        let client = Builder::from(&config).force_path_style(true);
        let ObjectPrefix { bucket: name, prefix } = prefix;
        let bucket = Bucket {
            client: Client::from_conf(client.build()),
            resource: format!("bucket {name}"),
            name,
            prefix,
            owner,
            repeater: Repeater::default(),
            listing: RefCell::default(),
        };
        bucket.list(Attempts::Few).await?;
        Ok(bucket)
    }

    /// Lists the next objects, in lanes by the shard that their keys name.
    pub(super) async fn lanes(&self) -> Result<Vec<Lane>, AwsError> {
        while !self.is_listed() {
            self.list(Attempts::Endless).await?;
        }
        let mut lanes: BTreeMap<String, Lane> = BTreeMap::new();
        for (key, bytes) in std::mem::take(&mut self.listing.borrow_mut().objects) {
            let lane = lanes.entry(shard_of(&key).to_owned()).or_default();
            lane.waiting.push_back(Waiting::Object { key, bytes });
        }
        Ok(lanes.into_values().collect())
    }

    fn is_listed(&self) -> bool {
        let listing = self.listing.borrow();
        listing.is_complete || listing.objects.len() >= MAX_LISTED
    }

    /// Reads objects. Those that were deleted since they were listed are left out.
    pub(super) async fn load(&self, keys: Vec<String>) -> Vec<Found> {
        let read = async |key: String| {
            let record = match self.read(&key).await {
                Ok(body) => document::failure_record(&body),
                Err(FoundError::Source(error)) if error.is("NoSuchKey") => return None,
                Err(error) => Err(error),
            };
            Some(Found { name: key.clone(), record, handle: Handle::Object(key) })
        };
        let found = stream::iter(keys).map(read).buffered(CONCURRENCY);
        found.filter_map(async |found| found).collect().await
    }

    async fn read(&self, key: &str) -> Result<Vec<u8>, FoundError> {
        let operation = "GetObject";
        let mut attempt = 1;
        'again: loop {
            let request = || {
                self.client
                    .get_object()
                    .bucket(&self.name)
                    .key(key)
                    .set_expected_bucket_owner(self.owner.clone())
                    .send()
            };
            let object = self.repeater.request(&self.resource, operation, Attempts::Few, request).await;
            let mut body = object.map_err(FoundError::Source)?.body;
            let mut bytes = Vec::new();
            while let Some(chunk) = body.next().await {
                match chunk {
                    Ok(chunk) if bytes.len() + chunk.len() > MAX_OBJECT_BYTES => {
                        return Err(FoundError::Size { max_bytes: MAX_OBJECT_BYTES });
                    }
                    Ok(chunk) => bytes.extend_from_slice(&chunk),
                    Err(_) if attempt < BODY_ATTEMPTS => {
                        attempt += 1;
                        continue 'again;
                    }
                    Err(error) => {
                        let (resource, source) = (self.resource.clone(), ApiFailure::of_body(&error));
                        let error = AwsError::Request { resource, operation, source };
                        return Err(FoundError::Source(error));
                    }
                }
            }
            return Ok(bytes);
        }
    }

    /// Lists the next keys, which are in order.
    async fn list(&self, attempts: Attempts) -> Result<(), AwsError> {
        let operation = "ListObjectsV2";
        let next = self.listing.borrow().next.clone();
        let request = || {
            let request = self.client.list_objects_v2().bucket(&self.name).prefix(&self.prefix);
            let request = request.set_expected_bucket_owner(self.owner.clone());
            // XML cannot hold a key with control characters as it is.
            request.encoding_type(EncodingType::Url).set_continuation_token(next.clone()).send()
        };
        let page = self.repeater.request(&self.resource, operation, attempts, request).await?;
        let is_encoded = page.encoding_type == Some(EncodingType::Url);
        let mut listing = self.listing.borrow_mut();
        // A page may be empty and not the last one.
        listing.is_complete = page.is_truncated != Some(true);
        if !listing.is_complete
            && (page.next_continuation_token.is_none() || page.next_continuation_token == next)
        {
            let what = "a list that goes on without a new continuation token".to_owned();
            return Err(AwsError::Answer { operation, what });
        }
        listing.next = page.next_continuation_token;
        for object in page.contents.unwrap_or_default() {
            let Some(key) = object.key else { continue };
            let key = if is_encoded { decode(&key) } else { key };
            listing.objects.push((key, object.size.and_then(|size| size.try_into().ok()).unwrap_or(0)));
        }
        Ok(())
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), AwsError> {
        let request = || {
            self.client
                .delete_object()
                .bucket(&self.name)
                .key(key)
                .set_expected_bucket_owner(self.owner.clone())
                .send()
        };
        self.repeater.request(&self.resource, "DeleteObject", Attempts::Bounded, request).await?;
        Ok(())
    }
}

/// Returns the shard in `aws/lambda/MAPPING/SHARD/…`; without one, nothing, so that all other objects share a lane.
fn shard_of(key: &str) -> &str {
    key.split('/').find(|part| part.starts_with("shardId-")).unwrap_or_default()
}

/// Decodes the key of a listing: `%` and two digits for a byte, `+` for a space.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, escaped) {
            (b'%', Some(escaped)) => {
                bytes.push(escaped);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
        rest = after;
    }
    // Keys are UTF-8.
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_as_s3_encodes_them() {
        assert_eq!(decode("aws/lambda/a%20b+c%2Bd%01%0A%C3%A9"), "aws/lambda/a b c+d\u{1}\né");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%F"), "%zz%F");
    }

    #[test]
    fn keys_of_a_shard_share_a_lane() {
        assert_eq!(shard_of("aws/lambda/m/shardId-000000000001/2026/01/01/x"), "shardId-000000000001");
        assert_eq!(shard_of("copies/2026/x"), "");
    }
}
