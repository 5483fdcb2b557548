use std::{env, ffi::OsString, num::NonZeroU32, str::FromStr, sync::Arc, time::Duration};

use kpl_deaggregation::DEFAULT_MAX_KEY_BYTES;

use super::{Options, OptionsError};
use crate::{InvalidFramePolicy, checkpoint::CheckpointStore, journal::JournalStore};

/// Every variable of the kit starts with this.
const PREFIX: &str = "KINESIS_HANDLER_";

/// What Lambda calls the function.
const FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";

const APPLICATION: &str = "KINESIS_HANDLER_APPLICATION";
const CHECKPOINT_STRICT: &str = "KINESIS_HANDLER_CHECKPOINT_STRICT";
const CHECKPOINT_TABLE: &str = "KINESIS_HANDLER_CHECKPOINT_TABLE";
const DEADLINE_MARGIN_MS: &str = "KINESIS_HANDLER_DEADLINE_MARGIN_MS";
const INVALID_FRAME: &str = "KINESIS_HANDLER_INVALID_FRAME";
const JOURNAL_TABLE: &str = "KINESIS_HANDLER_JOURNAL_TABLE";
const MAX_AGE_SECONDS: &str = "KINESIS_HANDLER_MAX_AGE_SECONDS";
const MAX_ATTEMPTS: &str = "KINESIS_HANDLER_MAX_ATTEMPTS";
const MAX_KEY_BYTES: &str = "KINESIS_HANDLER_MAX_KEY_BYTES";
const PARALLELIZATION_FACTOR: &str = "KINESIS_HANDLER_PARALLELIZATION_FACTOR";
const QUARANTINE: &str = "KINESIS_HANDLER_QUARANTINE";
const QUARANTINE_LIMIT: &str = "KINESIS_HANDLER_QUARANTINE_LIMIT";

/// A Lambda function runs for 90 minutes at most, on Lambda Managed Instances.
const MAX_DEADLINE_MARGIN_MS: u64 = 90 * 60 * 1000;

/// No stream keeps records longer than a year.
const MAX_MAX_AGE_SECONDS: u64 = 365 * 24 * 60 * 60;

/// The most that a mapping can retry.
const MAX_MAX_ATTEMPTS: u32 = 10_000;

/// More members of an aggregate in one entry could exceed DynamoDB's limit for an item.
const MAX_QUARANTINE_LIMIT: NonZeroU32 = NonZeroU32::new(5_000).expect("not zero");

/// The most lanes that a mapping can have.
const MAX_PARALLELIZATION_FACTOR: u32 = 10;

impl Options {
    /// The environment variables that [`from_env`](Self::from_env) reads.
    pub const VARIABLES: [&'static str; 12] = [
        APPLICATION,
        CHECKPOINT_STRICT,
        CHECKPOINT_TABLE,
        DEADLINE_MARGIN_MS,
        INVALID_FRAME,
        JOURNAL_TABLE,
        MAX_AGE_SECONDS,
        MAX_ATTEMPTS,
        MAX_KEY_BYTES,
        PARALLELIZATION_FACTOR,
        QUARANTINE,
        QUARANTINE_LIMIT,
    ];

    /// The defaults, overridden by the environment variables whose names start with `KINESIS_HANDLER_`:
    ///
    /// - `KINESIS_HANDLER_APPLICATION`: [`application`](Self::application), any text without `#`. By default
    ///   `AWS_LAMBDA_FUNCTION_NAME`, the function's name, which Lambda sets.
    /// - `KINESIS_HANDLER_CHECKPOINT_STRICT`: [`checkpoint_strict`](Self::checkpoint_strict), `on` or `off`
    /// - `KINESIS_HANDLER_CHECKPOINT_TABLE`: [`checkpoints`](Self::checkpoints) in the DynamoDB table of this name. Needs
    ///   the feature `dynamodb`. Nothing connects before the first event.
    /// - `KINESIS_HANDLER_DEADLINE_MARGIN_MS`: [`deadline_margin`](Self::deadline_margin), 0 to 5400000 milliseconds
    /// - `KINESIS_HANDLER_INVALID_FRAME`: [`invalid_frame`](Self::invalid_frame), `fail`, `raw` or `skip`
    /// - `KINESIS_HANDLER_JOURNAL_TABLE`: [`journal`](Self::journal) in the DynamoDB table of this name. Needs the feature
    ///   `dynamodb`. Nothing connects before the first event.
    /// - `KINESIS_HANDLER_MAX_AGE_SECONDS`: [`max_age`](Self::max_age), 1 to 31536000 seconds
    /// - `KINESIS_HANDLER_MAX_ATTEMPTS`: [`max_attempts`](Self::max_attempts), 1 to 10000
    /// - `KINESIS_HANDLER_MAX_KEY_BYTES`: [`max_key_bytes`](Self::max_key_bytes), 1 to 1073741824
    /// - `KINESIS_HANDLER_PARALLELIZATION_FACTOR`: [`parallelization_factor`](Self::parallelization_factor), 1 to 10; with a
    ///   checkpoint mirror, 1
    /// - `KINESIS_HANDLER_QUARANTINE`: [`quarantine`](Self::quarantine), `on` or `off`
    /// - `KINESIS_HANDLER_QUARANTINE_LIMIT`: [`quarantine_limit`](Self::quarantine_limit), 1 to 5000
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
        let mut options = Options::default();
        let mut function_name = None;
        let mut checkpoint_table = None;
        let mut journal_table = None;
        let mut has_quarantine_limit = false;
        for (name, value) in variables {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            match &*name {
                FUNCTION_NAME => function_name = Some(value.into_owned()),
                APPLICATION => {
                    // The character that joins the parts of a key.
                    if value.is_empty() || value.contains('#') {
                        return Err(wrong(APPLICATION, &value, "a name without \"#\""));
                    }
                    options.application = value.into_owned();
                }
                CHECKPOINT_STRICT => options.checkpoint_strict = switch(CHECKPOINT_STRICT, &value)?,
                CHECKPOINT_TABLE => checkpoint_table = Some(table_name(CHECKPOINT_TABLE, &value)?),
                DEADLINE_MARGIN_MS => {
                    let expected = "a number of milliseconds from 0 to 5400000";
                    let milliseconds =
                        number(DEADLINE_MARGIN_MS, &value, 0, MAX_DEADLINE_MARGIN_MS, expected)?;
                    options.deadline_margin = Duration::from_millis(milliseconds);
                }
                INVALID_FRAME => {
                    options.invalid_frame = match &*value {
                        "fail" => InvalidFramePolicy::Fail,
                        "raw" => InvalidFramePolicy::Raw,
                        "skip" => InvalidFramePolicy::Skip,
                        _ => return Err(wrong(INVALID_FRAME, &value, "fail, raw or skip")),
                    }
                }
                JOURNAL_TABLE => journal_table = Some(table_name(JOURNAL_TABLE, &value)?),
                MAX_AGE_SECONDS => {
                    let expected = "a number of seconds from 1 to 31536000";
                    let seconds = number(MAX_AGE_SECONDS, &value, 1, MAX_MAX_AGE_SECONDS, expected)?;
                    options.max_age = Some(Duration::from_secs(seconds));
                }
                MAX_ATTEMPTS => {
                    let expected = "a number from 1 to 10000";
                    let attempts = number(MAX_ATTEMPTS, &value, 1, MAX_MAX_ATTEMPTS, expected)?;
                    options.max_attempts = NonZeroU32::new(attempts);
                }
                MAX_KEY_BYTES => {
                    let expected = "a number of bytes from 1 to 1073741824";
                    options.max_key_bytes =
                        number(MAX_KEY_BYTES, &value, 1, DEFAULT_MAX_KEY_BYTES, expected)?;
                }
                PARALLELIZATION_FACTOR => {
                    let expected = "a number from 1 to 10";
                    let factor =
                        number(PARALLELIZATION_FACTOR, &value, 1, MAX_PARALLELIZATION_FACTOR, expected)?;
                    options.parallelization_factor = NonZeroU32::new(factor);
                }
                QUARANTINE => options.quarantine = switch(QUARANTINE, &value)?,
                QUARANTINE_LIMIT => {
                    let expected = "a number from 1 to 5000";
                    options.quarantine_limit =
                        number(QUARANTINE_LIMIT, &value, NonZeroU32::MIN, MAX_QUARANTINE_LIMIT, expected)?;
                    has_quarantine_limit = true;
                }
                unknown if unknown.starts_with(PREFIX) => {
                    return Err(OptionsError::Unknown { variable: unknown.to_owned() });
                }
                _ => {}
            }
        }
        if options.application.is_empty() {
            options.application = function_name.unwrap_or_default();
        }
        for (variable, is_set, needed, is_there) in [
            (CHECKPOINT_STRICT, options.checkpoint_strict, CHECKPOINT_TABLE, checkpoint_table.is_some()),
            (QUARANTINE, options.quarantine, JOURNAL_TABLE, journal_table.is_some()),
            (MAX_AGE_SECONDS, options.max_age.is_some(), QUARANTINE, options.quarantine),
            (MAX_ATTEMPTS, options.max_attempts.is_some(), QUARANTINE, options.quarantine),
            (QUARANTINE_LIMIT, has_quarantine_limit, QUARANTINE, options.quarantine),
            (CHECKPOINT_TABLE, checkpoint_table.is_some(), APPLICATION, !options.application.is_empty()),
            (JOURNAL_TABLE, journal_table.is_some(), APPLICATION, !options.application.is_empty()),
        ] {
            if is_set && !is_there {
                return Err(OptionsError::Needs { variable, needed });
            }
        }
        if let Some(factor) = options.parallelization_factor
            && factor.get() > 1
            && checkpoint_table.is_some()
        {
            return Err(OptionsError::Excludes {
                variable: PARALLELIZATION_FACTOR,
                value: factor.get(),
                other: CHECKPOINT_TABLE,
                reason: "batches that overtake each other have no common position",
            });
        }
        (options.checkpoints, options.journal) = stores(checkpoint_table, journal_table)?;
        Ok(options)
    }
}

type Stores = (Option<Arc<dyn CheckpointStore>>, Option<Arc<dyn JournalStore>>);

/// Both over the same connection.
#[cfg(feature = "dynamodb")]
fn stores(checkpoint_table: Option<String>, journal_table: Option<String>) -> Result<Stores, OptionsError> {
    use crate::{checkpoint::DynamoDbCheckpoints, dynamodb::Connection, journal::DynamoDbJournal};

    let connection = Arc::new(Connection::default());
    let checkpoints = checkpoint_table.map(|table| -> Arc<dyn CheckpointStore> {
        Arc::new(DynamoDbCheckpoints::with_connection(table, Arc::clone(&connection)))
    });
    let journal = journal_table.map(|table| -> Arc<dyn JournalStore> {
        Arc::new(DynamoDbJournal::with_connection(table, Arc::clone(&connection)))
    });
    Ok((checkpoints, journal))
}

#[cfg(not(feature = "dynamodb"))]
fn stores(checkpoint_table: Option<String>, journal_table: Option<String>) -> Result<Stores, OptionsError> {
    let named = [(CHECKPOINT_TABLE, checkpoint_table), (JOURNAL_TABLE, journal_table)];
    match named.into_iter().find(|(_, table)| table.is_some()) {
        Some((variable, _)) => Err(OptionsError::MissingFeature { variable, feature: "dynamodb" }),
        None => Ok((None, None)),
    }
}

fn wrong(variable: &'static str, value: &str, expected: &'static str) -> OptionsError {
    OptionsError::Value { variable, value: value.to_owned(), expected }
}

fn switch(variable: &'static str, value: &str) -> Result<bool, OptionsError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(wrong(variable, value, "on or off")),
    }
}

fn number<N: FromStr + PartialOrd>(
    variable: &'static str,
    value: &str,
    least: N,
    most: N,
    expected: &'static str,
) -> Result<N, OptionsError> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| wrong(variable, value, expected))
}

fn table_name(variable: &'static str, value: &str) -> Result<String, OptionsError> {
    let is_legal = (3..=255).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !is_legal {
        let expected = "the name of a table: 3 to 255 letters, digits, \"_\", \"-\" and \".\"";
        return Err(wrong(variable, value, expected));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Options, OptionsError> {
        Options::from_variables(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn variables_override_defaults() {
        let options = read(&[("PATH", "x"), ("KINESIS_HANDLERS", "x")]).expect("nothing of the kit's");
        assert_eq!(
            (options.deadline_margin, options.invalid_frame),
            (Duration::from_secs(1), InvalidFramePolicy::Fail)
        );

        let options = read(&[(DEADLINE_MARGIN_MS, "250"), (INVALID_FRAME, "raw")]).expect("legal values");
        assert_eq!(
            (options.deadline_margin, options.invalid_frame),
            (Duration::from_millis(250), InvalidFramePolicy::Raw)
        );
        assert_eq!(
            read(&[(INVALID_FRAME, "skip")]).map(|options| options.invalid_frame),
            Ok(InvalidFramePolicy::Skip)
        );
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
        let variables = [(CHECKPOINT_TABLE, "orders.mirror"), (APPLICATION, "a"), (CHECKPOINT_STRICT, "on")];
        let options = read(&variables).expect("legal values");
        assert!(options.checkpoint_strict);
        let shown = format!("{:?}", options.checkpoints);
        assert!(shown.contains("DynamoDbCheckpoints") && shown.contains("orders.mirror"), "{shown}");
        check_refused(
            CHECKPOINT_TABLE,
            "orders",
            "environment variable KINESIS_HANDLER_CHECKPOINT_TABLE needs KINESIS_HANDLER_APPLICATION, which is not set",
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
            (NonZeroU32::new(3), Some(Duration::from_secs(60)), NonZeroU32::new(2))
        );
        check_refused(
            JOURNAL_TABLE,
            "orders",
            "environment variable KINESIS_HANDLER_JOURNAL_TABLE needs KINESIS_HANDLER_APPLICATION, which is not set",
        );
    }

    #[test]
    fn a_mirror_goes_with_one_lane_only() {
        let with = |factor| {
            read(&[(CHECKPOINT_TABLE, "orders"), (APPLICATION, "a"), (PARALLELIZATION_FACTOR, factor)])
        };
        assert_eq!(
            with("2").map(drop).expect_err("two lanes").to_string(),
            "environment variable KINESIS_HANDLER_PARALLELIZATION_FACTOR: a value of 2 does not go with \
             KINESIS_HANDLER_CHECKPOINT_TABLE: batches that overtake each other have no common position"
        );
        assert!(!matches!(with("1"), Err(OptionsError::Excludes { .. })));
    }

    #[test]
    fn what_does_nothing_alone_is_refused() {
        for (variable, value, needed) in [
            (QUARANTINE, "on", JOURNAL_TABLE),
            (MAX_ATTEMPTS, "3", QUARANTINE),
            (MAX_AGE_SECONDS, "60", QUARANTINE),
            (QUARANTINE_LIMIT, "10", QUARANTINE),
        ] {
            let expected = format!("environment variable {variable} needs {needed}, which is not set");
            check_refused(variable, value, &expected);
        }
        let off = read(&[(QUARANTINE, "off"), (PARALLELIZATION_FACTOR, "1")]).expect("legal values");
        assert!(!off.quarantine && off.journal.is_none());
    }

    #[cfg(not(feature = "dynamodb"))]
    #[test]
    fn a_table_needs_the_feature() {
        let error = read(&[(CHECKPOINT_TABLE, "orders"), (FUNCTION_NAME, "f")]).map(drop);
        assert_eq!(
            error.expect_err("no DynamoDB").to_string(),
            "environment variable KINESIS_HANDLER_CHECKPOINT_TABLE needs kinesis-handler's feature `dynamodb`, which \
             is not compiled in"
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
                    "environment variable KINESIS_HANDLER_DEADLINE_MARGIN_MS: {value:?} is not a number of \
                     milliseconds from 0 to 5400000"
                ),
            );
        }
        check_refused(
            INVALID_FRAME,
            "Fail",
            "environment variable KINESIS_HANDLER_INVALID_FRAME: \"Fail\" is not fail, raw or skip",
        );
        for value in ["", "a#b"] {
            check_refused(
                APPLICATION,
                value,
                &format!(
                    "environment variable KINESIS_HANDLER_APPLICATION: {value:?} is not a name without \"#\""
                ),
            );
        }
        for value in ["", "0", "-1", "10001", "x"] {
            let expected = format!("{MAX_ATTEMPTS}: {value:?} is not a number from 1 to 10000");
            check_refused(MAX_ATTEMPTS, value, &format!("environment variable {expected}"));
            let expected = format!("{PARALLELIZATION_FACTOR}: {value:?} is not a number from 1 to 10");
            check_refused(PARALLELIZATION_FACTOR, value, &format!("environment variable {expected}"));
        }
        for value in ["0", "1073741825", "1 GiB"] {
            let expected =
                format!("{MAX_KEY_BYTES}: {value:?} is not a number of bytes from 1 to 1073741824");
            check_refused(MAX_KEY_BYTES, value, &format!("environment variable {expected}"));
        }
        check_refused(
            QUARANTINE_LIMIT,
            "5001",
            "environment variable KINESIS_HANDLER_QUARANTINE_LIMIT: \"5001\" is not a number from 1 to 5000",
        );
        check_refused(
            MAX_AGE_SECONDS,
            "31536001",
            "environment variable KINESIS_HANDLER_MAX_AGE_SECONDS: \"31536001\" is not a number of seconds from 1 to \
             31536000",
        );
        check_refused(
            CHECKPOINT_STRICT,
            "yes",
            "environment variable KINESIS_HANDLER_CHECKPOINT_STRICT: \"yes\" is not on or off",
        );
        check_refused(
            CHECKPOINT_STRICT,
            "on",
            "environment variable KINESIS_HANDLER_CHECKPOINT_STRICT needs KINESIS_HANDLER_CHECKPOINT_TABLE, which is \
             not set",
        );
        for value in ["", "ab", "a/b/c", &"a".repeat(256)] {
            check_refused(
                CHECKPOINT_TABLE,
                value,
                &format!(
                    "environment variable KINESIS_HANDLER_CHECKPOINT_TABLE: {value:?} is not the name of a table: 3 \
                     to 255 letters, digits, \"_\", \"-\" and \".\""
                ),
            );
        }
        check_refused(
            "KINESIS_HANDLER_INVALID_FRAMES",
            "fail",
            "environment variable KINESIS_HANDLER_INVALID_FRAMES is not known (known: KINESIS_HANDLER_APPLICATION, \
             KINESIS_HANDLER_CHECKPOINT_STRICT, KINESIS_HANDLER_CHECKPOINT_TABLE, \
             KINESIS_HANDLER_DEADLINE_MARGIN_MS, KINESIS_HANDLER_INVALID_FRAME, KINESIS_HANDLER_JOURNAL_TABLE, \
             KINESIS_HANDLER_MAX_AGE_SECONDS, KINESIS_HANDLER_MAX_ATTEMPTS, \
             KINESIS_HANDLER_MAX_KEY_BYTES, KINESIS_HANDLER_PARALLELIZATION_FACTOR, KINESIS_HANDLER_QUARANTINE, \
             KINESIS_HANDLER_QUARANTINE_LIMIT)",
        );
    }
}
