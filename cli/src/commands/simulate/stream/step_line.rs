use kinesis_esm::{Condition, SharedRecord};
use kinesis_esm_simulator::{Delivery, DropReason, Outcome, Step, StepKind};
use kinesis_handler::SequenceNumber;
use serde::Serialize;

/// A step for programs: a JSON line. Times are milliseconds since 1970.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StepLine<'a> {
    /// `read`, `invoked`, `tooLarge`, `acknowledged`, `discarded` or `dropped`.
    step: &'static str,
    at_ms: u64,
    shard_id: &'a str,
    /// Number of the lane in its shard, from zero.
    lane: u32,
    records: usize,
    /// Not for `read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_sequence_number: Option<SequenceNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sequence_number: Option<SequenceNumber>,
    #[serde(flatten)]
    more: More<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum More<'a> {
    Nothing {},
    #[serde(rename_all = "camelCase")]
    Invoked {
        began_ms: u64,
        request_id: &'a str,
        outcome: Outcome,
        reported: &'a [SequenceNumber],
        error: Option<String>,
        /// At the end of the invocation.
        last_record_age_ms: Option<u64>,
    },
    #[serde(rename_all = "camelCase")]
    Discarded {
        condition: Condition,
        approximate_invoke_count: u32,
        failure_record: FailureRecordIs,
    },
    #[serde(rename_all = "camelCase")]
    TooLarge {
        event_bytes: usize,
    },
    Dropped {
        reason: DropReason,
    },
}

/// The fate of a failure record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum FailureRecordIs {
    Written,
    /// The file could not be written.
    Failed,
    /// There is no file.
    NotWritten,
}

impl<'a> StepLine<'a> {
    /// Returns the row of a step; `None` for kinds of steps that a later simulator may have.
    pub(super) fn of(step: &'a Step) -> Option<Self> {
        let nothing = More::Nothing {};
        let (name, records, more) = match &step.kind {
            StepKind::Read(records) => {
                return Some(StepLine {
                    step: "read",
                    at_ms: step.at_ms,
                    shard_id: &step.shard_id,
                    lane: step.lane,
                    records: *records,
                    first_sequence_number: None,
                    last_sequence_number: None,
                    more: nothing,
                });
            }
            StepKind::Invoked(invoked) => {
                let more = More::Invoked {
                    began_ms: invoked.began_ms,
                    request_id: &invoked.request_id,
                    outcome: invoked.outcome,
                    reported: &invoked.reported,
                    error: invoked.error.as_ref().map(ToString::to_string),
                    last_record_age_ms: age_ms(step, &invoked.records),
                };
                ("invoked", &invoked.records[..], more)
            }
            StepKind::TooLarge(too_large) => {
                let more = More::TooLarge { event_bytes: too_large.event_bytes };
                ("tooLarge", std::slice::from_ref(&too_large.record), more)
            }
            StepKind::Acknowledged(records) => ("acknowledged", &records[..], nothing),
            StepKind::Discarded(discarded) => {
                let more = More::Discarded {
                    condition: discarded.condition,
                    approximate_invoke_count: discarded.approximate_invoke_count,
                    failure_record: match &discarded.delivery {
                        Delivery::Delivered { .. } => FailureRecordIs::Written,
                        Delivery::Failed => FailureRecordIs::Failed,
                        Delivery::NoDestination => FailureRecordIs::NotWritten,
                    },
                };
                ("discarded", &discarded.records[..], more)
            }
            StepKind::Dropped(records, reason) => {
                ("dropped", &records[..], More::Dropped { reason: *reason })
            }
            _ => return None,
        };
        Some(StepLine {
            step: name,
            at_ms: step.at_ms,
            shard_id: &step.shard_id,
            lane: step.lane,
            records: records.len(),
            first_sequence_number: records.first().map(|record| record.sequence_number),
            last_sequence_number: records.last().map(|record| record.sequence_number),
            more,
        })
    }
}

/// The age of the last record at the time of the step, in milliseconds.
pub(super) fn age_ms(step: &Step, records: &[SharedRecord]) -> Option<u64> {
    records.last().map(|record| step.at_ms.saturating_sub(record.arrival_ms))
}
