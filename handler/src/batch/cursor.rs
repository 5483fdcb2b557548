use std::{collections::HashSet, ops::RangeInclusive};

use kpl_deaggregation::{Deaggregator, UserRecord, encode};

use crate::{
    Counts, Record, SequenceNumber,
    batch::{
        payload_decoder::PayloadDecoder,
        stop::{Failure, StopReason},
        walk::{BatchPosition, Walk},
    },
    checkpoint::FrozenPosition,
    event::{KinesisRecord, UnreadableRecord},
    invocation::Invocation,
    journal::{ContentHash, DoneSet, UserRecordId},
    record::BatchRecord,
};

/// The user records of a batch that are processed or queued for the quarantine.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Passed {
    pub(crate) position: BatchPosition,
    /// As in [`Cursor`].
    begun: u64,
}

impl Passed {
    /// Returns the position after the Kinesis records that were processed before a cut-over.
    pub(crate) fn before_cutover(records: &[KinesisRecord<'_>], frozen: Option<FrozenPosition>) -> Self {
        let covered = |record: &&KinesisRecord<'_>| {
            frozen.is_some_and(|frozen| frozen.covers_record(record.sequence_number))
        };
        let kinesis_record = records.iter().take_while(covered).count();
        Passed { position: BatchPosition { kinesis_record, ..BatchPosition::default() }, begun: 0 }
    }
}

/// A cursor over the user records of a batch: all before it is processed or queued for the quarantine.
///
/// It only moves forward. Each Kinesis record is decoded, deaggregated and counted once, because the cursor outlives the
/// futures in which the records are processed: after a failure, a panic or a cancellation, the record that failed and the
/// rest of its aggregate are still here.
pub(crate) struct Cursor<'b> {
    walk: Walk<'b>,
    payloads: PayloadDecoder<'b>,
    /// Number of Kinesis records up to the last one that is counted.
    counted: usize,
    /// Number of user records that the processor was called with; at least one after a write to the quarantine, and after
    /// one was skipped.
    begun: u64,
    /// Whether the processor has not returned from the last of them.
    is_in_flight: bool,
}

impl<'b> Cursor<'b> {
    /// Returns a cursor over the user records after those that were passed, up to the last Kinesis record that `payloads`
    /// decodes.
    pub(crate) fn new(
        records: &'b [KinesisRecord<'b>],
        payloads: PayloadDecoder<'b>,
        deaggregator: Deaggregator,
        invocation: &'b Invocation<'b>,
        passed: Passed,
    ) -> Self {
        Cursor {
            walk: Walk::new(records, deaggregator, invocation, passed.position),
            payloads,
            counted: 0,
            begun: passed.begun,
            is_in_flight: false,
        }
    }

    /// Returns what the cursor over the next Kinesis records continues with.
    pub(crate) fn into_parts(self) -> (Passed, PayloadDecoder<'b>, Deaggregator) {
        let passed = Passed { position: self.position(), begun: self.begun };
        (passed, self.payloads, self.walk.into_deaggregator())
    }

    /// Whether all Kinesis records of the batch are passed.
    pub(crate) fn is_at_end(&self) -> bool {
        self.walk.is_at_end()
    }

    /// Returns the walk at the cursor's position, and what decodes the Kinesis records for a copy of it that goes ahead.
    pub(crate) fn parts(&mut self) -> (&Walk<'b>, &mut PayloadDecoder<'b>) {
        (&self.walk, &mut self.payloads)
    }

    pub(crate) fn walk(&self) -> &Walk<'b> {
        &self.walk
    }

    pub(crate) fn position(&self) -> BatchPosition {
        self.walk.position()
    }

    pub(crate) fn invocation(&self) -> &'b Invocation<'b> {
        self.walk.invocation()
    }

    /// Returns the data of any Kinesis record of the batch.
    pub(crate) fn payload(&mut self, index: usize) -> Result<&'b [u8], UnreadableRecord> {
        self.payloads.get(index).map(|(data, _)| data)
    }

    /// Returns the Kinesis record at the position, and decodes, deaggregates and counts it if it is new. `None` after the
    /// last one that is decoded.
    pub(crate) fn kinesis_record(&mut self, counts: &mut Counts) -> Option<&'b KinesisRecord<'b>> {
        if self.walk.enter(&mut self.payloads)? {
            self.walk.count(counts);
            self.counted = self.position().kinesis_record + 1;
        }
        self.walk.current_kinesis_record()
    }

    /// Counts the Kinesis record at this index, of which user records were processed ahead, unless it is counted. Called in the order
    /// of the batch.
    pub(crate) fn count_ahead(&mut self, kinesis_record: usize, counts: &mut Counts) {
        if kinesis_record < self.counted {
            return;
        }
        self.counted = kinesis_record + 1;
        let mut walk = self.walk.clone();
        walk.stop_at(BatchPosition { kinesis_record, ..BatchPosition::default() });
        if walk.enter(&mut self.payloads).is_some() {
            walk.count(counts);
        }
    }

    /// Whether a Kinesis record is entered and not left.
    #[inline]
    pub(crate) fn is_in_kinesis_record(&self) -> bool {
        self.walk.current_kinesis_record().is_some()
    }

    /// Finds the user record at the position, as [`Walk::find_user_record`] does.
    #[inline]
    pub(crate) fn find_user_record(&mut self) -> bool {
        self.walk.find_user_record()
    }

    /// Notes that the processor is called with the current user record, and returns it. `attempt` is the number of the attempt,
    /// if it is known.
    ///
    /// # Panics
    ///
    /// As [`Walk::user_record`] does.
    #[inline]
    pub(crate) fn begin(&mut self, attempt: Option<u32>) -> Record<'_> {
        self.begun += 1;
        self.is_in_flight = true;
        Record::of_batch(self.walk.attempted_record(attempt))
    }

    /// Whether the processor has not returned from the current user record.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.is_in_flight
    }

    /// Notes that user records were written to the quarantine or skipped. It is progress, and the next user record does not have the
    /// whole time, even if the processor was not called yet because these were broken.
    pub(crate) fn note_progress(&mut self) {
        self.begun = self.begun.max(1);
    }

    pub(crate) fn has_begun_any(&self) -> bool {
        self.begun > 0
    }

    /// Returns the user record that failed for this reason. `None` if the reason is not its fault, so that it is not a failed
    /// attempt: a panic outside of the processor, or a deadline that other records have brought near.
    pub(crate) fn failed_record(&self, reason: &StopReason) -> Option<BatchRecord<'b>> {
        let is_its_fault = match reason {
            StopReason::Failed(Failure::Panic(_)) => self.is_in_flight,
            StopReason::Failed(_) => true,
            StopReason::Deadline => self.is_in_flight && self.begun == 1,
            StopReason::DeadlineBeforeFirst => false,
        };
        self.walk.current().filter(|_| is_its_fault)
    }

    /// Moves past the current user record.
    #[inline]
    pub(crate) fn pass(&mut self) {
        self.is_in_flight = false;
        self.walk.pass();
    }

    /// Moves past the Kinesis record.
    pub(crate) fn leave(&mut self) {
        self.is_in_flight = false;
        self.walk.leave();
    }

    /// Moves past the current user record and all after it in its Kinesis record, and returns the current one and those that
    /// are not done as an aggregate, so that each key is in it once. Those of other shards are passed over.
    pub(crate) fn take_rest(&mut self, done: &DoneSet) -> RestOfAggregate {
        let from = self.position().sub_sequence_number.unwrap_or(0);
        let range = self.invocation().hash_range.range();
        let mut out_of_range = Vec::new();
        let is_left = |record: &UserRecord<'_>| {
            let number = record.sub_sequence_number;
            if range.is_some_and(|range| !record.belongs_to(range)) {
                out_of_range.push(number);
                return false;
            }
            number == from
                || !done.contains_sub(number) && !done.contains_content(record.partition_key, record.data)
        };
        let mut user_records = 0;
        let mut partition_keys = HashSet::new();
        let rest = self.walk.rest().filter(is_left).inspect(|record| {
            user_records += 1;
            if !partition_keys.contains(record.partition_key) {
                partition_keys.insert(record.partition_key.to_vec());
            }
        });
        let data = encode(rest).unwrap_or_default();
        self.leave();
        let through = self.position().user_records_before.saturating_sub(1);
        let sub_sequence_numbers = from..=through;
        RestOfAggregate { data, user_records, partition_keys, sub_sequence_numbers, out_of_range }
    }

    /// Returns the user records of an enhanced fan-out consumer from the position on, except those of these Kinesis records.
    pub(crate) fn members_but(
        &mut self,
        kinesis_records: &HashSet<usize>,
    ) -> HashSet<(SequenceNumber, UserRecordId)> {
        let mut members = HashSet::new();
        let first = self.position().kinesis_record;
        for (index, record) in self.walk.records().iter().enumerate().skip(first) {
            if record.is_enhanced_fan_out()
                && !kinesis_records.contains(&index)
                && let Ok(data) = self.payload(index)
            {
                let hash = ContentHash::new(record.partition_key.as_bytes(), data);
                members.insert((record.sequence_number, UserRecordId::Content(hash)));
            }
        }
        members
    }

    /// Returns to an earlier position, where the batch stops: that of a user record which could not be quarantined.
    pub(crate) fn stop_at(&mut self, position: BatchPosition) {
        self.walk.stop_at(position);
    }
}

/// The user records of an aggregate from one on, as an aggregate.
pub(crate) struct RestOfAggregate {
    pub(crate) data: Vec<u8>,
    pub(crate) user_records: u64,
    /// Their partition keys.
    pub(crate) partition_keys: HashSet<Vec<u8>>,
    /// The range from the first of them to the last of the original aggregate.
    pub(crate) sub_sequence_numbers: RangeInclusive<u64>,
    /// Those among them that belong to other shards.
    pub(crate) out_of_range: Vec<u64>,
}
