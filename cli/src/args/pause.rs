use crate::stream::name::StreamName;

pub(super) const PAUSE_HELP: &str = "\
The last lines say what waits, and until when nothing is lost: records that wait for longer than MaximumRecordAgeInSeconds are \
discarded to the failure destination once the mapping is enabled, and those that wait for longer than the stream's retention are \
gone. Records that were waiting before have less time: with --checkpoint-table the oldest of them is named, otherwise see the \
metric IteratorAge. Run it again to see what waits meanwhile: a mapping that is disabled stays so.

Invocations that are running end as usual. Deploying a template that enables the mapping enables it again.

Permissions: lambda:ListEventSourceMappings, GetEventSourceMapping, UpdateEventSourceMapping; \
kinesis:DescribeStreamSummary, ListStreamConsumers; with --checkpoint-table or --count kinesis:ListShards, GetShardIterator, \
GetRecords; dynamodb:Scan on the table.

Exit codes:
  0    all mappings are disabled
  1    a mapping could not be disabled, or was not within --wait; what waits cannot be read
  2    wrong usage; the stream cannot be used, or no mapping delivers it to the function
  130  interrupted while waiting: the mappings were asked to change

Examples:
  kinesis-kit pause --stream orders --function orders-consumer
  kinesis-kit pause --stream orders --function orders-consumer --checkpoint-table orders-checkpoints --count
  kinesis-kit resume --stream orders --function orders-consumer";

pub(super) const RESUME_HELP: &str = "\
Says what waits before a mapping is enabled. Records that waited for too long are named in a warning: those older than \
MaximumRecordAgeInSeconds go to the failure destination, from where `kinesis-kit redrive` delivers them, and those older than the \
stream's retention are gone.

Permissions: as `pause`.

Exit codes:
  0    all mappings are enabled
  1    a mapping could not be enabled, or was not within --wait; what waits cannot be read
  2    wrong usage; the stream cannot be used, or no mapping delivers it to the function
  130  interrupted while waiting: the mappings were asked to change

Examples:
  kinesis-kit resume --stream orders --function orders-consumer
  kinesis-kit resume --stream orders --function orders-consumer:live --wait 60";

// No doc comment: it would become that of the commands.
#[derive(Debug, clap::Args)]
pub(crate) struct MappingsArgs {
    /// The stream, by its name or ARN
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: StreamName,
    /// The function, by its name or ARN; with a version or alias, only the mappings of that
    #[arg(long, value_name = "NAME")]
    pub(crate) function: String,
    /// The table of the function's checkpoint mirror, to show since when records wait
    #[arg(long, value_name = "NAME")]
    pub(crate) checkpoint_table: Option<String>,
    /// Count the user records that wait, which reads all of them; without --checkpoint-table, those that have arrived since
    /// the mapping was disabled
    #[arg(long)]
    pub(crate) count: bool,
    /// Longest time to wait for the state to change, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) wait: u64,
}
