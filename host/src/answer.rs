use bytes::Bytes;
use thiserror::Error;

/// The result of an invocation, as the mapping learns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The function returned; these bytes are its response, hopefully JSON.
    Response(Bytes),
    /// A function error (rule 12): whatever was done, the mapping takes nothing of the batch as done.
    Error(FunctionError),
    /// The function was not invoked. It costs no attempt (rule 11).
    Throttled,
}

/// Why an invocation ended without a response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FunctionError {
    /// The function reported an error.
    #[error("{error_type}: {message}")]
    Thrown {
        /// `errorType` of the report.
        error_type: String,
        /// `errorMessage` of the report.
        message: String,
    },
    /// The function's timeout has passed.
    #[error("timed out")]
    Timeout,
    /// The environment ended before it answered.
    #[error("crashed: {how}")]
    Crash {
        /// Description of the end, such as the exit status.
        how: String,
    },
    /// The function has answered, but the answer got lost.
    #[error("the response was lost")]
    LostResponse,
}
