use std::{error, io, path::PathBuf};

use kinesis_esm_simulator::ScenarioError;
use kinesis_handler::{
    BoxError, SequenceNumber, SequenceNumberError, checkpoint::CheckpointError, journal::JournalError,
};
use thiserror::Error;

use crate::{
    aws::AwsError,
    commands::simulate::StreamError,
    delivery::{progress_file::ProgressError, skipped::SkippedFileError, target::TargetError},
    input::kinesis_record::InvalidRecord,
};

/// The outcome of a command that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completion {
    /// All of it.
    Done,
    /// Part of it: what failed has been listed.
    SomeFailed,
}

/// Why a command could not do its work.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("cannot read {input}")]
    Read { input: String, source: io::Error },
    #[error("cannot read {input} as {expected}")]
    Input { input: String, expected: &'static str, source: Mismatch },
    #[error("{wrong} of {lines} lines cannot be aggregated: nothing was written")]
    Lines { wrong: u64, lines: u64 },
    #[error("not enough sequence numbers after {first}")]
    SequenceNumbers { first: SequenceNumber, source: SequenceNumberError },
    #[error("cannot simulate {input}")]
    Scenario { input: String, source: ScenarioError },
    #[error("the command cannot be started")]
    Start(#[source] io::Error),
    #[error("the simulation cannot continue")]
    Simulation(#[source] BoxError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Progress(#[from] ProgressError),
    #[error(transparent)]
    Skipped(#[from] SkippedFileError),
    #[error("table {table} cannot be used")]
    Journal { table: String, source: JournalError },
    #[error("table {table} is not the table of a retry journal: its {items} lack the key pk")]
    NotJournal { table: String, items: String },
    #[error("table {table} cannot be used")]
    Checkpoints { table: String, source: CheckpointError },
    #[error(
        "table {table} does not exist: `kinesis-kit checkpoint create --table {table}` creates one for a mirror"
    )]
    NoLeaseTable { table: String },
    #[error("an entry of the journal cannot be deleted: {fault}")]
    Entry { fault: String },
    #[error("table {table}: row {lease_key} cannot be read")]
    Lease { table: String, lease_key: String, source: CheckpointError },
    #[error(
        "table {table} has no row of a shard of {stream_arn}: {found}; name another --checkpoint-table, or take \
         trim-horizon for checkpoint to replay everything"
    )]
    NoLease { table: String, stream_arn: String, found: String },
    #[error("table {table} is the mirror of another stream, {stream_arn}")]
    OtherStream { table: String, stream_arn: String },
    #[error("the stream does not exist: create it with --create SHARDS")]
    NoStream(#[source] AwsError),
    #[error("the stream has no shard {shard_id}")]
    NoShard { shard_id: String },
    /// A wrong combination of arguments that the command line's own rules cannot express.
    #[error("{0}")]
    Usage(String),
    #[error("cannot write to {}", path.display())]
    WriteFile { path: PathBuf, source: io::Error },
    /// A service has not done within a time what it was asked for.
    #[error("{what}")]
    TooSlow { what: String },
    #[error("interrupted")]
    Interrupted,
    #[error("cannot write to standard output")]
    Write(#[from] io::Error),
    /// Standard output was closed while there was work left, unlike that of a command that only shows something.
    #[error("standard output was closed before all of the work was done")]
    OutputClosed,
}

/// Why an input is not of a certain kind.
#[derive(Debug, Error)]
pub(crate) enum Mismatch {
    #[error("not JSON")]
    Json(#[source] serde_json::Error),
    #[error(transparent)]
    Object(Box<InvalidRecord>),
    #[error("JSON object without \"Records\"")]
    NoRecords,
    #[error("JSON object without \"kinesis\", \"Data\" or \"data\"")]
    NoRecord,
    #[error("\"{member}\": expected an array, found {found}")]
    Member { member: &'static str, found: &'static str },
    #[error("expected a JSON object with \"Records\", found {found}")]
    Value { found: &'static str },
    #[error("element {index}")]
    Element { index: usize, source: Box<Mismatch> },
    #[error("{carrier}")]
    Carried { carrier: &'static str, source: Box<Mismatch> },
    #[error("JSON with too many documents inside each other")]
    TooDeep,
    #[error(
        "a failure record without \"payload\" names records but does not hold them: \
         `kinesis-kit redrive --file` reads them from the stream"
    )]
    FailureRecord,
    #[error("an event of {source_name}, not of \"aws:kinesis\" (--input raw shows it as one record)")]
    OtherSource { source_name: String },
    #[error("no record has a member \"kinesis\"")]
    NoEventRecords,
    #[error("no record has a member \"SequenceNumber\", \"Data\" or \"PartitionKey\"")]
    NoApiRecords,
    #[error("byte at line {line}, column {column} is not part of base64")]
    Base64Byte { line: usize, column: usize },
    #[error("length or padding is not that of base64")]
    Base64Length,
}

impl Mismatch {
    /// Whether the input is known to be something else, so that it is not the payload of a record, either.
    pub(crate) fn is_certain(&self) -> bool {
        match self {
            Mismatch::FailureRecord | Mismatch::OtherSource { .. } => true,
            Mismatch::Element { source, .. } | Mismatch::Carried { source, .. } => source.is_certain(),
            _ => false,
        }
    }
}

impl Error {
    /// Returns the error of a command that does more than show something: its work is not done when the reader of its
    /// output leaves.
    pub(crate) fn of_work(self) -> Self {
        if self.is_broken_pipe() { Error::OutputClosed } else { self }
    }

    /// Whether the reader of the output went away.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Error::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Lines { .. }
            | Error::Write(_)
            | Error::OutputClosed
            | Error::Entry { .. }
            | Error::TooSlow { .. } => 1,
            Error::Read { .. }
            | Error::Input { .. }
            | Error::SequenceNumbers { .. }
            | Error::Scenario { .. }
            | Error::Start(_)
            | Error::NoShard { .. }
            | Error::Usage(_)
            | Error::WriteFile { .. }
            | Error::Simulation(_) => 2,
            Error::Stream(error) => error.exit_code(),
            Error::Aws(error) | Error::NoStream(error) => error.exit_code(),
            Error::Target(error) => error.exit_code(),
            Error::Progress(_)
            | Error::Skipped(_)
            | Error::Journal { .. }
            | Error::NotJournal { .. }
            | Error::Checkpoints { .. }
            | Error::NoLeaseTable { .. }
            | Error::Lease { .. }
            | Error::NoLease { .. }
            | Error::OtherStream { .. } => 2,
            // As shells have it for SIGINT.
            Error::Interrupted => 130,
        }
    }
}

/// An error and all of its causes, on one line.
pub(crate) fn chain(error: &dyn error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&one_line(&cause.to_string()));
        next = cause.source();
    }
    text
}

/// Joins the lines of an error of a library, which would be escaped otherwise.
fn one_line(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match joined.chars().next_back() {
            None => {}
            Some(':') => joined.push(' '),
            Some(_) => joined.push_str("; "),
        }
        joined.push_str(line);
    }
    joined
}

/// Describes an error in JSON without the place: for a part of an input, whose own lines count from one.
pub(crate) fn json_fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(fault, _)| fault).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_cause_become_one() {
        let cause: BoxError = "none found. Attempted:\n  Environment: not set\n  Profile: none\n".into();
        assert_eq!(
            chain(&Error::Simulation(cause)),
            "the simulation cannot continue: none found. Attempted: Environment: not set; Profile: none"
        );
    }
}
