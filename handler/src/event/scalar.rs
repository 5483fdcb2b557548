use std::{borrow::Cow, fmt, marker::PhantomData};

use chrono::DateTime;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// The number from which a time is in milliseconds: that many seconds are in the year 5138, so many milliseconds in 1973.
const MIN_MILLISECONDS: f64 = 1e11;

/// A JSON member that may turn out to have any type: a wrong one is noted, not an error of the whole event.
#[derive(Debug, Clone, Default)]
pub(super) enum Scalar<'a> {
    /// The member is absent or null.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    /// Text that is not checked to be UTF-8: base64, which is checked when it is decoded.
    Base64(&'a [u8]),
    Number(f64),
    Boolean(bool),
    Other {
        found: &'static str,
    },
}

impl<'a> Scalar<'a> {
    /// Returns the text; `None` for any other value.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a time in milliseconds since 1970: from seconds, possibly with a fraction, as AWS writes them, from
    /// milliseconds, or from ISO 8601 with a zone, as emulators do. `None` for anything else.
    pub(super) fn milliseconds(&self) -> Option<u64> {
        match self {
            Scalar::Number(number) => number_milliseconds(*number),
            Scalar::Text(text) => match text.parse() {
                Ok(number) => number_milliseconds(number),
                Err(_) => DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis().try_into().ok(),
            },
            _ => None,
        }
    }

    pub(super) fn found(&self) -> &'static str {
        match self {
            Scalar::Absent => "absent",
            Scalar::Text(_) | Scalar::Base64(_) => "text",
            Scalar::Number(_) => "a number",
            Scalar::Boolean(_) => "a boolean",
            Scalar::Other { found } => found,
        }
    }
}

fn number_milliseconds(number: f64) -> Option<u64> {
    if !(number.is_finite() && number >= 0.0) {
        return None;
    }
    let milliseconds = if number >= MIN_MILLISECONDS { number } else { number * 1000.0 };
    // Rounded: 1545084650.987 is a little less than that as a float. The cast saturates.
    Some(milliseconds.round() as u64)
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

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Boolean(value))
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

/// A JSON member that should be an object: a wrong type is noted, not an error of the whole event.
#[derive(Debug, Default)]
pub(super) enum Object<T> {
    /// The member is absent or null.
    #[default]
    Absent,
    Value(T),
    Other {
        found: &'static str,
    },
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// A derived reader would also take an array, as the object's members in order.
struct ObjectVisitor<T>(PhantomData<T>);

impl<T> ObjectVisitor<T> {
    fn other<E>(found: &'static str) -> Result<Object<T>, E> {
        Ok(Object::Other { found })
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object::Value)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Object::Absent)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Self::other("text")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Self::other("a boolean")
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Self::other("a number")
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Self::other("a number")
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Self::other("a number")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Self::other("an array")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_milliseconds(json: &str, expected: Option<u64>) {
        let scalar: Scalar<'_> = serde_json::from_str(json).expect("JSON");
        assert_eq!(scalar.milliseconds(), expected, "{json}");
    }

    #[test]
    fn an_arrival_time_is_read_in_seconds_in_milliseconds_and_as_text() {
        let expected = Some(1_545_084_650_987);
        check_milliseconds("1545084650.987", expected);
        check_milliseconds("1545084650987", expected);
        check_milliseconds("\"1545084650.987\"", expected);
        check_milliseconds("\"2018-12-17T22:10:50.987Z\"", expected);
        check_milliseconds("\"2018-12-17T23:10:50.987+01:00\"", expected);
        check_milliseconds("1767225600", Some(1_767_225_600_000));
        check_milliseconds("0", Some(0));
        for none in ["null", "-1", "\"\"", "\"yesterday\"", "\"NaN\"", "\"inf\"", "true", "[1]", "{}"] {
            check_milliseconds(none, None);
        }
        check_milliseconds("1e300", Some(u64::MAX));
    }
}
