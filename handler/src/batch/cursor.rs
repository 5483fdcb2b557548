use std::ops::RangeInclusive;

use kpl_deaggregation::{Content, DeaggregationCursor, Deaggregator, InvalidAggregate, UserRecord, encode};

use crate::{
    Counts, Record,
    batch::{
        payload_decoder::PayloadDecoder,
        stop::{Failure, StopReason},
    },
    event::{KinesisRecord, UnreadableRecord},
    invocation::Invocation,
    journal::{DoneSet, UserRecordId},
    record::BatchRecord,
};

/// The sub-sequence numbers of an invalid aggregate: it is one user record, however many the producer packed into it.
const WHOLE_KINESIS_RECORD: RangeInclusive<u64> = 0..=u64::MAX;

/// A position in a batch: that of a user record, or the end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchPosition {
    /// Index of the Kinesis record in the event.
    pub(crate) kinesis_record: usize,
    /// Number of the user record in its Kinesis record. `None` if nothing of the Kinesis record is processed, or if the
    /// number is not known: on an enhanced fan-out consumer.
    pub(crate) sub_sequence_number: Option<u64>,
    /// Number of user records in the Kinesis record before: on an enhanced fan-out consumer, one.
    pub(crate) user_records_before: u64,
}

/// The user records of a batch that are processed or queued for the quarantine.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Passed {
    pub(crate) position: BatchPosition,
    /// As in [`Cursor`].
    begun: u64,
}

/// A cursor over the user records of a batch, which keeps the current one.
///
/// It only moves forward. Each Kinesis record is decoded, deaggregated and counted once, because the cursor outlives the
/// futures in which the records are processed: after a failure, a panic or a cancellation, the record that failed and the
/// rest of its aggregate are still here. Payloads and user records borrow from the event's buffer.
///
/// All producers of user records are in [`enter`](Self::enter): a deaggregated record, a plain one, a record of an enhanced
/// fan-out consumer, and a Kinesis record that is a failure as a whole. Whoever decodes several Kinesis records at once does it
/// there.
pub(crate) struct Cursor<'b> {
    records: &'b [KinesisRecord<'b>],
    invocation: &'b Invocation<'b>,
    payloads: PayloadDecoder<'b>,
    /// The user records after the current one, of the Kinesis record at the position.
    user_records: DeaggregationCursor<'b>,
    /// The position of the first user record that is neither processed nor queued for the quarantine.
    position: BatchPosition,
    /// The Kinesis record at the position, once it is decoded.
    entered: Option<Entered<'b>>,
    /// The user record at the position, once it is looked at.
    current: Option<BatchRecord<'b>>,
    /// Number of user records that the processor was called with; at least one after a write to the quarantine.
    begun: u64,
    /// Whether the processor has not returned from the last of them.
    is_in_flight: bool,
}

/// A decoded Kinesis record.
struct Entered<'b> {
    kinesis_record: &'b KinesisRecord<'b>,
    is_aggregated: bool,
    user_records: u64,
    /// The failure of a Kinesis record that cannot be deaggregated.
    failure: Option<Broken>,
}

/// A fault of a Kinesis record as a whole.
#[derive(Debug, Clone, Copy)]
enum Broken {
    Unreadable(UnreadableRecord),
    InvalidAggregate(InvalidAggregate),
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
            records,
            invocation,
            payloads,
            user_records: DeaggregationCursor::new(deaggregator),
            position: passed.position,
            entered: None,
            current: None,
            begun: passed.begun,
            is_in_flight: false,
        }
    }

    /// Returns what the cursor over the next Kinesis records continues with.
    pub(crate) fn into_parts(self) -> (Passed, PayloadDecoder<'b>, Deaggregator) {
        let passed = Passed { position: self.position, begun: self.begun };
        (passed, self.payloads, self.user_records.into_deaggregator())
    }

    /// Whether all Kinesis records of the batch are passed.
    pub(crate) fn is_at_end(&self) -> bool {
        self.position.kinesis_record == self.records.len()
    }

    pub(crate) fn position(&self) -> BatchPosition {
        self.position
    }

    pub(crate) fn invocation(&self) -> &'b Invocation<'b> {
        self.invocation
    }

    /// Returns the data of any Kinesis record of the batch.
    pub(crate) fn payload(&mut self, index: usize) -> Result<&'b [u8], UnreadableRecord> {
        self.payloads.get(index).map(|(data, _)| data)
    }

    /// Returns the Kinesis record at the position, and decodes, deaggregates and counts it if it is new. `None` after the
    /// last one that is decoded.
    pub(crate) fn kinesis_record(&mut self, counts: &mut Counts) -> Option<&'b KinesisRecord<'b>> {
        if self.entered.is_none() {
            if self.position.kinesis_record == self.payloads.end() {
                return None;
            }
            self.enter(self.records.get(self.position.kinesis_record)?, counts);
        }
        self.current_kinesis_record()
    }

    /// Returns the Kinesis record of the current user record.
    pub(crate) fn current_kinesis_record(&self) -> Option<&'b KinesisRecord<'b>> {
        self.entered.as_ref().map(|entered| entered.kinesis_record)
    }

    fn enter(&mut self, kinesis_record: &'b KinesisRecord<'b>, counts: &mut Counts) {
        let mut entered = Entered { kinesis_record, is_aggregated: false, user_records: 1, failure: None };
        let partition_key = kinesis_record.partition_key.as_bytes();
        match self.payloads.get(self.position.kinesis_record) {
            Err(reason) => {
                entered.failure = Some(Broken::Unreadable(reason));
                self.current = Some(self.whole(kinesis_record, b""));
            }
            Ok((data, checksum)) => {
                counts.kinesis_records += 1;
                counts.bytes += data.len() as u64;
                if kinesis_record.is_enhanced_fan_out() {
                    // Lambda has deaggregated it, and its number is not in the event.
                    let record =
                        BatchRecord { sub_sequence_number: None, ..self.whole(kinesis_record, data) };
                    self.current = Some(record);
                } else {
                    match self.user_records.start_verified(partition_key, data, checksum) {
                        Ok(content) => {
                            entered.user_records = self.user_records.len() as u64;
                            entered.is_aggregated = content == Content::Aggregated;
                            counts.include(content, entered.user_records);
                            self.log_tolerated(kinesis_record, content);
                        }
                        Err(invalid) => {
                            counts.invalid_aggregates += 1;
                            entered.failure = Some(Broken::InvalidAggregate(invalid));
                            self.current = Some(self.whole(kinesis_record, data));
                        }
                    }
                }
            }
        }
        self.entered = Some(entered);
    }

    /// Returns the Kinesis record as the one user record that it is.
    fn whole(&self, kinesis_record: &'b KinesisRecord<'b>, data: &'b [u8]) -> BatchRecord<'b> {
        BatchRecord {
            data,
            partition_key: kinesis_record.partition_key.as_bytes(),
            explicit_hash_key: None,
            sub_sequence_number: Some(0),
            aggregated: false,
            attempt: None,
            kinesis_record,
            invocation: self.invocation,
        }
    }

    /// Finds the user record at the position, unless it is found already. Returns whether there is one: otherwise none is left
    /// in the Kinesis record.
    #[inline]
    pub(crate) fn find_user_record(&mut self) -> bool {
        if self.current.is_none() {
            let Some(entered) = &self.entered else { return false };
            let Some(user_record) = self.user_records.next() else { return false };
            let UserRecord { data, partition_key, explicit_hash_key, sub_sequence_number, .. } = user_record;
            self.position.sub_sequence_number = Some(sub_sequence_number);
            self.current = Some(BatchRecord {
                data,
                partition_key,
                explicit_hash_key,
                sub_sequence_number: Some(sub_sequence_number),
                aggregated: entered.is_aggregated,
                attempt: None,
                kinesis_record: entered.kinesis_record,
                invocation: self.invocation,
            });
        }
        true
    }

    /// Returns the user record at the position.
    ///
    /// # Panics
    ///
    /// If [`find_user_record`](Self::find_user_record) has found none. To continue without it would skip records silently.
    #[inline]
    pub(crate) fn user_record(&self) -> &BatchRecord<'b> {
        self.current.as_ref().expect("a user record was found")
    }

    /// Returns the failure of the current user record, if it has failed already because its Kinesis record is broken.
    #[inline]
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.entered.as_ref()?.failure.map(|broken| match broken {
            Broken::Unreadable(reason) => Failure::Unreadable(reason),
            Broken::InvalidAggregate(invalid) => Failure::InvalidAggregate(invalid),
        })
    }

    /// Whether the current user record is in the set.
    pub(crate) fn is_in(&self, done: &DoneSet) -> bool {
        let Some(record) = &self.current else { return false };
        match (self.entered.as_ref().and_then(|entered| entered.failure), record.sub_sequence_number) {
            (Some(Broken::Unreadable(_)), _) => false,
            // The first user records may be done by themselves: the aggregate was valid under other options.
            (Some(Broken::InvalidAggregate(_)), _) => done.contains_range(WHOLE_KINESIS_RECORD),
            // A fan-out consumer may have read the stream before: it is redriven in the shape of a standard mapping's events.
            (None, Some(number)) => {
                done.contains_sub(number) || done.contains_content(record.partition_key, record.data)
            }
            (None, None) => done.contains(&UserRecordId::of(record)),
        }
    }

    /// Returns the sub-sequence numbers that the current user record stands for.
    pub(crate) fn sub_sequence_numbers(&self) -> RangeInclusive<u64> {
        let broken = self.entered.as_ref().and_then(|entered| entered.failure);
        let number = self.current.and_then(|record| record.sub_sequence_number).unwrap_or(0);
        if broken.is_some() { WHOLE_KINESIS_RECORD } else { number..=number }
    }

    /// Notes that the processor is called with the current user record, and returns it. `attempt` is the number of the attempt,
    /// if it is known.
    #[inline]
    ///
    /// # Panics
    ///
    /// As [`user_record`](Self::user_record) does.
    pub(crate) fn begin(&mut self, attempt: Option<u32>) -> Record<'_> {
        self.begun += 1;
        self.is_in_flight = true;
        let current = self.current.as_mut().expect("a user record was found");
        current.attempt = attempt;
        Record::of_batch(current)
    }

    /// Notes that user records were written to the quarantine. It is progress, and the next user record does not have the whole
    /// time, even if the processor was not called yet because these were broken.
    pub(crate) fn note_quarantined(&mut self) {
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
        self.current.filter(|_| is_its_fault)
    }

    /// Moves past the current user record.
    #[inline]
    pub(crate) fn pass(&mut self) {
        self.is_in_flight = false;
        self.current = None;
        if let Some(number) = &mut self.position.sub_sequence_number {
            *number += 1;
        }
    }

    /// Moves past the Kinesis record.
    pub(crate) fn leave(&mut self) {
        let user_records_before = self.entered.take().map_or(0, |entered| entered.user_records);
        self.current = None;
        self.is_in_flight = false;
        self.position = BatchPosition {
            kinesis_record: self.position.kinesis_record + 1,
            sub_sequence_number: None,
            user_records_before,
        };
    }

    /// Moves past the current user record and all after it in its Kinesis record, and returns those that are not done as an
    /// aggregate, so that each key is in it once.
    pub(crate) fn take_rest(&mut self, done: Option<&DoneSet>) -> RestOfAggregate {
        let first = self.current.map(|record| {
            let mut user_record = UserRecord::new(record.partition_key, record.data);
            user_record.explicit_hash_key = record.explicit_hash_key;
            user_record
        });
        let is_left = |record: &UserRecord<'_>| {
            done.is_none_or(|done| {
                !done.contains_sub(record.sub_sequence_number)
                    && !done.contains_content(record.partition_key, record.data)
            })
        };
        let mut user_records = 0;
        let rest = first.into_iter().chain(self.user_records.by_ref().filter(is_left));
        let data = encode(rest.inspect(|_| user_records += 1)).unwrap_or_default();
        let from = self.position.sub_sequence_number.unwrap_or(0);
        self.leave();
        let through = self.position.user_records_before.saturating_sub(1);
        RestOfAggregate { data, user_records, sub_sequence_numbers: from..=through }
    }

    /// Returns to an earlier position, where the batch stops: that of a user record which could not be quarantined.
    pub(crate) fn stop_at(&mut self, position: BatchPosition) {
        self.position = position;
        self.entered = None;
        self.current = None;
    }

    fn log_tolerated(&self, kinesis_record: &KinesisRecord<'_>, content: Content) {
        let (invalid, fate) = match content {
            Content::InvalidRaw(invalid) => (invalid, "delivered raw"),
            Content::InvalidSkipped(invalid) => (invalid, "skipped"),
            Content::Plain | Content::ChecksumMismatch | Content::Aggregated => return,
        };
        tracing::warn!(
            sequenceNumber = %kinesis_record.sequence_number,
            reason = %invalid,
            "invalid aggregated record {fate}",
        );
    }
}

/// The user records of an aggregate from one on, as an aggregate.
pub(crate) struct RestOfAggregate {
    pub(crate) data: Vec<u8>,
    pub(crate) user_records: u64,
    /// The range from the first of them to the last of the original aggregate.
    pub(crate) sub_sequence_numbers: RangeInclusive<u64>,
}
