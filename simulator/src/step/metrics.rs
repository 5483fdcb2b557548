use serde::Serialize;

use crate::{
    Outcome, Step, StepKind,
    step::{Delivery, DropReason},
};

/// The metrics that CloudWatch would have counted (rule 29): the EventCount group, in records, and IteratorAge.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Metrics {
    /// Records that were read.
    pub polled_event_count: u64,
    /// Records that no filter admitted.
    pub filtered_out_event_count: u64,
    /// Records in invocations; those that are delivered or throttled again count again.
    pub invoked_event_count: u64,
    /// Records in invocations that failed or were throttled, and records that a partial failure named.
    pub failed_invoke_event_count: u64,
    /// Records that were given up without an on-failure destination having been told.
    pub dropped_event_count: u64,
    /// Records that the on-failure destination was told of.
    pub on_failure_destination_delivered_event_count: u64,
    /// The largest age that the last record of a batch had when the function had finished, in milliseconds.
    pub iterator_age: u64,
}

impl Metrics {
    /// Counts a step.
    pub fn count(&mut self, step: &Step) {
        match &step.kind {
            StepKind::Read(records) => self.polled_event_count += *records as u64,
            StepKind::Invoked(invoked) => {
                let records = invoked.records.len() as u64;
                self.invoked_event_count += records;
                self.failed_invoke_event_count += match invoked.outcome {
                    Outcome::Success => 0,
                    Outcome::Partial => invoked.reported.len() as u64,
                    Outcome::Failure | Outcome::Throttled => records,
                };
                if invoked.outcome != Outcome::Throttled
                    && let Some(last) = invoked.records.last()
                {
                    self.iterator_age = self.iterator_age.max(step.at_ms.saturating_sub(last.arrival_ms));
                }
            }
            StepKind::Acknowledged(_) | StepKind::TooLarge(_) => {}
            StepKind::Discarded(discarded) => {
                let records = discarded.records.len() as u64;
                match discarded.delivery {
                    Delivery::Delivered { .. } => {
                        self.on_failure_destination_delivered_event_count += records;
                    }
                    Delivery::NoDestination | Delivery::Failed => self.dropped_event_count += records,
                }
            }
            StepKind::Dropped(records, DropReason::Filtered) => {
                self.filtered_out_event_count += records.len() as u64;
            }
            StepKind::Dropped(_, DropReason::Trimmed | DropReason::OutOfRange) => {}
        }
    }
}
