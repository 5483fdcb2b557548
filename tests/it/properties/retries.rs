//! Attempts in place: a retryable error fails a user record only after as many tries as there may be, if there is
//! time for them.

use std::{collections::BTreeMap, time::Duration};

use super::{
    history::History,
    plan::Plan,
    processor::{End, Try},
};

pub(super) fn check(plan: &Plan, history: &History) -> Result<(), String> {
    // What a chunk has undone is tried again after the failed one is quarantined.
    if plan.chunks.is_some() {
        return Ok(());
    }
    let mut of_invocation: BTreeMap<(usize, usize), Vec<Try>> = BTreeMap::new();
    for this in &history.tries.borrow().all {
        of_invocation.entry((this.invocation, this.user_record)).or_default().push(*this);
    }
    let calls = history.calls.borrow();
    for ((invocation, user_record), tries) in of_invocation {
        let number = tries.len();
        let has_failed = |this: &Try| this.end == End::Failed && this.is_retryable;
        if number > plan.retry_attempts as usize || !tries[..number - 1].iter().all(has_failed) {
            return Err(format!(
                "retries: user record {user_record} was tried {number} times in invocation {invocation}: {tries:?}"
            ));
        }
        let last = &tries[number - 1];
        // One that has crashed, for example, had no chance.
        let has_ended = calls[invocation].ended.is_some();
        let has_time = last.left.is_some_and(|left| left > longest_delay(number));
        if has_ended && has_failed(last) && number < plan.retry_attempts as usize && has_time {
            return Err(format!(
                "retries: user record {user_record} has failed after {number} tries in invocation {invocation}: {tries:?}"
            ));
        }
    }
    Ok(())
}

/// The longest time that the handler waits after so many tries.
fn longest_delay(tries: usize) -> Duration {
    Duration::from_millis(100) * 2_u32.pow(tries as u32 - 1)
}
