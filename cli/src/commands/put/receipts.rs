use std::io::{self, Write};

use serde::Serialize;

use crate::{
    args::Format,
    output::{
        cell, json,
        note::{count, error},
        screen::Screen,
        table::{Column, LastCell, LastColumn, Row, Table},
    },
};

/// The Kinesis records that the stream has taken, a line for each.
pub(super) struct Receipts<W> {
    format: Format,
    table: Table<W>,
    kinesis_records: u64,
    user_records: u64,
    bytes: u64,
    refused: u64,
    /// The first error in writing. What follows is still counted.
    failure: Option<io::Error>,
}

/// A row is shown as soon as it is known. Positions of a stream are about as long as the first.
const COLUMNS: [Column; 2] = [Column::text("POSITION"), Column::number("USER RECORDS")];

const BYTES: LastColumn = LastColumn { heading: "BYTES", min_width: 8 };

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptLine<'a> {
    shard_id: &'a str,
    sequence_number: &'a str,
    user_records: usize,
    bytes: usize,
}

impl<W: Write> Receipts<W> {
    pub(super) fn new(format: Format, output: W) -> Self {
        Receipts {
            format,
            table: Table::new(output, Screen::of_stdout(), COLUMNS, BYTES),
            kinesis_records: 0,
            user_records: 0,
            bytes: 0,
            refused: 0,
            failure: None,
        }
    }

    pub(super) fn taken(&mut self, shard_id: &str, sequence_number: &str, size: (usize, usize)) {
        self.kinesis_records += 1;
        self.user_records += size.0 as u64;
        self.bytes += size.1 as u64;
        if self.failure.is_none() {
            self.failure = self.write(shard_id, sequence_number, size).err();
        }
    }

    /// Returns the first error in writing, once.
    pub(super) fn check(&mut self) -> io::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn write(
        &mut self,
        shard_id: &str,
        sequence_number: &str,
        (user_records, bytes): (usize, usize),
    ) -> io::Result<()> {
        match self.format {
            Format::Json => {
                let line = ReceiptLine { shard_id, sequence_number, user_records, bytes };
                let mut line = json::to_vec(&line)?;
                line.push(b'\n');
                let output = self.table.output();
                output.write_all(&line)?;
                output.flush()
            }
            Format::Table => {
                let position = format!("{shard_id}/{sequence_number}");
                let columns = vec![position, user_records.to_string()];
                self.table.push(Row::new(columns, LastCell::Whole(bytes.to_string())))?;
                self.table.finish()
            }
        }
    }

    pub(super) fn refuse(
        &mut self,
        partition_key: &str,
        code: &str,
        message: &str,
        (user_records, bytes): (usize, usize),
    ) {
        self.refused += 1;
        error(format_args!(
            "Kinesis refused {} of {bytes} bytes with partition key {}: {code}: {message}",
            count(user_records as u64, "user record"),
            cell::text(partition_key, 36)
        ));
    }

    /// Number of Kinesis records that were refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Returns the counts in one line for people.
    pub(super) fn summary(&self) -> String {
        format!(
            "put {} in {}, {}",
            count(self.user_records, "user record"),
            count(self.kinesis_records, "Kinesis record"),
            count(self.bytes, "byte")
        )
    }
}
