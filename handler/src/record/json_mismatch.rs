use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected, VariantAccess,
        Visitor,
        value::{BorrowedStrDeserializer, CowStrDeserializer},
    },
    forward_to_deserialize_any,
};

/// Longest path that is shown, in characters: a type may be nested as deeply as `serde_json` reads.
const MAX_PATH_CHARS: usize = 256;

/// Longest payload that is read again, in bytes. A tree takes up to 32 times as much memory as its JSON, and a producer may
/// write up to 10 MiB.
const MAX_JSON_BYTES: usize = 128 * 1024;

/// The name under which `serde_json` asks itself for the text of a value. No other deserializer knows the text.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// The place where JSON does not match the expected type, and the difference.
///
/// It holds nothing of the payload but array indexes: names are those of the type's fields, and a key of a map is shown as
/// `*`, because keys of maps are data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonMismatch {
    path: String,
    problem: String,
}

impl JsonMismatch {
    /// Finds the mismatch by reading the JSON once more; `None` if it is longer than 128 KiB, or only `serde_json` can read the
    /// type.
    ///
    /// `serde_json` formats the value into its message before anybody can leave it out, so this reads the type from a tree
    /// of the JSON instead, with an error type of its own.
    pub(crate) fn find<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<Self> {
        if json.len() > MAX_JSON_BYTES {
            return None;
        }
        let tree: Node<'a> = serde_json::from_slice(json).ok()?;
        let NodeError { path, problem } = T::deserialize(NodeDeserializer(tree)).err()?;
        let mut text = String::new();
        for segment in path.iter().rev() {
            match segment {
                Segment::Index(index) => text.push_str(&format!("[{index}]")),
                Segment::Field(name) if text.is_empty() => text.push_str(name),
                Segment::Field(name) => text.push_str(&format!(".{name}")),
                Segment::Key if text.is_empty() => text.push('*'),
                Segment::Key => text.push_str(".*"),
            }
        }
        if let Some((end, _)) = text.char_indices().nth(MAX_PATH_CHARS) {
            text.truncate(end);
            text.push('…');
        }
        Some(JsonMismatch { path: text, problem: problem? })
    }

    /// Returns the path from the root to the value, such as `orders[2].quantity`; empty for the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the difference, such as `missing field` or `expected u32, found string`.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for JsonMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.path {
            "" => f.write_str(&self.problem),
            path => write!(f, "{path}: {}", self.problem),
        }
    }
}

/// A value of the JSON. Members keep their order and may repeat, as `serde_json` hands them to a type.
enum Node<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;

        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Node<'de>, E> {
                Ok(Node::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
                Ok(Node::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
                Ok(Node::Unsigned(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
                Ok(Node::Signed(value))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
                Ok(Node::Float(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
                Ok(Node::Text(Cow::Owned(value.to_owned())))
            }

            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
                Ok(Node::Text(Cow::Borrowed(value)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node<'de>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = access.next_element()? {
                    elements.push(element);
                }
                Ok(Node::Array(elements))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(key), value)) = access.next_entry()? {
                    members.push((key, value));
                }
                Ok(Node::Object(members))
            }
        }

        deserializer.deserialize_any(NodeVisitor)
    }
}

/// A key, borrowed where that is possible.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A step from a value into one of its parts.
#[derive(Debug)]
enum Segment {
    Index(usize),
    /// Name of a field of a struct.
    Field(&'static str),
    /// Any key of a map.
    Key,
}

/// The mismatch, while it is on its way from the value to the root.
#[derive(Debug)]
struct NodeError {
    /// Innermost segment first.
    path: Vec<Segment>,
    /// Difference; absent if this reader cannot tell.
    problem: Option<String>,
}

impl NodeError {
    fn new(problem: impl Into<String>) -> Self {
        NodeError { path: Vec::new(), problem: Some(problem.into()) }
    }

    fn within(mut self, segment: Segment) -> Self {
        self.path.push(segment);
        self
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem.as_deref().unwrap_or_default())
    }
}

impl std::error::Error for NodeError {}

impl de::Error for NodeError {
    /// A message of the type's own may quote the value, so it is left out.
    fn custom<T: fmt::Display>(_: T) -> Self {
        NodeError::new("invalid value")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
            Unexpected::Float(_) => "floating-point number",
            Unexpected::Char(_) | Unexpected::Str(_) => "string",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq => "array",
            Unexpected::Map => "object",
            _ => "another type",
        };
        NodeError::new(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        NodeError::new(format!("invalid value, expected {expected}"))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        NodeError::new(format!("expected {expected}, found {length} elements"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        NodeError::new(format!("unknown variant, expected {}", one_of(expected)))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        NodeError::new(format!("unknown field, expected {}", one_of(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        NodeError::new("missing field").within(Segment::Field(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        NodeError::new("duplicate field").within(Segment::Field(field))
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [name] => (*name).to_owned(),
        names => format!("one of {}", names.join(", ")),
    }
}

struct NodeDeserializer<'a>(Node<'a>);

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = NodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        match self.0 {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(value),
            Node::Unsigned(value) => visitor.visit_u64(value),
            Node::Signed(value) => visitor.visit_i64(value),
            Node::Float(value) => visitor.visit_f64(value),
            Node::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Node::Text(Cow::Owned(text)) => visitor.visit_string(text),
            Node::Array(elements) => visit_array(elements, visitor),
            Node::Object(members) => visitor.visit_map(Members::new(members, &[])),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        match self.0 {
            Node::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        match name {
            RAW_VALUE => Err(NodeError { path: Vec::new(), problem: None }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        match self.0 {
            Node::Object(members) => visitor.visit_map(Members::new(members, fields)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        let (variant, content) = match self.0 {
            Node::Text(variant) => (variant, None),
            Node::Object(mut members) if members.len() == 1 => {
                let (variant, content) = members.remove(0);
                (variant, Some(content))
            }
            Node::Object(_) => return Err(NodeError::new("expected an object with one member, the variant")),
            _ => return self.deserialize_any(visitor),
        };
        visitor.visit_enum(Variant { variant, variants, content })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

fn visit_array<'de, V: Visitor<'de>>(elements: Vec<Node<'de>>, visitor: V) -> Result<V::Value, NodeError> {
    let length = elements.len();
    let mut elements = Elements { elements: elements.into_iter().enumerate() };
    let value = visitor.visit_seq(&mut elements)?;
    match elements.elements.len() {
        0 => Ok(value),
        left => Err(de::Error::invalid_length(length, &&*format!("{} elements", length - left))),
    }
}

struct Elements<'a> {
    elements: std::iter::Enumerate<std::vec::IntoIter<Node<'a>>>,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = NodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, NodeError> {
        let Some((index, element)) = self.elements.next() else { return Ok(None) };
        let value = seed.deserialize(NodeDeserializer(element));
        value.map(Some).map_err(|error| error.within(Segment::Index(index)))
    }
}

struct Members<'a> {
    members: std::vec::IntoIter<(Cow<'a, str>, Node<'a>)>,
    /// Names of the struct's fields; empty for a map.
    fields: &'static [&'static str],
    next: Option<(Segment, Node<'a>)>,
}

impl<'a> Members<'a> {
    fn new(members: Vec<(Cow<'a, str>, Node<'a>)>, fields: &'static [&'static str]) -> Self {
        Members { members: members.into_iter(), fields, next: None }
    }
}

/// Returns the step to a member: by the name that the type gives it, never by the payload's own text.
fn member(key: &str, names: &'static [&'static str]) -> Segment {
    names.iter().find(|&&name| name == key).map_or(Segment::Key, |name| Segment::Field(name))
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = NodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NodeError> {
        let Some((key, value)) = self.members.next() else { return Ok(None) };
        self.next = Some((member(&key, self.fields), value));
        seed.deserialize(KeyDeserializer(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, NodeError> {
        let (segment, value) = self.next.take().expect("serde asks for a value after its key");
        seed.deserialize(NodeDeserializer(value)).map_err(|error| error.within(segment))
    }
}

/// The key of a member. `serde_json` also reads numbers and booleans out of one, for maps with such keys.
struct KeyDeserializer<'a>(Cow<'a, str>);

macro_rules! keys {
    ($($method:ident => $visit:ident,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for KeyDeserializer<'de> {
    type Error = NodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        match self.0 {
            Cow::Borrowed(key) => BorrowedStrDeserializer::new(key).deserialize_any(visitor),
            key => CowStrDeserializer::new(key).deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        visitor.visit_enum(Variant { variant: self.0, variants, content: None })
    }

    keys! {
        deserialize_bool => visit_bool,
        deserialize_i8 => visit_i8,
        deserialize_i16 => visit_i16,
        deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64,
        deserialize_i128 => visit_i128,
        deserialize_u8 => visit_u8,
        deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32,
        deserialize_u64 => visit_u64,
        deserialize_u128 => visit_u128,
        deserialize_f32 => visit_f32,
        deserialize_f64 => visit_f64,
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Variant<'a> {
    variant: Cow<'a, str>,
    variants: &'static [&'static str],
    /// Content of the variant; absent if it stands by itself, as text.
    content: Option<Node<'a>>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = NodeError;
    type Variant = Content<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'de>), NodeError> {
        let segment = member(&self.variant, self.variants);
        let variant = seed.deserialize(KeyDeserializer(self.variant))?;
        Ok((variant, Content { segment, content: self.content }))
    }
}

struct Content<'a> {
    segment: Segment,
    content: Option<Node<'a>>,
}

impl<'a> Content<'a> {
    /// Reads the content of a variant that has some.
    fn read<T>(
        self,
        expected: &str,
        read: impl FnOnce(NodeDeserializer<'a>) -> Result<T, NodeError>,
    ) -> Result<T, NodeError> {
        let result = match self.content {
            Some(content) => read(NodeDeserializer(content)),
            None => Err(NodeError::new(format!("expected {expected}, found none"))),
        };
        result.map_err(|error| error.within(self.segment))
    }
}

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = NodeError;

    fn unit_variant(self) -> Result<(), NodeError> {
        match self.content {
            None | Some(Node::Null) => Ok(()),
            Some(_) => Err(NodeError::new("expected no content").within(self.segment)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, NodeError> {
        self.read("content of the variant", |content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, NodeError> {
        self.read("an array", |content| content.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        self.read("an object", |content| content.deserialize_struct("", fields, visitor))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "the fields are only deserialized")]
    struct Order<'a> {
        id: &'a str,
        #[serde(default)]
        items: Vec<Item>,
        #[serde(default)]
        prices: HashMap<String, u32>,
        #[serde(default)]
        by_number: BTreeMap<u8, bool>,
        state: Option<State>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "the fields are only deserialized")]
    #[serde(deny_unknown_fields)]
    struct Item {
        quantity: u32,
        #[serde(rename = "pricePerUnit")]
        price: Option<f64>,
        size: Option<(u8, u8)>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "the fields are only deserialized")]
    enum State {
        Open,
        Paid(u64),
        Sent { carrier: String },
    }

    #[track_caller]
    fn check<'a, T: Deserialize<'a> + fmt::Debug>(json: &'a str, expected: &str) {
        serde_json::from_str::<T>(json).expect_err("serde_json finds a mismatch as well");
        let mismatch = JsonMismatch::find::<T>(json.as_bytes()).expect("a mismatch");
        assert_eq!(mismatch.to_string(), expected, "{json}");
    }

    #[test]
    fn a_mismatch_names_the_path_and_the_kind_and_no_value() {
        check::<Order<'_>>(r#"{"id":"7","items":[{"quantity":1},{}]}"#, "items[1].quantity: missing field");
        check::<Order<'_>>(
            r#"{"id":"7","items":[{"quantity":"secret"}]}"#,
            "items[0].quantity: expected u32, found string",
        );
        check::<Order<'_>>(
            r#"{"id":"7","items":[{"quantity":-1}]}"#,
            "items[0].quantity: invalid value, expected u32",
        );
        check::<Order<'_>>(
            r#"{"id":"7","items":[{"quantity":1,"pricePerUnit":[]}]}"#,
            "items[0].pricePerUnit: expected f64, found array",
        );
        check::<Order<'_>>(
            r#"{"id":"7","items":[{"quantity":1,"quantity":2}]}"#,
            "items[0].quantity: duplicate field",
        );
        check::<Order<'_>>(
            r#"{"id":"7","items":[{"secret":1}]}"#,
            "items[0]: unknown field, expected one of quantity, pricePerUnit, size",
        );
        check::<Order<'_>>(
            r#"{"id":"7","items":[{"quantity":1,"size":[1]}]}"#,
            "items[0].size: expected a tuple of size 2, found 1 elements",
        );
        check::<Order<'_>>(
            r#"{"id":"7","items":[{"quantity":1,"size":[1,2,3]}]}"#,
            "items[0].size: expected 2 elements, found 3 elements",
        );
        check::<Order<'_>>(r#"{"id":null}"#, "id: expected a borrowed string, found null");
        check::<Order<'_>>("7", "expected struct Order, found integer");
        check::<Vec<u8>>(r#"[1,2,true]"#, "[2]: expected u8, found boolean");
    }

    #[test]
    fn keys_of_maps_are_data() {
        check::<Order<'_>>(r#"{"id":"7","prices":{"secret":{}}}"#, "prices.*: expected u32, found object");
        check::<HashMap<String, u32>>(r#"{"secret":{}}"#, "*: expected u32, found object");
        check::<Order<'_>>(
            r#"{"id":"7","by_number":{"1":2}}"#,
            "by_number.*: expected a boolean, found integer",
        );
        check::<Order<'_>>(r#"{"id":"7","by_number":{"x":true}}"#, "by_number: expected u8, found string");
    }

    #[test]
    fn variants_are_fields_of_the_path() {
        check::<Order<'_>>(
            r#"{"id":"7","state":"secret"}"#,
            "state: unknown variant, expected one of Open, Paid, Sent",
        );
        check::<Order<'_>>(r#"{"id":"7","state":{"Paid":"x"}}"#, "state.Paid: expected u64, found string");
        check::<Order<'_>>(r#"{"id":"7","state":{"Sent":{}}}"#, "state.Sent.carrier: missing field");
        check::<Order<'_>>(
            r#"{"id":"7","state":{"Paid":1,"Open":null}}"#,
            "state: expected an object with one member, the variant",
        );
    }

    #[test]
    fn text_of_a_types_own_reader_is_left_out() {
        #[derive(Debug)]
        struct Even;

        impl<'de> Deserialize<'de> for Even {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = u64::deserialize(deserializer)?;
                if number % 2 == 0 { Ok(Even) } else { Err(de::Error::custom(format!("{number} is odd"))) }
            }
        }

        check::<Vec<Even>>("[2,4,77]", "[2]: invalid value");
    }

    #[test]
    fn a_type_that_only_serde_json_reads_has_no_path() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "the fields are only deserialized")]
        struct Envelope<'a> {
            #[serde(borrow)]
            body: &'a RawValue,
            version: u8,
        }

        let json = r#"{"body":{},"version":"one"}"#;
        serde_json::from_str::<Envelope<'_>>(json).expect_err("version is text");
        assert_eq!(JsonMismatch::find::<Envelope<'_>>(json.as_bytes()), None);
    }

    #[test]
    fn a_payload_that_would_take_much_memory_is_not_read_again() {
        let json = |elements: usize| format!("[{}true]", "0,".repeat(elements));
        let find = |json: &str| JsonMismatch::find::<Vec<u8>>(json.as_bytes()).map(|found| found.to_string());
        assert_eq!(find(&json(60_000)).as_deref(), Some("[60000]: expected u8, found boolean"));
        assert_eq!(find(&json(5_000_000)), None);
    }

    #[test]
    fn a_long_path_is_shortened() {
        #[derive(Debug, Deserialize)]
        struct Nested {
            #[expect(dead_code, reason = "the field is only deserialized")]
            a_rather_long_name_of_a_field: Option<Box<Nested>>,
        }

        let open = r#"{"a_rather_long_name_of_a_field":"#;
        let json = format!("{}1{}", open.repeat(100), "}".repeat(100));
        let mismatch = JsonMismatch::find::<Nested>(json.as_bytes()).expect("a mismatch");
        assert_eq!(mismatch.path().chars().count(), MAX_PATH_CHARS + 1);
        assert_eq!(mismatch.problem(), "expected struct Nested, found integer");
    }
}
