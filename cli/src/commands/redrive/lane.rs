use std::{
    borrow::Cow,
    collections::{HashSet, VecDeque},
    rc::Rc,
};

use kinesis_esm::{Origin, SharedRecord, StreamArn};
use kinesis_handler::{KinesisRecord, SequenceNumber};

use super::{
    Redrive,
    discarded_range::{DiscardedRange, PayloadError},
    job::Job,
    range_reader::{Range, RangeReader},
    report::RedriveFate,
};
use crate::{
    aws::AwsError,
    delivery::{
        Batcher, Delivered, DeliveryProgress, EventBatch,
        progress_file::{ProgressError, ProgressPoint},
    },
    error::{Error, chain},
    output::{
        cell,
        note::{count, note},
    },
};

/// Data that a range may hold before its number of records is known. A batch has at most 6 MiB of JSON.
const MAX_UNCHECKED_BYTES: usize = 32 * 1024 * 1024;

/// Failure records in one event after one has failed. It doubles with each event that does not.
const SLOW_START: usize = 1;

/// Failure records in a row for which a shard is read in vain, before the rest of them is not tried: each takes up to half a
/// minute, and there may be thousands.
const MAX_FAILURES: u32 = 3;

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

/// The shard that is read.
struct Shard {
    stream: StreamArn,
    id: String,
    /// Without one, why it is not read.
    reader: Result<RangeReader, Unread>,
    /// Failure records in a row for which it could not be read.
    failures: u32,
}

impl Shard {
    /// Whether another failure record is worth the time of reading once more.
    fn may_be_read(&self) -> bool {
        match self.reader {
            Ok(_) => true,
            Err(Unread::Gone | Unread::Halted) => false,
            Err(Unread::Failed(_)) => self.failures < MAX_FAILURES,
        }
    }

    fn fail(&mut self, unread: Unread) {
        self.failures += 1;
        self.reader = Err(unread);
    }
}

/// The failure record of a Kinesis record that waits for its event.
struct Mark {
    job: Rc<Job>,
    /// Whether no other record of its failure record has the same sequence number and follows.
    is_last: bool,
}

/// Event source and shard, as a record names them.
type Origins = (Option<String>, Option<String>);

/// A record in a batch.
type Queued = (KinesisRecord<'static>, Mark);

/// Why a range was not read.
#[derive(Clone)]
enum Unread {
    /// The stream or shard does not exist.
    Gone,
    /// It must not or cannot be read.
    Failed(String),
    /// The run was asked to end.
    Halted,
}

/// The result of reading a range.
struct ReadRange {
    /// Number of records of the failure record, in the stream or only in its payload.
    found: u64,
    has_start: bool,
    has_end: bool,
    /// Whether the stream or its shard does not exist.
    is_gone: bool,
}

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

    /// Returns the number up to which a failure record is processed.
    fn through(&self, job: &Job) -> Option<SequenceNumber> {
        let progress = self.run.progress.borrow();
        Some(progress.as_ref()?.through(job.key()?)?.sequence_number)
    }

    /// Whether records were gone when others of the failure record were delivered, in this run or an earlier one.
    fn is_loss_noted(&self, job: &Job) -> bool {
        let progress = self.run.progress.borrow();
        progress.as_ref().zip(job.loss_key()).is_some_and(|(progress, key)| progress.through(&key).is_some())
    }

    /// Notes why a range is not read. Returns whether the stream may still have it.
    fn note_unread(&self, job: &Job, record: &DiscardedRange, unread: &Unread) -> bool {
        match unread {
            Unread::Gone => return false,
            Unread::Halted => job.fail(RedriveFate::Halted),
            Unread::Failed(error) => {
                // The first record that is not known to be processed, or the last one that is.
                let at = self.through(job).unwrap_or(record.first);
                job.fail(RedriveFate::Failed { at, error: error.clone() });
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

    async fn deliver_payload(
        &mut self,
        job: &Rc<Job>,
        records: Vec<KinesisRecord<'static>>,
        done: Option<SequenceNumber>,
    ) -> Result<(), Error> {
        job.count_found(records.len() as u64);
        self.push_payload(job, &mut rest(records, done), None).await
    }

    /// Delivers what the stream has of a failure record. If its first records are gone, an incomplete payload fills the gap.
    async fn deliver_range(
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

    /// Puts a record into the next event, and delivers that event when it is full.
    async fn push(
        &mut self,
        job: &Rc<Job>,
        record: KinesisRecord<'static>,
        is_last: bool,
    ) -> Result<(), Error> {
        if job.is_stopped() || self.run.args.dry_run {
            return Ok(());
        }
        let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let origins = (text(&record.event_source_arn), text(&record.shard_id));
        if let Some((last_job, last_origins)) = &self.last_pushed
            && let Some(last) = self.batcher.last()
            // An event is of one shard, and in order. If records of two failure records had the same number, the response
            // could not tell them apart.
            && (*last_origins != origins || (!Rc::ptr_eq(last_job, job) && record.sequence_number <= last))
        {
            self.flush().await?;
        }
        self.last_pushed = Some((Rc::clone(job), origins));
        job.waiting.set(job.waiting.get() + 1);
        match self.batcher.push(record, Mark { job: Rc::clone(job), is_last }) {
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

    /// Delivers a batch. A record that fails ends its failure record; those of other failure records are delivered.
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
            let (delivered, outcome) = self.deliver(&queue, length).await?;
            queue.drain(..delivered).for_each(|(_, mark)| mark.leave());
            match (outcome, queue.front()) {
                (Delivered::UpTo { error, .. }, Some((record, mark))) => {
                    mark.job.fail(RedriveFate::Failed { at: record.sequence_number, error });
                    self.max_jobs = SLOW_START;
                }
                (Delivered::Halted, _) => {
                    queue.iter().for_each(|(_, mark)| mark.job.fail(RedriveFate::Halted))
                }
                _ => self.max_jobs = self.max_jobs.saturating_mul(2),
            }
        }
    }

    /// Returns the number of records in the next event: those of a few failure records only, after one has failed.
    fn event_length(&self, queue: &VecDeque<Queued>) -> usize {
        let mut jobs = 0;
        let mut last: Option<&Rc<Job>> = None;
        for (position, (_, Mark { job, .. })) in queue.iter().enumerate() {
            if !last.is_some_and(|last| Rc::ptr_eq(last, job)) {
                jobs += 1;
                last = Some(job);
            }
            if jobs > self.max_jobs {
                return position;
            }
        }
        queue.len()
    }

    /// Delivers the first records, and notes the progress of their failure records. Returns how many are processed.
    async fn deliver(&self, queue: &VecDeque<Queued>, length: usize) -> Result<(usize, Delivered), Error> {
        let records = queue.iter().take(length).map(|(record, _)| record.clone()).collect();
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
                mark.job.count_delivered(1);
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
        let outcome = self.run.delivery.deliver(records, done).await?;
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
        *noted = loss.and_then(|()| progress.note(key, ProgressPoint::whole(through)));
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

    /// Makes the shard of a failure record the one that is read.
    async fn use_shard(&mut self, record: &DiscardedRange) -> Result<(), Error> {
        let (stream, shard_id) = (&record.stream, &record.shard_id);
        let known = self.shard.as_ref().filter(|shard| shard.stream == *stream && shard.id == *shard_id);
        if known.is_some_and(|shard| shard.reader.is_ok() || !shard.may_be_read()) {
            return Ok(());
        }
        let failures = known.map_or(0, |shard| shard.failures);
        let api = self.run.api(stream).await?;
        let reader = Ok(RangeReader::new(api, self.run.pace(stream, shard_id), shard_id));
        self.shard = Some(Shard { stream: stream.clone(), id: shard_id.clone(), reader, failures });
        Ok(())
    }

    async fn begin(
        &mut self,
        record: &DiscardedRange,
        done: Option<SequenceNumber>,
    ) -> Result<Result<Range, Unread>, Error> {
        let run = self.run;
        let shard = self.shard.as_mut().expect("use_shard was called");
        let reader = match &mut shard.reader {
            Ok(reader) => reader,
            Err(unread) => return Ok(Err(unread.clone())),
        };
        let range = attempt(run, reader.begin((record.first, record.last), done)).await?;
        if let Err(unread) = &range {
            shard.fail(unread.clone());
        }
        Ok(range)
    }

    async fn next(&mut self, range: &mut Range) -> Result<Result<Option<Vec<SharedRecord>>, Unread>, Error> {
        let run = self.run;
        let shard = self.shard.as_mut().expect("use_shard was called");
        let reader = match &mut shard.reader {
            Ok(reader) => reader,
            Err(unread) => return Ok(Err(unread.clone())),
        };
        let records = attempt(run, reader.next(range)).await?;
        match &records {
            Ok(_) => shard.failures = 0,
            Err(unread) => shard.fail(unread.clone()),
        }
        Ok(records)
    }
}

impl Mark {
    /// The record no longer waits.
    fn leave(&self) {
        self.job.waiting.set(self.job.waiting.get() - 1);
    }
}

/// Reads until there is an answer, or the run is asked to end. An error is that of the run, not of the stream.
async fn attempt<T>(
    run: &Redrive<'_>,
    read: impl Future<Output = Result<T, AwsError>>,
) -> Result<Result<T, Unread>, Error> {
    let read = tokio::select! {
        read = read => read,
        () = run.delivery.halt.asked() => return Ok(Err(Unread::Halted)),
    };
    match read {
        Ok(read) => {
            run.has_read.set(true);
            Ok(Ok(read))
        }
        Err(error @ (AwsError::NoRegion | AwsError::NoCredentials(_))) => Err(error.into()),
        Err(error) if error.is("ResourceNotFoundException") => {
            run.has_read.set(true);
            Ok(Err(Unread::Gone))
        }
        Err(error) => {
            let text = chain(&error);
            if error.is_unanswered() {
                run.unreachable.borrow_mut().get_or_insert(error);
            } else {
                run.has_read.set(true);
            }
            Ok(Err(Unread::Failed(text)))
        }
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
