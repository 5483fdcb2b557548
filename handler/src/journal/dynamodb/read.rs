use aws_sdk_dynamodb::{
    Client,
    operation::query::{QueryError, builders::QueryFluentBuilder},
};

use super::{failure, key, quarantine_item::Assembly, state_item};
use crate::{
    dynamodb::{Connection, Item, text_value},
    journal::{JournalError, JournalShard, QuarantinedRecord, RecordState, StateRange},
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
    let query = query(connection.client().await, table, shard)
        .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
        .expression_attribute_values(":first", text_value(first))
        .expression_attribute_values(":last", text_value(key::state(kind, through)));
    let mut states = Vec::new();
    pages(connection, query, |item| {
        states.push(state_item::to_state(item)?);
        Ok(())
    })
    .await?;
    Ok(states)
}

pub(super) async fn quarantine(
    connection: &Connection,
    table: &str,
    shard: JournalShard<'_>,
) -> Result<Vec<QuarantinedRecord>, JournalError> {
    let query = query(connection.client().await, table, shard)
        .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
        .expression_attribute_values(":prefix", text_value(key::QUARANTINE));
    let mut assembly = Assembly::default();
    pages(connection, query, |item| assembly.add(item)).await?;
    assembly.finish()
}

/// Strongly consistent: what the last invocation has written must be there.
fn query(client: &Client, table: &str, shard: JournalShard<'_>) -> QueryFluentBuilder {
    client
        .query()
        .table_name(table)
        .consistent_read(true)
        .expression_attribute_values(":pk", text_value(shard.to_string()))
}

/// All items in the order of their keys. An answer ends after 1 MB.
async fn pages(
    connection: &Connection,
    query: QueryFluentBuilder,
    mut each: impl FnMut(&Item) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut start = None;
    loop {
        let answer = query.clone().set_exclusive_start_key(start).send().await;
        // Whatever came back has opened the connection, or has shown that a ping would not.
        connection.note_connected();
        let answer = answer.map_err(failure::<QueryError>)?;
        answer.items().iter().try_for_each(&mut each)?;
        match answer.last_evaluated_key {
            Some(key) if !key.is_empty() => start = Some(key),
            _ => return Ok(()),
        }
    }
}
