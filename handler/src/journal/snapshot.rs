use std::collections::BTreeMap;

use crate::{
    SequenceNumber,
    checkpoint::FrozenPosition,
    journal::{Progress, StateKind, UserRecordId},
    record::BatchRecord,
};

/// A copy of the journal's entries for the Kinesis records of a batch, with what this invocation has written.
#[derive(Debug, Default)]
pub(crate) struct JournalSnapshot {
    records: BTreeMap<SequenceNumber, RecordSnapshot>,
    /// Whether the journal was read: then a record without an entry has never failed.
    is_read: bool,
}

/// A copy of the journal's entries for one Kinesis record.
#[derive(Debug, Default)]
pub(crate) struct RecordSnapshot {
    pub(crate) progress: Progress,
    /// Version of the state that this invocation writes to, if there is one.
    pub(crate) version: Option<u64>,
    /// The states that there are.
    pub(crate) stored: Vec<StateKind>,
}

impl JournalSnapshot {
    /// Makes a snapshot of a journal that was read, out of entries for records of the batch.
    pub(crate) fn new(records: BTreeMap<SequenceNumber, RecordSnapshot>) -> Self {
        JournalSnapshot { records, is_read: true }
    }

    /// Adds the user records of a Kinesis record that were processed before a cut-over.
    pub(crate) fn include_frozen(&mut self, frozen: Option<FrozenPosition>) {
        if let Some(through) = frozen.and_then(|frozen| frozen.through) {
            let record = self.records.entry(through.sequence_number).or_default();
            record.progress.done.insert_range(0, through.sub_sequence_number);
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        self.is_read
    }

    pub(crate) fn progress(&self, sequence_number: SequenceNumber) -> Option<&Progress> {
        self.records.get(&sequence_number).map(|record| &record.progress)
    }

    /// Returns the number of a user record's next attempt, counted from one, given the progress of its Kinesis record. `None`
    /// if the journal was not read.
    #[inline]
    pub(crate) fn attempt(&self, progress: Option<&Progress>, record: &BatchRecord<'_>) -> Option<u32> {
        let failures = |progress: &Progress| progress.failures(&UserRecordId::of(record));
        self.is_read.then(|| progress.map_or(0, failures).saturating_add(1))
    }

    pub(crate) fn get(&self, sequence_number: SequenceNumber) -> Option<&RecordSnapshot> {
        self.records.get(&sequence_number)
    }

    pub(crate) fn insert(&mut self, sequence_number: SequenceNumber, record: RecordSnapshot) {
        self.records.insert(sequence_number, record);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SequenceNumber, &RecordSnapshot)> {
        self.records.iter().map(|(&sequence_number, record)| (sequence_number, record))
    }
}
