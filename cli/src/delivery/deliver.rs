use std::cell::Cell;

use bytes::Bytes;
use kinesis_handler::{Event, EventMode, KinesisRecord};
use lambda_host::Answer;
use tokio::time::sleep;

use super::response::{Quarantined, StatedFailure, Statement, statement};
use crate::{
    aws::Backoff,
    delivery::target::{Target, TargetError, request_id},
    output::{cell, meter, note::note},
    run::halt::Halt,
};

/// Widest error that a function reports, in columns: its text may be a whole page.
const ERROR_WIDTH: usize = 300;

/// Delivers batches to a function as the mapping would, except that it stops after a few attempts, and that only a
/// response about the batch counts as a success: what was delivered may be deleted next.
#[derive(Debug)]
pub(crate) struct Delivery<'t> {
    pub(crate) target: &'t Target,
    /// Number of times that a batch may fail without any progress.
    attempts: u32,
    /// Stops between two invocations.
    pub(crate) halt: &'t Halt,
    has_begun: Cell<bool>,
    has_noted_throttling: Cell<bool>,
}

/// The outcome of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivered {
    All,
    /// Only the records before this one, which is a position in the batch.
    UpTo {
        failed: usize,
        failure: RecordFailure,
        /// The records of the batch from that one on.
        rest: Vec<KinesisRecord<'static>>,
    },
    /// Not all of them, because the run shall end.
    Halted,
}

/// The reason why a Kinesis record failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordFailure {
    /// The user record at which the function has stopped, counted from zero, if it says so. Those before it in its Kinesis
    /// record are processed.
    pub(crate) sub_sequence_number: Option<u64>,
    /// The record's own error if the function says so, or else that of the invocation.
    pub(crate) error: String,
}

/// Progress of a batch: what one response has confirmed.
#[derive(Debug)]
pub(crate) struct DeliveryProgress {
    /// Number of records of the batch, from the first one on, that are processed by now.
    pub(crate) processed: usize,
    /// User records that the function put into its quarantine since the last time; `None` if it does not say. They may be
    /// part of the Kinesis record that fails.
    pub(crate) quarantined: Option<Quarantined>,
}

impl RecordFailure {
    fn stated(failure: Option<StatedFailure>) -> Self {
        match failure {
            Some(StatedFailure { sub_sequence_number, error, .. }) => {
                RecordFailure { sub_sequence_number, error: cell::text(&error, ERROR_WIDTH) }
            }
            None => {
                Self::unstated("the function reported it in batchItemFailures, without a reason".to_owned())
            }
        }
    }

    fn unstated(error: String) -> Self {
        RecordFailure { sub_sequence_number: None, error }
    }
}

impl<'t> Delivery<'t> {
    pub(crate) fn new(target: &'t Target, attempts: u32, halt: &'t Halt) -> Self {
        Delivery {
            target,
            attempts,
            halt,
            has_begun: Cell::new(false),
            has_noted_throttling: Cell::new(false),
        }
    }

    /// Delivers records of one shard, in order.
    ///
    /// A response that names a record makes the rest from there on a new batch, with new attempts. When those of a batch
    /// are used up without a word about which record it is, the batch is halved, so that everything in front of a record
    /// that fails for good gets through. `on_progress` is called for each response that says something about the batch.
    pub(crate) async fn deliver(
        &self,
        mode: EventMode,
        records: Vec<KinesisRecord<'static>>,
        mut on_progress: impl FnMut(DeliveryProgress),
    ) -> Result<Delivered, TargetError> {
        let shard_id = records.first().and_then(|record| record.shard_id.clone()).unwrap_or_default();
        let mut rest = records;
        // Of the batch, as it came.
        let mut first = 0;
        while !rest.is_empty() {
            let mut length = rest.len();
            let mut attempt = 0;
            // The furthest that the function has come in the first Kinesis record.
            let mut furthest: Option<u64> = None;
            let mut backoff = Backoff::new();
            // Made anew only if there is another one.
            let (mut event, mut id) = (event_of(mode, &mut rest, length), request_id());
            let progress = loop {
                let Some(_in_flight) = self.halt.enter() else { return Ok(Delivered::Halted) };
                // Whether it is known which record fails: the first one.
                let mut is_first = length == 1;
                let failure = match self.invoke(event.clone(), &id, &shard_id).await? {
                    Answer::Throttled => {
                        if !self.has_noted_throttling.replace(true) {
                            note(
                                "the function throttles, or cannot be reached; retrying (further retries are not reported)",
                            );
                        }
                        let _waiting = meter::wait("the function, which throttles or cannot be reached");
                        self.pause(&mut backoff).await;
                        continue;
                    }
                    Answer::Response(response) => {
                        let numbers = rest[..length].iter().map(|record| record.sequence_number);
                        match statement(&response, numbers) {
                            Ok(Statement { processed, quarantined, failure }) => {
                                on_progress(DeliveryProgress { processed: first + processed, quarantined });
                                if processed > 0 {
                                    break processed;
                                }
                                let failure = RecordFailure::stated(failure);
                                // Of user records that share their number, because Lambda has deaggregated them, it may be any.
                                is_first = is_first
                                    || failure.sub_sequence_number.is_some()
                                    || rest[1].sequence_number != rest[0].sequence_number;
                                // Getting further in an aggregated record is progress: a user record that has failed once
                                // has not used up the attempts.
                                if furthest < failure.sub_sequence_number {
                                    attempt = 0;
                                    furthest = failure.sub_sequence_number;
                                }
                                failure
                            }
                            Err(error) => RecordFailure::unstated(error.to_string()),
                        }
                    }
                    Answer::Error(error) => {
                        RecordFailure::unstated(cell::text(&error.to_string(), ERROR_WIDTH))
                    }
                };
                attempt += 1;
                if attempt < self.attempts {
                    let next = attempt + 1;
                    let _waiting =
                        meter::wait(format!("attempt {next} of {}: {}", self.attempts, failure.error));
                    self.pause(&mut backoff).await;
                    continue;
                }
                if is_first {
                    return Ok(Delivered::UpTo { failed: first, failure, rest });
                }
                length /= 2;
                (event, id) = (event_of(mode, &mut rest, length), request_id());
                (attempt, backoff) = (0, Backoff::new());
            };
            rest.drain(..progress);
            first += progress;
        }
        Ok(Delivered::All)
    }

    /// Invokes the function. Before the first time, a target that nobody serves is an error: the command line is likely
    /// wrong.
    async fn invoke(&self, event: Bytes, id: &str, shard_id: &str) -> Result<Answer, TargetError> {
        if !self.has_begun.replace(true) {
            self.target.check().await?;
        }
        let _waiting = meter::wait("the function");
        self.target.invoke(event, id, shard_id).await
    }

    /// Waits before the next attempt, or until the run shall end.
    async fn pause(&self, backoff: &mut Backoff) {
        tokio::select! {
            () = sleep(backoff.next_delay()) => {}
            () = self.halt.asked() => {}
        }
    }
}

/// Returns the event of the first records.
fn event_of(mode: EventMode, records: &mut Vec<KinesisRecord<'static>>, length: usize) -> Bytes {
    let rest = records.split_off(length);
    let mut event = Event::new(std::mem::take(records));
    event.mode = mode;
    let json = event.to_json();
    *records = event.records;
    records.extend(rest);
    json.into()
}
