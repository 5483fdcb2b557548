use std::{borrow::Cow, fmt, str::FromStr};

use serde_json::Value;
use thiserror::Error;

/// The field of a JSON payload that has the partition key: a name, or a JSON pointer such as `/customer/id`.
///
/// <https://www.rfc-editor.org/rfc/rfc6901>
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyField {
    text: String,
}

/// An error in the field of a payload.
#[derive(Debug, Error)]
pub(crate) enum KeyError {
    #[error("no field {field:?}")]
    Missing { field: String },
    #[error("field {field:?}: expected text or an integer, found {found}")]
    Kind { field: String, found: &'static str },
}

impl KeyField {
    /// Returns the partition key of a payload.
    pub(crate) fn key<'v>(&self, payload: &'v Value) -> Result<Cow<'v, str>, KeyError> {
        let field = || self.text.clone();
        let value = match self.text.starts_with('/') {
            true => payload.pointer(&self.text),
            false => payload.get(&self.text),
        };
        match value {
            None => Err(KeyError::Missing { field: field() }),
            Some(Value::String(text)) => Ok(Cow::Borrowed(text)),
            Some(Value::Number(number)) if !number.is_f64() => Ok(Cow::Owned(number.to_string())),
            Some(Value::Number(_)) => Err(KeyError::Kind { field: field(), found: "a fraction" }),
            Some(Value::Null) => Err(KeyError::Kind { field: field(), found: "null" }),
            Some(Value::Bool(_)) => Err(KeyError::Kind { field: field(), found: "a boolean" }),
            Some(Value::Array(_)) => Err(KeyError::Kind { field: field(), found: "an array" }),
            Some(Value::Object(_)) => Err(KeyError::Kind { field: field(), found: "an object" }),
        }
    }
}

impl FromStr for KeyField {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("expected the name of a field, or a JSON pointer such as /customer/id"),
            _ => Ok(KeyField { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for KeyField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
