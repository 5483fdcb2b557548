//! The invariants of the quarantine, and of the entries that are left in the journal.

use std::collections::{HashMap, HashSet};

use kinesis_esm_simulator::{Outcome, StepKind};
use kinesis_handler::journal::{
    QuarantineReason, QuarantinedContent, QuarantinedRecord, StateKind, UserRecordId,
};

use super::{
    history::{History, StepTaken},
    invariants::number,
    journal::Quarantined,
    once,
    plan::{BadEnd, JournalPlan, Plan},
    processor::{End, Try},
};

pub(super) fn check(plan: &Plan, history: &History) -> Result<(), String> {
    let Some(journal) = plan.journal.as_ref().filter(|_| history.journal.is_some()) else { return Ok(()) };
    if history.journal.as_ref().is_some_and(|journal| !journal.took_all_writes()) {
        return Err("a write has more items than the journal's store takes".to_owned());
    }
    contents(plan, history)?;
    reasons(journal, history)?;
    if once::is_calm(plan, history) {
        // Beyond the limit, a fan-out consumer stops.
        let stops = plan.mapping.is_enhanced_fan_out() && journal.quarantine_limit.is_some();
        if journal.quarantine && !stops && plan.concurrency == 1 && plan.chunks.is_none() {
            permanent_ones(history)?;
        }
        left_over(plan, history)?;
    }
    Ok(())
}

fn shard_ids(history: &History) -> HashSet<&str> {
    history.records.iter().map(|record| record.shard_id.as_str()).collect()
}

/// Each of them is what its position says, and no position has two.
fn contents(plan: &Plan, history: &History) -> Result<(), String> {
    for Quarantined { record, user_record, .. } in history.quarantined() {
        let of_stream = history.records.iter().find(|of| of.sequence_number == record.sequence_number);
        let of_stream = of_stream.expect("only records of the stream are delivered");
        let (content, id) = (record.content, record.id);
        let is_right = match (user_record, id) {
            (None, UserRecordId::Sub(0)) => {
                of_stream.is_invalid && content == QuarantinedContent::InvalidAggregate
            }
            (None, _) => of_stream.is_invalid && plan.mapping.is_enhanced_fan_out(),
            (Some(number), UserRecordId::Sub(sub)) => {
                let members = &of_stream.user_records;
                let position = members.iter().position(|member| member.number == number);
                match content {
                    QuarantinedContent::RestOfAggregate => position >= Some(sub as usize),
                    QuarantinedContent::Aggregated => position == Some(sub as usize),
                    _ => position == Some(sub as usize) && members.len() == 1,
                }
            }
            (Some(number), UserRecordId::Content(_)) => {
                plan.mapping.is_enhanced_fan_out()
                    && of_stream.user_records.iter().any(|member| member.number == number)
            }
        };
        if !is_right {
            return Err(format!("quarantine: {record:?} is not at its position ({user_record:?})"));
        }
    }
    let Some(journal) = &history.journal else { return Ok(()) };
    for shard_id in shard_ids(history) {
        let mut positions = HashSet::new();
        for QuarantinedRecord { sequence_number, data, content, .. } in
            journal.quarantine(history.journal_shard(shard_id))
        {
            // Two invocations may have come to the limit at different user records.
            if content == QuarantinedContent::RestOfAggregate {
                continue;
            }
            if !positions.insert((sequence_number, number(&data))) {
                return Err(format!("quarantine: {sequence_number} has {:?} twice", number(&data)));
            }
        }
    }
    Ok(())
}

/// No record is quarantined before its time: failures may go uncounted if the journal is not written, and never count twice.
fn reasons(plan: &JournalPlan, history: &History) -> Result<(), String> {
    for Quarantined { record, user_record, .. } in history.quarantined() {
        // In the rest of an aggregate there are some that have never failed.
        let user_record = user_record.filter(|_| record.content != QuarantinedContent::RestOfAggregate);
        let failures = user_record.map(|number| history.tries.borrow().failures(number));
        let is_due = match record.reason {
            QuarantineReason::Permanent => user_record
                .is_none_or(|number| history.user_records[number].behaviour.how == BadEnd::Permanent),
            QuarantineReason::MaxAttempts => plan.max_attempts.is_some_and(|max| record.attempts >= max),
            QuarantineReason::MaxAge => plan.max_age_secs.is_some_and(|max| {
                record.arrival_ms.is_some_and(|arrival| record.quarantined_ms >= arrival + max * 1000)
            }),
            QuarantineReason::Held => plan.hold,
            _ => false,
        };
        if !plan.quarantine || !is_due || failures.is_some_and(|failures| failures < record.attempts) {
            return Err(format!("quarantine: {record:?} is not due: it has failed {failures:?} times"));
        }
    }
    Ok(())
}

/// A record that fails permanently does so once, if user records are processed one after the other: otherwise it may fail beyond
/// the one where its batch stops.
fn permanent_ones(history: &History) -> Result<(), String> {
    let mut failed = HashSet::new();
    for Try { user_record, end, .. } in &history.tries.borrow().all {
        let is_permanent = history.user_records[*user_record].behaviour.how == BadEnd::Permanent;
        if is_permanent && *end == End::Failed && !failed.insert(*user_record) {
            return Err(format!("quarantine: user record {user_record} has failed permanently twice"));
        }
    }
    Ok(())
}

/// The entries at the end belong to records that the mapping has discarded. Where states before a batch are known to be such,
/// all of them are discarded, but for those that no batch came after.
fn left_over(plan: &Plan, history: &History) -> Result<(), String> {
    let Some(journal) = &history.journal else { return Ok(()) };
    // The lanes of a fan-out consumer share the states of aggregates.
    if plan.mapping.is_enhanced_fan_out() && plan.mapping.lanes > 1 {
        return Ok(());
    }
    let looks_back = plan.mapping.lanes == 1
        && plan.journal.as_ref().is_some_and(|journal| journal.says_parallelization_factor);
    let mut given_up = HashSet::new();
    // The highest first record of a batch.
    let mut passed = HashMap::new();
    let steps = history.steps.borrow();
    for StepTaken { step, .. } in &*steps {
        match &step.kind {
            StepKind::Discarded(discarded) => {
                given_up.extend(discarded.records.iter().map(|record| record.sequence_number));
            }
            StepKind::Dropped(records, _) => {
                given_up.extend(records.iter().map(|record| record.sequence_number));
            }
            StepKind::Invoked(invoked) if invoked.outcome != Outcome::Throttled => {
                let first = invoked.records.first().map(|record| record.sequence_number);
                let passed = passed.entry(&*step.shard_id).or_insert(first);
                *passed = first.max(*passed);
            }
            _ => {}
        }
    }
    for shard_id in shard_ids(history) {
        for state in journal.states(history.journal_shard(shard_id)) {
            let number = state.sequence_number;
            if !given_up.contains(&number) {
                return Err(format!("journal: {number} is passed, and its state is left: {state:?}"));
            }
            let is_passed = passed.get(shard_id).is_some_and(|passed| *passed > Some(number));
            if looks_back && state.kind == StateKind::Retry && is_passed {
                return Err(format!("journal: {number} is passed, and not discarded: {state:?}"));
            }
        }
    }
    Ok(())
}
