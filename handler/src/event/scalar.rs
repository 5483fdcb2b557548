use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A JSON member that may turn out to have any type: a wrong one is noted, not an error of the whole event.
#[derive(Debug, Clone, Default)]
pub(super) enum Scalar<'a> {
    /// The member is absent or null.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Number(f64),
    Other {
        found: &'static str,
    },
}

impl<'a> Scalar<'a> {
    /// `None` for what is not text.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Seconds, possibly with a fraction, as milliseconds. `None` for what is not such a number.
    pub(super) fn milliseconds(&self) -> Option<u64> {
        match self {
            // Rounded: 1545084650.987 is a little less than that as a float. The cast saturates.
            Scalar::Number(seconds) if *seconds >= 0.0 => Some((seconds * 1000.0).round() as u64),
            _ => None,
        }
    }

    pub(super) fn found(&self) -> &'static str {
        match self {
            Scalar::Absent => "absent",
            Scalar::Text(_) => "text",
            Scalar::Number(_) => "a number",
            Scalar::Other { found } => found,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a number")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    /// Only text with escapes comes here.
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Other { found: "a boolean" })
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other { found: "an array" })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other { found: "an object" })
    }
}
