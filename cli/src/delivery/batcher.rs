use kinesis_esm::MAX_EVENT_BYTES;
use kinesis_handler::{Event, KinesisRecord, SequenceNumber, event::RecordData};

/// Length of an event without its records, in bytes: `{"Records":[…],"kinesisKit":{"mode":"resume"}}`.
const ENVELOPE_BYTES: usize = 64;

/// Records of one shard that go into one event, and what their sender knows of each.
#[derive(Debug)]
pub(crate) struct EventBatch<T> {
    pub(crate) records: Vec<KinesisRecord<'static>>,
    /// In the order of the records.
    pub(crate) known: Vec<T>,
}

/// Gathers records of one shard into batches, by their number and by the size of the event that they make.
#[derive(Debug)]
pub(crate) struct Batcher<T> {
    batch_size: usize,
    records: Vec<KinesisRecord<'static>>,
    known: Vec<T>,
    bytes: usize,
}

impl<T> Batcher<T> {
    pub(crate) fn new(batch_size: usize) -> Self {
        Batcher { batch_size, records: Vec::new(), known: Vec::new(), bytes: 0 }
    }

    /// Adds a record. Returns the batch that is complete without it, or with it.
    pub(crate) fn push(&mut self, record: KinesisRecord<'static>, known: T) -> Option<EventBatch<T>> {
        let bytes = json_bytes(&record) + 1;
        let is_full = !self.records.is_empty() && self.bytes + bytes + ENVELOPE_BYTES > MAX_EVENT_BYTES;
        let full = if is_full { self.finish() } else { None };
        self.records.push(record);
        self.known.push(known);
        self.bytes += bytes;
        // Never both: a batch that was full has left a single record.
        if full.is_none() && self.records.len() >= self.batch_size { self.finish() } else { full }
    }

    /// The sequence number of the last record that was added and is in no batch yet.
    pub(crate) fn last(&self) -> Option<SequenceNumber> {
        self.records.last().map(|record| record.sequence_number)
    }

    /// Returns the records that were gathered, if there are any.
    pub(crate) fn finish(&mut self) -> Option<EventBatch<T>> {
        self.bytes = 0;
        let (records, known) = (std::mem::take(&mut self.records), std::mem::take(&mut self.known));
        (!records.is_empty()).then_some(EventBatch { records, known })
    }
}

/// Returns the length of an event with this record alone, in bytes.
pub(super) fn event_bytes(record: &KinesisRecord<'_>) -> usize {
    json_bytes(record) + ENVELOPE_BYTES
}

/// Length of the record's JSON in an event. Base64 needs no escapes, so it need not be written to be counted.
fn json_bytes(record: &KinesisRecord<'_>) -> usize {
    let mut without_data = KinesisRecord::new(record.sequence_number, &*record.partition_key, &[]);
    without_data.approximate_arrival_ms = record.approximate_arrival_ms;
    without_data.encryption_type = record.encryption_type.as_deref().map(Into::into);
    without_data.shard_id = record.shard_id.as_deref().map(Into::into);
    without_data.event_source_arn = record.event_source_arn.as_deref().map(Into::into);
    without_data.invoke_identity_arn = record.invoke_identity_arn.as_deref().map(Into::into);
    let data_bytes = match &record.data {
        RecordData::Base64(text) => text.len(),
        RecordData::Unreadable(_) => 0,
    };
    let envelope = br#"{"Records":[]}"#.len();
    Event::new(vec![without_data]).to_json().len() - envelope + data_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64, bytes: usize) -> KinesisRecord<'static> {
        let number = number.to_string().parse().expect("digits");
        let mut record = KinesisRecord::new(number, "a \"key\"\n", &vec![7; bytes]);
        record.approximate_arrival_ms = Some(1_767_225_600_001);
        record.shard_id = Some("shardId-000000000000".into());
        record.event_source_arn = Some("arn:aws:kinesis:us-east-1:123456789012:stream/s".into());
        record
    }

    fn batches(batch_size: usize, sizes: &[usize]) -> Vec<usize> {
        let mut batcher = Batcher::new(batch_size);
        let mut batches = Vec::new();
        for (number, &bytes) in sizes.iter().enumerate() {
            let record = record(number as u64, bytes);
            let known = record.sequence_number;
            batches.extend(batcher.push(record, known));
        }
        batches.extend(batcher.finish());
        assert!(batcher.finish().is_none());
        for EventBatch { records, known } in &batches {
            let numbers: Vec<_> = records.iter().map(|record| record.sequence_number).collect();
            assert_eq!(&numbers, known);
            if records.len() > 1 {
                assert!(Event::new(records.clone()).to_json().len() <= MAX_EVENT_BYTES);
            }
        }
        let numbers: Vec<_> = batches.iter().flat_map(|batch| batch.known.clone()).collect();
        assert!(numbers.is_sorted() && numbers.len() == sizes.len());
        batches.iter().map(|batch| batch.records.len()).collect()
    }

    #[test]
    fn a_batch_ends_at_its_number_of_records_or_at_what_lambda_takes() {
        assert_eq!(batches(3, &[1; 7]), [3, 3, 1]);
        assert_eq!(batches(1, &[1; 2]), [1, 1]);
        // In base64 two of them are 6.0 MB, three are 9.
        assert_eq!(batches(100, &[2_200_000; 5]), [2, 2, 1]);
        // One that no event can hold goes alone: the function's side refuses it.
        assert_eq!(batches(100, &[1, 5_000_000, 1]), [1, 1, 1]);
        assert_eq!(batches(2, &[3_000_000, 3_000_000, 1]), [1, 2]);
    }

    #[test]
    fn the_counted_length_is_that_of_the_event() {
        for bytes in 0..7 {
            let record = record(12, bytes);
            let event = Event::new(vec![record.clone()]).to_json();
            assert_eq!(r#"{"Records":[]}"#.len() + json_bytes(&record), event.len());
        }
    }
}
