//! Options that tests change one by one.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use kinesis_handler::{
    Clock, InvalidAggregatePolicy, JournalOptions, MirrorOptions, Options, QuarantineOptions,
    checkpoint::CheckpointStore, journal::JournalStore,
};

/// The options of a handler before they are built. What is absent keeps its default.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestOptions {
    pub(crate) application: Option<String>,
    pub(crate) checkpoints: Option<Arc<dyn CheckpointStore>>,
    pub(crate) checkpoint_strict: bool,
    pub(crate) cutover: bool,
    pub(crate) journal: Option<Arc<dyn JournalStore>>,
    pub(crate) quarantine: bool,
    pub(crate) hold: bool,
    pub(crate) quarantine_limit: Option<u32>,
    pub(crate) max_attempts: Option<NonZeroU32>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) skip_failed_after: Option<Duration>,
    pub(crate) parallelization_factor: Option<NonZeroU32>,
    pub(crate) deadline_margin: Option<Duration>,
    pub(crate) invalid_aggregate: InvalidAggregatePolicy,
    pub(crate) max_key_bytes: Option<u64>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) look_ahead: Option<u32>,
    pub(crate) retry_attempts: Option<u32>,
    pub(crate) replays: Option<Arc<dyn CheckpointStore>>,
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

impl TestOptions {
    pub(crate) fn build(&self) -> Options {
        let mut quarantine = QuarantineOptions::default();
        if let Some(limit) = self.quarantine_limit {
            quarantine = quarantine.limit(limit);
        }
        if let Some(attempts) = self.max_attempts {
            quarantine = quarantine.max_attempts(attempts.get());
        }
        if let Some(age) = self.max_age {
            quarantine = quarantine.max_age(age);
        }
        if self.hold {
            quarantine = quarantine.hold();
        }
        let mut builder = Options::builder().invalid_aggregate(self.invalid_aggregate);
        if let Some(application) = &self.application {
            builder = builder.application(application);
        }
        if let Some(store) = &self.journal {
            let journal = JournalOptions::new(Arc::clone(store));
            builder = builder.journal(if self.quarantine { journal.quarantine(quarantine) } else { journal });
        }
        if let Some(store) = &self.checkpoints {
            let mirror = MirrorOptions::new(Arc::clone(store));
            let mirror = if self.cutover { mirror.cutover() } else { mirror };
            builder = builder.mirror(if self.checkpoint_strict { mirror.strict() } else { mirror });
        }
        if let Some(factor) = self.parallelization_factor {
            builder = builder.parallelization_factor(factor.get());
        }
        if let Some(margin) = self.deadline_margin {
            builder = builder.deadline_margin(margin);
        }
        if let Some(bytes) = self.max_key_bytes {
            builder = builder.max_key_bytes(bytes);
        }
        if let Some(age) = self.skip_failed_after {
            builder = builder.skip_failed_after(age);
        }
        if let Some(number) = self.concurrency {
            builder = builder.concurrency(number);
        }
        if let Some(number) = self.look_ahead {
            builder = builder.look_ahead(number);
        }
        if let Some(number) = self.retry_attempts {
            builder = builder.retry_attempts(number);
        }
        if let Some(positions) = &self.replays {
            builder = builder.replays(Arc::clone(positions));
        }
        if let Some(clock) = &self.clock {
            builder = builder.clock(Arc::clone(clock));
        }
        builder.build().expect("a legal combination")
    }
}
