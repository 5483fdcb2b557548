use std::{borrow::Cow, error::Error, fmt};

use crate::{PayloadError, large_payload::FetchError};

/// A boxed error of any type.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// An error of a processor, and whether a retry can help.
///
/// **By default an error is retryable**: `?` makes a retryable error of every error type, because only the processor knows
/// which of its errors a retry cannot fix. The exceptions are a [`PayloadError`] and a [`FetchError`] that
/// [is permanent](FetchError::is_permanent), alone or as the source of another error, which are permanent. To decide, use [`Classify`] on a result, or return [`permanent`] or [`retryable`]:
///
/// | error | `?` makes it |
/// |---|---|
/// | [`record.json()`](crate::Record::json), [`text`](crate::Record::text), [`parse`](crate::Record::parse), `protobuf` | permanent |
/// | [`record.fetch()`](crate::Record::fetch) | permanent, unless the object could not be read now |
/// | any other type that implements [`std::error::Error`]: I/O, HTTP, AWS SDK, `ParseIntError` | retryable |
/// | `anyhow::Error`, `Box<dyn Error + Send + Sync>`, `String`, `&str` | nothing: it does not compile without [`Classify`] |
///
/// A retryable error of a record that can never succeed blocks its shard until the mapping discards the record. So make
/// errors about the record's content permanent.
///
/// Both kinds are reported to Lambda as a batch item failure; they differ in the quarantine, which takes a record with a
/// permanent error at once.
///
/// A third kind says nothing about the record: [`not_now`], because something that every record needs is down. The batch stops
/// there, no attempt of the record counts, and the quarantine does not take it.
///
/// # Errors that `?` does not convert
///
/// `anyhow::Error`, boxed errors and text do not implement [`std::error::Error`], and Rust permits no further conversion
/// next to the one from all types that do (E0119). `?` on such an error does not compile:
///
/// ```compile_fail,E0277
/// # use kinesis_handler::{ProcessError, Record};
/// # fn store(_: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> { Ok(()) }
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     store(record.text()?)?;
///     Ok(())
/// }
/// ```
///
/// ```text
/// error[E0277]: `?` couldn't convert the error: `dyn std::error::Error + Send + Sync: Sized` is not satisfied
/// ```
///
/// Say whether a retry can help, and it does:
///
/// ```
/// use kinesis_handler::{Classify, ProcessError, Record};
/// # fn store(_: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> { Ok(()) }
///
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     store(record.text()?).retryable()?;
///     Ok(())
/// }
/// ```
///
/// `ProcessError` does not implement [`std::error::Error`] itself, because that would rule out the conversion.
pub struct ProcessError {
    kind: ProcessErrorKind,
    error: BoxError,
}

/// The decision of a [`ProcessError`] about retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessErrorKind {
    Retryable,
    Permanent,
    NotNow,
}

impl ProcessError {
    /// Returns whether no retry can help.
    pub fn is_permanent(&self) -> bool {
        self.kind == ProcessErrorKind::Permanent
    }

    /// Returns whether a retry may help: neither [permanent](Self::is_permanent) nor [not now](Self::is_not_now).
    pub fn is_retryable(&self) -> bool {
        self.kind == ProcessErrorKind::Retryable
    }

    /// Returns whether the record is not to blame, because something that every record needs is down; see [`not_now`].
    pub fn is_not_now(&self) -> bool {
        self.kind == ProcessErrorKind::NotNow
    }

    pub(crate) fn kind(&self) -> ProcessErrorKind {
        self.kind
    }

    /// Makes the error one that is not the record's.
    pub(crate) fn into_not_now(self) -> Self {
        ProcessError { kind: ProcessErrorKind::NotNow, ..self }
    }

    /// Puts another error around the processor's; it stays retryable or permanent.
    pub(crate) fn map(self, surround: impl FnOnce(BoxError) -> BoxError) -> Self {
        ProcessError { kind: self.kind, error: surround(self.error) }
    }

    /// Returns the processor's error.
    pub fn error(&self) -> &(dyn Error + 'static) {
        &*self.error
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for ProcessError {
    fn from(error: E) -> Self {
        let is_permanent = |error: &(dyn Error + 'static)| {
            error.is::<PayloadError>()
                || error.downcast_ref::<FetchError>().is_some_and(FetchError::is_permanent)
        };
        let kind = match chain(&error).any(is_permanent) {
            true => ProcessErrorKind::Permanent,
            false => ProcessErrorKind::Retryable,
        };
        ProcessError { kind, error: Box::new(error) }
    }
}

/// Makes an error that no retry can fix.
///
/// ```
/// # use kinesis_handler::{ProcessError, Record, permanent};
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     if record.data().is_empty() {
///         return Err(permanent("empty payload"));
///     }
///     Ok(())
/// }
/// ```
pub fn permanent(error: impl Into<BoxError>) -> ProcessError {
    ProcessError { kind: ProcessErrorKind::Permanent, error: error.into() }
}

/// Makes an error that a retry may fix.
pub fn retryable(error: impl Into<BoxError>) -> ProcessError {
    ProcessError { kind: ProcessErrorKind::Retryable, error: error.into() }
}

/// Makes an error that is not the record's: something that every record needs is down, such as a database.
///
/// The batch stops at the record, and Lambda delivers it again. The [journal](crate::journal) counts no attempt and the
/// quarantine does not take the record, however long the outage lasts. The mapping counts a retry of its own, so its
/// `MaximumRetryAttempts` and `MaximumRecordAgeInSeconds` must survive the outage. [`CircuitBreaker`](crate::CircuitBreaker)
/// answers this by itself after some failures in a row.
///
/// ```
/// # use kinesis_handler::{ProcessError, Record, not_now};
/// # async fn is_in_maintenance() -> bool { false }
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     if is_in_maintenance().await {
///         return Err(not_now("the warehouse is in maintenance"));
///     }
///     record.text()?;
///     Ok(())
/// }
/// ```
pub fn not_now(error: impl Into<BoxError>) -> ProcessError {
    ProcessError { kind: ProcessErrorKind::NotNow, error: error.into() }
}

/// Extends [`Result`] by a decision whether a retry can help. It also takes errors that `?` does not convert: text, boxed
/// errors and `anyhow::Error`.
///
/// ```
/// # use kinesis_handler::{Classify, ProcessError, Record};
/// # fn find_customer(_: &str) -> Result<(), String> { Ok(()) }
/// # fn store(_: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> { Ok(()) }
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     let text = record.text()?;
///     find_customer(text).permanent()?;
///     store(text).retryable()
/// }
/// ```
pub trait Classify<T> {
    /// Makes an error permanent.
    ///
    /// # Errors
    ///
    /// Returns the error, as a permanent one.
    fn permanent(self) -> Result<T, ProcessError>;

    /// Makes an error retryable.
    ///
    /// # Errors
    ///
    /// Returns the error, as a retryable one.
    fn retryable(self) -> Result<T, ProcessError>;

    /// Makes an error one that is [not the record's](not_now).
    ///
    /// # Errors
    ///
    /// Returns the error, as one of something that every record needs.
    fn not_now(self) -> Result<T, ProcessError>;
}

impl<T, E: Into<BoxError>> Classify<T> for Result<T, E> {
    fn permanent(self) -> Result<T, ProcessError> {
        self.map_err(permanent)
    }

    fn retryable(self) -> Result<T, ProcessError> {
        self.map_err(retryable)
    }

    fn not_now(self) -> Result<T, ProcessError> {
        self.map_err(not_now)
    }
}

/// The error and its sources, on one line. Values that `serde_json` and other readers of serde quote from the payload are left
/// out, also where another error repeats their text: a transparent or formatting wrapper, `anyhow`, [`std::io::Error`].
///
/// Values that an error type quotes in its own words cannot be recognized, so it should quote none.
impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, error) in chain(&*self.error).enumerate() {
            if depth > 0 {
                f.write_str(": ")?;
            }
            match error.downcast_ref::<serde_json::Error>() {
                Some(error) if !error.is_io() => write!(f, "{}", PayloadError::of_json(error, || None))?,
                _ => f.write_str(&without_quoted_values(&error.to_string()))?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ProcessErrorKind::Retryable => "retryable",
            ProcessErrorKind::Permanent => "permanent",
            ProcessErrorKind::NotNow => "not now",
        };
        write!(f, "{kind}({self})")
    }
}

/// Beginnings of serde's messages that go on with a value of the payload.
const QUOTING: [&str; 5] =
    ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant ", "unknown field "];

/// Returns the text of an error without the values that serde's messages in it quote: each is replaced, from its beginning
/// to the position that `serde_json` puts at its end, or to the end of the text.
///
/// A message of `serde_json` whose beginning is not known is one that a type's own reader has made. It may quote anything,
/// so all of the text before its position is left out.
pub(crate) fn without_quoted_values(text: &str) -> Cow<'_, str> {
    let quoting = QUOTING.iter().filter_map(|beginning| text.find(beginning)).min();
    let position = position(text);
    let (start, end, shown) = match (quoting, position) {
        (None, None) => return Cow::Borrowed(text),
        (quoting, Some((end, line, column))) => {
            let start = quoting.filter(|&start| start < end).unwrap_or(0);
            (start, end, format!("payload does not match the expected type (line {line}, column {column})"))
        }
        (Some(start), None) => (start, text.len(), "payload does not match the expected type".to_owned()),
    };
    Cow::Owned(format!("{}{shown}{}", &text[..start], without_quoted_values(&text[end..])))
}

/// Finds the last position that `serde_json` gives, as ` at line 1 column 8`, and returns where it ends, and line and column.
fn position(text: &str) -> Option<(usize, u64, u64)> {
    const LINE: &str = " at line ";
    const COLUMN: &str = " column ";
    text.rmatch_indices(LINE).find_map(|(start, _)| {
        let (line, rest) = text[start + LINE.len()..].split_once(COLUMN)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        Some((text.len() - rest.len() + digits, line.parse().ok()?, rest[..digits].parse().ok()?))
    })
}

/// An error and its sources, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use std::io;

    use thiserror::Error;

    use super::*;
    use crate::OwnedRecord;

    #[derive(Debug, Error)]
    #[error("order cannot be read")]
    struct OrderError {
        #[from]
        source: PayloadError,
    }

    #[track_caller]
    fn check(error: ProcessError, expected: &str) {
        assert_eq!(format!("{error:?}"), expected);
    }

    #[test]
    fn errors_are_retryable_unless_the_payload_is_to_blame() {
        let payload = OwnedRecord::new(b"\xff").as_record().text().expect_err("not UTF-8");
        check(io::Error::other("connection lost").into(), "retryable(connection lost)");
        check(payload.clone().into(), "permanent(payload is not UTF-8 (byte 0))");
        check(
            OrderError::from(payload).into(),
            "permanent(order cannot be read: payload is not UTF-8 (byte 0))",
        );
    }

    #[test]
    fn the_processor_has_the_last_word() {
        check(
            Err::<(), _>("no such customer").permanent().expect_err("an error"),
            "permanent(no such customer)",
        );
        let boxed: BoxError = "busy".into();
        check(Err::<(), _>(boxed).retryable().expect_err("an error"), "retryable(busy)");
        check(Err::<(), _>("maintenance").not_now().expect_err("an error"), "not now(maintenance)");
        let record = OwnedRecord::new(b"\xff");
        let payload = record.as_record().text();
        check(payload.retryable().expect_err("an error"), "retryable(payload is not UTF-8 (byte 0))");
    }

    #[derive(Debug, Error)]
    enum WrappedError {
        #[error(transparent)]
        Transparent(serde_json::Error),
        #[error("order 7: {0}, dropped")]
        Formatted(serde_json::Error),
        #[error("order 8")]
        Sourced(#[source] io::Error),
    }

    #[test]
    fn a_wrapper_of_a_json_error_does_not_quote_the_payload() {
        let shape = || serde_json::from_str::<u32>("\"secret\"").expect_err("text is no number");
        let place = "payload does not match the expected type (line 1, column 8)";
        check(WrappedError::Transparent(shape()).into(), &format!("retryable({place})"));
        check(WrappedError::Formatted(shape()).into(), &format!("retryable(order 7: {place}, dropped)"));
        check(io::Error::other(shape()).into(), &format!("retryable({place})"));
        check(
            WrappedError::Sourced(io::Error::other(shape())).into(),
            &format!("retryable(order 8: {place})"),
        );
        check(retryable(shape().to_string()), &format!("retryable({place})"));
        // As plain `anyhow` and `format!("{error:?}")` do.
        check(
            permanent(format!("{:?}", shape())),
            "permanent(Error(\"payload does not match the expected type)",
        );
    }

    #[test]
    fn no_message_of_serde_quotes_the_payload() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "lowercase")]
        enum Kind {
            Order,
        }

        let unknown = serde_json::from_str::<Kind>("\"secret\"").expect_err("unknown").to_string();
        check(retryable(unknown), "retryable(payload does not match the expected type (line 1, column 8))");
        // Without a position.
        let value = serde_json::from_value::<u32>("secret".into()).expect_err("text is no number");
        check(
            retryable(format!("order 9: {value}")),
            "retryable(order 9: payload does not match the expected type)",
        );
        // A reader of the payload's own, and a value that looks like a position.
        let custom: serde_json::Error = serde::de::Error::custom("secret at line 3 column 4");
        for text in ["secret at line 1 column 8", &format!("{custom} at line 1 column 8")] {
            check(retryable(text), "retryable(payload does not match the expected type (line 1, column 8))");
        }
        check(retryable("meet me at line 4"), "retryable(meet me at line 4)");
        check(retryable("no table at line x column 7"), "retryable(no table at line x column 7)");
    }

    #[test]
    fn a_json_error_does_not_quote_the_payload() {
        let error = serde_json::from_str::<u32>("\"secret\"").expect_err("text is no number");
        assert!(error.to_string().contains("secret"));
        check(error.into(), "retryable(payload does not match the expected type (line 1, column 8))");
    }
}
