use std::{error, fmt, time::Duration};

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};

use crate::error::chain;

/// Error codes that go away by themselves: throttling, of a resource or of its key, and resources that are being
/// changed.
const TRANSIENT: [&str; 10] = [
    "EC2ThrottledException",
    "KMSThrottlingException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ResourceInUseException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiFailure {
    /// Error code; absent if the service did not answer.
    code: Option<String>,
    text: String,
    is_transient: bool,
}

impl ApiFailure {
    /// Whether the service has answered with this error.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether the service has refused it for now, before it has done anything.
    pub(crate) fn is_throttling(&self) -> bool {
        self.code.as_deref().is_some_and(|code| TRANSIENT.contains(&code))
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        self.is_transient
    }

    /// Whether the service has not answered at all.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.code.is_none()
    }

    /// Returns the name that failures of one kind share.
    pub(crate) fn kind(&self) -> &str {
        self.code.as_deref().unwrap_or(&self.text)
    }
}

impl ApiFailure {
    /// The body of an answer broke off.
    pub(crate) fn of_body(error: &dyn error::Error) -> Self {
        ApiFailure { code: None, text: chain(error), is_transient: true }
    }

    /// The service did not answer in time.
    pub(super) fn no_answer_within(time: Duration) -> Self {
        let text = format!("no answer within {} seconds", time.as_secs());
        ApiFailure { code: None, text, is_transient: true }
    }
}

impl<E: ProvideErrorMetadata + error::Error + 'static> From<SdkError<E>> for ApiFailure {
    fn from(error: SdkError<E>) -> Self {
        let without_answer = |is_transient| ApiFailure { code: None, text: causes(&error), is_transient };
        match &error {
            SdkError::ServiceError(answer) => {
                let code = answer.err().code().unwrap_or("unknown error");
                let status = answer.raw().status();
                let text = match answer.err().message() {
                    Some(message) => format!("{code}: {message}"),
                    None => format!("{code} (HTTP {})", status.as_u16()),
                };
                ApiFailure {
                    code: Some(code.to_owned()),
                    text,
                    is_transient: status.is_server_error() || TRANSIENT.contains(&code),
                }
            }
            // An answer that is not one, such as that of a proxy on the way.
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => without_answer(true),
            SdkError::DispatchFailure(failure) => without_answer(failure.is_io() || failure.is_timeout()),
            // What cannot even be sent.
            _ => without_answer(false),
        }
    }
}

/// The causes without their wrapper, which names a part of the SDK. Several of them repeat their own cause.
fn causes(error: &dyn error::Error) -> String {
    let text = error.source().map_or_else(|| error.to_string(), chain);
    let mut parts: Vec<&str> = text.split(": ").collect();
    parts.dedup();
    parts.join(": ")
}

impl fmt::Display for ApiFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl error::Error for ApiFailure {}
