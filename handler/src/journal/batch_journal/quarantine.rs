use tokio::time::Instant;

use super::BatchJournal;
use crate::{
    Counts,
    batch::{cursor::Cursor, quarantine_queue::QueuedRecord, stop::Stop, walk::BatchPosition},
    journal::{
        DoneSet, JournalError, JournalWrite, Progress, QuarantinedRecord, UserRecordId, WriteOutcome,
        batch_journal::entry::add_quarantined, retry_journal::in_time,
    },
};

impl<'b> BatchJournal<'b> {
    /// Writes user records to the quarantine, each together with the entry that has it as done.
    ///
    /// # Errors
    ///
    /// The stop at the first one that could not be written; the cursor has returned to it.
    pub(crate) async fn write_quarantine(
        &mut self,
        mut queued: Vec<QueuedRecord>,
        cursor: &mut Cursor<'b>,
        counts: &mut Counts,
    ) -> Result<(), Stop> {
        let by = self.invocation.store_by_from_now();
        let position = cursor.position();
        let is_written = match by_kinesis_record(&queued).nth(1) {
            Some(_) => self.write_together(&queued, position, by).await,
            None => Ok(false),
        };
        let written = match is_written {
            Ok(true) => Ok(queued.len()),
            Err(error @ JournalError::OutOfTime) => Err((0, error)),
            // Another invocation may write as well, so each entry has to be merged with what that one knows. And what the
            // store refuses of one Kinesis record must not hold up the others.
            Ok(false) | Err(_) => self.write_one_by_one(&queued, position, by).await,
        };
        let (written, error) = match written {
            Ok(written) => (written, None),
            Err((written, error)) => (written, Some(error)),
        };
        let rest = queued.split_off(written);
        for written @ QueuedRecord { record, user_records, .. } in &queued {
            written.note_quarantined(self.invocation);
            counts.quarantined += user_records;
            match self.quarantined.last_mut().filter(|(number, _)| *number == record.sequence_number) {
                Some((_, records)) => *records += user_records,
                None => self.quarantined.push((record.sequence_number, *user_records)),
            }
            self.log_quarantined(record);
        }
        let Some(error) = error else { return Ok(()) };
        counts.journal_write_errors += 1;
        if let Some(fates) = &self.invocation.fates {
            fates.note_reached(cursor.position());
            rest.iter().for_each(|queued| queued.note_failed(self.invocation));
        }
        let Some(not_written) = rest.into_iter().next() else { return Ok(()) };
        let stop = not_written.into_stop(cursor);
        let kinesis_record = &self.records[cursor.position().kinesis_record];
        self.invocation.log_journal_failure(kinesis_record, "user record not quarantined", &error);
        Err(stop)
    }

    /// Writes all of them at once. Returns whether no entry has another version by now.
    async fn write_together(
        &mut self,
        queued: &[QueuedRecord],
        at: BatchPosition,
        by: Option<Instant>,
    ) -> Result<bool, JournalError> {
        let mut states = Vec::new();
        let mut expected = Vec::new();
        let mut records = Vec::new();
        for of_record in by_kinesis_record(queued) {
            let sequence_number = of_record[0].record.sequence_number;
            let known = self.snapshot.get(sequence_number);
            let version = known.and_then(|known| known.version);
            let mut progress = known.map(|known| known.progress.clone()).unwrap_or_default();
            records.push(add_quarantined(&mut progress, of_record));
            progress.merge(&self.quarantine_change(of_record, at));
            states.push(self.state(self.kind, sequence_number, progress, version));
            expected.push(version);
        }
        let writes: Vec<_> = states
            .iter()
            .zip(expected)
            .zip(&records)
            .map(|((state, expected_version), quarantined)| JournalWrite {
                shard: self.shard,
                state,
                expected_version,
                quarantined,
            })
            .collect();
        let write = async { self.journal.store.write(&writes).await };
        if in_time(by, write).await? == WriteOutcome::Conflict {
            return Ok(false);
        }
        for state in states {
            self.note_written(state);
        }
        Ok(true)
    }

    /// Writes those of one Kinesis record after those of another. An error comes with the number of those before.
    async fn write_one_by_one(
        &mut self,
        queued: &[QueuedRecord],
        at: BatchPosition,
        by: Option<Instant>,
    ) -> Result<usize, (usize, JournalError)> {
        let mut written = 0;
        for of_record in by_kinesis_record(queued) {
            let sequence_number = of_record[0].record.sequence_number;
            let change = self.quarantine_change(of_record, at);
            self.write(sequence_number, &change, of_record, by).await.map_err(|error| (written, error))?;
            written += of_record.len();
        }
        Ok(written)
    }

    /// Returns the change of a Kinesis record's entry that comes with these in the quarantine. All user records before them are
    /// done as well, and in the Kinesis record where the batch is, all before its position.
    fn quarantine_change(&self, of_record: &[QueuedRecord], at: BatchPosition) -> Progress {
        let mut done = DoneSet::default();
        for QueuedRecord { record, sub_sequence_numbers, .. } in of_record {
            match record.id {
                UserRecordId::Sub(_) => done.insert_range(0, *sub_sequence_numbers.end()),
                UserRecordId::Content(_) => done.insert(record.id),
            }
        }
        let first = of_record.first().map(|queued| &queued.record);
        let here = self.records.get(at.kinesis_record).filter(|here| !here.is_enhanced_fan_out());
        if here.map(|here| here.sequence_number) == first.map(|first| first.sequence_number) {
            done.merge(&DoneSet::before(at.sub_sequence_number.unwrap_or(0)));
        }
        Progress { arrival_ms: first.and_then(|first| first.arrival_ms), ..Progress::done(done) }
    }

    fn log_quarantined(&self, record: &QuarantinedRecord) {
        tracing::warn!(
            position = %self.position(record.sequence_number, Some(record.id)),
            reason = %record.reason,
            attempts = record.attempts,
            error = record.error,
            "user record quarantined"
        );
    }
}

/// Splits queued user records into those of one Kinesis record and those of the next.
fn by_kinesis_record(queued: &[QueuedRecord]) -> impl Iterator<Item = &[QueuedRecord]> {
    queued.chunk_by(|one, next| one.record.sequence_number == next.record.sequence_number)
}
