use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use aws_sdk_s3::{Client, config::Builder};

use super::{FailureRecord, Found, Handle};
use crate::{
    aws::{self, ApiFailure, Attempts, AwsError, Repeater},
    object_prefix::ObjectPrefix,
};

/// A bucket that is an on-failure destination: an object for each failure record, under keys that put those of a shard
/// into their order.
#[derive(Debug)]
pub(crate) struct Bucket {
    client: Client,
    name: String,
    prefix: String,
    resource: String,
    repeater: Repeater,
    keys: RefCell<VecDeque<String>>,
    /// Behind which key the list goes on.
    last_key: RefCell<Option<String>>,
    is_listed: Cell<bool>,
}

impl Bucket {
    pub(super) async fn open(prefix: ObjectPrefix) -> Result<Self, AwsError> {
        let config = aws::config(None).await?;
        // What stands in for S3 has no names of hosts for its buckets; S3 itself takes both.
        let client = Builder::from(&config).force_path_style(true);
        let ObjectPrefix { bucket: name, prefix } = prefix;
        let bucket = Bucket {
            client: Client::from_conf(client.build()),
            resource: format!("bucket {name}"),
            name,
            prefix,
            repeater: Repeater::default(),
            keys: RefCell::default(),
            last_key: RefCell::default(),
            is_listed: Cell::new(false),
        };
        bucket.list(Attempts::Few).await?;
        Ok(bucket)
    }

    pub(super) async fn next(&self) -> Result<Option<Found>, AwsError> {
        loop {
            let Some(key) = self.keys.borrow_mut().pop_front() else {
                if self.is_listed.get() {
                    return Ok(None);
                }
                self.list(Attempts::Endless).await?;
                continue;
            };
            let operation = "GetObject";
            let request = || self.client.get_object().bucket(&self.name).key(&key).send();
            let object = self.repeater.request(&self.resource, operation, Attempts::Endless, request).await;
            let object = match object {
                Ok(object) => object,
                // Somebody else has deleted it since it was listed.
                Err(error) if error.is("NoSuchKey") => continue,
                Err(error) => return Err(error),
            };
            let body = object.body.collect().await.map_err(|error| AwsError::Request {
                resource: self.resource.clone(),
                operation,
                source: ApiFailure::of_body(&error),
            })?;
            let record = FailureRecord::parse(&body.into_bytes());
            return Ok(Some(Found { name: key.clone(), record, handle: Handle::Object(key) }));
        }
    }

    /// Lists the next keys. They are in order, and what is deleted meanwhile does not matter.
    async fn list(&self, attempts: Attempts) -> Result<(), AwsError> {
        let last_key = self.last_key.borrow().clone();
        let request = || {
            let request = self.client.list_objects_v2().bucket(&self.name).prefix(&self.prefix);
            request.set_start_after(last_key.clone()).send()
        };
        let page = self.repeater.request(&self.resource, "ListObjectsV2", attempts, request).await?;
        let keys: Vec<String> =
            page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key).collect();
        self.is_listed.set(page.is_truncated != Some(true) || keys.is_empty());
        *self.last_key.borrow_mut() = keys.last().cloned();
        self.keys.borrow_mut().extend(keys);
        Ok(())
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), AwsError> {
        let request = || self.client.delete_object().bucket(&self.name).key(key).send();
        self.repeater.request(&self.resource, "DeleteObject", Attempts::Endless, request).await?;
        Ok(())
    }
}
