//! The situations that the tried worlds have seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kinesis_esm::Condition;
use kinesis_esm_simulator::{Delivery, DropReason, FaultKind, Outcome, StepKind};
use kinesis_handler::{
    checkpoint::CheckpointOutcome,
    journal::{QuarantineReason, QuarantinedContent, StateKind, UserRecordId, WriteOutcome},
};

use super::{
    history::{History, StepTaken},
    journal::{Effect, JournalCall, Quarantined},
    mirror::Write,
    once,
    plan::{ChunkOutcomePlan, Plan, StoreFault},
    world::World,
};

/// The situations that worlds have seen.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    counts: BTreeMap<&'static str, u32>,
    faults: HashMap<FaultKind, u32>,
}

/// All that must have been seen.
const EXPECTED: [&str; 38] = [
    "mirror written",
    "mirror written late",
    "mirror ahead",
    "acknowledged",
    "partial",
    "function error",
    "throttled",
    "retry with the same request ID",
    "discarded with a failure record",
    "discarded without",
    "destination failure",
    "age",
    "trimmed",
    "several lanes",
    "several shards",
    "enhanced fan-out",
    "ignored answer",
    "resumed inside an aggregate",
    "quarantined: permanent",
    "quarantined: attempts",
    "quarantined: age",
    "quarantined: deadline",
    "quarantined: panic",
    "quarantined: invalid aggregate",
    "quarantined: rest of an aggregate",
    "quarantined: fan-out",
    "journal conflict merged",
    "journal call late",
    "discarded record moved",
    "two applications",
    "made-up done set",
    "calm with a journal",
    "quarantined: held",
    "tried again in place",
    "skipped for its age",
    "chunks: Each",
    "chunks: UpTo",
    "chunks: Whole",
];

impl Coverage {
    pub(super) fn include(&mut self, worlds: &[World]) {
        let World { plan, history } = &worlds[0];
        let mut seen = BTreeSet::new();
        if worlds.len() > 1 {
            seen.insert("two applications");
        }
        include_journal(plan, history, &mut seen);
        if let Some(chunks) = plan.chunks {
            seen.insert(match chunks.outcome {
                ChunkOutcomePlan::Each => "chunks: Each",
                ChunkOutcomePlan::UpTo => "chunks: UpTo",
                ChunkOutcomePlan::Whole => "chunks: Whole",
            });
        }
        let mut tried = BTreeSet::new();
        if plan.retry_attempts > 1
            && !history.tries.borrow().all.iter().all(|of| tried.insert((of.invocation, of.user_record)))
        {
            seen.insert("tried again in place");
        }
        if history.calls.borrow().iter().any(|call| call.skipped > 0) {
            seen.insert("skipped for its age");
        }
        for fault in &plan.faults {
            *self.faults.entry(fault.kind).or_default() += 1;
        }
        let mut request_ids = BTreeSet::new();
        let mut shards = BTreeSet::new();
        for StepTaken { step, .. } in &*history.steps.borrow() {
            shards.insert(step.shard_id.to_string());
            if step.lane > 0 {
                seen.insert("several lanes");
            }
            match &step.kind {
                StepKind::Invoked(invoked) => {
                    if !request_ids.insert(invoked.request_id.clone()) {
                        seen.insert("retry with the same request ID");
                    }
                    if invoked.is_ignored {
                        seen.insert("ignored answer");
                    }
                    match invoked.outcome {
                        Outcome::Success => {}
                        Outcome::Partial => drop(seen.insert("partial")),
                        Outcome::Failure => drop(seen.insert("function error")),
                        Outcome::Throttled => drop(seen.insert("throttled")),
                    }
                }
                StepKind::Acknowledged(_) => drop(seen.insert("acknowledged")),
                StepKind::Discarded(discarded) => {
                    if discarded.condition == Condition::RecordAgeExceeded {
                        seen.insert("age");
                    }
                    seen.insert(match discarded.delivery {
                        Delivery::NoDestination => "discarded without",
                        Delivery::Failed => "destination failure",
                        Delivery::Delivered { .. } => "discarded with a failure record",
                    });
                }
                StepKind::Dropped(_, DropReason::Trimmed) => drop(seen.insert("trimmed")),
                _ => {}
            }
        }
        if shards.len() > 1 {
            seen.insert("several shards");
        }
        if plan.mapping.is_enhanced_fan_out() {
            seen.insert("enhanced fan-out");
        }
        for Write { outcome, fault, .. } in history.mirror_writes() {
            seen.insert(match outcome {
                CheckpointOutcome::Written => "mirror written",
                _ => "mirror ahead",
            });
            if let StoreFault::ArrivesLate(_) = fault {
                seen.insert("mirror written late");
            }
        }
        for what in seen {
            *self.counts.entry(what).or_default() += 1;
        }
    }

    #[track_caller]
    pub(super) fn check(&self) {
        for what in EXPECTED {
            let count = self.counts.get(what).copied().unwrap_or(0);
            assert!(count >= 3, "{what}: in {count} worlds of {:?}", self.counts);
        }
        assert_eq!(self.faults.len(), 10, "{:?}", self.faults);
    }
}

fn include_journal(plan: &Plan, history: &History, seen: &mut BTreeSet<&'static str>) {
    if !history.made_up.is_empty() {
        seen.insert("made-up done set");
    }
    if once::is_calm(plan, history) {
        seen.insert("calm with a journal");
    }
    let inside = |number: usize| {
        let of =
            history.records.iter().find(|record| record.user_records.iter().any(|of| of.number == number));
        of.is_some_and(|record| record.user_records[0].number < number)
    };
    let tries = history.tries.borrow();
    if tries.all.iter().any(|this| this.is_first && inside(this.user_record))
        && history.journal.is_some()
        && !plan.mapping.is_enhanced_fan_out()
    {
        seen.insert("resumed inside an aggregate");
    }
    for Quarantined { record, .. } in history.quarantined() {
        seen.insert(match record.reason {
            QuarantineReason::Permanent => "quarantined: permanent",
            QuarantineReason::MaxAttempts => "quarantined: attempts",
            QuarantineReason::Held => "quarantined: held",
            _ => "quarantined: age",
        });
        if record.error.starts_with("processor panicked") {
            seen.insert("quarantined: panic");
        }
        if record.error.starts_with("did not finish within one invocation") {
            seen.insert("quarantined: deadline");
        }
        if record.content == QuarantinedContent::InvalidAggregate {
            seen.insert("quarantined: invalid aggregate");
        }
        if record.content == QuarantinedContent::RestOfAggregate {
            seen.insert("quarantined: rest of an aggregate");
        }
        if let UserRecordId::Content(_) = record.id {
            seen.insert("quarantined: fan-out");
        }
    }
    let mut conflicts = BTreeSet::new();
    for JournalCall { invocation, fault, effect, .. } in history.journal_calls() {
        if let StoreFault::ArrivesLate(_) = fault {
            seen.insert("journal call late");
        }
        match effect {
            Effect::Write(written, WriteOutcome::Conflict) => {
                conflicts.extend(written.iter().map(|(_, number)| (invocation, *number)));
            }
            Effect::Write(written, WriteOutcome::Written) => {
                if written.iter().any(|(kind, _)| *kind == StateKind::Discarded) {
                    seen.insert("discarded record moved");
                }
                if written.iter().any(|(_, number)| conflicts.contains(&(invocation, *number))) {
                    seen.insert("journal conflict merged");
                }
            }
            _ => {}
        }
    }
}
