use std::io::{self, Write};

use kinesis_handler::SequenceNumber;
use serde::Serialize;

use crate::{
    args::Format,
    cell,
    note::count,
    table::{Column, LastCell, LastColumn, Row, Table, terminal_width},
};

/// How the replay of a shard has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// From this record on nothing is processed.
    Failed {
        at: SequenceNumber,
        error: String,
    },
    /// The stream does not have the first of it any more.
    Lost,
    /// It is not part of the range.
    LeftOut {
        why: &'static str,
    },
    /// A parent of it has not come to its end.
    NotBegun,
    /// The run has ended before it was done.
    Halted,
}

/// What was delivered of a shard, by this run.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) kinesis_records: u64,
    pub(super) user_records: u64,
    pub(super) first: Option<SequenceNumber>,
    pub(super) last: Option<SequenceNumber>,
}

/// A line for each shard.
pub(super) struct Report {
    format: Format,
    rows: Vec<(String, Tally, Fate)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    shard_id: &'a str,
    outcome: &'static str,
    kinesis_records: u64,
    user_records: u64,
    first_sequence_number: Option<SequenceNumber>,
    last_sequence_number: Option<SequenceNumber>,
    failed_sequence_number: Option<SequenceNumber>,
    error: Option<&'a str>,
}

const COLUMNS: [Column; 5] = [
    Column { heading: "SHARD", is_number: false },
    Column { heading: "KINESIS RECORDS", is_number: true },
    Column { heading: "USER RECORDS", is_number: true },
    Column { heading: "FIRST", is_number: false },
    Column { heading: "LAST", is_number: false },
];

const OUTCOME: LastColumn = LastColumn { heading: "OUTCOME", width: 80, min_width: 21 };

impl Report {
    pub(super) fn new(format: Format) -> Self {
        Report { format, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, shard_id: &str, tally: Tally, fate: Fate) -> io::Result<()> {
        if self.format == Format::Json {
            let mut line = serde_json::to_vec(&line(shard_id, &tally, &fate))?;
            line.push(b'\n');
            let mut output = io::stdout().lock();
            output.write_all(&line)?;
            output.flush()?;
        }
        self.rows.push((shard_id.to_owned(), tally, fate));
        Ok(())
    }

    /// Writes the table, if it is to be one, in the order of shard IDs.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.format == Format::Json {
            return Ok(());
        }
        self.rows.sort_by(|one, other| one.0.cmp(&other.0));
        let mut table = Table::new(io::stdout().lock(), terminal_width(), COLUMNS, OUTCOME);
        for (shard_id, tally, fate) in &self.rows {
            let number = |number: Option<SequenceNumber>| {
                number.map_or_else(|| "-".to_owned(), |number| cell::short_number(&number))
            };
            let outcome = match fate {
                Fate::Failed { at, error } => format!("failed at {}: {error}", cell::short_number(at)),
                Fate::LeftOut { why } => format!("left out: {why}"),
                fate => fate.name().to_owned(),
            };
            table.push(Row {
                columns: vec![
                    cell::text(shard_id, 40),
                    tally.kinesis_records.to_string(),
                    tally.user_records.to_string(),
                    number(tally.first),
                    number(tally.last),
                ],
                last: LastCell::Whole(cell::text(&outcome, 1_000)),
            })?;
        }
        table.finish()
    }

    pub(super) fn is_all_good(&self) -> bool {
        self.rows.iter().all(|(.., fate)| matches!(fate, Fate::Done | Fate::LeftOut { .. }))
    }

    /// For people, in one line.
    pub(super) fn summary(&self) -> String {
        let sum = |of: fn(&Tally) -> u64| self.rows.iter().map(|(_, tally, _)| of(tally)).sum();
        let is_done = |(.., fate): &&(String, Tally, Fate)| matches!(fate, Fate::Done);
        format!(
            "{} in {}, of {}, {} done",
            count(sum(|tally| tally.user_records), "user record"),
            count(sum(|tally| tally.kinesis_records), "Kinesis record"),
            count(self.rows.len() as u64, "shard"),
            self.rows.iter().filter(is_done).count()
        )
    }
}

impl Fate {
    fn name(&self) -> &'static str {
        match self {
            Fate::Done => "done",
            Fate::Failed { .. } => "failed",
            Fate::Lost => {
                "lost: the stream has dropped the first of the range; what it still has is processed"
            }
            Fate::LeftOut { .. } => "left out",
            Fate::NotBegun => "not begun: its parent has not come to its end",
            Fate::Halted => "halted",
        }
    }
}

fn line<'a>(shard_id: &'a str, tally: &Tally, fate: &'a Fate) -> Line<'a> {
    Line {
        shard_id,
        outcome: match fate {
            Fate::Done => "done",
            Fate::Failed { .. } => "failed",
            Fate::Lost => "lost",
            Fate::LeftOut { .. } => "leftOut",
            Fate::NotBegun => "notBegun",
            Fate::Halted => "halted",
        },
        kinesis_records: tally.kinesis_records,
        user_records: tally.user_records,
        first_sequence_number: tally.first,
        last_sequence_number: tally.last,
        failed_sequence_number: match fate {
            Fate::Failed { at, .. } => Some(*at),
            _ => None,
        },
        error: match fate {
            Fate::Failed { error, .. } => Some(error),
            Fate::LeftOut { why } => Some(why),
            _ => None,
        },
    }
}
