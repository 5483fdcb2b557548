//! Orders of which a producer has put the large ones into S3, with pointers to them in the stream (claim check).
//! `KINESIS_HANDLER_LARGE_PAYLOADS` lists the prefixes of objects that may be read.

use kinesis_handler::{ProcessError, Record, run, tracing};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order<'a> {
    id: &'a str,
}

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    let fetched = record.fetch().await?;
    let record = fetched.as_record();
    let order: Order<'_> = record.json()?;
    tracing::info!(order = order.id, bytes = record.data().len(), from_s3 = fetched.was_pointer(), "ordered");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    run(process).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kinesis_handler::{
        OwnedRecord, RecordProcessor,
        large_payload::{LargePayloadOptions, MemoryPayloads, PayloadPointer},
    };

    use super::*;

    const ORDER: &[u8] = br#"{"id":"A-1"}"#;

    #[tokio::test]
    async fn an_order_is_read_from_the_stream_and_from_s3() {
        let objects = Arc::new(MemoryPayloads::default());
        let pointer = objects.put("orders", "large/1", ORDER).expect("a pointer");
        let other = PayloadPointer::new("others", "large/1", ORDER).expect("a pointer");
        let options = LargePayloadOptions::new(objects).allow("s3://orders/large/");
        let record = |payload: Vec<u8>| {
            OwnedRecord::new(payload).with_large_payloads(options.clone()).expect("legal values")
        };
        for payload in [ORDER.to_vec(), pointer.to_json()] {
            assert!(process.process(record(payload).as_record()).await.is_ok());
        }
        let error = process.process(record(other.to_json()).as_record()).await.expect_err("another bucket");
        assert!(error.is_permanent());
    }
}
