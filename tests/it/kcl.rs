//! A worker of another implementation of the KCL: `kcl-rs`, a port of KCL 3 to Rust with the same lease table, or AWS's own KCL for Java.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;

use tempfile::TempDir;

use crate::{
    emulator::{repository, wait_at_most},
    kinesis::{CREDENTIALS, Kinesis},
    lease_table::LeaseTable,
};

/// Time within which a KCL for Java does something. It has its first lease after half a minute, or a whole one on a machine that does
/// something else, too.
pub(crate) const KCL_PATIENCE: Duration = Duration::from_secs(240);

/// A worker, the only one on its table. It ends with this value.
pub(crate) struct KclWorker {
    process: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
    /// The log of a KCL for Java, which warns of much.
    log: Option<(TempDir, PathBuf)>,
}

/// A worker of the KCL for Java, to be started.
pub(crate) struct JavaKclWorker<'a> {
    pub(crate) stream: &'a str,
    /// Name of its lease table, and so of its application. It makes the table if there is none.
    pub(crate) table: &'a str,
    /// The position at which it starts in shards of which its table says nothing: `TRIM_HORIZON` or `LATEST`.
    pub(crate) initial_position: &'a str,
    /// The owner of its leases.
    pub(crate) name: &'a str,
}

/// A user record in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserRecord {
    pub(crate) shard_id: String,
    pub(crate) sequence_number: String,
    pub(crate) sub_sequence_number: u64,
    pub(crate) text: String,
}

impl KclWorker {
    pub(crate) fn start(kinesis: &Kinesis, stream: &str, table: &LeaseTable) -> Self {
        let mut command = Command::new(repository().join(".tools/servers/bin/python"));
        command
            .arg(repository().join("tests/it/kcl_worker.py"))
            .args([stream, LeaseTable::NAME])
            // Its warnings. Without trouble there are none.
            .stderr(Stdio::inherit());
        Self::spawn(command, kinesis, &table.url(), None)
    }

    /// Starts a KCL for Java. It is installed: [`java_kcl_jars`] has returned its jars.
    pub(crate) fn start_java(
        worker: &JavaKclWorker<'_>,
        jars: &Path,
        kinesis: &Kinesis,
        dynamodb_url: &str,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        let log = File::create(&path).expect("a writable folder");
        let mut command = Command::new("java");
        command
            // It runs for a minute: quick to start is better than fast.
            .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .arg("-Dorg.slf4j.simpleLogger.showDateTime=true")
            .arg("-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS")
            .arg("-cp")
            .arg(jars.join("*"))
            .arg(repository().join("tests/java-kcl/KclWorker.java"))
            .args([worker.stream, worker.table, worker.initial_position, worker.name])
            .stderr(log);
        Self::spawn(command, kinesis, dynamodb_url, Some((folder, path)))
    }

    fn spawn(
        mut command: Command,
        kinesis: &Kinesis,
        dynamodb_url: &str,
        log: Option<(TempDir, PathBuf)>,
    ) -> Self {
        let mut process = command
            .envs(CREDENTIALS)
            // Not only DynamoDB: its metrics go there, too.
            .env("AWS_ENDPOINT_URL", dynamodb_url)
            .env("AWS_ENDPOINT_URL_KINESIS", kinesis.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the KCL is installed: run the tests with `make test`");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let seen = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("JSON lines");
                seen.lock().expect("no panic while locked").push(line);
            }
        });
        KclWorker { process, lines, reader: Some(reader), log }
    }

    /// Shuts a KCL for Java down gracefully, and returns the user records that it has processed, in that order.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Vec<UserRecord> {
        drop(self.process.stdin.take());
        let mut status = None;
        wait_at_most(KCL_PATIENCE, "the worker's end", || {
            status = self.process.try_wait().expect("it is a child");
            status.is_some()
        });
        let status = status.expect("just waited for it");
        assert!(status.success(), "the graceful shutdown failed: {status}");
        self.reader.take().expect("only taken here").join().expect("JSON lines");
        self.user_records()
    }

    fn lines(&self) -> Vec<Value> {
        self.lines.lock().expect("no panic while locked").clone()
    }

    /// The user records that it has processed so far, in that order.
    pub(crate) fn user_records(&self) -> Vec<UserRecord> {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let user_record = |line: &Value| UserRecord {
            shard_id: text(&line["shard"]),
            sequence_number: text(&line["sequenceNumber"]),
            sub_sequence_number: line["subSequenceNumber"].as_u64().expect("a number"),
            text: text(&line["data"]),
        };
        self.lines().iter().filter(|line| line.get("data").is_some()).map(user_record).collect()
    }

    /// Whether it has come to the end of a closed shard.
    pub(crate) fn has_ended(&self, shard_id: &str) -> bool {
        self.lines().iter().any(|line| line["ended"] == shard_id)
    }

    /// Whether a KCL for Java has come to a text at which it stops in this shard.
    pub(crate) fn has_stopped(&self, shard_id: &str) -> bool {
        self.lines().iter().any(|line| line["stopped"] == shard_id)
    }

    /// Whether it has processed a user record with this text.
    pub(crate) fn has_processed(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line["data"] == text)
    }
}

/// Returns the folder with the jars of the KCL for Java; `None`, and says so, if they or Java are not there: no other test needs them,
/// and only `make test-java-kcl` installs them.
#[expect(clippy::print_stderr, reason = "a test that does nothing must say so")]
pub(crate) fn java_kcl_jars() -> Option<PathBuf> {
    let folder = repository().join(".tools/java-kcl");
    let java = Command::new("java").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let missing = match java {
        // Written when all of it is there.
        Ok(status) if status.success() && folder.join("stamp").exists() => return Some(folder.join("lib")),
        Ok(status) if status.success() => "the jars of the KCL for Java are not installed",
        _ => "there is no `java` on this machine",
    };
    eprintln!("skipped: {missing}: run `make test-java-kcl`");
    None
}

impl Drop for KclWorker {
    #[expect(clippy::print_stderr, reason = "part of what a failed test has to say")]
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("the KCL worker has said: {:#?}", self.lines());
            if let Some((_, path)) = &self.log {
                eprintln!("its log: {}", fs::read_to_string(path).unwrap_or_default());
            }
        }
    }
}
