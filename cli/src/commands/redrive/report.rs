use std::io::{self, Write};

use kinesis_handler::SequenceNumber;
use serde::Serialize;

use super::{discarded_range::DiscardedRange, membership::Objection, source::Found};
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

/// The outcome of one failure record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RedriveFate {
    /// Everything in it is processed or in the function's quarantine.
    Processed,
    /// The same as processed, but its source does not delete it.
    Kept { error: String },
    /// From this record on nothing is processed.
    Failed { at: ProgressPoint, error: String },
    /// Everything in it is processed, except user records that were passed over. Its source keeps it.
    Skipped { records: u64 },
    /// Some records are gone; how many, if that is known. All others are processed.
    Lost { records: Option<u64>, why: String },
    /// Not delivered, because it may be forged.
    Refused { why: String },
    /// Not delivered, because it is not known whether it belongs to the target or to another run.
    Unknown { why: String },
    /// It is not a failure record.
    Unreadable { error: String },
    /// The run has ended before it was done.
    Halted,
    /// Its records can be delivered.
    Found,
    /// Its records are in event files, and nobody has processed them.
    Written,
}

/// The names of the outcomes. Only the first and those from `FIRST_GOOD` on are good.
const NAMES: [&str; 12] = [
    "processed",
    "kept",
    "failed",
    "lost",
    "refused",
    "unknown",
    "unreadable",
    "halted",
    "skipped",
    "found",
    "written",
    "quarantined",
];

const FIRST_GOOD: usize = 9;

impl RedriveFate {
    /// Returns the position of the name. A failure record of which user records were quarantined is not called processed.
    fn index(&self, counts: Counts) -> usize {
        match self {
            RedriveFate::Processed if counts.quarantined > Some(0) => 11,
            RedriveFate::Processed => 0,
            RedriveFate::Kept { .. } => 1,
            RedriveFate::Failed { .. } => 2,
            RedriveFate::Lost { .. } => 3,
            RedriveFate::Refused { .. } => 4,
            RedriveFate::Unknown { .. } => 5,
            RedriveFate::Unreadable { .. } => 6,
            RedriveFate::Halted => 7,
            RedriveFate::Skipped { .. } => 8,
            RedriveFate::Found => FIRST_GOOD,
            RedriveFate::Written => 10,
        }
    }

    fn name(&self, counts: Counts) -> &'static str {
        NAMES[self.index(counts)]
    }

    fn error(&self) -> Option<&str> {
        match self {
            RedriveFate::Failed { error, .. }
            | RedriveFate::Unreadable { error }
            | RedriveFate::Kept { error } => Some(error),
            RedriveFate::Lost { why, .. } | RedriveFate::Refused { why } | RedriveFate::Unknown { why } => {
                Some(why)
            }
            RedriveFate::Processed
            | RedriveFate::Skipped { .. }
            | RedriveFate::Halted
            | RedriveFate::Found
            | RedriveFate::Written => None,
        }
    }
}

impl From<Objection> for RedriveFate {
    fn from(objection: Objection) -> Self {
        match objection {
            Objection::Foreign { why } => RedriveFate::Refused { why },
            Objection::Unknown { why } => RedriveFate::Unknown { why },
        }
    }
}

/// Numbers of records of a failure record.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Kinesis records in its range or its payload, if that was read.
    pub(super) found: Option<u64>,
    /// Kinesis records that this run delivered.
    pub(super) delivered: u64,
    /// User records that the function put into its quarantine in this run; `None` if it does not say.
    pub(super) quarantined: Option<u64>,
    /// User records that were passed over, also in earlier runs, because they failed for good.
    pub(super) skipped: u64,
}

/// A line for each failure record.
pub(super) struct RedriveReport<W: Write> {
    format: Format,
    table: Table<W>,
    failed_at: FailedAt,
    fates: [u64; NAMES.len()],
    delivered: u64,
    quarantined: u64,
}

/// A failure record in JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RedriveLine<'a> {
    source: &'a str,
    outcome: &'static str,
    stream_arn: Option<&'a str>,
    shard_id: Option<&'a str>,
    start_sequence_number: Option<SequenceNumber>,
    end_sequence_number: Option<SequenceNumber>,
    /// Number of records that the failure record counts.
    batch_size: Option<u64>,
    /// Number of Kinesis records in its range or payload.
    found: Option<u64>,
    /// Number of Kinesis records that this run delivered.
    delivered: u64,
    /// Number of user records that the function put into its quarantine in this run; null if it does not say.
    quarantined: Option<u64>,
    /// Number of user records that were passed over, because they failed for good.
    skipped: u64,
    /// The first record that is not processed.
    failed_sequence_number: Option<SequenceNumber>,
    /// Its user record at which the function has stopped, if it says so.
    failed_sub_sequence_number: Option<u64>,
    lost: Option<u64>,
    error: Option<&'a str>,
}

const COLUMNS: [Column; 7] = [
    Column::text("SHARD"),
    Column::text("FIRST").end(SHOWN_DIGITS),
    Column::text("LAST").end(SHOWN_DIGITS),
    Column::number("RECORDS"),
    Column::number("FOUND"),
    Column::number("DELIVERED"),
    Column::text("OUTCOME"),
];

/// Digits of a sequence number in a terminal that has no room for all.
const SHOWN_DIGITS: usize = 12;

const ERROR: LastColumn = LastColumn { heading: "ERROR", min_width: 21 };

impl<W: Write> RedriveReport<W> {
    pub(super) fn new(format: Format, output: W) -> Self {
        let table = Table::new(output, Screen::of_stdout(), COLUMNS, ERROR);
        let failed_at = FailedAt::default();
        RedriveReport { format, table, failed_at, fates: [0; NAMES.len()], delivered: 0, quarantined: 0 }
    }

    pub(super) fn add(&mut self, found: &Found, counts: Counts, fate: &RedriveFate) -> io::Result<()> {
        self.delivered += counts.delivered;
        self.quarantined += counts.quarantined.unwrap_or_default();
        self.fates[fate.index(counts)] += 1;
        match self.format {
            Format::Json => self.write(found, counts, fate),
            Format::Table => {
                if let (RedriveFate::Failed { at, .. }, Ok(record)) = (fate, &found.record) {
                    self.failed_at.push(&record.shard_id, at);
                }
                self.table.push(row(found, counts, fate))
            }
        }
    }

    fn write(&mut self, found: &Found, counts: Counts, fate: &RedriveFate) -> io::Result<()> {
        let record = found.record.as_ref().ok();
        let failed = match fate {
            RedriveFate::Failed { at, .. } => Some(*at),
            _ => None,
        };
        let line = RedriveLine {
            source: &found.name,
            outcome: fate.name(counts),
            stream_arn: record.map(|record| record.stream.as_str()),
            shard_id: record.map(|record| record.shard_id.as_str()),
            start_sequence_number: record.map(|record| record.first),
            end_sequence_number: record.map(|record| record.last),
            batch_size: record.and_then(|record| record.batch_size),
            found: counts.found,
            delivered: counts.delivered,
            quarantined: counts.quarantined,
            skipped: counts.skipped,
            failed_sequence_number: failed.map(|at| at.sequence_number),
            failed_sub_sequence_number: failed.and_then(|at| at.sub_sequence_number),
            lost: match fate {
                RedriveFate::Lost { records, .. } => *records,
                _ => None,
            },
            error: fate.error(),
        };
        let mut json = json::to_vec(&line)?;
        json.push(b'\n');
        let output = self.table.output();
        output.write_all(&json)?;
        output.flush()
    }

    /// Writes what is left of the table, and the positions of the records that failed.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.table.finish()?;
        self.failed_at.write(self.table.output(), Screen::of_stdout())
    }

    /// Whether a Kinesis record was delivered.
    pub(super) fn has_delivered(&self) -> bool {
        self.delivered > 0
    }

    pub(super) fn is_all_good(&self) -> bool {
        self.fates[1..FIRST_GOOD].iter().all(|&number| number == 0)
    }

    /// Returns one line for people.
    pub(super) fn summary(&self) -> String {
        let total: u64 = self.fates.iter().sum();
        let mut parts: Vec<String> = NAMES
            .iter()
            .zip(self.fates)
            .filter(|(_, number)| *number > 0)
            .map(|(name, number)| format!("{number} {name}"))
            .collect();
        parts.push(format!("{} delivered", count(self.delivered, "Kinesis record")));
        if self.quarantined > 0 {
            parts.push(format!("{} quarantined", count(self.quarantined, "user record")));
        }
        format!("{}: {}", count(total, "failure record"), parts.join(", "))
    }
}

fn row(found: &Found, counts: Counts, fate: &RedriveFate) -> Row {
    let record: Option<&DiscardedRange> = found.record.as_ref().ok();
    let cell = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let number = |number: SequenceNumber| number.to_string();
    let name = fate.name(counts);
    let outcome = match fate {
        RedriveFate::Processed if counts.quarantined > Some(0) => {
            format!("{name} ({})", counts.quarantined.unwrap_or_default())
        }
        RedriveFate::Skipped { records } => format!("{name} ({records})"),
        _ => name.to_owned(),
    };
    let error = match fate {
        RedriveFate::Kept { error } => format!("processed, but not deleted: {error}"),
        RedriveFate::Unreadable { error } => format!("{}: {error}", found.name),
        _ => fate.error().unwrap_or("-").to_owned(),
    };
    let columns = vec![
        cell(record.map(|record| cell::text(&record.shard_id, 40))),
        cell(record.map(|record| number(record.first))),
        cell(record.map(|record| number(record.last))),
        cell(record.and_then(|record| record.batch_size).map(|size| size.to_string())),
        cell(counts.found.map(|found| found.to_string())),
        counts.delivered.to_string(),
        outcome,
    ];
    let tone = match fate.index(counts) {
        0 | FIRST_GOOD.. => Tone::Plain,
        _ => Tone::Error,
    };
    Row::new(columns, LastCell::Whole(cell::text(&error, 1_000))).with_tone(tone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_a_name_of_its_own() {
        let text = String::new;
        let fates = [
            (RedriveFate::Processed, "processed"),
            (RedriveFate::Kept { error: text() }, "kept"),
            (
                RedriveFate::Failed {
                    at: ProgressPoint::whole("1".parse().expect("a digit")),
                    error: text(),
                },
                "failed",
            ),
            (RedriveFate::Lost { records: None, why: text() }, "lost"),
            (RedriveFate::Refused { why: text() }, "refused"),
            (RedriveFate::Unknown { why: text() }, "unknown"),
            (RedriveFate::Unreadable { error: text() }, "unreadable"),
            (RedriveFate::Halted, "halted"),
            (RedriveFate::Skipped { records: 1 }, "skipped"),
            (RedriveFate::Found, "found"),
            (RedriveFate::Written, "written"),
        ];
        for (fate, name) in fates {
            assert_eq!(fate.name(Counts::default()), name);
        }
        let counts = Counts { quarantined: Some(4), ..Counts::default() };
        assert_eq!(RedriveFate::Processed.name(counts), "quarantined");
    }
}
