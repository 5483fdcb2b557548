use std::path::PathBuf;

use clap::ArgGroup;

use super::{DeliveryArgs, Format, PaceArgs, ShardArgs, TargetArgs};
use crate::object_prefix::ObjectPrefix;

/// Delivers again what the event source mapping has discarded.
///
/// Reads failure records, reads the Kinesis records that they name again from the stream (or takes those that S3 has
/// kept), and delivers them to a function as the mapping would. A failure record is deleted only when all of its records
/// are processed.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = AFTER_HELP,
    group = ArgGroup::new("source").required(true).args(["queue", "s3", "file", "holes"]),
)]
pub(crate) struct RedriveArgs {
    /// An SQS queue, by its name or URL: the on-failure destination, or subscribed to an SNS topic that is one
    #[arg(long, value_name = "NAME", help_heading = "Where failure records are")]
    pub(crate) queue: Option<String>,
    /// Objects in S3: s3://BUCKET or s3://BUCKET/PREFIX
    #[arg(long, value_name = "URI", help_heading = "Where failure records are")]
    pub(crate) s3: Option<ObjectPrefix>,
    /// A file, one JSON value after the other; `-` is standard input
    #[arg(long, value_name = "FILE", help_heading = "Where failure records are")]
    pub(crate) file: Option<PathBuf>,
    /// The holes in the retry journal: the name of its DynamoDB table
    #[arg(long, value_name = "TABLE", help_heading = "Where failure records are")]
    pub(crate) holes: Option<String>,
    #[command(flatten)]
    pub(crate) shards: ShardArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    /// Redeliver failure records of every stream and function. Without it, only those are redelivered that an event
    /// source mapping of --function has left, or that name --stream
    #[arg(long)]
    pub(crate) any_stream: bool,
    /// Deliver all records in the range of a failure record, even if these are more than it counts. A standard mapping
    /// with filters or concurrent batches leaves such ranges
    #[arg(long)]
    pub(crate) all_in_range: bool,
    /// Leave failure records where they are, also when all is processed
    #[arg(long)]
    pub(crate) keep: bool,
    /// Delete failure records, too, that have lost records for good, when all others are processed
    #[arg(long, conflicts_with = "keep")]
    pub(crate) delete_lost: bool,
    /// Only say what would be delivered, and what cannot be: reads the stream, invokes and deletes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
    /// How to show what became of each failure record
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct ProgressArgs {
    /// Where to note how far it has come; by default in a file of this run in ~/.local/state/kinesis-kit
    #[arg(long, value_name = "FILE")]
    pub(crate) progress: Option<PathBuf>,
    /// Begin anew, although an earlier run has come somewhere
    #[arg(long)]
    pub(crate) restart: bool,
}

const AFTER_HELP: &str = "\
Each failure record is read again from its first to its last sequence number, in batches of at most --batch-size \
records and 6 MB. The events are those that the mapping would send, but always of the stream, never of a consumer \
with enhanced fan-out: what is read again is aggregated. Their member kinesisKit.mode is redrive: the kit's handler \
resumes inside an aggregate where its journal says so, and leaves the checkpoint mirror alone. If the stream no longer \
has the records, those that S3 has kept are sent as Lambda had them.

A response that names a record makes the rest a new batch at once. A batch that makes no progress is tried --attempts \
times, with growing delays; without a hint which record is to blame it is then halved. The first record that fails for \
good ends its failure record: the rest is listed as failed, and stays where it was. Throttling costs no attempts. \
Only a response about the batch is a success: batchItemFailures as a list or null, {}, null, or an empty body. Any \
other response is a failure, unlike for Lambda, because what was delivered is deleted.

OUTCOME (`outcome` in JSON):
  done        all records are processed; the failure record is deleted, unless --keep
  failed      from a record on they are not; the next run goes on there
  lost        the stream no longer has some records, and there is no payload; all others are processed
  unreadable  it is no failure record of a Kinesis stream
  halted      the run was ended before it
  found       with --dry-run: its records can be delivered
  written     with --events: its records are in event files

With a ParallelizationFactor above 1, or with filters, the range of a failure record also holds records that were not in the batch: they are delivered, \
too, unless S3 tells which ones to take.

A run that was interrupted or killed goes on where it has ended when the same command is given again. Messages of a \
queue come back a minute after their reader was killed.

Permissions: kinesis:GetShardIterator, GetRecords; lambda:InvokeFunction; for the source sqs:GetQueueUrl, \
GetQueueAttributes, ReceiveMessage, ChangeMessageVisibility, DeleteMessage, or s3:ListBucket, GetObject, DeleteObject, \
or dynamodb:Scan, Query, DeleteItem.

Exit codes:
  0    all done
  1    some are not: they are listed
  2    wrong usage; a source, stream or function cannot be used
  130  interrupted

Examples:
  kinesis-kit redrive --queue orders-failures --function orders
  kinesis-kit redrive --s3 s3://orders-failures/aws/lambda/ --function orders --dry-run
  kinesis-kit redrive --holes orders-journal --application orders --function orders
  kinesis-kit redrive --file failures.jsonl -- target/debug/function
  kinesis-kit redrive --queue orders-failures --events events/ --keep";
