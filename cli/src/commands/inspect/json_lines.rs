use std::io::{self, Write};

use base64::prelude::*;
use serde::Serialize;

use super::{InspectLine, Sink, WRITE_BYTES};
use crate::{input::kinesis_record::KinesisRecord, output::json};

/// For programs: JSON, one line each.
///
/// The members stand in one order, whatever is known. What all user records of a Kinesis record share is made once:
/// there may be a million of them.
pub(super) struct JsonLines<W> {
    output: W,
    buffer: Vec<u8>,
    /// The line up to the sub-sequence number.
    head: Vec<u8>,
    /// The line from the comma behind the data to the arrival time.
    tail: Vec<u8>,
    /// Data as base64.
    text: String,
}

impl<W: Write> JsonLines<W> {
    pub(super) fn new(output: W) -> Self {
        JsonLines { output, buffer: Vec::new(), head: Vec::new(), tail: Vec::new(), text: String::new() }
    }
}

impl<W: Write> Sink for JsonLines<W> {
    fn begin(&mut self, kinesis_record: &KinesisRecord<'_>) {
        self.head.clear();
        self.head.extend_from_slice(b"{\"sequenceNumber\":");
        push_json(&mut self.head, &kinesis_record.sequence_number);
        self.head.extend_from_slice(b",\"subSequenceNumber\":");

        self.tail.clear();
        self.tail.extend_from_slice(b",\"shardId\":");
        push_json(&mut self.tail, &kinesis_record.shard_id);
        self.tail.extend_from_slice(b",\"approximateArrivalTimestamp\":");
        push_json(&mut self.tail, &kinesis_record.arrival);
    }

    fn write(&mut self, line: &InspectLine<'_>) -> io::Result<()> {
        let buffer = &mut self.buffer;
        buffer.extend_from_slice(&self.head);
        push_json(buffer, &line.sub_sequence_number);
        buffer.extend_from_slice(b",\"aggregated\":");
        push_json(buffer, &line.aggregated);
        buffer.extend_from_slice(b",\"partitionKey\":");
        push_json(buffer, &line.partition_key.as_ref().map(|key| &key.text));
        buffer.extend_from_slice(b",\"explicitHashKey\":");
        push_json(buffer, &line.explicit_hash_key.as_ref().map(|key| &key.text));
        buffer.extend_from_slice(b",\"data\":");
        match line.data {
            Some(data) => {
                self.text.clear();
                BASE64_STANDARD.encode_string(data, &mut self.text);
                buffer.push(b'"');
                buffer.extend_from_slice(self.text.as_bytes());
                buffer.push(b'"');
            }
            None => buffer.extend_from_slice(b"null"),
        }
        buffer.extend_from_slice(&self.tail);
        if let Some(reason) = &line.invalid {
            buffer.extend_from_slice(b",\"invalid\":");
            push_json(buffer, reason);
        }
        for (key, member) in [
            (&line.partition_key, &b",\"partitionKeyBytes\":"[..]),
            (&line.explicit_hash_key, b",\"explicitHashKeyBytes\":"),
        ] {
            if let Some(bytes) = key.as_ref().and_then(|key| key.shortened_bytes) {
                buffer.extend_from_slice(member);
                push_json(buffer, &bytes);
            }
        }
        buffer.extend_from_slice(b"}\n");
        if buffer.len() >= WRITE_BYTES { self.finish() } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.output.write_all(&self.buffer)?;
        self.buffer.clear();
        self.output.flush()
    }
}

fn push_json(buffer: &mut Vec<u8>, value: &impl Serialize) {
    json::write(buffer, value).expect("text and finite numbers are always JSON, and memory takes it");
}
