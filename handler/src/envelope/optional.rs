//! Members that a payload may lack, or have as something else, without being refused for it.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// Reads `null` as the default value.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads a number, and anything else as `None`.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Number(u64),
        Other(IgnoredAny),
    }

    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => Some(number),
        Value::Other(_) => None,
    })
}
