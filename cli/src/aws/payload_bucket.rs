use std::{cell::Cell, time::Duration};

use aws_sdk_s3::{Client, config::Builder, primitives::ByteStream};
use kinesis_handler::large_payload::PayloadPointer;

use super::{Attempts, Repeater, config, object_prefix::ObjectPrefix};
use crate::{
    error::{Error, chain},
    output::note::count,
};

/// Bytes that a slow line takes in a second.
const SLOW_BYTES_PER_SECOND: usize = 128 * 1024;

/// A place in S3 for large payloads, to which pointers take their place.
#[derive(Debug)]
pub(crate) struct PayloadBucket {
    client: Client,
    bucket: String,
    /// Beginning of the keys; empty, or a folder.
    folder: String,
    resource: String,
    repeater: Repeater,
    /// Number and bytes of the payloads that were put.
    stored: Cell<(u64, u64)>,
}

impl PayloadBucket {
    /// Connects to S3. Nothing is sent yet.
    pub(crate) async fn connect(ObjectPrefix { bucket, prefix }: &ObjectPrefix) -> Result<Self, Error> {
        let is_folder = prefix.is_empty() || prefix.ends_with('/');
        let folder = if is_folder { prefix.clone() } else { format!("{prefix}/") };
        let config = config(None).await?;
        // Stand-ins for S3 have no host names for buckets. S3 takes both forms.
        let client = Client::from_conf(Builder::from(&config).force_path_style(true).build());
        let resource = format!("bucket {bucket}");
        let (repeater, stored) = (Repeater::default(), Cell::new((0, 0)));
        let bucket = PayloadBucket { client, bucket: bucket.clone(), folder, resource, repeater, stored };
        // Says now that no pointer can name the bucket or the folder.
        bucket.pointer(b"")?;
        Ok(bucket)
    }

    /// Puts a payload, and returns the pointer to it. The same payload has the same key, so that it is stored once, however often
    /// it is put.
    pub(crate) async fn put(&self, payload: &[u8]) -> Result<Vec<u8>, Error> {
        let pointer = self.pointer(payload)?;
        let request = || {
            let request = self.client.put_object().bucket(pointer.bucket()).key(pointer.key());
            request.body(ByteStream::from(payload.to_vec())).send()
        };
        let time = Duration::from_secs((payload.len() / SLOW_BYTES_PER_SECOND) as u64);
        self.repeater.upload(&self.resource, "PutObject", Attempts::Endless, time, request).await?;
        let (payloads, bytes) = self.stored.get();
        self.stored.set((payloads + 1, bytes + payload.len() as u64));
        Ok(pointer.to_json())
    }

    fn pointer(&self, payload: &[u8]) -> Result<PayloadPointer, Error> {
        let of = |key: String| PayloadPointer::new(&self.bucket, key, payload);
        let unnamed = of("payload".to_owned());
        let named = unnamed.and_then(|pointer| {
            let digest: String = pointer.sha256().iter().map(|byte| format!("{byte:02x}")).collect();
            of(format!("{}{digest}", self.folder))
        });
        named.map_err(|error| {
            Error::Usage(format!(
                "s3://{}/{} is no place for payloads: {}",
                self.bucket,
                self.folder,
                chain(&error)
            ))
        })
    }

    /// Returns one line for people; `None` if nothing was put.
    pub(crate) fn summary(&self) -> Option<String> {
        let (payloads, bytes) = self.stored.get();
        let (payloads, bytes) = (count(payloads, "large payload"), count(bytes, "byte"));
        (self.stored.get().0 > 0)
            .then(|| format!("put {payloads}, {bytes}, into s3://{}/{}", self.bucket, self.folder))
    }
}
