//! Hooks: functions that are called when something happens to a batch. This one counts the fates of user records for the whole
//! environment, and logs them at the end of each batch.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use kinesis_handler::{BatchOutcome, Function, Hooks, ProcessError, Record, RecordFate, tracing};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    quantity: u64,
}

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    let order: Order = record.json()?;
    tracing::debug!(items = order.quantity, "ordered");
    Ok(())
}

/// Numbers of user records since the environment was started, by fate.
#[derive(Clone, Default)]
struct Totals(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Totals {
    fn add(&self, batch: &BatchOutcome) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for record in &batch.records {
            let fate = match record.fate {
                RecordFate::Processed => "processed",
                RecordFate::Failed { .. } => "failed",
                _ => "other",
            };
            *totals.entry(fate).or_default() += 1;
        }
        tracing::info!(totals = ?*totals, "batch ended");
    }
}

fn hooks(totals: Totals) -> Hooks {
    Hooks::new()
        .on_shard_start(async |shard| {
            tracing::info!(shard = shard.shard_id, "first batch of a shard in this environment");
        })
        .on_record_failed(
            |record, error| tracing::warn!(position = %record.position(), %error, "record failed"),
        )
        .on_batch_end(move |batch| {
            totals.add(&batch);
            async {}
        })
}

#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    Function::new(process)
        .hooks(hooks(Totals::default()))
        .on_start(|| async {
            tracing::info!("the environment starts");
            Ok(())
        })
        .on_shutdown(|| async { tracing::info!("the environment ends") })
        .run()
        .await
}

#[cfg(test)]
mod tests {
    use kinesis_handler::{Handler, Options, testing::TestBatch};

    use super::*;

    #[tokio::test]
    async fn fates_are_counted() {
        let totals = Totals::default();
        let options = Options::default().with_hooks(hooks(totals.clone()));
        let batch = TestBatch::new().record(r#"{"quantity":1}"#).record("no order").record("not reached");
        batch.run_with(&Handler::with_options(process, options)).await;
        let totals = totals.0.lock().expect("no panic while locked").clone();
        assert_eq!(totals, BTreeMap::from([("failed", 1), ("other", 1), ("processed", 1)]));
    }
}
