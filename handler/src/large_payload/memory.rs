use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{PayloadFuture, PayloadPointer, PayloadStore, PayloadStoreError, PointerError};

/// Objects in memory: for tests.
///
/// ```
/// use std::sync::Arc;
///
/// use kinesis_handler::{
///     OwnedRecord, ProcessError, Record, RecordProcessor,
///     large_payload::{LargePayloadOptions, MemoryPayloads},
/// };
///
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     let fetched = record.fetch().await?;
///     assert_eq!(fetched.as_record().text()?, "a large payload");
///     Ok(())
/// }
///
/// # async fn test() -> Result<(), Box<dyn std::error::Error>> {
/// let objects = Arc::new(MemoryPayloads::default());
/// let pointer = objects.put("orders-payloads", "2026/5f1a", b"a large payload")?;
/// let options = LargePayloadOptions::new(objects).allow("s3://orders-payloads/");
/// let record = OwnedRecord::new(pointer.to_json()).with_large_payloads(options)?;
/// assert!(process.process(record.as_record()).await.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct MemoryPayloads {
    objects: Mutex<HashMap<(String, String), Vec<u8>>>,
}

impl MemoryPayloads {
    /// Puts a payload, and returns the pointer to it.
    ///
    /// # Errors
    ///
    /// Those of [`PayloadPointer::new`].
    pub fn put(
        &self,
        bucket: impl Into<String>,
        key: impl Into<String>,
        payload: &[u8],
    ) -> Result<PayloadPointer, PointerError> {
        let pointer = PayloadPointer::new(bucket, key, payload)?;
        let key = (pointer.bucket().to_owned(), pointer.key().to_owned());
        self.objects().insert(key, payload.to_vec());
        Ok(pointer)
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<(String, String), Vec<u8>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PayloadStore for MemoryPayloads {
    fn get<'a>(&'a self, bucket: &'a str, key: &'a str, max_bytes: u64) -> PayloadFuture<'a> {
        let object = self.objects().get(&(bucket.to_owned(), key.to_owned())).cloned();
        let object = match object {
            None => Err(PayloadStoreError::Missing),
            Some(object) if object.len() as u64 > max_bytes => Err(PayloadStoreError::TooLarge { max_bytes }),
            Some(object) => Ok(object),
        };
        Box::pin(std::future::ready(object))
    }
}
