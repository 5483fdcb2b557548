use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use aws_sdk_s3::{Client, config::Builder};
use kinesis_esm::FailureRecord;
use kinesis_handler::SequenceNumber;

use crate::{
    aws::{self, ApiFailure, Attempts, AwsError, Repeater},
    error::chain,
    output::note::warning,
};

/// Largest object that can be a failure record, as `redrive` has it.
const MAX_OBJECT_BYTES: usize = 16 * 1024 * 1024;

/// The failure records of a mapping in a bucket: no function sees what its mapping has discarded.
#[derive(Debug)]
pub(super) struct Failures {
    client: Client,
    bucket: String,
    /// Beginning of all keys of the mapping: `aws/lambda/MAPPING/`.
    prefix: String,
    repeater: Repeater,
    /// Discarded ranges by shard.
    ranges: RefCell<HashMap<String, Vec<Range>>>,
    /// Keys of the objects that were read.
    known: RefCell<HashSet<String>>,
}

/// Kinesis records that the mapping discarded together.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: SequenceNumber,
    last: SequenceNumber,
    records: u64,
}

impl Failures {
    pub(super) async fn open(bucket: &str, uuid: &str, region: Option<&str>) -> Result<Self, AwsError> {
        let config = aws::config(region).await?;
        // Stand-ins for S3 have no host names for buckets. S3 takes both forms.
        let client = Client::from_conf(Builder::from(&config).force_path_style(true).build());
        Ok(Failures {
            client,
            bucket: bucket.to_owned(),
            prefix: format!("aws/lambda/{uuid}/"),
            repeater: Repeater::default(),
            ranges: RefCell::default(),
            known: RefCell::default(),
        })
    }

    /// Returns the place of the failure records, as `redrive --s3` takes it.
    pub(super) fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    /// Returns the last Kinesis record of those that were discarded together with this one. `None` if it was not discarded.
    pub(super) async fn last_discarded(
        &self,
        shard_id: &str,
        number: SequenceNumber,
    ) -> Result<Option<SequenceNumber>, AwsError> {
        let known = |failures: &Self| {
            let ranges = failures.ranges.borrow();
            let mut found = ranges.get(shard_id).into_iter().flatten();
            found.find(|range| (range.first..=range.last).contains(&number)).map(|range| range.last)
        };
        if let Some(last) = known(self) {
            return Ok(Some(last));
        }
        self.read(&format!("{shard_id}/")).await?;
        Ok(known(self))
    }

    /// Returns the number of discarded Kinesis records of a shard.
    pub(super) async fn discarded(&self, shard_id: &str) -> Result<u64, AwsError> {
        self.read(&format!("{shard_id}/")).await?;
        Ok(self.known_discarded(shard_id))
    }

    /// Returns the number of discarded Kinesis records of a shard, as far as failure records were read.
    pub(super) fn known_discarded(&self, shard_id: &str) -> u64 {
        let ranges = self.ranges.borrow();
        ranges.get(shard_id).into_iter().flatten().map(|range| range.records).sum()
    }

    /// Reads the failure records of all shards that were not read before.
    pub(super) async fn read_all(&self) -> Result<(), AwsError> {
        self.read("").await
    }

    /// Reads the failure records below a prefix that were not read before.
    async fn read(&self, prefix: &str) -> Result<(), AwsError> {
        for key in self.keys(prefix).await? {
            if self.known.borrow().contains(&key) {
                continue;
            }
            let Some(body) = self.object(&key).await? else { continue };
            // Another shard's look may have read it meanwhile.
            if !self.known.borrow_mut().insert(key.clone()) {
                continue;
            }
            let text = String::from_utf8_lossy(&body);
            match FailureRecord::parse(&text) {
                Ok(record) => {
                    let batch = record.kinesis_batch_info;
                    let range = Range {
                        first: batch.start_sequence_number,
                        last: batch.end_sequence_number,
                        records: batch.batch_size.unwrap_or(1),
                    };
                    self.ranges.borrow_mut().entry(batch.shard_id).or_default().push(range);
                }
                Err(error) => warning(format_args!("warning: {key}: {}", chain(&error))),
            }
        }
        Ok(())
    }

    /// Lists the objects below a prefix.
    async fn keys(&self, prefix: &str) -> Result<Vec<String>, AwsError> {
        let (mut keys, mut next) = (Vec::new(), None::<String>);
        let resource = format!("bucket {}", self.bucket);
        loop {
            let request = || {
                let request = self.client.list_objects_v2().bucket(&self.bucket);
                let request = request.prefix(format!("{}{prefix}", self.prefix));
                request.set_continuation_token(next.clone()).send()
            };
            let page = self.repeater.request(&resource, "ListObjectsV2", Attempts::Bounded, request).await?;
            keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
            match page.next_continuation_token.filter(|_| page.is_truncated == Some(true)) {
                None => return Ok(keys),
                token => next = token,
            }
        }
    }

    /// Reads an object. `None` if it is too large for a failure record, or was deleted meanwhile.
    async fn object(&self, key: &str) -> Result<Option<Vec<u8>>, AwsError> {
        let operation = "GetObject";
        let resource = format!("bucket {}", self.bucket);
        let request = || self.client.get_object().bucket(&self.bucket).key(key).send();
        let mut body = match self.repeater.request(&resource, operation, Attempts::Bounded, request).await {
            Ok(object) => object.body,
            Err(error) if error.is("NoSuchKey") => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            let failed = |error| AwsError::Request {
                resource: resource.clone(),
                operation,
                source: ApiFailure::of_body(&error),
            };
            bytes.extend_from_slice(&chunk.map_err(failed)?);
            if bytes.len() > MAX_OBJECT_BYTES {
                warning(format_args!("warning: {key} is too large for a failure record"));
                return Ok(None);
            }
        }
        Ok(Some(bytes))
    }
}
