use clap::Subcommand;

use super::{DeliveryArgs, Format, ShardArgs, TargetArgs};
use crate::{arrival::Arrival, record_position::RecordPosition};

/// Lists, shows, delivers again and deletes what the function has put into the quarantine.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Without an application, a stream given by its ARN and a shard, the table is scanned for its shards, which costs as \
much as reading all of it; with them, only that shard is queried.

Permissions: dynamodb:Query, and Scan; for redrive and purge DeleteItem; for redrive with --function \
lambda:InvokeFunction.

Exit codes:
  0    done
  1    some records could not be read, delivered or deleted, or nothing was deleted because --yes was missing
  2    wrong usage; the table or the function cannot be used
  130  interrupted

Examples:
  kinesis-kit quarantine list --table orders-journal
  kinesis-kit quarantine show --table orders-journal 49590338271490256608559692538361571095921575989136588898:3
  kinesis-kit quarantine redrive --table orders-journal --application orders --function orders
  kinesis-kit quarantine purge --table orders-journal --before 2026-01-01T00:00:00Z --yes")]
pub(crate) struct QuarantineArgs {
    #[command(subcommand)]
    pub(crate) command: QuarantineCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    List(QuarantineListArgs),
    Show(QuarantineShowArgs),
    Redrive(QuarantineRedriveArgs),
    Purge(QuarantinePurgeArgs),
}

// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct TableArgs {
    /// The DynamoDB table of the retry journal
    #[arg(long, value_name = "NAME")]
    pub(crate) table: String,
    #[command(flatten)]
    pub(crate) shards: ShardArgs,
}

/// Lists the records in the quarantine, without their payloads.
#[derive(Debug, clap::Args)]
pub(crate) struct QuarantineListArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Shows records in the quarantine, with their payloads.
#[derive(Debug, clap::Args)]
pub(crate) struct QuarantineShowArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// Records: SEQUENCE-NUMBER, or SEQUENCE-NUMBER:SUB for one user record of it
    #[arg(required = true, value_name = "POSITION")]
    pub(crate) positions: Vec<RecordPosition>,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Only the payload, as it is
    #[arg(long, conflicts_with = "format")]
    pub(crate) raw: bool,
}

/// Delivers records in the quarantine to a function again, and deletes those that it has processed.
///
/// User records of an aggregate are delivered as an aggregate of one, so that their keys are the producer's. The events'
/// member kinesisKit.mode is replay: the kit's handler does not ask its journal, which takes them for done, and reports
/// what fails instead of putting it into the quarantine again. One that fails stays, and the others are delivered all the
/// same; a note counts those that a function quarantines again. Only a response about the batch is a success: batchItemFailures as a list or null, {}, null, or an empty body.
#[derive(Debug, clap::Args)]
pub(crate) struct QuarantineRedriveArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// Records: SEQUENCE-NUMBER, or SEQUENCE-NUMBER:SUB for one user record of it; all, if none is given
    #[arg(value_name = "POSITION")]
    pub(crate) positions: Vec<RecordPosition>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
    /// Leave them in the quarantine, also when they are processed
    #[arg(long)]
    pub(crate) keep: bool,
    /// Only say what would be delivered
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Output format for the outcomes
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Deletes records from the quarantine, for good.
#[derive(Debug, clap::Args)]
pub(crate) struct QuarantinePurgeArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// Records: SEQUENCE-NUMBER, or SEQUENCE-NUMBER:SUB for one user record of it; all, if none is given
    #[arg(value_name = "POSITION")]
    pub(crate) positions: Vec<RecordPosition>,
    /// Only what was put there before this time: seconds since 1970 or ISO 8601 with a time zone
    #[arg(long, value_name = "TIME")]
    pub(crate) before: Option<Arrival>,
    /// Delete; without it, they are listed only
    #[arg(long)]
    pub(crate) yes: bool,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}
