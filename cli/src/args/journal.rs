use clap::{Subcommand, ValueEnum};

use super::{Format, TableArgs};

/// Lists and deletes what the retry journal knows of Kinesis records that are done in part, have failed, or were
/// discarded.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A Kinesis record of which the journal has a state is delivered again by the mapping (kind retry), or was discarded by it \
(kind hole): `kinesis-kit redrive --holes` delivers those. Whoever wants user records processed again that are done \
must clear their states first: otherwise the handler skips them.

Without an application, a stream given by its ARN and a shard, the table is scanned for its shards, which costs as \
much as reading all of it; with them, only that shard is queried.

Permissions: dynamodb:Query, and Scan; for clear DeleteItem.

Exit codes:
  0  done
  1  nothing was deleted because --yes was missing
  2  wrong usage; the table cannot be used

Examples:
  kinesis-kit journal list --table orders-journal
  kinesis-kit journal list --table orders-journal --kind hole --format json
  kinesis-kit journal clear --table orders-journal --application orders --stream orders --yes")]
pub(crate) struct JournalArgs {
    #[command(subcommand)]
    pub(crate) command: JournalCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    List(JournalListArgs),
    Clear(JournalClearArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The mapping will deliver the Kinesis record again
    Retry,
    /// The mapping has discarded it
    Hole,
    /// Both
    All,
}

/// Lists the states of Kinesis records.
#[derive(Debug, clap::Args)]
pub(crate) struct JournalListArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// Which states
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) kind: Kind,
    /// How to show them
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Deletes the states of Kinesis records: what comes again is processed from its start.
#[derive(Debug, clap::Args)]
pub(crate) struct JournalClearArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// Which states
    #[arg(long, value_enum, default_value = "retry")]
    pub(crate) kind: Kind,
    /// Delete; without it, they are listed only
    #[arg(long)]
    pub(crate) yes: bool,
    /// How to show them
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}
