use serde::Deserialize;
use thiserror::Error;

use crate::Record;

/// A payload that is not what the processor expects. Trying again will not help, so it is a permanent error.
///
/// The texts say what is wrong and where, never what the payload holds: they end up in logs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The payload is not JSON, or not of the expected shape.
    #[error("payload is {fault} (line {line}, column {column})")]
    Json {
        /// In which way.
        fault: JsonFault,
        /// Line, from one.
        line: usize,
        /// Column, from one.
        column: usize,
    },
    /// The payload is not UTF-8.
    #[error("payload is not UTF-8 (byte {offset})")]
    Text {
        /// Zero-based position of the first byte that is not.
        offset: usize,
    },
    /// The payload is not a protobuf message of the expected type.
    #[cfg(feature = "protobuf")]
    #[error("payload is not the expected protobuf message: {description}")]
    Protobuf {
        /// What prost says: names of messages and fields, and wire types.
        description: String,
    },
}

/// In which way a payload is not the expected JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JsonFault {
    /// It ends too early.
    #[error("incomplete JSON")]
    Incomplete,
    /// It is not JSON.
    #[error("not JSON")]
    Syntax,
    /// It is JSON, but a member is absent or has another type.
    #[error("JSON of another shape")]
    Shape,
}

impl From<&serde_json::Error> for PayloadError {
    fn from(error: &serde_json::Error) -> Self {
        use serde_json::error::Category;
        let fault = match error.classify() {
            Category::Eof => JsonFault::Incomplete,
            Category::Data => JsonFault::Shape,
            Category::Syntax | Category::Io => JsonFault::Syntax,
        };
        PayloadError::Json { fault, line: error.line(), column: error.column() }
    }
}

impl<'a> Record<'a> {
    /// Reads the data as JSON. The value may borrow from the record.
    ///
    /// Only what the type reads is checked to be UTF-8: a member that it ignores may hold any bytes. Call
    /// [`text`](Self::text) first if the whole payload must be valid.
    ///
    /// The error names a line and a column, but no value of the payload. In contrast, an error of `serde_json` that a
    /// processor makes by itself quotes values. [`ProcessError`](crate::ProcessError) leaves out what it recognizes.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Json`].
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, PayloadError> {
        serde_json::from_slice(self.data()).map_err(|error| PayloadError::from(&error))
    }

    /// The data as UTF-8 text.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Text`].
    pub fn text(&self) -> Result<&'a str, PayloadError> {
        std::str::from_utf8(self.data()).map_err(|error| PayloadError::Text { offset: error.valid_up_to() })
    }

    /// The data as a protobuf message.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Protobuf`].
    #[cfg(feature = "protobuf")]
    pub fn protobuf<T: prost::Message + Default>(&self) -> Result<T, PayloadError> {
        T::decode(self.data()).map_err(|error| PayloadError::Protobuf { description: error.to_string() })
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
            Err("payload is JSON of another shape (line 1, column 26)"),
        );
        check_json(r#"{"id":"7""#, Err("payload is incomplete JSON (line 1, column 9)"));
        check_json("secret", Err("payload is not JSON (line 1, column 1)"));
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
