use std::collections::{BTreeSet, HashMap, HashSet};

use aws_sdk_dynamodb::{
    Client,
    operation::{
        query::{QueryError, builders::QueryFluentBuilder},
        scan::ScanError,
    },
    types::AttributeValue,
};

use super::{
    TableKeys, failure, key,
    key_attributes::{self, PARTITION_KEY, SORT_KEY, sort_key, unreadable_item},
    quarantine_item::{self, CONTENT_HASH, MAX_RESUMED_MS, WRITTEN_AT},
    state_item,
};
use crate::{
    aws::{Connection, Item, number, text, text_value, unreadable},
    journal::{
        ItemKey, JournalEntries, JournalError, JournalShard, QuarantinedRecord, StateKind, StateRange,
    },
};

pub(super) async fn states(
    connection: &Connection,
    table: &str,
    shard: JournalShard<'_>,
    range: StateRange,
) -> Result<JournalEntries, JournalError> {
    let StateRange { kind, from, through, earlier } = range;
    let from = key::state(kind, from);
    let through = key::state(kind, through);
    let first = if earlier == 0 { &*from } else { key::states(kind) };
    // DynamoDB takes such a range for a mistake.
    if first > &*through {
        return Ok(JournalEntries::default());
    }
    let mut query = query(connection.client().await, table, &shard.to_string())
        .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
        .expression_attribute_values(":first", text_value(first))
        .expression_attribute_values(":last", text_value(&*through));
    if earlier == 0 {
        return entries(connection, query, |_| true).await;
    }
    // Backwards, so that it can end after the latest ones: nobody knows how many there are.
    query = query.scan_index_forward(false).limit(i32::try_from(earlier).unwrap_or(i32::MAX));
    let mut left = earlier;
    let mut entries = entries(connection, query, |item| {
        if sort_key(item).is_ok_and(|key| key >= &*from) {
            return true;
        }
        let is_wanted = left > 0;
        left = left.saturating_sub(1);
        is_wanted
    })
    .await?;
    entries.states.reverse();
    Ok(entries)
}

pub(super) async fn all_states(
    connection: &Connection,
    table: &str,
    shard: JournalShard<'_>,
    kind: StateKind,
) -> Result<JournalEntries, JournalError> {
    let query = query(connection.client().await, table, &shard.to_string())
        .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
        .expression_attribute_values(":prefix", text_value(key::states(kind)));
    entries(connection, query, |_| true).await
}

/// Reads entries in the order of the query, up to the first item that is not wanted.
async fn entries(
    connection: &Connection,
    query: QueryFluentBuilder,
    mut is_wanted: impl FnMut(&Item) -> bool,
) -> Result<JournalEntries, JournalError> {
    let mut entries = JournalEntries::default();
    let mut start = None;
    loop {
        let (items, next) = page(connection, query.clone().set_exclusive_start_key(start)).await?;
        for item in &items {
            if !is_wanted(item) {
                return Ok(entries);
            }
            match state_item::to_state(item) {
                Ok(state) => entries.states.push(state),
                Err(wrong) => entries.unreadable.push(unreadable_item(item, wrong)),
            }
        }
        match next {
            Some(_) => start = next,
            None => return Ok(entries),
        }
    }
}

/// Strongly consistent: what the last invocation has written must be there.
pub(super) fn query(client: &Client, table: &str, partition_key: &str) -> QueryFluentBuilder {
    client
        .query()
        .table_name(table)
        .consistent_read(true)
        .expression_attribute_values(":pk", text_value(partition_key))
}

/// Up to 1 MB of items, and where the next ones begin.
pub(super) async fn page(
    connection: &Connection,
    query: QueryFluentBuilder,
) -> Result<(Vec<Item>, Option<HashMap<String, AttributeValue>>), JournalError> {
    let answer = query.send().await;
    // Whatever came back has opened the connection, or has shown that a ping would not.
    connection.note_connected();
    let answer = answer.map_err(failure::<QueryError>)?;
    Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key.filter(|key| !key.is_empty())))
}

/// Reads the sort keys of the parts that a head has.
pub(super) async fn part_keys(
    connection: &Connection,
    table: &str,
    head: &ItemKey,
) -> Result<Vec<String>, JournalError> {
    let query = query(connection.client().await, table, &head.partition_key)
        .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
        .expression_attribute_values(":prefix", text_value(format!("{}#P", head.sort_key)))
        .projection_expression("pk, sk");
    let mut keys = Vec::new();
    let mut start = None;
    loop {
        let (items, next) = page(connection, query.clone().set_exclusive_start_key(start)).await?;
        keys.extend(items.iter().map(|item| key_attributes::key(item).sort_key));
        match next {
            Some(_) => start = next,
            None => return Ok(keys),
        }
    }
}

/// Reads which parts of a record an earlier try has written, not too long ago. None if the record has a head: then it is
/// in the quarantine, and may be taken out of it at any moment.
pub(super) async fn written_parts(
    connection: &Connection,
    table: &str,
    partition_key: &str,
    record: &QuarantinedRecord,
) -> Result<HashSet<String>, JournalError> {
    let head = key::head(record.sequence_number, &record.id);
    let hash = quarantine_item::content_hash(record);
    let query = query(connection.client().await, table, partition_key)
        .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
        .expression_attribute_values(":prefix", text_value(&*head))
        .projection_expression("pk, sk, contentHash, writtenAt");
    let mut written = HashSet::new();
    let mut start = None;
    loop {
        let (items, next) = page(connection, query.clone().set_exclusive_start_key(start)).await?;
        for item in &items {
            let sort_key = key_attributes::key(item).sort_key;
            if sort_key == head {
                return Ok(HashSet::new());
            }
            let is_fresh = number(item, WRITTEN_AT).is_ok_and(|ms| {
                ms.is_some_and(|ms| record.quarantined_ms < ms.saturating_add(MAX_RESUMED_MS))
            });
            if is_fresh && text(item, CONTENT_HASH).is_ok_and(|found| found == Some(&*hash)) {
                written.insert(sort_key);
            }
        }
        match next {
            Some(_) => start = next,
            None => return Ok(written),
        }
    }
}

pub(super) async fn scan_keys(connection: &Connection, table: &str) -> Result<TableKeys, JournalError> {
    let scan = connection.client().await.scan().table_name(table).projection_expression("pk, sk");
    let mut partition_keys = BTreeSet::new();
    let mut foreign = Vec::new();
    let mut start = None;
    loop {
        let answer = scan.clone().set_exclusive_start_key(start).send().await;
        let answer = answer.map_err(failure::<ScanError>)?;
        for item in answer.items() {
            let item_key = key_attributes::key(item);
            if JournalShard::parse(&item_key.partition_key).is_none() {
                let wrong = unreadable(item, PARTITION_KEY);
                foreign.push(unreadable_item(item, wrong));
            } else if !key::is_of_journal(&item_key.sort_key) {
                let wrong = unreadable(item, SORT_KEY);
                foreign.push(unreadable_item(item, wrong));
            } else {
                partition_keys.insert(item_key.partition_key);
            }
        }
        match answer.last_evaluated_key.filter(|key| !key.is_empty()) {
            Some(key) => start = Some(key),
            None => {
                foreign.sort_unstable_by(|one, other| one.key.cmp(&other.key));
                return Ok(TableKeys { partition_keys: partition_keys.into_iter().collect(), foreign });
            }
        }
    }
}
