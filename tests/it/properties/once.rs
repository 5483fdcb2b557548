//! I3: what the journal is for.

use std::collections::{HashMap, HashSet};

use kinesis_esm_simulator::{Outcome, StepKind};

use super::{
    history::{History, StepTaken},
    plan::Plan,
    processor::Try,
};

/// Whether all went through: with a journal that always answered, every answer of the function counted. What the
/// deadline guard cancels does not matter, as this processor does nothing before it is done.
pub(super) fn is_calm(plan: &Plan, history: &History) -> bool {
    let counts = |StepTaken { step, .. }: &StepTaken| match &step.kind {
        StepKind::Invoked(invoked) => {
            invoked.outcome != Outcome::Failure && invoked.error.is_none() && !invoked.is_ignored
        }
        _ => true,
    };
    history.journal.is_some()
        && plan.journal.as_ref().is_some_and(|journal| journal.faults.is_empty())
        && plan.has_answers_only()
        && history.steps.borrow().iter().all(counts)
}

/// Each user record is done once or given up, never both, and the handler knows how often it has failed.
pub(super) fn check(plan: &Plan, history: &History) -> Result<(), String> {
    if !is_calm(plan, history) {
        return Ok(());
    }
    if !plan.mapping.is_enhanced_fan_out() {
        exactly_once(history)?;
    }
    // The lanes of a fan-out consumer share the states of aggregates, and one of them may clear what another one counts.
    // Members that are skipped are not written, like those that are processed, before the batch stops in their Kinesis record.
    let is_fan_out = plan.mapping.is_enhanced_fan_out();
    if !is_fan_out || plan.mapping.lanes == 1 && plan.skip_failed_after_secs.is_none() {
        attempts(history)?;
    }
    Ok(())
}

fn exactly_once(history: &History) -> Result<(), String> {
    let mut times: HashMap<usize, u32> = HashMap::new();
    let done = history.done.borrow();
    let done = done.iter().map(|completion| completion.user_record);
    let quarantined = history.quarantined().into_iter().filter_map(|quarantined| quarantined.user_record);
    for number in done.chain(history.made_up_user_records()).chain(quarantined) {
        *times.entry(number).or_default() += 1;
    }
    let mut given_up = HashSet::new();
    for StepTaken { step, .. } in &*history.steps.borrow() {
        let records = match &step.kind {
            StepKind::Discarded(discarded) => &discarded.records,
            StepKind::Dropped(records, _) => records,
            _ => continue,
        };
        let user_records = records.iter().flat_map(|record| &history.record(record).user_records);
        given_up.extend(user_records.map(|user_record| user_record.number));
    }
    for user_record in &*history.user_records {
        let times = times.get(&user_record.number).copied().unwrap_or(0);
        let may_be_left = given_up.contains(&user_record.number)
            || history.skippable.borrow().contains_key(&user_record.number);
        if times > 1 || times == 0 && !may_be_left {
            return Err(format!(
                "I3: user record {} was done or put into the quarantine {times} times",
                user_record.number
            ));
        }
    }
    Ok(())
}

fn attempts(history: &History) -> Result<(), String> {
    for Try { user_record, invocation, attempt, failures_before, .. } in &history.tries.borrow().all {
        if *attempt != Some(failures_before + 1) {
            return Err(format!(
                "attempts: user record {user_record} has failed {failures_before} times before invocation \
                 {invocation}, which was said to be attempt {attempt:?}"
            ));
        }
    }
    Ok(())
}
