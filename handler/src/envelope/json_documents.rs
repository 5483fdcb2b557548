use std::marker::PhantomData;

use serde::Deserialize;
use serde_json::{StreamDeserializer, de::SliceRead, value::RawValue};

use crate::{PayloadError, Record, record::payload::without_mark};

/// The JSON documents of a payload, one after the other.
///
/// A document that does not match the type is an error, and the next one follows. After one that is not JSON there is none,
/// because nothing tells where the next one begins.
pub struct JsonDocuments<'a, T> {
    /// Absent after what is not JSON: behind a number that is followed by something else, the reader would go on.
    documents: Option<StreamDeserializer<'a, SliceRead<'a>, &'a RawValue>>,
    expected: PhantomData<fn() -> T>,
}

impl<'a, T: Deserialize<'a>> Iterator for JsonDocuments<'a, T> {
    type Item = Result<T, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let document = match self.documents.as_mut()?.next()? {
            Ok(document) => document.get(),
            Err(error) => {
                self.documents = None;
                return Some(Err(PayloadError::of_json(&error, || None)));
            }
        };
        let value = serde_json::from_str(document);
        Some(value.map_err(|error| PayloadError::of_json_in::<T>(document.as_bytes(), &error)))
    }
}

impl<'a> Record<'a> {
    /// Returns the JSON documents of the data, or of what it [decompresses](crate::OptionsBuilder::decompress) to: on lines of their
    /// own, with or without a line break after the last one, or side by side. A byte order mark before them is ignored. Without any,
    /// there is none.
    ///
    /// Line and column of an error are those in its document if that does not match the type, and those in the payload if it
    /// is not JSON.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Compression`] with the option `decompress`. A document is [`PayloadError::Json`].
    pub fn json_documents<T: Deserialize<'a>>(&self) -> Result<JsonDocuments<'a, T>, PayloadError> {
        let documents = serde_json::Deserializer::from_slice(without_mark(self.payload()?)).into_iter();
        Ok(JsonDocuments { documents: Some(documents), expected: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OwnedRecord;

    #[track_caller]
    fn check(payload: &str, expected: &[Result<u32, &str>]) {
        let record = OwnedRecord::new(payload);
        #[derive(Deserialize)]
        struct Order {
            id: u32,
        }
        let documents = record.as_record().json_documents::<Order>().expect("not compressed");
        let found: Vec<_> =
            documents.map(|order| order.map(|order| order.id).map_err(|error| error.to_string())).collect();
        let expected: Vec<_> = expected.iter().map(|expected| expected.map_err(str::to_owned)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn documents_are_on_lines_or_side_by_side() {
        check("{\"id\":1}\n{\"id\":2}\n", &[Ok(1), Ok(2)]);
        check("{\"id\":1}\r\n\r\n{\"id\":2}", &[Ok(1), Ok(2)]);
        check("{\"id\":1}{\"id\":2} {\n\"id\":3}", &[Ok(1), Ok(2), Ok(3)]);
        check("\u{feff}{\"id\":1}\n{\"id\":2}", &[Ok(1), Ok(2)]);
        check("", &[]);
        check("\n", &[]);
    }

    #[test]
    fn a_document_of_another_shape_is_an_error_between_others() {
        check(
            "{\"id\":1}\n{\"id\":\"secret\"}\n{\"id\":3}",
            &[
                Ok(1),
                Err(
                    "payload does not match the expected type: id: expected u32, found string (line 1, column 14)",
                ),
                Ok(3),
            ],
        );
    }

    #[test]
    fn nothing_follows_what_is_not_json() {
        check("{\"id\":1}\nsecret\n{\"id\":3}", &[Ok(1), Err("payload is not JSON (line 2, column 1)")]);
        check("{\"id\":1}\n{\"id\":", &[Ok(1), Err("payload is incomplete JSON (line 2, column 6)")]);
        check("1x {\"id\":3}", &[Err("payload is not JSON (line 1, column 2)")]);
        check("1-2 {\"id\":3}", &[Err("payload is not JSON (line 1, column 2)")]);
    }
}
