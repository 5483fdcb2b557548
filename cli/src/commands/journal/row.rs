use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use kinesis_handler::{
    SequenceNumber,
    journal::{JournalShard, Progress, RecordState, StateKind, UnreadableItem},
};
use serde::Serialize;

use crate::{
    args::Format,
    journal_table::{add_unreadable, stranded::Stranded},
    output::{
        cell, json,
        screen::Screen,
        table::{Column, LastCell, LastColumn, Row, Table},
        tone::Tone,
    },
    stream::record_position::RecordPosition,
};

/// A line for each state.
pub(super) struct Rows<W: Write> {
    format: Format,
    /// JSON goes past it, to the same output.
    table: Table<W>,
    states: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryLine<'a> {
    application: &'a str,
    stream_arn: &'a str,
    shard_id: &'a str,
    kind: &'static str,
    /// Why the mapping no longer retries the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    stranded_by: Option<&'static str>,
    sequence_number: SequenceNumber,
    /// Sub-sequence numbers, first and last.
    done: Vec<(u64, u64)>,
    /// Number of failures of each of the others, by sub-sequence number or content hash.
    attempts: BTreeMap<String, u32>,
    last_error: Option<&'a str>,
    /// Milliseconds since 1970, as the others.
    arrival_ms: Option<u64>,
    first_failure_ms: Option<u64>,
    updated_ms: u64,
    expires_ms: u64,
    version: u64,
    /// Why it was not deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a str>,
}

const COLUMNS: [Column; 7] = [
    // Whole, so that it can be given to other commands.
    Column::text("POSITION"),
    Column::text("APPLICATION").cut(16),
    Column::text("STREAM").cut(16),
    Column::text("KIND"),
    Column::text("PROCESSED"),
    Column::text("FAILED"),
    Column::text("UPDATED (UTC)"),
];

const LAST: LastColumn = LastColumn { heading: "LAST ERROR", min_width: 21 };

/// Width of long cells in a list.
const LIST_WIDTH: usize = 30;

/// Widest outcome or error in the table.
const OUTCOME_WIDTH: usize = 1_000;

impl<W: Write> Rows<W> {
    pub(super) fn new(format: Format, output: W) -> Self {
        Rows { format, table: Table::new(output, Screen::of_stdout(), COLUMNS, LAST), states: 0 }
    }

    /// With what has become of it, if something has.
    pub(super) fn add(
        &mut self,
        shard: JournalShard<'_>,
        state: &RecordState,
        stranded: Option<Stranded>,
        outcome: Option<&str>,
    ) -> io::Result<()> {
        self.states += 1;
        let kind = match (state.kind, stranded) {
            (StateKind::Retry, None) => "retry",
            (StateKind::Retry, Some(_)) => "stranded",
            (StateKind::Discarded, _) => "discarded",
        };
        let Progress { done, attempts, last_error, .. } = &state.progress;
        if self.format == Format::Json {
            let line = EntryLine {
                application: shard.application,
                stream_arn: shard.stream_arn,
                shard_id: shard.shard_id,
                kind,
                stranded_by: stranded.map(Stranded::name),
                sequence_number: state.sequence_number,
                done: done.ranges().collect(),
                attempts: attempts.iter().map(|(id, times)| (id.to_string(), *times)).collect(),
                last_error: last_error.as_deref(),
                arrival_ms: state.progress.arrival_ms,
                first_failure_ms: state.progress.first_failure_ms,
                updated_ms: state.updated_ms,
                expires_ms: state.expires_ms,
                version: state.version,
                outcome,
            };
            let output = self.table.output();
            json::write(output, &line)?;
            return output.write_all(b"\n");
        }
        let range =
            |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
        let list = |parts: Vec<String>| match parts.is_empty() {
            true => "-".to_owned(),
            false => cell::text(&parts.join(","), LIST_WIDTH),
        };
        let failed =
            attempts.iter().map(|(id, times)| format!("{} ({times}x)", cell::text(&id.to_string(), 10)));
        let position = RecordPosition::of_kinesis_record(shard.shard_id, state.sequence_number);
        let name = shard.stream_arn.rsplit_once('/').map_or(shard.stream_arn, |(_, name)| name);
        let row = Row::new(
            vec![
                position.to_string(),
                shard.application.to_owned(),
                name.to_owned(),
                kind.to_owned(),
                list(done.ranges().map(range).collect()),
                list(failed.collect()),
                cell::time(state.updated_ms),
            ],
            LastCell::Whole(cell::text(outcome.or(last_error.as_deref()).unwrap_or("-"), OUTCOME_WIDTH)),
        );
        self.table.push(row.with_tone(match kind {
            "discarded" => Tone::Error,
            "stranded" => Tone::Warning,
            _ => Tone::Plain,
        }))
    }

    /// Adds an item that cannot be read, with the keys that name it.
    pub(super) fn add_unreadable(&mut self, item: &UnreadableItem) -> io::Result<()> {
        add_unreadable(&mut self.table, self.format, item)
    }

    /// Returns how many there were.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.table.finish()?;
        Ok(self.states)
    }
}
