use std::{
    collections::HashSet,
    fs::{File, TryLockError},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use kinesis_handler::journal::ContentHash;
use thiserror::Error;

use super::SkippedRecord;
use crate::output::private_file::{self, AppendError};

/// Longest line: the largest Kinesis record is 10 MiB, and base64 makes it a third longer.
const MAX_LINE_BYTES: u64 = 32 * 1024 * 1024;

/// A file of records that a run has passed over: a JSON line for each user record.
///
/// A line is on the disk when [`append`](Self::append) returns. A record that the file has is not written again, so a run that
/// was killed and resumes writes none twice.
#[derive(Debug)]
pub(crate) struct SkippedFile {
    path: PathBuf,
    file: File,
    /// Length of the whole lines, in bytes.
    length: u64,
    known: HashSet<ContentHash>,
    /// Number of user records that may still be written.
    room: usize,
}

#[derive(Debug, Error)]
pub(crate) enum SkippedFileError {
    #[error("file of skipped records {} cannot be used", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("file of skipped records {} is in use by another run", path.display())]
    InUse { path: PathBuf },
    #[error("{} is no regular file: name another one with --skip-failed", path.display())]
    NotRegular { path: PathBuf },
    #[error("{} is no file of skipped records: line {line} is none: name another one with --skip-failed", path.display())]
    Line { path: PathBuf, line: usize },
}

impl SkippedFile {
    /// Opens the file, or makes it for its owner only. At most `room` user records are written to it.
    pub(crate) fn open(path: &Path, room: usize) -> Result<Self, SkippedFileError> {
        let path = path.to_owned();
        let file = match private_file::open_to_append(&path) {
            Ok(file) => file,
            Err(AppendError::NotRegular) => return Err(SkippedFileError::NotRegular { path }),
            Err(AppendError::Io(source)) => return Err(SkippedFileError::Io { path, source }),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SkippedFileError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(SkippedFileError::Io { path, source }),
        }
        let mut skipped = SkippedFile { path, file, length: 0, known: HashSet::new(), room };
        skipped.read()?;
        // The last line of a run that was killed may be torn.
        let cut = skipped.file.set_len(skipped.length).and_then(|()| skipped.sync());
        cut.map_err(|source| skipped.error(source))?;
        Ok(skipped)
    }

    fn error(&self, source: io::Error) -> SkippedFileError {
        SkippedFileError::Io { path: self.path.clone(), source }
    }

    /// Writes the file to the disk, and its name as well.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn read(&mut self) -> Result<(), SkippedFileError> {
        let mut reader = BufReader::new(&self.file);
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let bytes = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut text);
            let bytes = bytes.map_err(|source| self.error(source))? as u64;
            let wrong = || SkippedFileError::Line { path: self.path.clone(), line };
            if !text.ends_with(b"\n") {
                // A line that cannot be the beginning of one of these is not to be cut off.
                let is_torn = bytes < MAX_LINE_BYTES && (self.length > 0 || is_beginning(&text));
                return if is_torn { Ok(()) } else { Err(wrong()) };
            }
            let record: SkippedRecord<'_> = serde_json::from_slice(&text).map_err(|_| wrong())?;
            self.known.insert(record.identity());
            self.length += bytes;
        }
        unreachable!("a file has an end")
    }

    /// Whether so many more user records may be written.
    pub(super) fn has_room_for(&self, records: usize) -> bool {
        records <= self.room
    }

    /// Writes the records that the file does not have. Returns `false`, and writes none, if they are more than it may get.
    pub(super) fn append(&mut self, records: &[SkippedRecord<'_>]) -> Result<bool, SkippedFileError> {
        let mut lines = Vec::new();
        let mut added = Vec::new();
        for record in records {
            let identity = record.identity();
            if self.known.contains(&identity) {
                continue;
            }
            serde_json::to_writer(&mut lines, record).expect("text and finite numbers are always JSON");
            lines.push(b'\n');
            added.push(identity);
        }
        if !self.has_room_for(added.len()) {
            return Ok(false);
        }
        if !added.is_empty() {
            // What a full disk has left of earlier lines goes first.
            let written = self.file.set_len(self.length).and_then(|()| self.file.write_all(&lines));
            written.and_then(|()| self.file.sync_data()).map_err(|source| self.error(source))?;
            self.length += lines.len() as u64;
            self.room -= added.len();
            self.known.extend(added);
        }
        Ok(true)
    }
}

/// Returns whether a line of the file may begin like this.
fn is_beginning(text: &[u8]) -> bool {
    let begin = br#"{"streamArn":""#;
    let length = text.len().min(begin.len());
    text[..length] == begin[..length]
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn record(number: &str, sub: Option<u64>) -> SkippedRecord<'static> {
        SkippedRecord {
            stream_arn: "arn:aws:kinesis:eu-west-1:123456789012:stream/orders".into(),
            shard_id: "shardId-000000000000".into(),
            sequence_number: number.parse().expect("digits"),
            sub_sequence_number: sub,
            aggregated: sub.is_some(),
            partition_key: "k".into(),
            explicit_hash_key: None,
            data: "YQ==".to_owned(),
            approximate_arrival_timestamp: Some(1.5),
            error: "no".into(),
        }
    }

    #[test]
    fn a_killed_run_loses_no_line_and_writes_none_twice() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("skipped.jsonl");
        let mut file = SkippedFile::open(&path, 10).expect("a new file");
        assert!(matches!(SkippedFile::open(&path, 10), Err(SkippedFileError::InUse { .. })));
        assert!(file.append(&[record("7", None), record("8", Some(0))]).expect("a writable file"));
        drop(file);
        let whole = fs::read(&path).expect("it is there");
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);

        // Killed in the middle of a line.
        let torn = [&whole[..], br#"{"streamArn":"arn:aws"#].concat();
        fs::write(&path, torn).expect("a writable file");
        let mut file = SkippedFile::open(&path, 10).expect("its own file");
        let mut again = record("8", Some(0));
        again.error = "another".into();
        assert!(file.append(&[again]).expect("a writable file"));
        assert_eq!(fs::read(&path).expect("it is there"), whole);
        assert!(file.append(&[record("8", Some(1))]).expect("a writable file"));
        drop(file);
        assert_eq!(fs::read_to_string(&path).expect("text").lines().count(), 3);
    }

    #[test]
    fn user_records_at_one_position_are_told_apart_by_their_keys() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("skipped.jsonl");
        let mut file = SkippedFile::open(&path, 10).expect("a new file");
        let mut other_key = record("7", None);
        other_key.partition_key = "l".into();
        assert!(file.append(&[record("7", None), other_key]).expect("a writable file"));
        assert_eq!(fs::read_to_string(&path).expect("text").lines().count(), 2);
    }

    #[test]
    fn a_file_gets_no_more_than_it_may() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("skipped.jsonl");
        let mut file = SkippedFile::open(&path, 1).expect("a new file");
        assert!(!file.append(&[record("7", Some(0)), record("7", Some(1))]).expect("a writable file"));
        assert!(file.append(&[record("7", Some(0))]).expect("a writable file"));
        assert!(!file.append(&[record("7", Some(1))]).expect("a writable file"));
        assert!(file.append(&[record("7", Some(0))]).expect("it has that one"));
    }

    #[track_caller]
    fn check_refused(text: &str, expected_line: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("other");
        fs::write(&path, text).expect("a writable folder");
        let error = SkippedFile::open(&path, 10).expect_err("another file");
        assert!(matches!(error, SkippedFileError::Line { line, .. } if line == expected_line), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("text"), text);
    }

    #[test]
    fn other_files_are_left_as_they_are() {
        check_refused("hello", 1);
        check_refused("{\"partitionKey\":\"k\",\"text\":\"x\"}\n", 1);
        check_refused("[]\n", 1);
        let link = tempfile::tempdir().expect("a temporary folder");
        let path = link.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &path).expect("a link");
        assert!(matches!(SkippedFile::open(&path, 1), Err(SkippedFileError::NotRegular { .. })));
    }
}
