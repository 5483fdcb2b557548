use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    operation::{
        delete_item::DeleteItemError, put_item::PutItemError, transact_write_items::TransactWriteItemsError,
    },
    types::{AttributeValue, Put, TransactWriteItem},
};

use super::{
    failure, key,
    key_attributes::{PARTITION_KEY, SORT_KEY},
    quarantine_item, read, state_item,
};
use crate::{
    SequenceNumber,
    dynamodb::{Connection, number_value, text_value},
    journal::{
        ItemKey, JournalError, JournalShard, JournalWrite, QuarantinedRecord, RecordState, StateKind,
        WriteOutcome,
    },
};

pub(super) async fn write(
    client: &Client,
    table: &str,
    write: JournalWrite<'_>,
) -> Result<WriteOutcome, JournalError> {
    let JournalWrite { shard, state, expected_version, quarantined } = write;
    let condition = Condition::new(expected_version);
    let partition_key = shard.to_string();
    match quarantined {
        None => write_state(client, table, &partition_key, state, condition).await,
        Some(record) => write_both(client, table, &partition_key, state, condition, record).await,
    }
}

/// What must be true of the stored state.
struct Condition {
    expression: &'static str,
    /// As the SDK wants them: none where the expression has none.
    names: Option<HashMap<String, String>>,
    values: Option<HashMap<String, AttributeValue>>,
}

impl Condition {
    fn new(expected_version: Option<u64>) -> Self {
        match expected_version {
            None => Condition { expression: "attribute_not_exists(pk)", names: None, values: None },
            Some(version) => Condition {
                expression: "#version = :expected",
                names: Some(HashMap::from([("#version".to_owned(), "version".to_owned())])),
                values: Some(HashMap::from([(":expected".to_owned(), number_value(version))])),
            },
        }
    }
}

async fn write_state(
    client: &Client,
    table: &str,
    partition_key: &str,
    state: &RecordState,
    condition: Condition,
) -> Result<WriteOutcome, JournalError> {
    let put = client
        .put_item()
        .table_name(table)
        .set_item(Some(state_item::from_state(partition_key, state)))
        .condition_expression(condition.expression)
        .set_expression_attribute_names(condition.names)
        .set_expression_attribute_values(condition.values);
    let error = match put.send().await {
        Ok(_) => return Ok(WriteOutcome::Written),
        Err(error) => error,
    };
    match error.as_service_error() {
        Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(WriteOutcome::Conflict),
        _ => Err(failure(error)),
    }
}

/// A large payload goes first: a transaction holds 4 MB, and parts without a head are nothing.
async fn write_both(
    client: &Client,
    table: &str,
    partition_key: &str,
    state: &RecordState,
    condition: Condition,
    record: &QuarantinedRecord,
) -> Result<WriteOutcome, JournalError> {
    for part in quarantine_item::parts(partition_key, record) {
        let put = client.put_item().table_name(table).set_item(Some(part));
        put.send().await.map_err(failure::<PutItemError>)?;
    }
    let state = Put::builder()
        .table_name(table)
        .set_item(Some(state_item::from_state(partition_key, state)))
        .condition_expression(condition.expression)
        .set_expression_attribute_names(condition.names)
        .set_expression_attribute_values(condition.values);
    let head = Put::builder().table_name(table).set_item(Some(quarantine_item::head(partition_key, record)));
    let items = [state, head].map(|put| {
        let put = put.build().expect("a put with a table and an item is whole");
        TransactWriteItem::builder().put(put).build()
    });
    let error = match client.transact_write_items().set_transact_items(Some(items.into())).send().await {
        Ok(_) => return Ok(WriteOutcome::Written),
        Err(error) => error,
    };
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
            if cancelled
                .cancellation_reasons()
                .iter()
                .any(|reason| reason.code() == Some("ConditionalCheckFailed")) =>
        {
            Ok(WriteOutcome::Conflict)
        }
        _ => Err(failure(error)),
    }
}

pub(super) async fn delete(
    client: &Client,
    table: &str,
    shard: JournalShard<'_>,
    kind: StateKind,
    sequence_number: SequenceNumber,
) -> Result<(), JournalError> {
    let delete = client
        .delete_item()
        .table_name(table)
        .key(PARTITION_KEY, text_value(shard.to_string()))
        .key(SORT_KEY, text_value(key::state(kind, sequence_number)));
    delete.send().await.map_err(failure::<DeleteItemError>)?;
    Ok(())
}

pub(super) async fn delete_unchanged(
    client: &Client,
    table: &str,
    shard: JournalShard<'_>,
    state: &RecordState,
) -> Result<bool, JournalError> {
    let delete = client
        .delete_item()
        .table_name(table)
        .key(PARTITION_KEY, text_value(shard.to_string()))
        .key(SORT_KEY, text_value(key::state(state.kind, state.sequence_number)))
        .condition_expression("attribute_not_exists(pk) OR (#version = :version AND writtenBy = :writer)")
        .expression_attribute_names("#version", "version")
        .expression_attribute_values(":version", number_value(state.version))
        .expression_attribute_values(":writer", text_value(&*state.written_by));
    let Err(error) = delete.send().await else { return Ok(true) };
    match error.as_service_error() {
        Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(false),
        _ => Err(failure(error)),
    }
}

pub(super) async fn delete_quarantined(
    client: &Client,
    table: &str,
    shard: JournalShard<'_>,
    record: &QuarantinedRecord,
) -> Result<bool, JournalError> {
    // The head first: without it nothing reads the parts, and a head without its parts cannot be read.
    for (index, sort_key) in quarantine_item::sort_keys(record).enumerate() {
        let is_head = index == 0;
        // The record may be quarantined again at any time, and its parts are written before its head. Parts of earlier
        // versions do not say when they were written.
        let condition = match is_head {
            true => "attribute_not_exists(pk) OR (quarantinedAt = :at AND requestId = :request)".to_owned(),
            false => format!(
                "attribute_not_exists({WRITTEN_AT}) OR ({WRITTEN_AT} = :at AND requestId = :request)",
                WRITTEN_AT = quarantine_item::WRITTEN_AT
            ),
        };
        let delete = client
            .delete_item()
            .table_name(table)
            .key(PARTITION_KEY, text_value(shard.to_string()))
            .key(SORT_KEY, text_value(sort_key))
            .condition_expression(condition)
            .expression_attribute_values(":at", number_value(record.quarantined_ms))
            .expression_attribute_values(":request", text_value(&*record.request_id));
        let Err(error) = delete.send().await else { continue };
        match error.as_service_error() {
            Some(DeleteItemError::ConditionalCheckFailedException(_)) if is_head => return Ok(false),
            Some(DeleteItemError::ConditionalCheckFailedException(_)) => {}
            _ => return Err(failure(error)),
        }
    }
    Ok(true)
}

pub(super) async fn delete_item(
    connection: &Connection,
    table: &str,
    key: &ItemKey,
) -> Result<(), JournalError> {
    let client = connection.client().await;
    let mut sort_keys = vec![key.sort_key.clone()];
    if key::parse_quarantine(&key.sort_key).is_some_and(|key| key.part.is_none()) {
        sort_keys.extend(read::part_keys(connection, table, key).await?);
    }
    for sort_key in sort_keys {
        let delete = client
            .delete_item()
            .table_name(table)
            .key(PARTITION_KEY, text_value(&*key.partition_key))
            .key(SORT_KEY, text_value(sort_key));
        delete.send().await.map_err(failure::<DeleteItemError>)?;
    }
    Ok(())
}
