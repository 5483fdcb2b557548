use std::{
    borrow::Cow,
    io::{self, Write},
};

use base64::prelude::*;
use kinesis_handler::{
    SequenceNumber,
    journal::{JournalShard, QuarantinedRecord, UnreadableItem, UserRecordId},
};
use serde::Serialize;

use crate::{
    args::Format,
    journal_table::add_unreadable,
    output::{
        cell, json,
        screen::Screen,
        table::{Column, LastCell, LastColumn, Row, Table},
        tone::Tone,
    },
    stream::record_position::RecordPosition,
};

/// A line for each record in the quarantine.
pub(super) struct Rows<W: Write> {
    format: Format,
    /// Both write to it, one or the other.
    table: Table<W>,
    records: u64,
}

/// A record as JSON has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QuarantineLine<'a> {
    application: &'a str,
    stream_arn: &'a str,
    shard_id: &'a str,
    sequence_number: SequenceNumber,
    sub_sequence_number: Option<u64>,
    content_hash: Option<String>,
    content: String,
    reason: String,
    attempts: u32,
    error: &'a str,
    partition_key: Cow<'a, str>,
    explicit_hash_key: Option<Cow<'a, str>>,
    bytes: usize,
    /// Milliseconds since 1970, as the others.
    arrival_ms: Option<u64>,
    quarantined_ms: u64,
    request_id: &'a str,
    /// Payload in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// Reason for the outcome, unlike `error`, for which the record was quarantined.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome_error: Option<&'a str>,
}

/// The outcome of a record that was redelivered or deleted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome<'a> {
    pub(super) name: &'static str,
    pub(super) error: Option<&'a str>,
}

impl<'a> QuarantineLine<'a> {
    pub(super) fn new(shard: JournalShard<'a>, record: &'a QuarantinedRecord) -> Self {
        QuarantineLine {
            application: shard.application,
            stream_arn: shard.stream_arn,
            shard_id: shard.shard_id,
            sequence_number: record.sequence_number,
            sub_sequence_number: match record.id {
                UserRecordId::Sub(number) => Some(number),
                UserRecordId::Content(_) => None,
            },
            content_hash: match &record.id {
                UserRecordId::Sub(_) => None,
                UserRecordId::Content(hash) => Some(hash.to_string()),
            },
            content: record.content.to_string(),
            reason: record.reason.to_string(),
            attempts: record.attempts,
            error: &record.error,
            partition_key: String::from_utf8_lossy(&record.partition_key),
            explicit_hash_key: record.explicit_hash_key.as_deref().map(String::from_utf8_lossy),
            bytes: record.data.len(),
            arrival_ms: record.arrival_ms,
            quarantined_ms: record.quarantined_ms,
            request_id: &record.request_id,
            data: None,
            outcome: None,
            outcome_error: None,
        }
    }

    pub(super) fn with_data(mut self, record: &QuarantinedRecord) -> Self {
        self.data = Some(BASE64_STANDARD.encode(&record.data));
        self
    }

    pub(super) fn write(&self, output: &mut impl Write) -> io::Result<()> {
        json::write(output, self)?;
        output.write_all(b"\n")?;
        output.flush()
    }
}

const COLUMNS: [Column; 8] = [
    // Whole, so that it can be given to other commands.
    Column::text("POSITION"),
    Column::text("APPLICATION").cut(16),
    Column::text("STREAM").cut(16),
    Column::text("KEY").cut(16),
    Column::number("SIZE"),
    Column::text("SINCE (UTC)"),
    Column::text("REASON"),
    Column::number("ATTEMPTS"),
];

/// Widest outcome or error in the table.
const OUTCOME_WIDTH: usize = 1_000;

/// The longest partition key that Kinesis takes.
const KEY_WIDTH: usize = 256;

const LAST: LastColumn = LastColumn { heading: "ERROR", min_width: 21 };

impl<W: Write> Rows<W> {
    pub(super) fn new(format: Format, output: W) -> Self {
        Rows { format, table: Table::new(output, Screen::of_stdout(), COLUMNS, LAST), records: 0 }
    }

    /// Returns rows that have an outcome each.
    pub(super) fn with_outcomes(format: Format, output: W) -> Self {
        let columns: Vec<Column> = COLUMNS.into_iter().chain([Column::text("OUTCOME")]).collect();
        Rows { format, table: Table::new(output, Screen::of_stdout(), columns, LAST), records: 0 }
    }

    /// With what has become of it, if something has.
    pub(super) fn add(
        &mut self,
        shard: JournalShard<'_>,
        record: &QuarantinedRecord,
        outcome: Option<Outcome<'_>>,
    ) -> io::Result<()> {
        self.records += 1;
        if self.format == Format::Json {
            let line = QuarantineLine::new(shard, record);
            let (outcome, outcome_error) =
                (outcome.map(|outcome| outcome.name), outcome.and_then(|outcome| outcome.error));
            return QuarantineLine { outcome, outcome_error, ..line }.write(self.table.output());
        }
        let name = shard.stream_arn.rsplit_once('/').map_or(shard.stream_arn, |(_, name)| name);
        let position = RecordPosition::of_quarantined(shard.shard_id, record);
        let mut columns = vec![
            position.to_string(),
            shard.application.to_owned(),
            name.to_owned(),
            cell::text(&String::from_utf8_lossy(&record.partition_key), KEY_WIDTH),
            record.data.len().to_string(),
            cell::time(record.quarantined_ms),
            record.reason.to_string(),
            record.attempts.to_string(),
        ];
        columns.extend(outcome.map(|outcome| outcome.name.to_owned()));
        let error = match outcome {
            Some(Outcome { error, .. }) => error.unwrap_or("-"),
            None => &record.error,
        };
        let row = Row::new(columns, LastCell::Whole(cell::text(error, OUTCOME_WIDTH)));
        self.table.push(row.with_tone(match outcome {
            Some(Outcome { name: "failed", .. }) => Tone::Error,
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
        Ok(self.records)
    }
}
