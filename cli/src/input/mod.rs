//! From the bytes of a file to Kinesis records.

mod member;
mod document;
mod base64_text;
mod kind;

use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::Path,
};

pub(crate) use kind::kinesis_records;

use crate::{error::Error, note::note};

/// A whole file or standard input.
#[derive(Debug)]
pub(crate) struct Input {
    /// What messages call it.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Input {
    /// Reads all of a file; `-` is standard input.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let is_standard_input = path.as_os_str() == "-";
        let name = if is_standard_input { "standard input".to_owned() } else { path.display().to_string() };
        let bytes = if is_standard_input { read_standard_input() } else { fs::read(path) };
        match bytes {
            Ok(bytes) => Ok(Input { name, bytes }),
            Err(source) => Err(Error::Read { input: name, source }),
        }
    }
}

fn read_standard_input() -> io::Result<Vec<u8>> {
    let mut stdin = io::stdin().lock();
    note_terminal();
    let mut bytes = Vec::new();
    stdin.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Tells whoever has started the command without an input that it waits for one.
pub(crate) fn note_terminal() {
    if io::stdin().is_terminal() {
        note("reading standard input (Ctrl-D ends it)");
    }
}
