//! `kinesis-kit simulate --stream` while it runs.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    emulator::{kinesis_kit, wait_for},
    kinesis::{CREDENTIALS, Kinesis},
};

/// A run with JSON lines as output. It ends with this value.
pub(crate) struct Polling {
    process: Child,
    folder: TempDir,
    steps: Arc<Mutex<Vec<Value>>>,
}

impl Polling {
    /// Begins with these arguments, the last ones of which name the function. Failure records go into a file.
    pub(crate) fn start(kinesis: &Kinesis, stream: &str, scenario: &Value, arguments: &[&str]) -> Self {
        Self::start_with(kinesis, stream, scenario, arguments, &[])
    }

    /// As [`start`](Self::start), with these variables too, which the function inherits.
    pub(crate) fn start_with(
        kinesis: &Kinesis,
        stream: &str,
        scenario: &Value,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("scenario.json");
        fs::write(&path, scenario.to_string()).expect("a writable folder");
        let log = File::create(folder.path().join("log")).expect("a writable folder");
        let mut process = Command::new(kinesis_kit())
            .args(["simulate", "--stream", stream, "--format", "json", "--scenario"])
            .arg(&path)
            .arg("--failures")
            .arg(folder.path().join("failures.jsonl"))
            .args(arguments)
            .env("AWS_ENDPOINT_URL", kinesis.url())
            .envs(CREDENTIALS)
            .env("PID_FILE", folder.path().join("pid"))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let steps: Arc<Mutex<Vec<Value>>> = Arc::default();
        let seen = Arc::clone(&steps);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let step = serde_json::from_str(&line).expect("JSON lines");
                seen.lock().expect("no panic while locked").push(step);
            }
        });
        Polling { process, folder, steps }
    }

    /// The steps of this kind so far.
    pub(crate) fn steps(&self, kind: &str) -> Vec<Value> {
        let steps = self.steps.lock().expect("no panic while locked");
        steps.iter().filter(|step| step["step"] == kind).cloned().collect()
    }

    /// Waits until so many records are done.
    #[track_caller]
    pub(crate) fn wait_for_records(&self, records: u64) {
        wait_for(&format!("{records} records"), || self.done_records() >= records);
        assert_eq!(self.done_records(), records);
    }

    fn done_records(&self) -> u64 {
        self.steps("acknowledged").iter().filter_map(|step| step["records"].as_u64()).sum()
    }

    /// Returns the output of the simulator and the function so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("the log is UTF-8")
    }

    /// The JSON lines of the function's log that have this message.
    pub(crate) fn log_lines(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    pub(crate) fn failure_records(&self) -> Vec<Value> {
        let file = fs::read_to_string(self.folder.path().join("failures.jsonl")).expect("the file is made");
        file.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
    }

    /// The file that a function may write its process ID into: `PID_FILE` in its environment.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.folder.path().join("pid")
    }

    /// Sends the signal.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status();
        assert!(kill.expect("kill runs").success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the run's end", || {
            status = self.process.try_wait().expect("it is a child");
            status.is_some()
        });
        status.expect("just waited for it")
    }

    /// Interrupts it as a terminal does.
    #[track_caller]
    pub(crate) fn interrupt(&mut self) {
        self.signal("INT");
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        assert!(self.log().contains("kinesis-kit: ended by SIGINT: "), "{}", self.log());
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        // An error means that it has ended by itself. Its own processes end when their connections break.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
