use std::{ffi::OsString, path::PathBuf};

use clap::ArgGroup;

use super::{EnvironmentArgs, Format};
use crate::stream::name::StreamName;

/// Runs the event source mapping between a Kinesis stream and a Lambda function, without an AWS account.
///
/// Delivers the records of a scenario in virtual time: batches, partial failures, retries, bisection, discards, and
/// faults as observed on AWS. The scenario says what the function does, or COMMAND is the function: any program
/// that talks to the Lambda Runtime API.
///
/// With --stream, polls a Kinesis stream instead, in real time, and delivers its records to COMMAND, to a deployed function,
/// or to a URL.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = AFTER_HELP,
    group = ArgGroup::new("source").required(true).multiple(true).args(["scenario", "stream"]),
    // A scenario may stand for the function; a stream has none.
    group = ArgGroup::new("target").args(["function", "url", "command"]),
)]
pub(crate) struct SimulateArgs {
    /// The scenario, in JSON; `-` is standard input. With --stream, the settings of its mapping
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// Seed of random choices: request IDs, delays. With a scenario, the same seed (0 by default) gives the same output
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Output format for the steps
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// The stream to poll, by its name or ARN
    #[arg(long, value_name = "NAME", requires = "target", help_heading = "Options for a stream")]
    pub(crate) stream: Option<StreamName>,
    /// File for failure records, each as a JSON line; with the data, unless the mapping has SQS or SNS as destination
    #[arg(long, value_name = "FILE", requires = "stream", help_heading = "Options for a stream")]
    pub(crate) failures: Option<PathBuf>,
    /// Time to poll; by default, until a signal comes or all shards have ended
    #[arg(long = "for", value_name = "SECONDS", requires = "stream", help_heading = "Options for a stream")]
    pub(crate) seconds: Option<u64>,
    /// A deployed Lambda function, by its name or ARN, instead of COMMAND
    #[arg(long, value_name = "NAME", requires = "stream", help_heading = "Options for a stream")]
    pub(crate) function: Option<String>,
    /// Invoke URL of the function, instead of COMMAND
    #[arg(long, value_name = "INVOKE_URL", requires = "stream", help_heading = "Options for a stream")]
    pub(crate) url: Option<String>,
    /// The function, a program and its arguments, instead of the scenario's. It gets the environment of this command, AWS
    /// credentials included, unless --clean-env
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
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
{StartingHashKey, EndingHashKey}}. A parent is closed after its last record.
  records
    A list of {id, atMs (0), shardId (needless with one shard), partitionKey (\"k\")} with one of text, data \
(base64), sizeBytes or userRecords: a list of {partitionKey, explicitHashKey} with one of text, data or \
sizeBytes, which become one aggregated record.
  function
    durationMs (5), timeoutMs (60000), response (any JSON, instead of what follows from fails), fails: a \
list of {id, times (always), how}; how: report (default), throw, timeout, crash. For a COMMAND, \
timeoutMs is real time, durationMs is the virtual time that each of its invocations takes, and the \
others are ignored.
  faults
    A list of {kind, atMs, untilMs}; without untilMs it strikes once, at the first opportunity from atMs on. \
kind: throttle, timeout, crash, lostResponse, duplicate, zombie, destinationFailure, lateActivation (of \
a mapping enabled in that time), clockJump, restart (of the poller, before it has stored its \
checkpoint).
  undocumented
    Behaviour that AWS does not document: firstRetryDelayMs (222), retryDelayFactor (2), maxRetryDelayMs (60000), \
retryDelayJitter (0.05), minProgressDelayMs (30), maxProgressDelayMs (42), latestActivationDelayMs \
(75000), pollIntervalMs (1000), idleWindowDelayMs (120000), restartDelayMs (1000); failingLane: \
independent (default), stall; outOfRangeUserRecord: dropsAggregate (default), dropsUserRecord; unknownResponse: \
success (default), failure; invalidJson: success, failure (default); stateWithFailures: kept (default), \
discarded; consolidateDiscarded (false).

The table has a line for each invocation, in the order in which they began, and one for records that are \
discarded or too large for any event. A scenario that makes no progress in 600,000 tries is an error. BATCH is the origin \
of a batch: new; retry (with the same request ID); remainder (the records after those that were processed); bisected (a \
half of a batch that failed); duplicate (delivered again although it was answered); reread (after a restart of the \
poller); window-close (the end of a tumbling window). TRY counts the invocations with that request ID; of many in a row \
with the same outcome only the first ten are shown, and then the 20th, 50th, 100th, 200th and so on. \
OUTCOME is ok, partial with the records that the response reports as failed, failed (also if the response reports the first \
record of the batch: then nothing is processed), or throttled. RECORDS shows IDs as ranges in the order of the scenario. SHARD, if there are several shards or lanes, is the \
end of the shard's ID and, after a slash, the lane.

FATE is what has become of each record: processed; discarded, with a failure record; dropped, which is discarded without one, \
as the metric DroppedEventCount counts it; filtered out; expired, because the stream does not keep it longer; out of range, with \
a hash key of another shard; unread.

JSON is one object: invocations, discarded, destination (the failure records that it got), dropped, \
completed, unread, metrics.

COMMAND is started as Lambda would start it, handles one invocation at a time, and is ended with the simulation. Its \
output goes to standard error, followed by a line with the duration of its invocations.

A stream is polled as a mapping polls it. Region, credentials and endpoint (AWS_ENDPOINT_URL) are found where \
every AWS tool finds them. Positions are not kept: each run begins at the mapping's StartingPosition. Without \
--scenario the settings are those of the kit's template: TRIM_HORIZON, BatchSize 100, \
ReportBatchItemFailures, BisectBatchOnFunctionError, MaximumRetryAttempts 10, MaximumRecordAgeInSeconds \
82800. Of a scenario count mapping, function.timeoutMs and undocumented; with LATEST, polling begins at once \
unless latestActivationDelayMs is there. The limits of a shard, five reads and 2 MB in a second, are shared \
with all of its other readers; with a ParallelizationFactor of n, each shard is read n times. The children \
of a shard wait until it has ended, which not every emulator of Kinesis reports.

While a stream is polled, the table has a line for each invocation, and for records that are discarded or dropped, or \
too large for any event. JSON is a line for each step: read, invoked, tooLarge, acknowledged, discarded, dropped. A \
signal ends the run once the invocations under way have ended; a second one kills them.

Exit codes:
  0    done, or with --stream ended by a signal or --for; records that were discarded are a result, not a failure
  1    with --stream: records were lost, without a failure record; a record that is too large for any event \
still blocked its shard; invocations were killed; standard output was closed; or polling had to end
  2    wrong usage; the scenario cannot be read or is wrong; COMMAND cannot be started, or ends before it asks for its \
first event; with --stream: no such stream, no credentials, or no connection
  130  interrupted, without --stream

Examples:
  kinesis-kit simulate --stream orders --failures failures.jsonl -- target/debug/function
  AWS_ENDPOINT_URL=http://127.0.0.1:4568 kinesis-kit simulate --stream orders -- bootstrap
  kinesis-kit simulate --stream orders --url http://127.0.0.1:9000/2015-03-31/functions/_/invocations
  kinesis-kit simulate --scenario poison.json
  kinesis-kit simulate --scenario poison.json --seed 7 --format json | jq .discarded
  kinesis-kit simulate --scenario poison.json -- target/debug/function
  echo '{\"records\":[{\"id\":1,\"text\":\"x\"}],\"function\":{\"fails\":[{\"id\":1,\"times\":2}]}}' |
    kinesis-kit simulate --scenario -";
