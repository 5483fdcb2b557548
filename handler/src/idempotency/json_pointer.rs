use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use crate::{PayloadError, ProcessError, Record, permanent};

/// Most bytes of the JSON of a key. A key of any length becomes a hash, but its JSON is read into memory.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// Returns a key function: the value at this JSON pointer (such as `/order/id`) of the payload, which is a permanent error if there is
/// none, or if its JSON has more than 64 KiB.
///
/// The rest of the payload is only checked to be JSON, and takes no memory.
pub fn json_pointer(
    pointer: impl Into<String>,
) -> impl Fn(Record<'_>) -> Result<Option<String>, ProcessError> + Send + Sync + 'static {
    let pointer = pointer.into();
    move |record| {
        let payload = record.json::<&RawValue>()?;
        let json = match find(payload, &pointer)?.map(RawValue::get) {
            None | Some("null") => {
                return Err(permanent(format!("payload has no idempotency key at {pointer:?}")));
            }
            Some(json) => json,
        };
        if json.len() > MAX_KEY_BYTES {
            let bytes = json.len();
            return Err(permanent(format!(
                "idempotency key at {pointer:?} has {bytes} bytes of JSON: expected at most {MAX_KEY_BYTES}"
            )));
        }
        // So that white space and escapes make no difference.
        let key: Value = serde_json::from_str(json).map_err(not_json)?;
        Ok(Some(key.to_string()))
    }
}

/// Finds the value at a pointer: <https://www.rfc-editor.org/rfc/rfc6901>
fn find<'a>(payload: &'a RawValue, pointer: &str) -> Result<Option<&'a RawValue>, PayloadError> {
    let mut tokens = pointer.split('/');
    // What is before the first slash.
    if tokens.next() != Some("") {
        return Ok(None);
    }
    let mut found = payload;
    for token in tokens {
        if !found.get().starts_with(['{', '[']) {
            return Ok(None);
        }
        let token = token.replace("~1", "/").replace("~0", "~");
        let mut json = serde_json::Deserializer::from_str(found.get());
        match Child(&token).deserialize(&mut json).map_err(not_json)? {
            Some(child) => found = child,
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

fn not_json(error: serde_json::Error) -> PayloadError {
    PayloadError::of_json(&error, || None)
}

/// Reads the member of an object, or the element of an array, that a token names.
struct Child<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_wanted) = members.next_key_seed(Is(self.0))? {
            if is_wanted {
                // The last one of a name counts.
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        // The pointer's indexes have no signs and no leading zeros.
        let wanted = self.0.parse::<usize>().ok().filter(|index| index.to_string() == self.0);
        let mut found = None;
        for index in 0.. {
            if wanted == Some(index) {
                found = elements.next_element()?;
            } else if elements.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// Reads a name, and returns whether it is this one.
struct Is<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::OwnedRecord;

    fn key(payload: &str, pointer: &str) -> Result<String, String> {
        let record = OwnedRecord::new(payload);
        let key = json_pointer(pointer)(record.as_record()).map_err(|error| error.to_string())?;
        Ok(key.expect("a key or an error"))
    }

    #[track_caller]
    fn check(payload: &str, pointer: &str, expected: Result<&str, &str>) {
        assert_eq!(key(payload, pointer).as_deref().map_err(|error| &**error), expected, "{payload}");
    }

    #[test]
    fn a_key_is_a_value_of_the_payload() {
        check(r#"{"id":"A-1"}"#, "/id", Ok("\"A-1\""));
        check(r#"{"order":{"ids":[7, {"a/b~":"\u0041"}]}}"#, "/order/ids/1/a~1b~0", Ok("\"A\""));
        check(r#"{"id":[ 1, {"a" : 2} ]}"#, "/id", Ok(r#"[1,{"a":2}]"#));
        check(r#"{"id":1,"id":2}"#, "/id", Ok("2"));
        check(r#"{"\u0069d":1}"#, "/id", Ok("1"));
        check(" 7 ", "", Ok("7"));
    }

    #[test]
    fn a_payload_without_a_key_is_an_error() {
        for (payload, pointer) in [
            (r#"{"id":null}"#, "/id"),
            ("{}", "/id"),
            ("[1]", "/1"),
            ("[1]", "/00"),
            ("7", "/id"),
            (r#"{"id":1}"#, "id"),
        ] {
            check(payload, pointer, Err(&format!("payload has no idempotency key at {pointer:?}")));
        }
        check(r#"{"id":1"#, "/id", Err("payload is incomplete JSON (line 1, column 7)"));
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(64 * 1024));
        check(
            &long,
            "/id",
            Err("idempotency key at \"/id\" has 65538 bytes of JSON: expected at most 65536"),
        );
    }

    #[test]
    fn what_is_not_the_key_takes_no_memory() {
        let payload = format!(r#"{{"rest":[{}0],"id":"A-1"}}"#, "[],".repeat(300_000));
        let record = OwnedRecord::new(payload);
        let key = json_pointer("/id");
        let info = allocation_counter::measure(|| {
            assert_eq!(key(record.as_record()).expect("a key").as_deref(), Some("\"A-1\""));
        });
        assert!(info.bytes_max < 16 * 1024, "{} bytes", info.bytes_max);
    }

    proptest! {
        #[test]
        fn a_pointer_finds_what_serde_json_finds(
            payload in "[\\[\\]{}\":,a01 ]{0,12}|\\{\"a\":\\[0,[01],\\{\"0\":1}]}",
            pointer in "(/[a01]{0,2}){0,3}",
        ) {
            let expected = serde_json::from_str::<Value>(&payload).ok();
            let expected = expected.and_then(|value| value.pointer(&pointer).cloned()).filter(|value| !value.is_null());
            prop_assert_eq!(key(&payload, &pointer).ok(), expected.map(|value| value.to_string()));
        }
    }
}
