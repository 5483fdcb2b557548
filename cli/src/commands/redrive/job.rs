use std::cell::{Cell, RefCell};

use super::{
    report::{Counts, RedriveFate},
    source::Found,
};

/// A failure record in work.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) found: Found,
    /// Its number in this run.
    pub(super) number: Cell<u64>,
    /// Kinesis records that wait for their event.
    pub(super) waiting: Cell<u64>,
    /// Whether all of its Kinesis records have been handed over for delivery.
    pub(super) is_read: Cell<bool>,
    /// The text that identifies it in the progress file, if it is a failure record.
    key: Option<String>,
    counts: Cell<Counts>,
    /// Problem that was found first.
    problem: RefCell<Option<RedriveFate>>,
}

impl Job {
    pub(super) fn new(found: Found) -> Self {
        Job {
            key: found.key(),
            found,
            number: Cell::new(0),
            waiting: Cell::new(0),
            is_read: Cell::new(false),
            counts: Cell::default(),
            problem: RefCell::default(),
        }
    }

    /// Notes the first problem. If some records are lost, the others are delivered; after any other problem, nothing is.
    pub(super) fn fail(&self, fate: RedriveFate) {
        let mut problem = self.problem.borrow_mut();
        if matches!(*problem, None | Some(RedriveFate::Lost { .. })) {
            *problem = Some(fate);
        }
    }

    /// Whether nothing more of it is delivered.
    pub(super) fn is_stopped(&self) -> bool {
        !matches!(*self.problem.borrow(), None | Some(RedriveFate::Lost { .. }))
    }

    /// Whether records of it are gone, and nothing else is wrong.
    pub(super) fn has_lost(&self) -> bool {
        matches!(*self.problem.borrow(), Some(RedriveFate::Lost { .. }))
    }

    /// Returns the text by which the progress file knows how far it is processed.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Returns the text by which the progress file knows that records of it are gone.
    pub(super) fn loss_key(&self) -> Option<String> {
        self.key.as_ref().map(|key| format!("lost {key}"))
    }

    /// Returns the text by which the progress file knows the parts that are processed of a record that is too large for an event.
    pub(super) fn parts_key(&self) -> Option<String> {
        self.key.as_ref().map(|key| format!("parts {key}"))
    }

    /// Returns the text for the same parts, after user records were passed over.
    pub(super) fn skipped_parts_key(&self) -> Option<String> {
        self.key.as_ref().map(|key| format!("skipped parts {key}"))
    }

    /// Returns the text by which the progress file knows how many user records were passed over in parts.
    pub(super) fn skipped_key(&self) -> Option<String> {
        self.key.as_ref().map(|key| format!("skipped in parts {key}"))
    }

    pub(super) fn is_finished(&self) -> bool {
        self.is_read.get() && self.waiting.get() == 0
    }

    /// Its outcome, once it is finished; `otherwise`, if there is no problem.
    pub(super) fn fate(&self, otherwise: RedriveFate) -> RedriveFate {
        let otherwise = match self.counts.get().skipped {
            0 => otherwise,
            records => RedriveFate::Skipped { records },
        };
        self.problem.borrow().clone().unwrap_or(otherwise)
    }

    /// Whether user records of it were passed over.
    pub(super) fn has_skipped(&self) -> bool {
        self.counts.get().skipped > 0
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.get()
    }

    pub(super) fn count_found(&self, found: u64) {
        self.counts.set(Counts { found: Some(found), ..self.counts.get() });
    }

    pub(super) fn count_delivered(&self, records: u64) {
        let counts = self.counts.get();
        self.counts.set(Counts { delivered: counts.delivered + records, ..counts });
    }

    /// Adds user records that were passed over.
    pub(super) fn count_skipped(&self, records: u64) {
        let counts = self.counts.get();
        self.counts.set(Counts { skipped: counts.skipped + records, ..counts });
    }

    /// Adds user records that the function put into its quarantine. It is called with 0 if the function says that there
    /// are none.
    pub(super) fn count_quarantined(&self, records: u64) {
        let counts = self.counts.get();
        let quarantined = Some(counts.quarantined.unwrap_or_default().saturating_add(records));
        self.counts.set(Counts { quarantined, ..counts });
    }
}
