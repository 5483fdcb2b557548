use std::{any::Any, collections::BTreeMap};

use kpl_deaggregation::InvalidAggregate;
use thiserror::Error;

use crate::{
    BoxError, ExtendedSequenceNumber, ProcessError, SequenceNumber,
    event::UnreadableRecord,
    journal::{Progress, UserRecordId},
    processor::process_error::{ProcessErrorKind, without_quoted_values},
};

/// The end of a batch before its last user record.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) reason: StopReason,
    /// The failed attempt that the journal has to count, if there was one.
    pub(crate) attempt: Option<Attempt>,
    /// Outcomes of user records beyond it, by Kinesis record.
    pub(crate) ahead: BTreeMap<SequenceNumber, Progress>,
}

/// The reason why a batch stops at a user record, unless the quarantine takes that record.
#[derive(Debug)]
pub enum StopReason {
    /// The record failed.
    Failed(Failure),
    /// The deadline is near. The record was interrupted or not begun.
    Deadline,
    /// The deadline is near, and no user record could even be begun: reporting it would be no progress.
    DeadlineBeforeFirst,
}

/// A failed attempt at the user record where the batch has stopped.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) id: UserRecordId,
    pub(crate) error: String,
}

/// The reason why a record failed.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("{text}")]
    Process { is_permanent: bool, text: String },
    /// Something that every record needs is down.
    #[error("{0}")]
    NotNow(String),
    #[error("processor panicked: {}", without_quoted_values(.0))]
    Panic(String),
    #[error("Kinesis record cannot be read: {0}")]
    Unreadable(UnreadableRecord),
    #[error("aggregated record is invalid: {0}")]
    InvalidAggregate(InvalidAggregate),
    /// An earlier record of its partition key is in the quarantine, and the options want it to follow.
    #[error("held behind {behind}, an earlier record of its partition key, which was quarantined")]
    Held { behind: ExtendedSequenceNumber },
}

impl Stop {
    /// A stop at a user record, if no other one is known to be processed beyond it.
    pub(crate) fn new(reason: StopReason, attempt: Option<Attempt>) -> Self {
        Stop { reason, attempt, ahead: BTreeMap::new() }
    }
}

impl StopReason {
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            StopReason::Failed(failure) => failure.is_permanent(),
            StopReason::Deadline | StopReason::DeadlineBeforeFirst => false,
        }
    }

    /// Whether the stop counts as a failed attempt at the record.
    pub(crate) fn is_attempt(&self) -> bool {
        match self {
            StopReason::Failed(failure) => failure.is_attempt(),
            StopReason::Deadline | StopReason::DeadlineBeforeFirst => true,
        }
    }

    /// Whether the record follows another one into the quarantine.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self, StopReason::Failed(Failure::Held { .. }))
    }

    /// Returns the text that the journal and the quarantine keep.
    pub(crate) fn text(&self) -> String {
        match self {
            StopReason::Failed(failure) => failure.to_string(),
            StopReason::Deadline | StopReason::DeadlineBeforeFirst => {
                "did not finish within one invocation".to_owned()
            }
        }
    }
}

/// Writes the error's text and drops the error: both are the processor's code, and must run where its panics are caught.
impl From<ProcessError> for Failure {
    fn from(error: ProcessError) -> Self {
        let text = error.to_string();
        match error.kind() {
            ProcessErrorKind::Retryable => Failure::Process { is_permanent: false, text },
            ProcessErrorKind::Permanent => Failure::Process { is_permanent: true, text },
            ProcessErrorKind::NotNow => Failure::NotNow(text),
        }
    }
}

impl Failure {
    /// Whether it is one of an attempt at the record.
    pub(crate) fn is_attempt(&self) -> bool {
        !matches!(self, Failure::NotNow(_) | Failure::Held { .. })
    }

    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Failure::Process { is_permanent, .. } => *is_permanent,
            Failure::NotNow(_) | Failure::Panic(_) => false,
            Failure::Unreadable(_) | Failure::InvalidAggregate(_) | Failure::Held { .. } => true,
        }
    }
}

/// Returns the text that a panic was started with.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no text)").to_owned()
}

/// Returns the error of a store that has panicked.
pub(crate) fn store_panic(panic: &(dyn Any + Send)) -> BoxError {
    format!("store panicked: {}", without_quoted_values(&panic_text(panic))).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{permanent, retryable};

    #[track_caller]
    fn check(failure: Failure, expected_text: &str, expected_permanent: bool) {
        assert_eq!(
            (failure.to_string().as_str(), failure.is_permanent()),
            (expected_text, expected_permanent)
        );
    }

    #[test]
    fn a_failure_says_what_it_was_and_whether_it_is_permanent() {
        check(permanent("no order").into(), "no order", true);
        check(retryable("busy").into(), "busy", false);
        let panic = |panic: Box<dyn Any + Send>| Failure::Panic(panic_text(&*panic));
        check(panic(Box::new("a literal")), "processor panicked: a literal", false);
        check(panic(Box::new("a text".to_owned())), "processor panicked: a text", false);
        check(panic(Box::new(7)), "processor panicked: (no text)", false);
        check(
            Failure::Unreadable(UnreadableRecord::MissingData),
            "Kinesis record cannot be read: data is missing",
            true,
        );
        check(
            Failure::InvalidAggregate(InvalidAggregate::MissingData { user_record: 3 }),
            "aggregated record is invalid: user record 3: data is missing",
            true,
        );
    }
}
