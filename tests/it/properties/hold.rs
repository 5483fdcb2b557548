//! Hold: after a quarantined user record, an invocation tries no later one of its key.

use std::collections::HashMap;

use super::{history::History, journal::Quarantined, plan::Plan, processor::Try};

pub(super) fn check(plan: &Plan, history: &History) -> Result<(), String> {
    let holds = plan.journal.as_ref().is_some_and(|journal| journal.hold) && history.journal.is_some();
    if !holds {
        return Ok(());
    }
    let key = |number: usize| history.user_records[number].key.as_str();
    // The first one of each key that an invocation has put into the quarantine.
    let mut first: HashMap<(usize, &str), usize> = HashMap::new();
    for Quarantined { invocation, user_record, .. } in history.quarantined() {
        if let Some(number) = user_record {
            let first = first.entry((invocation, key(number))).or_insert(number);
            *first = number.min(*first);
        }
    }
    for Try { user_record, invocation, .. } in &history.tries.borrow().all {
        if let Some(quarantined) = first.get(&(*invocation, key(*user_record)))
            && quarantined < user_record
        {
            return Err(format!(
                "hold: invocation {invocation} has tried user record {user_record} of key {} after {quarantined}, which it has \
                 put into the quarantine",
                key(*user_record)
            ));
        }
    }
    Ok(())
}
