use std::{error::Error, fmt, sync::Arc};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
};

use super::{CircuitError, CircuitFuture, CircuitStore, OpenCircuit};
use crate::aws::{
    Connection, Item, StoreFault, Unreadable, is_condition_met, number, number_value, text, text_value,
    unreadable,
};

const ID: &str = "id";
const SINCE: &str = "sinceMs";
const UNTIL: &str = "untilMs";
const ERROR: &str = "error";

/// The time after which DynamoDB may delete an item that nobody has closed, in seconds: the function is gone.
const KEPT_S: u64 = 24 * 60 * 60;

/// A store in a DynamoDB table: HASH key `id` (text), no sort key, time to live in `expiresAt`.
///
/// It may be the table of [idempotency](crate::idempotency). It needs the permissions `GetItem`, `UpdateItem` and `DeleteItem` on the
/// table. An invocation takes one strongly consistent read. Connecting and each attempt take at most one second; there are at most
/// three attempts. Nothing is read, made or connected before the first call.
#[derive(Debug)]
pub struct DynamoDbCircuits {
    table: String,
    connection: Arc<Connection>,
}

impl DynamoDbCircuits {
    /// Returns the table of this name, with region, credentials and endpoint as the environment has them.
    pub fn new(table: impl Into<String>) -> Self {
        DynamoDbCircuits { table: table.into(), connection: Arc::default() }
    }

    /// Returns the table of this name, with region, credentials and endpoint of this configuration.
    pub fn with_config(table: impl Into<String>, config: SdkConfig) -> Self {
        let connection = Arc::new(Connection::with_config(config));
        DynamoDbCircuits { table: table.into(), connection }
    }

    /// Returns the table of this name behind a client with time limits and attempts of its own.
    pub fn with_client(table: impl Into<String>, client: Client) -> Self {
        let connection = Arc::new(Connection::with_client(client));
        DynamoDbCircuits { table: table.into(), connection }
    }
}

impl CircuitStore for DynamoDbCircuits {
    fn read<'a>(&'a self, id: &'a str) -> CircuitFuture<'a, Option<OpenCircuit>> {
        Box::pin(async move {
            let get = self.connection.client().await.get_item();
            let sent = get.table_name(&self.table).key(ID, text_value(id)).consistent_read(true).send().await;
            let found = sent.map_err(|error| failure(error, &self.table))?.item;
            found.map(|item| circuit(&item)).transpose()
        })
    }

    fn open<'a>(&'a self, id: &'a str, circuit: &'a OpenCircuit) -> CircuitFuture<'a, ()> {
        Box::pin(async move {
            let update = self.connection.client().await.update_item();
            let sent = update
                .table_name(&self.table)
                .key(ID, text_value(id))
                .update_expression(
                    "SET sinceMs = if_not_exists(sinceMs, :since), untilMs = :until, #error = :error, expiresAt = :expires",
                )
                .condition_expression("attribute_not_exists(untilMs) OR untilMs < :until")
                .expression_attribute_names("#error", ERROR)
                .expression_attribute_values(":since", number_value(circuit.since_ms))
                .expression_attribute_values(":until", number_value(circuit.until_ms))
                .expression_attribute_values(":error", text_value(&circuit.error))
                .expression_attribute_values(":expires", number_value(expires_s(circuit.until_ms)))
                .send()
                .await;
            is_condition_met(sent).map(drop).map_err(|error| failure(error, &self.table))
        })
    }

    fn claim<'a>(&'a self, id: &'a str, read_until_ms: u64, until_ms: u64) -> CircuitFuture<'a, bool> {
        Box::pin(async move {
            let update = self.connection.client().await.update_item();
            let sent = update
                .table_name(&self.table)
                .key(ID, text_value(id))
                .update_expression("SET untilMs = :until, expiresAt = :expires")
                .condition_expression("untilMs = :read")
                .expression_attribute_values(":read", number_value(read_until_ms))
                .expression_attribute_values(":until", number_value(until_ms))
                .expression_attribute_values(":expires", number_value(expires_s(until_ms)))
                .send()
                .await;
            is_condition_met(sent).map_err(|error| failure(error, &self.table))
        })
    }

    fn close<'a>(&'a self, id: &'a str, until_ms: u64) -> CircuitFuture<'a, ()> {
        Box::pin(async move {
            let delete = self.connection.client().await.delete_item();
            let sent = delete
                .table_name(&self.table)
                .key(ID, text_value(id))
                .condition_expression("untilMs = :until")
                .expression_attribute_values(":until", number_value(until_ms))
                .send()
                .await;
            is_condition_met(sent).map(drop).map_err(|error| failure(error, &self.table))
        })
    }
}

fn expires_s(until_ms: u64) -> u64 {
    until_ms / 1000 + KEPT_S
}

fn failure<E>(error: SdkError<E>, table: &str) -> CircuitError
where
    E: ProvideErrorMetadata + Error + fmt::Debug + 'static,
{
    CircuitError::Store { source: Box::new(StoreFault::from(error).of_table(table)) }
}

fn circuit(item: &Item) -> Result<OpenCircuit, CircuitError> {
    let number = |name| number(item, name).and_then(|number| number.ok_or_else(|| unreadable(item, name)));
    let read = || {
        let error = text(item, ERROR)?.ok_or_else(|| unreadable(item, ERROR))?.to_owned();
        Ok(OpenCircuit { since_ms: number(SINCE)?, until_ms: number(UNTIL)?, error })
    };
    read().map_err(|Unreadable { attribute, found }| CircuitError::Item { attribute, found })
}
