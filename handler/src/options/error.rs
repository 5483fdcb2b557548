use thiserror::Error;

use super::Options;

/// An option that the kit cannot use. Options from the environment are named by their variable, others by the method that
/// sets them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The option has an illegal value.
    #[error("{option}: expected {expected}, found {value:?}")]
    Value {
        /// Name of the option.
        option: &'static str,
        /// The value, with U+FFFD for bytes that are not UTF-8.
        value: String,
        /// Description of the legal values.
        expected: &'static str,
    },
    /// The option needs a part of the crate that was not compiled.
    #[error("{option} needs the feature `{feature}` of kinesis-handler, which is not compiled in")]
    MissingFeature {
        /// Name of the option.
        option: &'static str,
        /// Name of the Cargo feature.
        feature: &'static str,
    },
    /// The option has no effect without another one, which is not set.
    #[error("{option} needs {needed}, which is not set")]
    Needs {
        /// Name of the option.
        option: &'static str,
        /// Name of the other option.
        needed: &'static str,
    },
    /// The options exclude each other.
    #[error("{option}: {value} cannot be combined with {other}: {reason}")]
    Excludes {
        /// Name of the option.
        option: &'static str,
        /// Value of the option.
        value: u32,
        /// Name of the other option, which is set.
        other: &'static str,
        /// Reason why they exclude each other.
        reason: &'static str,
    },
    /// The kind of processor cannot do with the option.
    #[error("{option} cannot be combined with {processor}: {reason}")]
    Unsuited {
        /// Name of the option, and of its variable.
        option: &'static str,
        /// The kind of processor.
        processor: &'static str,
        /// Reason why they exclude each other.
        reason: &'static str,
    },
    /// The environment variable has the kit's prefix, but the kit does not know it: most likely a typing error.
    #[error("{} is not an option{} docs/configuration.md lists all options", variable.escape_debug(), suggestion(variable))]
    Unknown {
        /// Name of the variable.
        variable: String,
    },
}

impl OptionsError {
    pub(super) fn value(option: &'static str, value: impl ToString, expected: &'static str) -> Self {
        OptionsError::Value { option, value: value.to_string(), expected }
    }

    /// Gives the options of the error other names.
    pub(super) fn rename(mut self, name: impl Fn(&'static str) -> &'static str) -> Self {
        match &mut self {
            OptionsError::Value { option, .. } | OptionsError::MissingFeature { option, .. } => {
                *option = name(option)
            }
            OptionsError::Needs { option, needed: other } | OptionsError::Excludes { option, other, .. } => {
                (*option, *other) = (name(option), name(other));
            }
            OptionsError::Unsuited { .. } | OptionsError::Unknown { .. } => {}
        }
        self
    }
}

/// Returns the question whether the variable is meant that is most like the unknown one, or a semicolon if none is like it.
fn suggestion(unknown: &str) -> String {
    // The names begin alike.
    let own = |name: &'_ str| name.strip_prefix("KINESIS_HANDLER_").unwrap_or(name).to_owned();
    let unknown = own(unknown);
    let distance = |name: &str| strsim::damerau_levenshtein(&own(name), &unknown);
    let nearest = Options::VARIABLES.into_iter().min_by_key(|name| distance(name));
    // Of a typing error, most of the name is left.
    match nearest.filter(|name| distance(name) <= own(name).len().min(unknown.len()) / 3) {
        Some(name) => format!(": did you mean {name}?"),
        None => ";".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_variable_does_nothing_to_the_terminal() {
        let error = OptionsError::Unknown { variable: "KINESIS_HANDLER_\u{1b}[2J".to_owned() };
        assert_eq!(
            error.to_string(),
            r"KINESIS_HANDLER_\u{1b}[2J is not an option; docs/configuration.md lists all options"
        );
    }
}
