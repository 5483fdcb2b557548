use std::collections::HashSet;

use kinesis_handler::journal::{QuarantineReason, QuarantinedContent, QuarantinedRecord};
use kpl_deaggregation::Deaggregator;

/// Partition keys of a shard's records that have failed in this run, so that those that are held behind them have to wait.
#[derive(Debug, Default)]
pub(super) struct FailedKeys(HashSet<Vec<u8>>);

impl FailedKeys {
    /// Notes a record that was not processed.
    pub(super) fn note(&mut self, record: &QuarantinedRecord) {
        self.0.extend(partition_keys(record));
    }

    /// Whether a record was quarantined only because an earlier one of its partition key was, and one of that key has failed.
    pub(super) fn hold(&self, record: &QuarantinedRecord) -> bool {
        record.reason == QuarantineReason::Held
            && !self.0.is_empty()
            && partition_keys(record).iter().any(|key| self.0.contains(key))
    }
}

/// The partition keys of a record: the rest of an aggregate has those of its user records.
fn partition_keys(record: &QuarantinedRecord) -> Vec<Vec<u8>> {
    let mut keys = vec![record.partition_key.clone()];
    if record.content == QuarantinedContent::RestOfAggregate
        && let Ok(user_records) = Deaggregator::default().deaggregate(&record.partition_key, &record.data)
    {
        keys.extend(user_records.map(|user_record| user_record.partition_key.to_vec()));
    }
    keys
}
