use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{error::json_fault, input::kinesis_record::InvalidRecord};

/// Text that borrows if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a member that should be text; `None` if it is absent or null.
pub(crate) fn text<'a>(
    value: Option<&'a RawValue>,
    member: &'static str,
    expected: &'static str,
) -> Result<Option<Cow<'a, str>>, InvalidRecord> {
    let Some(value) = value else { return Ok(None) };
    match found(value) {
        "text" => match serde_json::from_str(value.get()) {
            Ok(Text(text)) => Ok(Some(text)),
            Err(error) => Err(InvalidRecord::Json { member, fault: json_fault(&error) }),
        },
        found => Err(InvalidRecord::Type { member, found, expected }),
    }
}

/// Reads a member that should be an object.
pub(super) fn object<'a, T: Deserialize<'a>>(
    value: &'a RawValue,
    member: &'static str,
) -> Result<T, InvalidRecord> {
    match found(value) {
        // The derived reader would take an array for an object with its members in order.
        "an object" => serde_json::from_str(value.get())
            .map_err(|error| InvalidRecord::Json { member, fault: json_fault(&error) }),
        found => Err(InvalidRecord::Type { member, found, expected: "an object" }),
    }
}

/// Returns the JSON type of a value.
pub(super) fn found(value: &RawValue) -> &'static str {
    match value.get().as_bytes() {
        [b'"', ..] => "text",
        [b'{', ..] => "an object",
        [b'[', ..] => "an array",
        [b't' | b'f', ..] => "a boolean",
        [b'n', ..] => "null",
        _ => "a number",
    }
}
