use std::{error::Error, fmt};

#[cfg(feature = "dynamodb")]
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
// The same types.
#[cfg(not(feature = "dynamodb"))]
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// The error of DynamoDB or S3, or of the connection to it: one line, with the service's error code if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFault {
    code: Option<String>,
    text: String,
}

impl StoreFault {
    /// The service's error code, such as `ResourceNotFoundException`. `None` if no answer came.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Adds the table to the text: DynamoDB does not name one that is not there.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn of_table(self, table: &str) -> Self {
        StoreFault { text: format!("table {table}: {}", self.text), ..self }
    }

    /// Returns the error with the code alone, if there is one: the message of a service may name what was asked for.
    #[cfg(feature = "s3")]
    pub(crate) fn without_message(self) -> Self {
        match self.code {
            Some(code) => StoreFault { text: code.clone(), code: Some(code) },
            None => self,
        }
    }
}

impl<E, R> From<SdkError<E, R>> for StoreFault
where
    E: ProvideErrorMetadata + Error + 'static,
    R: fmt::Debug,
{
    fn from(error: SdkError<E, R>) -> Self {
        let service_error = error.as_service_error();
        if let Some(code) = service_error.and_then(ProvideErrorMetadata::code) {
            let message = service_error.and_then(ProvideErrorMetadata::message).unwrap_or("(no message)");
            return StoreFault { code: Some(code.to_owned()), text: format!("{code}: {message}") };
        }
        // The SDK spreads what happened over a chain of errors, each of which says little.
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        StoreFault { code: None, text }
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for StoreFault {}
