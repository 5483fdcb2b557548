//! The work of a lane: its failure records are read, and delivered in events.

mod shard;
mod range;
mod parts;

use std::{borrow::Cow, collections::VecDeque, rc::Rc};

use kinesis_handler::{EventMode, KinesisRecord, SequenceNumber};

use super::{
    Redrive,
    discarded_range::{DiscardedRange, PayloadError},
    job::Job,
    report::RedriveFate,
};
use crate::{
    delivery::{
        Batcher, Delivered, DeliveryProgress, EventBatch, RecordFailure,
        progress_file::{ProgressError, ProgressPoint},
    },
    error::{Error, chain},
    output::{cell, note::note},
};
use parts::PartEnd;
use shard::Shard;

/// Failure records in one event after one has failed. It doubles with each event that does not.
const SLOW_START: usize = 1;

/// Reads and delivers the failure records of a lane, in order. Those that follow each other share events and reads.
pub(super) struct LaneWork<'l, 'r> {
    run: &'l Redrive<'r>,
    shard: Option<Shard>,
    batcher: Batcher<Mark>,
    /// Failure record, event source and shard of what was put into the batcher last.
    last_pushed: Option<(Rc<Job>, Origins)>,
    /// Failure records that are not reported yet.
    jobs: VecDeque<Rc<Job>>,
    /// Most failure records in one event.
    max_jobs: usize,
}

/// The failure record of a Kinesis record that waits for its event.
struct Mark {
    job: Rc<Job>,
    /// Whether no other record of its failure record has the same sequence number and follows.
    is_last: bool,
    /// The mode of its event.
    mode: EventMode,
    /// Number of its first user record in the record of the stream.
    first_sub: u64,
    /// The end of the part of the stream's record that it is, unless it is all of it.
    part: Option<PartEnd>,
}

/// Event source and shard, as a record names them.
type Origins = (Option<String>, Option<String>);

/// A record in a batch.
type Queued = (KinesisRecord<'static>, Mark);

impl<'l, 'r> LaneWork<'l, 'r> {
    pub(super) fn new(run: &'l Redrive<'r>) -> Self {
        LaneWork {
            run,
            shard: None,
            batcher: Batcher::new(run.args.delivery.batch_size),
            last_pushed: None,
            jobs: VecDeque::new(),
            max_jobs: usize::MAX,
        }
    }

    /// Reads the records of a failure record, and delivers all that make an event. The rest waits.
    pub(super) async fn add(&mut self, job: Rc<Job>) -> Result<(), Error> {
        if let Ok(record) = &job.found.record
            && self.batcher.last().is_some_and(|last| record.first <= last)
        {
            // Both may be about the same records, and an event must be in order.
            self.flush().await?;
        }
        self.jobs.push_back(Rc::clone(&job));
        match &job.found.record {
            Ok(_) if job.is_stopped() => {}
            Ok(record) => self.read(&job, record).await?,
            Err(error) => job.fail(RedriveFate::Unreadable { error: chain(error) }),
        }
        job.is_read.set(true);
        self.settle().await
    }

    /// Delivers what waits, and reports all that is left.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        self.flush().await?;
        self.settle().await
    }

    async fn read(&mut self, job: &Rc<Job>, record: &DiscardedRange) -> Result<(), Error> {
        let done = self.through(job);
        self.resume_skipped(job);
        if self.is_loss_noted(job) {
            let why = "some of them were gone when it was delivered before".to_owned();
            job.fail(RedriveFate::Lost { records: None, why });
        }
        if done == Some(record.last) {
            return Ok(());
        }
        if let Some(objection) = self.run.membership.objection(record).await {
            job.fail(objection.into());
            return Ok(());
        }
        let payload = match record.payload_records() {
            Ok(payload) => payload,
            Err(error @ PayloadError::Foreign { .. }) => {
                job.fail(RedriveFate::Refused { why: chain(&error) });
                return Ok(());
            }
            // The stream may still have them.
            Err(error) => {
                note(format_args!("{}: {}", cell::text(&job.found.name, 200), chain(&error)));
                None
            }
        };
        match payload {
            Some(payload) if record.is_complete(&payload) => self.deliver_payload(job, payload, done).await,
            payload => self.deliver_range(job, record, payload, done).await,
        }
    }

    /// Returns the number up to which a failure record is processed, or passed over. Without a file for them, records that an
    /// earlier run passed over are delivered again.
    fn through(&self, job: &Job) -> Option<SequenceNumber> {
        let progress = self.run.progress.borrow();
        let through = progress.as_ref()?.through(job.key()?)?;
        let is_wanted = through.sub_sequence_number.is_none() || self.run.skips.is_some();
        is_wanted.then_some(through.sequence_number)
    }

    /// Takes over the number of user records that an earlier run passed over.
    fn resume_skipped(&self, job: &Job) {
        let progress = self.run.progress.borrow();
        let through = progress.as_ref().zip(job.key()).and_then(|(progress, key)| progress.through(key));
        let skipped = through.and_then(|through| through.sub_sequence_number).unwrap_or(0);
        if self.run.skips.is_some() {
            job.count_skipped(skipped.max(self.skipped_in_parts(job)));
        }
    }

    /// Whether records were gone when others of the failure record were delivered, in this run or an earlier one.
    fn is_loss_noted(&self, job: &Job) -> bool {
        let progress = self.run.progress.borrow();
        progress.as_ref().zip(job.loss_key()).is_some_and(|(progress, key)| progress.through(&key).is_some())
    }

    /// Puts a record into the next event, and delivers that event when it is full. A record that is too large for any event
    /// comes in parts.
    async fn push(
        &mut self,
        job: &Rc<Job>,
        record: KinesisRecord<'static>,
        is_last: bool,
    ) -> Result<(), Error> {
        if job.is_stopped() || self.run.args.dry_run {
            return Ok(());
        }
        self.push_parts(job, record, is_last).await
    }

    async fn push_marked(&mut self, record: KinesisRecord<'static>, mark: Mark) -> Result<(), Error> {
        let job = &mark.job;
        let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let origins = (text(&record.event_source_arn), text(&record.shard_id));
        if let Some((last_job, last_origins)) = &self.last_pushed
            && let Some(last) = self.batcher.last()
            // An event is of one shard, and in order. If records of two failure records had the same number, the response
            // could not tell them apart.
            && (*last_origins != origins
                || last_job.found.mode() != job.found.mode()
                || (!Rc::ptr_eq(last_job, job) && record.sequence_number <= last))
        {
            self.flush().await?;
        }
        self.last_pushed = Some((Rc::clone(job), origins));
        job.waiting.set(job.waiting.get() + 1);
        match self.batcher.push(record, mark) {
            Some(batch) => self.send(batch).await,
            None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        match self.batcher.finish() {
            Some(batch) => self.send(batch).await,
            None => Ok(()),
        }
    }

    /// Delivers a batch. A record that fails is passed over, if it may be, or else ends its failure record; those of other
    /// failure records are delivered.
    async fn send(&mut self, batch: EventBatch<Mark>) -> Result<(), Error> {
        let mut queue: VecDeque<Queued> = batch.records.into_iter().zip(batch.known).collect();
        loop {
            queue.retain(|(_, mark)| {
                let is_wanted = !mark.job.is_stopped();
                if !is_wanted {
                    mark.leave();
                }
                is_wanted
            });
            let length = self.event_length(&queue);
            if length == 0 {
                return self.settle().await;
            }
            let (delivered, outcome) = match queue.front().and_then(|(_, mark)| mark.misfit()) {
                Some(failure) => (0, Delivered::UpTo { failed: 0, failure, rest: Vec::new() }),
                None => self.deliver(&queue, length).await?,
            };
            queue.drain(..delivered).for_each(|(_, mark)| mark.leave());
            match (outcome, queue.front()) {
                (Delivered::UpTo { failure, .. }, Some(_)) => {
                    self.max_jobs = SLOW_START;
                    if !self.pass(&mut queue, &failure)?
                        && let Some((record, mark)) = queue.front()
                    {
                        let RecordFailure { sub_sequence_number, error } = failure;
                        let sub_sequence_number = sub_sequence_number.map(|sub| mark.first_sub + sub);
                        let at =
                            ProgressPoint { sequence_number: record.sequence_number, sub_sequence_number };
                        mark.job.fail(RedriveFate::Failed { at, error });
                    }
                }
                (Delivered::Halted, _) => {
                    queue.iter().for_each(|(_, mark)| mark.job.fail(RedriveFate::Halted))
                }
                _ => self.max_jobs = self.max_jobs.saturating_mul(2),
            }
        }
    }

    /// Passes over the user record that failed in the first of these records, which becomes what follows it, or is removed.
    /// Returns `false` if it may not be passed over.
    fn pass(&self, queue: &mut VecDeque<Queued>, failure: &RecordFailure) -> Result<bool, Error> {
        let (Some(skips), Some((record, mark))) = (&self.run.skips, queue.front_mut()) else {
            return Ok(false);
        };
        let Some(passed) = skips.pass(record, mark.first_sub, failure)? else { return Ok(false) };
        mark.job.count_skipped(passed.skipped);
        match passed.rest {
            Some(rest) => {
                *record = rest.record;
                mark.first_sub = rest.first_sub;
                // Its numbers are not those that the journal knows.
                mark.mode = EventMode::Reprocess;
            }
            None => {
                let mut noted = Ok(());
                if mark.is_last {
                    self.note(&mark.job, record.sequence_number, &mut noted);
                } else {
                    self.note_part(mark, record.sequence_number, &mut noted);
                }
                mark.leave();
                queue.pop_front();
                noted?;
            }
        }
        Ok(true)
    }

    /// Returns the number of records in the next event: those of a few failure records only, after one has failed, and of one
    /// mode.
    fn event_length(&self, queue: &VecDeque<Queued>) -> usize {
        let mut jobs = 0;
        let mut last: Option<&Rc<Job>> = None;
        let first_mode = queue.front().map(|(_, mark)| mark.mode);
        for (position, (_, Mark { job, mode, .. })) in queue.iter().enumerate() {
            if !last.is_some_and(|last| Rc::ptr_eq(last, job)) {
                jobs += 1;
                last = Some(job);
            }
            if jobs > self.max_jobs || Some(*mode) != first_mode {
                return position;
            }
        }
        queue.len()
    }

    /// Delivers the first records, and notes the progress of their failure records. Returns how many are processed.
    async fn deliver(&self, queue: &VecDeque<Queued>, length: usize) -> Result<(usize, Delivered), Error> {
        let records = queue.iter().take(length).map(|(record, _)| record.clone()).collect();
        let mode = queue.front().map_or(EventMode::Resume, |(_, mark)| mark.mode);
        let mut delivered = 0;
        let mut noted = Ok(());
        let done = |DeliveryProgress { processed: total, quarantined }: DeliveryProgress| {
            if let Some(quarantined) = quarantined {
                // The record that fails may have some, too. User records of an aggregate share their number.
                let mut last = None;
                for (record, mark) in queue.iter().take(length) {
                    if last.replace(record.sequence_number) != Some(record.sequence_number) {
                        mark.job.count_quarantined(quarantined.of(record.sequence_number));
                    }
                }
            }
            let mut through: Option<(&Job, SequenceNumber)> = None;
            for (record, mark) in queue.iter().take(total).skip(delivered) {
                // The parts of a record are one.
                mark.job.count_delivered(u64::from(mark.part.as_ref().is_none_or(|part| part.is_last)));
                self.note_part(mark, record.sequence_number, &mut noted);
                if let Some((job, number)) = through.take_if(|(job, _)| !std::ptr::eq(*job, &*mark.job)) {
                    self.note(job, number, &mut noted);
                }
                // User records of an aggregate share their number: it is processed with the last of them.
                if mark.is_last {
                    through = Some((&mark.job, record.sequence_number));
                }
            }
            if let Some((job, number)) = through {
                self.note(job, number, &mut noted);
            }
            self.run.meter.add((total - delivered) as u64);
            delivered = total;
        };
        let outcome = self.run.delivery.deliver(mode, records, done).await?;
        noted?;
        Ok((delivered, outcome))
    }

    /// Notes that a failure record is processed up to this number.
    fn note(&self, job: &Job, through: SequenceNumber, noted: &mut Result<(), ProgressError>) {
        let mut progress = self.run.progress.borrow_mut();
        let Some((progress, key)) = progress.as_mut().zip(job.key()).filter(|_| noted.is_ok()) else {
            return;
        };
        let loss = job.loss_key().filter(|key| job.has_lost() && progress.through(key).is_none());
        // First, because the next run reads only what follows.
        let loss = loss.map_or(Ok(()), |key| progress.note(&key, ProgressPoint::nowhere()));
        let skipped = job.counts().skipped;
        let sub_sequence_number = (skipped > 0).then_some(skipped);
        let through = ProgressPoint { sequence_number: through, sub_sequence_number };
        *noted = loss.and_then(|()| progress.note(key, through));
    }

    /// Reports the failure records that are finished, and deletes those that are processed.
    async fn settle(&mut self) -> Result<(), Error> {
        let finished = self.jobs.iter().take_while(|job| job.is_finished()).count();
        if finished == 0 {
            return Ok(());
        }
        let finished = self.jobs.drain(..finished).collect();
        self.run.settle(finished).await
    }
}

impl Mark {
    /// The record no longer waits.
    fn leave(&self) {
        self.job.waiting.set(self.job.waiting.get() - 1);
    }
}
