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
    key_attributes::{self, PARTITION_KEY, SORT_KEY},
    quarantine_item, read, state_item,
};
use crate::{
    SequenceNumber,
    aws::{Connection, is_cancelled_for_now, number_value, text_value, until_not_throttled},
    journal::{
        ItemKey, JournalError, JournalShard, JournalWrite, QuarantinedRecord, RecordState, StateKind,
        WriteOutcome,
    },
};

pub(super) async fn write(
    connection: &Connection,
    table: &str,
    writes: &[JournalWrite<'_>],
) -> Result<WriteOutcome, JournalError> {
    let client = connection.client().await;
    if let [JournalWrite { shard, state, expected_version, quarantined: [] }] = writes {
        let condition = Condition::new(*expected_version);
        return write_state(client, table, &shard.to_string(), state, condition).await;
    }
    // Large payloads go first: a transaction holds 4 MB, and parts without a head are nothing.
    for JournalWrite { shard, quarantined, .. } in writes {
        for record in quarantined.iter().filter(|record| quarantine_item::has_parts(record)) {
            write_parts(connection, table, &shard.to_string(), record).await?;
        }
    }
    write_together(client, table, writes).await
}

/// A condition on the stored state.
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

/// Writes the parts of a payload, but for those that an earlier try has written not long ago: so a payload that is too
/// large for the time of one invocation gets further with each.
async fn write_parts(
    connection: &Connection,
    table: &str,
    partition_key: &str,
    record: &QuarantinedRecord,
) -> Result<(), JournalError> {
    let client = connection.client().await;
    let written = read::written_parts(connection, table, partition_key, record).await?;
    for part in quarantine_item::parts(partition_key, record) {
        if key_attributes::sort_key(&part).is_ok_and(|key| written.contains(key)) {
            continue;
        }
        let put = client.put_item().table_name(table).set_item(Some(part));
        let put = until_not_throttled(|_| false, || put.clone().send());
        put.await.map_err(failure::<PutItemError>)?;
    }
    Ok(())
}

/// Writes all entries and the heads of all records in one transaction.
async fn write_together(
    client: &Client,
    table: &str,
    writes: &[JournalWrite<'_>],
) -> Result<WriteOutcome, JournalError> {
    let mut puts = Vec::new();
    for JournalWrite { shard, state, expected_version, quarantined } in writes {
        let partition_key = shard.to_string();
        let condition = Condition::new(*expected_version);
        puts.push(
            Put::builder()
                .table_name(table)
                .set_item(Some(state_item::from_state(&partition_key, state)))
                .condition_expression(condition.expression)
                .set_expression_attribute_names(condition.names)
                .set_expression_attribute_values(condition.values),
        );
        let heads = quarantined.iter().map(|record| quarantine_item::head(&partition_key, record));
        puts.extend(heads.map(|head| Put::builder().table_name(table).set_item(Some(head))));
    }
    let items = puts.into_iter().map(|put| {
        let put = put.build().expect("a put with a table and an item is whole");
        TransactWriteItem::builder().put(put).build()
    });
    let write = client.transact_write_items().set_transact_items(Some(items.collect()));
    let error = match until_not_throttled(is_cancelled_for_now, || write.clone().send()).await {
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

pub(super) async fn delete_version(
    client: &Client,
    table: &str,
    shard: JournalShard<'_>,
    kind: StateKind,
    sequence_number: SequenceNumber,
    version: u64,
) -> Result<WriteOutcome, JournalError> {
    let delete = client
        .delete_item()
        .table_name(table)
        .key(PARTITION_KEY, text_value(shard.to_string()))
        .key(SORT_KEY, text_value(key::state(kind, sequence_number)))
        .condition_expression("attribute_not_exists(pk) OR #version = :version")
        .expression_attribute_names("#version", "version")
        .expression_attribute_values(":version", number_value(version));
    let Err(error) = delete.send().await else { return Ok(WriteOutcome::Written) };
    match error.as_service_error() {
        Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(WriteOutcome::Conflict),
        _ => Err(failure(error)),
    }
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
        // The record may be quarantined again at any time, and its parts are written before its head. Some of them may be
        // of an earlier try than the head. Parts of earlier versions do not say when they were written.
        let condition = match is_head {
            true => "attribute_not_exists(pk) OR (quarantinedAt = :at AND requestId = :request)".to_owned(),
            false => format!(
                "attribute_not_exists({WRITTEN_AT}) OR {WRITTEN_AT} < :at OR \
                 ({WRITTEN_AT} = :at AND requestId = :request)",
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
