//! The invariants of every history.

use std::collections::{HashMap, HashSet};

use kinesis_esm_simulator::{Outcome, StepKind};

use super::{
    faults::Moment,
    history::{History, Settled, StepTaken},
    hold, once,
    plan::Plan,
    quarantine, retries, take_over,
    world::World,
};

/// The first violation, if there is one.
pub(super) fn check(worlds: &[World]) -> Result<(), String> {
    // Of both applications: what one of them loses may be what the other one had done.
    worlds.iter().try_for_each(|World { plan, history }| no_loss(plan, history))?;
    worlds.iter().try_for_each(|World { plan, history }| {
        order(history)?;
        once::check(plan, history)?;
        take_over::check(plan, history)?;
        identifiers(history)?;
        quarantine::check(plan, history)?;
        hold::check(plan, history)?;
        retries::check(plan, history)
    })
}

/// I1: what the mapping takes as done is done or in the quarantine, and every record is taken as done, discarded or
/// dropped.
fn no_loss(plan: &Plan, history: &History) -> Result<(), String> {
    // For an enhanced fan-out consumer: how many members of each aggregate have been settled.
    let mut times: HashMap<_, usize> = HashMap::new();
    for (taken, StepTaken { completions, step }) in history.steps.borrow().iter().enumerate() {
        let records = match &step.kind {
            StepKind::Acknowledged(records) => {
                let settled = history.settled(Moment { completions: *completions, steps: taken });
                for shared in records {
                    let record = history.record(shared);
                    let Settled { user_records, invalid } = &settled;
                    if record.is_invalid && !invalid.contains(&record.sequence_number) {
                        return Err(format!("I1: {} is invalid, and taken as done", record.sequence_number));
                    }
                    let members: Vec<_> = if plan.mapping.is_enhanced_fan_out() && !record.is_invalid {
                        // Each member is a record, and its data is its number.
                        number(&shared.data).into_iter().collect()
                    } else {
                        record.user_records.iter().map(|user_record| user_record.number).collect()
                    };
                    if let Some(number) = members.iter().find(|number| !user_records.contains(number)) {
                        return Err(format!(
                            "I1: user record {number} of {} is taken as done, and is not",
                            record.sequence_number
                        ));
                    }
                }
                records
            }
            StepKind::Discarded(discarded) => &discarded.records,
            StepKind::Dropped(records, _) => records,
            _ => continue,
        };
        for record in records {
            *times.entry(record.sequence_number).or_default() += 1;
        }
    }
    for record in &*history.records {
        let times = times.get(&record.sequence_number).copied().unwrap_or(0);
        let expected = if plan.mapping.is_enhanced_fan_out() { record.user_records.len().max(1) } else { 1 };
        if times != expected {
            return Err(format!("I1: {} was settled {times} times, not {expected}", record.sequence_number));
        }
    }
    Ok(())
}

/// The user record that has this data.
pub(super) fn number(data: &[u8]) -> Option<usize> {
    std::str::from_utf8(data).ok()?.parse().ok()
}

/// I2: the first completions of a key follow the stream, until one of its records is given up.
fn order(history: &History) -> Result<(), String> {
    let done = history.done.borrow();
    let mut given_up: HashMap<&str, usize> = HashMap::new();
    let mut give_up = |number: usize, completions: usize| {
        let from = given_up.entry(&history.user_records[number].key).or_insert(completions);
        *from = completions.min(*from);
    };
    for StepTaken { completions, step } in &*history.steps.borrow() {
        let records = match &step.kind {
            StepKind::Discarded(discarded) => &discarded.records,
            StepKind::Dropped(records, _) => records,
            _ => continue,
        };
        for user_record in records.iter().flat_map(|record| &history.record(record).user_records) {
            give_up(user_record.number, *completions);
        }
    }
    for quarantined in history.quarantined() {
        if let Some(number) = quarantined.user_record {
            give_up(number, quarantined.at.completions);
        }
    }
    for (&number, since) in &*history.skippable.borrow() {
        give_up(number, since.completions);
    }
    let mut last: HashMap<&str, usize> = HashMap::new();
    // What was made up has its first completion before the beginning.
    let mut completed: HashSet<usize> = history.made_up_user_records().collect();
    for (position, completion) in done.iter().enumerate() {
        if !completed.insert(completion.user_record) {
            continue;
        }
        let key = history.user_records[completion.user_record].key.as_str();
        if given_up.get(key).is_some_and(|&until| position >= until) {
            continue;
        }
        if let Some(before) = last.insert(key, completion.user_record)
            && before > completion.user_record
        {
            return Err(format!(
                "I2: user record {} of key {key} was first done after {before}",
                completion.user_record
            ));
        }
    }
    Ok(())
}

/// I6: what the handler reports is one record of the batch. The mapping takes anything else as a failure of all.
fn identifiers(history: &History) -> Result<(), String> {
    for StepTaken { step, .. } in &*history.steps.borrow() {
        let StepKind::Invoked(invoked) = &step.kind else { continue };
        if invoked.outcome == Outcome::Failure && invoked.error.is_none() {
            return Err(format!("I6: {} names no record of its batch", invoked.request_id));
        }
        if invoked.outcome == Outcome::Partial && invoked.reported.len() != 1 {
            return Err(format!("I6: {} names {} records", invoked.request_id, invoked.reported.len()));
        }
    }
    Ok(())
}
