use clap::builder::RangedU64ValueParser;

use super::{DeliveryArgs, Format, PaceArgs, ProgressArgs, TargetArgs};
use crate::{stream_name::StreamName, stream_point::StreamPoint};

/// Delivers a range of a stream to a function once more.
///
/// Reads all shards beside each other, parents before their children, and delivers their records as the mapping would.
/// User records outside of the range are left out, inside aggregates, too.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct ReplayArgs {
    /// The stream, by its name or ARN
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: StreamName,
    /// Begin of the range
    #[arg(long, value_name = "WHERE")]
    pub(crate) from: StreamPoint,
    /// End of the range
    #[arg(long, value_name = "WHERE", default_value = "tip")]
    pub(crate) to: StreamPoint,
    /// The checkpoint mirror's DynamoDB table, for `checkpoint`
    #[arg(long, value_name = "TABLE")]
    pub(crate) checkpoint_table: Option<String>,
    /// Only of this shard; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    pub(crate) shards: Vec<String>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
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
    /// Only count what would be delivered: reads the stream, invokes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
    /// Output format for the outcomes of shards
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

const AFTER_HELP: &str = "\
WHERE is one of
  trim-horizon         the oldest record (only --from)
  tip                  the newest record, at the moment when a shard has been read up to it (only --to)
  checkpoint           where the checkpoint mirror stands when the replay begins: --from it is behind that user record, \
--to it includes it; of a shard without a row all is processed if its descendants have rows, else nothing. A table without any row of the stream is refused, and a shard of \
which no row tells anything is named before all of it is replayed.
  a time               such as 2026-01-01T00:00:00Z or @1767225600 (seconds since 1970), by the arrival of Kinesis \
records: --from it includes the time, --to it does not
  SEQUENCE-NUMBER      a Kinesis record, or with :SUB one of its user records, of the one --shard; both ends include it

Of an aggregated record on the border, an aggregate with the user records inside is delivered; sub-sequence numbers \
count from its start.

The events' member kinesisKit.mode is replay: the kit's handler processes what is done already, leaves its journal and \
the checkpoint mirror alone, and reports what fails instead of putting it into the quarantine. A shard ends at the \
first record that fails for good, which is named with the reason; its children are not begun. One whose first record the \
stream has dropped is `lost`: what is left of it is delivered. If that record is processed already, by the checkpoint or an \
earlier run, a warning tells of it. One that Kinesis refuses to read, such as from a checkpoint that is no longer valid, is \
`unreadable`. A live function may process the same records beside it: \
with --to checkpoint disable the mapping first, or it may deliver again what lies below.

A shard whose whole range was delivered is `done`; with --dry-run it is `found`, and with --events `written`. \
QUARANTINED (`quarantined` in JSON) is the number of user records that the function put into its quarantine all the same; \
- (null) if the function, unlike the kit's handler, does not say.

A run that was interrupted or killed goes on where each shard has ended when the same command is given again, with the \
checkpoints that it has begun with; at most one batch of each shard is delivered twice.

Permissions: kinesis:DescribeStreamSummary, ListShards, GetShardIterator, GetRecords; lambda:InvokeFunction; \
for `checkpoint` dynamodb:Scan on the checkpoint table, lambda:ListEventSourceMappings and kinesis:ListStreamConsumers.

Exit codes:
  0    all of the range is processed
  1    some shards ended before: they are listed
  2    wrong usage; the stream, table or function cannot be used
  130  interrupted

Examples:
  kinesis-kit replay --stream orders --from @1767225600 --to @1767312000 --function orders
  kinesis-kit replay --stream orders --from trim-horizon --to checkpoint \\
    --checkpoint-table orders-leases --function orders
  kinesis-kit replay --stream orders --from trim-horizon --dry-run -- target/debug/function";
