use std::{error::Error, fmt};

use crate::PayloadError;

/// Any error, boxed.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a processor could not finish a record, and whether another try can help.
///
/// `?` turns every error into a *retryable* one, except a [`PayloadError`] (alone or as another error's source), which
/// is *permanent*. To say it yourself, use [`permanent`], [`retryable`] or [`Classify`].
///
/// A failed record is reported to Lambda in both cases: without a quarantine nothing else would keep it.
///
/// It is no [`std::error::Error`] itself; that is what allows the conversion from all of them.
pub struct ProcessError {
    permanent: bool,
    error: BoxError,
}

impl ProcessError {
    /// Whether another try is pointless.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// The processor's error.
    pub fn error(&self) -> &(dyn Error + 'static) {
        &*self.error
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for ProcessError {
    fn from(error: E) -> Self {
        let permanent = chain(&error).any(|error| error.is::<PayloadError>());
        ProcessError { permanent, error: Box::new(error) }
    }
}

/// An error that no other try can mend.
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
    ProcessError { permanent: true, error: error.into() }
}

/// An error that another try may mend.
pub fn retryable(error: impl Into<BoxError>) -> ProcessError {
    ProcessError { permanent: false, error: error.into() }
}

/// Says of a result's error whether another try can help. Also takes errors that `?` does not: text, boxed errors,
/// `anyhow::Error`.
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
    /// The error, permanent.
    fn permanent(self) -> Result<T, ProcessError>;

    /// Makes an error retryable.
    ///
    /// # Errors
    ///
    /// The error, retryable.
    fn retryable(self) -> Result<T, ProcessError>;
}

impl<T, E: Into<BoxError>> Classify<T> for Result<T, E> {
    fn permanent(self) -> Result<T, ProcessError> {
        self.map_err(permanent)
    }

    fn retryable(self) -> Result<T, ProcessError> {
        self.map_err(retryable)
    }
}

/// The error and its sources, on one line. Where `serde_json` would quote the payload, only the place is shown.
impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, error) in chain(&*self.error).enumerate() {
            if depth > 0 {
                f.write_str(": ")?;
            }
            match error.downcast_ref::<serde_json::Error>() {
                Some(error) if !error.is_io() => write!(f, "{}", PayloadError::from(error))?,
                _ => write!(f, "{error}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({self})", if self.permanent { "permanent" } else { "retryable" })
    }
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
        let record = OwnedRecord::new(b"\xff");
        let payload = record.as_record().text();
        check(payload.retryable().expect_err("an error"), "retryable(payload is not UTF-8 (byte 0))");
    }

    #[test]
    fn a_json_error_does_not_quote_the_payload() {
        let error = serde_json::from_str::<u32>("\"secret\"").expect_err("text is no number");
        assert!(error.to_string().contains("secret"));
        check(error.into(), "retryable(payload is JSON of another shape (line 1, column 8))");
    }
}
