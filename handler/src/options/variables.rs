use std::{env, ffi::OsString, str::FromStr, sync::Arc, time::Duration};

use super::{JournalOptions, MirrorOptions, Options, OptionsBuilder, OptionsError, QuarantineOptions};
use crate::{
    InvalidAggregatePolicy, VectorInstructions,
    checkpoint::CheckpointStore,
    journal::JournalStore,
    large_payload::{LargePayloadOptions, PayloadStore},
};

/// Every variable of the kit starts with this.
const PREFIX: &str = "KINESIS_HANDLER_";

/// The variable in which Lambda gives the function's name.
const FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";

const AGE_POLICY: &str = "KINESIS_HANDLER_AGE_POLICY";
const APPLICATION: &str = "KINESIS_HANDLER_APPLICATION";
const CHECKPOINT_STRICT: &str = "KINESIS_HANDLER_CHECKPOINT_STRICT";
const CHECKPOINT_TABLE: &str = "KINESIS_HANDLER_CHECKPOINT_TABLE";
const CONCURRENCY: &str = "KINESIS_HANDLER_CONCURRENCY";
const CUTOVER: &str = "KINESIS_HANDLER_CUTOVER";
const DECOMPRESS: &str = "KINESIS_HANDLER_DECOMPRESS";
const DEADLINE_MARGIN_MS: &str = "KINESIS_HANDLER_DEADLINE_MARGIN_MS";
const HASH_RANGE_FILTER: &str = "KINESIS_HANDLER_HASH_RANGE_FILTER";
const HOLD: &str = "KINESIS_HANDLER_HOLD";
const INVALID_AGGREGATE: &str = "KINESIS_HANDLER_INVALID_AGGREGATE";
const JOURNAL_TABLE: &str = "KINESIS_HANDLER_JOURNAL_TABLE";
const LARGE_PAYLOADS: &str = "KINESIS_HANDLER_LARGE_PAYLOADS";
const LOG_BUFFER_BYTES: &str = "KINESIS_HANDLER_LOG_BUFFER_BYTES";
const LOOK_AHEAD: &str = "KINESIS_HANDLER_LOOK_AHEAD";
const MAX_AGE_SECONDS: &str = "KINESIS_HANDLER_MAX_AGE_SECONDS";
const MAX_ATTEMPTS: &str = "KINESIS_HANDLER_MAX_ATTEMPTS";
const MAX_DECOMPRESSED_BYTES: &str = "KINESIS_HANDLER_MAX_DECOMPRESSED_BYTES";
const MAX_DECOMPRESSION_RATIO: &str = "KINESIS_HANDLER_MAX_DECOMPRESSION_RATIO";
const MAX_KEY_BYTES: &str = "KINESIS_HANDLER_MAX_KEY_BYTES";
const MAX_LARGE_PAYLOAD_BYTES: &str = "KINESIS_HANDLER_MAX_LARGE_PAYLOAD_BYTES";
const PARALLELIZATION_FACTOR: &str = "KINESIS_HANDLER_PARALLELIZATION_FACTOR";
const QUARANTINE: &str = "KINESIS_HANDLER_QUARANTINE";
const QUARANTINE_LIMIT: &str = "KINESIS_HANDLER_QUARANTINE_LIMIT";
const REPLAYS: &str = "KINESIS_HANDLER_REPLAYS";
const RETRY_ATTEMPTS: &str = "KINESIS_HANDLER_RETRY_ATTEMPTS";
const VECTOR_INSTRUCTIONS: &str = "KINESIS_HANDLER_VECTOR_INSTRUCTIONS";

/// Returns the variable that sets an option of the builder.
fn variable(option: &'static str) -> &'static str {
    match option {
        "application" => APPLICATION,
        "concurrency" => CONCURRENCY,
        "deadline_margin" => DEADLINE_MARGIN_MS,
        "decompress" => DECOMPRESS,
        "journal" => JOURNAL_TABLE,
        "large_payloads" => LARGE_PAYLOADS,
        "log_buffer_bytes" => LOG_BUFFER_BYTES,
        "look_ahead" => LOOK_AHEAD,
        "max_age" => MAX_AGE_SECONDS,
        "max_attempts" => MAX_ATTEMPTS,
        "max_decompressed_bytes" => MAX_DECOMPRESSED_BYTES,
        "max_decompression_ratio" => MAX_DECOMPRESSION_RATIO,
        "max_key_bytes" => MAX_KEY_BYTES,
        "max_large_payload_bytes" => MAX_LARGE_PAYLOAD_BYTES,
        "mirror" => CHECKPOINT_TABLE,
        "parallelization_factor" => PARALLELIZATION_FACTOR,
        "quarantine_limit" => QUARANTINE_LIMIT,
        "replays" => REPLAYS,
        "retry_attempts" => RETRY_ATTEMPTS,
        "skip_failed_after" => MAX_AGE_SECONDS,
        other => other,
    }
}

impl Options {
    /// The environment variables that [`from_env`](Self::from_env) reads.
    pub const VARIABLES: [&'static str; 27] = [
        AGE_POLICY,
        APPLICATION,
        CHECKPOINT_STRICT,
        CHECKPOINT_TABLE,
        CONCURRENCY,
        CUTOVER,
        DEADLINE_MARGIN_MS,
        DECOMPRESS,
        HASH_RANGE_FILTER,
        HOLD,
        INVALID_AGGREGATE,
        JOURNAL_TABLE,
        LARGE_PAYLOADS,
        LOG_BUFFER_BYTES,
        LOOK_AHEAD,
        MAX_AGE_SECONDS,
        MAX_ATTEMPTS,
        MAX_DECOMPRESSED_BYTES,
        MAX_DECOMPRESSION_RATIO,
        MAX_KEY_BYTES,
        MAX_LARGE_PAYLOAD_BYTES,
        PARALLELIZATION_FACTOR,
        QUARANTINE,
        QUARANTINE_LIMIT,
        REPLAYS,
        RETRY_ATTEMPTS,
        VECTOR_INSTRUCTIONS,
    ];

    /// The defaults, overridden by the environment variables whose names start with `KINESIS_HANDLER_`:
    ///
    /// - `KINESIS_HANDLER_AGE_POLICY`: what becomes of a failed record of `KINESIS_HANDLER_MAX_AGE_SECONDS`, `quarantine` (the default) or
    ///   `skip`: [`skip_failed_after`](super::OptionsBuilder::skip_failed_after)
    /// - `KINESIS_HANDLER_APPLICATION`: [`application`](super::OptionsBuilder::application), any text without `#`. By default
    ///   `AWS_LAMBDA_FUNCTION_NAME`, the function's name, which Lambda sets.
    /// - `KINESIS_HANDLER_CHECKPOINT_STRICT`: [`strict`](MirrorOptions::strict), `on` or `off`
    /// - `KINESIS_HANDLER_CHECKPOINT_TABLE`: [`mirror`](super::OptionsBuilder::mirror) in the DynamoDB table of this name. Needs
    ///   the feature `dynamodb`. Nothing connects before the first event.
    /// - `KINESIS_HANDLER_CONCURRENCY`: [`concurrency`](super::OptionsBuilder::concurrency), 1 to 1000
    /// - `KINESIS_HANDLER_CUTOVER`: [`cutover`](MirrorOptions::cutover), `on` or `off`
    /// - `KINESIS_HANDLER_DEADLINE_MARGIN_MS`: [`deadline_margin`](super::OptionsBuilder::deadline_margin), 0 to 5400000 milliseconds
    /// - `KINESIS_HANDLER_DECOMPRESS`: [`decompress`](super::OptionsBuilder::decompress), `on` or `off`. Needs the feature `gzip` or
    ///   `zstd`.
    /// - `KINESIS_HANDLER_HASH_RANGE_FILTER`: [`hash_range_filter`](super::OptionsBuilder::hash_range_filter) by the ranges that
    ///   Kinesis lists, `on` or `off`. Needs the feature `hash-range-filter`.
    /// - `KINESIS_HANDLER_HOLD`: [`hold`](QuarantineOptions::hold), `on` or `off`
    /// - `KINESIS_HANDLER_INVALID_AGGREGATE`: [`invalid_aggregate`](super::OptionsBuilder::invalid_aggregate), `fail`, `raw` or `skip`
    /// - `KINESIS_HANDLER_JOURNAL_TABLE`: [`journal`](super::OptionsBuilder::journal) in the DynamoDB table of this name. Needs the feature
    ///   `dynamodb`. Nothing connects before the first event.
    /// - `KINESIS_HANDLER_LARGE_PAYLOADS`: [`large_payloads`](super::OptionsBuilder::large_payloads) in S3, under these prefixes
    ///   (`s3://BUCKET` or `s3://BUCKET/PREFIX`), separated by commas. Needs the feature `s3`. Nothing connects before the first
    ///   fetch.
    /// - `KINESIS_HANDLER_LOG_BUFFER_BYTES`: [`log_buffer_bytes`](super::OptionsBuilder::log_buffer_bytes), 0 to 67108864
    /// - `KINESIS_HANDLER_LOOK_AHEAD`: [`look_ahead`](super::OptionsBuilder::look_ahead), 1 to 100000
    /// - `KINESIS_HANDLER_MAX_AGE_SECONDS`: [`max_age`](QuarantineOptions::max_age), or with the policy `skip`
    ///   [`skip_failed_after`](super::OptionsBuilder::skip_failed_after), 1 to 31536000 seconds
    /// - `KINESIS_HANDLER_MAX_ATTEMPTS`: [`max_attempts`](QuarantineOptions::max_attempts), 1 to 10000
    /// - `KINESIS_HANDLER_MAX_DECOMPRESSED_BYTES`:
    ///   [`max_decompressed_bytes`](super::OptionsBuilder::max_decompressed_bytes), 1 to 1073741824
    /// - `KINESIS_HANDLER_MAX_DECOMPRESSION_RATIO`:
    ///   [`max_decompression_ratio`](super::OptionsBuilder::max_decompression_ratio), 1 to 100000
    /// - `KINESIS_HANDLER_MAX_KEY_BYTES`: [`max_key_bytes`](super::OptionsBuilder::max_key_bytes), 1 to 1073741824
    /// - `KINESIS_HANDLER_MAX_LARGE_PAYLOAD_BYTES`:
    ///   [`max_bytes`](crate::large_payload::LargePayloadOptions::max_bytes) of a large payload, 1 to 1073741824
    /// - `KINESIS_HANDLER_PARALLELIZATION_FACTOR`: [`parallelization_factor`](super::OptionsBuilder::parallelization_factor), 1 to 10; with a
    ///   checkpoint mirror, 1
    /// - `KINESIS_HANDLER_QUARANTINE`: [`quarantine`](JournalOptions::quarantine), `on` or `off`
    /// - `KINESIS_HANDLER_QUARANTINE_LIMIT`: [`limit`](QuarantineOptions::limit), 1 to 5000
    /// - `KINESIS_HANDLER_REPLAYS`: [`replays`](super::OptionsBuilder::replays) with positions in the journal's table, `on` or `off`
    /// - `KINESIS_HANDLER_RETRY_ATTEMPTS`: [`retry_attempts`](super::OptionsBuilder::retry_attempts), 1 to 100
    /// - `KINESIS_HANDLER_VECTOR_INSTRUCTIONS`:
    ///   [`vector_instructions`](super::OptionsBuilder::vector_instructions), `all`, `avx2` or `none`
    ///
    /// # Errors
    ///
    /// Any [`OptionsError`], naming the variable.
    pub fn from_env() -> Result<Self, OptionsError> {
        Self::from_variables(env::vars_os())
    }

    /// Reads the variables of [`from_env`](Self::from_env) from elsewhere: a template, for example.
    ///
    /// # Errors
    ///
    /// Any [`OptionsError`], naming the variable.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, OptionsError> {
        let mut builder = Options::builder();
        let mut quarantine = QuarantineOptions::default();
        let (mut application, mut function_name) = (None, None);
        let (mut checkpoint_table, mut is_strict, mut skips_frozen) = (None, false, false);
        let (mut journal_table, mut has_quarantine, mut has_hold) = (None, false, false);
        let (mut decompresses, mut replays, mut filters) = (false, false, false);
        let (mut max_age, mut skips) = (None, false);
        let (mut large_payloads, mut max_large_payload_bytes) = (None, None);
        // Options that do nothing without the quarantine.
        let mut of_quarantine = Vec::new();
        for (name, value) in variables {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            match &*name {
                FUNCTION_NAME => function_name = Some(value.into_owned()),
                APPLICATION => application = Some(value.into_owned()),
                AGE_POLICY => {
                    skips = match &*value {
                        "quarantine" => false,
                        "skip" => true,
                        _ => return Err(OptionsError::value(AGE_POLICY, value, "quarantine or skip")),
                    };
                }
                CHECKPOINT_STRICT => is_strict = switch(CHECKPOINT_STRICT, &value)?,
                CHECKPOINT_TABLE => checkpoint_table = Some(table_name(CHECKPOINT_TABLE, &value)?),
                CUTOVER => skips_frozen = switch(CUTOVER, &value)?,
                CONCURRENCY => {
                    builder = builder.concurrency(number(CONCURRENCY, &value, "a number from 1 to 1000")?);
                }
                LARGE_PAYLOADS => large_payloads = Some(value.into_owned()),
                MAX_LARGE_PAYLOAD_BYTES => {
                    let bytes = number(MAX_LARGE_PAYLOAD_BYTES, &value, "1 to 1073741824 bytes")?;
                    max_large_payload_bytes = Some(bytes);
                }
                LOG_BUFFER_BYTES => {
                    let bytes = number(LOG_BUFFER_BYTES, &value, "0 to 67108864 bytes")?;
                    builder = builder.log_buffer_bytes(bytes);
                }
                LOOK_AHEAD => {
                    builder = builder.look_ahead(number(LOOK_AHEAD, &value, "a number from 1 to 100000")?);
                }
                DEADLINE_MARGIN_MS => {
                    let milliseconds = number(DEADLINE_MARGIN_MS, &value, "0 to 5400000 milliseconds")?;
                    builder = builder.deadline_margin(Duration::from_millis(milliseconds));
                }
                DECOMPRESS => decompresses = switch(DECOMPRESS, &value)?,
                HASH_RANGE_FILTER => filters = switch(HASH_RANGE_FILTER, &value)?,
                HOLD => has_hold = switch(HOLD, &value)?,
                REPLAYS => replays = switch(REPLAYS, &value)?,
                RETRY_ATTEMPTS => {
                    let attempts = number(RETRY_ATTEMPTS, &value, "a number from 1 to 100")?;
                    builder = builder.retry_attempts(attempts);
                }
                INVALID_AGGREGATE => {
                    builder = builder.invalid_aggregate(match &*value {
                        "fail" => InvalidAggregatePolicy::Fail,
                        "raw" => InvalidAggregatePolicy::Raw,
                        "skip" => InvalidAggregatePolicy::Skip,
                        _ => return Err(OptionsError::value(INVALID_AGGREGATE, value, "fail, raw or skip")),
                    });
                }
                VECTOR_INSTRUCTIONS => {
                    builder = builder.vector_instructions(match &*value {
                        "all" => VectorInstructions::All,
                        "avx2" => VectorInstructions::Avx2,
                        "none" => VectorInstructions::None,
                        _ => {
                            return Err(OptionsError::value(VECTOR_INSTRUCTIONS, value, "all, avx2 or none"));
                        }
                    });
                }
                JOURNAL_TABLE => journal_table = Some(table_name(JOURNAL_TABLE, &value)?),
                MAX_AGE_SECONDS => {
                    let seconds = number(MAX_AGE_SECONDS, &value, "1 to 31536000 seconds")?;
                    max_age = Some(Duration::from_secs(seconds));
                }
                MAX_ATTEMPTS => {
                    quarantine =
                        quarantine.max_attempts(number(MAX_ATTEMPTS, &value, "a number from 1 to 10000")?);
                    of_quarantine.push(MAX_ATTEMPTS);
                }
                MAX_DECOMPRESSED_BYTES => {
                    let bytes = number(MAX_DECOMPRESSED_BYTES, &value, "1 to 1073741824 bytes")?;
                    builder = builder.max_decompressed_bytes(bytes);
                }
                MAX_DECOMPRESSION_RATIO => {
                    let ratio = number(MAX_DECOMPRESSION_RATIO, &value, "a number from 1 to 100000")?;
                    builder = builder.max_decompression_ratio(ratio);
                }
                MAX_KEY_BYTES => {
                    builder = builder.max_key_bytes(number(MAX_KEY_BYTES, &value, "1 to 1073741824 bytes")?);
                }
                PARALLELIZATION_FACTOR => {
                    let factor = number(PARALLELIZATION_FACTOR, &value, "a number from 1 to 10")?;
                    builder = builder.parallelization_factor(factor);
                }
                QUARANTINE => has_quarantine = switch(QUARANTINE, &value)?,
                QUARANTINE_LIMIT => {
                    quarantine =
                        quarantine.limit(number(QUARANTINE_LIMIT, &value, "a number from 1 to 5000")?);
                    of_quarantine.push(QUARANTINE_LIMIT);
                }
                unknown if unknown.starts_with(PREFIX) => {
                    return Err(OptionsError::Unknown { variable: unknown.to_owned() });
                }
                _ => {}
            }
        }
        match max_age {
            Some(age) if skips => builder = builder.skip_failed_after(age),
            Some(age) => {
                quarantine = quarantine.max_age(age);
                of_quarantine.push(MAX_AGE_SECONDS);
            }
            None if skips => {
                return Err(OptionsError::Needs { option: AGE_POLICY, needed: MAX_AGE_SECONDS });
            }
            None => {}
        }
        if has_hold {
            quarantine = quarantine.hold();
            of_quarantine.push(HOLD);
        }
        quarantine.check().map_err(|error| error.rename(variable))?;
        for (option, is_on) in [(CHECKPOINT_STRICT, is_strict), (CUTOVER, skips_frozen)] {
            if is_on && checkpoint_table.is_none() {
                return Err(OptionsError::Needs { option, needed: CHECKPOINT_TABLE });
            }
        }
        if has_quarantine && journal_table.is_none() {
            return Err(OptionsError::Needs { option: QUARANTINE, needed: JOURNAL_TABLE });
        }
        if replays && journal_table.is_none() {
            return Err(OptionsError::Needs { option: REPLAYS, needed: JOURNAL_TABLE });
        }
        if let Some(&option) = of_quarantine.first().filter(|_| !has_quarantine) {
            return Err(OptionsError::Needs { option, needed: QUARANTINE });
        }
        // Without a name of its own, outside of Lambda, there is none.
        if let Some(application) = application.or(function_name.filter(|name| !name.is_empty())) {
            builder = builder.application(application);
        }
        if decompresses {
            builder = builder.decompress();
        }
        if max_large_payload_bytes.is_some() && large_payloads.is_none() {
            return Err(OptionsError::Needs { option: MAX_LARGE_PAYLOAD_BYTES, needed: LARGE_PAYLOADS });
        }
        if let Some(prefixes) = large_payloads {
            let mut options = LargePayloadOptions::new(payload_store()?);
            for prefix in prefixes.split(',') {
                options = options.allow(prefix.trim());
            }
            if let Some(bytes) = max_large_payload_bytes {
                options = options.max_bytes(bytes);
            }
            builder = builder.large_payloads(options);
        }
        if filters {
            builder = with_hash_range_filter(builder)?;
        }
        let Stores { checkpoints, journal, replay_positions } =
            stores(checkpoint_table, journal_table, replays)?;
        if let Some(positions) = replay_positions {
            builder = builder.replays(positions);
        }
        if let Some(store) = checkpoints {
            let mirror = MirrorOptions::new(store);
            let mirror = if skips_frozen { mirror.cutover() } else { mirror };
            builder = builder.mirror(if is_strict { mirror.strict() } else { mirror });
        }
        if let Some(store) = journal {
            let journal = JournalOptions::new(store);
            builder = builder.journal(if has_quarantine { journal.quarantine(quarantine) } else { journal });
        }
        builder.build().map_err(|error| error.rename(variable))
    }
}

#[cfg(feature = "hash-range-filter")]
fn with_hash_range_filter(builder: OptionsBuilder) -> Result<OptionsBuilder, OptionsError> {
    Ok(builder.hash_range_filter(Arc::new(crate::hash_range::KinesisShardRanges::new())))
}

#[cfg(not(feature = "hash-range-filter"))]
fn with_hash_range_filter(_: OptionsBuilder) -> Result<OptionsBuilder, OptionsError> {
    Err(OptionsError::MissingFeature { option: HASH_RANGE_FILTER, feature: "hash-range-filter" })
}

/// The stores that the variables name.
#[derive(Default)]
struct Stores {
    checkpoints: Option<Arc<dyn CheckpointStore>>,
    journal: Option<Arc<dyn JournalStore>>,
    /// In the journal's table.
    replay_positions: Option<Arc<dyn CheckpointStore>>,
}

/// Returns stores that share a connection.
#[cfg(feature = "dynamodb")]
fn stores(
    checkpoint_table: Option<String>,
    journal_table: Option<String>,
    replays: bool,
) -> Result<Stores, OptionsError> {
    use crate::{
        aws::Connection, checkpoint::DynamoDbCheckpoints, journal::DynamoDbJournal,
        replay::DynamoDbReplayPositions,
    };

    let connection = Arc::new(Connection::default());
    let mut stores = Stores::default();
    if let Some(table) = checkpoint_table {
        stores.checkpoints =
            Some(Arc::new(DynamoDbCheckpoints::with_connection(table, Arc::clone(&connection))));
    }
    if let Some(table) = journal_table {
        if replays {
            let positions = DynamoDbReplayPositions::with_connection(table.clone(), Arc::clone(&connection));
            stores.replay_positions = Some(Arc::new(positions));
        }
        stores.journal = Some(Arc::new(DynamoDbJournal::with_connection(table, connection)));
    }
    Ok(stores)
}

#[cfg(not(feature = "dynamodb"))]
fn stores(
    checkpoint_table: Option<String>,
    journal_table: Option<String>,
    _: bool,
) -> Result<Stores, OptionsError> {
    let named = [(CHECKPOINT_TABLE, checkpoint_table), (JOURNAL_TABLE, journal_table)];
    match named.into_iter().find(|(_, table)| table.is_some()) {
        Some((option, _)) => Err(OptionsError::MissingFeature { option, feature: "dynamodb" }),
        None => Ok(Stores::default()),
    }
}

#[cfg(feature = "s3")]
fn payload_store() -> Result<Arc<dyn PayloadStore>, OptionsError> {
    Ok(Arc::new(crate::large_payload::S3Payloads::new()))
}

#[cfg(not(feature = "s3"))]
fn payload_store() -> Result<Arc<dyn PayloadStore>, OptionsError> {
    Err(OptionsError::MissingFeature { option: LARGE_PAYLOADS, feature: "s3" })
}

fn switch(option: &'static str, value: &str) -> Result<bool, OptionsError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(OptionsError::value(option, value, "on or off")),
    }
}

fn number<N: FromStr>(option: &'static str, value: &str, expected: &'static str) -> Result<N, OptionsError> {
    value.parse().map_err(|_| OptionsError::value(option, value, expected))
}

fn table_name(option: &'static str, value: &str) -> Result<String, OptionsError> {
    let is_legal = (3..=255).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !is_legal {
        let expected = "the name of a table: 3 to 255 letters, digits, \"_\", \"-\" and \".\"";
        return Err(OptionsError::value(option, value, expected));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::DecompressionLimits;

    fn read(variables: &[(&str, &str)]) -> Result<Options, OptionsError> {
        Options::from_variables(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn variables_override_defaults() {
        let options = read(&[("PATH", "x"), ("KINESIS_HANDLERS", "x")]).expect("nothing of the kit's");
        assert_eq!(
            (options.deadline_margin, options.invalid_aggregate),
            (Duration::from_secs(1), InvalidAggregatePolicy::Fail)
        );

        let options = read(&[(DEADLINE_MARGIN_MS, "250"), (INVALID_AGGREGATE, "raw")]).expect("legal values");
        assert_eq!(
            (options.deadline_margin, options.invalid_aggregate),
            (Duration::from_millis(250), InvalidAggregatePolicy::Raw)
        );
        let limits = read(&[(CONCURRENCY, "16"), (LOOK_AHEAD, "99")]).map(|options| options.concurrency());
        assert_eq!(
            limits.expect("legal values").map(|limits| (limits.concurrency, limits.look_ahead)),
            Some((16, 99))
        );
        assert!(options.concurrency().is_none());
        assert_eq!(
            read(&[(INVALID_AGGREGATE, "skip")]).map(|options| options.invalid_aggregate),
            Ok(InvalidAggregatePolicy::Skip)
        );
        for (value, expected) in [
            ("all", VectorInstructions::All),
            ("avx2", VectorInstructions::Avx2),
            ("none", VectorInstructions::None),
        ] {
            let options = read(&[(VECTOR_INSTRUCTIONS, value)]).map(|options| options.vector_instructions);
            assert_eq!(options, Ok(expected));
        }
    }

    #[test]
    fn limits_of_decompression_override_defaults() {
        let limits = |variables: &[(&str, &str)]| read(variables).map(|options| options.decompression);
        let expected = DecompressionLimits::default();
        assert_eq!(limits(&[(DECOMPRESS, "off")]), Ok(expected));
        let changed = [(MAX_DECOMPRESSED_BYTES, "5"), (MAX_DECOMPRESSION_RATIO, "7")];
        assert_eq!(limits(&changed), Ok(expected.max_bytes(5).max_ratio(7)));
        let expected =
            "KINESIS_HANDLER_MAX_DECOMPRESSION_RATIO: expected a number from 1 to 100000, found \"0\"";
        check_refused(MAX_DECOMPRESSION_RATIO, "0", expected);
    }

    #[cfg(any(feature = "gzip", feature = "zstd"))]
    #[test]
    fn payloads_are_decompressed_if_that_is_on() {
        for (value, expected) in [("on", true), ("off", false)] {
            let options = read(&[(DECOMPRESS, value)]).expect("legal values");
            assert_eq!(options.decompresses, expected);
        }
    }

    #[cfg(not(any(feature = "gzip", feature = "zstd")))]
    #[test]
    fn decompression_needs_a_feature() {
        let expected = "KINESIS_HANDLER_DECOMPRESS needs the feature `gzip` of kinesis-handler, which is not compiled in";
        check_refused(DECOMPRESS, "on", expected);
    }

    #[cfg(feature = "hash-range-filter")]
    #[test]
    fn user_records_are_filtered_if_that_is_on() {
        for (value, expected) in [("on", true), ("off", false)] {
            let options = read(&[(HASH_RANGE_FILTER, value)]).expect("legal values");
            assert_eq!(options.shard_ranges.is_some(), expected);
        }
    }

    #[cfg(not(feature = "hash-range-filter"))]
    #[test]
    fn the_filter_needs_a_feature() {
        let expected = "KINESIS_HANDLER_HASH_RANGE_FILTER needs the feature `hash-range-filter` of kinesis-handler, which is not compiled in";
        check_refused(HASH_RANGE_FILTER, "on", expected);
    }

    #[test]
    fn log_lines_are_kept_if_there_is_room() {
        let bytes = |value| read(&[(LOG_BUFFER_BYTES, value)]).map(|options| options.log_buffer_bytes);
        assert_eq!((read(&[]).map(|options| options.log_buffer_bytes), bytes("5")), (Ok(0), Ok(5)));
    }

    #[test]
    fn the_application_is_the_function_unless_it_has_a_name() {
        assert_eq!(read(&[]).map(|options| options.application), Ok(String::new()));
        let options = read(&[(FUNCTION_NAME, "f")]).expect("not a variable of the kit");
        assert_eq!(options.application, "f");
        let both = [(APPLICATION, "a"), (FUNCTION_NAME, "f")];
        for variables in [both, [both[1], both[0]]] {
            assert_eq!(read(&variables).map(|options| options.application), Ok("a".to_owned()));
        }
    }

    #[test]
    fn the_mirror_is_off_without_a_table() {
        let options = read(&[(FUNCTION_NAME, "f"), (CHECKPOINT_STRICT, "off")]).expect("legal values");
        assert!(options.checkpoints.is_none() && !options.checkpoint_strict);
    }

    #[cfg(feature = "dynamodb")]
    #[test]
    fn a_table_turns_the_mirror_on() {
        let mut variables =
            vec![(CHECKPOINT_TABLE, "orders.mirror"), (APPLICATION, "a"), (CHECKPOINT_STRICT, "on")];
        let options = read(&variables).expect("legal values");
        assert!(options.checkpoint_strict && !options.cutover);
        variables.push((CUTOVER, "on"));
        assert_eq!(read(&variables).map(|options| options.cutover), Ok(true));
        let shown = format!("{:?}", options.checkpoints);
        assert!(shown.contains("DynamoDbCheckpoints") && shown.contains("orders.mirror"), "{shown}");
        check_refused(
            CHECKPOINT_TABLE,
            "orders",
            "KINESIS_HANDLER_CHECKPOINT_TABLE needs KINESIS_HANDLER_APPLICATION, which is not set",
        );
    }

    #[cfg(feature = "dynamodb")]
    #[test]
    fn a_table_turns_the_journal_on() {
        let table = [(JOURNAL_TABLE, "orders.journal"), (APPLICATION, "a")];
        let options = read(&table).expect("legal values");
        assert!(!options.quarantine && options.max_attempts.is_none() && options.max_age.is_none());
        let shown = format!("{:?}", options.journal);
        assert!(shown.contains("DynamoDbJournal") && shown.contains("orders.journal"), "{shown}");

        let more =
            [(MAX_ATTEMPTS, "3"), (QUARANTINE, "on"), (MAX_AGE_SECONDS, "60"), (PARALLELIZATION_FACTOR, "2")];
        let options = read(&[&table[..], &more].concat()).expect("legal values");
        assert!(options.quarantine);
        assert_eq!(
            (options.max_attempts, options.max_age, options.parallelization_factor),
            (std::num::NonZeroU32::new(3), Some(Duration::from_secs(60)), std::num::NonZeroU32::new(2))
        );
        check_refused(
            JOURNAL_TABLE,
            "orders",
            "KINESIS_HANDLER_JOURNAL_TABLE needs KINESIS_HANDLER_APPLICATION, which is not set",
        );
    }

    #[test]
    fn old_records_are_skipped_if_the_policy_says_so() {
        let age = (MAX_AGE_SECONDS, "60");
        for variables in [[age, (AGE_POLICY, "skip")], [(AGE_POLICY, "skip"), age]] {
            let options = read(&variables).expect("no quarantine is needed");
            assert_eq!((options.skip_failed_after, options.max_age), (Some(Duration::from_secs(60)), None));
        }
        check_refused(
            AGE_POLICY,
            "drop",
            "KINESIS_HANDLER_AGE_POLICY: expected quarantine or skip, found \"drop\"",
        );
        let error =
            read(&[(MAX_AGE_SECONDS, "0"), (AGE_POLICY, "skip")]).map(drop).expect_err("a wrong value");
        let expected = "KINESIS_HANDLER_MAX_AGE_SECONDS: expected 1 to 31536000 seconds, found \"0\"";
        assert_eq!(error.to_string(), expected);
    }

    #[cfg(feature = "dynamodb")]
    #[test]
    fn a_mirror_goes_with_one_lane_only() {
        let with = |factor| {
            read(&[(CHECKPOINT_TABLE, "orders"), (APPLICATION, "a"), (PARALLELIZATION_FACTOR, factor)])
        };
        assert_eq!(
            with("2").map(drop).expect_err("two lanes").to_string(),
            "KINESIS_HANDLER_PARALLELIZATION_FACTOR: 2 cannot be combined with \
             KINESIS_HANDLER_CHECKPOINT_TABLE: concurrent batches of a shard have no common position"
        );
        assert!(!matches!(with("1"), Err(OptionsError::Excludes { .. })));
    }

    #[test]
    fn what_does_nothing_alone_is_refused() {
        for (variable, value, needed) in [
            (QUARANTINE, "on", JOURNAL_TABLE),
            (MAX_LARGE_PAYLOAD_BYTES, "7", LARGE_PAYLOADS),
            (MAX_ATTEMPTS, "3", QUARANTINE),
            (MAX_AGE_SECONDS, "60", QUARANTINE),
            (QUARANTINE_LIMIT, "10", QUARANTINE),
            (HOLD, "on", QUARANTINE),
            (REPLAYS, "on", JOURNAL_TABLE),
        ] {
            let expected = format!("{variable} needs {needed}, which is not set");
            check_refused(variable, value, &expected);
        }
        check_refused(
            AGE_POLICY,
            "skip",
            "KINESIS_HANDLER_AGE_POLICY needs KINESIS_HANDLER_MAX_AGE_SECONDS, which is not set",
        );
        let off = read(&[(QUARANTINE, "off"), (PARALLELIZATION_FACTOR, "1")]).expect("legal values");
        assert!(!off.quarantine && off.journal.is_none());
    }

    #[cfg(not(feature = "dynamodb"))]
    #[test]
    fn a_table_needs_the_feature() {
        let error = read(&[(CHECKPOINT_TABLE, "orders"), (FUNCTION_NAME, "f")]).map(drop);
        assert_eq!(
            error.expect_err("no DynamoDB").to_string(),
            "KINESIS_HANDLER_CHECKPOINT_TABLE needs the feature `dynamodb` of kinesis-handler, which \
             is not compiled in"
        );
    }

    #[cfg(feature = "s3")]
    #[test]
    fn large_payloads_are_allowed_by_prefix() {
        let prefixes = (LARGE_PAYLOADS, "s3://orders/large/, s3://others");
        let options = read(&[prefixes, (MAX_LARGE_PAYLOAD_BYTES, "7")]).expect("legal values");
        let shown = format!("{:?}", options.large_payloads);
        for part in ["S3Payloads", "\"orders\"", "\"large/\"", "\"others\"", "max_bytes: 7"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        for prefixes in ["", "orders", "s3://orders,", "s3://orders;s3://others"] {
            let error = read(&[(LARGE_PAYLOADS, prefixes)]).map(drop).expect_err("no prefix").to_string();
            let expected =
                "KINESIS_HANDLER_LARGE_PAYLOADS: expected s3://BUCKET or s3://BUCKET/PREFIX, found ";
            assert!(error.starts_with(expected), "{error}");
        }
        let error = read(&[(LARGE_PAYLOADS, "s3://orders"), (MAX_LARGE_PAYLOAD_BYTES, "0")]);
        assert_eq!(
            error.map(drop).expect_err("too few").to_string(),
            "KINESIS_HANDLER_MAX_LARGE_PAYLOAD_BYTES: expected 1 to 1073741824 bytes, found \"0\""
        );
    }

    #[cfg(not(feature = "s3"))]
    #[test]
    fn large_payloads_need_the_feature() {
        check_refused(
            LARGE_PAYLOADS,
            "s3://orders",
            "KINESIS_HANDLER_LARGE_PAYLOADS needs the feature `s3` of kinesis-handler, which is not compiled in",
        );
    }

    #[track_caller]
    fn check_refused(name: &str, value: &str, expected: &str) {
        let error = read(&[(name, value)]).map(drop).expect_err("a wrong value");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        for value in ["", "-1", "1.5", "1s", "5400001"] {
            check_refused(
                DEADLINE_MARGIN_MS,
                value,
                &format!(
                    "KINESIS_HANDLER_DEADLINE_MARGIN_MS: expected 0 to 5400000 milliseconds, found {value:?}"
                ),
            );
        }
        check_refused(
            INVALID_AGGREGATE,
            "Fail",
            "KINESIS_HANDLER_INVALID_AGGREGATE: expected fail, raw or skip, found \"Fail\"",
        );
        check_refused(
            VECTOR_INSTRUCTIONS,
            "AVX2",
            "KINESIS_HANDLER_VECTOR_INSTRUCTIONS: expected all, avx2 or none, found \"AVX2\"",
        );
        for value in ["", "a#b"] {
            check_refused(
                APPLICATION,
                value,
                &format!("KINESIS_HANDLER_APPLICATION: expected a name without \"#\", found {value:?}"),
            );
        }
        for value in ["", "0", "-1", "10001", "x"] {
            let expected = format!("{MAX_ATTEMPTS}: expected a number from 1 to 10000, found {value:?}");
            check_refused(MAX_ATTEMPTS, value, &expected);
            let expected =
                format!("{PARALLELIZATION_FACTOR}: expected a number from 1 to 10, found {value:?}");
            check_refused(PARALLELIZATION_FACTOR, value, &expected);
        }
        for value in ["0", "1073741825", "1 GiB"] {
            let expected = format!("{MAX_KEY_BYTES}: expected 1 to 1073741824 bytes, found {value:?}");
            check_refused(MAX_KEY_BYTES, value, &expected);
            let expected =
                format!("{MAX_DECOMPRESSED_BYTES}: expected 1 to 1073741824 bytes, found {value:?}");
            check_refused(MAX_DECOMPRESSED_BYTES, value, &expected);
        }
        for value in ["-1", "67108865", "1 MB"] {
            let expected = format!("{LOG_BUFFER_BYTES}: expected 0 to 67108864 bytes, found {value:?}");
            check_refused(LOG_BUFFER_BYTES, value, &expected);
        }
        check_refused(
            HASH_RANGE_FILTER,
            "yes",
            &format!("{HASH_RANGE_FILTER}: expected on or off, found \"yes\""),
        );
        check_refused(
            QUARANTINE_LIMIT,
            "5001",
            "KINESIS_HANDLER_QUARANTINE_LIMIT: expected a number from 1 to 5000, found \"5001\"",
        );
        check_refused(
            MAX_AGE_SECONDS,
            "31536001",
            "KINESIS_HANDLER_MAX_AGE_SECONDS: expected 1 to 31536000 seconds, found \"31536001\"",
        );
        check_refused(
            CHECKPOINT_STRICT,
            "yes",
            "KINESIS_HANDLER_CHECKPOINT_STRICT: expected on or off, found \"yes\"",
        );
        check_refused(
            CHECKPOINT_STRICT,
            "on",
            "KINESIS_HANDLER_CHECKPOINT_STRICT needs KINESIS_HANDLER_CHECKPOINT_TABLE, which is \
             not set",
        );
        check_refused(
            CUTOVER,
            "on",
            "KINESIS_HANDLER_CUTOVER needs KINESIS_HANDLER_CHECKPOINT_TABLE, which is not set",
        );
        for value in ["", "ab", "a/b/c", &"a".repeat(256)] {
            check_refused(
                CHECKPOINT_TABLE,
                value,
                &format!(
                    "KINESIS_HANDLER_CHECKPOINT_TABLE: expected the name of a table: 3 to 255 letters, digits, \"_\", \"-\" and \".\", found {value:?}"
                ),
            );
        }
        check_refused(
            "KINESIS_HANDLER_INVALID_AGGREGATES",
            "fail",
            "KINESIS_HANDLER_INVALID_AGGREGATES is not an option: did you mean KINESIS_HANDLER_INVALID_AGGREGATE? \
             docs/configuration.md lists all options",
        );
        check_refused(
            "KINESIS_HANDLER_FOO",
            "on",
            "KINESIS_HANDLER_FOO is not an option; docs/configuration.md lists all options",
        );
    }
}
