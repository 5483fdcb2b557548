use std::{
    cell::Cell,
    io::{self, Write},
    path::PathBuf,
};

use bytes::Bytes;
use lambda_host::Answer;

use super::TargetError;
use crate::output::private_file;

/// A directory that gets each event as a file, for `cargo lambda invoke --data-file`.
#[derive(Debug)]
pub(crate) struct EventDirectory {
    path: PathBuf,
    /// Number of the last file.
    number: Cell<u64>,
}

impl EventDirectory {
    pub(super) fn open(path: PathBuf) -> Result<Self, TargetError> {
        match private_file::create_folder(&path) {
            Ok(()) => Ok(EventDirectory { path, number: Cell::new(0) }),
            Err(source) => Err(TargetError::Directory { path, source }),
        }
    }

    pub(super) fn write(&self, event: &[u8], shard_id: &str) -> Result<Answer, TargetError> {
        let shard_id = file_name(shard_id);
        loop {
            let number = self.number.get() + 1;
            self.number.set(number);
            let path = self.path.join(format!("{number:06}-{shard_id}.json"));
            // What an earlier run has written stays.
            let written = match private_file::options().write(true).create_new(true).open(&path) {
                Ok(mut file) => file.write_all(event),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => Err(error),
            };
            return match written {
                Ok(()) => Ok(Answer::Response(Bytes::from_static(b"{\"batchItemFailures\":[]}"))),
                Err(source) => Err(TargetError::Directory { path, source }),
            };
        }
    }
}

/// Longest part of a file's name that an ID gives, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Returns the ID with `_` for everything that may mean something in a path: whoever wrote it chooses no folder.
fn file_name(id: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-');
    id.chars().map(|char| if is_plain(char) { char } else { '_' }).take(MAX_NAME_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn an_id_names_no_folder() {
        assert_eq!(file_name("shardId-000000000001"), "shardId-000000000001");
        assert_eq!(file_name("../../a/\0b:c d\u{e9}"), ".._.._a__b_c_d_");
        assert_eq!(file_name(&"a".repeat(1_000)).len(), 128);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let directory = EventDirectory::open(folder.path().join("events")).expect("a writable folder");
        directory.write(b"event", "/../../forged").expect("a writable folder");
        let names =
            |path| fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        assert_eq!(names(folder.path().join("events")).collect::<Vec<_>>(), ["000001-_.._.._forged.json"]);
        assert_eq!(names(folder.path().to_owned()).collect::<Vec<_>>(), ["events"]);
    }

    #[test]
    fn events_are_numbered_and_none_is_overwritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("events");
        for event in [b"one", b"two"] {
            let directory = EventDirectory::open(path.clone()).expect("a writable folder");
            directory.write(event, "shardId-000000000000").expect("a writable folder");
        }
        let mode =
            |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("000001-shardId-000000000000.json"))), (0o700, 0o600));
        let read = |name: &str| fs::read(path.join(name)).expect("the event is there");
        assert_eq!(read("000001-shardId-000000000000.json"), b"one");
        assert_eq!(read("000002-shardId-000000000000.json"), b"two");
    }
}
