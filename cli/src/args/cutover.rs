use std::path::PathBuf;

use super::LeaseTableArgs;

/// Moves a function to a new event source mapping, without losing a record or processing one twice.
///
/// Changing the function's code, the version behind its alias, or a setting of the mapping keeps the position: none of this needs a
/// cut-over. A change of the mapping's starting position, its event source or its function makes a new mapping, which starts at a
/// time and not at a position.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The function must mirror its position into the table, with KINESIS_HANDLER_CUTOVER=on. The command

  1. disables the mapping, and waits until no invocation runs;
  2. reads the positions, and finds the time of the first record of all shards that is not processed: the new mapping starts a \
minute before it, or at TRIM_HORIZON if a position is not known;
  3. freezes the positions in the rows of the table: the function skips what the new mapping delivers up to there. This ends \
for each shard when a record after it is processed, or after the stream's retention, at most a week;
  4. deletes the mapping, and makes it again with the same settings and the new start.

With --to, the new mapping delivers to another version or alias, and the old one stays disabled until you delete it. With \
--no-mapping, nothing is deleted or made: standard output has the start as parameters of the template. Until the mapping is \
deleted, `kinesis-kit resume` undoes the cut-over: the old mapping continues at its position.

Without --yes the plan is shown, and nothing is changed. A command that was interrupted is given again: it continues. Step 4 is \
noted in the progress file before the mapping is deleted, with the mapping's settings.

A mapping with an enhanced fan-out consumer processes the last Kinesis record of each shard again. A shard whose position is \
not known is processed again.

Permissions: kinesis:DescribeStreamSummary, ListShards, ListStreamConsumers, GetShardIterator, GetRecords; dynamodb:Scan, \
UpdateItem and PutItem on the table; lambda:GetFunctionConfiguration, ListEventSourceMappings, GetEventSourceMapping, \
UpdateEventSourceMapping, ListTags; without --no-mapping CreateEventSourceMapping and TagResource, without --to \
DeleteEventSourceMapping.

Exit codes:
  0    the new mapping is enabled; or --dry-run has shown the plan
  1    a step failed, such as a position that was written meanwhile; or nothing was changed, because --yes was missing
  2    wrong usage; the stream, the table, the function or its mapping cannot be used

Examples:
  kinesis-kit checkpoint cutover --table orders-checkpoints --stream orders --function orders-consumer --dry-run
  kinesis-kit checkpoint cutover --table orders-checkpoints --stream orders --function orders-consumer --yes
  kinesis-kit checkpoint cutover --table orders-checkpoints --stream orders --function orders-consumer --to orders-consumer:next --yes
  sam deploy --parameter-overrides $(kinesis-kit checkpoint cutover --table orders-checkpoints --stream orders \
    --function orders-consumer --no-mapping --yes)")]
pub(crate) struct CheckpointCutoverArgs {
    #[command(flatten)]
    pub(crate) of: LeaseTableArgs,
    /// The function, by its name or ARN; with a version or alias, only the mapping of that
    #[arg(long, value_name = "NAME")]
    pub(crate) function: String,
    /// Version or alias that the new mapping delivers to; the old mapping stays disabled
    #[arg(long, value_name = "FUNCTION", conflicts_with = "no_mapping")]
    pub(crate) to: Option<String>,
    /// Make no new mapping, and write its start to standard output; the old mapping stays disabled
    #[arg(long)]
    pub(crate) no_mapping: bool,
    /// Longest time to wait for each change of a mapping, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) wait: u64,
    /// File of the progress, by default one for this cut-over in the state directory of the user
    #[arg(long, value_name = "FILE")]
    pub(crate) progress: Option<PathBuf>,
    /// Do it; without it, the plan is shown
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Only show the plan
    #[arg(long)]
    pub(crate) dry_run: bool,
}
