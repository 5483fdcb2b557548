use std::{
    collections::HashMap,
    env,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use kinesis_handler::{SequenceNumber, journal::ContentHash};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How far a run has come, in a file, so that the next one goes on from there: a JSON line for each step.
///
/// The operating system has a line when [`note`](Self::note) returns, so a process that is killed loses none.
#[derive(Debug)]
pub(crate) struct ProgressFile {
    path: PathBuf,
    file: File,
    through: HashMap<String, Place>,
}

/// The first line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Head {
    /// What was asked for.
    run: String,
}

/// A Kinesis record, or one of its user records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    #[serde(rename = "through")]
    pub(crate) sequence_number: SequenceNumber,
    #[serde(rename = "sub", skip_serializing_if = "Option::is_none")]
    pub(crate) sub_sequence_number: Option<u64>,
}

impl Place {
    /// Where only that something was noted matters.
    pub(crate) fn nowhere() -> Self {
        Self::whole("0".parse().expect("a digit"))
    }

    /// The whole Kinesis record.
    pub(crate) fn whole(sequence_number: SequenceNumber) -> Self {
        Place { sequence_number, sub_sequence_number: None }
    }
}

/// Any other line: of what, everything up to this place is done; without a place, it counts no more.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    of: String,
    #[serde(flatten)]
    through: Option<Place>,
}

#[derive(Debug, Error)]
pub(crate) enum ProgressError {
    #[error("no place for a progress file: set HOME, or name one with --progress")]
    NoPlace,
    #[error("progress file {} cannot be used", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("progress file {} is in use by another run", path.display())]
    InUse { path: PathBuf },
    #[error("{} is no progress file: line {line} cannot be read", path.display())]
    Line { path: PathBuf, line: usize },
    #[error(
        "progress file {} is of another run ({run}): name another one with --progress, or delete it",
        path.display()
    )]
    OfAnother { path: PathBuf, run: String },
}

impl ProgressFile {
    /// Opens the file, or makes it. `run` says what is to be done. A file that has the progress of something else is an
    /// error; with `restart` it is overwritten.
    pub(crate) fn open(path: Option<&Path>, run: &str, restart: bool) -> Result<Self, ProgressError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => default_path(run)?,
        };
        let failed = |source| ProgressError::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ProgressError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        if restart {
            file.set_len(0).map_err(failed)?;
        }
        let mut progress = ProgressFile { path: path.clone(), file, through: HashMap::new() };
        let whole_bytes = progress.read(run)?;
        // The last line of a run that was killed may be torn.
        progress.file.set_len(whole_bytes).map_err(failed)?;
        if whole_bytes == 0 {
            progress.append(&Head { run: run.to_owned() })?;
        }
        Ok(progress)
    }

    /// Returns how many bytes are whole lines.
    fn read(&mut self, run: &str) -> Result<u64, ProgressError> {
        let path = &self.path;
        let mut reader = BufReader::new(&self.file);
        let (mut text, mut whole_bytes, mut number) = (Vec::new(), 0, 0);
        loop {
            text.clear();
            let bytes = reader
                .read_until(b'\n', &mut text)
                .map_err(|source| ProgressError::Io { path: path.clone(), source })?;
            if !text.ends_with(b"\n") {
                // A first line that is none of ours is not ours to cut off.
                let is_ours = number > 0 || line(&Head { run: run.to_owned() }).starts_with(&text);
                return match is_ours {
                    true => Ok(whole_bytes),
                    false => Err(ProgressError::Line { path: path.clone(), line: 1 }),
                };
            }
            whole_bytes += bytes as u64;
            number += 1;
            let wrong = |_| ProgressError::Line { path: path.clone(), line: number };
            if number == 1 {
                let head: Head = serde_json::from_slice(&text).map_err(wrong)?;
                if head.run != run {
                    return Err(ProgressError::OfAnother { path: path.clone(), run: head.run });
                }
            } else {
                let Line { of, through } = serde_json::from_slice(&text).map_err(wrong)?;
                match through {
                    Some(through) => self.through.insert(of, through),
                    None => self.through.remove(&of),
                };
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an earlier run has come anywhere.
    pub(crate) fn has_begun(&self) -> bool {
        !self.through.is_empty()
    }

    /// Up to where everything is done; `None` if nothing is.
    pub(crate) fn through(&self, of: &str) -> Option<Place> {
        self.through.get(of).copied()
    }

    /// All that is noted.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, Place)> {
        self.through.iter().map(|(of, place)| (of.as_str(), *place))
    }

    pub(crate) fn note(&mut self, of: &str, through: Place) -> Result<(), ProgressError> {
        self.append(&Line { of: of.to_owned(), through: Some(through) })?;
        self.through.insert(of.to_owned(), through);
        Ok(())
    }

    /// What was done is settled: the next run shall not know of it, should it come again.
    pub(crate) fn forget(&mut self, of: &str) -> Result<(), ProgressError> {
        self.append(&Line { of: of.to_owned(), through: None })
    }

    fn append(&mut self, value: &impl Serialize) -> Result<(), ProgressError> {
        let text = line(value);
        // At once, and without a buffer: it must not be lost with the process.
        self.file.write_all(&text).map_err(|source| ProgressError::Io { path: self.path.clone(), source })
    }

    /// Deletes it: there is nothing left to go on with.
    pub(crate) fn delete(self) -> Result<(), ProgressError> {
        fs::remove_file(&self.path).map_err(|source| ProgressError::Io { path: self.path, source })
    }
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).expect("text and numbers are always JSON");
    text.push(b'\n');
    text
}

/// Where programs keep what shall outlive them, by the XDG base directory specification. Each run has a file of its own.
fn default_path(run: &str) -> Result<PathBuf, ProgressError> {
    let of = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")));
    let folder = state.ok_or(ProgressError::NoPlace)?.join("kinesis-kit");
    fs::create_dir_all(&folder).map_err(|source| ProgressError::Io { path: folder.clone(), source })?;
    let command = run.split_whitespace().next().unwrap_or_default();
    Ok(folder.join(format!("{command}-{}.jsonl", ContentHash::new(b"run", run.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Place {
        Place::whole(text.parse().expect("digits"))
    }

    #[test]
    fn a_run_goes_on_where_the_last_one_has_ended() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("progress");
        let open = |run, restart| ProgressFile::open(Some(&path), run, restart);
        let mut progress = open("replay a", false).expect("a new file");
        assert!(!progress.has_begun() && progress.through("s").is_none());
        assert!(matches!(open("replay a", false), Err(ProgressError::InUse { .. })));
        progress.note("s", number("7")).expect("a writable file");
        progress.note("t", number("8")).expect("a writable file");
        progress.note("s", number("9")).expect("a writable file");
        let inside = Place { sub_sequence_number: Some(3), ..number("9") };
        progress.note("u", inside).expect("a writable file");
        progress.note("v", number("1")).expect("a writable file");
        progress.forget("v").expect("a writable file");
        assert_eq!(progress.through("v"), Some(number("1")), "this run still knows");
        drop(progress);

        // Killed in the middle of a line.
        let mut torn = fs::read(&path).expect("it is there");
        torn.extend_from_slice(b"{\"of\":\"s\",\"thr");
        fs::write(&path, torn).expect("a writable file");
        let mut progress = open("replay a", false).expect("its own file");
        assert_eq!((progress.through("s"), progress.through("t")), (Some(number("9")), Some(number("8"))));
        assert_eq!((progress.through("u"), progress.through("v")), (Some(inside), None));
        progress.note("t", number("10")).expect("a writable file");
        drop(progress);
        assert_eq!(open("replay a", false).expect("its own file").through("t"), Some(number("10")));

        assert!(
            matches!(open("replay b", false), Err(ProgressError::OfAnother { run, .. }) if run == "replay a")
        );
        let progress = open("replay b", true).expect("overwritten");
        assert!(!progress.has_begun());
        progress.delete().expect("it is there");
        assert!(!path.exists());

        fs::write(&path, "something else").expect("a writable file");
        assert!(matches!(open("replay a", false), Err(ProgressError::Line { line: 1, .. })));
        assert_eq!(fs::read(&path).expect("it is there"), b"something else");
        fs::write(&path, "something else\n").expect("a writable file");
        assert!(matches!(open("replay a", false), Err(ProgressError::Line { line: 1, .. })));
    }
}
