use std::{num::NonZeroU32, ops::RangeInclusive, sync::Arc, time::Duration};

use kpl_deaggregation::DEFAULT_MAX_KEY_BYTES;

use super::{JournalOptions, MirrorOptions, Options, OptionsError, stores::check_age};
use crate::{
    Clock, InvalidAggregatePolicy, VectorInstructions, checkpoint::CheckpointStore,
    compression::DecompressionLimits, hash_range::ShardRangeSource, large_payload::LargePayloadOptions,
    record::decompressing::DECOMPRESSES,
};

/// Most batches of a shard that a mapping processes at once.
const PARALLELIZATION_FACTORS: RangeInclusive<u32> = 1..=10;

/// More futures at once than any dependency has connections.
const CONCURRENCY: RangeInclusive<u32> = 1..=1_000;

/// Bounds the memory for user records that wait.
const LOOK_AHEAD: RangeInclusive<u32> = 1..=100_000;

/// More memory than any payload of an event of 6 MB is worth.
const MAX_DECOMPRESSED_BYTES: u64 = 1 << 30;

/// More memory than the log lines of any batch are worth.
const MAX_LOG_BUFFER_BYTES: u32 = 64 << 20;

/// No format reaches more than the largest one with real data.
const DECOMPRESSION_RATIOS: RangeInclusive<u32> = 1..=100_000;

/// More would be a loop.
const RETRY_ATTEMPTS: RangeInclusive<u32> = 1..=100;

/// A Lambda function runs for at most 90 minutes, on Lambda Managed Instances.
const MARGINS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(90 * 60);

/// A builder of [`Options`]. [`build`](Self::build) checks values and their combination.
///
/// ```
/// use std::time::Duration;
///
/// use kinesis_handler::{InvalidAggregatePolicy, Options};
///
/// # fn main() -> Result<(), kinesis_handler::OptionsError> {
/// let options = Options::builder()
///     .deadline_margin(Duration::from_secs(3))
///     .invalid_aggregate(InvalidAggregatePolicy::Skip)
///     .build()?;
/// # let _ = options;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct OptionsBuilder {
    application: Option<String>,
    journal: Option<JournalOptions>,
    mirror: Option<MirrorOptions>,
    parallelization_factor: Option<u32>,
    max_key_bytes: Option<u64>,
    concurrency: Option<u32>,
    look_ahead: Option<u32>,
    retry_attempts: Option<u32>,
    large_payloads: Option<LargePayloadOptions>,
    /// Options whose values need no check but that of their range.
    rest: Options,
}

impl OptionsBuilder {
    /// Default of [`look_ahead`](Self::look_ahead).
    pub const DEFAULT_LOOK_AHEAD: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");

    /// Sets the name under which the stores keep the stream's state: any text without `#`. It must stay the same from
    /// deployment to deployment; two functions that share a table are told apart by it. Needed by journal and mirror.
    pub fn application(mut self, application: impl Into<String>) -> Self {
        self.application = Some(application.into());
        self
    }

    /// Adds the retry journal. By default there is none.
    pub fn journal(mut self, journal: JournalOptions) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Adds the checkpoint mirror. By default there is none.
    ///
    /// The event source mapping must have a `ParallelizationFactor` of 1 then, which nothing in an event tells: concurrent
    /// batches of a shard have no common position.
    pub fn mirror(mut self, mirror: MirrorOptions) -> Self {
        self.mirror = Some(mirror);
        self
    }

    /// States the mapping's `ParallelizationFactor` (1 to 10), which an event does not contain. If it is 1, an entry in the
    /// journal that precedes a batch belongs to a record that the mapping has discarded, and is kept for redelivery. By
    /// default it is unknown.
    pub fn parallelization_factor(mut self, factor: u32) -> Self {
        self.parallelization_factor = Some(factor);
        self
    }

    /// Sets the time before the function's deadline at which the handler stops and reports the first unprocessed record: up
    /// to 90 minutes, by default one second.
    ///
    /// It is at most half of the time that is left when an event arrives; with a journal or a mirror it is at least 100 ms,
    /// in which they write.
    pub fn deadline_margin(mut self, margin: Duration) -> Self {
        self.rest.deadline_margin = margin;
        self
    }

    /// Sets the number of user records of a batch that are processed at once, 1 to 1000; by default one after the other.
    ///
    /// User records of one partition key are processed in stream order, one after the other; those of different keys
    /// overlap, as far as the processor awaits: all run on one thread. After a failure nothing beyond the failed user record is
    /// started, what precedes it is processed, what is in flight ends, and the first user record that is not processed is
    /// reported. What was processed beyond it is processed again in the retry, unless there is a
    /// [journal](Self::journal).
    pub fn concurrency(mut self, user_records: u32) -> Self {
        self.concurrency = Some(user_records);
        self
    }

    /// Sets the largest number of user records, 1 to 100000, beyond the first unfinished one that are looked at to find some
    /// that can be processed at once. By default 1000. A slow user record holds up the others only if so many follow it.
    pub fn look_ahead(mut self, user_records: u32) -> Self {
        self.look_ahead = Some(user_records);
        self
    }

    /// Sets the number of attempts (1 to 100) that a user record with a retryable error has within an invocation before it counts
    /// as failed. By default 1: it is not tried again in place.
    ///
    /// Before each further attempt the handler waits for a random time of up to 100 ms, which doubles from attempt to attempt up to 5
    /// seconds, unless that reaches the deadline: then it does not wait, and the record has failed. With
    /// [`concurrency`](Self::concurrency), a record that waits holds up those of its key, and occupies one of the places. All its
    /// attempts in place count as one. [`Chunks`](crate::Chunks) are not tried again in place.
    pub fn retry_attempts(mut self, attempts: u32) -> Self {
        self.retry_attempts = Some(attempts);
        self
    }

    /// Skips a user record that has failed, instead of stopping the batch at it, if it arrived in the stream this long ago or longer:
    /// one second to 365 days. **Its data is lost**: each one is logged as an error and counted in `SkippedRecords`. By default none is
    /// skipped.
    ///
    /// This is for data that is worthless when it is old, where one record must not hold up its shard. Errors of every kind count, except
    /// [`not_now`](crate::not_now), which is no failure of the record. With a [journal](Self::journal), a record is skipped at its second
    /// failed attempt or later, because the first failure of an old record after an outage proves nothing. Without one, nothing knows of
    /// earlier attempts, and the first failure decides, so the age should exceed the longest outage. A record that the
    /// [quarantine](JournalOptions::quarantine) takes is not skipped. Events and replays of `kinesis-kit`, which
    /// deliver old records, skip none.
    pub fn skip_failed_after(mut self, age: Duration) -> Self {
        self.rest.skip_failed_after = Some(age);
        self
    }

    /// Sets the fate of an aggregated record with a valid checksum and malformed content. By default it fails.
    pub fn invalid_aggregate(mut self, policy: InvalidAggregatePolicy) -> Self {
        self.rest.invalid_aggregate = policy;
        self
    }

    /// Sets the largest sum of the key bytes of all user records of an aggregate, up to 1 GiB, the default; with more it is
    /// invalid. No event with legal keys reaches the default.
    pub fn max_key_bytes(mut self, bytes: u64) -> Self {
        self.max_key_bytes = Some(bytes);
        self
    }

    /// Sets the vector instructions with which checksums are verified. By default all that the processor has.
    pub fn vector_instructions(mut self, instructions: VectorInstructions) -> Self {
        self.rest.vector_instructions = instructions;
        self
    }

    /// Makes [`Record::json`](crate::Record::json), [`text`](crate::Record::text), [`parse`](crate::Record::parse) and `protobuf` read
    /// what a payload decompresses to, if it begins as gzip, zlib or zstd do. By default they read payloads as they are, and
    /// [`Record::decompressed`](crate::Record::decompressed) decompresses. Needs the feature `gzip` or `zstd`.
    ///
    /// The decompressed payload is kept until the processor is done with the record: with
    /// [`concurrency`](Self::concurrency), or for a chunk of user records, that of several.
    pub fn decompress(mut self) -> Self {
        self.rest.decompresses = true;
        self
    }

    /// Sets the most bytes, 1 to 1 GiB, that a payload may decompress to; with more, reading it is a permanent error. By default
    /// 16 MiB, which a function with 128 MB of memory can hold.
    pub fn max_decompressed_bytes(mut self, bytes: u64) -> Self {
        self.rest.decompression.max_bytes = bytes;
        self
    }

    /// Sets the most bytes, 1 to 100000, that a payload of more than 1 MiB may decompress to for each byte that it has itself;
    /// with more, reading it is a permanent error. By default 250.
    pub fn max_decompression_ratio(mut self, ratio: u32) -> Self {
        self.rest.decompression.max_ratio = ratio;
        self
    }

    /// Lets ranges of a stream be replayed on Lambda, and keeps the positions of these replays in a store. By default an invocation by
    /// the alias of a replay is an error.
    ///
    /// `kinesis-kit replay --on-lambda` makes such an alias, with the range in its name, and an event source mapping on it: see
    /// [`ReplayRange`](crate::replay::ReplayRange). Only Kinesis records of the range are processed then. The journal and the quarantine
    /// are kept under another [application](crate::replay::ReplayRange::application), and the mirror is not written. If a position
    /// cannot be written, the last record of the batch is reported as failed.
    pub fn replays(mut self, positions: Arc<dyn CheckpointStore>) -> Self {
        self.rest.replay_positions = Some(positions);
        self
    }

    /// Makes [`Record::fetch`](crate::Record::fetch) read payloads that a producer has put into a store, with a pointer to them in
    /// the stream. By default it reads none.
    pub fn large_payloads(mut self, large_payloads: LargePayloadOptions) -> Self {
        self.large_payloads = Some(large_payloads);
        self
    }

    /// Passes over user records of aggregates whose hash key belongs to another shard, by the ranges of this source. By default
    /// there is no such filter.
    ///
    /// After a reshard, such user records are duplicates, but only if the producer is the KPL, which puts them again: see
    /// [`hash_range`](crate::hash_range). The ranges are kept, and listed again for a shard that is not known and after five minutes. If
    /// none can be listed, user records are not filtered. Each user record of an aggregate costs an MD5 digest of its partition key.
    pub fn hash_range_filter(mut self, source: Arc<dyn ShardRangeSource>) -> Self {
        self.rest.shard_ranges = Some(source);
        self
    }

    /// Makes [`run`](crate::run) keep the log lines of a batch below the level WARN, up to so many bytes (1 to 67108864), and write them
    /// only if the batch fails. With 0, the default, they are written at once. See [`LogBufferLayer`](crate::LogBufferLayer).
    pub fn log_buffer_bytes(mut self, bytes: u32) -> Self {
        self.rest.log_buffer_bytes = bytes;
        self
    }

    /// Sets the source of time. By default the system's clocks.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.rest.clock = clock;
        self
    }

    /// Builds the options.
    ///
    /// # Errors
    ///
    /// - [`OptionsError::Value`] for a value outside of its range
    /// - [`OptionsError::MissingFeature`] for an option that needs a feature which is not compiled in
    /// - [`OptionsError::Needs`] for a journal or a mirror without an application
    /// - [`OptionsError::Excludes`] for a mirror together with concurrent batches, and for an age at which failed records are both skipped
    ///   and quarantined
    pub fn build(self) -> Result<Options, OptionsError> {
        let OptionsBuilder {
            application,
            journal,
            mirror,
            parallelization_factor,
            max_key_bytes,
            concurrency,
            look_ahead,
            retry_attempts,
            large_payloads,
            rest,
        } = self;
        let mut options = rest;
        if let Some(application) = application {
            // The character that joins the parts of a key.
            if application.is_empty() || application.contains('#') {
                return Err(OptionsError::value("application", application, "a name without \"#\""));
            }
            options.application = application;
        }
        let margin = options.deadline_margin;
        if !MARGINS.contains(&margin) {
            return Err(OptionsError::value(
                "deadline_margin",
                margin.as_millis(),
                "0 to 5400000 milliseconds",
            ));
        }
        if let Some(bytes) = max_key_bytes {
            if !(1..=DEFAULT_MAX_KEY_BYTES).contains(&bytes) {
                return Err(OptionsError::value("max_key_bytes", bytes, "1 to 1073741824 bytes"));
            }
            options.max_key_bytes = bytes;
        }
        let DecompressionLimits { max_bytes, max_ratio } = options.decompression;
        if !(1..=MAX_DECOMPRESSED_BYTES).contains(&max_bytes) {
            return Err(OptionsError::value("max_decompressed_bytes", max_bytes, "1 to 1073741824 bytes"));
        }
        in_range("max_decompression_ratio", max_ratio, DECOMPRESSION_RATIOS, "a number from 1 to 100000")?;
        if options.decompresses && !DECOMPRESSES {
            return Err(OptionsError::MissingFeature { option: "decompress", feature: "gzip" });
        }
        if let Some(large_payloads) = large_payloads {
            options.large_payloads = Some(Arc::new(large_payloads.build()?));
        }
        let bytes = options.log_buffer_bytes;
        if bytes > MAX_LOG_BUFFER_BYTES {
            return Err(OptionsError::value("log_buffer_bytes", bytes, "0 to 67108864 bytes"));
        }
        if let Some(factor) = parallelization_factor {
            options.parallelization_factor = Some(in_range(
                "parallelization_factor",
                factor,
                PARALLELIZATION_FACTORS,
                "a number from 1 to 10",
            )?);
        }
        if let Some(number) = concurrency {
            options.concurrency = in_range("concurrency", number, CONCURRENCY, "a number from 1 to 1000")?;
        }
        if let Some(number) = look_ahead {
            options.look_ahead = in_range("look_ahead", number, LOOK_AHEAD, "a number from 1 to 100000")?;
        }
        if let Some(age) = options.skip_failed_after {
            check_age("skip_failed_after", age)?;
        }
        if let Some(number) = retry_attempts {
            options.retry_attempts =
                in_range("retry_attempts", number, RETRY_ATTEMPTS, "a number from 1 to 100")?;
        }
        let replays = ("replays", options.replay_positions.is_some());
        for (option, is_set) in [("journal", journal.is_some()), ("mirror", mirror.is_some()), replays] {
            if is_set && options.application.is_empty() {
                return Err(OptionsError::Needs { option, needed: "application" });
            }
        }
        if let Some(JournalOptions { store, quarantine }) = journal {
            options.journal = Some(store);
            if let Some(quarantine) = quarantine {
                options.quarantine = true;
                (options.quarantine_limit, options.max_attempts) = quarantine.check()?;
                options.max_age = quarantine.max_age;
                options.hold = quarantine.hold;
            }
        }
        if let (Some(age), Some(_)) = (options.skip_failed_after, options.max_age) {
            return Err(OptionsError::Excludes {
                option: "skip_failed_after",
                value: u32::try_from(age.as_secs()).unwrap_or(u32::MAX),
                other: "max_age",
                reason: "a failed record of that age is either skipped or quarantined",
            });
        }
        if let Some(MirrorOptions { store, is_strict, skips_frozen }) = mirror {
            if let Some(factor) = options.parallelization_factor.filter(|factor| factor.get() > 1) {
                return Err(OptionsError::Excludes {
                    option: "parallelization_factor",
                    value: factor.get(),
                    other: "mirror",
                    reason: "concurrent batches of a shard have no common position",
                });
            }
            options.checkpoints = Some(store);
            options.checkpoint_strict = is_strict;
            options.cutover = skips_frozen;
        }
        Ok(options)
    }
}

pub(super) fn in_range(
    option: &'static str,
    value: u32,
    range: RangeInclusive<u32>,
    expected: &'static str,
) -> Result<NonZeroU32, OptionsError> {
    let number = NonZeroU32::new(value).filter(|_| range.contains(&value));
    number.ok_or_else(|| OptionsError::value(option, value, expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QuarantineOptions, checkpoint::MemoryCheckpoints, journal::MemoryJournal};

    fn journal(quarantine: QuarantineOptions) -> OptionsBuilder {
        let journal = JournalOptions::new(Arc::new(MemoryJournal::default())).quarantine(quarantine);
        Options::builder().application("orders").journal(journal)
    }

    fn mirror() -> MirrorOptions {
        MirrorOptions::new(Arc::new(MemoryCheckpoints::default()))
    }

    #[track_caller]
    fn check_refused(builder: OptionsBuilder, expected: &str) {
        assert_eq!(builder.build().map(drop).expect_err("an illegal combination").to_string(), expected);
    }

    #[test]
    fn what_is_built_has_all_that_was_set() {
        let age = Duration::from_secs(60);
        let quarantine = QuarantineOptions::default().limit(7).max_attempts(3).max_age(age);
        let builder =
            journal(quarantine).mirror(mirror().strict()).parallelization_factor(1).max_key_bytes(5);
        let options = builder.build().expect("a legal combination");
        assert!(options.journal.is_some() && options.quarantine);
        assert!(options.checkpoints.is_some() && options.checkpoint_strict);
        let numbers = (options.quarantine_limit.get(), options.max_attempts, options.max_age);
        assert_eq!(numbers, (7, NonZeroU32::new(3), Some(age)));
        assert_eq!((&*options.application, options.max_key_bytes), ("orders", 5));
    }

    #[test]
    fn stores_need_an_application() {
        let builder = Options::builder();
        let store = JournalOptions::new(Arc::new(MemoryJournal::default()));
        check_refused(builder.clone().journal(store), "journal needs application, which is not set");
        check_refused(builder.clone().mirror(mirror()), "mirror needs application, which is not set");
        check_refused(
            builder.replays(Arc::new(MemoryCheckpoints::default())),
            "replays needs application, which is not set",
        );
        for application in ["", "a#b"] {
            let expected = format!("application: expected a name without \"#\", found {application:?}");
            check_refused(Options::builder().application(application), &expected);
        }
    }

    #[test]
    fn a_mirror_excludes_concurrent_batches() {
        let builder = Options::builder().application("orders").mirror(mirror());
        check_refused(
            builder.clone().parallelization_factor(2),
            "parallelization_factor: 2 cannot be combined with mirror: concurrent batches of a shard have no common \
             position",
        );
        builder.parallelization_factor(1).build().expect("one batch at a time");
    }

    #[test]
    fn old_records_are_either_skipped_or_quarantined() {
        let age = Duration::from_secs(60);
        let quarantine = QuarantineOptions::default();
        check_refused(
            journal(quarantine.max_age(age)).skip_failed_after(age),
            "skip_failed_after: 60 cannot be combined with max_age: a failed record of that age is either skipped or \
             quarantined",
        );
        journal(quarantine).skip_failed_after(age).build().expect("a legal combination");
    }

    #[cfg(not(any(feature = "gzip", feature = "zstd")))]
    #[test]
    fn decompression_needs_a_feature() {
        check_refused(
            Options::builder().decompress(),
            "decompress needs the feature `gzip` of kinesis-handler, which is not compiled in",
        );
    }

    #[test]
    fn values_have_a_range() {
        for factor in [0, 11] {
            let expected =
                format!("parallelization_factor: expected a number from 1 to 10, found \"{factor}\"");
            check_refused(Options::builder().parallelization_factor(factor), &expected);
        }
        for number in [0, 1_001] {
            let expected = format!("concurrency: expected a number from 1 to 1000, found \"{number}\"");
            check_refused(Options::builder().concurrency(number), &expected);
        }
        for number in [0, 100_001] {
            let expected = format!("look_ahead: expected a number from 1 to 100000, found \"{number}\"");
            check_refused(Options::builder().look_ahead(number), &expected);
        }
        for attempts in [0, 10_001] {
            let expected = format!("max_attempts: expected a number from 1 to 10000, found \"{attempts}\"");
            check_refused(journal(QuarantineOptions::default().max_attempts(attempts)), &expected);
        }
        for limit in [0, 5_001] {
            let expected = format!("quarantine_limit: expected a number from 1 to 5000, found \"{limit}\"");
            check_refused(journal(QuarantineOptions::default().limit(limit)), &expected);
        }
        for seconds in [0, 31_536_001] {
            let expected = format!("max_age: expected 1 to 31536000 seconds, found \"{seconds}\"");
            let age = Duration::from_secs(seconds);
            check_refused(journal(QuarantineOptions::default().max_age(age)), &expected);
        }
        for seconds in [0, 31_536_001] {
            let expected = format!("skip_failed_after: expected 1 to 31536000 seconds, found \"{seconds}\"");
            check_refused(Options::builder().skip_failed_after(Duration::from_secs(seconds)), &expected);
        }
        check_refused(
            Options::builder().deadline_margin(Duration::from_millis(5_400_001)),
            "deadline_margin: expected 0 to 5400000 milliseconds, found \"5400001\"",
        );
        for bytes in [0, 1_073_741_825] {
            let expected = format!("max_key_bytes: expected 1 to 1073741824 bytes, found \"{bytes}\"");
            check_refused(Options::builder().max_key_bytes(bytes), &expected);
            let expected =
                format!("max_decompressed_bytes: expected 1 to 1073741824 bytes, found \"{bytes}\"");
            check_refused(Options::builder().max_decompressed_bytes(bytes), &expected);
        }
        for ratio in [0, 100_001] {
            let expected =
                format!("max_decompression_ratio: expected a number from 1 to 100000, found \"{ratio}\"");
            check_refused(Options::builder().max_decompression_ratio(ratio), &expected);
        }
    }
}
