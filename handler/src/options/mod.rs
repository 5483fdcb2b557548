//! How a handler works, and the environment variables that say so.

mod error;
mod variables;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

pub use error::OptionsError;
use kpl_deaggregation::DEFAULT_MAX_KEY_BYTES;

use crate::{Clock, InvalidFramePolicy, SystemClock, checkpoint::CheckpointStore, journal::JournalStore};

/// How a [`Handler`](crate::Handler) works.
///
/// Start from [`Options::default`] or [`Options::from_env`] and set fields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Who processes the stream: a name that stays the same from deployment to deployment, in every row that is
    /// stored. Two functions that share a table are told apart by it. By default empty; nothing but a store needs it.
    pub application: String,
    /// Where the checkpoint mirror is written. By default nowhere.
    ///
    /// The event source mapping must have a `ParallelizationFactor` of 1 then: the batches that overtake each other
    /// otherwise have no common position. Nothing in an event tells.
    pub checkpoints: Option<Arc<dyn CheckpointStore>>,
    /// Whether a batch whose checkpoint could not be written reports its last record, which makes Lambda deliver that
    /// record again, although it is done. By default not: the mirror is behind then until a later batch is written.
    pub checkpoint_strict: bool,
    /// Where the retry journal is kept, and with it the quarantine. By default nowhere.
    pub journal: Option<Arc<dyn JournalStore>>,
    /// Whether a user record that is given up goes into the journal's quarantine, so that the batch can go on: at once
    /// after a permanent error, after [`max_attempts`](Self::max_attempts) or [`max_age`](Self::max_age) after a retryable
    /// one. By default not: every failure is reported. Nothing without a journal.
    pub quarantine: bool,
    /// After how many failed attempts a retryable error gives a user record up. An attempt is an invocation in which the
    /// record itself failed. By default never.
    ///
    /// To be of use it must be less than the mapping's `MaximumRetryAttempts`.
    pub max_attempts: Option<NonZeroU32>,
    /// Largest number of user records of one Kinesis record that go to the quarantine one by one. By default
    /// [`DEFAULT_QUARANTINE_LIMIT`](Self::DEFAULT_QUARANTINE_LIMIT).
    ///
    /// At the next failure, the rest of the aggregate goes to the quarantine as one record, whether it would have failed
    /// or not, so that a producer cannot flood the table. An enhanced fan-out consumer stops there instead. A user record
    /// with keys of more than 1 KiB, which only an aggregate can hold, counts once for each KiB.
    pub quarantine_limit: NonZeroU32,
    /// How long after its arrival in the stream a retryable error gives a user record up, from its second failed attempt
    /// on: after an outage, the first failure of an old record proves nothing. By default never.
    pub max_age: Option<Duration>,
    /// The mapping's `ParallelizationFactor`; nothing in an event tells. If it is 1, a state in the journal that lies
    /// before a batch is one that the mapping has discarded, and is kept as a hole. By default unknown.
    pub parallelization_factor: Option<NonZeroU32>,
    /// How long before the function's deadline the handler stops and reports the first unfinished record; at most half
    /// of the time that is left when an event arrives; with a journal or a mirror at least 100 ms, in which they write.
    /// Default one second.
    pub deadline_margin: Duration,
    /// What becomes of a Kinesis record that looks aggregated and has illegal content. By default it fails.
    pub invalid_frame: InvalidFramePolicy,
    /// The most bytes that the keys of all user records of an aggregate may have together; with more it is invalid. By default
    /// 1 GiB, which no event with legal keys reaches.
    pub max_key_bytes: u64,
    /// Where time comes from. By default the system.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// Default of [`quarantine_limit`](Self::quarantine_limit): about 5,000 write units.
    pub const DEFAULT_QUARANTINE_LIMIT: NonZeroU32 = NonZeroU32::new(2_500).expect("not zero");
}

impl Default for Options {
    fn default() -> Self {
        Options {
            application: String::new(),
            checkpoints: None,
            checkpoint_strict: false,
            journal: None,
            quarantine: false,
            quarantine_limit: Options::DEFAULT_QUARANTINE_LIMIT,
            max_attempts: None,
            max_age: None,
            parallelization_factor: None,
            deadline_margin: Duration::from_secs(1),
            invalid_frame: InvalidFramePolicy::default(),
            max_key_bytes: DEFAULT_MAX_KEY_BYTES,
            clock: Arc::new(SystemClock),
        }
    }
}
