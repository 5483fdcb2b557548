use std::path::PathBuf;

use clap::ArgGroup;

use super::{DeliveryArgs, Format, PaceArgs, ShardArgs, TargetArgs, journal::max_age};
use crate::{
    aws::object_prefix::ObjectPrefix,
    delivery::{
        LargeRecords,
        skipped::{SkippedFile, SkippedFileError, Skips},
        target::Target,
    },
    error::Error,
};

/// Redelivers records that the event source mapping discarded.
///
/// Reads failure records, reads the Kinesis records that they name from the stream (or takes the copy in S3), and
/// delivers them to a function as the mapping would. A failure record is deleted only when all of its records are
/// processed.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = AFTER_HELP,
    group = ArgGroup::new("source").required(true).args(["queue", "s3", "file", "discarded"]),
)]
pub(crate) struct RedriveArgs {
    /// An SQS queue, by its name or URL: the on-failure destination, or subscribed to an SNS topic that is one
    #[arg(long, value_name = "NAME", help_heading = "Where failure records are")]
    pub(crate) queue: Option<String>,
    /// Objects in S3: s3://BUCKET or s3://BUCKET/PREFIX
    #[arg(long, value_name = "URI", help_heading = "Where failure records are")]
    pub(crate) s3: Option<ObjectPrefix>,
    /// With --s3: the account that must own the bucket. A bucket of the same name that another account owns is
    /// neither read nor changed
    #[arg(
        long, value_name = "ACCOUNT", requires = "s3", value_parser = account,
        help_heading = "Where failure records are"
    )]
    pub(crate) bucket_owner: Option<String>,
    /// A file with failure records, lists of them, SQS, SNS or EventBridge events, output of `aws sqs receive-message`, or
    /// records that --skip-failed has skipped; `-` is standard input
    #[arg(long, value_name = "FILE", help_heading = "Where failure records are")]
    pub(crate) file: Option<PathBuf>,
    /// Discarded records in the retry journal, by the name of its DynamoDB table: entries of kind discarded, and stranded retry entries
    #[arg(long, value_name = "TABLE", help_heading = "Where failure records are")]
    pub(crate) discarded: Option<String>,
    /// With --discarded: the mapping's MaximumRecordAgeInSeconds, by default that of --function's mappings. Retry entries of
    /// records that are three hours older are redriven, too, as are those of closed shards that were not written for three
    /// hours
    #[arg(long, value_name = "SECONDS", requires = "discarded", value_parser = max_age(), help_heading = "Where failure records are")]
    pub(crate) max_age: Option<u64>,
    /// With --queue: the time for which received messages are hidden from other readers. It is extended while the run goes
    /// on; after a killed run, messages are hidden for the rest of it
    #[arg(
        long, value_name = "SECONDS", requires = "queue", default_value_t = 120,
        value_parser = clap::value_parser!(u16).range(4..=43_200), help_heading = "Where failure records are"
    )]
    pub(crate) visibility_timeout: u16,
    #[command(flatten)]
    pub(crate) shards: ShardArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
    #[command(flatten)]
    pub(crate) large: LargeArgs,
    #[command(flatten)]
    pub(crate) skip: SkipArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    /// Redeliver failure records of every stream and function, not only those of --function's mappings or of --stream
    #[arg(long)]
    pub(crate) any_stream: bool,
    /// Deliver all records in the range of a failure record, even if there are more than it counts
    #[arg(long)]
    pub(crate) all_in_range: bool,
    /// Keep failure records in their source, even if all of their records are processed
    #[arg(long)]
    pub(crate) keep: bool,
    /// Also delete failure records whose records are partly gone from the stream, once all others are processed
    #[arg(long, conflicts_with = "keep")]
    pub(crate) delete_lost: bool,
    /// Report what would be delivered and what cannot be; reads the stream, but invokes and deletes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
    /// Output format for the outcomes of failure records
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Parses the ID of an AWS account.
fn account(text: &str) -> Result<String, String> {
    match text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("expected an account ID of 12 digits".to_owned()),
    }
}

// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct ProgressArgs {
    /// The file for the progress of this run; by default in ~/.local/state/kinesis-kit
    #[arg(long, value_name = "FILE")]
    pub(crate) progress: Option<PathBuf>,
    /// Ignore saved progress and start over
    #[arg(long)]
    pub(crate) restart: bool,
}

// As above.
#[derive(Debug, clap::Args)]
pub(crate) struct SkipArgs {
    /// Pass over records that fail in all attempts. This file gets them, as JSON lines with position, payload and error, which
    /// redrive --file and put read. What is skipped stays in its source, too
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run", help_heading = "How events are delivered")]
    pub(crate) skip_failed: Option<PathBuf>,
    /// With --skip-failed: most user records that a run passes over, because a function that fails for all of them is better
    /// repaired
    #[arg(
        long,
        value_name = "RECORDS",
        requires = "skip_failed",
        default_value_t = 1_000,
        help_heading = "How events are delivered"
    )]
    pub(crate) max_skipped: usize,
}

impl SkipArgs {
    /// Opens the file, if there is to be one.
    pub(crate) fn open(&self) -> Result<Option<Skips>, SkippedFileError> {
        let file = self.skip_failed.as_deref().map(|path| SkippedFile::open(path, self.max_skipped));
        Ok(file.transpose()?.map(Skips::new))
    }
}

// As above.
#[derive(Debug, clap::Args)]
pub(crate) struct LargeArgs {
    /// Split aggregated records that are too large for an event of Lambda, and deliver their user records in several events, as
    /// is always done with --function. Without it, other targets get such a record whole
    #[arg(long, help_heading = "How events are delivered")]
    pub(crate) split: bool,
    /// Put payloads of single user records that are too large for an event into S3, s3://BUCKET or s3://BUCKET/FOLDER, and
    /// deliver a pointer to each, which the kit's handler fetches
    #[arg(long, value_name = "URI", conflicts_with = "dry_run", help_heading = "How events are delivered")]
    pub(crate) large_to: Option<ObjectPrefix>,
}

impl LargeArgs {
    /// Returns how records that are too large for an event are delivered to a target.
    pub(crate) async fn open(&self, target: &Target) -> Result<LargeRecords, Error> {
        LargeRecords::open(self.split || !target.takes_large_events(), self.large_to.as_ref()).await
    }
}

const AFTER_HELP: &str = "\
Each failure record is read from the stream, from its first to its last sequence number, unless S3 holds the whole \
event: then that is delivered. Events have at most --batch-size records and 6 MB. Failure records of a shard are \
redelivered in order and share events; up to 16 shards are redelivered at once. Events have the shape of a standard \
(not enhanced fan-out) mapping, because records read from the stream are still aggregated. Their member \
kinesisKit.mode is resume: the kit's handler resumes inside an aggregate where its journal says so, and does not \
update the checkpoint mirror.

After a partial failure, the remaining records are retried. A batch that makes no progress is tried --attempts times, \
with growing delays; if the response does not identify a failed record, the batch is split in half. A record that \
fails in all attempts ends its failure record: the rest of it is not delivered, and it stays in its source. Other \
failure records are redelivered. Throttling costs no attempts. Only a response about the batch is a success: \
batchItemFailures as a list or null, {}, null, or an empty body. Any other response is a failure, unlike for Lambda, \
because what was delivered is deleted.

OUTCOME (`outcome` in JSON):
  processed   all records are processed; the failure record is deleted, unless --keep
  quarantined the same, but the function has put user records of them into its quarantine in this run; the table shows how \
many: see kinesis-kit quarantine
  kept        as processed, but the failure record was not deleted; the next run only deletes it
  failed      records from this one on are not processed; the next run resumes there
  lost        neither the stream nor the payload has some records; all others are processed or quarantined
  refused     it may be forged, and nothing was delivered: see below
  unknown     nothing was delivered, because Lambda does not list the event source mappings of --function, or because \
another run may have received the message; the next run tries again
  unreadable  it is not a failure record of a Kinesis stream, or its source cannot return it
  skipped     with --skip-failed: all records are processed or quarantined, except those that FILE has; the failure record \
is kept
  halted      the run ended before all of its records were processed
  found       with --dry-run: its records can be delivered
  written     with --events: its records are in event files
RECORDS (`batchSize`) is the number of records that the failure record counts, FOUND (`found`) that of the Kinesis \
records in its range or payload. They differ on an enhanced fan-out consumer, which counts user records. \
`quarantined` in JSON is null if the function, unlike the kit's handler, does not say how many user records it quarantined. \
ERROR (`error`) of a record that failed is its own error. FAILED AT, below the table, lists the positions of such records.

A record of more than about 4.7 MB makes an event above 6 MB. The mapping discards it without an invocation, and only an object \
of an S3 destination, or the stream, still has it. --url, --events and -- COMMAND get it in one event. With --function, or \
--split, the user records of an aggregated record come in several events, in order and in mode reprocess, as aggregated records \
of its sequence number; the failure record is deleted when all of them are processed, and the next run resumes at the first part \
that is not. A single payload that is too large fails, unless --large-to is given.

With --skip-failed, FILE gets a JSON line for each user record that failed in all attempts (for each of a Kinesis record, if the \
function, unlike the kit's handler, does not say which), before anything that follows it is delivered. The rest of its \
aggregated record is delivered in mode reprocess, as an aggregated record of its own. Records that follow it with the same key \
are no longer processed in order relative to it. The failure record stays in its source: FILE is on one machine only. The next \
run of the same command does not deliver what was skipped; without --skip-failed it delivers all of those failure records \
again. `redrive --file FILE` redelivers the skipped records in mode reprocess, and leaves the file as it is.

Anyone who may write to the queue or bucket could have any range of any stream redelivered. Therefore these failure \
records are refused: those whose range holds more Kinesis records than they count (a mapping with filters or \
concurrent batches leaves such ranges), or whose payload lacks records of an enhanced fan-out consumer \
(--all-in-range delivers both), those of a function or stream that do not \
belong to an event source mapping of --function or to --stream (--any-stream delivers them), and those whose payload is \
of another shard or range. Without --function and --stream, failure records of all streams are redelivered.

A file is left as it is: running the same command again after a complete run redelivers everything in it.

If a run is interrupted or killed, the same command resumes. Messages of a queue become visible again when \
their --visibility-timeout runs out, up to two minutes after their reader was killed. A queue can be redriven by several runs at once. Objects in S3 and a journal's table cannot: a \
run does not see another one of another user or machine, and both deliver everything. A lock in the bucket would need \
the permission to write failure records.

Permissions: kinesis:GetShardIterator, GetRecords; lambda:InvokeFunction, ListEventSourceMappings; for the source \
sqs:GetQueueUrl, GetQueueAttributes, ReceiveMessage, ChangeMessageVisibility, DeleteMessage, or s3:ListBucket, \
GetObject, DeleteObject, or dynamodb:Scan, Query, DeleteItem and kinesis:ListShards, ListStreamConsumers.

Exit codes:
  0    all are processed
  1    some records are not processed, were skipped, or a failure record was not deleted: they are listed
  2    wrong usage; a source, stream or function cannot be used
  130  interrupted

Examples:
  kinesis-kit redrive --queue orders-failures --function orders
  kinesis-kit redrive --s3 s3://orders-failures/aws/lambda/ --function orders --dry-run
  kinesis-kit redrive --discarded orders-journal --application orders --function orders
  kinesis-kit redrive --file failures.jsonl -- target/debug/function
  kinesis-kit redrive --queue orders-failures --events events/ --keep";
