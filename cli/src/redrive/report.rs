use std::io::{self, Write};

use kinesis_handler::SequenceNumber;
use serde::Serialize;

use super::{failure_record::FailureRecord, source::Found};
use crate::{
    args::Format,
    cell,
    error::chain,
    note::count,
    table::{Column, LastCell, LastColumn, Row, Table, terminal_width},
};

/// What has become of one failure record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Everything in it is processed.
    Done,
    /// From this record on nothing is.
    Failed { at: SequenceNumber, error: String },
    /// Some records are gone; how many, if that is known. All others are processed.
    Lost { records: Option<u64>, why: String },
    /// It is no failure record.
    Unreadable { error: String },
    /// The run has ended before it was done.
    Halted,
    /// Its records can be delivered.
    Found,
    /// Its records are in event files, and nobody has processed them.
    Written,
}

impl Fate {
    fn name(&self) -> &'static str {
        match self {
            Fate::Done => "done",
            Fate::Failed { .. } => "failed",
            Fate::Lost { .. } => "lost",
            Fate::Unreadable { .. } => "unreadable",
            Fate::Halted => "halted",
            Fate::Found => "found",
            Fate::Written => "written",
        }
    }

    fn error(&self) -> Option<&str> {
        match self {
            Fate::Failed { error, .. } | Fate::Unreadable { error } => Some(error),
            Fate::Lost { why, .. } => Some(why),
            Fate::Done | Fate::Halted | Fate::Found | Fate::Written => None,
        }
    }
}

/// A line for each failure record.
pub(super) struct Report<W: Write> {
    format: Format,
    output: W,
    rows: Vec<Row>,
    counts: [u64; 7],
    pub(super) records: u64,
}

/// As JSON has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    source: &'a str,
    outcome: &'static str,
    stream_arn: Option<&'a str>,
    shard_id: Option<&'a str>,
    start_sequence_number: Option<SequenceNumber>,
    end_sequence_number: Option<SequenceNumber>,
    batch_size: Option<u64>,
    /// Kinesis records that were delivered by this run.
    delivered: u64,
    /// The first that is not processed.
    failed_sequence_number: Option<SequenceNumber>,
    lost: Option<u64>,
    error: Option<&'a str>,
}

const COLUMNS: [Column; 5] = [
    Column { heading: "SHARD", is_number: false },
    Column { heading: "FIRST", is_number: false },
    Column { heading: "LAST", is_number: false },
    Column { heading: "RECORDS", is_number: true },
    Column { heading: "DELIVERED", is_number: true },
];

const OUTCOME: LastColumn = LastColumn { heading: "OUTCOME", width: 80, min_width: 21 };

const NAMES: [&str; 7] = ["done", "failed", "lost", "unreadable", "halted", "found", "written"];

impl<W: Write> Report<W> {
    pub(super) fn new(format: Format, output: W) -> Self {
        Report { format, output, rows: Vec::new(), counts: [0; 7], records: 0 }
    }

    pub(super) fn add(&mut self, found: &Found, delivered: u64, fate: &Fate) -> io::Result<()> {
        self.records += delivered;
        let name = NAMES.iter().position(|name| *name == fate.name()).unwrap_or_default();
        self.counts[name] += 1;
        match self.format {
            Format::Json => self.write(found, delivered, fate),
            Format::Table => {
                self.rows.push(row(found, delivered, fate));
                Ok(())
            }
        }
    }

    fn write(&mut self, found: &Found, delivered: u64, fate: &Fate) -> io::Result<()> {
        let record = found.record.as_ref().ok();
        let line = Line {
            source: &found.name,
            outcome: fate.name(),
            stream_arn: record.map(|record| record.stream.as_str()),
            shard_id: record.map(|record| record.shard_id.as_str()),
            start_sequence_number: record.map(|record| record.first),
            end_sequence_number: record.map(|record| record.last),
            batch_size: record.and_then(|record| record.batch_size),
            delivered,
            failed_sequence_number: match fate {
                Fate::Failed { at, .. } => Some(*at),
                _ => None,
            },
            lost: match fate {
                Fate::Lost { records, .. } => *records,
                _ => None,
            },
            error: fate.error(),
        };
        serde_json::to_writer(&mut self.output, &line)?;
        self.output.write_all(b"\n")?;
        self.output.flush()
    }

    /// Writes the table, if it is to be one.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let mut table = Table::new(&mut self.output, terminal_width(), COLUMNS, OUTCOME);
        for row in self.rows.drain(..) {
            table.push(row)?;
        }
        table.finish()
    }

    pub(super) fn is_all_good(&self) -> bool {
        self.counts[1..5].iter().all(|&count| count == 0)
    }

    /// For people, in one line.
    pub(super) fn summary(&self) -> String {
        let total: u64 = self.counts.iter().sum();
        let mut parts: Vec<String> = NAMES
            .iter()
            .zip(self.counts)
            .filter(|(_, number)| *number > 0)
            .map(|(name, number)| format!("{number} {name}"))
            .collect();
        parts.push(format!("{} delivered", count(self.records, "Kinesis record")));
        format!("{}: {}", count(total, "failure record"), parts.join(", "))
    }
}

fn row(found: &Found, delivered: u64, fate: &Fate) -> Row {
    let record: Option<&FailureRecord> = found.record.as_ref().ok();
    let cell = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let number = |number: SequenceNumber| cell::short_number(&number);
    let outcome = match fate {
        Fate::Failed { at, error } => format!("failed from {} on: {error}", number(*at)),
        Fate::Lost { why, .. } => format!("lost: {why}"),
        Fate::Unreadable { error } => format!("unreadable: {}: {error}", found.name),
        Fate::Done | Fate::Halted | Fate::Found | Fate::Written => fate.name().to_owned(),
    };
    Row {
        columns: vec![
            cell(record.map(|record| cell::text(&record.shard_id, 40))),
            cell(record.map(|record| number(record.first))),
            cell(record.map(|record| number(record.last))),
            cell(record.and_then(|record| record.batch_size).map(|size| size.to_string())),
            delivered.to_string(),
        ],
        last: LastCell::Whole(cell::text(&outcome, 1_000)),
    }
}

/// What is wrong with something that should have been a failure record.
pub(super) fn unreadable(error: &dyn std::error::Error) -> Fate {
    Fate::Unreadable { error: chain(error) }
}
