//! Payloads that are protobuf messages. The feature `protobuf` of `kinesis-handler` adds [`Record::protobuf`]; a payload that
//! cannot be decoded is a permanent error.

use kinesis_handler::{ProcessError, Record, permanent, run, tracing};

/// A message as `prost-build` generates it from `message Order { string id = 1; uint32 quantity = 2; }`.
#[derive(Clone, PartialEq, prost::Message)]
struct Order {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(uint32, tag = "2")]
    quantity: u32,
}

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    let order: Order = record.protobuf()?;
    // Absent fields have defaults in protobuf.
    if order.id.is_empty() {
        return Err(permanent("an order without an ID"));
    }
    tracing::info!(order = order.id, quantity = order.quantity, "ordered");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    run(process).await
}

#[cfg(test)]
mod tests {
    use kinesis_handler::{OwnedRecord, RecordProcessor};
    use prost::Message;

    use super::*;

    #[tokio::test]
    async fn messages_are_decoded() {
        let order = Order { id: "A-1".to_owned(), quantity: 2 };
        let record = OwnedRecord::new(order.encode_to_vec());
        assert!(process.process(record.as_record()).await.is_ok());
        for wrong in [Order::default().encode_to_vec(), b"{\"id\":\"A-1\"}".to_vec()] {
            let error = process.process(OwnedRecord::new(wrong).as_record()).await.expect_err("no order");
            assert!(error.is_permanent());
        }
    }
}
