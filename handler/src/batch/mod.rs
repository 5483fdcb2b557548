//! The processing of one batch: its Kinesis records are decoded and deaggregated, and their user records processed in order,
//! until the end, the first failure that is not quarantined, or the deadline.

pub(crate) mod counts;
pub(crate) mod cursor;
pub(crate) mod failure_rules;
pub(crate) mod payload_decoder;
pub(crate) mod quarantine_queue;
pub(crate) mod response;
pub(crate) mod stop;
pub(crate) mod workspace;

use std::{future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use kpl_deaggregation::Deaggregator;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::{
    Counts, RecordProcessor,
    batch::{
        cursor::{BatchPosition, Cursor, Passed},
        payload_decoder::PayloadDecoder,
        quarantine_queue::{Next, QuarantineQueue},
        stop::{Failure, Stop, StopReason, panic_text},
        workspace::Workspace,
    },
    event::KinesisRecord,
    invocation::{Invocation, deadline::DeadlineCheck, stage_span},
    journal::{Progress, batch_journal::BatchJournal, snapshot::JournalSnapshot},
};

/// The reason why no further user record is processed for now.
enum Pause {
    /// The batch is at its end.
    End,
    /// The quarantine queue must be written before the current user record is processed.
    WriteQueue,
    /// The batch stops at the current user record, unless the quarantine takes it.
    Stop(StopReason),
}

/// A decision about the current user record, before it is processed.
enum Step {
    /// An earlier invocation has processed it.
    Skip,
    Pause(Pause),
    Process,
}

/// Processes the user records of a batch without a journal in order, and returns the position of the first one that is not
/// processed with the reason.
///
/// The data of a group of Kinesis records takes the place of the data of the group before, which is still in the processor's
/// cache. So an event needs little memory besides its own.
pub(crate) async fn process_in_groups<P: RecordProcessor>(
    processor: &P,
    records: &[KinesisRecord<'_>],
    mut deaggregator: Deaggregator,
    invocation: &Invocation<'_>,
    workspace: &mut Workspace,
    counts: &mut Counts,
) -> (Result<(), Stop>, BatchPosition) {
    let mut deadline = DeadlineCheck::new(invocation);
    let mut passed = Passed::default();
    loop {
        let first = passed.position.kinesis_record;
        let decoder = PayloadDecoder::of_group(records, first, workspace.decoder_memory());
        let mut cursor = Cursor::new(records, decoder, deaggregator, invocation, passed);
        let processed = process_batch(processor, &mut cursor, &mut None, &mut deadline, counts).await;
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

/// Processes the user records of a cursor in order.
///
/// # Errors
///
/// The [`Stop`], if the batch ends before its last user record; the cursor is at the first one that is not processed.
pub(crate) async fn process_batch<'b, P: RecordProcessor>(
    processor: &P,
    cursor: &mut Cursor<'b>,
    journal: &mut Option<BatchJournal<'b>>,
    deadline: &mut DeadlineCheck<'_>,
    counts: &mut Counts,
) -> Result<(), Stop> {
    let invocation = cursor.invocation();
    let mut queue = QuarantineQueue::new(journal.as_ref().map(BatchJournal::rules), invocation);
    let unread = JournalSnapshot::default();
    loop {
        let snapshot = journal.as_ref().map_or(&unread, BatchJournal::snapshot);
        let records = async {
            while let Some(kinesis_record) = cursor.kinesis_record(counts) {
                let progress = snapshot.progress(kinesis_record.sequence_number);
                while cursor.find_user_record() {
                    match next_step(cursor, progress, &queue, deadline) {
                        Step::Skip => counts.resumed += 1,
                        Step::Pause(pause) => return pause,
                        Step::Process => {
                            let attempt = snapshot.attempt(progress, cursor.user_record());
                            if let Err(error) = processor.process(cursor.begin(attempt)).await {
                                return Pause::Stop(StopReason::Failed(error.into()));
                            }
                            counts.user_records += 1;
                            counts.retried += u64::from(attempt.is_some_and(|attempt| attempt > 1));
                        }
                    }
                    cursor.pass();
                }
                cursor.leave();
            }
            Pause::End
        };
        // One panic guard and one timer around the records up to the next failure, because around each record they would cost
        // as much as a small record itself. The timer is inside of the guard, because a future may panic when it is cancelled.
        let guarded = AssertUnwindSafe(until(invocation.stop_at, records)).catch_unwind();
        let pause = match guarded.instrument(stage_span!(invocation, "process")).await {
            Ok(Some(pause)) => pause,
            Err(panic) => Pause::Stop(StopReason::Failed(Failure::Panic(panic_text(&*panic)))),
            Ok(None) => {
                // The check's alarm may come a moment after the timer.
                deadline.renew();
                Pause::Stop(StopReason::Deadline)
            }
        };
        let end = match pause {
            Pause::End => Some(Ok(())),
            Pause::WriteQueue => None,
            Pause::Stop(reason) => match queue.fail(reason, cursor, snapshot) {
                Next::Continue => continue,
                Next::Stop(stop) => Some(Err(stop)),
                Next::QuarantineRest(first) => {
                    // The write may find that another invocation has quarantined the same.
                    write_queue(&mut queue, cursor, journal, counts).await?;
                    let snapshot = journal.as_ref().map_or(&unread, BatchJournal::snapshot);
                    queue.push_rest(*first, cursor, snapshot);
                    None
                }
            },
        };
        write_queue(&mut queue, cursor, journal, counts).await?;
        if let Some(end) = end {
            return end;
        }
    }
}

/// Decides the next step with the current user record.
#[inline]
fn next_step<'b>(
    cursor: &Cursor<'b>,
    progress: Option<&Progress>,
    queue: &QuarantineQueue<'b>,
    deadline: &DeadlineCheck<'_>,
) -> Step {
    let record = cursor.user_record();
    if progress.is_some_and(|progress| cursor.is_in(&progress.done)) || queue.has_alike(record) {
        return Step::Skip;
    }
    let failure = cursor.failure();
    if failure.is_none() && deadline.is_over() {
        let has_progress = cursor.has_begun_any() || !queue.is_empty();
        let reason = if has_progress { StopReason::Deadline } else { StopReason::DeadlineBeforeFirst };
        return Step::Pause(Pause::Stop(reason));
    }
    if queue.is_due_before(record.partition_key) {
        return Step::Pause(Pause::WriteQueue);
    }
    match failure {
        Some(failure) => Step::Pause(Pause::Stop(StopReason::Failed(failure))),
        None => Step::Process,
    }
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
            cursor.note_quarantined();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Polls a future until a time; `None` if time ran out first. The future is polled at least once.
async fn until<F: Future>(stop_at: Option<Instant>, future: F) -> Option<F::Output> {
    match stop_at {
        Some(stop_at) => timeout_at(stop_at, future).await.ok(),
        None => Some(future.await),
    }
}
