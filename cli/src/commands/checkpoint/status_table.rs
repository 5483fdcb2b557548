use std::io::{self, Write};

use kinesis_handler::{
    checkpoint::{FrozenPosition, RowCheckpoint},
    journal::RecordState,
};
use serde::Serialize;

use crate::{
    args::Format,
    lease_table::{Counted, Lease, Unread},
    output::{
        cell, json,
        screen::Screen,
        table::{Column, LastCell, LastColumn, Row, Table},
        tone::Tone,
    },
    stream::now_ms,
};

/// A row of the table: a shard.
#[derive(Debug)]
pub(super) struct ShardStatus {
    pub(super) shard_id: String,
    lease: Option<Lease>,
    pub(super) state: State,
    /// Absent if the position is not known.
    pub(super) unread: Option<Unread>,
    /// The Kinesis record that fails, and is retried.
    pub(super) failing: Option<RecordState>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It has a position.
    Known,
    /// All of it is processed, and nothing more will come.
    Drained,
    /// It has no row, but its descendants have: it is drained.
    Passed,
    /// A KCL application begins somewhere.
    NotBegun,
    /// It has no row, and nothing says that it is processed.
    Missing,
    /// The row cannot be read, or Kinesis does not take its position.
    Unreadable(String),
}

impl State {
    pub(super) fn is_problem(&self) -> bool {
        matches!(self, State::Missing | State::Unreadable(_))
    }

    fn name(&self) -> &'static str {
        match self {
            State::Known => "known",
            State::Drained => "drained",
            State::Passed => "passed",
            State::NotBegun => "notBegun",
            State::Missing => "missing",
            State::Unreadable(_) => "unreadable",
        }
    }
}

impl ShardStatus {
    pub(super) fn new(shard_id: &str, lease: Option<&Lease>) -> Self {
        let lease = lease.cloned();
        ShardStatus { shard_id: shard_id.to_owned(), lease, state: State::Known, unread: None, failing: None }
    }

    /// Returns how long ago the first record arrived that is not processed.
    fn lag_ms(&self) -> Option<u64> {
        let unread = self.unread?;
        Some(unread.first_arrival_ms.map_or(0, |arrival_ms| now_ms().saturating_sub(arrival_ms)))
    }

    /// Returns the frozen position of a cut-over that has not ended in this shard.
    pub(super) fn pending_cutover(&self) -> Option<FrozenPosition> {
        self.lease.as_ref()?.row.frozen.filter(|frozen| now_ms() < frozen.expires_ms)
    }

    /// Describes the state for people.
    fn text(&self) -> String {
        let state = match &self.state {
            State::Known if self.pending_cutover().is_some() => "cut-over pending",
            State::Drained if self.pending_cutover().is_some() => "drained; cut-over pending",
            State::Known => "",
            State::Drained => "drained",
            State::Passed => "drained: its descendants have positions",
            State::NotBegun => "no position yet",
            State::Missing => "no row",
            State::Unreadable(error) => error,
        };
        let failing = self.failing.as_ref().map(|failing| {
            let times = failing.progress.attempts.values().max().copied().unwrap_or(0);
            let error = failing.progress.last_error.as_deref().unwrap_or("-");
            format!("failed {times}x at {}: {error}", failing.sequence_number)
        });
        match (state, failing) {
            ("", None) => "-".to_owned(),
            ("", Some(failing)) => failing,
            (state, None) => state.to_owned(),
            (state, Some(failing)) => format!("{state}; {failing}"),
        }
    }

    fn tone(&self) -> Tone {
        match &self.state {
            State::Unreadable(_) => Tone::Error,
            State::Missing => Tone::Warning,
            _ if self.failing.is_some() => Tone::Warning,
            _ => Tone::Plain,
        }
    }
}

/// A line for each shard.
pub(super) struct StatusTable<W: Write> {
    format: Format,
    counts: bool,
    /// JSON goes past it, to the same output.
    table: Table<W>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusLine<'a> {
    shard_id: &'a str,
    state: &'static str,
    checkpoint: Option<String>,
    sub_sequence_number: Option<u64>,
    /// Milliseconds since 1970, as the others.
    first_unprocessed_arrival_ms: Option<u64>,
    lag_ms: Option<u64>,
    unprocessed_kinesis_records: Option<u64>,
    unprocessed_user_records: Option<u64>,
    lease_owner: Option<&'a str>,
    application: Option<&'a str>,
    updated_ms: Option<u64>,
    /// Frozen position of a pending cut-over: a sequence number, or `SHARD_END`.
    cutover_sequence: Option<String>,
    cutover_sub: Option<u64>,
    cutover_expires_ms: Option<u64>,
    /// Sequence number of the Kinesis record that fails.
    failing: Option<String>,
    error: Option<&'a str>,
}

const LAST: LastColumn = LastColumn { heading: "STATE", min_width: 21 };

impl<W: Write> StatusTable<W> {
    pub(super) fn new(format: Format, counts: bool, output: W) -> Self {
        let mut columns = vec![
            // Whole, so that it can be given to other commands.
            Column::text("POSITION"),
            Column::number("LAG"),
        ];
        if counts {
            columns.push(Column::number("USER RECORDS"));
        }
        columns.extend([Column::text("OWNER").cut(16).optional(), Column::text("UPDATED (UTC)")]);
        StatusTable { format, counts, table: Table::new(output, Screen::of_stdout(), columns, LAST) }
    }

    pub(super) fn add(&mut self, status: &ShardStatus) -> io::Result<()> {
        let row = status.lease.as_ref().map(|lease| &lease.row);
        let owner = row.and_then(|row| row.lease_owner.as_deref());
        // A row that a KCL has made has none.
        let updated_ms = row.and_then(|row| row.updated_ms);
        let counted = status.unread.and_then(|unread| unread.counted);
        let frozen = status.pending_cutover();
        if self.format == Format::Json {
            let line = StatusLine {
                shard_id: &status.shard_id,
                state: status.state.name(),
                checkpoint: row.map(|row| row.checkpoint.to_string()),
                sub_sequence_number: row.and_then(|row| row.sub_sequence_number),
                first_unprocessed_arrival_ms: status.unread.and_then(|unread| unread.first_arrival_ms),
                lag_ms: status.lag_ms(),
                unprocessed_kinesis_records: counted.map(|counted| counted.kinesis_records),
                unprocessed_user_records: counted.map(|counted| counted.user_records),
                lease_owner: owner,
                application: row.and_then(|row| row.application.as_deref()),
                updated_ms,
                cutover_sequence: frozen.map(|frozen| match frozen.through {
                    Some(through) => through.sequence_number.to_string(),
                    None => RowCheckpoint::ShardEnd.to_string(),
                }),
                cutover_sub: frozen
                    .and_then(|frozen| frozen.through)
                    .map(|through| through.sub_sequence_number),
                cutover_expires_ms: frozen.map(|frozen| frozen.expires_ms),
                failing: status.failing.as_ref().map(|failing| failing.sequence_number.to_string()),
                error: match &status.state {
                    State::Unreadable(error) => Some(error),
                    _ => status.failing.as_ref().and_then(|failing| failing.progress.last_error.as_deref()),
                },
            };
            let output = self.table.output();
            json::write(output, &line)?;
            return output.write_all(b"\n");
        }
        let position = status.lease.as_ref().map_or_else(|| "-".to_owned(), Lease::position);
        let mut columns = vec![
            format!("{}/{position}", status.shard_id),
            status.lag_ms().map_or_else(|| "-".to_owned(), cell::duration),
        ];
        if self.counts {
            columns.push(
                counted
                    .map_or_else(|| "-".to_owned(), |Counted { user_records, .. }| user_records.to_string()),
            );
        }
        columns
            .extend([owner.unwrap_or("-").to_owned(), updated_ms.map_or_else(|| "-".to_owned(), cell::time)]);
        let row = Row::new(columns, LastCell::Whole(status.text()));
        self.table.push(row.with_tone(status.tone()))
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.table.finish()
    }
}
