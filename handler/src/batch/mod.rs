//! The way of one batch: Kinesis records are decoded, deaggregated, and their user records processed in order, until
//! the end, the first failure that the quarantine does not take, or the deadline.

pub(crate) mod buffer;
pub(crate) mod counts;
pub(crate) mod failures;
pub(crate) mod payloads;
pub(crate) mod response;

use std::{any::Any, future::Future, iter, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use kpl_deaggregation::{Content, Deaggregator, InvalidFrame, InvalidFramePolicy, UserRecord};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::{
    Counts, ProcessError, Record, RecordProcessor,
    batch::failures::{Failures, Next, WHOLE_KINESIS_RECORD},
    batch::payloads::Payloads,
    event::{KinesisRecord, UnreadableRecord},
    invocation::Invocation,
    invocation::deadline::DeadlineCheck,
    journal::prior::Prior,
    journal::{ContentHash, UserRecordId},
    processor::process_error::without_quoted_values,
};

/// The batch to be processed, and all that is needed for it.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'b, 'p> {
    pub(crate) records: &'b [KinesisRecord<'b>],
    pub(crate) invalid_frame: InvalidFramePolicy,
    pub(crate) max_key_bytes: u64,
    pub(crate) invocation: &'b Invocation<'b>,
    pub(crate) prior: &'p Prior,
}

/// The progress of a batch. It stays readable when the work on the batch panics or is cancelled.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) at: Place,
    /// Number of user records in the Kinesis record before the place: of an enhanced fan-out consumer, one.
    pub(crate) user_records_before: u64,
    pub(crate) counts: Counts,
    /// Number of user records that were begun.
    begun: u64,
    /// Whether the last of these has not come to an end.
    is_in_flight: bool,
}

/// The first user record that is not done; the end of the batch if there is none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Position of its Kinesis record in the event.
    pub(crate) kinesis_record: usize,
    pub(crate) sub_sequence_number: Option<u64>,
}

impl Ledger {
    /// The Kinesis record at this position is done, with all the user records that it held.
    fn pass(&mut self, position: usize, user_records: u64) {
        self.at = Place { kinesis_record: position + 1, sub_sequence_number: None };
        self.user_records_before = user_records;
    }

    /// Whether the processor has not come to an end with the user record at the place.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.is_in_flight
    }

    /// Whether the user record at the place has used up all the time of the batch: it was the first one.
    pub(crate) fn has_used_all_time(&self) -> bool {
        self.is_in_flight && self.begun == 1
    }

    /// Passes the user record at the place although it has failed, because the quarantine takes it.
    pub(crate) fn give_up(&mut self, stop: &Stop) {
        self.is_in_flight = false;
        let position = self.at.kinesis_record;
        match (stop, self.at.sub_sequence_number) {
            (Stop::Failed(Failure::InvalidFrame(_)), _) | (_, None) => self.pass(position, 1),
            (_, Some(number)) => self.at.sub_sequence_number = Some(number + 1),
        }
    }

    /// Returns to the user record at an earlier place, which could not be put into the quarantine.
    pub(crate) fn return_to(&mut self, at: Place, user_records_before: u64) {
        self.at = at;
        self.user_records_before = user_records_before;
    }
}

/// Why a batch ended before its last user record.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The record where the ledger stands has failed.
    Failed(Failure),
    /// The deadline is near. The record where the ledger stands was interrupted or not begun.
    Deadline,
    /// The deadline is near, and no user record could even be begun: that would be no progress.
    DeadlineBeforeFirst,
}

/// The reason why a record failed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Process(ProcessError),
    #[error("processor panicked: {}", without_quoted_values(.0))]
    Panic(String),
    #[error("Kinesis record cannot be read: {0}")]
    Unreadable(UnreadableRecord),
    #[error("aggregated record is invalid: {0}")]
    InvalidFrame(InvalidFrame),
}

impl Failure {
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Failure::Process(error) => error.is_permanent(),
            Failure::Panic(_) => false,
            Failure::Unreadable(_) | Failure::InvalidFrame(_) => true,
        }
    }
}

/// Processes the batch from the ledger's place on: to its end, or until failures are due to be written.
pub(crate) async fn process_batch<'b, P: RecordProcessor>(
    processor: &P,
    batch: Batch<'b, '_>,
    payloads: &mut Payloads<'b>,
    failures: &mut Failures<'b>,
    ledger: &mut Ledger,
) -> Result<Next, Stop> {
    let stop_at = batch.invocation.stop_at;
    loop {
        // One guard around the batch, not one around each record: that would cost as much as a small record itself.
        let work = in_order(processor, batch, payloads, failures, ledger);
        let stop = match until(stop_at, AssertUnwindSafe(work).catch_unwind()).await {
            Some(Ok(result)) => return result,
            Some(Err(panic)) => Stop::Failed(Failure::Panic(panic_text(&*panic))),
            None => Stop::Deadline,
        };
        failures.interrupted(stop, ledger)?;
    }
}

/// Polls a future until a time; `None` if time ran out first. The future is polled at least once.
async fn until<F: Future>(stop_at: Option<Instant>, future: F) -> Option<F::Output> {
    match stop_at {
        Some(stop_at) => timeout_at(stop_at, future).await.ok(),
        None => Some(future.await),
    }
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no text)").to_owned()
}

async fn in_order<'b, P: RecordProcessor>(
    processor: &P,
    batch: Batch<'b, '_>,
    payloads: &mut Payloads<'b>,
    failures: &mut Failures<'b>,
    ledger: &mut Ledger,
) -> Result<Next, Stop> {
    let Batch { records, invalid_frame, max_key_bytes, invocation, prior } = batch;
    let mut deaggregator = Deaggregator::new(invalid_frame).with_max_key_bytes(max_key_bytes);
    let deadline = DeadlineCheck::new(invocation);
    let start = ledger.at;
    for (position, kinesis_record) in records.iter().enumerate().skip(start.kinesis_record) {
        let data = match payloads.get(position) {
            Ok(data) => data,
            Err(reason) => return Err(failures.unreadable(reason)),
        };
        // Where a batch goes on after it has stopped, a record is begun again.
        let is_new = ledger.counts.kinesis_records == position as u64;
        if is_new {
            ledger.counts.kinesis_records += 1;
            ledger.counts.bytes += data.len() as u64;
        }
        let progress = prior.progress(kinesis_record.sequence_number);
        failures.enter(kinesis_record.sequence_number, progress);
        if kinesis_record.is_enhanced_fan_out() {
            // Lambda has deaggregated it, and the ordinals with it are gone.
            let record =
                Record { sub_sequence_number: None, ..plain_record(kinesis_record, data, invocation) };
            // Its content is looked at only if there is something to look for.
            let id = match progress.is_some() || failures.has_waiting() {
                true => content_id(kinesis_record, data),
                false => UserRecordId::Sub(0),
            };
            if progress.is_some_and(|progress| progress.done.contains(&id))
                || failures.is_waiting(kinesis_record.sequence_number, &id)
            {
                ledger.counts.resumed += 1;
            } else {
                let record = Record { attempt: prior.attempt(progress, &id), ..record };
                if process_one(processor, record, &deadline, failures, ledger).await? == Next::WriteFailures {
                    return Ok(Next::WriteFailures);
                }
            }
            ledger.pass(position, 1);
            continue;
        }
        let mut user_records = match deaggregator.deaggregate(kinesis_record.partition_key.as_bytes(), data) {
            Ok(user_records) => user_records,
            Err(invalid) => {
                ledger.counts.invalid_aggregates += u64::from(is_new);
                // The first user records may be done by themselves: the aggregate was valid under other options.
                if progress.is_some_and(|progress| progress.done.contains_range(WHOLE_KINESIS_RECORD)) {
                    ledger.counts.resumed += 1;
                    ledger.pass(position, 1);
                    continue;
                }
                let attempt = prior.attempt(progress, &UserRecordId::Sub(0));
                let record = Record { attempt, ..plain_record(kinesis_record, data, invocation) };
                if failures.are_due(record.partition_key) {
                    return Ok(Next::WriteFailures);
                }
                failures.give_up(Stop::Failed(Failure::InvalidFrame(invalid)), record, ledger)?;
                continue;
            }
        };
        let content = user_records.content();
        let held = user_records.len();
        if is_new {
            ledger.counts.include(content, held);
            if let Content::InvalidRaw(invalid) | Content::InvalidSkipped(invalid) = content {
                log_tolerated(kinesis_record, content, &invalid, invocation);
            }
        }
        let first = match start.sub_sequence_number {
            Some(number) if position == start.kinesis_record => number,
            _ => 0,
        };
        let whole = plain_record(kinesis_record, data, invocation);
        while let Some(user_record) = user_records.next() {
            let UserRecord { data, partition_key, explicit_hash_key, sub_sequence_number, .. } = user_record;
            if sub_sequence_number < first {
                continue;
            }
            if progress.is_some_and(|progress| progress.done.contains_sub(sub_sequence_number)) {
                ledger.counts.resumed += 1;
                continue;
            }
            if failures.takes_rest_from(kinesis_record.sequence_number, sub_sequence_number) {
                let is_done = |record: &UserRecord<'_>| {
                    progress.is_some_and(|progress| progress.done.contains_sub(record.sub_sequence_number))
                };
                let rest = user_records.by_ref().filter(|record| !is_done(record));
                failures.give_up_rest(
                    kinesis_record,
                    iter::once(user_record).chain(rest),
                    held as u64 - 1,
                    ledger,
                );
                ledger.pass(position, held as u64);
                // It holds keys that it is not known by.
                return Ok(Next::WriteFailures);
            }
            let record = Record {
                data,
                partition_key,
                explicit_hash_key,
                sub_sequence_number: Some(sub_sequence_number),
                aggregated: content == Content::Aggregated,
                attempt: prior.attempt(progress, &UserRecordId::Sub(sub_sequence_number)),
                ..whole
            };
            if process_one(processor, record, &deadline, failures, ledger).await? == Next::WriteFailures {
                return Ok(Next::WriteFailures);
            }
        }
        ledger.pass(position, held as u64);
    }
    Ok(Next::Proceed)
}

/// Returns the journal's name of a user record of an aggregate that Lambda has deaggregated.
pub(crate) fn content_id(kinesis_record: &KinesisRecord<'_>, data: &[u8]) -> UserRecordId {
    UserRecordId::Content(ContentHash::new(kinesis_record.partition_key.as_bytes(), data))
}

/// The Kinesis record as the one user record that it is.
fn plain_record<'a>(
    kinesis_record: &'a KinesisRecord<'a>,
    data: &'a [u8],
    invocation: &'a Invocation<'a>,
) -> Record<'a> {
    Record {
        data,
        partition_key: kinesis_record.partition_key.as_bytes(),
        explicit_hash_key: None,
        sub_sequence_number: Some(0),
        aggregated: false,
        attempt: None,
        kinesis_record,
        invocation,
    }
}

/// Processes a user record, unless failures must be written before it. A failure is a stop if the quarantine does not
/// take it.
#[inline]
async fn process_one<'b, P: RecordProcessor>(
    processor: &P,
    record: Record<'b>,
    deadline: &DeadlineCheck<'_>,
    failures: &mut Failures<'b>,
    ledger: &mut Ledger,
) -> Result<Next, Stop> {
    ledger.at.sub_sequence_number = record.sub_sequence_number;
    if deadline.is_over() {
        return Err(if ledger.begun > 0 { Stop::Deadline } else { Stop::DeadlineBeforeFirst });
    }
    if failures.are_due(record.partition_key) {
        return Ok(Next::WriteFailures);
    }
    ledger.begun += 1;
    ledger.is_in_flight = true;
    failures.begin(record);
    let is_retried = record.attempt.is_some_and(|attempt| attempt > 1);
    let result = processor.process(record).await;
    ledger.is_in_flight = false;
    match result {
        Ok(()) => {
            ledger.counts.user_records += 1;
            ledger.counts.retried += u64::from(is_retried);
            Ok(Next::Proceed)
        }
        Err(error) => failures.give_up(Stop::Failed(Failure::Process(error)), record, ledger),
    }
}

fn log_tolerated(
    kinesis_record: &KinesisRecord<'_>,
    content: Content,
    invalid: &InvalidFrame,
    invocation: &Invocation<'_>,
) {
    let skipped = matches!(content, Content::InvalidSkipped(_));
    tracing::warn!(
        request_id = &*invocation.request_id,
        stream = kinesis_record.stream_arn(),
        shard_id = kinesis_record.shard_id.as_deref(),
        sequence_number = %kinesis_record.sequence_number,
        reason = %invalid,
        "invalid aggregated record {}",
        if skipped { "skipped" } else { "delivered raw" },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{permanent, retryable};

    #[track_caller]
    fn check(failure: Failure, expected_text: &str, expected_permanent: bool) {
        assert_eq!(
            (failure.to_string().as_str(), failure.is_permanent()),
            (expected_text, expected_permanent)
        );
    }

    #[test]
    fn a_failure_says_what_it_was_and_whether_it_is_permanent() {
        check(Failure::Process(permanent("no order")), "no order", true);
        check(Failure::Process(retryable("busy")), "busy", false);
        let panic = |panic: Box<dyn Any + Send>| Failure::Panic(panic_text(&*panic));
        check(panic(Box::new("a literal")), "processor panicked: a literal", false);
        check(panic(Box::new("a text".to_owned())), "processor panicked: a text", false);
        check(panic(Box::new(7)), "processor panicked: (no text)", false);
        check(
            Failure::Unreadable(UnreadableRecord::MissingData),
            "Kinesis record cannot be read: data is missing",
            true,
        );
        check(
            Failure::InvalidFrame(InvalidFrame::MissingData { user_record: 3 }),
            "aggregated record is invalid: user record 3: data is missing",
            true,
        );
    }
}
