//! Records that never succeed: a run passes over them, and a file keeps them.

mod record;
mod file;

use std::cell::RefCell;

use kinesis_esm::stream_arn::stream_of;
use kinesis_handler::{KinesisRecord, event::RecordData};
use kpl_deaggregation::{Content, Deaggregator, UserRecord, UserRecords, encode};

use super::RecordFailure;
pub(crate) use file::{SkippedFile, SkippedFileError};
pub(crate) use record::SkippedRecord;

/// The way past records that fail in all attempts.
#[derive(Debug)]
pub(crate) struct Skips {
    file: RefCell<SkippedFile>,
}

/// The parts of a Kinesis record of which at least one user record was passed over.
#[derive(Debug)]
pub(crate) struct Passed {
    /// User records before the one that failed, which the function has processed.
    pub(crate) processed: u64,
    /// User records that the file has now.
    pub(crate) skipped: u64,
    /// The user records after them, if there are any.
    pub(crate) rest: Option<RestOfRecord>,
}

/// The user records of an aggregated record that follow the one that was passed over.
#[derive(Debug)]
pub(crate) struct RestOfRecord {
    /// An aggregated record of its own, in which sub-sequence numbers start at 0.
    pub(crate) record: KinesisRecord<'static>,
    pub(crate) user_records: u64,
    /// Number of its first user record in the record of the stream.
    pub(crate) first_sub: u64,
}

impl Skips {
    pub(crate) fn new(file: SkippedFile) -> Self {
        Skips { file: RefCell::new(file) }
    }

    /// Passes over the user record that failed, once the file has it. If the function does not say which user record it was,
    /// the file gets all of the Kinesis record.
    ///
    /// `first_sub` is the number of the record's first user record in the record of the stream. Returns `None` if it cannot
    /// be passed over: the file has as many user records as it may get, or the record cannot be read.
    ///
    /// # Errors
    ///
    /// The file cannot be written; nothing is passed over.
    pub(crate) fn pass(
        &self,
        record: &KinesisRecord<'static>,
        first_sub: u64,
        failure: &RecordFailure,
    ) -> Result<Option<Passed>, SkippedFileError> {
        let (Some(arn), Some(shard_id)) = (&record.event_source_arn, &record.shard_id) else {
            return Ok(None);
        };
        let RecordData::Base64(_) = &record.data else { return Ok(None) };
        let Ok(data) = record.data.decode() else { return Ok(None) };
        let template = SkippedRecord {
            stream_arn: stream_of(arn).into(),
            shard_id: (&**shard_id).into(),
            sequence_number: record.sequence_number,
            sub_sequence_number: None,
            aggregated: false,
            partition_key: (&*record.partition_key).into(),
            explicit_hash_key: None,
            data: String::new(),
            approximate_arrival_timestamp: record.approximate_arrival_ms.map(|ms| ms as f64 / 1000.0),
            error: (&*failure.error).into(),
        };
        let mut deaggregator = Deaggregator::default();
        let user_records = deaggregator.deaggregate(record.partition_key.as_bytes(), &data);
        // An aggregate that holds none is kept as it is: the function has failed with it.
        let is_aggregate =
            |records: &UserRecords<'_, '_>| records.content() == Content::Aggregated && records.len() > 0;
        let user_records = user_records.ok().filter(is_aggregate);
        let Some(user_records) = user_records else {
            let lines = [template.with_data(&data)];
            let is_kept = self.file.borrow_mut().append(&lines)?;
            return Ok(is_kept.then_some(Passed { processed: 0, skipped: 1, rest: None }));
        };
        let user_records: Vec<UserRecord<'_>> = user_records.collect();
        let failed = failure.sub_sequence_number.and_then(|sub| usize::try_from(sub).ok());
        let failed = match failed {
            Some(sub) if sub < user_records.len() => sub..sub + 1,
            // It may be any of them.
            _ => 0..user_records.len(),
        };
        if !self.file.borrow().has_room_for(failed.len()) {
            return Ok(None);
        }
        let lines: Vec<_> = user_records[failed.clone()]
            .iter()
            .map(|user_record| template.clone().with_user_record(user_record, first_sub))
            .collect();
        if !self.file.borrow_mut().append(&lines)? {
            return Ok(None);
        }
        let after = &user_records[failed.end..];
        let rest = encode(after.iter().copied()).map(|data| {
            let mut rest = record.clone();
            rest.data = KinesisRecord::new(record.sequence_number, "", &data).data;
            RestOfRecord {
                record: rest,
                user_records: after.len() as u64,
                first_sub: first_sub + failed.end as u64,
            }
        });
        Ok(Some(Passed { processed: failed.start as u64, skipped: failed.len() as u64, rest }))
    }
}
