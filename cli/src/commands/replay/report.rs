use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use kinesis_handler::SequenceNumber;
use serde::Serialize;

use crate::{
    args::Format,
    delivery::progress_file::ProgressPoint,
    output::{
        cell, json,
        note::count,
        screen::Screen,
        table::{Column, FailedAt, LastCell, LastColumn, Row, Table},
        tone::Tone,
    },
};

/// The end of a shard's replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReplayFate {
    Processed,
    /// Its records can be delivered: nothing was.
    Found,
    /// Its records are in event files, and nobody has processed them.
    Written,
    /// From this record on nothing is processed.
    Failed {
        at: ProgressPoint,
        error: String,
    },
    /// All of it is processed, except user records that were passed over.
    Skipped {
        records: u64,
    },
    /// The stream does not have the first of it any more.
    Lost,
    /// Kinesis refuses to read it from where it should begin, or from somewhere on.
    Unreadable {
        error: String,
    },
    /// It is not part of the range.
    LeftOut {
        why: &'static str,
    },
    /// A parent of it has not come to its end.
    NotBegun,
    /// The run has ended before it was done.
    Halted,
}

/// The records of a shard that this run delivered.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) kinesis_records: u64,
    pub(super) user_records: u64,
    /// User records that the function put into its quarantine; `None` if it does not say.
    pub(super) quarantined: Option<u64>,
    /// User records that were passed over, also in earlier runs, because they failed for good.
    pub(super) skipped: u64,
    pub(super) first: Option<SequenceNumber>,
    pub(super) last: Option<SequenceNumber>,
}

/// A line for each shard, which is known from its beginning on: a run may end at any time.
pub(super) struct ReplayReport {
    format: Format,
    /// The outcome of a shard whose whole range was read, and delivered if that was asked for.
    whole: ReplayFate,
    shards: BTreeMap<String, ShardEntry>,
}

/// The delivered records of a shard, and the end of its replay, if it has ended.
#[derive(Default)]
struct ShardEntry {
    tally: Tally,
    fate: Option<ReplayFate>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplayLine<'a> {
    shard_id: &'a str,
    outcome: &'static str,
    kinesis_records: u64,
    user_records: u64,
    quarantined: Option<u64>,
    skipped: u64,
    first_sequence_number: Option<SequenceNumber>,
    last_sequence_number: Option<SequenceNumber>,
    failed_sequence_number: Option<SequenceNumber>,
    /// Its user record at which the function has stopped, if it says so.
    failed_sub_sequence_number: Option<u64>,
    error: Option<&'a str>,
}

const COLUMNS: [Column; 6] = [
    Column::text("SHARD"),
    Column::number("KINESIS RECORDS"),
    Column::number("USER RECORDS"),
    Column::text("FIRST").end(SHOWN_DIGITS),
    Column::text("LAST").end(SHOWN_DIGITS),
    Column::text("OUTCOME"),
];

/// Digits of a sequence number in a terminal that has no room for all.
const SHOWN_DIGITS: usize = 12;

const ERROR: LastColumn = LastColumn { heading: "ERROR", min_width: 21 };

impl ReplayReport {
    pub(super) fn new(format: Format, whole: ReplayFate) -> Self {
        ReplayReport { format, whole, shards: BTreeMap::new() }
    }

    /// Returns the counts of the shard, to be added to.
    pub(super) fn tally(&mut self, shard_id: &str) -> &mut Tally {
        &mut self.shards.entry(shard_id.to_owned()).or_default().tally
    }

    pub(super) fn end(&mut self, shard_id: &str, fate: ReplayFate) -> io::Result<()> {
        let entry = self.shards.entry(shard_id.to_owned()).or_default();
        let fate = entry.fate.insert(fate);
        if self.format == Format::Json {
            let mut line = json::to_vec(&line(shard_id, &entry.tally, fate))?;
            line.push(b'\n');
            let mut output = io::stdout().lock();
            output.write_all(&line)?;
            output.flush()?;
        }
        Ok(())
    }

    /// Ends the shards that are still under way, because the run has ended before they were done.
    pub(super) fn halt(&mut self) -> io::Result<()> {
        let is_open = |(id, entry): (&String, &ShardEntry)| entry.fate.is_none().then(|| id.clone());
        let open: Vec<String> = self.shards.iter().filter_map(is_open).collect();
        open.iter().try_for_each(|id| self.end(id, ReplayFate::Halted))
    }

    /// Writes the table, if it is to be one, in the order of shard IDs, and the positions of the records that failed.
    pub(super) fn finish(&self) -> io::Result<()> {
        if self.format == Format::Json {
            return Ok(());
        }
        let (screen, mut failed_at) = (Screen::of_stdout(), FailedAt::default());
        let mut table = Table::new(io::stdout().lock(), screen, COLUMNS, ERROR);
        for (shard_id, ShardEntry { tally, fate }) in &self.shards {
            let number = |number: Option<SequenceNumber>| {
                number.map_or_else(|| "-".to_owned(), |number| number.to_string())
            };
            let (outcome, error) = cells(fate.as_ref().unwrap_or(&ReplayFate::Halted), tally);
            if let Some(ReplayFate::Failed { at, .. }) = fate {
                failed_at.push(shard_id, at);
            }
            let tone = match fate {
                Some(
                    ReplayFate::Failed { .. }
                    | ReplayFate::Skipped { .. }
                    | ReplayFate::Lost
                    | ReplayFate::Unreadable { .. },
                ) => Tone::Error,
                Some(ReplayFate::NotBegun | ReplayFate::Halted) | None => Tone::Warning,
                Some(_) => Tone::Plain,
            };
            let row = Row::new(
                vec![
                    cell::text(shard_id, 40),
                    tally.kinesis_records.to_string(),
                    tally.user_records.to_string(),
                    number(tally.first),
                    number(tally.last),
                    outcome,
                ],
                LastCell::Whole(cell::text(&error, 1_000)),
            );
            table.push(row.with_tone(tone))?;
        }
        table.finish()?;
        failed_at.write(table.output(), screen)
    }

    pub(super) fn is_all_good(&self) -> bool {
        let is_good = |entry: &ShardEntry| match &entry.fate {
            Some(fate) => *fate == self.whole || matches!(fate, ReplayFate::LeftOut { .. }),
            None => false,
        };
        self.shards.values().all(is_good)
    }

    /// Whether a resumption would have nothing to do: what was not processed was passed over.
    pub(super) fn is_over(&self) -> bool {
        let is_over = |entry: &ShardEntry| match &entry.fate {
            Some(ReplayFate::Skipped { .. } | ReplayFate::LeftOut { .. }) => true,
            Some(fate) => *fate == self.whole,
            None => false,
        };
        self.shards.values().all(is_over)
    }

    /// For people, in one line.
    pub(super) fn summary(&self) -> String {
        let sum = |of: fn(&Tally) -> u64| self.shards.values().map(|entry| of(&entry.tally)).sum();
        let is_whole = |entry: &&ShardEntry| entry.fate.as_ref() == Some(&self.whole);
        let quarantined = match sum(|tally| tally.quarantined.unwrap_or_default()) {
            0 => String::new(),
            records => format!(", {} quarantined", count(records, "user record")),
        };
        let skipped = match sum(|tally| tally.skipped) {
            0 => String::new(),
            records => format!(", {} skipped", count(records, "user record")),
        };
        format!(
            "{} in {}, of {}, {} {}{quarantined}{skipped}",
            count(sum(|tally| tally.user_records), "user record"),
            count(sum(|tally| tally.kinesis_records), "Kinesis record"),
            count(self.shards.len() as u64, "shard"),
            self.shards.values().filter(is_whole).count(),
            self.whole.name()
        )
    }
}

impl ReplayFate {
    fn name(&self) -> &'static str {
        match self {
            ReplayFate::Processed => "processed",
            ReplayFate::Found => "found",
            ReplayFate::Written => "written",
            ReplayFate::Failed { .. } => "failed",
            ReplayFate::Skipped { .. } => "skipped",
            ReplayFate::Lost => "lost",
            ReplayFate::LeftOut { .. } => "left out",
            ReplayFate::Unreadable { .. } => "unreadable",
            ReplayFate::NotBegun => "not begun",
            ReplayFate::Halted => "halted",
        }
    }
}

/// Returns the outcome of a shard, and its error.
fn cells(fate: &ReplayFate, tally: &Tally) -> (String, String) {
    let name = fate.name();
    let outcome = match (fate, tally.quarantined) {
        (ReplayFate::Processed, Some(records @ 1..)) => format!("quarantined ({records})"),
        (ReplayFate::Skipped { records }, _) => format!("{name} ({records})"),
        _ => name.to_owned(),
    };
    let error = match fate {
        ReplayFate::Failed { error, .. } | ReplayFate::Unreadable { error } => error.clone(),
        ReplayFate::Lost => {
            "the stream has dropped the first records of the range; this is the rest".to_owned()
        }
        ReplayFate::LeftOut { why } => (*why).to_owned(),
        ReplayFate::NotBegun => "its parent has not come to its end".to_owned(),
        _ => "-".to_owned(),
    };
    (outcome, error)
}

fn line<'a>(shard_id: &'a str, tally: &Tally, fate: &'a ReplayFate) -> ReplayLine<'a> {
    let failed = match fate {
        ReplayFate::Failed { at, .. } => Some(*at),
        _ => None,
    };
    ReplayLine {
        shard_id,
        outcome: match fate {
            ReplayFate::Processed if tally.quarantined > Some(0) => "quarantined",
            ReplayFate::Processed | ReplayFate::Found | ReplayFate::Written => fate.name(),
            ReplayFate::Failed { .. } => "failed",
            ReplayFate::Skipped { .. } => "skipped",
            ReplayFate::Lost => "lost",
            ReplayFate::Unreadable { .. } => "unreadable",
            ReplayFate::LeftOut { .. } => "leftOut",
            ReplayFate::NotBegun => "notBegun",
            ReplayFate::Halted => "halted",
        },
        kinesis_records: tally.kinesis_records,
        user_records: tally.user_records,
        quarantined: tally.quarantined,
        skipped: tally.skipped,
        first_sequence_number: tally.first,
        last_sequence_number: tally.last,
        failed_sequence_number: failed.map(|at| at.sequence_number),
        failed_sub_sequence_number: failed.and_then(|at| at.sub_sequence_number),
        error: match fate {
            ReplayFate::Failed { error, .. } | ReplayFate::Unreadable { error } => Some(error),
            ReplayFate::LeftOut { why } => Some(why),
            _ => None,
        },
    }
}
