//! What must hold of every history.

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use kinesis_esm_simulator::{Outcome, StepKind};
use kinesis_handler::checkpoint::CheckpointPosition;

use super::{
    history::{History, StepTaken},
    mirror::Write,
    plan::Plan,
};

/// The first violation, if there is one.
pub(super) fn check(plan: &Plan, history: &History) -> Result<(), String> {
    no_loss(plan, history)?;
    order(history)?;
    mirror(plan, history)?;
    identifiers(history)
}

/// I1: what the mapping takes as done is done, and every record is taken as done, discarded or dropped.
fn no_loss(plan: &Plan, history: &History) -> Result<(), String> {
    let done = history.done.borrow();
    // For an enhanced fan-out consumer: how many members of each aggregate have been settled.
    let mut settled: HashMap<_, usize> = HashMap::new();
    for StepTaken { completions, step } in &*history.steps.borrow() {
        match &step.kind {
            StepKind::Acknowledged(records) => {
                let done: HashSet<_> = done[..*completions].iter().map(|done| done.user_record).collect();
                for shared in records {
                    let record = history.record(shared);
                    let members = if plan.mapping.is_enhanced_fan_out() && !record.is_invalid {
                        // Each member is a record, and its data is its number.
                        let number =
                            std::str::from_utf8(&shared.data).ok().and_then(|text| text.parse().ok());
                        number.into_iter().collect()
                    } else {
                        if record.is_invalid {
                            return Err(format!(
                                "I1: {} is invalid, and taken as done",
                                record.sequence_number
                            ));
                        }
                        record.user_records.iter().map(|user_record| user_record.number).collect::<Vec<_>>()
                    };
                    if let Some(number) = members.iter().find(|number| !done.contains(number)) {
                        return Err(format!(
                            "I1: user record {number} of {} is taken as done, and is not",
                            record.sequence_number
                        ));
                    }
                    *settled.entry(shared.sequence_number).or_default() += 1;
                }
            }
            StepKind::Discarded(discarded) => {
                for record in &discarded.records {
                    *settled.entry(record.sequence_number).or_default() += 1;
                }
            }
            StepKind::Dropped(records, _) => {
                for record in records {
                    *settled.entry(record.sequence_number).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    for record in &*history.records {
        let times = settled.get(&record.sequence_number).copied().unwrap_or(0);
        let expected = if plan.mapping.is_enhanced_fan_out() { record.user_records.len().max(1) } else { 1 };
        if times != expected {
            return Err(format!("I1: {} was settled {times} times, not {expected}", record.sequence_number));
        }
    }
    Ok(())
}

/// I2: the first completions of a key follow the stream, until one of its records is given up.
fn order(history: &History) -> Result<(), String> {
    let done = history.done.borrow();
    let mut given_up: HashMap<&str, usize> = HashMap::new();
    for StepTaken { completions, step } in &*history.steps.borrow() {
        let records = match &step.kind {
            StepKind::Discarded(discarded) => &discarded.records,
            StepKind::Dropped(records, _) => records,
            _ => continue,
        };
        for user_record in records.iter().flat_map(|record| &history.record(record).user_records) {
            given_up.entry(&user_record.key).or_insert(*completions);
        }
    }
    let mut last: HashMap<&str, usize> = HashMap::new();
    let mut first_completions = HashSet::new();
    for (position, completion) in done.iter().enumerate() {
        if !first_completions.insert(completion.user_record) {
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

/// I4: the mirror never moves back, and never runs ahead of what is done or given up. And if nothing goes wrong with it,
/// it is never behind what is acknowledged.
fn mirror(plan: &Plan, history: &History) -> Result<(), String> {
    let Some(mirror) = plan.mirror.as_ref().filter(|_| history.mirror.is_some()) else { return Ok(()) };
    let steps = history.steps.borrow();
    let done = history.done.borrow();
    let mut rows: HashMap<String, CheckpointPosition> = HashMap::new();
    let mut writes = history.mirror_writes().into_iter().peekable();
    for (taken, StepTaken { step, .. }) in steps.iter().enumerate() {
        while let Some(write) = writes.next_if(|write| write.steps <= taken) {
            if rows.get(&write.shard_id).is_some_and(|&before| write.row < before) {
                return Err(format!("I4: the row of {} has moved back to {}", write.shard_id, write.row));
            }
            let done: HashSet<_> = done[..write.completions].iter().map(|done| done.user_record).collect();
            not_ahead(plan, history, &write, &done, &steps[..write.steps])?;
            rows.insert(write.shard_id, write.row);
        }
        if let StepKind::Acknowledged(records) = &step.kind
            && mirror.faults.is_empty()
            && let Some(last) = records.last()
            && rows.get(&*step.shard_id).is_none_or(|row| row.sequence_number < last.sequence_number)
        {
            let row = rows.get(&*step.shard_id);
            return Err(format!(
                "I4: {} is acknowledged, and the row is behind ({row:?})",
                last.sequence_number
            ));
        }
    }
    Ok(())
}

/// All user records of the row's shard up to the row are done, or given up in these steps.
fn not_ahead(
    plan: &Plan,
    history: &History,
    write: &Write,
    done: &HashSet<usize>,
    steps: &[StepTaken],
) -> Result<(), String> {
    let mut given_up = HashSet::new();
    let mut given_up_members = HashSet::new();
    for StepTaken { step, .. } in steps {
        match &step.kind {
            StepKind::Discarded(discarded) if plan.mapping.is_enhanced_fan_out() => {
                // Each member is a record, and its data is its number.
                for record in &discarded.records {
                    match std::str::from_utf8(&record.data).ok().and_then(|text| text.parse::<usize>().ok()) {
                        Some(number) => drop(given_up_members.insert(number)),
                        None => drop(given_up.insert(record.sequence_number)),
                    }
                }
            }
            StepKind::Discarded(discarded) => {
                given_up.extend(discarded.records.iter().map(|record| record.sequence_number));
            }
            StepKind::Dropped(records, _) => {
                given_up.extend(records.iter().map(|record| record.sequence_number));
            }
            _ => {}
        }
    }
    let CheckpointPosition { sequence_number, sub_sequence_number } = write.row;
    let mut is_position = false;
    for record in history.records.iter().filter(|record| *record.shard_id == *write.shard_id) {
        let members = match record.sequence_number.cmp(&sequence_number) {
            Ordering::Less => record.user_records.len(),
            Ordering::Equal => {
                is_position = (sub_sequence_number as usize) < record.user_records.len();
                sub_sequence_number as usize + 1
            }
            Ordering::Greater => 0,
        };
        if record.sequence_number > sequence_number || given_up.contains(&record.sequence_number) {
            continue;
        }
        let mut numbers = record.user_records.iter().take(members).map(|user_record| user_record.number);
        let ahead = numbers.find(|number| !done.contains(number) && !given_up_members.contains(number));
        if ahead.is_some() || record.is_invalid {
            return Err(format!(
                "I4: the row of {} is at {}, and {} ({ahead:?}) is not done",
                write.shard_id, write.row, record.sequence_number
            ));
        }
    }
    if !is_position {
        return Err(format!("I4: the row of {} is at {}, where nothing is", write.shard_id, write.row));
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
