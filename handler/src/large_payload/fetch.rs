use super::{FetchError, LargePayloads, PayloadPointer, PayloadStoreError};
use crate::{OwnedRecord, Record};

/// A record with its payload, wherever that was.
#[derive(Debug)]
pub struct FetchedRecord<'a>(Source<'a>);

#[derive(Debug)]
enum Source<'a> {
    /// The payload was in the stream.
    Stream(Record<'a>),
    /// The payload was in the store.
    Store(Box<OwnedRecord>),
}

impl FetchedRecord<'_> {
    /// Returns the record with its payload: [`data`](Record::data), [`json`](Record::json) and all others read that instead of
    /// the pointer.
    pub fn as_record(&self) -> Record<'_> {
        match &self.0 {
            Source::Stream(record) => *record,
            Source::Store(record) => record.as_record(),
        }
    }

    /// Returns whether the payload came from the store.
    pub fn was_pointer(&self) -> bool {
        matches!(self.0, Source::Store(_))
    }
}

impl<'a> Record<'a> {
    /// Fetches the payload if the data is a [pointer](PayloadPointer) to it, and returns the record with the payload. Any other
    /// record is returned as it is.
    ///
    /// The object must be one that [`large_payloads`](crate::OptionsBuilder::large_payloads) allows, and have the length and the
    /// SHA-256 that the pointer states. Nothing is kept: a second call reads it again.
    ///
    /// ```
    /// # use kinesis_handler::{ProcessError, Record};
    /// # use serde::Deserialize;
    /// # #[derive(Deserialize)]
    /// # struct Order<'a> { id: &'a str }
    /// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    ///     let fetched = record.fetch().await?;
    ///     let order: Order = fetched.as_record().json()?;
    ///     kinesis_handler::tracing::info!(order = order.id, "received");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// A [`FetchError`]. `?` makes a permanent error of it, unless a retry may help: [`FetchError::Store`].
    pub async fn fetch(&self) -> Result<FetchedRecord<'a>, FetchError> {
        let Some(pointer) = PayloadPointer::read(self.data()) else {
            return Ok(FetchedRecord(Source::Stream(*self)));
        };
        let payload = fetch(self.parts().invocation.large_payloads.as_deref(), &pointer?).await?;
        Ok(FetchedRecord(Source::Store(Box::new(self.to_owned_record().with_data(payload)))))
    }
}

async fn fetch(options: Option<&LargePayloads>, pointer: &PayloadPointer) -> Result<Vec<u8>, FetchError> {
    let (bucket, key, length) = (pointer.bucket(), pointer.key(), pointer.length());
    let in_bucket = || bucket.to_owned();
    let is_allowed = |options: &&LargePayloads| options.allowed.iter().any(|prefix| prefix.has(bucket, key));
    let Some(options) = options.filter(is_allowed) else {
        return Err(FetchError::NotAllowed { bucket: in_bucket() });
    };
    if length > options.max_bytes {
        return Err(FetchError::TooLarge { length, limit: options.max_bytes });
    }
    match options.store.get(bucket, key, length).await {
        Ok(payload) if payload.len() as u64 != length => {
            Err(FetchError::Length { bucket: in_bucket(), length })
        }
        Ok(payload) if !pointer.has_digest_of(&payload) => Err(FetchError::Digest { bucket: in_bucket() }),
        Ok(payload) => Ok(payload),
        Err(PayloadStoreError::Missing) => Err(FetchError::Missing { bucket: in_bucket() }),
        Err(PayloadStoreError::TooLarge { .. }) => Err(FetchError::Length { bucket: in_bucket(), length }),
        Err(PayloadStoreError::Unavailable(source)) => Err(FetchError::Store { bucket: in_bucket(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        ProcessError,
        large_payload::{LargePayloadOptions, MemoryPayloads, PayloadFuture, PayloadStore},
    };

    /// A record with a pointer to this object, which has other content by now.
    fn record(bucket: &str, key: &str, payload: &[u8], now: Option<&[u8]>) -> OwnedRecord {
        let objects = MemoryPayloads::default();
        let pointer = PayloadPointer::new(bucket, key, payload).expect("a pointer");
        if let Some(now) = now {
            objects.put(bucket, key, now).expect("a pointer");
        }
        let options = LargePayloadOptions::new(Arc::new(objects)).allow("s3://orders/large/").max_bytes(10);
        OwnedRecord::new(pointer.to_json())
            .with_partition_key("k")
            .with_large_payloads(options)
            .expect("legal values")
    }

    #[tokio::test]
    async fn a_pointer_becomes_its_payload() {
        let record = record("orders", "large/1", b"[1,2]", Some(b"[1,2]"));
        let fetched = record.as_record().fetch().await.expect("it is there");
        assert!(fetched.was_pointer());
        assert_eq!(fetched.as_record().json::<[u8; 2]>(), Ok([1, 2]));
        assert_eq!(fetched.as_record().partition_key(), b"k");
    }

    #[tokio::test]
    async fn any_other_payload_stays_as_it_is() {
        let record = OwnedRecord::new("text");
        let fetched = record.as_record().fetch().await.expect("nothing to fetch");
        assert!(!fetched.was_pointer());
        assert_eq!(fetched.as_record().data(), b"text");
    }

    #[cfg(feature = "gzip")]
    #[tokio::test]
    async fn a_payload_is_decompressed_with_the_option() {
        let hello = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0";
        let objects = Arc::new(MemoryPayloads::default());
        let pointer = objects.put("orders", "1", hello).expect("a pointer");
        let options = LargePayloadOptions::new(objects).allow("s3://orders");
        let record = OwnedRecord::new(pointer.to_json()).with_large_payloads(options).expect("legal values");
        let record = record.decompressing();
        let fetched = record.as_record().fetch().await.expect("it is there");
        assert_eq!(fetched.as_record().text(), Ok("hello"));
    }

    #[track_caller]
    fn check(error: FetchError, expected: &str) {
        assert_eq!(format!("{:?}", ProcessError::from(error)), expected);
    }

    #[tokio::test]
    async fn errors_that_stay_are_permanent_and_hold_neither_payload_nor_key() {
        let error =
            async |record: OwnedRecord| record.as_record().fetch().await.map(drop).expect_err("an error");
        let allowed = "that KINESIS_HANDLER_LARGE_PAYLOADS does not allow";
        check(
            error(record("orders", "secret", b"a", Some(b"a"))).await,
            &format!("permanent(pointer to a large payload names an object in bucket orders {allowed})"),
        );
        check(
            error(record("others", "large/1", b"a", Some(b"a"))).await,
            &format!("permanent(pointer to a large payload names an object in bucket others {allowed})"),
        );
        let without_option = PayloadPointer::new("orders", "large/1", b"a").expect("a pointer");
        check(
            error(OwnedRecord::new(without_option.to_json())).await,
            &format!("permanent(pointer to a large payload names an object in bucket orders {allowed})"),
        );
        check(
            error(record("orders", "large/1", &[0; 11], Some(&[0; 11]))).await,
            "permanent(large payload has 11 bytes, more than the limit max_large_payload_bytes of 10 bytes)",
        );
        check(
            error(record("orders", "large/1", b"a", None)).await,
            "permanent(large payload is no longer in bucket orders, or never was)",
        );
        for now in [&b""[..], b"secret"] {
            check(
                error(record("orders", "large/1", b"a", Some(now))).await,
                "permanent(large payload in bucket orders does not have the 1 bytes that its pointer states)",
            );
        }
        check(
            error(record("orders", "large/1", b"a", Some(b"b"))).await,
            "permanent(large payload in bucket orders does not have the SHA-256 that its pointer states)",
        );
        check(
            error(OwnedRecord::new(r#"{"kinesisKitPayload":3}"#)).await,
            "permanent(pointer to a large payload is invalid: expected the members kinesisKitPayload, bucket, key, length and \
             sha256 (line 1, column 23))",
        );
    }

    #[derive(Debug)]
    struct Throttling;

    impl PayloadStore for Throttling {
        fn get<'a>(&'a self, _: &'a str, _: &'a str, _: u64) -> PayloadFuture<'a> {
            Box::pin(async { Err(PayloadStoreError::Unavailable("SlowDown".into())) })
        }
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_now_is_retried() {
        let pointer = PayloadPointer::new("orders", "large/1", b"a").expect("a pointer");
        let options = LargePayloadOptions::new(Arc::new(Throttling)).allow("s3://orders");
        let record = OwnedRecord::new(pointer.to_json()).with_large_payloads(options).expect("legal values");
        check(
            record.as_record().fetch().await.map(drop).expect_err("throttled"),
            "retryable(large payload cannot be read from bucket orders: SlowDown)",
        );
    }
}
