use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use super::{ContentHash, UserRecordId};

/// The set of user records of a Kinesis record that are processed.
///
/// Sub-sequence numbers are kept as ranges: one after the other is the rule, and a set of a million costs no more than
/// one of two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoneSet {
    /// First and last of each range. No two of them touch.
    ranges: BTreeMap<u64, u64>,
    contents: BTreeSet<ContentHash>,
}

impl DoneSet {
    /// The user records before this sub-sequence number.
    pub fn before(sub_sequence_number: u64) -> Self {
        let mut done = DoneSet::default();
        if let Some(last) = sub_sequence_number.checked_sub(1) {
            done.insert_range(0, last);
        }
        done
    }

    /// Whether the user record is done.
    pub fn contains(&self, id: &UserRecordId) -> bool {
        match id {
            UserRecordId::Sub(number) => self.contains_sub(*number),
            UserRecordId::Content(hash) => self.contents.contains(hash),
        }
    }

    pub(crate) fn contains_sub(&self, number: u64) -> bool {
        self.contains_range(number..=number)
    }

    /// Whether all user records with these sub-sequence numbers are done.
    pub(crate) fn contains_range(&self, numbers: RangeInclusive<u64>) -> bool {
        let range = self.ranges.range(..=numbers.start()).next_back();
        range.is_some_and(|(_, last)| numbers.end() <= last)
    }

    /// Whether an enhanced fan-out consumer, which knows user records by their content, has processed one that is alike.
    pub(crate) fn contains_content(&self, partition_key: &[u8], data: &[u8]) -> bool {
        !self.contents.is_empty() && self.contents.contains(&ContentHash::new(partition_key, data))
    }

    /// Adds a user record.
    pub fn insert(&mut self, id: UserRecordId) {
        match id {
            UserRecordId::Sub(number) => self.insert_range(number, number),
            UserRecordId::Content(hash) => drop(self.contents.insert(hash)),
        }
    }

    /// Adds the user records from the first to the last of these sub-sequence numbers.
    ///
    /// # Panics
    ///
    /// If the last is less than the first.
    pub fn insert_range(&mut self, first: u64, last: u64) {
        assert!(first <= last, "a range from {first} to {last}");
        let (mut first, mut last) = (first, last);
        // What it touches or overlaps becomes part of it: ranges that begin no later than just behind its end, as long
        // as they end no earlier than just before its beginning.
        while let Some((&start, &end)) = self.ranges.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            self.ranges.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.ranges.insert(first, last);
    }

    /// Adds all that the other one has.
    pub fn merge(&mut self, other: &DoneSet) {
        for (first, last) in other.ranges() {
            self.insert_range(first, last);
        }
        self.contents.extend(&other.contents);
    }

    /// Whether all that the other one has is in this one.
    pub(crate) fn covers(&self, other: &DoneSet) -> bool {
        let mut union = self.clone();
        union.merge(other);
        union == *self
    }

    pub(crate) fn remove_content(&mut self, hash: &ContentHash) {
        self.contents.remove(hash);
    }

    /// Returns the number of its ranges and contents.
    pub(crate) fn entries(&self) -> usize {
        self.ranges.len() + self.contents.len()
    }

    /// Forgets contents, and then ranges, until no more than so many are left: the first ones.
    pub(crate) fn truncate(&mut self, entries: usize) {
        while self.entries() > entries && self.contents.pop_last().is_some() {}
        while self.entries() > entries && self.ranges.pop_last().is_some() {}
    }

    /// Whether nothing is done.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.contents.is_empty()
    }

    /// First and last sub-sequence number of each range, in ascending order. No two of them overlap or touch.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.iter().map(|(&first, &last)| (first, last))
    }

    /// Members of an aggregate that Lambda has taken apart (enhanced fan-out), by their content.
    pub fn contents(&self) -> impl Iterator<Item = &ContentHash> {
        self.contents.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_of_what_was_added(
            ranges in vec((0..60u64, 0..6u64), 0..20),
            others in vec((0..60u64, 0..6u64), 0..20),
        ) {
            let set = |ranges: &[(u64, u64)]| {
                let mut set = DoneSet::default();
                for &(first, more) in ranges {
                    set.insert_range(first, first + more);
                }
                set
            };
            let plain = |ranges: &[(u64, u64)]| -> BTreeSet<u64> {
                ranges.iter().flat_map(|&(first, more)| first..=first + more).collect()
            };
            let (mut done, other) = (set(&ranges), set(&others));
            let (mut expected, other_expected) = (plain(&ranges), plain(&others));
            prop_assert_eq!(done.covers(&other), expected.is_superset(&other_expected));
            done.merge(&other);
            expected.extend(other_expected);
            for number in 0..70 {
                prop_assert_eq!(done.contains(&UserRecordId::Sub(number)), expected.contains(&number));
            }
            let ranges: Vec<_> = done.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", ranges);
            prop_assert_eq!(done.is_empty(), expected.is_empty());
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_no_trap() {
        let mut done = DoneSet::default();
        done.insert(UserRecordId::Sub(u64::MAX));
        done.insert_range(0, 3);
        assert_eq!(done.ranges().collect::<Vec<_>>(), [(0, 3), (u64::MAX, u64::MAX)]);
        done.insert_range(4, u64::MAX - 1);
        assert_eq!(done.ranges().collect::<Vec<_>>(), [(0, u64::MAX)]);
        assert_eq!(DoneSet::before(0), DoneSet::default());
        assert_eq!(DoneSet::before(2).ranges().collect::<Vec<_>>(), [(0, 1)]);
    }
}
