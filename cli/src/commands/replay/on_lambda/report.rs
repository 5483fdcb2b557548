use std::{
    collections::HashSet,
    io::{self, Write},
};

use kinesis_handler::SequenceNumber;
use serde::Serialize;

use super::shards::ShardProgress;
use crate::{
    args::Format,
    output::{
        cell, json,
        note::count,
        screen::Screen,
        table::{Column, LastCell, LastColumn, Row, Table},
        tone::Tone,
    },
};

/// A line for each shard: as JSON as soon as it has passed the range, as a table at the end.
#[derive(Debug)]
pub(super) struct Report {
    format: Format,
    written: HashSet<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShardLine<'a> {
    shard_id: &'a str,
    outcome: &'static str,
    sequence_number: Option<SequenceNumber>,
    sub_sequence_number: Option<u64>,
    /// When the record at the position arrived, in milliseconds since 1970.
    arrival_ms: Option<u64>,
    discarded: u64,
    /// The first record of the range that is not processed.
    next_sequence_number: Option<SequenceNumber>,
}

const COLUMNS: [Column; 4] = [
    Column::text("SHARD"),
    Column::text("POSITION").end(SHOWN_DIGITS),
    Column::text("ARRIVAL (UTC)"),
    Column::text("OUTCOME"),
];

/// Characters of a position in a terminal that has no room for all.
const SHOWN_DIGITS: usize = 15;

const NEXT: LastColumn = LastColumn { heading: "NEXT", min_width: 15 };

impl Report {
    pub(super) fn new(format: Format) -> Self {
        Report { format, written: HashSet::new() }
    }

    /// Writes the shards that have passed since the last time.
    pub(super) fn note_passed(&mut self, shards: &[ShardProgress]) -> io::Result<()> {
        if self.format == Format::Table {
            return Ok(());
        }
        for shard in shards.iter().filter(|shard| shard.has_passed) {
            if self.written.insert(shard.shard_id.clone()) {
                write_line(shard)?;
            }
        }
        Ok(())
    }

    /// Writes all shards that are not written.
    pub(super) fn finish(&mut self, shards: &[ShardProgress]) -> io::Result<()> {
        if self.format == Format::Json {
            return shards
                .iter()
                .filter(|shard| self.written.insert(shard.shard_id.clone()))
                .try_for_each(write_line);
        }
        let mut table = Table::new(io::stdout().lock(), Screen::of_stdout(), COLUMNS, NEXT);
        for shard in shards {
            let position = shard.position.map_or_else(
                || "-".to_owned(),
                |at| format!("{}:{}", at.position.sequence_number, at.position.sub_sequence_number),
            );
            let arrival = shard.position.and_then(|position| position.arrival_ms);
            let outcome = match shard.discarded {
                0 => outcome(shard).to_owned(),
                records => format!("{} ({records} discarded)", outcome(shard)),
            };
            let next = shard.next.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let row = Row::new(
                vec![
                    cell::text(&shard.shard_id, 40),
                    position,
                    arrival.map_or_else(|| "-".to_owned(), cell::time),
                    outcome,
                ],
                LastCell::Whole(next),
            );
            let tone = match (shard.discarded, shard.has_passed) {
                (1.., _) => Tone::Error,
                (0, false) => Tone::Warning,
                (0, true) => Tone::Plain,
            };
            table.push(row.with_tone(tone))?;
        }
        table.finish()
    }
}

fn outcome(shard: &ShardProgress) -> &'static str {
    let has_begun = shard.position.is_some() || shard.discarded > 0;
    match (shard.has_passed, has_begun) {
        (true, true) => "passed",
        (true, false) => "nothing",
        (false, true) => "underWay",
        (false, false) => "notBegun",
    }
}

fn write_line(shard: &ShardProgress) -> io::Result<()> {
    let line = ShardLine {
        shard_id: &shard.shard_id,
        outcome: outcome(shard),
        sequence_number: shard.position.map(|at| at.position.sequence_number),
        sub_sequence_number: shard.position.map(|at| at.position.sub_sequence_number),
        arrival_ms: shard.position.and_then(|position| position.arrival_ms),
        discarded: shard.discarded,
        next_sequence_number: shard.next,
    };
    let mut line = json::to_vec(&line)?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line)?;
    output.flush()
}

/// Describes how far the shards are, in one line.
pub(super) fn summary(shards: &[ShardProgress]) -> String {
    let passed = shards.iter().filter(|shard| shard.has_passed).count();
    let last = shards
        .iter()
        .filter(|shard| !shard.has_passed)
        .min_by_key(|shard| shard.position.and_then(|position| position.arrival_ms));
    let furthest = match last {
        None => String::new(),
        Some(shard) => match shard.position.and_then(|position| position.arrival_ms) {
            Some(arrival_ms) => {
                format!("; {} is at {} UTC", shard.shard_id, cell::time(arrival_ms))
            }
            None => format!("; {} has not begun", shard.shard_id),
        },
    };
    let discarded = match shards.iter().map(|shard| shard.discarded).sum() {
        0 => String::new(),
        records => format!("; {} discarded", count(records, "Kinesis record")),
    };
    format!("{passed} of {} passed the range{furthest}{discarded}", count(shards.len() as u64, "shard"))
}
