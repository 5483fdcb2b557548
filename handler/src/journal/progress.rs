use std::collections::BTreeMap;

use super::{DoneSet, UserRecordId};

/// The progress of one Kinesis record over all of its invocations, or the part that one of them adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The user records that are done: processed, or in the quarantine.
    pub done: DoneSet,
    /// Number of failures of each of the others. Absent ones never failed.
    pub attempts: BTreeMap<UserRecordId, u32>,
    /// When the first of these failed, in milliseconds since 1970.
    pub first_failure_ms: Option<u64>,
    /// Text of the last failure, shortened.
    pub last_error: Option<String>,
    /// When the stream received the Kinesis record, in milliseconds since 1970.
    pub arrival_ms: Option<u64>,
    /// Number of its user records that went to the quarantine. One with long keys counts once for each KiB of them.
    pub quarantined: u64,
}

/// Longer texts of errors are cut, in bytes.
const MAX_ERROR_BYTES: usize = 1024;

impl Progress {
    /// Makes the progress of user records that are processed, without any failure.
    pub fn done(done: DoneSet) -> Self {
        Progress { done, ..Progress::default() }
    }

    /// One more failure.
    pub(crate) fn fail(&mut self, id: UserRecordId, error: &str, now_ms: u64) {
        *self.attempts.entry(id).or_default() += 1;
        self.first_failure_ms.get_or_insert(now_ms);
        self.last_error = Some(shorten(error));
    }

    /// Adds what an invocation has done: the union of what is done, the sum of attempts. The order of two does not matter,
    /// but for the error that counts as the last.
    ///
    /// Both may count the same user records in the quarantine, so the larger number counts.
    pub fn merge(&mut self, other: &Progress) {
        self.done.merge(&other.done);
        for (id, times) in &other.attempts {
            let attempts = self.attempts.entry(*id).or_default();
            *attempts = attempts.saturating_add(*times);
        }
        // What is done fails no more.
        self.attempts.retain(|id, _| !self.done.contains(id));
        self.first_failure_ms = match (self.first_failure_ms, other.first_failure_ms) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        if other.last_error.is_some() {
            self.last_error.clone_from(&other.last_error);
        }
        self.arrival_ms = self.arrival_ms.or(other.arrival_ms);
        self.quarantined = self.quarantined.max(other.quarantined);
    }

    /// Takes in another account of the same invocations: the union of what is done, the larger number of attempts.
    pub(crate) fn include(&mut self, other: Progress) {
        let mut attempts = std::mem::take(&mut self.attempts);
        for (id, times) in &other.attempts {
            let ours = attempts.entry(*id).or_default();
            *ours = (*ours).max(*times);
        }
        self.merge(&Progress { attempts, ..other });
    }

    /// Returns the number of failures of a user record.
    pub fn failures(&self, id: &UserRecordId) -> u32 {
        self.attempts.get(id).copied().unwrap_or(0)
    }

    /// Returns the number of entries that its item has in lists: ranges and contents that are done, and failures.
    pub(crate) fn entries(&self) -> usize {
        self.done.entries() + self.attempts.len()
    }

    /// Forgets failures, and then what is done, until no more than so many entries are left: the first ones. What is forgotten is
    /// processed again.
    pub(crate) fn truncate(&mut self, entries: usize) {
        while self.entries() > entries && self.attempts.pop_last().is_some() {}
        self.done.truncate(entries);
    }

    /// Whether nothing is done and nothing has failed.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty() && self.attempts.is_empty()
    }

    /// Forgets members of an aggregate that Lambda has taken apart.
    pub(crate) fn forget(&mut self, id: &UserRecordId) {
        self.attempts.remove(id);
        if let UserRecordId::Content(hash) = id {
            self.done.remove_content(hash);
        }
    }
}

pub(crate) fn shorten(error: &str) -> String {
    if error.len() <= MAX_ERROR_BYTES {
        return error.to_owned();
    }
    let mut end = MAX_ERROR_BYTES;
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &error[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_invocations_add_up() {
        let mut one = Progress::done(DoneSet::before(2));
        one.fail(UserRecordId::Sub(2), "busy", 7);
        let mut other = Progress::done(DoneSet::before(1));
        other.fail(UserRecordId::Sub(2), "gone", 5);
        other.fail(UserRecordId::Sub(1), "gone", 5);
        one.merge(&other);
        assert_eq!(one.done, DoneSet::before(2));
        assert_eq!(one.attempts, BTreeMap::from([(UserRecordId::Sub(2), 2)]));
        assert_eq!((one.first_failure_ms, one.last_error.as_deref()), (Some(5), Some("gone")));
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let text = "ä".repeat(MAX_ERROR_BYTES);
        assert_eq!(shorten(&text), format!("{}…", "ä".repeat(MAX_ERROR_BYTES / 2)));
        assert_eq!(shorten("short"), "short");
    }
}
