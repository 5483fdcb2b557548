use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// Length of an attribute in an error, in characters.
const SHOWN_CHARS: usize = 80;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// An attribute is not as the kit writes it.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) attribute: &'static str,
    /// Text of the attribute, shortened.
    pub(crate) found: String,
}

pub(crate) fn unreadable(item: &Item, attribute: &'static str) -> Unreadable {
    let found = match item.get(attribute) {
        None => "absent".to_owned(),
        // Payloads and keys of users.
        Some(AttributeValue::B(bytes)) => format!("B({} bytes)", bytes.as_ref().len()),
        Some(value) => format!("{value:?}").chars().take(SHOWN_CHARS).collect(),
    };
    Unreadable { attribute, found }
}

pub(crate) fn text<'a>(item: &'a Item, name: &'static str) -> Result<Option<&'a str>, Unreadable> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text)),
        Some(_) => Err(unreadable(item, name)),
    }
}

pub(crate) fn number(item: &Item, name: &'static str) -> Result<Option<u64>, Unreadable> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::N(text)) => text.parse().map(Some).map_err(|_| unreadable(item, name)),
        Some(_) => Err(unreadable(item, name)),
    }
}

pub(crate) fn text_value(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn number_value(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
