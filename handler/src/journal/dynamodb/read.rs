use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    Client,
    operation::{
        query::{QueryError, builders::QueryFluentBuilder},
        scan::ScanError,
    },
    types::AttributeValue,
};

use super::{
    failure, key,
    key_attributes::{PARTITION_KEY, named},
    state_item,
};
use crate::{
    dynamodb::{Connection, Item, text, text_value, unreadable},
    journal::{JournalError, JournalShard, RecordState, StateKind, StateRange},
};

pub(super) async fn states(
    connection: &Connection,
    table: &str,
    shard: JournalShard<'_>,
    range: StateRange,
) -> Result<Vec<RecordState>, JournalError> {
    let StateRange { kind, from, through } = range;
    // DynamoDB takes such a range for a mistake.
    if from.is_some_and(|from| from > through) {
        return Ok(Vec::new());
    }
    let first = from.map_or_else(|| key::states(kind).to_owned(), |from| key::state(kind, from));
    let query = query(connection.client().await, table, &shard.to_string())
        .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
        .expression_attribute_values(":first", text_value(first))
        .expression_attribute_values(":last", text_value(key::state(kind, through)));
    states_of(connection, query).await
}

pub(super) async fn all_states(
    connection: &Connection,
    table: &str,
    shard: JournalShard<'_>,
    kind: StateKind,
) -> Result<Vec<RecordState>, JournalError> {
    let query = query(connection.client().await, table, &shard.to_string())
        .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
        .expression_attribute_values(":prefix", text_value(key::states(kind)));
    states_of(connection, query).await
}

/// All of them, in the order of their keys.
async fn states_of(
    connection: &Connection,
    query: QueryFluentBuilder,
) -> Result<Vec<RecordState>, JournalError> {
    let mut states = Vec::new();
    let mut start = None;
    loop {
        let (items, next) = page(connection, query.clone().set_exclusive_start_key(start)).await?;
        for item in &items {
            states.push(state_item::to_state(item)?);
        }
        match next {
            Some(_) => start = next,
            None => return Ok(states),
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

pub(super) async fn partition_keys(
    connection: &Connection,
    table: &str,
) -> Result<Vec<String>, JournalError> {
    let scan = connection.client().await.scan().table_name(table).projection_expression("pk, sk");
    let mut keys = BTreeSet::new();
    let mut start = None;
    loop {
        let answer = scan.clone().set_exclusive_start_key(start).send().await;
        let answer = answer.map_err(failure::<ScanError>)?;
        for item in answer.items() {
            let key = text(item, PARTITION_KEY).ok().flatten();
            let key = key.ok_or_else(|| named(item, unreadable(item, PARTITION_KEY)))?;
            keys.insert(key.to_owned());
        }
        match answer.last_evaluated_key.filter(|key| !key.is_empty()) {
            Some(key) => start = Some(key),
            None => return Ok(keys.into_iter().collect()),
        }
    }
}
