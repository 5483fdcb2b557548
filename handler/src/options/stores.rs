use std::{num::NonZeroU32, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{OptionsError, builder::in_range};
use crate::{checkpoint::CheckpointStore, journal::JournalStore};

/// Most failed attempts: a mapping cannot retry more often.
const ATTEMPTS: RangeInclusive<u32> = 1..=10_000;

/// More user records of an aggregate in one entry could exceed DynamoDB's limit for an item.
const QUARANTINE_LIMITS: RangeInclusive<u32> = 1..=5_000;

/// A stream keeps records for at most a year.
const AGES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 60 * 60);

/// The retry journal: its store and, inside it, the quarantine.
///
/// ```
/// use std::{sync::Arc, time::Duration};
///
/// use kinesis_handler::{JournalOptions, Options, QuarantineOptions, journal::MemoryJournal};
///
/// # fn main() -> Result<(), kinesis_handler::OptionsError> {
/// let quarantine = QuarantineOptions::default().max_attempts(5).max_age(Duration::from_secs(3600));
/// let journal = JournalOptions::new(Arc::new(MemoryJournal::default())).quarantine(quarantine);
/// let options = Options::builder().application("orders").journal(journal).build()?;
/// # let _ = options;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct JournalOptions {
    pub(super) store: Arc<dyn JournalStore>,
    pub(super) quarantine: Option<QuarantineOptions>,
}

impl JournalOptions {
    /// Returns the options of a journal in this store, without a quarantine: every failure is reported to Lambda.
    pub fn new(store: Arc<dyn JournalStore>) -> Self {
        JournalOptions { store, quarantine: None }
    }

    /// Moves user records that failed for good into the quarantine, which is part of the journal, so that the batch can
    /// continue: at once after a permanent error, and after [`max_attempts`](QuarantineOptions::max_attempts) or
    /// [`max_age`](QuarantineOptions::max_age) after a retryable one.
    pub fn quarantine(mut self, quarantine: QuarantineOptions) -> Self {
        self.quarantine = Some(quarantine);
        self
    }
}

/// The quarantine: when a user record has failed for good, and how many of a Kinesis record it takes.
///
/// By default only permanent errors put a record into the quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineOptions {
    pub(super) limit: u32,
    pub(super) max_attempts: Option<u32>,
    pub(super) max_age: Option<Duration>,
    pub(super) hold: bool,
}

impl QuarantineOptions {
    /// Default of [`limit`](Self::limit): about 5,000 write units of DynamoDB.
    pub const DEFAULT_LIMIT: NonZeroU32 = NonZeroU32::new(2_500).expect("not zero");

    /// Sets the number of failed attempts (1 to 10000) after which a record with a retryable error is quarantined. An
    /// attempt is an invocation in which the record itself failed. By default a retryable error never is.
    ///
    /// It should be less than the mapping's `MaximumRetryAttempts`, which otherwise discards the record first.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Sets the age, since the arrival in the stream, from which a record with a retryable error is quarantined, at its
    /// second failed attempt or later: after an outage, the first failure of an old record proves nothing. One second to
    /// 365 days; by default age does not matter.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Quarantines later user records of a quarantined one's partition key, too, in order and without processing them, until the
    /// end of the batch: for events that only make sense in sequence. By default they are processed.
    ///
    /// The next batch knows nothing of it. A chunk has at most one user record of each partition key then.
    pub fn hold(mut self) -> Self {
        self.hold = true;
        self
    }

    /// Sets the largest number of user records of one Kinesis record (1 to 5000) that are quarantined one by one. By default
    /// [`DEFAULT_LIMIT`](Self::DEFAULT_LIMIT).
    ///
    /// At the next failure, the rest of the aggregate is quarantined as one record, whether it would have failed or not, so
    /// that a producer cannot flood the table. An enhanced fan-out consumer stops there instead. A user record with keys of
    /// more than 1 KiB, which only an aggregate can hold, counts once for each KiB.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Checks the values, and returns those that are numbers: the limit and the attempts.
    pub(super) fn check(&self) -> Result<(NonZeroU32, Option<NonZeroU32>), OptionsError> {
        if let Some(age) = self.max_age {
            check_age("max_age", age)?;
        }
        let limit = in_range("quarantine_limit", self.limit, QUARANTINE_LIMITS, "a number from 1 to 5000")?;
        let attempts = self
            .max_attempts
            .map(|attempts| in_range("max_attempts", attempts, ATTEMPTS, "a number from 1 to 10000"))
            .transpose()?;
        Ok((limit, attempts))
    }
}

/// Checks an age of records.
pub(super) fn check_age(option: &'static str, age: Duration) -> Result<(), OptionsError> {
    match AGES.contains(&age) {
        true => Ok(()),
        false => Err(OptionsError::value(option, age.as_secs(), "1 to 31536000 seconds")),
    }
}

impl Default for QuarantineOptions {
    fn default() -> Self {
        QuarantineOptions { limit: Self::DEFAULT_LIMIT.get(), max_attempts: None, max_age: None, hold: false }
    }
}

/// The checkpoint mirror: the store that it is written to.
#[derive(Debug, Clone)]
pub struct MirrorOptions {
    pub(super) store: Arc<dyn CheckpointStore>,
    pub(super) is_strict: bool,
    pub(super) skips_frozen: bool,
}

impl MirrorOptions {
    /// Returns the options of a mirror in this store. If a checkpoint cannot be written, the mirror is behind until a later
    /// batch is written.
    pub fn new(store: Arc<dyn CheckpointStore>) -> Self {
        MirrorOptions { store, is_strict: false, skips_frozen: false }
    }

    /// Reports the last record of a batch as failed if its checkpoint could not be written. Lambda then delivers that record
    /// again, although it has been processed.
    pub fn strict(mut self) -> Self {
        self.is_strict = true;
        self
    }

    /// Skips what was processed before a cut-over to a new event source mapping, which starts at a time and so delivers some of it
    /// again: what is at or before the [frozen position](crate::checkpoint::FrozenPosition) of its shard.
    ///
    /// The handler [reads](CheckpointStore::read) a shard's row for its first batch in this environment, and after a pause of half a
    /// minute. The checkpoint that passes the frozen position removes it, which ends the cut-over of the shard. If the row cannot
    /// be read, records are processed twice; with [`strict`](Self::strict), the invocation fails instead.
    ///
    /// An enhanced fan-out consumer processes the Kinesis record at the position again, because it does not know the numbers of
    /// user records.
    pub fn cutover(mut self) -> Self {
        self.skips_frozen = true;
        self
    }
}
