use std::{
    fmt,
    io::{self, Write},
};

/// Tells the person at the terminal something, on a line of standard error.
pub(crate) fn note(message: impl fmt::Display) {
    // Standard error may be closed; there is no better place to say so.
    let _ = writeln!(io::stderr().lock(), "kinesis-kit: {message}");
}

/// A number and its noun: `1 line`, `2 lines`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
