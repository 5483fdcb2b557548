use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;

use super::item;
use crate::{
    checkpoint::{CheckpointError, Row},
    dynamodb::{StoreFault, text, unreadable},
};

pub(super) async fn rows(client: &Client, table: &str) -> Result<BTreeMap<String, Row>, CheckpointError> {
    // What invocations have written up to now must be there.
    let scan = client.scan().table_name(table).consistent_read(true);
    let mut rows = BTreeMap::new();
    let mut start = None;
    loop {
        let answer = scan.clone().set_exclusive_start_key(start).send().await;
        let answer =
            answer.map_err(|error| CheckpointError::Store { source: Box::new(StoreFault::from(error)) })?;
        for item in answer.items() {
            let key = text(item, "leaseKey")?.ok_or_else(|| unreadable(item, "leaseKey"))?;
            rows.insert(key.to_owned(), item::row(item)?);
        }
        match answer.last_evaluated_key.filter(|key| !key.is_empty()) {
            Some(key) => start = Some(key),
            None => return Ok(rows),
        }
    }
}
