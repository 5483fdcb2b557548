use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

use crate::{
    Record, compression::DecompressionError, envelope::SchemaError, record::json_mismatch::JsonMismatch,
};

/// A payload that is not what the processor expects: a permanent error, because no retry changes a payload.
///
/// The texts name the place and the kind of the fault and hold nothing of the payload, because they end up in logs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The payload is not JSON, or does not match the expected type.
    #[error("payload {kind} (line {line}, column {column})")]
    Json {
        /// Kind of the fault.
        kind: JsonErrorKind,
        /// Line, from one.
        line: usize,
        /// Column, from one.
        column: usize,
    },
    /// The payload is not UTF-8.
    #[error("payload is not UTF-8 (byte {offset})")]
    Text {
        /// Zero-based position of the first byte that is not UTF-8.
        offset: usize,
    },
    /// The payload is text that the expected type cannot be parsed from.
    ///
    /// The type's own error is left out, because it may quote the text.
    #[error("payload cannot be parsed as {expected}")]
    Parse {
        /// Name of the expected type, such as `u32`.
        expected: &'static str,
    },
    /// The payload looks compressed and cannot be decompressed.
    #[error(transparent)]
    Compression(#[from] DecompressionError),
    /// The payload has no header of the expected schema registry.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// An item of DynamoDB does not match the expected type.
    #[cfg(feature = "dynamodb-changes")]
    #[error("item in the payload does not match {expected}{detail}")]
    Item {
        /// Name of the expected type.
        expected: &'static str,
        /// Field that is missing, after a colon; empty for another difference.
        detail: String,
    },
    /// The payload is not a protobuf message of the expected type.
    #[cfg(feature = "protobuf")]
    #[error("payload is not the expected protobuf message: {description}")]
    Protobuf {
        /// Description by prost: names of messages and fields, and wire types.
        description: String,
    },
}

/// The kind of a fault in a JSON payload.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// The JSON ends too early.
    #[error("is incomplete JSON")]
    Incomplete,
    /// The payload is not JSON.
    #[error("is not JSON")]
    Syntax,
    /// The JSON is nested deeper than can be read without risk for the stack.
    #[error("is nested more than 127 levels deep")]
    Depth,
    /// The JSON does not match the expected type: a field is missing or has another type, for example.
    #[error("does not match the expected type{}", detail(mismatch.as_deref()))]
    Mismatch {
        /// The place and the difference; `None` for a payload of more than 128 KiB, and if only `serde_json` can read the
        /// type, as with [`RawValue`](serde_json::value::RawValue).
        mismatch: Option<Box<JsonMismatch>>,
    },
}

fn detail(mismatch: Option<&JsonMismatch>) -> String {
    mismatch.map_or_else(String::new, |mismatch| format!(": {mismatch}"))
}

impl PayloadError {
    /// Describes an error of `serde_json` without the values that its text quotes.
    pub(crate) fn of_json(
        error: &serde_json::Error,
        mismatch: impl FnOnce() -> Option<JsonMismatch>,
    ) -> Self {
        use serde_json::error::Category;
        let kind = match error.classify() {
            Category::Eof => JsonErrorKind::Incomplete,
            Category::Data => JsonErrorKind::Mismatch { mismatch: mismatch().map(Box::new) },
            // The category does not tell.
            Category::Syntax if error.to_string().starts_with("recursion limit exceeded") => {
                JsonErrorKind::Depth
            }
            Category::Syntax | Category::Io => JsonErrorKind::Syntax,
        };
        PayloadError::Json { kind, line: error.line(), column: error.column() }
    }

    /// Describes an error of `serde_json` about this type and JSON.
    pub(crate) fn of_json_in<'a, T: Deserialize<'a>>(json: &'a [u8], error: &serde_json::Error) -> Self {
        PayloadError::of_json(error, || JsonMismatch::find::<T>(json))
    }
}

/// Returns JSON without the byte order mark that some producers put before it, and that is none of JSON.
pub(crate) fn without_mark(json: &[u8]) -> &[u8] {
    json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json)
}

impl<'a> Record<'a> {
    /// Reads the data, or what it [decompresses](crate::OptionsBuilder::decompress) to, as JSON. The value may borrow from the
    /// record.
    ///
    /// A byte order mark before the JSON is ignored. Only what the type reads is checked to be UTF-8: a member that it ignores may hold any bytes. Call
    /// [`text`](Self::text) first if the whole payload must be valid.
    ///
    /// The error names the field, such as `orders[2].quantity`, and the line and column, but no value of the payload. In
    /// contrast, an error of `serde_json` itself quotes values; [`ProcessError`](crate::ProcessError) leaves out those that
    /// it recognizes. To find the field, a payload of up to 128 KiB is read a second time.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Json`], and [`PayloadError::Compression`] with the option `decompress`.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, PayloadError> {
        let data = self.payload()?;
        serde_json::from_slice(data).or_else(|error| match without_mark(data) {
            json if json.len() < data.len() => {
                serde_json::from_slice(json).map_err(|error| PayloadError::of_json_in::<T>(json, &error))
            }
            _ => Err(PayloadError::of_json_in::<T>(data, &error)),
        })
    }

    /// Returns the data, or what it [decompresses](crate::OptionsBuilder::decompress) to, as UTF-8 text.
    ///
    /// To parse a value out of it, use [`parse`](Self::parse): `record.text()?.parse::<u32>()?` compiles as well, but its
    /// error is retryable, so a malformed payload blocks the shard until the mapping discards it.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Text`], and [`PayloadError::Compression`] with the option `decompress`.
    pub fn text(&self) -> Result<&'a str, PayloadError> {
        std::str::from_utf8(self.payload()?)
            .map_err(|error| PayloadError::Text { offset: error.valid_up_to() })
    }

    /// Parses the data as text. A payload that cannot be parsed is a permanent error.
    ///
    /// ```
    /// # use kinesis_handler::{ProcessError, Record};
    /// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    ///     let temperature: f64 = record.parse()?;
    ///     kinesis_handler::tracing::info!(temperature, "measured");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PayloadError::Parse`], and those of [`text`](Self::text).
    pub fn parse<T: FromStr>(&self) -> Result<T, PayloadError> {
        let expected = std::any::type_name::<T>();
        self.text()?.parse().map_err(|_| PayloadError::Parse { expected })
    }

    /// Reads the data, or what it [decompresses](crate::OptionsBuilder::decompress) to, as a protobuf message.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Protobuf`], and [`PayloadError::Compression`] with the option `decompress`.
    #[cfg(feature = "protobuf")]
    pub fn protobuf<T: prost::Message + Default>(&self) -> Result<T, PayloadError> {
        T::decode(self.payload()?).map_err(|error| PayloadError::Protobuf { description: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OwnedRecord;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Order<'a> {
        id: &'a str,
        cents: u64,
    }

    #[track_caller]
    fn check_json(data: &str, expected: Result<Order<'_>, &str>) {
        let record = OwnedRecord::new(data);
        let result = record.as_record().json::<Order<'_>>().map_err(|error| error.to_string());
        assert_eq!(result, expected.map_err(str::to_owned));
    }

    #[test]
    fn json_errors_say_where_but_not_what() {
        check_json(r#"{"id":"7","cents":5}"#, Ok(Order { id: "7", cents: 5 }));
        check_json(
            r#"{"id":"7","cents":"secret"}"#,
            Err(
                "payload does not match the expected type: cents: expected u64, found string (line 1, column 26)",
            ),
        );
        check_json(r#"{"id":"7""#, Err("payload is incomplete JSON (line 1, column 9)"));
        check_json("secret", Err("payload is not JSON (line 1, column 1)"));
    }

    #[test]
    fn json_that_is_nested_too_deeply_is_named() {
        let read = |depth: usize| {
            let record = OwnedRecord::new(format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            record.as_record().json::<serde_json::Value>().map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(read(127), Ok(()));
        let too_deep = "payload is nested more than 127 levels deep (line 1, column 128)";
        assert_eq!(read(128).expect_err("too deep"), too_deep);
        assert_eq!(read(100_000).expect_err("too deep"), too_deep);
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        check_json("\u{feff}{\"id\":\"7\",\"cents\":5}", Ok(Order { id: "7", cents: 5 }));
        check_json("\u{feff}\u{feff}{}", Err("payload is not JSON (line 1, column 1)"));
        check_json(
            "\u{feff}{\"id\":\"7\"}",
            Err("payload does not match the expected type: cents: missing field (line 1, column 10)"),
        );
    }

    #[test]
    fn an_ignored_member_may_hold_any_bytes() {
        let record = OwnedRecord::new(b"{\"id\":\"7\",\"cents\":5,\"note\":\"\xff\"}");
        assert_eq!(record.as_record().json::<Order<'_>>(), Ok(Order { id: "7", cents: 5 }));
        assert!(record.as_record().text().is_err());
    }

    #[test]
    fn text_is_utf8() {
        assert_eq!(OwnedRecord::new("été").as_record().text(), Ok("été"));
        let error = OwnedRecord::new(b"ab\xff").as_record().text().expect_err("not UTF-8");
        assert_eq!(error.to_string(), "payload is not UTF-8 (byte 2)");
    }

    #[test]
    fn a_value_that_cannot_be_parsed_is_named_by_its_type() {
        assert_eq!(OwnedRecord::new("-17").as_record().parse::<i32>(), Ok(-17));
        let error = OwnedRecord::new("secret").as_record().parse::<u32>().expect_err("not a number");
        assert_eq!(error.to_string(), "payload cannot be parsed as u32");
        assert!(crate::ProcessError::from(error).is_permanent());
        let error = OwnedRecord::new(b"\xff").as_record().parse::<u32>().expect_err("not UTF-8");
        assert_eq!(error.to_string(), "payload is not UTF-8 (byte 0)");
    }

    #[cfg(feature = "protobuf")]
    #[test]
    fn protobuf_messages() {
        #[derive(Clone, PartialEq, prost::Message)]
        struct Message {
            #[prost(string, tag = "1")]
            name: String,
        }
        let message = Message { name: "n".into() };
        let record = OwnedRecord::new(prost::Message::encode_to_vec(&message));
        assert_eq!(record.as_record().protobuf::<Message>(), Ok(message));
        let error = OwnedRecord::new(b"\x08\x01").as_record().protobuf::<Message>().expect_err("a varint");
        assert!(error.to_string().starts_with("payload is not the expected protobuf message: "), "{error}");
    }
}
