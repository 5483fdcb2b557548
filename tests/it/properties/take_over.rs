//! I4 and I5: what must hold of the checkpoint mirror.

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use kinesis_esm_simulator::StepKind;
use kinesis_handler::checkpoint::CheckpointPosition;

use super::{
    history::{History, Settled, StepTaken},
    invariants::number,
    mirror::Write,
    plan::Plan,
};

pub(super) fn check(plan: &Plan, history: &History) -> Result<(), String> {
    if history.mirror.is_none() {
        return Ok(());
    }
    mirror(plan, history)?;
    take_over(plan, history)
}

/// I4: the mirror never moves back, and never runs ahead of what is done or given up. And if nothing goes wrong with it,
/// it is never behind what is acknowledged.
fn mirror(plan: &Plan, history: &History) -> Result<(), String> {
    let is_intact = plan.mirror.as_ref().is_some_and(|mirror| mirror.faults.is_empty());
    let steps = history.steps.borrow();
    let mut rows: HashMap<String, CheckpointPosition> = HashMap::new();
    let mut writes = history.mirror_writes().into_iter().peekable();
    for (taken, StepTaken { step, .. }) in steps.iter().enumerate() {
        while let Some(write) = writes.next_if(|write| write.at.steps <= taken) {
            if rows.get(&write.shard_id).is_some_and(|&before| write.row < before) {
                return Err(format!("I4: the row of {} has moved back to {}", write.shard_id, write.row));
            }
            let settled = history.settled(write.at);
            not_ahead(plan, history, &write, &settled, &steps[..write.at.steps])?;
            rows.insert(write.shard_id, write.row);
        }
        if let StepKind::Acknowledged(records) = &step.kind
            && is_intact
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

/// All user records of the row's shard up to the row are settled, or given up in these steps.
fn not_ahead(
    plan: &Plan,
    history: &History,
    write: &Write,
    settled: &Settled,
    steps: &[StepTaken],
) -> Result<(), String> {
    let mut given_up = HashSet::new();
    let mut given_up_members = HashSet::new();
    for StepTaken { step, .. } in steps {
        match &step.kind {
            StepKind::Discarded(discarded) if plan.mapping.is_enhanced_fan_out() => {
                // Each member is a record, and its data is its number.
                for record in &discarded.records {
                    match number(&record.data) {
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
                is_position = (sub_sequence_number as usize) < record.user_records.len().max(1);
                sub_sequence_number as usize + 1
            }
            Ordering::Greater => 0,
        };
        if record.sequence_number > sequence_number || given_up.contains(&record.sequence_number) {
            continue;
        }
        let mut numbers = record.user_records.iter().take(members).map(|user_record| user_record.number);
        let Settled { user_records, invalid } = settled;
        let ahead =
            numbers.find(|number| !user_records.contains(number) && !given_up_members.contains(number));
        if ahead.is_some() || record.is_invalid && !invalid.contains(&record.sequence_number) {
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

/// I5: who takes over at any moment, from the mirror's rows, loses nothing: that is I4, as what is settled stays so. And
/// little is done again. What is done beyond a shard's row is the work of invocations that the mirror has not heard of:
///
/// - the one that is at work, of which there is one for each shard, with one batch;
/// - those that the mapping has given up on before they came to their write: they have crashed, or timed out, and may
///   still be at work beside their retries;
/// - those whose write has failed, or has not arrived yet;
/// - those that could not write a user record into the quarantine, and have returned to it from beyond;
/// - those that process several user records at once, or in chunks, and were beyond the one where their batch has stopped.
///
/// An invocation that has answered, and whose write had no fault, has nothing beyond the row.
fn take_over(plan: &Plan, history: &History) -> Result<(), String> {
    let Some(mirror) = &history.mirror else { return Ok(()) };
    let (steps, done, calls) = (history.steps.borrow(), history.done.borrow(), history.calls.borrow());
    let may_be_ahead = plan.concurrency > 1 || plan.chunks.is_some();
    let returned: HashSet<usize> =
        history.journal.as_ref().map(|journal| journal.troubled().clone()).unwrap_or_default();
    let troubled: HashSet<usize> =
        mirror.troubled().iter().copied().chain(returned.iter().copied()).collect();
    // Where each user record is.
    let places: HashMap<usize, (&str, CheckpointPosition)> = history
        .records
        .iter()
        .flat_map(|record| {
            record.user_records.iter().enumerate().map(move |(sub, user_record)| {
                // On a fan-out consumer, the row's ordinal is a lower bound: inside of an aggregate all may be done again.
                let sub = if plan.mapping.is_enhanced_fan_out() { 0 } else { sub as u64 };
                let place =
                    CheckpointPosition { sequence_number: record.sequence_number, sub_sequence_number: sub };
                (user_record.number, (record.shard_id.as_str(), place))
            })
        })
        .collect();
    let writes = history.mirror_writes();
    let (mut writes, mut completions) = (writes.iter().peekable(), done.iter().enumerate().peekable());
    let mut rows: HashMap<&str, CheckpointPosition> = HashMap::new();
    // By shard: what is done beyond the row, and by which invocation.
    let mut beyond: HashMap<&str, HashSet<(CheckpointPosition, usize)>> = HashMap::new();
    let mut given_up_on: HashMap<&str, usize> = HashMap::new();
    for (taken, StepTaken { completions: until, step }) in steps.iter().enumerate() {
        loop {
            let write = writes.next_if(|write| write.at.steps <= taken);
            let until = write.map_or(*until, |write| write.at.completions);
            while let Some((_, completion)) = completions.next_if(|(at, _)| *at < until) {
                let (shard_id, place) = places[&completion.user_record];
                let beyond = beyond.entry(shard_id).or_default();
                if rows.get(shard_id).is_none_or(|&row| row < place) {
                    beyond.insert((place, completion.invocation));
                }
                let at_work: HashSet<usize> = beyond
                    .iter()
                    .map(|&(_, invocation)| invocation)
                    .filter(|&invocation| calls[invocation].ended.is_none_or(|ended| ended > taken))
                    .collect();
                let bound = 1 + given_up_on.get(shard_id).copied().unwrap_or(0);
                if at_work.len() > bound {
                    return Err(format!(
                        "I5: {at_work:?} are at work on {shard_id} beyond the row, more than {bound}"
                    ));
                }
            }
            let Some(write) = write else { break };
            rows.insert(&write.shard_id, write.row);
            if let Some(beyond) = beyond.get_mut(write.shard_id.as_str()) {
                beyond.retain(|&(place, _)| place > write.row);
                if let Some((place, invocation)) =
                    beyond.iter().find(|&&(_, invocation)| invocation == write.invocation)
                    && !returned.contains(invocation)
                    && !may_be_ahead
                {
                    return Err(format!(
                        "I5: {place} was done by invocation {invocation}, whose write is beside it: {write:?}"
                    ));
                }
            }
        }
        let StepKind::Invoked(invoked) = &step.kind else { continue };
        if invoked.error.is_some() {
            *given_up_on.entry(&step.shard_id).or_default() += 1;
        }
        let heard_of = |invocation: usize| {
            calls[invocation].ended.is_some_and(|ended| ended <= taken)
                && !troubled.contains(&invocation)
                && !may_be_ahead
        };
        let mut beyond = beyond.get(&*step.shard_id).into_iter().flatten();
        if let Some((place, invocation)) = beyond.find(|&&(_, invocation)| heard_of(invocation)) {
            return Err(format!(
                "I5: {place} was done by invocation {invocation}, which has ended, and is beyond the row"
            ));
        }
    }
    Ok(())
}
