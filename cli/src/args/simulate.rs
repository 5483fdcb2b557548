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

const AFTER_HELP: &str = "\
The scenario is a JSON object. All of its members are optional, and an unknown one is an error. Times are \
milliseconds since the start, which is 2026-01-01T00:00:00Z. Values in parentheses are defaults.

  mapping
    The settings of CreateEventSourceMapping under their names, such as BatchSize, MaximumRetryAttempts, \
BisectBatchOnFunctionError, ParallelizationFactor, FunctionResponseTypes, FilterCriteria, \
DestinationConfig, with the API's defaults. With the ARN of a consumer as EventSourceArn, it is enhanced \
fan-out. Also enabledAtMs (0).
  stream
    retentionHours (24); shards (one): a list of {shardId, parents: [shardId, …], hashKeyRange: \
{StartingHashKey, EndingHashKey}}. A parent is closed behind its last record.
  records
    A list of {id, atMs (0), shardId (needless with one shard), partitionKey (\"k\")} with one of text, data \
(base64), sizeBytes or userRecords: a list of {partitionKey, explicitHashKey} with one of text, data or \
sizeBytes, which become one aggregated record.
  function
    durationMs (5), timeoutMs (60000), response (any JSON, instead of what follows from fails), fails: a \
list of {id, times (always), how}; how: report (default), throw, timeout, crash. For a COMMAND, \
timeoutMs is real time, durationMs is the virtual time that each of its invocations takes, and the \
others mean nothing.
  faults
    A list of {kind, atMs, untilMs}; without untilMs it strikes once, at the first opportunity from atMs on. \
kind: throttle, timeout, crash, lostResponse, duplicate, zombie, destinationFailure, lateActivation (of \
a mapping enabled in that time), clockJump, restart (of the poller, before it has stored its \
checkpoint).
  undocumented
    What AWS does not tell: firstRetryDelayMs (222), retryDelayFactor (2), maxRetryDelayMs (60000), \
retryDelayJitter (0.05), minProgressDelayMs (30), maxProgressDelayMs (42), latestActivationDelayMs \
(75000), pollIntervalMs (1000), idleWindowDelayMs (120000), restartDelayMs (1000); failingLane: \
independent (default), stall; strayMember: dropsAggregate (default), dropsMember; unknownResponse: \
success (default), failure; invalidJson: success, failure (default); stateWithFailures: kept (default), \
discarded; consolidateDiscarded (false).

The table has a line for each invocation, in the order in which they began, and one for records that are \
given up. BATCH tells where a batch comes from: new records; again, as it was and with its request ID; the \
rest behind what is done; a half of one that failed; twice, although it was answered; reread after a \
restart; close, the end of a tumbling window. TRY counts the invocations with that request ID. RECORDS shows \
IDs as ranges in the order of the scenario. SHARD, if there are several shards or lanes, is the end of the \
shard's ID and, behind a slash, the lane.

JSON is one object: invocations, discarded, destination (the failure records that it got), dropped, \
completed, unread, metrics.

COMMAND is started as Lambda would do it, is invoked once at a time, and ends with the simulation. What it \
prints goes to standard error, where afterwards a line says how long its invocations took.

Exit codes:
  0    done; records that were discarded are a result, not a failure
  2    wrong usage; the scenario cannot be read or is wrong; COMMAND cannot be started
  130  interrupted

Examples:
  kinesis-kit simulate --scenario poison.json
  kinesis-kit simulate --scenario poison.json --seed 7 --format json | jq .discarded
  kinesis-kit simulate --scenario poison.json -- target/debug/function
  echo '{\"records\":[{\"id\":1,\"text\":\"x\"}],\"function\":{\"fails\":[{\"id\":1,\"times\":2}]}}' |
    kinesis-kit simulate --scenario -";
