//! A worker of another implementation of the KCL: `kcl-rs`, a port of KCL 3 to Rust with the same lease table.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::{
    emulator::repository,
    kinesis::{CREDENTIALS, Kinesis},
    lease_table::LeaseTable,
};

/// A worker, the only one on its table. It ends with this value.
pub(crate) struct KclWorker {
    process: Child,
    lines: Arc<Mutex<Vec<Value>>>,
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
        let mut process = Command::new(repository().join(".tools/servers/bin/python"))
            .arg(repository().join("tests/it/kcl_worker.py"))
            .args([stream, LeaseTable::NAME])
            .envs(CREDENTIALS)
            // Not only DynamoDB: its metrics go there, too.
            .env("AWS_ENDPOINT_URL", table.url())
            .env("AWS_ENDPOINT_URL_KINESIS", kinesis.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its warnings. Without trouble there are none.
            .stderr(Stdio::inherit())
            .spawn()
            .expect("kcl-rs is installed: run the tests with `make test`");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let seen = Arc::clone(&lines);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("JSON lines");
                seen.lock().expect("no panic while locked").push(line);
            }
        });
        KclWorker { process, lines }
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
}

impl Drop for KclWorker {
    #[expect(clippy::print_stderr, reason = "part of what a failed test has to say")]
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("the KCL worker has said: {:#?}", self.lines());
        }
    }
}
