use thiserror::Error;

use super::Options;

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
    /// The variables exclude each other.
    #[error("environment variable {variable}: a value of {value} does not go with {other}: {reason}")]
    Excludes {
        /// Name of the variable.
        variable: &'static str,
        /// Its value.
        value: u32,
        /// Name of the other one, which is set.
        other: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// The variable has the kit's prefix, but the kit does not know it: most likely a typing error.
    #[error("environment variable {variable} is not known (known: {})", Options::VARIABLES.join(", "))]
    Unknown {
        /// Name of the variable.
        variable: String,
    },
}
