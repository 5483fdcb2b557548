use kinesis_esm::MAX_EVENT_BYTES;
use kinesis_handler::{Event, EventMode, KinesisRecord, SequenceNumber};

use super::{Replay, cut::Within, report::ReplayFate};
use crate::{
    delivery::{
        Batcher, Delivered, DeliveryProgress, EventBatch, Part, RecordFailure,
        progress_file::{ProgressError, ProgressPoint},
        skipped::RestOfRecord,
    },
    error::Error,
};

impl Replay<'_> {
    /// Puts a record into the next batch, and delivers that when it is full. A record that is too large for any event comes in
    /// parts. Returns why nothing more of the shard is delivered, if it is not.
    pub(super) async fn push(
        &self,
        shard_id: &str,
        key: &str,
        batcher: &mut Batcher<Within>,
        record: KinesisRecord<'static>,
        within: Within,
    ) -> Result<Option<ReplayFate>, Error> {
        let parts = match self.args.dry_run {
            true => vec![Part::whole(record)],
            false => self.large.parts(record).await?,
        };
        let mut batches = Vec::new();
        let count = parts.len();
        if count > 1 {
            batches.extend(batcher.finish());
        }
        for (index, Part { record, first_sub, user_records, .. }) in parts.into_iter().enumerate() {
            if count == 1 {
                batches.extend(batcher.push(record, within));
                break;
            }
            let first_sub = within.first_sub + first_sub;
            let within = Within { user_records, first_sub, is_end: index + 1 == count };
            batches.push(EventBatch { records: vec![record], known: vec![within] });
        }
        for batch in batches {
            if let Some(fate) = self.send(shard_id, key, batch).await? {
                return Ok(Some(fate));
            }
        }
        Ok(None)
    }

    /// Returns why nothing more of the shard is delivered, if it is not. Records that never succeed are passed over, if they
    /// may be.
    pub(super) async fn send(
        &self,
        shard_id: &str,
        key: &str,
        batch: EventBatch<Within>,
    ) -> Result<Option<ReplayFate>, Error> {
        let EventBatch { mut records, mut known } = batch;
        while !records.is_empty() {
            let event_bytes = too_many_bytes(&records);
            let numbers: Vec<_> = records.iter().map(|record| record.sequence_number).collect();
            let outcome = self.send_once(shard_id, key, records, &known).await?;
            let (failed, mut failure) = match outcome {
                Delivered::All => return Ok(None),
                Delivered::Halted => return Ok(Some(ReplayFate::Halted)),
                Delivered::UpTo { failed, failure, rest } => {
                    records = rest;
                    (failed, failure)
                }
            };
            known.drain(..failed);
            if let Some(bytes) = event_bytes {
                failure.error +=
                    &format!("; its event has {bytes} bytes, and Lambda takes {MAX_EVENT_BYTES}");
            }
            if !self.pass(shard_id, key, &mut records, &mut known, &failure)? {
                let RecordFailure { sub_sequence_number, error } = failure;
                let first_sub = known.first().map_or(0, |within| within.first_sub);
                let sub_sequence_number = sub_sequence_number.map(|sub| first_sub + sub);
                let at = ProgressPoint { sequence_number: numbers[failed], sub_sequence_number };
                return Ok(Some(ReplayFate::Failed { at, error }));
            }
        }
        Ok(None)
    }

    /// Passes over the user record that failed in the first of these records, which becomes what follows it, or is removed.
    /// Returns `false` if it may not be passed over.
    fn pass(
        &self,
        shard_id: &str,
        key: &str,
        records: &mut Vec<KinesisRecord<'static>>,
        known: &mut Vec<Within>,
        failure: &RecordFailure,
    ) -> Result<bool, Error> {
        let (Some(skips), Some(record), Some(within)) = (&self.skips, records.first(), known.first()) else {
            return Ok(false);
        };
        let (number, first_sub) = (record.sequence_number, within.first_sub);
        let Some(passed) = skips.pass(record, first_sub, failure)? else { return Ok(false) };
        let mut report = self.report.borrow_mut();
        let tally = report.tally(shard_id);
        tally.skipped += passed.skipped;
        tally.user_records += passed.processed;
        match passed.rest {
            Some(RestOfRecord { record, user_records, first_sub }) => {
                records[0] = record;
                known[0] = Within { user_records, first_sub, ..known[0] };
            }
            None => {
                records.remove(0);
                tally.first = tally.first.or(Some(number));
                tally.last = Some(number);
                // Not before all of it is processed or in the file.
                if known.remove(0).is_end {
                    self.note(key, number, tally.skipped)?;
                }
            }
        }
        Ok(true)
    }

    /// Notes that a shard is processed up to this number, except so many user records.
    fn note(&self, key: &str, through: SequenceNumber, skipped: u64) -> Result<(), ProgressError> {
        let mut progress = self.progress.borrow_mut();
        let Some(progress) = progress.as_mut() else { return Ok(()) };
        let sub_sequence_number = (skipped > 0).then_some(skipped);
        progress.note(key, ProgressPoint { sequence_number: through, sub_sequence_number })
    }

    async fn send_once(
        &self,
        shard_id: &str,
        key: &str,
        records: Vec<KinesisRecord<'static>>,
        known: &[Within],
    ) -> Result<Delivered, Error> {
        let numbers: Vec<_> = records.iter().map(|record| record.sequence_number).collect();
        let mut delivered = 0;
        let mut noted = Ok(());
        let mut done = |DeliveryProgress { processed, quarantined }: DeliveryProgress| {
            let mut report = self.report.borrow_mut();
            let tally = report.tally(shard_id);
            if let Some(quarantined) = quarantined {
                *tally.quarantined.get_or_insert_default() += quarantined.total();
            }
            if processed == delivered {
                return;
            }
            tally.first = tally.first.or(numbers.first().copied());
            tally.last = Some(numbers[processed - 1]);
            // The parts of a record are one.
            let ends = known[delivered..processed].iter().filter(|within| within.is_end).count();
            tally.kinesis_records += ends as u64;
            let more: u64 = known[delivered..processed].iter().map(|within| within.user_records).sum();
            tally.user_records += more;
            self.meter.add(more);
            delivered = processed;
            if noted.is_ok() && ends > 0 {
                noted = self.note(key, numbers[processed - 1], tally.skipped);
            }
        };
        if self.args.dry_run {
            done(DeliveryProgress { processed: numbers.len(), quarantined: None });
            return Ok(Delivered::All);
        }
        let outcome = self.delivery.deliver(EventMode::Reprocess, records, done).await?;
        noted?;
        Ok(outcome)
    }
}

/// The size of the event, if it is larger than what Lambda takes: then it has a single record.
fn too_many_bytes(batch: &[KinesisRecord<'static>]) -> Option<usize> {
    let [record] = batch else { return None };
    let bytes = Event::new(vec![record.clone()]).to_json().len();
    (bytes > MAX_EVENT_BYTES).then_some(bytes)
}
