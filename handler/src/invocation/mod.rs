//! One call of the function: its ID, its time, and the deadline guard.

pub(crate) mod alarm;
pub(crate) mod clock;
pub(crate) mod deadline;

use std::{
    borrow::Cow,
    error::Error,
    sync::{Arc, OnceLock},
    time::Duration,
};

use lambda_runtime::Context;
use tokio::time::Instant;

use crate::{
    Clock, Options, RecordFate,
    batch::{ahead::Place, failure_rules::SkipRule, fates::FateLog},
    checkpoint::FrozenPosition,
    compression::DecompressionLimits,
    event::KinesisRecord,
    hash_range::filter::BatchRange,
    journal::JournalError,
    large_payload::LargePayloads,
};

/// The longest time that an invocation is taken to have; Lambda's own limit is 90 minutes.
const MAX_LEFT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The margin before the deadline if there is a store, at least: without any, what a batch has done up to then could not
/// be written.
const MIN_STORE_TIME: Duration = Duration::from_millis(100);

/// One call of the function: who it is and how much time it has.
#[derive(Debug, Clone)]
pub(crate) struct Invocation<'a> {
    pub(crate) request_id: Cow<'a, str>,
    /// The application of the options; may be empty.
    pub(crate) application: Cow<'a, str>,
    /// Whether the event is one of `kinesis-kit` that may hold parts of aggregates.
    pub(crate) is_reprocessing: bool,
    /// Whether the event is one of a replay on Lambda, whose application this is.
    pub(crate) is_replay: bool,
    /// Trace ID of X-Ray. `None` if Lambda has sent none.
    pub(crate) xray_trace_id: Option<Cow<'a, str>>,
    /// Name of the stream. `None` until the event is read.
    pub(crate) stream: Option<&'a str>,
    /// ID of the shard. `None` until the event is read.
    pub(crate) shard_id: Option<&'a str>,
    pub(crate) arrived: Instant,
    /// When the deadline guard stops the batch. `None` without a deadline, as outside of Lambda.
    pub(crate) stop_at: Option<Instant>,
    /// When Lambda ends the invocation. `None` as `stop_at`.
    pub(crate) deadline: Option<Instant>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Bound of all stores together, drawn once.
    pub(crate) store_by: OnceLock<Option<Instant>>,
    /// The position of the shard that a cut-over has frozen. `None` if there is none, and until it is read.
    pub(crate) frozen: Option<FrozenPosition>,
    /// Fates of user records. `None` if nobody wants to know them.
    pub(crate) fates: Option<Arc<FateLog>>,
    /// Rule by which user records that have failed are skipped. `None` if none is.
    pub(crate) skip_rule: Option<SkipRule>,
    /// Hash keys of the user records that are processed.
    pub(crate) hash_range: BatchRange,
    /// Bounds of what a payload may decompress to.
    pub(crate) decompression: DecompressionLimits,
    /// Large payloads that may be fetched. `None` if none may.
    pub(crate) large_payloads: Option<Arc<LargePayloads>>,
}

/// Makes a span with the IDs of an invocation. A log line shows its innermost span alone, so that of a stage has them, too.
macro_rules! span {
    ($level:ident, $invocation:expr, $name:literal) => {
        tracing::$level!(
            $name,
            requestId = &*$invocation.request_id,
            xrayTraceId = $invocation.xray_trace_id.as_deref(),
            stream = $invocation.stream,
            shardId = $invocation.shard_id
        )
    };
}

/// Makes the span of an invocation, which has the highest level, because a filter that disables a span takes the IDs from
/// the lines inside it.
macro_rules! invocation_span {
    ($invocation:expr) => {
        crate::invocation::span!(error_span, $invocation, "invocation")
    };
}

/// Makes the span of a stage of an invocation.
macro_rules! stage_span {
    ($invocation:expr, $name:literal) => {
        crate::invocation::span!(debug_span, $invocation, $name)
    };
}
pub(crate) use {invocation_span, span, stage_span};

impl<'a> Invocation<'a> {
    pub(crate) fn arrive(context: &'a Context, options: &'a Options) -> Self {
        let clock = Arc::clone(&options.clock);
        let arrived = clock.instant();
        // Lambda never delivers an event whose deadline has passed. Contexts of unit tests have the deadline 0, and
        // `cargo lambda watch` gives all the same deadline, ten minutes after the start of 1970.
        let left = context.deadline.checked_sub(clock.epoch_ms()).filter(|&left| left > 0);
        // Instants cannot hold every deadline that a stand-in for Lambda may send.
        let left = left.map(|left| Duration::from_millis(left).min(MAX_LEFT));
        let has_store =
            options.journal.is_some() || options.checkpoints.is_some() || options.replay_positions.is_some();
        let margin = options.deadline_margin.max(if has_store { MIN_STORE_TIME } else { Duration::ZERO });
        let stop_at = left.map(|left| arrived + (left - margin.min(left / 2)));
        let deadline = left.map(|left| arrived + left);
        Invocation {
            request_id: Cow::Borrowed(&context.request_id),
            application: Cow::Borrowed(&options.application),
            is_reprocessing: false,
            is_replay: false,
            xray_trace_id: context.xray_trace_id.as_deref().map(Cow::Borrowed),
            stream: None,
            shard_id: None,
            arrived,
            stop_at,
            deadline,
            clock,
            store_by: OnceLock::new(),
            decompression: options.decompression,
            frozen: None,
            skip_rule: None,
            large_payloads: options.large_payloads.clone(),
            hash_range: BatchRange::Off,
            fates: None,
        }
    }

    /// Notes the fate of a user record that is not simply processed, if somebody wants to know it.
    pub(crate) fn note_fate(&self, place: Place, fate: impl FnOnce() -> RecordFate) {
        if let Some(fates) = &self.fates {
            fates.insert(place, fate());
        }
    }

    /// Returns until when stores may be waited for after the last user record: all of them together, so the first call
    /// draws it. As long as records could be processed, and if that is nearly or quite over, half of what is left until
    /// Lambda ends the invocation.
    pub(crate) fn store_by(&self) -> Option<Instant> {
        *self.store_by.get_or_init(|| self.store_by_from_now())
    }

    /// Returns the bound of one call of a store in the midst of a batch.
    pub(crate) fn store_by_from_now(&self) -> Option<Instant> {
        let (stop_at, deadline) = (self.stop_at?, self.deadline?);
        let now = self.clock.instant();
        Some(stop_at.max(now + deadline.saturating_duration_since(now) / 2))
    }

    /// Logs what has gone wrong with the journal, and at which record.
    pub(crate) fn log_journal_failure(
        &self,
        kinesis_record: &KinesisRecord<'_>,
        what: &'static str,
        error: &JournalError,
    ) {
        let text = match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        tracing::error!(
            position = %kinesis_record.position(None::<u64>),
            error = text,
            "{what}"
        );
    }

    /// Returns the time until which a store may be waited for before the first record: a quarter of the time for records.
    pub(crate) fn read_by(&self) -> Option<Instant> {
        let now = self.clock.instant();
        self.stop_at.map(|stop_at| now + stop_at.saturating_duration_since(now) / 4)
    }

    pub(crate) fn remaining_time(&self) -> Option<Duration> {
        self.stop_at.map(|stop_at| stop_at.saturating_duration_since(self.clock.instant()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint::MemoryCheckpoints, journal::MemoryJournal};

    #[derive(Debug)]
    struct FixedClock(Instant);

    impl Clock for FixedClock {
        fn epoch_ms(&self) -> u64 {
            1_000_000
        }

        fn instant(&self) -> Instant {
            self.0
        }
    }

    #[track_caller]
    fn check_store_by(milliseconds_passed: u64, expected_ms: u64) {
        let arrived = Instant::now();
        let now = arrived + Duration::from_millis(milliseconds_passed);
        let invocation = Invocation {
            request_id: Cow::Borrowed(""),
            application: Cow::Borrowed(""),
            is_reprocessing: false,
            is_replay: false,
            xray_trace_id: None,
            stream: None,
            shard_id: None,
            arrived,
            stop_at: Some(arrived + Duration::from_secs(9)),
            deadline: Some(arrived + Duration::from_secs(10)),
            clock: Arc::new(FixedClock(now)),
            store_by: OnceLock::new(),
            frozen: None,
            fates: None,
            skip_rule: None,
            hash_range: BatchRange::Off,
            decompression: DecompressionLimits::default(),
            large_payloads: None,
        };
        assert_eq!(invocation.store_by(), Some(arrived + Duration::from_millis(expected_ms)));
    }

    #[test]
    fn a_store_has_what_is_left_and_half_of_the_margin() {
        check_store_by(0, 9_000);
        check_store_by(8_000, 9_000);
        check_store_by(8_900, 9_450);
        check_store_by(9_000, 9_500);
        check_store_by(9_400, 9_700);
        check_store_by(11_000, 11_000);
    }

    #[track_caller]
    fn check(deadline: u64, margin_ms: u64, expected_ms: Option<u64>) {
        check_with(Options::default(), deadline, margin_ms, expected_ms);
    }

    #[track_caller]
    fn check_with(options: Options, deadline: u64, margin_ms: u64, expected_ms: Option<u64>) {
        let mut context = Context::default();
        context.deadline = deadline;
        let options = Options {
            deadline_margin: Duration::from_millis(margin_ms),
            clock: Arc::new(FixedClock(Instant::now())),
            ..options
        };
        let remaining = Invocation::arrive(&context, &options).remaining_time();
        assert_eq!(remaining, expected_ms.map(Duration::from_millis));
    }

    #[test]
    fn the_margin_is_at_most_half_of_the_time_left() {
        check(1_010_000, 1_000, Some(9_000));
        check(1_001_000, 1_000, Some(500));
        check(1_010_000, 0, Some(10_000));
    }

    #[test]
    fn a_store_has_a_tenth_of_a_second_whatever_the_margin_is() {
        let journal = Options { journal: Some(Arc::new(MemoryJournal::default())), ..Options::default() };
        let mirror =
            Options { checkpoints: Some(Arc::new(MemoryCheckpoints::default())), ..Options::default() };
        for options in [journal, mirror] {
            check_with(options.clone(), 1_010_000, 0, Some(9_900));
            check_with(options.clone(), 1_010_000, 200, Some(9_800));
            check_with(options, 1_000_100, 0, Some(50));
        }
    }

    #[test]
    fn a_deadline_in_the_far_future_is_shortened() {
        check(u64::MAX, 1_000, Some(30 * 24 * 60 * 60 * 1_000 - 1_000));
    }

    #[test]
    fn a_deadline_that_has_passed_is_none() {
        check(1_000_002, 1_000, Some(1));
        check(1_000_000, 1_000, None);
        check(600_000, 1_000, None);
        check(0, 1_000, None);
    }
}
