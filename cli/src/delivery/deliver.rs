use std::cell::Cell;

use bytes::Bytes;
use kinesis_esm_simulator::{Answer, Mapping, Undocumented, Verdict, judge};
use kinesis_handler::{Event, EventMode, KinesisRecord};
use tokio::time::sleep;

use crate::{
    aws::Backoff,
    halt::Halt,
    note::note,
    target::{Target, TargetError, request_id},
};

/// Delivers batches to a function as the mapping would, but that it gives up after a few attempts.
#[derive(Debug)]
pub(crate) struct Delivery<'t> {
    pub(crate) target: &'t Target,
    mode: EventMode,
    /// How often a batch may fail without any progress.
    attempts: u32,
    /// Stops between two invocations.
    pub(crate) halt: &'t Halt,
    has_noted_throttling: Cell<bool>,
}

/// What has become of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivered {
    All,
    /// Only the records before this one, which is a position in the batch.
    UpTo {
        failed: usize,
        error: String,
    },
    /// Not all of them, because the run shall end.
    Halted,
}

impl<'t> Delivery<'t> {
    pub(crate) fn new(target: &'t Target, mode: EventMode, attempts: u32, halt: &'t Halt) -> Self {
        Delivery { target, mode, attempts, halt, has_noted_throttling: Cell::new(false) }
    }

    /// Delivers records of one shard, in order.
    ///
    /// A response that names a record makes the rest from there on a new batch, with new attempts. When those of a batch
    /// are used up without a word about which record it is, the batch is halved, so that everything in front of a record
    /// that fails for good gets through. `done` gets the number of records up to that.
    pub(crate) async fn deliver(
        &self,
        records: Vec<KinesisRecord<'static>>,
        mut done: impl FnMut(usize),
    ) -> Result<Delivered, TargetError> {
        let shard_id = records.first().and_then(|record| record.shard_id.clone()).unwrap_or_default();
        let mut mapping = Mapping::default();
        mapping.report_batch_item_failures = true;
        let mut rest = records;
        // Of the batch, as it came.
        let mut first = 0;
        while !rest.is_empty() {
            let mut length = rest.len();
            let mut attempt = 0;
            let mut backoff = Backoff::new();
            // Made anew only if there is another one.
            let (mut event, mut id) = (self.event(&mut rest, length), request_id());
            let progress = loop {
                let Some(_in_flight) = self.halt.enter() else { return Ok(Delivered::Halted) };
                // Whether it is known which record fails: the first one.
                let mut is_first = length == 1;
                let error = match self.target.invoke(event.clone(), &id, &shard_id).await? {
                    Answer::Throttled => {
                        if !self.has_noted_throttling.replace(true) {
                            note(
                                "the function throttles, or cannot be reached; trying again, from now on without a word",
                            );
                        }
                        sleep(backoff.next_delay()).await;
                        continue;
                    }
                    Answer::Response(response) => {
                        let numbers = rest[..length].iter().map(|record| record.sequence_number);
                        match judge(&response, numbers, &mapping, &Undocumented::default()) {
                            Verdict::Success => break length,
                            Verdict::Partial(positions) if positions[0] > 0 => break positions[0],
                            Verdict::Partial(_) => {
                                is_first = true;
                                "the function says that it failed".to_owned()
                            }
                            Verdict::Failure => "the function's response is not valid".to_owned(),
                        }
                    }
                    Answer::Error(error) => error.to_string(),
                };
                attempt += 1;
                if attempt < self.attempts {
                    sleep(backoff.next_delay()).await;
                    continue;
                }
                if is_first {
                    return Ok(Delivered::UpTo { failed: first, error });
                }
                length /= 2;
                (event, id) = (self.event(&mut rest, length), request_id());
                (attempt, backoff) = (0, Backoff::new());
            };
            rest.drain(..progress);
            first += progress;
            done(first);
        }
        Ok(Delivered::All)
    }

    /// The event of the first records.
    fn event(&self, records: &mut Vec<KinesisRecord<'static>>, length: usize) -> Bytes {
        let rest = records.split_off(length);
        let mut event = Event::new(std::mem::take(records));
        event.mode = self.mode;
        let json = event.to_json();
        *records = event.records;
        records.extend(rest);
        json.into()
    }
}
