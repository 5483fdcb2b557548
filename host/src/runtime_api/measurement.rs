use std::time::Duration;

use crate::{Answer, FunctionError};

/// The times and results of a function's invocations since it was made, in real time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Measurement {
    /// Processes that were started.
    pub starts: u64,
    /// Events that were handed to a process, also those whose answer was lost or ignored.
    pub invocations: u64,
    /// Invocations whose error was reported by the function ([`FunctionError::Thrown`]).
    pub function_errors: u64,
    /// Invocations that timed out, or were made to ([`FunctionError::Timeout`]).
    pub timeouts: u64,
    /// Invocations whose process ended, or was made to ([`FunctionError::Crash`]), and processes that never asked for
    /// an event.
    pub crashes: u64,
    /// Largest number of events that one process had at the same time.
    pub max_concurrency: usize,
    /// From handing out an event to its answer, or to the end of its process: the sum over all invocations.
    pub wall_time: Duration,
    /// The same of the slowest invocation.
    pub max_wall_time: Duration,
    /// From the start of a process to its asking for the first event: the slowest of those that came so far.
    pub max_init_time: Duration,
    /// The highest peak of resident memory of a process, in bytes, read after each answer. Children of the process do
    /// not count. `None` before the first answer, and elsewhere than on Linux.
    pub peak_memory_bytes: Option<u64>,
}

impl Measurement {
    pub(super) fn init_took(&mut self, time: Duration) {
        self.max_init_time = self.max_init_time.max(time);
    }

    pub(super) fn invocation_took(&mut self, time: Duration) {
        self.invocations += 1;
        self.wall_time += time;
        self.max_wall_time = self.max_wall_time.max(time);
    }

    pub(super) fn concurrency_was(&mut self, events: usize) {
        self.max_concurrency = self.max_concurrency.max(events);
    }

    pub(super) fn memory_peaked(&mut self, bytes: Option<u64>) {
        self.peak_memory_bytes = self.peak_memory_bytes.max(bytes);
    }

    /// Counts what the caller learns of an invocation.
    pub(super) fn count(&mut self, answer: &Answer) {
        match answer {
            Answer::Error(FunctionError::Thrown { .. }) => self.function_errors += 1,
            Answer::Error(FunctionError::Timeout) => self.timeouts += 1,
            Answer::Error(FunctionError::Crash { .. }) => self.crashes += 1,
            Answer::Error(FunctionError::LostResponse) | Answer::Response(_) | Answer::Throttled => {}
        }
    }
}
