use crate::stream::name::StreamName;

/// Disables the event source mappings of a function on a stream, which keeps their position.
///
/// For an outage of what the function needs: while a mapping is disabled, records wait in the stream, and no retries are used up.
/// Resume before they are too old.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The last lines say until when nothing is lost: records that wait for longer than MaximumRecordAgeInSeconds are discarded to the \
failure destination once the mapping is enabled, and those that wait for longer than the stream's retention are gone. Records \
that were waiting before have less time: see the metric IteratorAge. `kinesis-kit checkpoint status` shows what waits for a \
function with a checkpoint mirror.

Invocations that are running end as usual. Deploying a template that enables the mapping enables it again.

Permissions: lambda:ListEventSourceMappings, GetEventSourceMapping, UpdateEventSourceMapping; \
kinesis:DescribeStreamSummary, ListStreamConsumers.

Exit codes:
  0    all mappings are disabled
  1    a mapping could not be disabled, or was not within --wait
  2    wrong usage; the stream cannot be used, or no mapping delivers it to the function
  130  interrupted while waiting: the mappings were asked to change

Examples:
  kinesis-kit pause --stream orders --function orders-consumer
  kinesis-kit resume --stream orders --function orders-consumer")]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    pub(crate) mappings: MappingsArgs,
}

/// Enables the event source mappings of a function on a stream; they continue at their position.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Records that waited for too long are named in a warning: those older than MaximumRecordAgeInSeconds go to the failure \
destination, from where `kinesis-kit redrive` delivers them, and those older than the stream's retention are gone.

Permissions: as `pause`.

Exit codes:
  0    all mappings are enabled
  1    a mapping could not be enabled, or was not within --wait
  2    wrong usage; the stream cannot be used, or no mapping delivers it to the function
  130  interrupted while waiting: the mappings were asked to change

Examples:
  kinesis-kit resume --stream orders --function orders-consumer
  kinesis-kit resume --stream orders --function orders-consumer:live --wait 60")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) mappings: MappingsArgs,
}

// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct MappingsArgs {
    /// The stream, by its name or ARN
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: StreamName,
    /// The function, by its name or ARN; with a version or alias, only the mappings of that
    #[arg(long, value_name = "NAME")]
    pub(crate) function: String,
    /// Longest time to wait for the state to change, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) wait: u64,
}
