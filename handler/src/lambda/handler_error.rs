use std::{error::Error as _, fmt, time::Duration};

use lambda_runtime::Diagnostic;
use thiserror::Error;

use crate::EventError;

/// Why an invocation fails as a whole. Lambda then retries the batch, or splits it.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandlerError {
    /// The payload is no event whose failures could be reported.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The time was used up before the first user record could be begun. Reporting it as failed would promise a
    /// progress that no retry can make.
    #[error(
        "the time for this batch was used up before its first user record: {} ms on arrival, less the margin, were \
         spent reading the event; raise the function's timeout or memory, or lower the batch size",
        budget.as_millis()
    )]
    DeadlineBeforeFirstRecord {
        /// From the arrival of the event to the deadline less the margin.
        budget: Duration,
    },
    /// The event belongs to a tumbling window, and a checkpoint mirror is configured. A position that is taken as done
    /// would stand for records whose only trace is the window's state.
    #[error(
        "the event belongs to a tumbling window, and the checkpoint mirror cannot follow one: turn the mirror off \
         (KINESIS_HANDLER_CHECKPOINT_TABLE), or the mapping's tumbling windows"
    )]
    WindowWithMirror,
    /// The hash-range filter is on, and the stream is service-managed: it distributes records without regard to their keys, so
    /// the filter would drop nearly all of them.
    #[error(
        "the stream is service-managed (RecordDistributionStrategy AUTO): records of any hash key are in any shard, so turn the \
         hash-range filter off (KINESIS_HANDLER_HASH_RANGE_FILTER)"
    )]
    ServiceManagedStream,
    /// The processor is one of windows, and the event belongs to none.
    #[error("the event belongs to no tumbling window: set the mapping's TumblingWindowInSeconds")]
    NoWindow,
    /// The state of a window cannot be used. The invocation fails, because Lambda would lose what the state stands for.
    #[error("the window's state {what}")]
    WindowState {
        /// Fault of the state, and its place if it cannot be read.
        what: String,
    },
    /// The function is invoked by the alias of a replay, and cannot tell which records belong to it. Nothing may be processed: it would
    /// count for the live mapping.
    #[error("invoked by {alias}, the alias of a replay: {reason}")]
    Replay {
        /// Name of the alias.
        alias: String,
        /// Reason, and the way to repair it.
        reason: String,
    },
    /// The processor could not finish a window, which Lambda then tries again.
    #[error("the window could not be finished: {error}")]
    WindowNotFinished {
        /// The processor's error.
        error: String,
    },
    /// A cut-over may be pending, its frozen position cannot be read, and the mirror is strict.
    #[error("the frozen position of a cut-over cannot be read: {error}")]
    FrozenPositionUnread {
        /// The store's error.
        error: String,
    },
}

impl HandlerError {
    fn error_type(&self) -> &'static str {
        match self {
            HandlerError::Event(_) => "KinesisHandler.InvalidEvent",
            HandlerError::DeadlineBeforeFirstRecord { .. } => "KinesisHandler.DeadlineBeforeFirstRecord",
            HandlerError::WindowWithMirror => "KinesisHandler.WindowWithMirror",
            HandlerError::ServiceManagedStream => "KinesisHandler.ServiceManagedStream",
            HandlerError::NoWindow => "KinesisHandler.NoWindow",
            HandlerError::WindowState { .. } => "KinesisHandler.WindowState",
            HandlerError::Replay { .. } => "KinesisHandler.Replay",
            HandlerError::WindowNotFinished { .. } => "KinesisHandler.WindowNotFinished",
            HandlerError::FrozenPositionUnread { .. } => "KinesisHandler.FrozenPositionUnread",
        }
    }

    /// The error and its sources: Lambda and its runtime show nothing else.
    fn whole_text(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }
}

/// Shows the text that `lambda_runtime` logs.
impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type(), self.whole_text())
    }
}

impl From<HandlerError> for Diagnostic {
    fn from(error: HandlerError) -> Self {
        Diagnostic { error_type: error.error_type().to_owned(), error_message: error.whole_text() }
    }
}
