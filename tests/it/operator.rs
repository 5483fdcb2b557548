//! Whoever runs `kinesis-kit` against stand-ins for all AWS services.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use aws_config::SdkConfig;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    emulator::{kinesis_kit, misbehaving_function},
    kinesis::{CREDENTIALS, Kinesis},
    moto::{self, Moto},
    polling::Polling,
};

/// The application's name, as the function has it.
pub(crate) const APPLICATION: &str = "orders";

/// Name of the stream.
pub(crate) const STREAM: &str = "orders";

/// The journal's table.
pub(crate) const JOURNAL: &str = "orders-journal";

/// Variables with which the function keeps a journal.
pub(crate) const WITH_JOURNAL: [(&str, &str); 3] = [
    ("KINESIS_HANDLER_APPLICATION", APPLICATION),
    ("KINESIS_HANDLER_JOURNAL_TABLE", JOURNAL),
    ("KINESIS_HANDLER_PARALLELIZATION_FACTOR", "1"),
];

/// The services, and a place for files.
pub(crate) struct Operator {
    pub(crate) kinesis: Kinesis,
    moto: Moto,
    pub(crate) config: SdkConfig,
    pub(crate) runtime: Runtime,
    folder: TempDir,
}

/// The exit code and the output of a run of `kinesis-kit`.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The lines of standard output, which are JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
    }
}

impl Operator {
    pub(crate) fn start(shards: i32) -> Self {
        let (kinesis, moto) = (Kinesis::start(), Moto::start());
        kinesis.create_stream(STREAM, shards);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = runtime.block_on(moto::config(moto.port));
        let folder = tempfile::tempdir().expect("a temporary folder");
        Operator { kinesis, moto, config, runtime, folder }
    }

    /// Makes the journal's table.
    pub(crate) fn create_journal(&self) {
        let client = aws_sdk_dynamodb::Client::new(&self.config);
        self.runtime.block_on(moto::create_journal_table(&client, JOURNAL));
    }

    /// Makes a lease table.
    pub(crate) fn create_lease_table(&self, name: &str) {
        let client = aws_sdk_dynamodb::Client::new(&self.config);
        self.runtime.block_on(moto::create_table(&client, name));
    }

    /// Makes a function with these variables, to be looked at.
    pub(crate) fn create_function(&self, name: &str, variables: &[(&str, &str)]) {
        self.runtime.block_on(moto::create_function(&self.config, self.moto.port, name, variables));
    }

    /// A path for a file of this name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Variables with which programs find the services.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let mut variables: Vec<(String, String)> =
            CREDENTIALS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let text = |path: PathBuf| path.to_str().expect("a plain path").to_owned();
        variables.extend([
            ("AWS_ENDPOINT_URL".to_owned(), moto::endpoint(self.moto.port)),
            ("AWS_ENDPOINT_URL_KINESIS".to_owned(), self.kinesis.url()),
            ("XDG_STATE_HOME".to_owned(), text(self.path("state"))),
            ("PROCESSED".to_owned(), text(self.path("processed"))),
        ]);
        variables
    }

    fn command(&self, args: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(kinesis_kit());
        command.args(args.split_whitespace()).envs(self.variables()).envs(variables.iter().copied());
        command
    }

    /// Runs `kinesis-kit` with arguments that are separated by spaces.
    pub(crate) fn kit(&self, args: &str, variables: &[(&str, &str)]) -> Run {
        let output = self.command(args, variables).output().expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Run { exit_code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// As [`kit`](Self::kit), with the function behind it, in which nothing fails any more.
    pub(crate) fn kit_mended(&self, args: &str) -> Run {
        let function = misbehaving_function();
        self.kit(&format!("{args} -- {}", function.display()), &[("MENDED", "1")])
    }

    /// Starts it, to be killed.
    pub(crate) fn spawn_mended(&self, args: &str) -> Child {
        let function = misbehaving_function();
        let mut command = self.command(&format!("{args} -- {}", function.display()), &[("MENDED", "1")]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs")
    }

    /// Starts `kinesis-kit` with arguments that are separated by spaces, to be killed.
    pub(crate) fn spawn(&self, args: &str, variables: &[(&str, &str)]) -> Child {
        let mut command = self.command(args, variables);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs")
    }

    /// The mapping delivers to the function, with all of its faults, until this ends.
    pub(crate) fn mapping(&self, scenario: &Value, switches: &[(&str, &str)]) -> Polling {
        let function = misbehaving_function();
        let args = ["--", function.to_str().expect("a plain path")];
        let variables = self.variables();
        let mut variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        variables.extend(switches);
        Polling::start_with(&self.kinesis, STREAM, scenario, &args, &variables)
    }

    /// The bytes of the user records that were processed, each with a line feed.
    pub(crate) fn processed_bytes(&self) -> u64 {
        fs::metadata(self.path("processed")).map_or(0, |metadata| metadata.len())
    }

    /// The user records that were processed, in that order.
    pub(crate) fn processed(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("processed")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
