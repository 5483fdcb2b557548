use kinesis_esm::{Origin, StreamRecord};
use kinesis_handler::{
    KinesisRecord,
    journal::{QuarantinedContent, QuarantinedRecord, UserRecordId},
};
use kpl_deaggregation::{UserRecord, encode};

use crate::stream::now_ms;

/// A user record in the quarantine as the Kinesis record that hands it to a function once more.
///
/// A user record from an aggregate is put into an aggregate of its own, so that it keeps its keys, and a payload that looks
/// like an aggregate stays a payload.
pub(super) fn kinesis_record(record: &QuarantinedRecord, origin: &Origin) -> KinesisRecord<'static> {
    let is_member = record.content == QuarantinedContent::Aggregated
        || (record.content == QuarantinedContent::Plain && matches!(record.id, UserRecordId::Content(_)));
    let data = if is_member {
        let mut user_record = UserRecord::new(&record.partition_key, &record.data);
        user_record.explicit_hash_key = record.explicit_hash_key.as_deref();
        encode([user_record]).expect("there is a user record")
    } else {
        record.data.clone()
    };
    let stream_record = StreamRecord {
        sequence_number: record.sequence_number,
        partition_key: String::from_utf8_lossy(&record.partition_key).into_owned(),
        data: data.into(),
        arrival_ms: record.arrival_ms.unwrap_or_else(now_ms),
        encryption_type: "NONE",
    };
    stream_record.in_event(origin).into_owned()
}
