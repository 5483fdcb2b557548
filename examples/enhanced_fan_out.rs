//! An enhanced fan-out consumer: Lambda deaggregates KPL records before it invokes the function, and the positions of the user
//! records inside them are lost. Several records share a sequence number then, so idempotence needs an ID of its own.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use kinesis_handler::{ProcessError, Record, RecordProcessor, run, tracing};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    id: String,
}

/// A processor that acts on each order once, by the order's own ID. A real one keeps the IDs in a database, in the same
/// transaction as the effect.
#[derive(Default)]
struct Once {
    seen: Mutex<HashSet<String>>,
}

impl RecordProcessor for Once {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let order: Order = record.json()?;
        let is_new = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(order.id.clone());
        if is_new {
            // `None` on an enhanced fan-out consumer: no key for idempotence.
            let sub_sequence_number = record.position().sub_sequence_number;
            tracing::info!(order = order.id, sub_sequence_number, "reserved");
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    run(Once::default()).await
}
