//! Options of a handler, and the environment variables that set them.

mod builder;
mod error;
mod large_payloads;
mod stores;
mod variables;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

pub use builder::OptionsBuilder;
pub use error::OptionsError;
use kpl_deaggregation::DEFAULT_MAX_KEY_BYTES;
pub use large_payloads::LargePayloadOptions;
pub(crate) use large_payloads::LargePayloads;
pub use stores::{JournalOptions, MirrorOptions, QuarantineOptions};

use crate::{
    Clock, Hooks, InvalidAggregatePolicy, SystemClock, VectorInstructions,
    batch::concurrent::ConcurrencyLimits, checkpoint::CheckpointStore, compression::DecompressionLimits,
    hash_range::ShardRangeSource, journal::JournalStore,
};

/// The options of a [`Handler`](crate::Handler): a valid combination.
///
/// They are made by [`Options::builder`] or, from environment variables, by [`Options::from_env`]. The default has neither a
/// journal nor a mirror.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) application: String,
    pub(crate) checkpoints: Option<Arc<dyn CheckpointStore>>,
    pub(crate) checkpoint_strict: bool,
    pub(crate) cutover: bool,
    pub(crate) journal: Option<Arc<dyn JournalStore>>,
    pub(crate) quarantine: bool,
    pub(crate) hold: bool,
    pub(crate) max_attempts: Option<NonZeroU32>,
    pub(crate) quarantine_limit: NonZeroU32,
    pub(crate) max_age: Option<Duration>,
    pub(crate) skip_failed_after: Option<Duration>,
    pub(crate) parallelization_factor: Option<NonZeroU32>,
    pub(crate) deadline_margin: Duration,
    pub(crate) invalid_aggregate: InvalidAggregatePolicy,
    pub(crate) max_key_bytes: u64,
    pub(crate) concurrency: NonZeroU32,
    pub(crate) look_ahead: NonZeroU32,
    pub(crate) retry_attempts: NonZeroU32,
    pub(crate) vector_instructions: VectorInstructions,
    pub(crate) decompresses: bool,
    pub(crate) decompression: DecompressionLimits,
    pub(crate) replay_positions: Option<Arc<dyn CheckpointStore>>,
    pub(crate) large_payloads: Option<Arc<LargePayloads>>,
    pub(crate) shard_ranges: Option<Arc<dyn ShardRangeSource>>,
    pub(crate) log_buffer_bytes: u32,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hooks: Hooks,
}

impl Options {
    /// Returns a builder, with defaults for everything.
    pub fn builder() -> OptionsBuilder {
        OptionsBuilder::default()
    }

    /// Sets functions that a handler calls when something happens to a batch, instead of those that are set. By default there are
    /// none.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Whether something is to happen around each call of the processor.
    pub(crate) fn attend_records(&self) -> bool {
        self.hooks.observe_records() || self.retry_attempts > NonZeroU32::MIN
    }

    /// Returns the bounds of processing several user records at once; `None` if it is one after the other.
    pub(crate) fn concurrency(&self) -> Option<ConcurrencyLimits> {
        let limit = |number: NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
        let limits =
            ConcurrencyLimits { concurrency: limit(self.concurrency), look_ahead: limit(self.look_ahead) };
        (limits.concurrency > 1).then_some(limits)
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            application: String::new(),
            checkpoints: None,
            checkpoint_strict: false,
            cutover: false,
            journal: None,
            quarantine: false,
            hold: false,
            quarantine_limit: QuarantineOptions::DEFAULT_LIMIT,
            max_attempts: None,
            max_age: None,
            skip_failed_after: None,
            parallelization_factor: None,
            deadline_margin: Duration::from_secs(1),
            invalid_aggregate: InvalidAggregatePolicy::default(),
            max_key_bytes: DEFAULT_MAX_KEY_BYTES,
            concurrency: NonZeroU32::MIN,
            look_ahead: OptionsBuilder::DEFAULT_LOOK_AHEAD,
            retry_attempts: NonZeroU32::MIN,
            vector_instructions: VectorInstructions::default(),
            decompresses: false,
            decompression: DecompressionLimits::default(),
            replay_positions: None,
            large_payloads: None,
            shard_ranges: None,
            log_buffer_bytes: 0,
            clock: Arc::new(SystemClock),
            hooks: Hooks::default(),
        }
    }
}
