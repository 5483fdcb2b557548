use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
};

use kinesis_esm::{Origin, SharedRecord};
use kinesis_handler::{KinesisRecord, SequenceNumber};

use super::{
    super::{discarded_range::DiscardedRange, job::Job, range_reader::Range, report::RedriveFate},
    LaneWork,
    shard::Unread,
};
use crate::{delivery::progress_file::ProgressPoint, error::Error, output::note::count};

/// Data that a range may hold before its number of records is known. A batch has at most 6 MiB of JSON.
const MAX_UNCHECKED_BYTES: usize = 32 * 1024 * 1024;

/// The result of reading a range.
struct ReadRange {
    /// Number of records of the failure record, in the stream or only in its payload.
    found: u64,
    has_start: bool,
    has_end: bool,
    /// Whether the stream or its shard does not exist.
    is_gone: bool,
}

impl LaneWork<'_, '_> {
    /// Notes why a range is not read. Returns whether the stream may still have it.
    fn note_unread(&self, job: &Job, record: &DiscardedRange, unread: &Unread) -> bool {
        match unread {
            Unread::Gone => return false,
            Unread::Halted => job.fail(RedriveFate::Halted),
            Unread::Failed(error) => {
                // The first record that is not known to be processed, or the last one that is.
                let at = self.through(job).unwrap_or(record.first);
                job.fail(RedriveFate::Failed { at: ProgressPoint::whole(at), error: error.clone() });
            }
        }
        true
    }

    fn note_loss(&self, job: &Job, record: &DiscardedRange, range: &ReadRange, done: Option<SequenceNumber>) {
        if job.is_stopped() {
            return;
        }
        // User records are no measure for Kinesis records, and neither is the rest that an earlier run has left.
        let expected = record.batch_size.filter(|_| !record.is_fan_out() && done.is_none());
        let missing = expected.map(|expected| expected.saturating_sub(range.found));
        let (records, why) = match (range.has_start, range.has_end, missing) {
            (true, true, None | Some(0)) => return,
            (.., missing) if range.is_gone => {
                let all = record.batch_size.filter(|_| range.found == 0);
                (missing.or(all), "the stream or its shard is gone")
            }
            (false, false, missing) if range.found == 0 => {
                (missing.or(record.batch_size), "the stream has none of them any more")
            }
            (false, ..) => (missing, "the stream has dropped the first of them"),
            (_, false, missing) => (missing, "the stream does not have the last of them"),
            (true, true, missing) => (missing, "the stream does not have all of them"),
        };
        job.fail(RedriveFate::Lost { records, why: why.to_owned() });
    }

    pub(super) async fn deliver_payload(
        &mut self,
        job: &Rc<Job>,
        records: Vec<KinesisRecord<'static>>,
        done: Option<SequenceNumber>,
    ) -> Result<(), Error> {
        job.count_found(records.len() as u64);
        self.push_payload(job, &mut rest(records, done), None).await
    }

    /// Delivers what the stream has of a failure record. If its first records are gone, an incomplete payload fills the gap.
    pub(super) async fn deliver_range(
        &mut self,
        job: &Rc<Job>,
        record: &DiscardedRange,
        payload: Option<Vec<KinesisRecord<'static>>>,
        done: Option<SequenceNumber>,
    ) -> Result<(), Error> {
        self.use_shard(record).await?;
        let is_checked = !self.run.args.all_in_range;
        // A fan-out consumer counts user records.
        let is_counted = is_checked && !record.is_fan_out();
        let max_records = if is_counted { record.batch_size.unwrap_or(0) } else { u64::MAX };
        let max_bytes = if is_checked { MAX_UNCHECKED_BYTES } else { usize::MAX };
        let mut range = match self.begin(record, done).await? {
            Ok(range) => Some(range),
            Err(unread) if self.note_unread(job, record, &unread) => return Ok(()),
            Err(_) => None,
        };
        let has_start = range.as_ref().is_some_and(Range::has_start);
        let has_payload = payload.is_some();
        // The stream has all records after the first one that it has.
        let mut payload = rest(payload.filter(|_| !has_start).unwrap_or_default(), done);
        let in_payload: HashSet<_> = payload.iter().map(|record| record.sequence_number).collect();
        // Only their number can tell that none is missing between the payload and the stream.
        let is_measured = record.batch_size.is_some() && !record.is_fan_out() && done.is_none();
        let mut read = ReadRange {
            found: payload.len() as u64,
            has_start: has_start || (is_measured && in_payload.contains(&record.first)),
            has_end: in_payload.contains(&record.last),
            is_gone: range.is_none(),
        };
        if read.found > 0 {
            job.count_found(read.found);
        }
        let origin = Origin::new(&record.shard_id, record.stream.as_str());
        let (mut waiting, mut bytes): (Vec<SharedRecord>, _) = (Vec::new(), 0);
        while let Some(open) = &mut range {
            let mut records = match self.next(open).await? {
                Ok(Some(records)) => records,
                Ok(None) => break,
                Err(unread) if self.note_unread(job, record, &unread) => return Ok(()),
                Err(_) => {
                    read.is_gone = true;
                    break;
                }
            };
            records.retain(|record| !in_payload.contains(&record.sequence_number));
            read.found += records.len() as u64;
            job.count_found(read.found);
            bytes += records.iter().map(|record| record.data.len()).sum::<usize>();
            if self.run.args.dry_run {
                continue;
            }
            waiting.append(&mut records);
            if job.is_stopped() || read.found > max_records || bytes > max_bytes {
                break;
            }
            // A loss must be known before the first delivery, and the number of records shows one.
            let is_countless = record.is_fan_out() || record.batch_size.is_none_or(|size| read.found >= size);
            if !is_checked && (is_countless || bytes > MAX_UNCHECKED_BYTES) {
                if !read.has_start {
                    let why = "the stream has dropped the first of them".to_owned();
                    job.fail(RedriveFate::Lost { records: None, why });
                }
                self.push_all(job, &mut payload, std::mem::take(&mut waiting), &origin).await?;
            }
        }
        read.has_end |= range.as_ref().is_some_and(Range::has_end);
        if read.found > max_records || bytes > max_bytes {
            job.fail(RedriveFate::Refused { why: refusal(record, read.found) });
            return Ok(());
        }
        let is_whole = has_start && read.has_end;
        if has_payload
            && is_checked
            && record.is_fan_out()
            && is_whole
            && record.batch_size != Some(read.found)
        {
            let why =
                "its payload is incomplete: confirm with --all-in-range that all in its range is delivered";
            job.fail(RedriveFate::Refused { why: why.to_owned() });
            return Ok(());
        }
        self.note_loss(job, record, &read, done);
        self.push_all(job, &mut payload, waiting, &origin).await?;
        self.push_payload(job, &mut payload, None).await
    }

    /// Pushes records of the stream, and those of the payload that precede them.
    async fn push_all(
        &mut self,
        job: &Rc<Job>,
        payload: &mut VecDeque<KinesisRecord<'static>>,
        records: Vec<SharedRecord>,
        origin: &Origin,
    ) -> Result<(), Error> {
        for record in records {
            self.push_payload(job, payload, Some(record.sequence_number)).await?;
            self.push(job, record.in_event(origin).into_owned(), true).await?;
        }
        Ok(())
    }

    /// Pushes the records of a payload that precede this number, or all.
    async fn push_payload(
        &mut self,
        job: &Rc<Job>,
        payload: &mut VecDeque<KinesisRecord<'static>>,
        before: Option<SequenceNumber>,
    ) -> Result<(), Error> {
        while let Some(record) = payload.pop_front() {
            if before.is_some_and(|before| record.sequence_number >= before) {
                payload.push_front(record);
                break;
            }
            let is_last = payload.front().is_none_or(|next| next.sequence_number != record.sequence_number);
            self.push(job, record, is_last).await?;
        }
        Ok(())
    }
}

fn refusal(record: &DiscardedRange, found: u64) -> String {
    match record.batch_size {
        Some(size) if found <= size || record.is_fan_out() => {
            "its range holds more data than a batch can have: confirm with --all-in-range".to_owned()
        }
        Some(size) => format!(
            "its range holds more than the {} that it counts: confirm with --all-in-range",
            count(size, "record")
        ),
        None => "it does not say how many records were discarded: confirm with --all-in-range".to_owned(),
    }
}

/// Returns the records that are not processed yet.
fn rest(
    mut records: Vec<KinesisRecord<'static>>,
    done: Option<SequenceNumber>,
) -> VecDeque<KinesisRecord<'static>> {
    records.retain(|record| done.is_none_or(|done| record.sequence_number > done));
    records.into()
}
