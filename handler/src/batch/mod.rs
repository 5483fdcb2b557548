//! The processing of one batch: its Kinesis records are decoded and deaggregated, and their user records processed in order,
//! until the end, the first failure that is not quarantined, or the deadline.

pub(crate) mod ahead;
mod attended;
mod chunked;
pub(crate) mod concurrent;
mod contained;
pub(crate) mod counts;
pub(crate) mod cursor;
pub(crate) mod failure_rules;
pub(crate) mod fates;
mod one_by_one;
pub(crate) mod payload_decoder;
pub(crate) mod quarantine_queue;
pub(crate) mod response;
pub(crate) mod run;
pub(crate) mod steps;
pub(crate) mod stop;
pub(crate) mod walk;
pub(crate) mod windowed;
pub(crate) mod workspace;

use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    panic::AssertUnwindSafe,
};

use futures_util::FutureExt;
use kpl_deaggregation::Deaggregator;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::{
    Counts, RecordFate, SequenceNumber,
    batch::{
        ahead::{Ahead, AheadRecord, Place, place},
        cursor::{Cursor, Passed},
        payload_decoder::PayloadDecoder,
        quarantine_queue::{Next, QuarantineQueue, SkippedRecord},
        run::{Drive, Driver, Run},
        steps::{Pause, Steps},
        stop::{Failure, Stop, StopReason, panic_text},
        walk::BatchPosition,
        workspace::Workspace,
    },
    event::KinesisRecord,
    invocation::{Invocation, deadline::DeadlineCheck, stage_span},
    journal::{DoneSet, Progress, UserRecordId, batch_journal::BatchJournal, snapshot::JournalSnapshot},
    record::BatchRecord,
};

/// Processes the user records of a batch after those that were passed, without a journal, one by one, and returns the position of the first one that is not
/// processed with the reason.
///
/// The data of a group of Kinesis records takes the place of the data of the group before, which is still in the processor's
/// cache. So an event needs little memory besides its own.
pub(crate) async fn process_in_groups<D: Drive>(
    driver: &mut Driver<'_, D>,
    records: &[KinesisRecord<'_>],
    mut passed: Passed,
    mut deaggregator: Deaggregator,
    invocation: &Invocation<'_>,
    workspace: &mut Workspace,
    counts: &mut Counts,
) -> (Result<(), Stop>, BatchPosition) {
    let mut deadline = DeadlineCheck::new(invocation);
    loop {
        let first = passed.position.kinesis_record;
        let decoder = PayloadDecoder::of_group(records, first, workspace.decoder_memory());
        let mut cursor = Cursor::new(records, decoder, deaggregator, invocation, passed);
        let processed = process_batch(driver, &mut cursor, &mut None, &mut deadline, counts).await;
        let is_last = processed.is_err() || cursor.is_at_end();
        let decoder;
        (passed, decoder, deaggregator) = cursor.into_parts();
        workspace.lists = decoder.into_lists();
        if is_last {
            workspace.deaggregator = Some(deaggregator);
            return (processed, passed.position);
        }
    }
}

/// Processes the user records of a cursor.
///
/// # Errors
///
/// The [`Stop`], if the batch ends before its last user record; the cursor is at the first one that is not processed.
pub(crate) async fn process_batch<'b, D: Drive>(
    driver: &mut Driver<'_, D>,
    cursor: &mut Cursor<'b>,
    journal: &mut Option<BatchJournal<'b>>,
    deadline: &mut DeadlineCheck<'_>,
    counts: &mut Counts,
) -> Result<(), Stop> {
    let mut ahead = Ahead::default();
    let result = process_until_stop(driver, cursor, &mut ahead, journal, deadline, counts).await;
    result.map_err(|stop| Stop { ahead: take_ahead(&mut ahead, cursor, counts), ..stop })
}

async fn process_until_stop<'b, D: Drive>(
    driver: &mut Driver<'_, D>,
    cursor: &mut Cursor<'b>,
    ahead: &mut Ahead<'b>,
    journal: &mut Option<BatchJournal<'b>>,
    deadline: &mut DeadlineCheck<'_>,
    counts: &mut Counts,
) -> Result<(), Stop> {
    let invocation = cursor.invocation();
    let mut queue = QuarantineQueue::new(journal.as_ref().map(BatchJournal::rules), invocation);
    let mut unread = JournalSnapshot::default();
    unread.include_frozen(invocation.frozen);
    loop {
        let snapshot = journal.as_ref().map_or(&unread, BatchJournal::snapshot);
        let steps = Steps::new(snapshot, &queue, deadline, invocation);
        let mut run = Run::new(cursor, ahead, steps, counts);
        // One panic guard and one timer around the records up to the next failure, because around each record they would cost
        // as much as a small record itself. The timer is inside of the guard, because a future may panic when it is cancelled.
        let guarded = AssertUnwindSafe(until(invocation.stop_at, driver.drive(&mut run))).catch_unwind();
        let ended = guarded.instrument(stage_span!(invocation, "process")).await;
        let failure = run.into_failure();
        if !matches!(ended, Ok(Some(_))) {
            // The check's alarm may come a moment after the timer.
            deadline.renew();
        }
        let pause = match (failure, ended) {
            (Some(failure), _) => Pause::Stop(StopReason::Failed(failure)),
            (None, Ok(Some(pause))) => pause,
            (None, Err(panic)) => Pause::Stop(StopReason::Failed(Failure::Panic(panic_text(&*panic)))),
            (None, Ok(None)) => Pause::Stop(StopReason::Deadline),
        };
        let pause = match pause {
            Pause::Stop(StopReason::Deadline) => {
                let steps = Steps::new(snapshot, &queue, deadline, invocation);
                pass_ahead(Run::new(cursor, ahead, steps, counts))
            }
            pause => pause,
        };
        let end = match pause {
            Pause::End => Some(Ok(())),
            // What has failed is a stop by now.
            Pause::WriteQueue | Pause::Failed => None,
            Pause::Stop(StopReason::Deadline) if !cursor.has_begun_any() && queue.is_empty() => {
                Some(Err(Stop::new(StopReason::DeadlineBeforeFirst, None)))
            }
            Pause::Stop(reason) => match queue.fail(reason, cursor, snapshot) {
                Next::Continue => continue,
                Next::Stop(stop) => Some(Err(stop)),
                Next::Skip(skipped) => {
                    // If the write fails, the batch returns to an earlier record, and this one is not skipped.
                    write_queue(&mut queue, cursor, journal, counts).await?;
                    skip(skipped, cursor, counts);
                    continue;
                }
                Next::QuarantineRest(first) => {
                    // The write may find that another invocation has quarantined the same.
                    let here = Here::of(cursor);
                    if let Err(stop) = write_queue(&mut queue, cursor, journal, counts).await {
                        here.fail_ahead(first.into_reason(), ahead);
                        return Err(stop);
                    }
                    let snapshot = journal.as_ref().map_or(&unread, BatchJournal::snapshot);
                    if first.is_done(snapshot) {
                        continue;
                    }
                    let done = take_done(ahead, cursor.position().kinesis_record, counts);
                    counts.out_of_range += queue.push_rest(*first, cursor, snapshot, &done);
                    None
                }
            },
        };
        let here = Here::of(cursor);
        if let Err(stop) = write_queue(&mut queue, cursor, journal, counts).await {
            if let Some(Err(later)) = end {
                here.fail_ahead(later.reason, ahead);
            }
            return Err(stop);
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// The user record at the cursor, before an earlier one that cannot be quarantined becomes the one where the batch stops.
struct Here<'b> {
    place: Place,
    record: Option<BatchRecord<'b>>,
}

impl<'b> Here<'b> {
    fn of(cursor: &Cursor<'b>) -> Self {
        Here { place: place(cursor.position()), record: cursor.walk().current() }
    }

    /// Keeps its failure, which lies beyond the stop now.
    fn fail_ahead(self, reason: StopReason, ahead: &mut Ahead<'b>) {
        if let (StopReason::Failed(failure), Some(record)) = (reason, self.record) {
            ahead.insert(self.place, record, Err(failure));
        }
    }
}

/// Moves the cursor past what was processed ahead of it when the deadline came, because among several user records in flight the
/// one at the cursor may have ended as well. Returns what to do there.
fn pass_ahead(mut run: Run<'_, '_>) -> Pause {
    let pause = match run.next() {
        run::Next::Pause(pause) => pause,
        run::Next::Process(_) => Pause::Stop(StopReason::Deadline),
    };
    match run.into_failure() {
        Some(failure) => Pause::Stop(StopReason::Failed(failure)),
        None => pause,
    }
}

/// Moves the cursor past the user record there, which has failed and is skipped for its age.
fn skip(skipped: SkippedRecord, cursor: &mut Cursor<'_>, counts: &mut Counts) {
    let SkippedRecord { error, attempts, age } = skipped;
    let position = cursor.position();
    if let Some(kinesis_record) = cursor.walk().current_kinesis_record() {
        tracing::error!(
            position = %kinesis_record.position(position.sub_sequence_number),
            attempts,
            ageSeconds = age.as_secs(),
            error,
            "user record skipped for its age, its data is lost"
        );
    }
    counts.skipped += 1;
    cursor.invocation().note_fate(place(position), || RecordFate::SkippedForAge { error });
    cursor.note_progress();
    cursor.pass();
}

/// Takes what was processed ahead in the Kinesis record at this index, and returns what is done of it.
fn take_done(ahead: &mut Ahead<'_>, kinesis_record: usize, counts: &mut Counts) -> DoneSet {
    let mut done = DoneSet::default();
    for (place, AheadRecord { record, result }) in ahead.take_all(kinesis_record..kinesis_record + 1) {
        if result.is_ok() {
            record.invocation.note_fate(place, || RecordFate::Processed);
            counts.include_done(record.attempt);
            done.insert(UserRecordId::of(&record));
        }
    }
    done
}

/// Takes all that was processed ahead, and returns what the journal has to keep of it.
fn take_ahead(
    ahead: &mut Ahead<'_>,
    cursor: &mut Cursor<'_>,
    counts: &mut Counts,
) -> BTreeMap<SequenceNumber, Progress> {
    let mut changes = BTreeMap::<_, Progress>::new();
    let (mut failed, mut first_failed) = (0_u64, None);
    let taken = ahead.take_all(0..usize::MAX);
    let is_done = |(place, ahead): &(Place, AheadRecord<'_>)| ahead.result.is_ok().then_some(place.0);
    let unfinished = match taken.iter().any(|(_, ahead)| ahead.record.kinesis_record.is_enhanced_fan_out()) {
        true => cursor.members_but(&taken.iter().filter_map(is_done).collect()),
        false => HashSet::new(),
    };
    for (place, AheadRecord { record, result }) in taken {
        cursor.count_ahead(place.0, counts);
        cursor.invocation().note_fate(place, || match &result {
            Ok(()) => RecordFate::Processed,
            Err(failure) => RecordFate::failed(failure),
        });
        let progress = changes.entry(record.kinesis_record.sequence_number).or_default();
        progress.arrival_ms = record.kinesis_record.approximate_arrival_ms;
        let id = UserRecordId::of(&record);
        match result {
            Ok(()) => {
                counts.include_done(record.attempt);
                // If another one with the same content is not done, the journal could not tell it from this one.
                if !unfinished.contains(&(record.kinesis_record.sequence_number, id)) {
                    progress.done.insert(id);
                }
            }
            Err(failure) if !failure.is_attempt() => {}
            Err(failure) => {
                let error = failure.to_string();
                progress.fail(id, &error, cursor.invocation().clock.epoch_ms());
                failed += 1;
                first_failed.get_or_insert((record, error));
            }
        }
    }
    if let Some((record, error)) = first_failed {
        tracing::error!(
            position = %record.kinesis_record.position(record.sub_sequence_number),
            error,
            records = failed,
            "user records beyond the one where the batch stopped have failed, too"
        );
    }
    changes
}

/// Writes the queued user records to the quarantine, if there are any.
///
/// # Errors
///
/// The stop at the first one that could not be written; the cursor has returned to it.
async fn write_queue<'b>(
    queue: &mut QuarantineQueue<'b>,
    cursor: &mut Cursor<'b>,
    journal: &mut Option<BatchJournal<'b>>,
    counts: &mut Counts,
) -> Result<(), Stop> {
    match journal {
        Some(journal) if !queue.is_empty() => {
            let span = stage_span!(cursor.invocation(), "write quarantine");
            journal.write_quarantine(queue.take(), cursor, counts).instrument(span).await?;
            cursor.note_progress();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Polls a future until a time; `None` if time ran out first. The future is polled at least once.
pub(crate) async fn until<F: Future>(stop_at: Option<Instant>, future: F) -> Option<F::Output> {
    match stop_at {
        Some(stop_at) => timeout_at(stop_at, future).await.ok(),
        None => Some(future.await),
    }
}
