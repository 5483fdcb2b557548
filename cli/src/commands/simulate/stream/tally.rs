use std::{collections::BTreeMap, fmt, sync::Arc};

use kinesis_esm_simulator::{Delivery, DropReason, Metrics, Outcome, Step, StepKind};
use kinesis_handler::SequenceNumber;

use super::super::outcome::has_progress;
use crate::output::{cell::duration, note::count};

/// The totals of a run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    metrics: Metrics,
    ok: u64,
    partial: u64,
    failed: u64,
    throttled: u64,
    done_records: u64,
    discarded_records: u64,
    /// Discarded or dropped, without a failure record that tells of them.
    lost_records: u64,
    filtered_records: u64,
    failure_records: u64,
    /// Records that no event can hold and that are not settled yet, by shard and lane.
    blocking: BTreeMap<(Arc<str>, u32), SequenceNumber>,
}

impl Tally {
    pub(super) fn add(&mut self, step: &Step) {
        self.metrics.count(step);
        self.settle(step);
        match &step.kind {
            StepKind::Invoked(invoked) => match invoked.outcome {
                Outcome::Success => self.ok += 1,
                // Nothing before the record that failed was processed.
                Outcome::Partial if !has_progress(invoked) => self.failed += 1,
                Outcome::Partial => self.partial += 1,
                Outcome::Failure => self.failed += 1,
                Outcome::Throttled => self.throttled += 1,
            },
            StepKind::Acknowledged(records) => self.done_records += records.len() as u64,
            StepKind::Discarded(discarded) => {
                let records = discarded.records.len() as u64;
                self.discarded_records += records;
                match discarded.delivery {
                    Delivery::Delivered { .. } => self.failure_records += 1,
                    Delivery::NoDestination | Delivery::Failed => self.lost_records += records,
                }
            }
            // As the mapping's filters want it.
            StepKind::Dropped(records, DropReason::Filtered) => self.filtered_records += records.len() as u64,
            StepKind::Dropped(records, DropReason::Trimmed | DropReason::OutOfRange) => {
                self.lost_records += records.len() as u64;
            }
            _ => {}
        }
    }

    fn settle(&mut self, step: &Step) {
        let lane = || (Arc::clone(&step.shard_id), step.lane);
        match &step.kind {
            StepKind::TooLarge(too_large) => {
                self.blocking.insert(lane(), too_large.record.sequence_number);
            }
            // The lane has got past it.
            StepKind::Discarded(_) | StepKind::Dropped(..) | StepKind::Invoked(_) => {
                self.blocking.remove(&lane());
            }
            _ => {}
        }
    }

    /// Returns the records that no event can hold and that still block their lanes, with their shards.
    pub(super) fn blocking(&self) -> impl Iterator<Item = (&str, SequenceNumber)> {
        self.blocking.iter().map(|((shard_id, _), number)| (&**shard_id, *number))
    }

    /// Returns the numbers of invocations, for people.
    pub(super) fn invocations(&self) -> String {
        let invocations = self.ok + self.partial + self.failed + self.throttled;
        let mut text = count(invocations, "invocation");
        let kinds = [
            (self.ok, "ok"),
            (self.partial, "partial"),
            (self.failed, "failed"),
            (self.throttled, "throttled"),
        ];
        let kinds = kinds.iter().filter(|(number, _)| *number > 0);
        let kinds: Vec<_> = kinds.map(|(number, kind)| format!("{number} {kind}")).collect();
        if !kinds.is_empty() {
            text.push_str(&format!(" ({})", kinds.join(", ")));
        }
        text
    }

    pub(super) fn lost_records(&self) -> u64 {
        self.lost_records
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let invocations = self.ok + self.partial + self.failed + self.throttled;
        f.write_str(&self.invocations())?;
        write!(
            f,
            ", {} processed, {} discarded",
            count(self.done_records, "record"),
            self.discarded_records
        )?;
        if self.filtered_records > 0 {
            write!(f, ", {} filtered out", self.filtered_records)?;
        }
        write!(f, ", {} lost", self.lost_records)?;
        if self.failure_records > 0 {
            write!(f, ", {} written", count(self.failure_records, "failure record"))?;
        }
        if invocations > self.throttled {
            write!(f, "; iterator age up to {}", duration(self.metrics.iterator_age))?;
        }
        Ok(())
    }
}
