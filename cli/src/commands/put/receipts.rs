use std::io::{self, Write};

use serde::Serialize;

use crate::{
    args::Format,
    output::{
        cell,
        note::{count, note},
    },
};

/// The Kinesis records that the stream has taken, a line for each.
pub(super) struct Receipts<W> {
    format: Format,
    output: W,
    has_headings: bool,
    kinesis_records: u64,
    user_records: u64,
    bytes: u64,
    refused: u64,
    /// The first error in writing. What follows is still counted.
    failure: Option<io::Error>,
}

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
            output,
            has_headings: false,
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

    pub(super) fn refuse(
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
