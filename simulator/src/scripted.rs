use std::{cell::RefCell, collections::HashMap, time::Duration};

use bytes::Bytes;
use kinesis_handler::{BoxError, SequenceNumber};
use lambda_host::{Answer, Fate, Function, FunctionError, Invocation};
use serde::Deserialize;
use tokio::time::sleep;

/// A function that does as it is told: it looks at every record of a batch and reports all that fail.
#[derive(Debug, Default)]
pub struct ScriptedFunction {
    /// Duration of an invocation.
    pub duration: Duration,
    /// Response in place of the one that follows from the failures.
    pub response: Option<Bytes>,
    failures: HashMap<SequenceNumber, RefCell<Vec<ScriptedFailure>>>,
}

/// A record that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptedFailure {
    /// In how many invocations that contain the record, those before it in the script not counted. `None`: in all.
    pub times: Option<u32>,
    /// Kind of the failure.
    pub how: FailureKind,
}

/// The kind of a record's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// The response names it.
    #[default]
    Report,
    /// The function ends with an error.
    Throw,
    /// The function does not end in time.
    Timeout,
    /// The function's environment ends.
    Crash,
}

impl ScriptedFunction {
    /// Makes the record fail. A record that is to fail in several ways does so in turn.
    pub fn fails(&mut self, sequence_number: SequenceNumber, failure: ScriptedFailure) {
        self.failures.entry(sequence_number).or_default().get_mut().push(failure);
    }

    /// Returns the record's failure in this invocation.
    fn failure(&self, sequence_number: SequenceNumber) -> Option<FailureKind> {
        let mut failures = self.failures.get(&sequence_number)?.borrow_mut();
        failures.retain(|failure| failure.times != Some(0));
        let failure = failures.first_mut()?;
        if let Some(times) = &mut failure.times {
            *times -= 1;
        }
        Some(failure.how)
    }
}

impl Function for ScriptedFunction {
    async fn invoke(&self, invocation: Invocation<'_>) -> Result<Answer, BoxError> {
        let mut reported = Vec::new();
        // The first that is no report ends the invocation; the others have been in it all the same.
        let mut end = None;
        let mut last = None;
        for record in invocation.records {
            // Members of one aggregate (rule 9) are one record of the script.
            if last.replace(record.sequence_number) == Some(record.sequence_number) {
                continue;
            }
            match self.failure(record.sequence_number) {
                None => {}
                Some(FailureKind::Report) => reported.push(record.sequence_number),
                Some(how) => end = end.or(Some(how)),
            }
        }
        let late = self.duration >= invocation.timeout;
        let timed_out = late
            || end == Some(FailureKind::Timeout)
            || matches!(invocation.fate, Fate::Timeout | Fate::Zombie);
        sleep(if timed_out { invocation.timeout } else { self.duration }).await;
        if timed_out {
            return Ok(Answer::Error(FunctionError::Timeout));
        }
        if end == Some(FailureKind::Crash) || invocation.fate == Fate::Crash {
            return Ok(Answer::Error(FunctionError::Crash { how: "as scripted".to_owned() }));
        }
        if end == Some(FailureKind::Throw) {
            let (error_type, message) = ("Scripted".to_owned(), "as scripted".to_owned());
            return Ok(Answer::Error(FunctionError::Thrown { error_type, message }));
        }
        if invocation.fate == Fate::LostResponse {
            return Ok(Answer::Error(FunctionError::LostResponse));
        }
        Ok(Answer::Response(self.response.clone().unwrap_or_else(|| response(&reported))))
    }
}

fn response(reported: &[SequenceNumber]) -> Bytes {
    let items: Vec<_> = reported
        .iter()
        .map(|sequence_number| serde_json::json!({ "itemIdentifier": sequence_number }))
        .collect();
    // The state, for tumbling windows; elsewhere Lambda does not look at it.
    serde_json::json!({ "batchItemFailures": items, "state": {} }).to_string().into()
}
