use std::collections::BTreeMap;

use crate::{
    SequenceNumber,
    journal::{Progress, StateKind, UserRecordId},
};

/// The state that earlier invocations have left in the journal about the Kinesis records of a batch.
#[derive(Debug, Default)]
pub(crate) struct Prior {
    records: BTreeMap<SequenceNumber, PriorRecord>,
    /// Whether the journal was read: then what is not in here never failed.
    is_known: bool,
}

#[derive(Debug, Default)]
pub(crate) struct PriorRecord {
    pub(crate) progress: Progress,
    /// Version of the state that this invocation writes to, if there is one.
    pub(crate) version: Option<u64>,
    /// The states that there are.
    pub(crate) stored: Vec<StateKind>,
}

impl Prior {
    /// Makes the prior state out of entries, of which all are of records in the batch.
    pub(crate) fn known(records: BTreeMap<SequenceNumber, PriorRecord>) -> Self {
        Prior { records, is_known: true }
    }

    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    pub(crate) fn progress(&self, sequence_number: SequenceNumber) -> Option<&Progress> {
        self.records.get(&sequence_number).map(|record| &record.progress)
    }

    /// Returns the number of the next attempt, counted from one.
    pub(crate) fn attempt(&self, progress: Option<&Progress>, id: &UserRecordId) -> Option<u32> {
        let failures = progress.map_or(0, |progress| progress.failures(id));
        self.is_known.then(|| failures.saturating_add(1))
    }

    pub(crate) fn get(&self, sequence_number: SequenceNumber) -> Option<&PriorRecord> {
        self.records.get(&sequence_number)
    }

    pub(crate) fn insert(&mut self, sequence_number: SequenceNumber, record: PriorRecord) {
        self.records.insert(sequence_number, record);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SequenceNumber, &PriorRecord)> {
        self.records.iter().map(|(&sequence_number, record)| (sequence_number, record))
    }
}
