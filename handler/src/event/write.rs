use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Event, EventMode, KinesisRecord, RecordData, TumblingWindow, read::EVENT_SOURCE};

impl Event<'_> {
    /// An event of these records, without a tumbling window.
    pub fn new(records: Vec<KinesisRecord<'_>>) -> Event<'_> {
        Event { records, ..Event::default() }
    }

    /// The event as Lambda delivers it, in compact JSON. Every record has all members that Lambda sends; what is not
    /// known is left out. [`Event::parse`] reads it back.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text keys and finite numbers are always JSON")
    }
}

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Records", &self.records)?;
        if let Some(TumblingWindow {
            start,
            end,
            state,
            shard_id,
            event_source_arn,
            is_final_invoke,
            is_terminated_early,
        }) = &self.window
        {
            map.serialize_entry("window", &Window { start, end })?;
            map.serialize_entry("state", state)?;
            entry_if_known(&mut map, "shardId", shard_id)?;
            entry_if_known(&mut map, "eventSourceARN", event_source_arn)?;
            map.serialize_entry("isFinalInvokeForWindow", is_final_invoke)?;
            map.serialize_entry("isWindowTerminatedEarly", is_terminated_early)?;
        }
        if let Some(mode) = self.mode.name() {
            map.serialize_entry("kinesisKit", &KinesisKit { mode })?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct KinesisKit {
    mode: &'static str,
}

impl EventMode {
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            EventMode::Mapping => None,
            EventMode::Reprocess => Some("reprocess"),
            EventMode::Resume => Some("resume"),
        }
    }
}

#[derive(Serialize)]
struct Window<'a> {
    start: &'a str,
    end: &'a str,
}

impl Serialize for KinesisRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kinesis", &Kinesis(self))?;
        map.serialize_entry("eventSource", EVENT_SOURCE)?;
        map.serialize_entry("eventVersion", "1.0")?;
        if let Some(shard_id) = &self.shard_id {
            map.serialize_entry("eventID", &format_args!("{shard_id}:{}", self.sequence_number))?;
        }
        map.serialize_entry("eventName", "aws:kinesis:record")?;
        entry_if_known(&mut map, "invokeIdentityArn", &self.invoke_identity_arn)?;
        entry_if_known(&mut map, "awsRegion", &self.region())?;
        entry_if_known(&mut map, "eventSourceARN", &self.event_source_arn)?;
        map.end()
    }
}

/// The member `kinesis` of a record.
struct Kinesis<'a>(&'a KinesisRecord<'a>);

impl Serialize for Kinesis<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let KinesisRecord {
            sequence_number,
            partition_key,
            data,
            approximate_arrival_ms,
            encryption_type,
            ..
        } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kinesisSchemaVersion", "1.0")?;
        map.serialize_entry("partitionKey", partition_key)?;
        map.serialize_entry("sequenceNumber", sequence_number)?;
        if let RecordData::Base64(text) = data {
            // Text that is no base64 stays none.
            map.serialize_entry("data", &String::from_utf8_lossy(text))?;
        }
        if let Some(milliseconds) = approximate_arrival_ms {
            map.serialize_entry("approximateArrivalTimestamp", &(*milliseconds as f64 / 1000.0))?;
        }
        entry_if_known(&mut map, "encryptionType", encryption_type)?;
        map.end()
    }
}

fn entry_if_known<M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    value: &Option<impl Serialize>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, value),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn record() -> impl Strategy<Value = KinesisRecord<'static>> {
        (
            "0|[1-9][0-9]{0,56}",
            any::<String>(),
            vec(any::<u8>(), 0..50),
            option::of(0..4_000_000_000_000u64),
            option::of("NONE|KMS"),
            option::of("shardId-[0-9]{12}"),
            option::of("arn:aws:kinesis:us-east-1:[0-9]{12}:stream/[a-z]{1,9}"),
        )
            .prop_map(|(sequence_number, partition_key, data, arrival, encryption, shard, arn)| {
                let mut record = KinesisRecord::new(
                    sequence_number.parse().expect("canonical digits"),
                    partition_key,
                    &data,
                );
                record.approximate_arrival_ms = arrival;
                record.encryption_type = encryption.map(Into::into);
                record.shard_id = shard.map(Into::into);
                record.event_source_arn = arn.map(Into::into);
                record
            })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(records in vec(record(), 0..5)) {
            let json = Event::new(records.clone()).to_json();
            let event = Event::parse(&json).expect("a Kinesis event");
            prop_assert_eq!(event.records, records);
        }
    }

    #[test]
    fn the_layout_is_lambdas() {
        let mut record = KinesisRecord::new("7".parse().expect("digits"), "k", b"data");
        record.approximate_arrival_ms = Some(1_545_084_650_987);
        record.encryption_type = Some("NONE".into());
        record.shard_id = Some("shardId-000000000006".into());
        record.event_source_arn = Some("arn:aws:kinesis:us-east-2:123456789012:stream/s".into());
        record.invoke_identity_arn = Some("arn:aws:iam::123456789012:role/r".into());
        assert_eq!(
            String::from_utf8_lossy(&Event::new(vec![record]).to_json()),
            concat!(
                r#"{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"k","sequenceNumber":"7","#,
                r#""data":"ZGF0YQ==","approximateArrivalTimestamp":1545084650.987,"encryptionType":"NONE"},"#,
                r#""eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:7","#,
                r#""eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/r","#,
                r#""awsRegion":"us-east-2","eventSourceARN":"arn:aws:kinesis:us-east-2:123456789012:stream/s"}]}"#,
            )
        );
    }

    #[test]
    fn a_window_reads_back() {
        let payload = br#"{"Records":[],"window":{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:02:00Z"},"state":{"n": 1},"shardId":"shardId-000000000000","eventSourceARN":"arn","isFinalInvokeForWindow":true,"isWindowTerminatedEarly":false}"#;
        let event = Event::parse(payload).expect("a Kinesis event");
        assert_eq!(String::from_utf8_lossy(&event.to_json()), String::from_utf8_lossy(payload));
    }
}
