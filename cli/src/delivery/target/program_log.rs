use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use lambda_host::OutputObserver;

use super::TargetError;
use crate::output::{meter, note, private_file};

/// Longest line that is kept until it is complete. The rest of a longer one comes as a line of its own.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// The place for what a program prints.
#[derive(Debug, Clone, Default)]
pub(crate) enum ProgramLog {
    /// Standard error, line by line.
    #[default]
    StandardError,
    /// A file, to which it is appended.
    File(PathBuf),
    /// Nowhere.
    Quiet,
}

impl ProgramLog {
    pub(super) fn open(self) -> Result<OutputObserver, TargetError> {
        Ok(match self {
            ProgramLog::StandardError => {
                let lines = Lines(Mutex::default());
                OutputObserver::new(move |bytes| lines.write(bytes))
            }
            ProgramLog::Quiet => OutputObserver::new(|_| {}),
            ProgramLog::File(path) => {
                // A log may hold what is in records.
                let file = private_file::options().append(true).create(true).open(&path);
                let file: File = file.map_err(|source| TargetError::Log { path: path.clone(), source })?;
                let has_failed = AtomicBool::new(false);
                OutputObserver::new(move |bytes| {
                    if let Err(error) = (&file).write_all(bytes)
                        && !has_failed.swap(true, Ordering::Relaxed)
                    {
                        let path = path.display();
                        note::error(format_args!("the log cannot be written to {path}: {error}"));
                    }
                })
            }
        })
    }
}

/// The lines of a program, which are written when they are complete: the terminal may have the line of a meter.
struct Lines(Mutex<Vec<u8>>);

impl Lines {
    fn write(&self, bytes: &[u8]) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.extend_from_slice(bytes);
        let end = match line.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => last + 1,
            None if line.len() > MAX_LINE_BYTES => line.len(),
            None => return,
        };
        let complete = line.drain(..end).collect::<Vec<u8>>();
        // Standard output is for results. If standard error is closed, there is no better place.
        let _ = meter::beside(|| io::stderr().lock().write_all(&complete));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let rest = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !rest.is_empty() {
            let _ = meter::beside(|| io::stderr().lock().write_all(rest));
        }
    }
}
