use std::{cell::Cell, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor},
};
use serde_json::{Map, Number, Value, json};

/// Longest template in YAML. CloudFormation takes 1 MB.
const MAX_YAML_BYTES: usize = 2 << 20;

/// Most values that a template in YAML may have after its aliases are expanded: far above what 1 MB of text holds.
const MAX_VALUES: usize = 250_000;

/// Most bytes of text that a template in YAML may have after its aliases are expanded.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// Most brackets and braces that may be open at once: the parser takes quadratic time for more.
const MAX_DEPTH: usize = 256;

/// Reads a template, or another document in YAML or JSON, with YAML's short forms (`!Ref`) written out and its merges
/// (`<<`) done.
pub(in super::super) fn parse(text: &str) -> Result<Value, String> {
    // JSON first: not all of its escapes are YAML.
    let json_error = match serde_json::from_str(text) {
        Ok(document) => return Ok(document),
        Err(error) => error.to_string(),
    };
    if json_error.starts_with("recursion limit") {
        return Err(json_error);
    }
    if text.len() > MAX_YAML_BYTES {
        return Err(format!("it has {} bytes, more than {MAX_YAML_BYTES}", text.len()));
    }
    if let Some(line) = too_deep(text) {
        return Err(format!("line {line}: more than {MAX_DEPTH} brackets are open"));
    }
    let budget = Budget { values: Cell::new(MAX_VALUES), text: Cell::new(MAX_TEXT_BYTES) };
    Node(&budget).deserialize(serde_yaml_ng::Deserializer::from_str(text)).map_err(|error| {
        let error = error.to_string();
        if text.trim_start().starts_with('{') {
            // A document that is meant to be JSON gets the error of the JSON parser.
            json_error
        } else if error.starts_with("repetition limit") {
            // The parser counts the aliases, too.
            too_large()
        } else {
            error
        }
    })
}

fn too_large() -> String {
    format!("its aliases expand to more than {MAX_VALUES} values or {MAX_TEXT_BYTES} bytes")
}

/// Returns the line at which too many brackets and braces are open, those in texts included.
fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (line, text) in text.lines().enumerate() {
        for byte in text.bytes() {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MAX_DEPTH {
                return Some(line + 1);
            }
        }
    }
    None
}

/// The values and bytes that may still be read.
struct Budget {
    values: Cell<usize>,
    text: Cell<usize>,
}

impl Budget {
    fn take<E: Error>(&self, text_bytes: usize) -> Result<(), E> {
        let left = (self.values.get().checked_sub(1), self.text.get().checked_sub(text_bytes));
        let (Some(values), Some(text)) = left else {
            return Err(E::custom(too_large()));
        };
        self.values.set(values);
        self.text.set(text);
        Ok(())
    }
}

/// Reads one value, aliases expanded, within the budget.
#[derive(Clone, Copy)]
struct Node<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.0.take(0)?;
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.0.take(0)?;
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.0.take(0)?;
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.0.take(0)?;
        Ok(Value::from(value))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.0.take(0)?;
        // JSON has no infinity.
        Ok(Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.0.take(text.len())?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.0.take(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        self.0.take(0)?;
        let mut map = Map::new();
        let mut merged = Vec::new();
        while let Some((name, value)) = members.next_entry_seed(self, self)? {
            let name = super::scalar(&name).ok_or_else(|| A::Error::custom("a key is not a scalar"))?;
            if name == "<<" {
                merged.push(value);
            } else if map.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format!("duplicate key {name:?}")));
            }
        }
        for value in merged {
            merge(&mut map, value).map_err(A::Error::custom)?;
        }
        Ok(Value::Object(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (tag, contents) = data.variant_seed(self)?;
        let argument = contents.newtype_variant_seed(self)?;
        let tag = super::scalar(&tag).unwrap_or_default();
        let (name, argument) = match (tag.trim_start_matches('!'), argument) {
            (name @ ("Ref" | "Condition"), argument) => (name.to_owned(), argument),
            ("GetAtt", Value::String(text)) => {
                ("Fn::GetAtt".to_owned(), text.splitn(2, '.').map(Value::from).collect())
            }
            (name, argument) => (format!("Fn::{name}"), argument),
        };
        Ok(json!({ name: argument }))
    }
}

/// Adds the members of a map, or of each map of a list, that are missing.
fn merge(map: &mut Map<String, Value>, value: Value) -> Result<(), &'static str> {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                map.entry(name).or_insert(member);
            }
            Ok(())
        }
        Value::Array(items) => items.into_iter().try_for_each(|item| merge(map, item)),
        _ => Err("a merge (<<) needs a map"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_programs_and_yaml_that_merges_are_read() {
        assert!(parse(r#"{"Description":"\ud83d\ude00"}"#).is_ok());
        let merged = parse("a: &a { b: 1, c: 2 }\nd: { <<: *a, c: 3 }").expect("a document");
        assert_eq!(merged["d"], json!({ "b": 1, "c": 3 }));
        let short = parse("[!Ref A, !GetAtt B.C.D, !Sub x, !Not [!Condition E], 2010-09-09, 1.0]");
        let expected = json!([{ "Ref": "A" }, { "Fn::GetAtt": ["B", "C.D"] }, { "Fn::Sub": "x" },
            { "Fn::Not": [{ "Condition": "E" }] }, "2010-09-09", 1.0]);
        assert_eq!(short, Ok(expected));
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = parse(text).expect_err("a document without bounds");
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn documents_that_take_all_time_or_memory_are_refused() {
        check_refused(&"[".repeat(100_000), "recursion limit exceeded");
        check_refused(&format!("a: {}", "[".repeat(100_000)), "line 1: more than 256 brackets are open");
        check_refused(
            &format!("a:\n  b: {}", "{a: ".repeat(100_000)),
            "line 2: more than 256 brackets are open",
        );
        check_refused(&"- ".repeat(100_000), "recursion limit exceeded");
        check_refused(&format!("{}1{}", "[".repeat(200), "]".repeat(200)), "recursion limit exceeded");
        check_refused(&" ".repeat(3 << 20), "it has 3145728 bytes");
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let alias = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", alias.trim_end_matches(", ")));
        }
        check_refused(&bomb, "its aliases expand to more than");
        let wide = format!("a: &a {}\nb: [{}]", "x".repeat(100_000), "*a, ".repeat(1000));
        check_refused(&wide, "its aliases expand to more than");
    }
}
