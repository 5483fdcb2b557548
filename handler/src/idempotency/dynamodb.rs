use std::{collections::HashMap, error::Error, fmt, sync::Arc};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};

use super::{Digest, IdempotencyEntry, IdempotencyError, IdempotencyFuture, IdempotencyStore};
use crate::aws::{
    Connection, Item, StoreFault, Unreadable, is_condition_met, number, number_value, text, text_value,
    unreadable,
};

const ID: &str = "id";
const PAYLOAD: &str = "payload";
const OWNER: &str = "owner";
const UNTIL: &str = "inProgressUntil";
const EXPIRES: &str = "expiresAt";

/// A store in a DynamoDB table: HASH key `id` (text), no sort key, time to live in `expiresAt`.
///
/// It needs the permissions `PutItem` and `DeleteItem` on the table. A record that is processed takes two writes. Connecting and each
/// attempt take at most one second; there are at most three attempts. Nothing is read, made or connected before the first call.
#[derive(Debug)]
pub struct DynamoDbIdempotency {
    table: String,
    connection: Arc<Connection>,
}

impl DynamoDbIdempotency {
    /// Returns the table of this name, with region, credentials and endpoint as the environment has them.
    pub fn new(table: impl Into<String>) -> Self {
        DynamoDbIdempotency { table: table.into(), connection: Arc::default() }
    }

    /// Returns the table of this name, with region, credentials and endpoint of this configuration.
    pub fn with_config(table: impl Into<String>, config: SdkConfig) -> Self {
        let connection = Arc::new(Connection::with_config(config));
        DynamoDbIdempotency { table: table.into(), connection }
    }

    /// Returns the table of this name behind a client with time limits and attempts of its own.
    pub fn with_client(table: impl Into<String>, client: Client) -> Self {
        let connection = Arc::new(Connection::with_client(client));
        DynamoDbIdempotency { table: table.into(), connection }
    }

    async fn put(
        &self,
        entry: &IdempotencyEntry,
        condition: &str,
        values: HashMap<String, AttributeValue>,
    ) -> Result<Option<Item>, IdempotencyError> {
        let put = self.connection.client().await.put_item();
        let sent = put
            .table_name(&self.table)
            .set_item(Some(item(entry)))
            .condition_expression(condition)
            .expression_attribute_names("#owner", OWNER)
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(None),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let failed = error.into_err();
                let found = match failed {
                    aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(
                        failed,
                    ) => failed.item,
                    _ => None,
                };
                Ok(Some(found.unwrap_or_default()))
            }
            Err(error) => Err(failure(error, &self.table)),
        }
    }
}

impl IdempotencyStore for DynamoDbIdempotency {
    fn begin<'a>(
        &'a self,
        entry: &'a IdempotencyEntry,
        now_ms: u64,
    ) -> IdempotencyFuture<'a, Option<IdempotencyEntry>> {
        Box::pin(async move {
            // The last one: a try of the client whose answer was lost.
            let condition = "attribute_not_exists(id) OR expiresAt <= :now OR inProgressUntil <= :nowMs OR #owner = :owner";
            let values = HashMap::from([
                (":now".to_owned(), number_value(now_ms / 1000)),
                (":nowMs".to_owned(), number_value(now_ms)),
                (":owner".to_owned(), text_value(&entry.owner)),
            ]);
            let found = self.put(entry, condition, values).await?;
            found.map(|found| read(&found)).transpose()
        })
    }

    fn complete<'a>(&'a self, entry: &'a IdempotencyEntry) -> IdempotencyFuture<'a, ()> {
        Box::pin(async move {
            let values = HashMap::from([(":owner".to_owned(), text_value(&entry.owner))]);
            // Another call has taken its place, because this one has taken longer than its invocation.
            self.put(entry, "#owner = :owner", values).await.map(drop)
        })
    }

    fn release<'a>(&'a self, id: &'a str, owner: &'a str) -> IdempotencyFuture<'a, ()> {
        Box::pin(async move {
            let delete = self.connection.client().await.delete_item();
            let sent = delete
                .table_name(&self.table)
                .key(ID, text_value(id))
                .condition_expression("#owner = :owner")
                .expression_attribute_names("#owner", OWNER)
                .expression_attribute_values(":owner", text_value(owner))
                .send()
                .await;
            is_condition_met(sent).map(drop).map_err(|error| failure(error, &self.table))
        })
    }
}

fn failure<E>(error: SdkError<E>, table: &str) -> IdempotencyError
where
    E: ProvideErrorMetadata + Error + fmt::Debug + 'static,
{
    IdempotencyError::Store { source: Box::new(StoreFault::from(error).of_table(table)) }
}

fn item(entry: &IdempotencyEntry) -> Item {
    let mut item = Item::from([
        (ID.to_owned(), text_value(&entry.id)),
        (PAYLOAD.to_owned(), text_value(entry.payload.to_string())),
        (OWNER.to_owned(), text_value(&entry.owner)),
        (EXPIRES.to_owned(), number_value(entry.expires_ms / 1000)),
    ]);
    if let Some(until_ms) = entry.in_progress_until_ms {
        item.insert(UNTIL.to_owned(), number_value(until_ms));
    }
    item
}

fn read(item: &Item) -> Result<IdempotencyEntry, IdempotencyError> {
    let required = |name| text(item, name).and_then(|text| text.ok_or_else(|| unreadable(item, name)));
    let read = || {
        let payload = required(PAYLOAD)?;
        Ok(IdempotencyEntry {
            id: required(ID)?.to_owned(),
            payload: digest(payload).ok_or_else(|| unreadable(item, PAYLOAD))?,
            owner: required(OWNER)?.to_owned(),
            in_progress_until_ms: number(item, UNTIL)?,
            expires_ms: number(item, EXPIRES)?.ok_or_else(|| unreadable(item, EXPIRES))?.saturating_mul(1000),
        })
    };
    read().map_err(|Unreadable { attribute, found }| IdempotencyError::Item { attribute, found })
}

fn digest(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(Digest(digest))
}
