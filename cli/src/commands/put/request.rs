use std::{
    cell::RefCell,
    io::{self, Write},
};

use aws_sdk_kinesis::{
    primitives::Blob,
    types::{PutRecordsRequestEntry, PutRecordsResultEntry},
};
use kpl_deaggregation::PutEntry;
use tokio::time::sleep;

use super::receipts::Receipts;
use crate::{
    aws::Backoff,
    error::Error,
    stream::{Api, MAX_PUT_BYTES, MAX_PUT_RECORDS},
};

/// Errors of single records that pass: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
const TRANSIENT: [&str; 2] = ["ProvisionedThroughputExceededException", "InternalFailure"];

/// The Kinesis records of one `PutRecords`.
#[derive(Debug, Default)]
pub(super) struct Request {
    entries: Vec<PutRecordsRequestEntry>,
    /// Number of user records and size of each record.
    sizes: Vec<(usize, usize)>,
    bytes: usize,
}

impl Request {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn user_records(&self) -> u64 {
        self.sizes.iter().map(|(user_records, _)| *user_records as u64).sum()
    }

    /// A record that is larger than all limits goes alone.
    pub(super) fn has_room_for(&self, record: &PutEntry) -> bool {
        let bytes = record.data.len() + record.partition_key.len();
        self.is_empty() || (self.entries.len() < MAX_PUT_RECORDS && self.bytes + bytes <= MAX_PUT_BYTES)
    }

    pub(super) fn push(&mut self, record: PutEntry) {
        let PutEntry { partition_key, explicit_hash_key, data, user_records } = record;
        let bytes = data.len() + partition_key.len();
        self.bytes += bytes;
        self.sizes.push((user_records, bytes));
        let entry = PutRecordsRequestEntry::builder()
            .data(Blob::new(data))
            .partition_key(partition_key)
            .set_explicit_hash_key(explicit_hash_key);
        self.entries.push(entry.build().expect("a record with data and key is whole"));
    }

    /// Puts the records, and those that failed alone until they are taken. Returns whether one went to a shard that is
    /// none of these.
    pub(super) async fn send(
        mut self,
        api: &Api,
        receipts: &RefCell<Receipts<impl Write>>,
        shards: &[String],
    ) -> Result<bool, Error> {
        let mut backoff = Backoff::new();
        let mut has_new_shard = false;
        loop {
            let results = api.put_records(&self.entries).await?;
            let is_new = |shard: &String| !shards.contains(shard);
            has_new_shard |= results.iter().filter_map(|result| result.shard_id.as_ref()).any(is_new);
            self = self.settle(results, &mut receipts.borrow_mut())?;
            if self.is_empty() {
                return Ok(has_new_shard);
            }
            sleep(backoff.next_delay()).await;
        }
    }

    /// Writes down what has become of each record. Returns those that are to be put again.
    fn settle(
        self,
        results: Vec<PutRecordsResultEntry>,
        receipts: &mut Receipts<impl Write>,
    ) -> io::Result<Request> {
        let mut rest = Request::default();
        for ((entry, size), result) in self.entries.into_iter().zip(self.sizes).zip(results) {
            match (result.sequence_number, result.shard_id) {
                (Some(number), Some(shard)) => receipts.taken(&shard, &number, size),
                _ => {
                    let code = result.error_code.unwrap_or_else(|| "no error code".to_owned());
                    if TRANSIENT.contains(&code.as_str()) {
                        rest.entries.push(entry);
                        rest.sizes.push(size);
                    } else {
                        let message = result.error_message.unwrap_or_default();
                        let key = entry.partition_key.unwrap_or_default();
                        receipts.refuse(&key, &code, &message, size);
                    }
                }
            }
        }
        receipts.check()?;
        Ok(rest)
    }
}
