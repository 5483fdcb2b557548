use std::{env, ffi::OsString, sync::Arc, time::Duration};

use thiserror::Error;

use crate::{Clock, InvalidFramePolicy, SystemClock};

/// Every variable of the kit starts with this.
const PREFIX: &str = "KINESIS_HANDLER_";

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
    /// The variable has the kit's prefix, but the kit does not know it: most likely a typing error.
    #[error("environment variable {variable} is not known (known: {})", Options::VARIABLES.join(", "))]
    Unknown {
        /// Name of the variable.
        variable: String,
    },
}

impl Options {
    /// The environment variables that [`from_env`](Self::from_env) reads.
    pub const VARIABLES: [&'static str; 2] = [DEADLINE_MARGIN_MS, INVALID_FRAME];

    /// The defaults, overridden by the environment variables whose names start with `KINESIS_HANDLER_`:
    ///
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
        for (name, value) in variables {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            if !name.starts_with(PREFIX) {
                continue;
            }
            let wrong =
                |variable, expected| OptionsError::Value { variable, value: value.to_string(), expected };
            match &*name {
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
                unknown => return Err(OptionsError::Unknown { variable: unknown.to_owned() }),
            }
        }
        Ok(options)
    }
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
        check_refused(
            "KINESIS_HANDLER_INVALID_FRAMES",
            "fail",
            "environment variable KINESIS_HANDLER_INVALID_FRAMES is not known (known: \
             KINESIS_HANDLER_DEADLINE_MARGIN_MS, KINESIS_HANDLER_INVALID_FRAME)",
        );
    }
}
