use std::{env, ffi::OsString, num::NonZeroU32, sync::Arc, time::Duration};

use thiserror::Error;

use crate::{Clock, InvalidFramePolicy, SystemClock, checkpoint::CheckpointStore, journal::JournalStore};

/// Every variable of the kit starts with this.
const PREFIX: &str = "KINESIS_HANDLER_";

/// What Lambda calls the function.
const FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";

const APPLICATION: &str = "KINESIS_HANDLER_APPLICATION";
const CHECKPOINT_STRICT: &str = "KINESIS_HANDLER_CHECKPOINT_STRICT";
const CHECKPOINT_TABLE: &str = "KINESIS_HANDLER_CHECKPOINT_TABLE";
const DEADLINE_MARGIN_MS: &str = "KINESIS_HANDLER_DEADLINE_MARGIN_MS";
const INVALID_FRAME: &str = "KINESIS_HANDLER_INVALID_FRAME";

/// A Lambda function never runs longer than 15 minutes.
const MAX_DEADLINE_MARGIN_MS: u64 = 15 * 60 * 1000;

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
    /// How long after its arrival in the stream a retryable error gives a user record up. By default never.
    pub max_age: Option<Duration>,
    /// The mapping's `ParallelizationFactor`; nothing in an event tells. If it is 1, a state in the journal that lies
    /// before a batch is one that the mapping has discarded, and is kept as a hole. By default unknown.
    pub parallelization_factor: Option<NonZeroU32>,
    /// How long before the function's deadline the handler stops and reports the first unfinished record; at most half
    /// of the time that is left when an event arrives. Default one second.
    pub deadline_margin: Duration,
    /// What becomes of a Kinesis record that looks aggregated and has illegal content. By default it fails.
    pub invalid_frame: InvalidFramePolicy,
    /// Where time comes from. By default the system.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            application: String::new(),
            checkpoints: None,
            checkpoint_strict: false,
            journal: None,
            quarantine: false,
            max_attempts: None,
            max_age: None,
            parallelization_factor: None,
            deadline_margin: Duration::from_secs(1),
            invalid_frame: InvalidFramePolicy::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A variable of the environment that the kit cannot use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The variable has a value that it cannot have.
    #[error("environment variable {variable}: {value:?} is not {expected}")]
    Value {
        /// Name of the variable.
        variable: &'static str,
        /// Its value, with U+FFFD for what is not UTF-8.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The variable needs a part of the crate that was not compiled.
    #[error(
        "environment variable {variable} needs kinesis-handler's feature `{feature}`, which is not compiled in"
    )]
    MissingFeature {
        /// Name of the variable.
        variable: &'static str,
        /// Name of the Cargo feature.
        feature: &'static str,
    },
    /// The variable does nothing without another one, which is not set.
    #[error("environment variable {variable} needs {needed}, which is not set")]
    Needs {
        /// Name of the variable.
        variable: &'static str,
        /// Name of the other one.
        needed: &'static str,
    },
    /// The variable has the kit's prefix, but the kit does not know it: most likely a typing error.
    #[error("environment variable {variable} is not known (known: {})", Options::VARIABLES.join(", "))]
    Unknown {
        /// Name of the variable.
        variable: String,
    },
}

impl Options {
    /// The environment variables that [`from_env`](Self::from_env) reads.
    pub const VARIABLES: [&'static str; 5] =
        [APPLICATION, CHECKPOINT_STRICT, CHECKPOINT_TABLE, DEADLINE_MARGIN_MS, INVALID_FRAME];

    /// The defaults, overridden by the environment variables whose names start with `KINESIS_HANDLER_`:
    ///
    /// - `KINESIS_HANDLER_APPLICATION`: [`application`](Self::application), any text without `#`. By default
    ///   `AWS_LAMBDA_FUNCTION_NAME`, the function's name, which Lambda sets.
    /// - `KINESIS_HANDLER_CHECKPOINT_STRICT`: [`checkpoint_strict`](Self::checkpoint_strict), `on` or `off`
    /// - `KINESIS_HANDLER_CHECKPOINT_TABLE`: [`checkpoints`](Self::checkpoints) in the DynamoDB table of this name. Needs
    ///   the feature `dynamodb`. Nothing connects before the first event.
    /// - `KINESIS_HANDLER_DEADLINE_MARGIN_MS`: [`deadline_margin`](Self::deadline_margin), 0 to 900000 milliseconds
    /// - `KINESIS_HANDLER_INVALID_FRAME`: [`invalid_frame`](Self::invalid_frame), `fail`, `raw` or `skip`
    ///
    /// # Errors
    ///
    /// Any [`OptionsError`], naming the variable.
    pub fn from_env() -> Result<Self, OptionsError> {
        Self::from_variables(env::vars_os())
    }

    fn from_variables(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, OptionsError> {
        let mut options = Options::default();
        let mut function_name = None;
        let mut table = None;
        for (name, value) in variables {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            let wrong =
                |variable, expected| OptionsError::Value { variable, value: value.to_string(), expected };
            match &*name {
                FUNCTION_NAME => function_name = Some(value.into_owned()),
                APPLICATION => {
                    // The character that joins the parts of a key.
                    if value.is_empty() || value.contains('#') {
                        return Err(wrong(APPLICATION, "a name without \"#\""));
                    }
                    options.application = value.into_owned();
                }
                CHECKPOINT_STRICT => {
                    options.checkpoint_strict = match &*value {
                        "on" => true,
                        "off" => false,
                        _ => return Err(wrong(CHECKPOINT_STRICT, "on or off")),
                    }
                }
                CHECKPOINT_TABLE => {
                    if !is_table_name(&value) {
                        let expected =
                            "the name of a table: 3 to 255 letters, digits, \"_\", \"-\" and \".\"";
                        return Err(wrong(CHECKPOINT_TABLE, expected));
                    }
                    table = Some(value.into_owned());
                }
                DEADLINE_MARGIN_MS => {
                    let milliseconds =
                        value.parse().ok().filter(|&milliseconds| milliseconds <= MAX_DEADLINE_MARGIN_MS);
                    options.deadline_margin = milliseconds.map(Duration::from_millis).ok_or_else(|| {
                        wrong(DEADLINE_MARGIN_MS, "a number of milliseconds from 0 to 900000")
                    })?;
                }
                INVALID_FRAME => {
                    options.invalid_frame = match &*value {
                        "fail" => InvalidFramePolicy::Fail,
                        "raw" => InvalidFramePolicy::Raw,
                        "skip" => InvalidFramePolicy::Skip,
                        _ => return Err(wrong(INVALID_FRAME, "fail, raw or skip")),
                    }
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
        match table {
            None if options.checkpoint_strict => {
                return Err(OptionsError::Needs { variable: CHECKPOINT_STRICT, needed: CHECKPOINT_TABLE });
            }
            None => {}
            Some(_) if options.application.is_empty() => {
                return Err(OptionsError::Needs { variable: CHECKPOINT_TABLE, needed: APPLICATION });
            }
            Some(table) => options.checkpoints = Some(checkpoints(table)?),
        }
        Ok(options)
    }
}

#[cfg(feature = "dynamodb")]
fn checkpoints(table: String) -> Result<Arc<dyn CheckpointStore>, OptionsError> {
    Ok(Arc::new(crate::checkpoint::DynamoDbCheckpoints::new(table)))
}

#[cfg(not(feature = "dynamodb"))]
fn checkpoints(_: String) -> Result<Arc<dyn CheckpointStore>, OptionsError> {
    Err(OptionsError::MissingFeature { variable: CHECKPOINT_TABLE, feature: "dynamodb" })
}

fn is_table_name(text: &str) -> bool {
    (3..=255).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
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
        for value in ["", "-1", "1.5", "1s", "900001"] {
            check_refused(
                DEADLINE_MARGIN_MS,
                value,
                &format!(
                    "environment variable KINESIS_HANDLER_DEADLINE_MARGIN_MS: {value:?} is not a number of \
                     milliseconds from 0 to 900000"
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
             KINESIS_HANDLER_DEADLINE_MARGIN_MS, KINESIS_HANDLER_INVALID_FRAME)",
        );
    }
}
