use std::io::{self, Write};

use serde::Serialize;

use crate::{
    args::Format,
    cell,
    note::{count, note},
};

/// What the stream has taken, a line for each Kinesis record.
pub(super) struct Receipts<W> {
    format: Format,
    output: W,
    has_headings: bool,
    kinesis_records: u64,
    user_records: u64,
    bytes: u64,
    refused: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    shard_id: &'a str,
    sequence_number: &'a str,
    user_records: usize,
    bytes: usize,
}

impl<W: Write> Receipts<W> {
    pub(super) fn new(format: Format, output: W) -> Self {
        Receipts {
            format,
            output,
            has_headings: false,
            kinesis_records: 0,
            user_records: 0,
            bytes: 0,
            refused: 0,
        }
    }

    pub(super) fn taken(
        &mut self,
        shard_id: &str,
        sequence_number: &str,
        (user_records, bytes): (usize, usize),
    ) -> io::Result<()> {
        self.kinesis_records += 1;
        self.user_records += user_records as u64;
        self.bytes += bytes as u64;
        match self.format {
            Format::Json => {
                let line = Line { shard_id, sequence_number, user_records, bytes };
                serde_json::to_writer(&mut self.output, &line)?;
                self.output.write_all(b"\n")?;
            }
            Format::Table => {
                if !self.has_headings {
                    writeln!(
                        self.output,
                        "{:20}  {:>12}  {:>8}  SEQUENCE NUMBER",
                        "SHARD", "USER RECORDS", "BYTES"
                    )?;
                    self.has_headings = true;
                }
                writeln!(self.output, "{shard_id:20}  {user_records:>12}  {bytes:>8}  {sequence_number}")?;
            }
        }
        self.output.flush()
    }

    pub(super) fn refused(
        &mut self,
        partition_key: &str,
        code: &str,
        message: &str,
        (user_records, bytes): (usize, usize),
    ) {
        self.refused += 1;
        note(format_args!(
            "Kinesis refused {} of {bytes} bytes with partition key {}: {code}: {message}",
            count(user_records as u64, "user record"),
            cell::text(partition_key, 36)
        ));
    }

    /// Returns how many Kinesis records were refused.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.output.flush()?;
        note(format_args!(
            "put {} in {}, {}",
            count(self.user_records, "user record"),
            count(self.kinesis_records, "Kinesis record"),
            count(self.bytes, "byte")
        ));
        Ok(self.refused)
    }
}
