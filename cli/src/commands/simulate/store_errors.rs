use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lambda_host::OutputObserver;
use serde::Deserialize;

use crate::output::cell;

/// The log messages of the kit's handler about a table that cannot be used, and the metrics that count them.
const MESSAGES: [(&str, &str); 6] = [
    ("journal not read", "JournalReadErrors"),
    ("journal not written", "JournalWriteErrors"),
    ("journal not cleared", "JournalWriteErrors"),
    ("user record not quarantined", "JournalWriteErrors"),
    ("checkpoint not written", "CheckpointWriteErrors"),
    ("checkpoint refused: the mirror needs a table for each application and stream", "CheckpointWriteErrors"),
];

/// Length in bytes up to which a line is kept: those of the handler are shorter.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Widest error of a store, in columns.
const ERROR_WIDTH: usize = 300;

/// Errors of the tables of a function, found in its log: a run that looks healthy may keep no journal at all.
#[derive(Debug, Clone, Default)]
pub(super) struct StoreErrors(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// The beginning of a line.
    line: Vec<u8>,
    is_too_long: bool,
    found: BTreeMap<&'static str, Found>,
}

#[derive(Debug)]
struct Found {
    times: u64,
    first: String,
    metric: &'static str,
}

#[derive(Deserialize)]
struct LogLine<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow, alias = "reason")]
    error: Cow<'a, str>,
}

impl StoreErrors {
    /// Returns the observer that finds them in the output of the function.
    pub(super) fn observer(&self) -> OutputObserver {
        let errors = self.clone();
        OutputObserver::new(move |bytes| errors.lock().add(bytes))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No change to it can be interrupted by a panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a warning for each kind of error.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.lock().found.iter().map(|(message, found)| format!("warning: {message}{found}")).collect()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { times, first, metric } = self;
        let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
        write!(f, " ({times}, metric {metric}): {first}")
    }
}

impl Inner {
    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.is_too_long |= self.line.len() + piece.len() > MAX_LINE_BYTES;
            if !self.is_too_long {
                self.line.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                if !self.is_too_long {
                    self.read();
                }
                self.line.clear();
                self.is_too_long = false;
            }
        }
    }

    fn read(&mut self) {
        let Ok(line) = serde_json::from_slice::<LogLine<'_>>(&self.line) else { return };
        let Some(&(message, metric)) = MESSAGES.iter().find(|(message, _)| *message == line.message) else {
            return;
        };
        let first = || Found { times: 0, first: cell::text(&line.error, ERROR_WIDTH), metric };
        self.found.entry(message).or_insert_with(first).times += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[&str], expected: &[&str]) {
        let errors = StoreErrors::default();
        for piece in pieces {
            errors.lock().add(piece.as_bytes());
        }
        assert_eq!(errors.warnings(), expected);
    }

    #[test]
    fn each_kind_of_error_is_counted_and_shown_once() {
        check(
            &[
                "{\"level\":\"ERROR\",\"message\":\"journal not re",
                "ad\",\"error\":\"no table\"}\n{\"message\":\"order received\",\"order\":\"A-1\"}\n",
                "text\n{\"message\":\"journal not read\",\"error\":\"other\"}\n",
                "{\"message\":\"checkpoint not written\",\"error\":\"denied\"}\n",
                "{\"message\":\"checkpoint refused: the mirror needs a table for each application and stream\",",
                "\"application\":\"orders\",\"reason\":\"other stream\"}\n",
            ],
            &[
                "warning: checkpoint not written (once, metric CheckpointWriteErrors): denied",
                "warning: checkpoint refused: the mirror needs a table for each application and stream (once, metric \
                 CheckpointWriteErrors): other stream",
                "warning: journal not read (2 times, metric JournalReadErrors): no table",
            ],
        );
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let errors = StoreErrors::default();
        for _ in 0..100 {
            errors.lock().add(&[b'x'; 16 * 1024]);
        }
        assert!(errors.lock().line.len() <= MAX_LINE_BYTES);
        errors.lock().add(b"\n{\"message\":\"journal not read\",\"error\":\"no table\"}\n");
        assert_eq!(errors.warnings().len(), 1);
    }
}
