use std::{
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use super::{Utf8Reader, encoding::UTF_8_MARK, open};
use crate::error::Error;

/// Length of the longest line in bytes: 10 MiB in base64, and keys.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// The lines of a file or of standard input, each with its number from one.
///
/// Lines have no byte order mark: files with marks may have been joined. There is no line after an error.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    /// The name of the input in messages.
    pub(crate) name: String,
    input: BufReader<Utf8Reader<R>>,
    number: u64,
    has_failed: bool,
}

impl Lines<Box<dyn Read + Send>> {
    /// Opens a file; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let (name, input) = open(path)?;
        Ok(Lines::new(name, input))
    }
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(name: String, input: R) -> Self {
        let input = BufReader::with_capacity(64 * 1024, Utf8Reader::new(input));
        Lines { name, input, number: 0, has_failed: false }
    }

    /// Appends the next line to `text` and returns its number; `None` at the end and after an error.
    ///
    /// # Errors
    ///
    /// If the input cannot be read, or the line is too long. `text` may then have a part of the line.
    pub(crate) fn read_into(&mut self, text: &mut Vec<u8>) -> Option<io::Result<u64>> {
        if self.has_failed {
            return None;
        }
        self.number += 1;
        match self.append(text) {
            Ok(true) => Some(Ok(self.number)),
            Ok(false) => None,
            Err(error) => {
                self.has_failed = true;
                Some(Err(error))
            }
        }
    }

    /// Returns whether the next line has been read already, so that it is there without waiting for the input.
    pub(crate) fn has_line_at_hand(&self) -> bool {
        memchr::memchr(b'\n', self.input.buffer()).is_some()
    }

    /// Returns whether there was a line.
    fn append(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let start = text.len();
        self.input.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', text)?;
        if text.len() - start > MAX_LINE_BYTES {
            let reason = format!("line {} has more than {MAX_LINE_BYTES} bytes", self.number);
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        if text.len() == start {
            return Ok(false);
        }
        if text[start..].starts_with(UTF_8_MARK) {
            text.drain(start..start + UTF_8_MARK.len());
        }
        Ok(true)
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = (u64, io::Result<Vec<u8>>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let read = self.read_into(&mut line)?;
        Some((self.number, read.map(|_| line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: &[(u64, &str)]) {
        let lines = Lines::new(String::new(), input).map(|(number, line)| (number, line.expect("a line")));
        let lines: Vec<_> =
            lines.map(|(number, line)| (number, String::from_utf8(line).expect("text"))).collect();
        let lines: Vec<_> = lines.iter().map(|(number, line)| (*number, line.as_str())).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn lines_are_numbered_and_the_last_one_needs_no_end() {
        check(b"", &[]);
        check(b"one\n\ntwo", &[(1, "one\n"), (2, "\n"), (3, "two")]);
    }

    #[test]
    fn byte_order_marks_are_skipped_even_where_files_were_joined() {
        check(b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n", &[(1, "one\n"), (2, "two\n")]);
        check(b"\xff\xfeo\0\n\0\xff\xfet\0", &[(1, "o\n"), (2, "t")]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::new(String::new(), io::repeat(b'x'));
        let (number, line) = lines.next().expect("a line");
        let error = line.expect_err("too long").to_string();
        assert_eq!((number, error.as_str()), (1, "line 1 has more than 16777216 bytes"));
        assert!(lines.next().is_none());
    }
}
