//! Payloads that are compressed with zstd, in a stream that also has others. The option `decompress` makes [`Record::json`] read
//! what a payload decompresses to; `KINESIS_HANDLER_DECOMPRESS=on` does the same without code.

use kinesis_handler::{Function, Options, ProcessError, Record, tracing};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order<'a> {
    id: &'a str,
}

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    let order: Order<'_> = record.json()?;
    tracing::info!(order = order.id, bytes = record.data().len(), "ordered");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    let options = Options::builder().decompress().max_decompressed_bytes(1024 * 1024).build()?;
    Function::new(process).options(options).run().await
}

#[cfg(test)]
mod tests {
    use kinesis_handler::{OwnedRecord, RecordProcessor};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    #[tokio::test]
    async fn compressed_and_other_orders_are_read() {
        let json = br#"{"id":"A-1"}"#;
        let zstd = compress_to_vec(&json[..], CompressionLevel::Fastest);
        for payload in [json.to_vec(), zstd.clone()] {
            let record = OwnedRecord::new(payload).decompressing();
            assert!(process.process(record.as_record()).await.is_ok());
        }
        let truncated = OwnedRecord::new(&zstd[..zstd.len() - 1]).decompressing();
        let error = process.process(truncated.as_record()).await.expect_err("a truncated payload");
        assert!(error.is_permanent());
    }
}
