//! Log lines of a CloudWatch Logs subscription, one by one. Control messages have none.

use kinesis_handler::{ProcessError, Record, envelope, permanent, run, tracing};

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    let logs = record.cloudwatch_logs()?;
    envelope::each(logs.events(), async |event| {
        if event.message.is_empty() {
            return Err(permanent("a log event without text"));
        }
        tracing::info!(group = logs.log_group, id = event.id, bytes = event.message.len(), "log event");
        Ok(())
    })
    .await
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    run(process).await
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use kinesis_handler::{OwnedRecord, RecordProcessor};

    use super::*;

    fn record(message_type: &str, messages: [&str; 2]) -> OwnedRecord {
        let [first, second] = messages;
        let json = format!(
            r#"{{"messageType":"{message_type}","owner":"111111111111","logGroup":"orders","logStream":"s",
                "subscriptionFilters":["all"],"logEvents":[{{"id":"1","timestamp":1,"message":"{first}"}},
                {{"id":"2","timestamp":2,"message":"{second}"}}]}}"#
        );
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(json.as_bytes()).expect("memory takes it");
        OwnedRecord::new(encoder.finish().expect("memory takes it"))
    }

    #[tokio::test]
    async fn log_events_are_processed_one_by_one() {
        assert!(process.process(record("DATA_MESSAGE", ["a", "b"]).as_record()).await.is_ok());
        assert!(process.process(record("CONTROL_MESSAGE", ["", ""]).as_record()).await.is_ok());
        let bad = record("DATA_MESSAGE", ["a", ""]);
        let error = process.process(bad.as_record()).await.expect_err("an empty event");
        assert_eq!(format!("{error:?}"), "permanent(item 1: a log event without text)");
    }
}
