use clap::builder::RangedU64ValueParser;

use super::{DeliveryArgs, Format, LargeArgs, OnLambdaArgs, PaceArgs, ProgressArgs, SkipArgs, TargetArgs};
use crate::stream::{name::StreamName, point::StreamPoint};

/// Delivers a range of a stream to a function again.
///
/// Reads the shards concurrently, parents before their children, and delivers their records as the mapping would. User records
/// outside the range are left out, also inside aggregated records.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct ReplayArgs {
    /// The stream, by its name or ARN
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: StreamName,
    /// Start of the range
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    pub(crate) from: StreamPoint,
    /// End of the range
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, default_value = "latest")]
    pub(crate) to: StreamPoint,
    /// The checkpoint mirror's DynamoDB table, for `checkpoint`
    #[arg(long, value_name = "TABLE")]
    pub(crate) checkpoint_table: Option<String>,
    /// Replay only this shard; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    pub(crate) shards: Vec<String>,
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
    /// Most shards that are replayed at once; each has one invocation under way
    #[arg(
        long,
        value_name = "SHARDS",
        default_value = "16",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000),
        help_heading = "How events are delivered"
    )]
    pub(crate) concurrency: usize,
    /// Only count what would be delivered: reads the stream, invokes nothing. With --on-lambda, estimate records, invocations, time and
    /// cost by samples
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) lambda: OnLambdaArgs,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
    /// Output format for the outcomes of shards
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

const AFTER_HELP: &str = "\
WHERE is one of
  trim-horizon         the oldest record (only --from)
  latest               the newest record, at the moment when a shard has been read up to it (only --to)
  checkpoint           the checkpoint mirror's position when the replay begins: --from checkpoint starts after it, \
--to checkpoint ends at it (inclusive). A shard without a row counts as processed if its descendants have rows, and \
otherwise as unprocessed. A table without any row of the stream is refused, and a shard about which no row says \
anything is named before all of it is replayed.
  a time               such as 2026-01-01T00:00:00Z or @1767225600 (seconds since 1970), by the arrival of Kinesis \
records: --from it includes the time, --to it does not
  10m                  a duration ago: s, m, h or d
  SHARD/SEQUENCE-NUMBER  a Kinesis record, or with :SUB one of its user records; both ends include it. With --shard, the \
shard may be left out.

If the range starts or ends inside an aggregated record, only the user records in the range are delivered, as an \
aggregated record of their own, in which sub-sequence numbers start at 0.

The events' member kinesisKit.mode is reprocess: the kit's handler processes records again that it has processed, does not \
update its journal and the checkpoint mirror, and reports failures instead of quarantining records. The replay of a \
shard ends at the first record that fails for good, which is named with the reason; its children are not started. A \
shard is `lost` if the stream has dropped the first record of its range: the rest is delivered. If that record had been \
processed, according to the checkpoint or an earlier run, there is only a warning. A shard is `unreadable` if Kinesis \
refuses to read it, for example from a checkpoint that is no longer valid. A live function may process the same records at \
the same time: with --to checkpoint, disable the mapping first, or it may deliver records before the checkpoint again.

A shard whose whole range was delivered is `processed`, or `quarantined`, with their number in the table, if the function has \
quarantined user records nevertheless; with --dry-run it is `found`, and with --events `written`. `quarantined` in JSON is their \
number, null if the function, unlike the kit's handler, does not say. ERROR of a record that failed is its own error. FAILED AT, \
below the table, lists the positions of such records.

A record of more than about 4.7 MB makes an event above 6 MB. --url, --events and -- COMMAND get it in one event; with \
--function, or --split, the user records of an aggregated record come in several events, in order. A single payload that is too \
large fails, unless --large-to is given.

With --skip-failed, a shard does not end at a record that fails for good. FILE gets a JSON line for each user record that failed \
in all attempts (for each of a Kinesis record, if the function, unlike the kit's handler, does not say which), before anything \
that follows it is delivered; the rest of its aggregated record is delivered as an aggregated record of its own. Records that \
follow it with the same key are no longer processed in order relative to it. The shard is then `skipped`. `redrive --file FILE` \
delivers the skipped records again, and `put` puts them into a stream again.

With --on-lambda, the range is that of times, and its end is over. The function needs KINESIS_HANDLER_REPLAYS=on. The command \
creates an alias that has the range in its name, on the version that the live mapping invokes, and an event source mapping on it, \
with the live mapping's settings, except an unlimited record age, no filter and a parallelization factor of 1. It follows the \
positions that the function keeps in its journal's table, and deletes mapping and alias when all shards have passed the range. The \
live mapping, its mirror and its journal stay untouched. If the command is interrupted or killed, Lambda goes on; the same command \
follows it again, and --remove ends it. A shard has `passed`, has `nothing` in the range, is `underWay`, or has `notBegun`; NEXT is \
its first record that is not processed. Records that the mapping discards are counted if they go to a bucket; then the alias is \
kept, by which they are redriven.

If a run is interrupted or killed, the same command resumes each shard, with the checkpoints that the first run read; at \
most one batch of each shard is delivered twice.

Permissions: kinesis:DescribeStreamSummary, ListShards, GetShardIterator, GetRecords; lambda:InvokeFunction; \
for `checkpoint` dynamodb:Scan on the checkpoint table, lambda:ListEventSourceMappings and kinesis:ListStreamConsumers; with \
--on-lambda, instead of InvokeFunction, lambda:GetFunctionConfiguration, GetAlias, CreateAlias, DeleteAlias, \
ListEventSourceMappings, GetEventSourceMapping, CreateEventSourceMapping, DeleteEventSourceMapping; kinesis:ListStreamConsumers; \
dynamodb:Query on the journal's table, with --restart DeleteItem; s3:ListBucket and GetObject on the failure bucket.

Exit codes:
  0    all of the range is processed
  1    some shards ended before, or records were skipped: they are listed
  2    wrong usage; the stream, table or function cannot be used
  130  interrupted

Examples:
  kinesis-kit replay --stream orders --from @1767225600 --to @1767312000 --function orders
  kinesis-kit replay --stream orders --from trim-horizon --to checkpoint \\
    --checkpoint-table orders-leases --function orders
  kinesis-kit replay --stream orders --from trim-horizon --dry-run -- target/debug/function
  kinesis-kit replay --on-lambda --stream orders --from @1767225600 --to @1767312000 --function orders";
