//! The history of a world.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use kinesis_esm::{Mapping, SharedRecord};
use kinesis_esm_simulator::{Observer, SCENARIO_START_MS, Step, StepKind};
use kinesis_handler::{
    SequenceNumber,
    journal::{ContentHash, DoneSet, JournalShard, Progress as JournalProgress, UserRecordId},
};

use super::{
    faults::{Moment, Progress},
    journal::{FaultyJournal, JournalCall, Quarantined},
    mirror::{FaultyTable, Write},
    plan::{Behaviour, JournalPlan},
    processor::Tries,
    stream::{AGGREGATE_KEY, INVALID_AGGREGATE},
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
    pub(super) invocation: usize,
}

/// The function was called.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Call {
    /// Number of user records that it has skipped for their age.
    pub(super) skipped: u64,
    /// After how many steps of the mapping it has answered; `None` if it never did.
    pub(super) ended: Option<usize>,
}

/// The facts that are settled at a moment, apart from what the mapping has given up.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Done, made up to be done, in the quarantine, or perhaps skipped for their age.
    pub(super) user_records: HashSet<usize>,
    /// Kinesis records that are invalid, and are so all the same.
    pub(super) invalid: HashSet<SequenceNumber>,
}

/// The mapping has taken a step, after so many completions.
#[derive(Debug, Clone)]
pub(super) struct StepTaken {
    pub(super) completions: usize,
    pub(super) step: Step,
}

#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) application: &'static str,
    stream_arn: Rc<str>,
    pub(super) records: Rc<Vec<KinesisRecordInfo>>,
    pub(super) user_records: Rc<Vec<UserRecordInfo>>,
    pub(super) done: Rc<RefCell<Vec<Completion>>>,
    pub(super) tries: Rc<RefCell<Tries>>,
    /// The user records that may have been skipped for their age, and from when on.
    pub(super) skippable: Rc<RefCell<HashMap<usize, Moment>>>,
    pub(super) calls: Rc<RefCell<Vec<Call>>>,
    pub(super) steps: Rc<RefCell<Vec<StepTaken>>>,
    pub(super) progress: Arc<Progress>,
    pub(super) mirror: Option<FaultyTable>,
    pub(super) journal: Option<FaultyJournal>,
    /// The records that were processed before the beginning, according to the journal: positions of Kinesis records, and of
    /// user records in them;
    /// 0 stands for an invalid one.
    pub(super) made_up: BTreeSet<(usize, usize)>,
}

impl History {
    pub(super) fn new(application: &'static str, records: Vec<KinesisRecordInfo>) -> Self {
        let user_records = records.iter().flat_map(|record| record.user_records.clone()).collect();
        History {
            application,
            stream_arn: Mapping::default().event_source_arn.into(),
            records: Rc::new(records),
            user_records: Rc::new(user_records),
            done: Rc::default(),
            tries: Rc::default(),
            skippable: Rc::default(),
            calls: Rc::default(),
            steps: Rc::default(),
            progress: Arc::default(),
            mirror: None,
            journal: None,
            made_up: BTreeSet::new(),
        }
    }

    pub(super) fn make_up(&mut self, plan: &JournalPlan) {
        for (record, members) in &plan.made_up {
            let record = record.index(self.records.len());
            let held = self.records[record].user_records.len().max(1);
            self.made_up.extend(members.iter().map(|member| (record, member.index(held))));
        }
    }

    /// The states that say what is made up.
    pub(super) fn made_up_states(
        &self,
        is_enhanced_fan_out: bool,
    ) -> impl Iterator<Item = (&KinesisRecordInfo, JournalProgress)> {
        let with_some: BTreeSet<usize> = self.made_up.iter().map(|&(record, _)| record).collect();
        with_some.into_iter().map(move |at| {
            let record = &self.records[at];
            let mut done = DoneSet::default();
            for &(_, member) in self.made_up.range((at, 0)..(at + 1, 0)) {
                let content = match record.user_records.get(member) {
                    Some(UserRecordInfo { number, key, .. }) => {
                        ContentHash::new(key.as_bytes(), number.to_string().as_bytes())
                    }
                    None => ContentHash::new(AGGREGATE_KEY.as_bytes(), &INVALID_AGGREGATE),
                };
                match is_enhanced_fan_out {
                    true => done.insert(UserRecordId::Content(content)),
                    // As the handler marks one that is in the quarantine.
                    false if record.is_invalid => done.insert_range(0, u64::MAX),
                    false => done.insert(UserRecordId::Sub(member as u64)),
                }
            }
            (record, JournalProgress::done(done))
        })
    }

    /// The numbers of the user records that are made up to be done.
    pub(super) fn made_up_user_records(&self) -> impl Iterator<Item = usize> {
        let member = |&(record, member): &(usize, usize)| self.records[record].user_records.get(member);
        self.made_up.iter().filter_map(member).map(|user_record| user_record.number)
    }

    pub(super) fn journal_shard<'a>(&'a self, shard_id: &'a str) -> JournalShard<'a> {
        JournalShard { application: self.application, stream_arn: &self.stream_arn, shard_id }
    }

    /// Returns the facts that are settled then.
    pub(super) fn settled(&self, at: Moment) -> Settled {
        let mut settled = Settled::default();
        settled.user_records.extend(self.done.borrow()[..at.completions].iter().map(|done| done.user_record));
        settled.user_records.extend(self.made_up_user_records());
        let skippable = self.skippable.borrow();
        let skippable = skippable
            .iter()
            .filter(|(_, since)| since.steps <= at.steps && since.completions <= at.completions);
        settled.user_records.extend(skippable.map(|(number, _)| number));
        let made_up = self.made_up.iter().map(|&(record, _)| &self.records[record]);
        settled
            .invalid
            .extend(made_up.filter(|record| record.is_invalid).map(|record| record.sequence_number));
        for Quarantined { at: quarantined, user_record, record, .. } in self.quarantined() {
            if quarantined.steps <= at.steps {
                match user_record {
                    Some(number) => settled.user_records.insert(number),
                    None => settled.invalid.insert(record.sequence_number),
                };
            }
        }
        settled
    }

    /// The records that were put into the quarantine.
    pub(super) fn quarantined(&self) -> Vec<Quarantined> {
        self.journal.as_ref().map_or_else(Vec::new, |journal| journal.quarantined().clone())
    }

    /// The calls of the journal.
    pub(super) fn journal_calls(&self) -> Vec<JournalCall> {
        self.journal.as_ref().map_or_else(Vec::new, |journal| journal.calls().clone())
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

    /// The writes that have reached the mirror's table.
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
        writeln!(f, "application {:?}", self.application)?;
        for record in &*self.records {
            write!(f, "{}:", record.sequence_number)?;
            for user_record in &record.user_records {
                write!(f, " {} ({})", user_record.number, user_record.key)?;
            }
            writeln!(f, "{}", if record.is_invalid { " invalid" } else { "" })?;
        }
        if !self.made_up.is_empty() {
            writeln!(f, "made up to be done: {:?}", self.made_up)?;
        }
        let done = self.done.borrow();
        let mut shown = 0;
        let writes = self.mirror_writes();
        let (calls, quarantined) = (self.journal_calls(), self.quarantined());
        for (taken, StepTaken { completions, step }) in self.steps.borrow().iter().enumerate() {
            if shown < *completions {
                let numbers: Vec<_> = done[shown..*completions].iter().map(|done| done.user_record).collect();
                writeln!(f, "  done: {numbers:?}")?;
                shown = *completions;
            }
            for JournalCall { invocation, fault, effect, .. } in
                calls.iter().filter(|call| call.at.steps == taken)
            {
                writeln!(f, "  journal, invocation {invocation}: {effect:?} ({fault:?})")?;
            }
            for quarantined in quarantined.iter().filter(|quarantined| quarantined.at.steps == taken) {
                writeln!(f, "  {:?} ({:?})", quarantined.record, quarantined.user_record)?;
            }
            for write in writes.iter().filter(|write| write.at.steps == taken) {
                let Write { at, invocation, shard_id, outcome, row, fault } = write;
                let done = at.completions;
                writeln!(
                    f,
                    "  mirror of {shard_id}, invocation {invocation}: {outcome:?} ({fault:?}), row {row}, done: {done}"
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
