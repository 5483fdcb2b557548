use std::{
    collections::HashMap,
    env, fmt,
    fs::{self, DirBuilder, File, Permissions, TryLockError},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use kinesis_handler::{SequenceNumber, journal::ContentHash};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::output::private_file::{self, AppendError};

/// Longest line: a run that names thousands of shards.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// The progress of a run, in a file, so that the next one goes on from there: a JSON line for each step.
///
/// The operating system has a line when [`note`](Self::note) returns, so a process that is killed loses none. Only its
/// owner may read the file: it names streams, functions and records.
#[derive(Debug)]
pub(crate) struct ProgressFile {
    path: PathBuf,
    file: File,
    /// Length of the whole lines, in bytes.
    length: u64,
    through: HashMap<String, ProgressPoint>,
}

/// The first line, by which the file is known to be one of these.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// Description of the run.
    run: String,
}

/// A Kinesis record, or one of its user records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProgressPoint {
    pub(crate) sequence_number: SequenceNumber,
    pub(crate) sub_sequence_number: Option<u64>,
}

impl ProgressPoint {
    /// Returns a place for entries of which only the existence matters.
    pub(crate) fn nowhere() -> Self {
        Self::whole("0".parse().expect("a digit"))
    }

    /// The whole Kinesis record.
    pub(crate) fn whole(sequence_number: SequenceNumber) -> Self {
        ProgressPoint { sequence_number, sub_sequence_number: None }
    }
}

/// `sequence number:sub-sequence number`, as commands take it.
impl fmt::Display for ProgressPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.sequence_number)?;
        match self.sub_sequence_number {
            Some(sub) => write!(f, ":{sub}"),
            None => Ok(()),
        }
    }
}

/// Any other line: of what, everything up to a place is done; without a place, it counts no more.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgressLine {
    of: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<SequenceNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<u64>,
}

#[derive(Debug, Error)]
pub(crate) enum ProgressError {
    #[error("no place for a progress file: set HOME, or name one with --progress")]
    NoPlace,
    #[error("progress file {} cannot be used", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("progress file {} is in use by another run", path.display())]
    InUse { path: PathBuf },
    #[error("{} is no regular file, so it cannot be a progress file: name another one with --progress", path.display())]
    NotRegular { path: PathBuf },
    #[error(
        "{} is no progress file: line {line} cannot be read: name another one with --progress, or delete it",
        path.display()
    )]
    ProgressLine { path: PathBuf, line: usize },
    #[error(
        "progress file {} is of another run ({run}): name another one with --progress, or delete it",
        path.display()
    )]
    OfAnother { path: PathBuf, run: String },
}

impl ProgressFile {
    /// Opens the file, or makes it. `run` says what is to be done. A file that has the progress of something else is an
    /// error; with `restart` it is overwritten. A file that is not a progress file is an error in any case.
    pub(crate) fn open(path: Option<&Path>, run: &str, restart: bool) -> Result<Self, ProgressError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => default_path(run)?,
        };
        let failed = |source| ProgressError::Io { path: path.clone(), source };
        let file = match private_file::open_to_append(&path) {
            Ok(file) => file,
            Err(AppendError::NotRegular) => return Err(ProgressError::NotRegular { path }),
            Err(AppendError::Io(source)) => return Err(failed(source)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ProgressError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut progress = ProgressFile { path: path.clone(), file, length: 0, through: HashMap::new() };
        let (old_run, mut whole_bytes) = progress.read(run)?;
        if restart {
            progress.through.clear();
            whole_bytes = 0;
        } else if let Some(run) = old_run.filter(|old| old != run) {
            return Err(ProgressError::OfAnother { path, run });
        }
        // From here on it is known to be a progress file. The last line of a run that was killed may be torn.
        progress.file.set_len(whole_bytes).map_err(failed)?;
        progress.length = whole_bytes;
        progress.file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        if whole_bytes == 0 {
            progress.append(&Head { run: run.to_owned() })?;
        }
        Ok(progress)
    }

    /// Returns the run that the first line names, if there is one, and how many bytes are whole lines.
    fn read(&mut self, run: &str) -> Result<(Option<String>, u64), ProgressError> {
        let failed = |source| ProgressError::Io { path: self.path.clone(), source };
        let mut reader = BufReader::new(&self.file);
        let (mut text, mut old_run, mut whole_bytes) = (Vec::new(), None, 0);
        for line in 1.. {
            text.clear();
            let bytes = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut text).map_err(failed)?;
            let wrong = || ProgressError::ProgressLine { path: self.path.clone(), line };
            if !text.ends_with(b"\n") {
                // A first line that is none of ours is not ours to cut off.
                let is_torn = match line {
                    1 => to_line(&Head { run: run.to_owned() }).starts_with(&text),
                    _ => (bytes as u64) < MAX_LINE_BYTES,
                };
                return if is_torn { Ok((old_run, whole_bytes)) } else { Err(wrong()) };
            }
            whole_bytes += bytes as u64;
            if line == 1 {
                let Head { run } = serde_json::from_slice(&text).map_err(|_| wrong())?;
                old_run = Some(run);
                continue;
            }
            match serde_json::from_slice(&text).map_err(|_| wrong())? {
                ProgressLine { of, through: Some(sequence_number), sub } => {
                    self.through.insert(of, ProgressPoint { sequence_number, sub_sequence_number: sub });
                }
                ProgressLine { of, .. } => drop(self.through.remove(&of)),
            }
        }
        unreachable!("a file has an end")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an earlier run has come anywhere.
    pub(crate) fn has_begun(&self) -> bool {
        !self.through.is_empty()
    }

    /// Up to where everything is done; `None` if nothing is.
    pub(crate) fn through(&self, of: &str) -> Option<ProgressPoint> {
        self.through.get(of).copied()
    }

    /// All that is noted.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, ProgressPoint)> {
        self.through.iter().map(|(of, place)| (of.as_str(), *place))
    }

    pub(crate) fn note(&mut self, of: &str, through: ProgressPoint) -> Result<(), ProgressError> {
        let ProgressPoint { sequence_number, sub_sequence_number: sub } = through;
        self.append(&ProgressLine { of: of.to_owned(), through: Some(sequence_number), sub })?;
        self.through.insert(of.to_owned(), through);
        Ok(())
    }

    /// Forgets an entry that is settled: the next run shall not know of it, should it come again.
    pub(crate) fn forget(&mut self, of: &str) -> Result<(), ProgressError> {
        self.append(&ProgressLine { of: of.to_owned(), through: None, sub: None })
    }

    fn append(&mut self, value: &impl Serialize) -> Result<(), ProgressError> {
        let text = to_line(value);
        let failed = |source| ProgressError::Io { path: self.path.clone(), source };
        // At once, and without a buffer: it must not be lost with the process. What a full disk has left of an earlier line
        // goes first, because another line behind it would make the file unreadable.
        self.file.set_len(self.length).and_then(|()| self.file.write_all(&text)).map_err(failed)?;
        self.length += text.len() as u64;
        Ok(())
    }

    /// Deletes it: there is nothing left to go on with.
    pub(crate) fn delete(self) -> Result<(), ProgressError> {
        fs::remove_file(&self.path).map_err(|source| ProgressError::Io { path: self.path, source })
    }
}

fn to_line(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).expect("text and numbers are always JSON");
    text.push(b'\n');
    text
}

/// Returns the path of a run's file in the XDG state directory, where programs keep what shall outlive them.
fn default_path(run: &str) -> Result<PathBuf, ProgressError> {
    let of = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")));
    let folder = state.ok_or(ProgressError::NoPlace)?.join("kinesis-kit");
    make_private(&folder).map_err(|source| ProgressError::Io { path: folder.clone(), source })?;
    let command = run.split_whitespace().next().unwrap_or_default();
    Ok(folder.join(format!("{command}-{}.jsonl", ContentHash::new(b"run", run.as_bytes()))))
}

/// Makes the folder, which only its owner may read, and the folders above it.
fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // An earlier version has made it readable for others.
    if fs::metadata(folder)?.mode() & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn number(text: &str) -> ProgressPoint {
        ProgressPoint::whole(text.parse().expect("digits"))
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
        let inside = ProgressPoint { sub_sequence_number: Some(3), ..number("9") };
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
    }

    /// The file is refused with and without `restart`, and left as it is.
    #[track_caller]
    fn check_refused(text: &str, expected_line: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("progress");
        fs::write(&path, text).expect("a writable file");
        for restart in [false, true] {
            let refused = ProgressFile::open(Some(&path), "replay a", restart);
            assert!(
                matches!(refused, Err(ProgressError::ProgressLine { line, .. }) if line == expected_line),
                "{text}"
            );
            assert_eq!(fs::read(&path).expect("it is there"), text.as_bytes());
        }
    }

    #[test]
    fn a_file_that_is_no_progress_file_is_refused_in_every_case() {
        let head = "{\"run\":\"replay a\"}\n";
        check_refused("something else", 1);
        check_refused("something else\n", 1);
        check_refused("\n", 1);
        check_refused("{\"run\":\"nightly\",\"rows\":7}\n", 1);
        check_refused("{\"run\":\"replay b\"", 1);
        check_refused(&format!("{head}note: keep this\n"), 2);
        check_refused(&format!("{head}{{\"of\":\"s\",\"through\":\"7\",\"more\":1}}\n"), 2);
        check_refused(&"x".repeat(2 * MAX_LINE_BYTES as usize), 1);
        check_refused(&format!("{head}{}", "x".repeat(2 * MAX_LINE_BYTES as usize)), 2);
    }

    #[test]
    fn what_a_full_disk_has_left_of_a_line_does_not_spoil_the_next_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("progress");
        let mut progress = ProgressFile::open(Some(&path), "replay a", false).expect("a new file");
        progress.note("s", number("7")).expect("a writable file");
        // As a write that failed half-way.
        progress.file.write_all(b"{\"of\":\"t\",\"thr").expect("a writable file");
        progress.note("u", number("9")).expect("a writable file");
        drop(progress);
        let progress = ProgressFile::open(Some(&path), "replay a", false).expect("its own file");
        let through = |of| progress.through(of);
        assert_eq!((through("s"), through("t"), through("u")), (Some(number("7")), None, Some(number("9"))));
    }

    #[test]
    fn links_folders_and_devices_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "{\"run\":\"replay a\"}\n").expect("a writable folder");
        symlink(at("file"), at("link")).expect("a writable folder");
        symlink(at("nothing"), at("dangling")).expect("a writable folder");
        symlink("/dev/zero", at("device")).expect("a writable folder");
        let paths = [at("link"), at("dangling"), at("device"), folder.path().to_owned(), "/dev/zero".into()];
        for path in paths {
            for restart in [false, true] {
                let refused = ProgressFile::open(Some(&path), "replay a", restart);
                assert!(matches!(refused, Err(ProgressError::NotRegular { .. })), "{}", path.display());
            }
        }
        assert!(!at("nothing").exists() && at("file").exists());
    }

    #[test]
    fn only_the_owner_may_read_what_was_done() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
        let private = folder.path().join("state/kinesis-kit");
        make_private(&private).expect("a writable folder");
        assert_eq!(mode(&private), 0o700);
        fs::set_permissions(&private, Permissions::from_mode(0o755)).expect("it is ours");
        make_private(&private).expect("it is ours");
        assert_eq!(mode(&private), 0o700);

        let path = private.join("progress");
        drop(ProgressFile::open(Some(&path), "replay a", false).expect("a new file"));
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("it is ours");
        drop(ProgressFile::open(Some(&path), "replay a", false).expect("its own file"));
        assert_eq!(mode(&path), 0o600);
    }
}
