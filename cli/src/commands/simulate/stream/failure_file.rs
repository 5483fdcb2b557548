use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use kinesis_esm::FailureRecord;

use super::StreamError;
use crate::output::private_file;

/// A file in the place of an on-failure destination: a failure record a line, behind what the file has already.
#[derive(Debug)]
pub(super) struct FailureFile {
    path: PathBuf,
    file: File,
    /// Whether the last line may be incomplete.
    is_torn: bool,
}

impl FailureFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, StreamError> {
        match private_file::options().create(true).append(true).open(&path) {
            Ok(file) => Ok(FailureFile { path, file, is_torn: false }),
            Err(source) => Err(StreamError::Failures { path, source }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file has the record when this returns.
    pub(super) fn append(&mut self, record: &FailureRecord) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        if self.is_torn {
            line.insert(0, b'\n');
        }
        let written = self.file.write_all(&line).and_then(|()| self.file.flush());
        self.is_torn = written.is_err();
        written
    }
}
