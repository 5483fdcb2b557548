use std::{collections::BTreeMap, ops::Range};

use crate::{
    batch::{stop::Failure, walk::BatchPosition},
    record::BatchRecord,
};

/// The outcomes of user records beyond the cursor, where several are processed at once.
///
/// They outlive the futures in which the records are processed. The cursor passes them when it arrives there.
#[derive(Default)]
pub(crate) struct Ahead<'b> {
    outcomes: BTreeMap<Place, AheadRecord<'b>>,
    /// The first of those that failed.
    first_failed: Option<Place>,
}

/// A user record that was processed ahead of the cursor.
pub(crate) struct AheadRecord<'b> {
    /// The record, with the number of this attempt.
    pub(crate) record: BatchRecord<'b>,
    pub(crate) result: Result<(), Failure>,
}

/// The order of user records in a batch: index of the Kinesis record, and number of the user record in it.
pub(crate) type Place = (usize, u64);

/// Returns the place of a position. Where sub-sequence numbers are not known, each Kinesis record is one user record.
#[inline]
pub(crate) fn place(position: BatchPosition) -> Place {
    (position.kinesis_record, position.sub_sequence_number.unwrap_or(0))
}

impl<'b> Ahead<'b> {
    pub(crate) fn len(&self) -> usize {
        self.outcomes.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    pub(crate) fn contains(&self, place: Place) -> bool {
        self.outcomes.contains_key(&place)
    }

    /// Whether a user record that precedes this place has failed.
    pub(crate) fn has_failed_before(&self, place: Place) -> bool {
        self.first_failed.is_some_and(|failed| failed < place)
    }

    /// Whether the user record at this position is the first of those that failed.
    pub(crate) fn has_failed_at(&self, position: BatchPosition) -> bool {
        self.first_failed.is_some_and(|failed| failed == place(position))
    }

    pub(crate) fn insert(&mut self, place: Place, record: BatchRecord<'b>, result: Result<(), Failure>) {
        if result.is_err() && self.first_failed.is_none_or(|failed| place < failed) {
            self.first_failed = Some(place);
        }
        self.outcomes.insert(place, AheadRecord { record, result });
    }

    /// Returns the outcome of the user record at this place, if it has one, and forgets it.
    pub(crate) fn take(&mut self, position: BatchPosition) -> Option<AheadRecord<'b>> {
        let taken = self.outcomes.remove(&place(position))?;
        if taken.result.is_err() {
            self.find_first_failed();
        }
        Some(taken)
    }

    /// Returns the outcomes of the user records of these Kinesis records with their places, in the order of the batch, and
    /// forgets them.
    pub(crate) fn take_all(&mut self, kinesis_records: Range<usize>) -> Vec<(Place, AheadRecord<'b>)> {
        let places = (kinesis_records.start, 0)..(kinesis_records.end, 0);
        let taken = self.outcomes.extract_if(places, |_, _| true).collect();
        self.find_first_failed();
        taken
    }

    fn find_first_failed(&mut self) {
        let failed = self.outcomes.iter().find(|(_, outcome)| outcome.result.is_err());
        self.first_failed = failed.map(|(&place, _)| place);
    }
}
