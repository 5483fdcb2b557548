use clap::{ValueEnum, builder::RangedU64ValueParser};

use crate::stream::{
    name::StreamName,
    point::{StreamPoint, start_argument},
};

// No doc comment: it would become that of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LookArgs {
    /// Read only this shard; may be given several times
    #[arg(long = "shard", value_name = "ID", requires = "stream", help_heading = "Options for a stream")]
    pub(crate) shards: Vec<String>,
    /// Start: trim-horizon, latest, a time, a duration ago (10m), or a position (SHARD/SEQUENCE-NUMBER:SUB)
    #[arg(
        long,
        value_name = "WHERE",
        value_parser = start_argument,
        allow_hyphen_values = true,
        requires = "stream",
        help_heading = "Options for a stream"
    )]
    pub(crate) from: Option<StreamPoint>,
    /// Stop after this many user records
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = RangedU64ValueParser::<u64>::new().range(1..),
        requires = "stream", help_heading = "Options for a stream"
    )]
    pub(crate) count: Option<u64>,
    /// Stop after this time
    #[arg(long = "for", value_name = "SECONDS", requires = "stream", help_heading = "Options for a stream")]
    pub(crate) seconds: Option<u64>,
}

impl LookArgs {
    /// Returns an option that was given, if any was.
    pub(crate) fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--shard", !self.shards.is_empty()),
            ("--from", self.from.is_some()),
            ("--count", self.count.is_some()),
            ("--for", self.seconds.is_some()),
        ];
        given.into_iter().find_map(|(option, is_given)| is_given.then_some(option))
    }
}

/// The format of payloads for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum DataStyle {
    /// Text if the payload is text, otherwise hex; gzip, zlib and zstd decompressed, after the format's name
    #[default]
    Auto,
    /// Text in any case; gzip, zlib and zstd decompressed
    Text,
    /// Hex digits in any case
    Hex,
}

/// Shows user records as they arrive in a stream.
///
/// Starts after the newest record, unless --from says otherwise, and reads all shards, through splits and merges, until a
/// signal comes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Columns and JSON lines are those of `kinesis-kit inspect`. Each shard is read twice per second, out of the five reads \
that all of its readers share. User records of a shard are shown in stream order.

Permissions: kinesis:ListShards, GetShardIterator, GetRecords, DescribeStreamSummary.

Exit codes:
  0  ended by a signal, by --count or --for, or because all shards have ended
  1  some records are invalid; they are marked in the output
  2  wrong usage; the stream cannot be used

Examples:
  kinesis-kit tail --stream orders
  kinesis-kit tail --stream orders --from 10m --count 100
  kinesis-kit tail --stream orders --format json | jq -r '.data | @base64d'")]
pub(crate) struct TailArgs {
    /// The stream, by its name or ARN
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: StreamName,
    #[command(flatten)]
    pub(crate) look: LookArgs,
    /// Output format for the user records
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: super::Format,
    /// Format of payloads in the table
    #[arg(long, value_enum, default_value_t)]
    pub(crate) data: DataStyle,
    /// Write keys of more than 1,024 bytes whole into the JSON
    #[arg(long)]
    pub(crate) full_keys: bool,
}
