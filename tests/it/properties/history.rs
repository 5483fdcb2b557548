//! What happened in a world.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use kinesis_esm_simulator::{
    Condition, Delivery, DropReason, FaultKind, Observer, Outcome, SCENARIO_START_MS, SharedRecord, Step,
    StepKind,
};
use kinesis_handler::{SequenceNumber, checkpoint::Outcome as CheckpointOutcome};

use super::{
    mirror::{FaultyTable, Progress, Write},
    plan::{Behaviour, Plan, StoreFault},
};

#[derive(Debug, Clone)]
pub(super) struct KinesisRecordInfo {
    pub(super) sequence_number: SequenceNumber,
    pub(super) shard_id: String,
    pub(super) user_records: Vec<UserRecordInfo>,
    pub(super) is_invalid: bool,
}

#[derive(Debug, Clone)]
pub(super) struct UserRecordInfo {
    /// Position among all user records of the stream; its data.
    pub(super) number: usize,
    pub(super) key: String,
    pub(super) behaviour: Behaviour,
}

/// The processor has done a user record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completion {
    pub(super) user_record: usize,
}

/// The mapping has taken a step, after so many completions.
#[derive(Debug, Clone)]
pub(super) struct StepTaken {
    pub(super) completions: usize,
    pub(super) step: Step,
}

#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) records: Rc<Vec<KinesisRecordInfo>>,
    pub(super) user_records: Rc<Vec<UserRecordInfo>>,
    pub(super) done: Rc<RefCell<Vec<Completion>>>,
    pub(super) steps: Rc<RefCell<Vec<StepTaken>>>,
    pub(super) progress: Arc<Progress>,
    pub(super) mirror: Option<FaultyTable>,
}

impl History {
    pub(super) fn new(records: Vec<KinesisRecordInfo>) -> Self {
        let user_records = records.iter().flat_map(|record| record.user_records.clone()).collect();
        History {
            records: Rc::new(records),
            user_records: Rc::new(user_records),
            done: Rc::default(),
            steps: Rc::default(),
            progress: Arc::default(),
            mirror: None,
        }
    }

    pub(super) fn observer(&self) -> impl Observer + use<> {
        let (steps, done) = (Rc::clone(&self.steps), Rc::clone(&self.done));
        let progress = Arc::clone(&self.progress);
        move |step| {
            let completions = done.borrow().len();
            steps.borrow_mut().push(StepTaken { completions, step });
            progress.steps.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What has reached the mirror's table.
    pub(super) fn mirror_writes(&self) -> Vec<Write> {
        self.mirror.as_ref().map_or_else(Vec::new, |table| table.writes().clone())
    }

    pub(super) fn record(&self, shared: &SharedRecord) -> &KinesisRecordInfo {
        let found = self.records.iter().find(|record| record.sequence_number == shared.sequence_number);
        found.expect("only records of the stream are delivered")
    }
}

/// The trace, a line each.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in &*self.records {
            write!(f, "{}:", record.sequence_number)?;
            for user_record in &record.user_records {
                write!(f, " {} ({})", user_record.number, user_record.key)?;
            }
            writeln!(f, "{}", if record.is_invalid { " invalid" } else { "" })?;
        }
        let done = self.done.borrow();
        let mut shown = 0;
        let writes = self.mirror_writes();
        for (taken, StepTaken { completions, step }) in self.steps.borrow().iter().enumerate() {
            if shown < *completions {
                let numbers: Vec<_> = done[shown..*completions].iter().map(|done| done.user_record).collect();
                writeln!(f, "  done: {numbers:?}")?;
                shown = *completions;
            }
            for write in writes.iter().filter(|write| write.steps == taken) {
                let Write { completions, shard_id, outcome, row, fault, .. } = write;
                writeln!(
                    f,
                    "  mirror of {shard_id}: {outcome:?} ({fault:?}), row {row}, done: {completions}"
                )?;
            }
            let at_ms = step.at_ms - SCENARIO_START_MS;
            write!(f, "{at_ms:>10} {}/{} ", step.shard_id, step.lane)?;
            let numbers = |records: &[SharedRecord]| {
                let numbers = records.iter().map(|record| record.sequence_number.to_string());
                numbers.collect::<Vec<_>>().join(" ")
            };
            match &step.kind {
                StepKind::Read(records) => writeln!(f, "read {records}")?,
                StepKind::Invoked(invoked) => writeln!(
                    f,
                    "invoked at {} [{}] {:?} {:?} {:?} {:?} {}{}",
                    invoked.began_ms - SCENARIO_START_MS,
                    numbers(&invoked.records),
                    invoked.outcome,
                    invoked.reported,
                    invoked.error,
                    invoked.fate,
                    invoked.request_id,
                    if invoked.is_ignored { " ignored" } else { "" },
                )?,
                StepKind::Acknowledged(records) => writeln!(f, "acknowledged [{}]", numbers(records))?,
                StepKind::Discarded(discarded) => writeln!(
                    f,
                    "discarded [{}] {:?} {}",
                    numbers(&discarded.records),
                    discarded.condition,
                    discarded.approximate_invoke_count
                )?,
                StepKind::Dropped(records, reason) => {
                    writeln!(f, "dropped [{}] {reason:?}", numbers(records))?
                }
                _ => writeln!(f, "{:?}", step.kind)?,
            }
        }
        let rest: Vec<_> = done[shown..].iter().map(|done| done.user_record).collect();
        writeln!(f, "  done: {rest:?}")
    }
}

/// What worlds have seen.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    counts: BTreeMap<&'static str, u32>,
    faults: HashMap<FaultKind, u32>,
}

/// All that must have been seen.
const EXPECTED: [&str; 17] = [
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
];

impl Coverage {
    pub(super) fn include(&mut self, plan: &Plan, history: &History) {
        let mut seen = BTreeSet::new();
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
