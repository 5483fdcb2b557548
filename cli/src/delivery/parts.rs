use kinesis_esm::MAX_EVENT_BYTES;
use kinesis_handler::{KinesisRecord, event::RecordData};
use kpl_deaggregation::{Content, Deaggregator, UserRecord, encode};

use super::batcher::event_bytes;
use crate::{
    aws::{object_prefix::ObjectPrefix, payload_bucket::PayloadBucket},
    error::Error,
    output::note::note,
};

/// Most bytes that an aggregated record needs for a user record besides its data and keys, and for itself.
const USER_RECORD_BYTES: usize = 64;

/// A part of a Kinesis record that is too large for an event.
#[derive(Debug)]
pub(crate) struct Part {
    /// The user records of the part, as a Kinesis record of the same number. Sub-sequence numbers start at 0 in it.
    pub(crate) record: KinesisRecord<'static>,
    /// Number of its first user record in the whole record.
    pub(crate) first_sub: u64,
    /// Number of its user records; 1 for one that was not looked into.
    pub(crate) user_records: u64,
    /// Why no event can hold it: it is a single user record.
    pub(crate) misfit: Option<String>,
}

/// The way in which records are delivered that are too large for an event of Lambda.
#[derive(Debug)]
pub(crate) struct LargeRecords {
    /// Whether they are split. Otherwise the target gets them whole.
    splits: bool,
    /// The place for payloads that no event can hold, if there is one.
    bucket: Option<PayloadBucket>,
}

impl LargeRecords {
    pub(crate) async fn open(splits: bool, bucket: Option<&ObjectPrefix>) -> Result<Self, Error> {
        let bucket = match bucket {
            Some(prefix) => Some(PayloadBucket::connect(prefix).await?),
            None => None,
        };
        Ok(LargeRecords { splits, bucket })
    }

    /// Returns the parts of a Kinesis record that are delivered, at least one. Several must be in events of their own, because
    /// they share their sequence number.
    pub(crate) async fn parts(&self, record: KinesisRecord<'static>) -> Result<Vec<Part>, Error> {
        if !self.splits {
            return Ok(vec![Part::whole(record)]);
        }
        let store = async |payload: &[u8]| match &self.bucket {
            Some(bucket) => bucket.put(payload).await.map(Some),
            None => Ok(None),
        };
        split(record, store).await
    }

    /// Says what was put into S3.
    pub(crate) fn note_stored(&self) {
        self.bucket.as_ref().and_then(PayloadBucket::summary).into_iter().for_each(note);
    }
}

impl Part {
    /// The only part of a record.
    pub(crate) fn whole(record: KinesisRecord<'static>) -> Self {
        Part { record, first_sub: 0, user_records: 1, misfit: None }
    }
}

/// Splits a Kinesis record into parts that an event of Lambda can hold, each one as large as it may be. A record that fits is its
/// only part. `store` may put the payload of a user record that does not fit somewhere else, and return what takes its place.
async fn split<E>(
    record: KinesisRecord<'static>,
    store: impl AsyncFn(&[u8]) -> Result<Option<Vec<u8>>, E>,
) -> Result<Vec<Part>, E> {
    // Most are small, and need not be measured.
    let is_small = matches!(&record.data, RecordData::Base64(text) if text.len() < MAX_EVENT_BYTES / 2);
    let bytes = if is_small { 0 } else { event_bytes(&record) };
    let decoded = if bytes > MAX_EVENT_BYTES { record.data.decode().ok() } else { None };
    let Some(data) = decoded else {
        // The function's side says what is wrong with a record that cannot be read.
        return Ok(vec![Part::whole(record)]);
    };
    let mut deaggregator = Deaggregator::default();
    let user_records = deaggregator.deaggregate(record.partition_key.as_bytes(), &data);
    let aggregated = user_records.ok().filter(|records| records.content() == Content::Aggregated);
    let Some(user_records) =
        aggregated.map(|records| records.collect::<Vec<_>>()).filter(|all| !all.is_empty())
    else {
        let part = match store(&data).await? {
            Some(stored) => Part::whole(with_data(&record, &stored)),
            None => Part { misfit: Some(misfit(data.len(), bytes)), ..Part::whole(record) },
        };
        return Ok(vec![part]);
    };
    // Base64 makes four bytes of three.
    let room =
        MAX_EVENT_BYTES.saturating_sub(event_bytes(&with_data(&record, b""))) / 4 * 3 - USER_RECORD_BYTES;
    let mut packer = Packer { record: &record, room, bytes: 0, waiting: Vec::new(), parts: Vec::new() };
    for user_record in user_records {
        if bytes_of(&user_record) > room
            && let Some(stored) = store(user_record.data).await?
        {
            let mut pointer = UserRecord::new(user_record.partition_key, &stored);
            pointer.explicit_hash_key = user_record.explicit_hash_key;
            pointer.sub_sequence_number = user_record.sub_sequence_number;
            packer.push_alone(pointer);
        } else {
            packer.push(user_record);
        }
    }
    Ok(packer.finish())
}

/// Gathers user records into parts.
struct Packer<'r, 'd> {
    record: &'r KinesisRecord<'static>,
    /// Most bytes of a part's data.
    room: usize,
    /// Bytes that those that wait need at most.
    bytes: usize,
    waiting: Vec<UserRecord<'d>>,
    parts: Vec<Part>,
}

impl<'d> Packer<'_, 'd> {
    fn push(&mut self, user_record: UserRecord<'d>) {
        let bytes = bytes_of(&user_record);
        if self.bytes + bytes > self.room {
            self.close();
        }
        self.bytes += bytes;
        self.waiting.push(user_record);
    }

    /// Makes a part of one user record, which need not live on.
    fn push_alone(&mut self, user_record: UserRecord<'_>) {
        self.close();
        self.add(&[user_record]);
    }

    fn close(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        self.add(&waiting);
    }

    fn add(&mut self, user_records: &[UserRecord<'_>]) {
        let Some(data) = encode(user_records.iter().copied()) else { return };
        let record = with_data(self.record, &data);
        let bytes = event_bytes(&record);
        let misfit = (bytes > MAX_EVENT_BYTES).then(|| misfit(user_records[0].data.len(), bytes));
        let (first_sub, user_records) = (user_records[0].sub_sequence_number, user_records.len() as u64);
        self.parts.push(Part { record, first_sub, user_records, misfit });
    }

    fn finish(mut self) -> Vec<Part> {
        self.close();
        self.parts
    }
}

/// Returns the most bytes that a user record needs in an aggregated record.
fn bytes_of(user_record: &UserRecord<'_>) -> usize {
    let UserRecord { data, partition_key, explicit_hash_key, .. } = user_record;
    data.len() + partition_key.len() + explicit_hash_key.map_or(0, <[u8]>::len) + USER_RECORD_BYTES
}

/// Returns the record with other data.
fn with_data(record: &KinesisRecord<'static>, data: &[u8]) -> KinesisRecord<'static> {
    let mut other = KinesisRecord::new(record.sequence_number, record.partition_key.clone(), data);
    other.approximate_arrival_ms = record.approximate_arrival_ms;
    other.encryption_type = record.encryption_type.clone();
    other.shard_id = record.shard_id.clone();
    other.event_source_arn = record.event_source_arn.clone();
    other.invoke_identity_arn = record.invoke_identity_arn.clone();
    other
}

fn misfit(payload_bytes: usize, event_bytes: usize) -> String {
    format!(
        "a payload of {payload_bytes} bytes makes an event of {event_bytes} bytes, and Lambda takes {MAX_EVENT_BYTES}: leave \
         a pointer with --large-to, or deliver it to a program with -- COMMAND"
    )
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// The partition key and the data of a user record.
    type KeyAndData = (Vec<u8>, Vec<u8>);

    fn record(data: &[u8]) -> KinesisRecord<'static> {
        let number = "49590338271490256608559692538361571095921575989136588898".parse().expect("digits");
        let mut record = KinesisRecord::new(number, "a".to_owned(), data);
        record.approximate_arrival_ms = Some(1_767_225_600_001);
        record.shard_id = Some("shardId-000000000000".into());
        record.event_source_arn = Some("arn:aws:kinesis:us-east-1:123456789012:stream/s".into());
        record
    }

    fn aggregate(sizes: &[usize]) -> (KinesisRecord<'static>, Vec<KeyAndData>) {
        let user_records: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(index, &bytes)| (format!("key {}", index % 7).into_bytes(), vec![index as u8; bytes]))
            .collect();
        let data = encode(user_records.iter().map(|(key, data)| UserRecord::new(key, data)));
        (record(&data.expect("there are some")), user_records)
    }

    async fn parts(record: KinesisRecord<'static>, stored: Option<&[u8]>) -> Vec<Part> {
        let store = async |_: &[u8]| Ok::<_, Infallible>(stored.map(<[u8]>::to_vec));
        split(record, store).await.expect("it cannot fail")
    }

    /// Returns the user records of parts, whose numbers are those of the whole record.
    fn user_records(parts: &[Part]) -> Vec<KeyAndData> {
        let mut all = Vec::new();
        for part in parts {
            assert_eq!(part.first_sub, all.len() as u64);
            let data = part.record.data.decode().expect("base64");
            let mut deaggregator = Deaggregator::default();
            let records = deaggregator.deaggregate(b"a", &data).expect("a valid aggregate");
            assert_eq!(records.content(), Content::Aggregated);
            all.extend(records.map(|record| (record.partition_key.to_vec(), record.data.to_vec())));
            assert_eq!(part.first_sub + part.user_records, all.len() as u64);
        }
        all
    }

    #[tokio::test]
    async fn the_parts_fit_into_events_and_have_all_user_records_in_order() {
        let (record, expected) = aggregate(&[100 * 1024; 100]);
        let parts = parts(record.clone(), None).await;
        assert_eq!(parts.iter().map(|part| part.user_records).collect::<Vec<_>>(), [46, 46, 8]);
        assert!(
            parts.iter().all(|part| part.misfit.is_none() && event_bytes(&part.record) <= MAX_EVENT_BYTES)
        );
        assert!(parts.iter().all(|part| part.record.shard_id == record.shard_id
            && part.record.sequence_number == record.sequence_number
            && part.record.approximate_arrival_ms == record.approximate_arrival_ms));
        assert!(user_records(&parts) == expected);
    }

    #[tokio::test]
    async fn a_record_that_fits_is_its_only_part() {
        let (record, _) = aggregate(&[MIB; 4]);
        let parts = parts(record.clone(), None).await;
        assert_eq!(parts.len(), 1);
        assert!(parts[0].record == record && parts[0].first_sub == 0);
    }

    #[tokio::test]
    async fn small_user_records_with_long_keys_fit_too() {
        let keys: Vec<String> = (0..40_000).map(|index| format!("{index:0>200}")).collect();
        let all = encode(keys.iter().map(|key| UserRecord::new(key.as_bytes(), b"")));
        let parts = parts(record(&all.expect("there are some")), None).await;
        assert!(parts.len() > 1 && parts.iter().all(|part| part.misfit.is_none()));
        assert!(
            user_records(&parts).iter().map(|(key, _)| key.as_slice()).eq(keys.iter().map(String::as_bytes))
        );
    }

    #[tokio::test]
    async fn a_user_record_that_no_event_holds_is_a_part_of_its_own() {
        let (record, expected) = aggregate(&[1, 2, 5 * MIB, 3]);
        let parts_of = parts(record.clone(), None).await;
        assert_eq!(parts_of.iter().map(|part| part.user_records).collect::<Vec<_>>(), [2, 1, 1]);
        assert!(user_records(&parts_of) == expected);
        let misfits: Vec<_> = parts_of.iter().map(|part| part.misfit.is_some()).collect();
        assert_eq!(misfits, [false, true, false]);
        let text = parts_of[1].misfit.as_deref().expect("it does not fit");
        assert!(text.starts_with("a payload of 5242880 bytes makes an event of 699"), "{text}");

        let stored = parts(record, Some(b"pointer")).await;
        let mut expected = expected;
        expected[2].1 = b"pointer".to_vec();
        assert!(user_records(&stored) == expected && stored.iter().all(|part| part.misfit.is_none()));
    }

    #[tokio::test]
    async fn a_plain_record_cannot_be_split() {
        let plain = record(&vec![7; 10 * MIB]);
        let parts_of = parts(plain.clone(), None).await;
        assert_eq!(parts_of.len(), 1);
        assert!(parts_of[0].record == plain && parts_of[0].misfit.is_some());
        let stored = parts(plain, Some(b"pointer")).await;
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].record.data.decode().expect("base64"), b"pointer");
        assert_eq!(stored[0].misfit, None);
    }
}
