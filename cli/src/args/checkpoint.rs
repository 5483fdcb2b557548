use std::path::PathBuf;

use clap::{ArgGroup, Subcommand, ValueEnum};

use super::{CheckpointCutoverArgs, CreateTableArgs, Format};
use crate::stream::{name::StreamName, point::StreamPoint};

/// Shows and changes the positions that a checkpoint mirror, or a KCL application, keeps in its lease table, and creates the
/// table.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckpointArgs {
    #[command(subcommand)]
    pub(crate) command: CheckpointCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    Status(CheckpointStatusArgs),
    Cutover(CheckpointCutoverArgs),
    Complete(CheckpointCompleteArgs),
    Release(CheckpointReleaseArgs),
    Reset(CheckpointResetArgs),
    Export(CheckpointExportArgs),
    Import(CheckpointImportArgs),
    Create(CheckpointCreateArgs),
}

// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct LeaseTableArgs {
    /// The lease table
    #[arg(long, value_name = "NAME")]
    pub(crate) table: String,
    /// The stream, by its name or ARN
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: StreamName,
}

/// Shows the position of each shard, and how far it is behind.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
POSITION is the last user record of which everything before it is processed, too: SHARD/SEQUENCE-NUMBER:SUB. LAG is how long \
ago the first record arrived that is not processed; 0 ms is none. The table may be that of a KCL application, also of one for \
several streams. A shard that is split or merged needs no row once its descendants have positions.

The last line names the time at which a new event source mapping must start so that it loses nothing: a minute before the \
first record of all shards that is not processed, or before the last one that is processed if that is earlier, because records \
may arrive while the shards are read. It delivers records again that are processed. Changing the code, the \
version behind an alias, or the settings of a mapping keeps its position: none of this needs a new mapping.

Permissions: kinesis:DescribeStreamSummary, ListShards, GetShardIterator, GetRecords; dynamodb:Scan on the table; Scan and \
Query on --journal-table.

Exit codes:
  0  every shard has a position, or needs none
  1  a shard has no row, or its position cannot be read
  2  wrong usage; the stream or the table cannot be used

Examples:
  kinesis-kit checkpoint status --table orders-checkpoints --stream orders
  kinesis-kit checkpoint status --table orders-checkpoints --stream orders --journal-table orders-journal --watch
  kinesis-kit checkpoint status --table orders-checkpoints --stream orders --count --format json")]
pub(crate) struct CheckpointStatusArgs {
    #[command(flatten)]
    pub(crate) of: LeaseTableArgs,
    /// Show this shard; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    pub(crate) shards: Vec<String>,
    /// Count the user records that are not processed, which reads all of them
    #[arg(long)]
    pub(crate) count: bool,
    /// The table of the retry journal, to show the records that fail
    #[arg(long, value_name = "NAME")]
    pub(crate) journal_table: Option<String>,
    /// Show it again every so many seconds, until a signal
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10", require_equals = true,
        value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) watch: Option<u64>,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Start {
    /// At its oldest record: nothing is lost, and records may be processed again
    TrimHorizon,
    /// At the records that are still to come: what is in the shard now is not processed
    Latest,
}

/// Adds the rows that a KCL application needs before it takes over.
///
/// A KCL application that finds a row in its table makes no others: a shard without one would never be read, or be read from the
/// wrong place.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Each shard without a row gets one at TRIM_HORIZON, unless its descendants have positions, which says that it is drained. \
Existing positions stay. A row without the parents and hash keys of its shard gets them, so that a KCL application reads parents \
first, unless a worker owns it. Rows of a mirror are marked as the other rows are.

Disable the function's event source mapping first, and let no invocation run: wait for the function's timeout.

Permissions: kinesis:DescribeStreamSummary, ListShards; dynamodb:Scan, PutItem and UpdateItem on the table.

Exit codes:
  0  every shard has a row, or needs none
  1  the table could not be written
  2  wrong usage; the stream or the table cannot be used; the table has no row of the stream

Examples:
  kinesis-kit checkpoint complete --table orders-checkpoints --stream orders --dry-run
  kinesis-kit checkpoint complete --table orders-checkpoints --stream orders")]
pub(crate) struct CheckpointCompleteArgs {
    #[command(flatten)]
    pub(crate) of: LeaseTableArgs,
    /// Start of a shard of which no row says anything: neither its own, nor one of its ancestors, its descendants or a descendant of
    /// its parents
    #[arg(long, value_enum, value_name = "START", default_value = "trim-horizon")]
    pub(crate) unknown: Start,
    /// Only say which rows would be added
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Takes leases from KCL workers that have ended, because the mirror does not write a lease that a worker owns.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A worker of the KCL for Java leaves its name in its leases, also when it is shut down gracefully. A worker that is alive renews its \
leases every few seconds: a lease that is written while this command waits is kept.

Permissions: kinesis:DescribeStreamSummary, ListShards; dynamodb:Scan and UpdateItem on the table.

Exit codes:
  0  all of their leases are released
  1  some were kept, because the owner is alive; or nothing was changed, because --yes was missing
  2  wrong usage; the stream or the table cannot be used; no owner has a lease

Examples:
  kinesis-kit checkpoint release --table orders-checkpoints --stream orders --owner worker-7 --yes
  kinesis-kit checkpoint release --table orders-checkpoints --stream orders --owner worker-7 --owner worker-8 --yes")]
pub(crate) struct CheckpointReleaseArgs {
    #[command(flatten)]
    pub(crate) of: LeaseTableArgs,
    /// The worker, as `checkpoint status --format json` shows it; may be given several times
    #[arg(long = "owner", value_name = "WORKER", required = true)]
    pub(crate) owners: Vec<String>,
    /// Release the lease of this shard; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    pub(crate) shards: Vec<String>,
    /// Time to look whether the owners renew their leases
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) wait: u64,
    /// Release the leases; without it, they are only listed
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Moves leases to a position.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
This changes neither the position of an event source mapping, nor what a running KCL worker does: stop the application first. A \
lease that a worker owns, or that is written meanwhile, is kept. A function that mirrors its position never moves a lease back, \
but continues from trim-horizon and latest. `checkpoint export` keeps the positions from before.

Permissions: kinesis:DescribeStreamSummary, ListShards; dynamodb:Scan and UpdateItem on the table.

Exit codes:
  0  all selected leases are moved
  1  some were kept; or nothing was changed, because --yes was missing
  2  wrong usage; the stream or the table cannot be used; no selected shard has a lease

Examples:
  kinesis-kit checkpoint reset --table orders-checkpoints --stream orders --to trim-horizon --yes
  kinesis-kit checkpoint reset --table orders-checkpoints --stream orders \\
    --to shardId-000000000000/49590338271490256608559692538361571095921575989136588898:3 --yes")]
pub(crate) struct CheckpointResetArgs {
    #[command(flatten)]
    pub(crate) of: LeaseTableArgs,
    /// The last user record that counts as processed, SHARD/SEQUENCE-NUMBER:SUB; or trim-horizon, or latest
    #[arg(long, value_name = "POSITION")]
    pub(crate) to: StreamPoint,
    /// Move the lease of this shard; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    pub(crate) shards: Vec<String>,
    /// Move the leases; without it, they are only listed
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Writes the positions as JSON lines, which `checkpoint import` reads.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A line has shardId, checkpoint (a sequence number, TRIM_HORIZON, LATEST, AT_TIMESTAMP or SHARD_END), subSequenceNumber, \
leaseOwner, application and streamArn.

Permissions: kinesis:DescribeStreamSummary, ListShards; dynamodb:Scan on the table.

Exit codes:
  0  done
  2  wrong usage; the stream or the table cannot be used; the table has no row of the stream

Examples:
  kinesis-kit checkpoint export --table orders-checkpoints --stream orders > positions.jsonl")]
pub(crate) struct CheckpointExportArgs {
    #[command(flatten)]
    pub(crate) of: LeaseTableArgs,
    /// Write the position of this shard; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    pub(crate) shards: Vec<String>,
}

/// Adds the positions of a file, of a KCL application's table, or of one of vmware-go-kcl.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The table of a KCL application has the key leaseKey, also that of one for several streams, of which only the positions of this \
stream are taken. A table with the key ShardID is one of vmware-go-kcl, whose checkpoint is a Kinesis record of which all is \
processed: the record is read to count its user records.

A row that is there already is kept; if its position is another one, it is named. Stop the other application first: what it \
processes after this would be processed again.

Permissions: kinesis:DescribeStreamSummary, ListShards, GetShardIterator, GetRecords; dynamodb:Scan and PutItem on the table; \
DescribeTable and Scan on --from-table.

Exit codes:
  0  all positions are in the table
  1  some rows were kept at other positions, or a position cannot be read
  2  wrong usage; the stream, the file or a table cannot be used

Examples:
  kinesis-kit checkpoint import positions.jsonl --table orders-checkpoints --stream orders --application orders
  kinesis-kit checkpoint import --from-table orders-kcl --table orders-checkpoints --stream orders --application orders")]
#[command(group = ArgGroup::new("positions").required(true).args(["file", "from_table"]))]
pub(crate) struct CheckpointImportArgs {
    /// File of `checkpoint export`; `-` is standard input
    pub(crate) file: Option<PathBuf>,
    /// Take the positions of this table
    #[arg(long, value_name = "NAME")]
    pub(crate) from_table: Option<String>,
    #[command(flatten)]
    pub(crate) of: LeaseTableArgs,
    /// Name of the application in KINESIS_HANDLER_APPLICATION, by default the function's name
    #[arg(long, value_name = "NAME")]
    pub(crate) application: String,
    /// Only say which rows would be added
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Creates the table of a checkpoint mirror, as the template does.
///
/// The partition key is leaseKey, and the index LeaseOwnerToLeaseKeyIndex is the one that KCL 3 asks for. The table is billed
/// on demand, encrypted with KMS, and has point-in-time recovery and deletion protection.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Waits until the table can be used. A table that exists and has all of this is left as it is, and the command succeeds. \
If it lacks only point-in-time recovery, as after an interrupted run, that is switched on; with other differences, they are \
listed and nothing is changed.

Permissions: dynamodb:DescribeTable, CreateTable, TagResource, DescribeContinuousBackups, UpdateContinuousBackups.

Exit codes:
  0  the table can be used
  1  the table did not become active in five minutes
  2  wrong usage; the table exists and differs; it cannot be created

Examples:
  kinesis-kit checkpoint create --table orders-checkpoints
  kinesis-kit checkpoint create --table orders-checkpoints --tag team=orders --key arn:aws:kms:eu-west-1:123456789012:key/…")]
pub(crate) struct CheckpointCreateArgs {
    #[command(flatten)]
    pub(crate) create: CreateTableArgs,
}
