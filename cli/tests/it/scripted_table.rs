use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use serde_json::{Value, json};

use crate::{
    scripted_kinesis::{Answer, error},
    scripted_stream::{ARN, SHARD},
};

/// The application of the items.
pub(crate) const APPLICATION: &str = "orders";

/// A journal's table in memory, as far as the commands use DynamoDB's API.
#[derive(Debug, Default)]
pub(crate) struct ScriptedTable {
    items: Mutex<BTreeMap<(String, String), Value>>,
}

impl ScriptedTable {
    pub(crate) fn of(items: impl IntoIterator<Item = Value>) -> Self {
        let table = ScriptedTable::default();
        for item in items {
            table.put(item);
        }
        table
    }

    pub(crate) fn put(&self, item: Value) {
        self.lock().insert(key(&item), item);
    }

    /// The sort keys of all items.
    pub(crate) fn sort_keys(&self) -> Vec<String> {
        self.lock().keys().map(|(_, sort_key)| sort_key.clone()).collect()
    }

    /// Returns the answer of the API. Panics for an operation that the commands have no use for.
    pub(crate) fn answer(&self, operation: &str, request: &Value) -> Answer {
        match operation {
            "Scan" => (200, json!({ "Items": self.lock().values().collect::<Vec<_>>() })),
            "Query" => (200, json!({ "Items": self.query(request) })),
            "DeleteItem" => {
                let key = key(&request["Key"]);
                let mut items = self.lock();
                if !holds(request, items.get(&key).unwrap_or(&json!({}))) {
                    return error(400, "ConditionalCheckFailedException");
                }
                items.remove(&key);
                (200, json!({}))
            }
            other => panic!("{other} is not scripted"),
        }
    }

    fn query(&self, request: &Value) -> Vec<Value> {
        let values = &request["ExpressionAttributeValues"];
        let value = |name: &str| values[name]["S"].as_str();
        let is_wanted = |(partition_key, sort_key): &(String, String)| {
            Some(partition_key.as_str()) == value(":pk")
                && value(":prefix").is_none_or(|prefix| sort_key.starts_with(prefix))
                && value(":first").is_none_or(|first| sort_key.as_str() >= first)
                && value(":last").is_none_or(|last| sort_key.as_str() <= last)
        };
        self.lock().iter().filter(|(key, _)| is_wanted(key)).map(|(_, item)| item.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Value>> {
        self.items.lock().expect("no panic while locked")
    }
}

fn key(item: &Value) -> (String, String) {
    let text = |name: &str| item[name]["S"].as_str().expect("a key").to_owned();
    (text("pk"), text("sk"))
}

/// Whether the item meets the request's condition, which has `OR`, `AND`, `=`, `<` and `attribute_not_exists`.
fn holds(request: &Value, item: &Value) -> bool {
    let Some(condition) = request["ConditionExpression"].as_str() else { return true };
    let name = |name: &str| match name.strip_prefix('#') {
        Some(_) => request["ExpressionAttributeNames"][name].as_str().expect("a name").to_owned(),
        None => name.to_owned(),
    };
    let number = |value: &Value| value["N"].as_str().and_then(|digits| digits.parse::<u64>().ok());
    let is_less = |left: &str, right: &str| {
        let value = number(&request["ExpressionAttributeValues"][right.trim_matches([')', ' '])]);
        number(&item[name(left)]).zip(value).is_some_and(|(left, right)| left < right)
    };
    let term = |term: &str| match term.trim_matches(['(', ' ']).split_once(" = ") {
        None if term.contains(" < ") => {
            term.trim_matches(['(', ' ']).split_once(" < ").is_some_and(|(left, right)| is_less(left, right))
        }
        Some((left, right)) => {
            item[name(left)] == request["ExpressionAttributeValues"][right.trim_matches([')', ' '])]
        }
        None => {
            let absent = term.trim_matches(' ').strip_prefix("attribute_not_exists(").expect("a known term");
            item.get(name(absent.trim_end_matches(')'))).is_none()
        }
    };
    condition.split(" OR ").any(|all| all.split(" AND ").all(term))
}

/// The partition key of a shard of the stream.
pub(crate) fn partition_key(shard_id: &str) -> String {
    format!("{APPLICATION}#{ARN}#{shard_id}")
}

/// A number as it is part of sort keys.
pub(crate) fn ordered(number: u64) -> String {
    let digits = number.to_string();
    format!("{:02}{digits}", digits.len())
}

/// A quarantined user record of an aggregate; with sub-sequence number `None`, a plain Kinesis record.
pub(crate) fn quarantined(sequence_number: u64, sub_sequence_number: Option<u64>, data: &str) -> Value {
    use base64::prelude::*;
    let (content, sub) = match sub_sequence_number {
        Some(number) => ("aggregated", number),
        None => ("plain", 0),
    };
    json!({
        "pk": { "S": partition_key(SHARD) },
        "sk": { "S": format!("Q#{}#{}", ordered(sequence_number), ordered(sub)) },
        "sequenceNumber": { "S": sequence_number.to_string() },
        "subSequenceNumber": { "N": sub.to_string() },
        "content": { "S": content },
        "reason": { "S": "permanent" },
        "error": { "S": "asked to" },
        "attempts": { "N": "1" },
        "quarantinedAt": { "N": "1767225600000" },
        "requestId": { "S": "r" },
        "partitionKey": { "B": BASE64_STANDARD.encode("k") },
        "bytes": { "N": data.len().to_string() },
        "parts": { "N": "0" },
        "data": { "B": BASE64_STANDARD.encode(data) },
    })
}

/// The state of a Kinesis record of which the first user record is processed and the second one has failed.
pub(crate) fn state(kind: char, shard_id: &str, sequence_number: u64, updated_ms: u64) -> Value {
    json!({
        "pk": { "S": partition_key(shard_id) },
        "sk": { "S": format!("{kind}#{}", ordered(sequence_number)) },
        "sequenceNumber": { "S": sequence_number.to_string() },
        "version": { "N": "1" },
        "writtenBy": { "S": "w" },
        "updatedAt": { "N": updated_ms.to_string() },
        "expiresAt": { "N": "4102444800" },
        "arrivalAt": { "N": updated_ms.to_string() },
        "done": { "S": "0" },
        "attempts": { "M": { "1": { "N": "1" } } },
        "lastError": { "S": "asked to" },
    })
}
