//! From the bytes of a file to Kinesis records.

pub(crate) mod kinesis_record;
mod encoding;
mod lines;
mod member;
mod record;
mod document;
mod base64_text;
mod kind;
pub(crate) mod user_record_line;
pub(crate) mod compression;

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
};

pub(crate) use encoding::Utf8Reader;
pub(crate) use kind::{is_event, kinesis_records};
pub(crate) use lines::Lines;
pub(crate) use member::text;

use crate::{error::Error, output::note::note};

/// Length in bytes of the longest input that is read as a whole: a device may never end.
const MAX_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// A whole file or standard input.
#[derive(Debug)]
pub(crate) struct Input {
    /// The name in messages.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Input {
    /// Reads all of a text file, as UTF-8 without a byte order mark; `-` is standard input.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        Self::read_at_most(path, MAX_BYTES)
    }

    /// As [`read`](Self::read); a file with more bytes is an error.
    pub(crate) fn read_at_most(path: &Path, max_bytes: u64) -> Result<Self, Error> {
        let (name, input) = open(path)?;
        Self::read_all(name, Utf8Reader::new(input), max_bytes)
    }

    /// Reads all of a file that may be no text, unchanged.
    pub(crate) fn read_bytes(path: &Path) -> Result<Self, Error> {
        let (name, input) = open(path)?;
        Self::read_all(name, input, MAX_BYTES)
    }

    fn read_all(name: String, input: impl Read, max_bytes: u64) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let read = input.take(max_bytes + 1).read_to_end(&mut bytes).and_then(|_| {
            if bytes.len() as u64 <= max_bytes {
                return Ok(());
            }
            let reason = format!("it has more than {max_bytes} bytes");
            Err(io::Error::new(io::ErrorKind::FileTooLarge, reason))
        });
        match read {
            Ok(()) => Ok(Input { name, bytes }),
            Err(source) => Err(Error::Read { input: name, source }),
        }
    }

    /// Returns the bytes as UTF-8 without a byte order mark.
    pub(crate) fn to_text(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(self.bytes.len());
        Utf8Reader::new(&self.bytes[..]).read_to_end(&mut text)?;
        Ok(text)
    }
}

/// Opens a file, or standard input for `-`, and returns its name in messages.
fn open(path: &Path) -> Result<(String, Box<dyn Read + Send>), Error> {
    if path.as_os_str() == "-" {
        if io::stdin().is_terminal() {
            note("reading standard input (Ctrl-D ends it)");
        }
        return Ok(("standard input".to_owned(), Box::new(io::stdin())));
    }
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => Ok((name, Box::new(file))),
        Err(source) => Err(Error::Read { input: name, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    #[test]
    fn an_input_without_an_end_is_refused() {
        let read = |bytes: u64| Input::read_all("input".to_owned(), io::repeat(b'x').take(bytes), 10);
        assert_eq!(read(10).expect("as long as it may be").bytes, [b'x'; 10]);
        let error = read(u64::MAX).expect_err("endless");
        assert_eq!(chain(&error), "cannot read input: it has more than 10 bytes");
    }
}
