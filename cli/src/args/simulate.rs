use std::{ffi::OsString, path::PathBuf};

use super::Format;

/// Runs the event source mapping between a Kinesis stream and a Lambda function, without an AWS account.
///
/// Delivers the records of a scenario in virtual time: batches, partial failures, retries, bisection, discards, and
/// faults as AWS was seen to do it. The scenario says what the function does, or COMMAND is the function: any program
/// that talks to the Lambda Runtime API.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct SimulateArgs {
    /// The scenario, in JSON; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: PathBuf,
    /// Decides what is left to chance: request IDs, delays. The same seed gives the same output
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How to show what happened
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// The function, a program and its arguments, instead of the scenario's
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

const AFTER_HELP: &str = r#"The scenario is a JSON object. All of its members are optional, and an unknown one is an error. Times are
milliseconds since the start, which is 2026-01-01T00:00:00Z.

mapping       the settings of CreateEventSourceMapping under their names, such as BatchSize,
              MaximumRetryAttempts, BisectBatchOnFunctionError, ParallelizationFactor,
              FunctionResponseTypes, FilterCriteria, DestinationConfig, with the API's defaults; a
              consumer's ARN as EventSourceArn makes it enhanced fan-out. Also enabledAtMs (0)
stream        retentionHours (24); shards: a list (one shard) of {shardId, parents: [shardId …],
              hashKeyRange: {StartingHashKey, EndingHashKey}}; a parent is closed behind its last record
records       a list of {id, atMs (0), shardId (needless with one shard), partitionKey ("k"), and one
              of text, data (base64), sizeBytes, userRecords}; userRecords: a list of {partitionKey,
              explicitHashKey, and text, data or sizeBytes}, which are put into one aggregated record
function      durationMs (5), timeoutMs (60000), response (any JSON, instead of what follows from
              fails), fails: a list of {id, times (always), how (report)}; how: report, throw, timeout,
              crash. Of these, a COMMAND is given timeoutMs, in real time, and durationMs is the virtual
              time that each of its invocations takes
faults        a list of {kind, atMs, untilMs}; without untilMs it strikes once, at the first opportunity
              after atMs. kind: throttle, timeout, crash, lostResponse, duplicate, zombie,
              destinationFailure, lateActivation (of a mapping enabled in that time), clockJump,
              restart (of the poller, before it has stored its checkpoint)
undocumented  what AWS tells nobody (with defaults as seen, or the harder case): firstRetryDelayMs
              (222), retryDelayFactor (2), maxRetryDelayMs (60000), retryDelayJitter (0.05),
              minProgressDelayMs (30), maxProgressDelayMs (42), latestActivationDelayMs (75000),
              pollIntervalMs (1000), idleWindowDelayMs (120000), restartDelayMs (1000),
              failingLane: independent, stall; strayMember: dropsAggregate, dropsMember;
              unknownResponse, invalidJson: success, failure; stateWithFailures: kept, discarded

The table has a line for each invocation, in the order in which they began, and one for each discard. BATCH tells
where a batch comes from: new ones, again (as it was, with its request ID), rest (behind what is done), half (bisected),
twice (delivered twice), reread (after a restart), close (the end of a tumbling window). TRY counts the invocations
with that request ID. IDs are shown as ranges in the order of the scenario. SHARD, with several shards or lanes, is the
end of the shard's ID and, behind a slash, the lane.

JSON is one object: invocations, discarded, destination (the failure records that it got), dropped, completed, unread,
metrics.

COMMAND is started as Lambda would do it, invoked once at a time, and ended with the simulation. Its output goes to
standard error, where afterwards it says how long the invocations took.

Exit codes:
  0    done; records that were discarded are a result, not a failure
  2    wrong usage; the scenario cannot be read or is wrong; COMMAND cannot be started
  130  interrupted

Examples:
  kinesis-kit simulate --scenario poison.json
  kinesis-kit simulate --scenario poison.json --seed 7 --format json | jq .discarded
  kinesis-kit simulate --scenario poison.json -- target/debug/function
  echo '{"records":[{"id":1,"text":"x"}],"function":{"fails":[{"id":1,"times":2}]}}' |
    kinesis-kit simulate --scenario -"#;
