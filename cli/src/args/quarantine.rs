use clap::Subcommand;

use super::{DeliveryArgs, Format, ShardArgs, TargetArgs};
use crate::stream::{
    arrival::{Arrival, time_argument},
    record_position::RecordPosition,
};

/// Lists, shows, redelivers and deletes user records that the function has quarantined.
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
  kinesis-kit quarantine show --table orders-journal
  kinesis-kit quarantine show --table orders-journal \\
    shardId-000000000000/49590338271490256608559692538361571095921575989136588898:3
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
    /// Records: SHARD/SEQUENCE-NUMBER, or SHARD/SEQUENCE-NUMBER:SUB for one user record of it; all, if none is given
    #[arg(value_name = "POSITION", required_if_eq("raw", "true"))]
    pub(crate) positions: Vec<RecordPosition>,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Print only the payload, unchanged
    #[arg(long, conflicts_with = "format")]
    pub(crate) raw: bool,
}

/// Redelivers quarantined records to a function, and deletes those that it has processed.
///
/// A user record of an aggregate is delivered as an aggregate of one, so that it keeps the producer's keys. The events' member
/// kinesisKit.mode is reprocess: the kit's handler ignores its journal, which has these records as processed, and reports failures
/// instead of quarantining records again. A record that fails stays in the quarantine, and so do those that are held behind it
/// (reason held, same partition key). The others are delivered. A note counts those that a function quarantines again. Only a
/// response about the batch is a success: batchItemFailures as a list or null, {}, null, or an empty body.
#[derive(Debug, clap::Args)]
pub(crate) struct QuarantineRedriveArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// Records: SHARD/SEQUENCE-NUMBER, or SHARD/SEQUENCE-NUMBER:SUB for one user record of it; all, if none is given
    #[arg(value_name = "POSITION")]
    pub(crate) positions: Vec<RecordPosition>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
    /// Keep records in the quarantine even if they were processed
    #[arg(long)]
    pub(crate) keep: bool,
    /// Report what would be delivered, and deliver nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Output format for the outcomes
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Deletes records from the quarantine permanently.
#[derive(Debug, clap::Args)]
pub(crate) struct QuarantinePurgeArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// Records: SHARD/SEQUENCE-NUMBER, or SHARD/SEQUENCE-NUMBER:SUB for one user record of it; all, if none is given
    #[arg(value_name = "POSITION")]
    pub(crate) positions: Vec<RecordPosition>,
    /// Delete only records that were quarantined before this time: seconds since 1970, ISO 8601 with a time zone, or a
    /// duration ago (7d)
    #[arg(long, value_name = "TIME", value_parser = time_argument)]
    pub(crate) before: Option<Arrival>,
    /// Delete the records; without it, they are only listed
    #[arg(long)]
    pub(crate) yes: bool,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}
