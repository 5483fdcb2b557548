use std::rc::Rc;

use kinesis_handler::{EventMode, KinesisRecord, SequenceNumber};

use super::{super::job::Job, LaneWork, Mark};
use crate::{
    delivery::{
        Part, RecordFailure,
        progress_file::{ProgressError, ProgressPoint},
    },
    error::Error,
};

/// The end of a part of a Kinesis record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartEnd {
    /// Number of the user record after it.
    next_sub: u64,
    /// Whether no part follows.
    pub(super) is_last: bool,
    /// Why no event can hold it.
    misfit: Option<String>,
}

impl Mark {
    /// Returns the failure of a user record that no event can hold.
    pub(super) fn misfit(&self) -> Option<RecordFailure> {
        let PartEnd { is_last, misfit, .. } = self.part.as_ref()?;
        let is_only = self.first_sub == 0 && *is_last;
        let sub_sequence_number = if is_only { None } else { Some(0) };
        Some(RecordFailure { sub_sequence_number, error: misfit.clone()? })
    }
}

impl LaneWork<'_, '_> {
    /// Pushes a record, or the parts of one that is too large for an event, except those that an earlier run has delivered.
    pub(super) async fn push_parts(
        &mut self,
        job: &Rc<Job>,
        record: KinesisRecord<'static>,
        is_last: bool,
    ) -> Result<(), Error> {
        let number = record.sequence_number;
        let parts = self.run.large.parts(record).await?;
        let count = parts.len();
        // In the record of the stream, of which the payload of a skipped record is a part already.
        let base = job.found.first_sub();
        let done = if count > 1 { self.processed_parts(job, number) } else { 0 };
        for (index, part) in parts.into_iter().enumerate() {
            let Part { record, first_sub, user_records, misfit } = part;
            let is_last_part = index + 1 == count;
            let (first_sub, next_sub) = (base + first_sub, base + first_sub + user_records);
            if next_sub <= done && !is_last_part {
                continue;
            }
            let is_alone = count > 1 || misfit.is_some();
            let part = is_alone.then_some(PartEnd { next_sub, is_last: is_last_part, misfit });
            // Sub-sequence numbers of a part are not those that the journal knows.
            let mode = if count > 1 { EventMode::Reprocess } else { job.found.mode() };
            let is_last = is_last && is_last_part;
            if is_alone {
                // Parts share their sequence number, by which a response names a record.
                self.flush().await?;
                if job.is_stopped() {
                    break;
                }
            }
            self.push_marked(record, Mark { job: Rc::clone(job), is_last, mode, first_sub, part }).await?;
            if is_alone {
                self.flush().await?;
            }
            if job.is_stopped() {
                break;
            }
        }
        Ok(())
    }

    /// Returns the number of the first user record of a Kinesis record that is not processed, as far as an earlier run has noted it
    /// at the end of a part. Without a file for them, parts are delivered again from the first user record on that was passed over.
    fn processed_parts(&self, job: &Job, number: SequenceNumber) -> u64 {
        let progress = self.run.progress.borrow();
        let next_sub = |key: Option<String>| {
            let through = progress.as_ref()?.through(&key?)?;
            through.sub_sequence_number.filter(|_| through.sequence_number == number)
        };
        let with_skipped = if self.run.skips.is_some() { next_sub(job.skipped_parts_key()) } else { None };
        next_sub(job.parts_key()).max(with_skipped).unwrap_or(0)
    }

    /// Returns the number of user records that an earlier run passed over, as far as it has noted it at the end of a part.
    pub(super) fn skipped_in_parts(&self, job: &Job) -> u64 {
        let progress = self.run.progress.borrow();
        let skipped =
            progress.as_ref().zip(job.skipped_key()).and_then(|(progress, key)| progress.through(&key));
        skipped.and_then(|skipped| skipped.sub_sequence_number).unwrap_or(0)
    }

    /// Notes that a part is processed, if others follow it.
    pub(super) fn note_part(
        &self,
        mark: &Mark,
        number: SequenceNumber,
        noted: &mut Result<(), ProgressError>,
    ) {
        let Some(PartEnd { next_sub, is_last: false, .. }) = mark.part else { return };
        let mut progress = self.run.progress.borrow_mut();
        let Some(progress) = progress.as_mut().filter(|_| noted.is_ok()) else { return };
        let mut note = |key: Option<String>, number_in_record: u64| {
            let through =
                ProgressPoint { sequence_number: number, sub_sequence_number: Some(number_in_record) };
            key.map_or(Ok(()), |key| progress.note(&key, through))
        };
        let skipped = mark.job.counts().skipped;
        *noted = match skipped {
            0 => note(mark.job.parts_key(), next_sub),
            // The number first, because the next run begins after these.
            _ => note(mark.job.skipped_key(), skipped)
                .and_then(|()| note(mark.job.skipped_parts_key(), next_sub)),
        };
    }
}
