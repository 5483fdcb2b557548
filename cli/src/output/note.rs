use std::{
    fmt,
    io::{self, Write},
};

use crate::output::cell;

/// Writes a line for the person at the terminal to standard error.
///
/// Parts of it come from others: the texts of AWS's errors, ARNs, names. They are escaped like the cells of a table.
pub(crate) fn note(message: impl fmt::Display) {
    let message = cell::escape(&message.to_string());
    // Standard error may be closed; there is no better place to say so.
    let _ = writeln!(io::stderr().lock(), "kinesis-kit: {message}");
}

/// A number and its noun: `1 line`, `2 lines`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
