use std::{fmt, io::Write};

use crate::output::{cell, meter, tone::Tone};

/// Writes a line for the person at the terminal to standard error.
///
/// Parts of it come from others: the texts of AWS's errors, ARNs, names. They are escaped like the cells of a table.
pub(crate) fn note(message: impl fmt::Display) {
    write(Tone::Plain, message);
}

/// Writes a line about records or settings that need attention.
pub(crate) fn warning(message: impl fmt::Display) {
    write(Tone::Warning, message);
}

/// Writes a line about work that was not done.
pub(crate) fn error(message: impl fmt::Display) {
    write(Tone::Error, message);
}

/// Writes a line about work that was done as it should be.
pub(crate) fn success(message: impl fmt::Display) {
    write(Tone::Success, message);
}

fn write(tone: Tone, message: impl fmt::Display) {
    let message = cell::escape(&message.to_string());
    let style = tone.style();
    // Standard error may be closed; there is no better place to say so. The stream removes the style if it is no terminal.
    let _ = meter::beside(|| writeln!(anstream::stderr().lock(), "{style}kinesis-kit: {message}{style:#}"));
}

/// A number and its noun: `1 line`, `2 lines`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
