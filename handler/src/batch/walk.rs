use std::ops::RangeInclusive;

use kpl_deaggregation::{Content, DeaggregationCursor, Deaggregator, InvalidAggregate, UserRecord};

use crate::{
    Counts,
    batch::{payload_decoder::PayloadDecoder, stop::Failure},
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

/// A decoded Kinesis record.
#[derive(Clone, Copy)]
struct Entered<'b> {
    kinesis_record: &'b KinesisRecord<'b>,
    /// Length of its data.
    bytes: u64,
    /// `None` if it was not deaggregated: it cannot be, or Lambda has done so.
    content: Option<Content>,
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

/// A walk over the user records of a batch, at one of them.
///
/// All producers of user records are in [`entered`](Self::entered): a deaggregated record, a plain one, a record of an enhanced
/// fan-out consumer, and a Kinesis record that is a failure as a whole. Payloads and user records borrow from the event's
/// buffer, so a copy of the walk can go ahead of it.
#[derive(Clone)]
pub(crate) struct Walk<'b> {
    records: &'b [KinesisRecord<'b>],
    invocation: &'b Invocation<'b>,
    /// The user records after the current one, of the Kinesis record at the position.
    user_records: DeaggregationCursor<'b>,
    /// The position of the first user record that is not passed.
    position: BatchPosition,
    /// The Kinesis record at the position, once it is decoded.
    entered: Option<Entered<'b>>,
    /// The user record at the position, once it is looked at.
    current: Option<BatchRecord<'b>>,
}

impl<'b> Walk<'b> {
    /// Returns a walk from a position on, at which a Kinesis record begins.
    pub(crate) fn new(
        records: &'b [KinesisRecord<'b>],
        deaggregator: Deaggregator,
        invocation: &'b Invocation<'b>,
        position: BatchPosition,
    ) -> Self {
        Walk {
            records,
            invocation,
            user_records: DeaggregationCursor::new(deaggregator),
            position,
            entered: None,
            current: None,
        }
    }

    pub(crate) fn into_deaggregator(self) -> Deaggregator {
        self.user_records.into_deaggregator()
    }

    /// Returns the Kinesis records of the batch.
    pub(crate) fn records(&self) -> &'b [KinesisRecord<'b>] {
        self.records
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

    /// Decodes and deaggregates the Kinesis record at the position, unless that is done. Returns whether it was new; `None` after
    /// the last one that is decoded.
    pub(crate) fn enter(&mut self, payloads: &mut PayloadDecoder<'b>) -> Option<bool> {
        let is_new = self.entered.is_none();
        if is_new {
            if self.position.kinesis_record == payloads.end() {
                return None;
            }
            let kinesis_record = self.records.get(self.position.kinesis_record)?;
            self.entered = Some(self.entered(kinesis_record, payloads));
        }
        Some(is_new)
    }

    /// Returns the Kinesis record of the current user record.
    pub(crate) fn current_kinesis_record(&self) -> Option<&'b KinesisRecord<'b>> {
        self.entered.as_ref().map(|entered| entered.kinesis_record)
    }

    fn entered(
        &mut self,
        kinesis_record: &'b KinesisRecord<'b>,
        payloads: &mut PayloadDecoder<'b>,
    ) -> Entered<'b> {
        let mut entered = Entered { kinesis_record, bytes: 0, content: None, user_records: 1, failure: None };
        let partition_key = kinesis_record.partition_key.as_bytes();
        let (data, checksum) = match payloads.get(self.position.kinesis_record) {
            Ok(payload) => payload,
            Err(reason) => {
                entered.failure = Some(Broken::Unreadable(reason));
                self.current = Some(self.whole(kinesis_record, b""));
                return entered;
            }
        };
        entered.bytes = data.len() as u64;
        if kinesis_record.is_enhanced_fan_out() {
            // Lambda has deaggregated it, and its number is not in the event.
            self.current =
                Some(BatchRecord { sub_sequence_number: None, ..self.whole(kinesis_record, data) });
            return entered;
        }
        match self.user_records.start_verified(partition_key, data, checksum) {
            Ok(content) => {
                entered.user_records = self.user_records.len() as u64;
                entered.content = Some(content);
            }
            Err(invalid) => {
                entered.failure = Some(Broken::InvalidAggregate(invalid));
                self.current = Some(self.whole(kinesis_record, data));
            }
        }
        entered
    }

    /// Counts the Kinesis record at the position, and logs the fate of an invalid aggregate that is tolerated.
    pub(crate) fn count(&self, counts: &mut Counts) {
        let Some(entered) = &self.entered else { return };
        if let Some(Broken::Unreadable(_)) = entered.failure {
            return;
        }
        counts.kinesis_records += 1;
        counts.bytes += entered.bytes;
        if let Some(content) = entered.content {
            counts.include(content, entered.user_records);
            log_tolerated(entered.kinesis_record, content);
        } else {
            counts.invalid_aggregates += u64::from(entered.failure.is_some());
        }
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
                aggregated: entered.content == Some(Content::Aggregated),
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

    /// Notes the number of the attempt at the user record at the position, if it is known, and returns the record.
    ///
    /// # Panics
    ///
    /// As [`user_record`](Self::user_record) does.
    #[inline]
    pub(crate) fn attempted_record(&mut self, attempt: Option<u32>) -> &BatchRecord<'b> {
        let current = self.current.as_mut().expect("a user record was found");
        current.attempt = attempt;
        current
    }

    /// Returns the user record at the position, if it is looked at already.
    pub(crate) fn current(&self) -> Option<BatchRecord<'b>> {
        self.current
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

    /// Moves past the current user record.
    #[inline]
    pub(crate) fn pass(&mut self) {
        self.current = None;
        if let Some(number) = &mut self.position.sub_sequence_number {
            *number += 1;
        }
    }

    /// Moves past the Kinesis record.
    pub(crate) fn leave(&mut self) {
        let user_records_before = self.entered.take().map_or(0, |entered| entered.user_records);
        self.current = None;
        self.position = BatchPosition {
            kinesis_record: self.position.kinesis_record + 1,
            sub_sequence_number: None,
            user_records_before,
        };
    }

    /// Returns the current user record and all after it in its Kinesis record.
    pub(crate) fn rest(&mut self) -> impl Iterator<Item = UserRecord<'b>> {
        let first = self.current.map(|record| {
            let mut user_record = UserRecord::new(record.partition_key, record.data);
            user_record.explicit_hash_key = record.explicit_hash_key;
            user_record.sub_sequence_number = record.sub_sequence_number.unwrap_or(0);
            user_record
        });
        first.into_iter().chain(self.user_records.by_ref())
    }

    /// Goes to an earlier position, where the batch stops.
    pub(crate) fn stop_at(&mut self, position: BatchPosition) {
        self.position = position;
        self.entered = None;
        self.current = None;
    }
}

fn log_tolerated(kinesis_record: &KinesisRecord<'_>, content: Content) {
    let (invalid, fate) = match content {
        Content::InvalidRaw(invalid) => (invalid, "delivered raw"),
        Content::InvalidSkipped(invalid) => (invalid, "skipped"),
        Content::Plain | Content::ChecksumMismatch | Content::Aggregated => return,
    };
    tracing::warn!(
        position = %kinesis_record.position(None::<u64>),
        reason = %invalid,
        "invalid aggregated record {fate}",
    );
}
