//! States as items: attributes that can be read in a console.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    key,
    key_attributes::{PARTITION_KEY, SORT_KEY, sort_key},
};
use crate::{
    aws::{Item, Unreadable, number, number_value, text, text_value, unreadable},
    journal::{DoneSet, Progress, RecordState, UserRecordId},
};

pub(super) fn from_state(partition_key: &str, state: &RecordState) -> Item {
    let RecordState {
        kind,
        sequence_number,
        progress: Progress { done, attempts, first_failure_ms, last_error, arrival_ms, quarantined },
        version,
        written_by,
        updated_ms,
        expires_ms,
    } = state;
    let mut item = Item::from([
        (PARTITION_KEY.to_owned(), text_value(partition_key)),
        (SORT_KEY.to_owned(), text_value(key::state(*kind, *sequence_number))),
        // With the leading zeros of an emulator, which the key leaves out.
        ("sequenceNumber".to_owned(), text_value(sequence_number.to_string())),
        ("version".to_owned(), number_value(*version)),
        ("writtenBy".to_owned(), text_value(written_by)),
        ("updatedAt".to_owned(), number_value(*updated_ms)),
        // DynamoDB's time to live counts seconds. Rounded up: a state must not be void before its time.
        ("expiresAt".to_owned(), number_value(expires_ms.div_ceil(1000))),
    ]);
    let mut put = |name: &str, value| drop(item.insert(name.to_owned(), value));
    let ranges = ranges_text(done);
    if !ranges.is_empty() {
        put("done", text_value(ranges));
    }
    let contents: Vec<_> = done.contents().map(ToString::to_string).collect();
    if !contents.is_empty() {
        put("doneContents", AttributeValue::Ss(contents));
    }
    if !attempts.is_empty() {
        let attempts = attempts.iter().map(|(id, &times)| (id.to_string(), number_value(times.into())));
        put("attempts", AttributeValue::M(attempts.collect()));
    }
    if let Some(first_failure_ms) = first_failure_ms {
        put("firstFailureAt", number_value(*first_failure_ms));
    }
    if let Some(last_error) = last_error {
        put("lastError", text_value(last_error));
    }
    if let Some(arrival_ms) = arrival_ms {
        put("arrivalAt", number_value(*arrival_ms));
    }
    if *quarantined > 0 {
        put("quarantined", number_value(*quarantined));
    }
    item
}

pub(super) fn to_state(item: &Item) -> Result<RecordState, Unreadable> {
    let (kind, sequence_number) =
        key::parse_state(sort_key(item)?).ok_or_else(|| unreadable(item, SORT_KEY))?;
    let sequence_number = key::padded(sequence_number, text(item, "sequenceNumber").unwrap_or(None));
    let some = |name| number(item, name)?.ok_or_else(|| unreadable(item, name));
    let mut done = match text(item, "done")? {
        Some(text) => parse_ranges(text).ok_or_else(|| unreadable(item, "done"))?,
        None => DoneSet::default(),
    };
    add_contents(&mut done, item)?;
    Ok(RecordState {
        kind,
        sequence_number,
        progress: Progress {
            done,
            attempts: attempts(item)?,
            first_failure_ms: number(item, "firstFailureAt")?,
            last_error: text(item, "lastError")?.map(str::to_owned),
            arrival_ms: number(item, "arrivalAt")?,
            quarantined: number(item, "quarantined")?.unwrap_or(0),
        },
        version: some("version")?,
        written_by: text(item, "writtenBy")?.ok_or_else(|| unreadable(item, "writtenBy"))?.to_owned(),
        updated_ms: some("updatedAt")?,
        expires_ms: some("expiresAt")?.checked_mul(1000).ok_or_else(|| unreadable(item, "expiresAt"))?,
    })
}

/// `0-3,7`: both ends belong to a range.
fn ranges_text(done: &DoneSet) -> String {
    let mut text = String::new();
    for (first, last) in done.ranges() {
        let comma = if text.is_empty() { "" } else { "," };
        let range = if first == last {
            write!(text, "{comma}{first}")
        } else {
            write!(text, "{comma}{first}-{last}")
        };
        range.expect("a String takes everything");
    }
    text
}

/// Only what is written is read: a text that somebody has changed may say that something is done which is not.
fn parse_ranges(text: &str) -> Option<DoneSet> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    let mut done = DoneSet::default();
    let mut before: Option<u64> = None;
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first)?, number(last)?);
        let touches = before.is_some_and(|before| first <= before.saturating_add(1));
        if first > last || touches {
            return None;
        }
        done.insert_range(first, last);
        before = Some(last);
    }
    Some(done)
}

fn add_contents(done: &mut DoneSet, item: &Item) -> Result<(), Unreadable> {
    let wrong = || unreadable(item, "doneContents");
    match item.get("doneContents") {
        None => {}
        Some(AttributeValue::Ss(hashes)) => {
            for hash in hashes {
                done.insert(UserRecordId::Content(hash.parse().map_err(|_| wrong())?));
            }
        }
        Some(_) => return Err(wrong()),
    }
    Ok(())
}

fn attempts(item: &Item) -> Result<BTreeMap<UserRecordId, u32>, Unreadable> {
    let wrong = || unreadable(item, "attempts");
    let read =
        |(id, times): (&String, &AttributeValue)| Some((id.parse().ok()?, times.as_n().ok()?.parse().ok()?));
    match item.get("attempts") {
        None => Ok(BTreeMap::new()),
        Some(AttributeValue::M(attempts)) => {
            let attempts: &HashMap<_, _> = attempts;
            attempts.iter().map(|entry| read(entry).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::{btree_map, vec},
        option,
        prelude::*,
    };

    use super::*;
    use crate::journal::{ContentHash, StateKind, dynamodb::key_attributes::unreadable_item};

    fn id() -> impl Strategy<Value = UserRecordId> {
        prop_oneof![
            any::<u64>().prop_map(UserRecordId::Sub),
            any::<u64>().prop_map(|n| UserRecordId::Content(ContentHash::new(b"", &n.to_le_bytes()))),
        ]
    }

    fn progress() -> impl Strategy<Value = Progress> {
        let done = (vec((0..90u64, 0..9u64), 0..9), vec(id(), 0..4)).prop_map(|(ranges, ids)| {
            let mut done = DoneSet::default();
            ranges.iter().for_each(|&(first, more)| done.insert_range(first, first + more));
            ids.into_iter().for_each(|id| done.insert(id));
            done
        });
        let times = option::of(any::<u64>());
        let attempts = btree_map(id(), any::<u32>(), 0..4);
        (done, attempts, times.clone(), option::of(".{0,9}"), times, any::<u64>()).prop_map(
            |(done, attempts, first_failure_ms, last_error, arrival_ms, quarantined)| Progress {
                done,
                attempts,
                first_failure_ms,
                last_error,
                arrival_ms,
                quarantined,
            },
        )
    }

    proptest! {
        #[test]
        fn a_state_reads_back(
            progress in progress(),
            is_discarded in any::<bool>(),
            digits in "[1-9][0-9]{0,56}",
            version in any::<u64>(),
            now_ms in 0..u64::MAX / 2,
        ) {
            let kind = if is_discarded { StateKind::Discarded } else { StateKind::Retry };
            let sequence_number = digits.parse().expect("digits");
            let first = RecordState::first(kind, sequence_number, progress, "me", now_ms);
            let mut state = RecordState { version, ..first };
            let item = from_state("a#b#c", &state);
            prop_assert!(item["expiresAt"].as_n().expect("a number").len() <= 17);
            state.expires_ms = state.expires_ms.div_ceil(1000) * 1000;
            prop_assert_eq!(to_state(&item).expect("as written"), state);
        }
    }

    fn sample() -> Item {
        let mut progress = Progress::done(DoneSet::before(4));
        progress.done.insert(UserRecordId::Sub(7));
        progress.fail(UserRecordId::Sub(8), "busy", 1);
        let state = RecordState::first(
            StateKind::Retry,
            "49".parse().expect("digits"),
            progress,
            "me",
            1_700_000_000_001,
        );
        from_state("orders#arn#shard", &state)
    }

    #[test]
    fn an_item_can_be_read_in_a_console() {
        let expected = Item::from([
            ("pk".to_owned(), text_value("orders#arn#shard")),
            ("sk".to_owned(), text_value("S#0249")),
            ("sequenceNumber".to_owned(), text_value("49")),
            ("done".to_owned(), text_value("0-3,7")),
            ("attempts".to_owned(), AttributeValue::M(HashMap::from([("8".to_owned(), number_value(1))]))),
            ("firstFailureAt".to_owned(), number_value(1)),
            ("lastError".to_owned(), text_value("busy")),
            ("version".to_owned(), number_value(1)),
            ("writtenBy".to_owned(), text_value("me")),
            ("updatedAt".to_owned(), number_value(1_700_000_000_001)),
            // 366 days later, in whole seconds.
            ("expiresAt".to_owned(), number_value(1_731_622_401)),
        ]);
        assert_eq!(sample(), expected);
    }

    #[track_caller]
    fn check_unreadable(item: &Item, expected: &str) {
        let wrong = to_state(item).expect_err("a wrong item");
        assert_eq!(unreadable_item(item, wrong).reason, expected);
    }

    #[test]
    fn what_the_journal_does_not_write_is_named() {
        let long = "9".repeat(1000);
        let map = |id: &str, times: &str| {
            AttributeValue::M(HashMap::from([(id.to_owned(), AttributeValue::N(times.to_owned()))]))
        };
        let shown: String = format!("S(\"{long}\")").chars().take(80).collect();
        for (attribute, value, found) in [
            ("done", text_value(""), "S(\"\")"),
            ("done", text_value("3-1"), "S(\"3-1\")"),
            ("done", text_value("0-3,4"), "S(\"0-3,4\")"),
            ("done", text_value("0-3,2"), "S(\"0-3,2\")"),
            ("done", text_value("7,0-3"), "S(\"7,0-3\")"),
            ("done", text_value("01"), "S(\"01\")"),
            ("done", text_value("+1"), "S(\"+1\")"),
            ("done", text_value("1-2-3"), "S(\"1-2-3\")"),
            ("done", text_value("1,"), "S(\"1,\")"),
            ("done", text_value("18446744073709551615,0"), "S(\"18446744073709551615,0\")"),
            ("done", text_value("18446744073709551616"), "S(\"18446744073709551616\")"),
            ("done", text_value(&*long), &shown),
            ("done", number_value(1), "N(\"1\")"),
            ("doneContents", AttributeValue::Ss(vec!["xyz".to_owned()]), "Ss([\"xyz\"])"),
            ("doneContents", text_value("a"), "S(\"a\")"),
            ("attempts", map("01", "1"), "M({\"01\": N(\"1\")})"),
            ("attempts", map("1", "4294967296"), "M({\"1\": N(\"4294967296\")})"),
            ("attempts", AttributeValue::L(vec![]), "L([])"),
            ("version", AttributeValue::N("-1".to_owned()), "N(\"-1\")"),
            ("expiresAt", number_value(u64::MAX), "N(\"18446744073709551615\")"),
            ("writtenBy", AttributeValue::Bool(true), "Bool(true)"),
        ] {
            let mut item = sample();
            item.insert(attribute.to_owned(), value);
            check_unreadable(&item, &format!("{attribute} is {found}"));
        }
        for attribute in ["version", "writtenBy", "updatedAt", "expiresAt"] {
            let mut item = sample();
            item.remove(attribute);
            check_unreadable(&item, &format!("{attribute} is absent"));
        }
        let mut item = sample();
        item.insert("sk".to_owned(), text_value("S#49"));
        check_unreadable(&item, "sk is S(\"S#49\")");
    }
}
