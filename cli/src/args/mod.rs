mod checkpoint;
mod create;
mod cutover;
mod doctor;
mod help;
mod invoke;
mod key_field;
mod look;
mod journal;
mod new;
mod on_lambda;
mod pause;
mod shards;
mod put;
mod quarantine;
mod redrive;
mod replay;
mod shell;
mod simulate;
mod target;

use std::{env, io::Write, path::PathBuf, process};

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::RangedU64ValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use kinesis_esm::StreamArn;
use kinesis_handler::SequenceNumber;
use kpl_deaggregation::MAX_SIZE_LIMIT_BYTES;

pub(crate) use checkpoint::{
    CheckpointArgs, CheckpointCommand, CheckpointCompleteArgs, CheckpointExportArgs, CheckpointImportArgs,
    CheckpointReleaseArgs, CheckpointResetArgs, CheckpointStatusArgs, LeaseTableArgs, Start,
};
pub(crate) use create::CreateTableArgs;
pub(crate) use cutover::CheckpointCutoverArgs;
pub(crate) use doctor::DoctorArgs;
pub(crate) use invoke::InvokeArgs;
pub(crate) use journal::{
    ItemKeyArgs, JournalArgs, JournalClearArgs, JournalCommand, JournalListArgs, Kind, RetriesArgs,
};
pub(crate) use key_field::{KeyError, KeyField};
pub(crate) use look::{DataStyle, LookArgs, TailArgs};
pub(crate) use new::{KitArgs, NewArgs};
pub(crate) use on_lambda::OnLambdaArgs;
pub(crate) use pause::MappingsArgs;
pub(crate) use put::{PayloadCompression, PutArgs};
pub(crate) use quarantine::{
    QuarantineArgs, QuarantineCommand, QuarantineListArgs, QuarantinePurgeArgs, QuarantineRedriveArgs,
    QuarantineShowArgs, TableArgs,
};
pub(crate) use redrive::{LargeArgs, ProgressArgs, RedriveArgs, SkipArgs};
pub(crate) use replay::ReplayArgs;
pub(crate) use shards::ShardArgs;
pub(crate) use shell::{CompletionsArgs, ManArgs};
pub(crate) use simulate::SimulateArgs;
pub(crate) use target::{DeliveryArgs, EnvironmentArgs, PaceArgs, TargetArgs};

use crate::stream::{
    arrival::{Arrival, time_argument},
    name::StreamName,
    record_position::RecordPosition,
};

/// Inspects Kinesis streams, puts records, redelivers records that a Lambda function did not process, and simulates Lambda's
/// delivery.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 some of the work failed, and standard error or the output lists it; 2 wrong \
                  usage, which includes an input that cannot be read or is not of the kind it was said to be; 130 \
                  interrupted. A signal is the usual end of a command that follows a stream (tail, simulate \
                  --stream), so it is no interruption there: these exit with 0, or with 1 if it killed invocations."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Reads the command line, or ends with its error.
    pub(crate) fn read() -> Self {
        let mut command = help::prepare(Args::command());
        let parsed = command.try_get_matches_from_mut(env::args_os());
        let args = parsed.and_then(|mut matches| {
            Args::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
        });
        args.unwrap_or_else(|mut error| {
            if !error.use_stderr() {
                let text = help::printed(&error.render().ansi().to_string());
                // `| head` has seen enough.
                let _ = anstream::stdout().write_all(text.as_bytes());
                process::exit(error.exit_code());
            }
            if let Some(argument) = program_without_dashes(&error) {
                let tip = match is_scenario(&error, argument) {
                    true => format!("a scenario is named by an option: --scenario {argument}"),
                    false => format!("a program and its arguments go after --: -- {argument} …"),
                };
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            } else if lacks_target(&error) {
                let tip = "a program that is the function goes after --: -- target/debug/function";
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
            error.exit()
        })
    }
}

/// Returns the argument that may be a program to deliver events to.
fn program_without_dashes(error: &clap::Error) -> Option<&str> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return None };
    let is_program = error.kind() == ErrorKind::UnknownArgument
        && !argument.starts_with('-')
        && usage.to_string().contains("COMMAND");
    is_program.then_some(argument.as_str())
}

/// Returns whether the argument is rather the scenario of a simulation.
fn is_scenario(error: &clap::Error, argument: &str) -> bool {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return false };
    usage.to_string().contains("--scenario") && argument.ends_with(".json")
}

/// Returns whether it was not said where events go, such as by a program that was taken for an input.
fn lacks_target(error: &clap::Error) -> bool {
    let is_target = |argument: &String| argument.contains("COMMAND");
    error.kind() == ErrorKind::MissingRequiredArgument
        && matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::Strings(missing)) if missing.iter().any(is_target))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(InspectArgs),
    Tail(TailArgs),
    Aggregate(AggregateArgs),
    New(NewArgs),
    Invoke(InvokeArgs),
    Simulate(SimulateArgs),
    Put(PutArgs),
    Redrive(RedriveArgs),
    Replay(ReplayArgs),
    Quarantine(QuarantineArgs),
    Journal(JournalArgs),
    Checkpoint(CheckpointArgs),
    /// Disables the event source mappings of a function on a stream, which keeps their position.
    ///
    /// For an outage of what the function needs: while a mapping is disabled, records wait in the stream, and no retries are used
    /// up. Resume before they are too old.
    #[command(after_long_help = pause::PAUSE_HELP)]
    Pause(MappingsArgs),
    /// Enables the event source mappings of a function on a stream; they continue at their position.
    #[command(after_long_help = pause::RESUME_HELP)]
    Resume(MappingsArgs),
    Doctor(DoctorArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

impl Command {
    /// Whether nothing but the output comes of it, so that whoever reads only a part of that has what they want.
    pub(crate) fn only_shows(&self) -> bool {
        match self {
            Command::Inspect(_)
            | Command::Tail(_)
            | Command::Aggregate(_)
            | Command::Completions(_)
            | Command::Man(_) => true,
            // In virtual time nothing comes of it, either.
            Command::Simulate(args) => args.stream.is_none(),
            Command::Quarantine(args) => {
                matches!(args.command, QuarantineCommand::List(_) | QuarantineCommand::Show(_))
            }
            Command::Journal(args) => matches!(args.command, JournalCommand::List(_)),
            Command::Checkpoint(args) => {
                matches!(args.command, CheckpointCommand::Status(_) | CheckpointCommand::Export(_))
            }
            // Their exit code is a result, too.
            Command::New(_) | Command::Doctor(_) | Command::Invoke(_) => false,
            Command::Put(_)
            | Command::Redrive(_)
            | Command::Replay(_)
            | Command::Pause(_)
            | Command::Resume(_) => false,
        }
    }
}

/// Shows the user records that Kinesis records hold.
///
/// Reads a Lambda event (also of EventBridge Pipes, Firehose or Kinesis Data Analytics), the output of `aws kinesis
/// get-records`, messages of the MultiLangDaemon, failure records with their payload, also inside SQS and SNS events or
/// `aws sqs receive-message` output, base64, the data of one record, or a stream. Deaggregates aggregated records, except
/// where Lambda (for an enhanced fan-out consumer), Firehose or the KCL has done it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
POSITION is SHARD/SEQUENCE-NUMBER:SUB, which is unique in a stream, and which --at, --from, replay and quarantine take. In a \
terminal that is too narrow, a row has several lines, and keys and payloads are cut; in a file or pipe, rows are whole. \
Binary payloads are shown as 0x and their bytes; SIZE is that of the whole payload, in bytes. A record that begins as an \
aggregated one, but has another checksum, is a plain record; standard error counts such checksum mismatches.

JSON is one line for each user record, complete: sequenceNumber, subSequenceNumber, aggregated, partitionKey, \
explicitHashKey, data (base64), shardId, approximateArrivalTimestamp (seconds since 1970). Values that the input does \
not contain are null. A record that cannot be read, or an aggregated record that is invalid, is one line too, which also \
has the member `invalid`, the reason. A key of more than 1,024 bytes is shortened to its first 64 characters, unless \
--full-keys is given, and its line has partitionKeyBytes or explicitHashKeyBytes, the length of the key: every user \
record of an aggregate may have the same key of up to 10 MB.

Exit codes:
  0  done
  1  some records are invalid; they are marked in the output, all others are shown
  2  wrong usage; the input cannot be read or is not of the kind that --input says
  130  interrupted: a part of the stream was shown

Examples:
  kinesis-kit inspect event.json
  kinesis-kit inspect --stream orders --from 10m --count 20
  kinesis-kit inspect --stream orders \\
    --at shardId-000000000000/49590338271490256608559692538361571095921575989136588898:3
  aws kinesis get-records --shard-iterator \"$ITERATOR\" | kinesis-kit inspect
  kinesis-kit inspect --format json event.json | jq -r 'select(.data) | .data | @base64d'
  echo 84mawgoBaxoHCAAaA29uZRoHCAAaA3R3b0s8vQwjbuq1OM6wBLyAHeA= | kinesis-kit inspect")]
pub(crate) struct InspectArgs {
    /// Input file; `-` is standard input
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// Output format for the user records
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Format of payloads in the table
    #[arg(long, value_enum, default_value_t)]
    pub(crate) data: DataStyle,
    /// Write keys of more than 1,024 bytes whole into the JSON
    #[arg(long)]
    pub(crate) full_keys: bool,
    /// Kind of the input
    #[arg(long, value_enum, default_value_t)]
    pub(crate) input: InputKind,
    /// Read this stream, by its name or ARN, from its oldest record to its newest
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["file", "input"],
        help_heading = "Options for a stream"
    )]
    pub(crate) stream: Option<StreamName>,
    /// Show only this Kinesis record, or with :SUB this user record: SHARD/SEQUENCE-NUMBER or SHARD/SEQUENCE-NUMBER:SUB
    #[arg(long, value_name = "POSITION", conflicts_with_all = ["from", "count"])]
    pub(crate) at: Option<RecordPosition>,
    #[command(flatten)]
    pub(crate) look: LookArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    #[default]
    Table,
    /// JSON for programs
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum InputKind {
    /// The first kind that fits; standard error names it
    #[default]
    Auto,
    /// A Lambda event: JSON whose Records have a member `kinesis`, or the array that EventBridge Pipes delivers
    Event,
    /// JSON whose records have SequenceNumber, Data, PartitionKey: the output of `aws kinesis get-records`
    Records,
    /// The data of records in base64, separated by tabs; line breaks inside a record are ignored
    Base64,
    /// The data of one record, unchanged
    Raw,
}

/// Packs user records into aggregated records, as the Kinesis Producer Library does.
///
/// Reads JSON lines with the members `partitionKey`, `data` (base64) or `text`, and optionally `explicitHashKey`. What
/// `inspect --format json` prints is taken too; the positions and times in it are ignored, blank lines as well.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A user record that shares its Kinesis record with no other is not aggregated, as in the Kinesis Producer Library. In an \
event it then has no explicit hash key, because Kinesis does not return it.

An event of more than the 6,291,456 bytes that Lambda delivers at once is written with a warning: tools that run \
functions locally have no such limit. The options for the event have fixed defaults, so that the same input gives \
the same event.

--output put-records writes one request a line, each with at most 500 records and 5 MiB of data and partition keys; \
a larger record has a request of its own. It is meant for version 2 of the AWS CLI. Without --stream-arn, name the \
stream on the command line.

Exit codes:
  0  done
  1  some lines are wrong; standard error lists them, and nothing was written
  2  wrong usage, or the input cannot be read

Examples:
  echo '{\"partitionKey\":\"k\",\"text\":\"hello\"}' | kinesis-kit aggregate
  kinesis-kit aggregate --key customerId payloads.jsonl > event.json
  kinesis-kit aggregate --compress gzip orders.jsonl | kinesis-kit invoke -- target/debug/function
  kinesis-kit aggregate orders.jsonl --arrival \"$(date +%s)\" > event.json
  kinesis-kit aggregate orders.jsonl --output put-records > request.json
  aws kinesis put-records --stream-name orders --cli-input-json file://request.json
  kinesis-kit inspect --format json event.json | kinesis-kit aggregate --group-by partition-key")]
pub(crate) struct AggregateArgs {
    /// Input file; `-` is standard input
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// Take each line as the JSON payload of a user record, with its partition key in this field: a name, or a JSON pointer
    /// such as /customer/id
    #[arg(long, value_name = "FIELD")]
    pub(crate) key: Option<KeyField>,
    /// Compress the payload of each user record
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) compress: Option<PayloadCompression>,
    /// Kind of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// User records that may share an aggregated record
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    pub(crate) group_by: GroupBy,
    /// Largest Kinesis record, data and partition key together: 1 MiB for every stream, up to 10 MiB for some
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "1048576",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_SIZE_LIMIT_BYTES as u64)
    )]
    pub(crate) size_limit: usize,
    /// The stream; an event without it is of arn:aws:kinesis:us-east-1:123456789012:stream/example
    #[arg(long, value_name = "ARN")]
    pub(crate) stream_arn: Option<StreamArn>,
    #[command(flatten, next_help_heading = "Options for --output event")]
    pub(crate) event: EventArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EventArgs {
    /// The shard of all records
    #[arg(long, value_name = "ID", default_value = "shardId-000000000000", value_parser = shard_id)]
    pub(crate) shard_id: String,
    /// Sequence number of the first Kinesis record; each next one is larger by one
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "49590338271490256608559692538361571095921575989136588898"
    )]
    pub(crate) first_sequence_number: SequenceNumber,
    /// When the stream received the records: seconds since 1970, ISO 8601 with a time zone, or a duration ago (10m)
    #[arg(long, value_name = "TIME", default_value = "2018-12-17T22:10:50.987Z", value_parser = time_argument)]
    pub(crate) arrival: Arrival,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// A Lambda event
    #[default]
    Event,
    /// Requests for `aws kinesis put-records --cli-input-json`, one a line
    PutRecords,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum GroupBy {
    /// All: the stream has one shard
    #[default]
    Shard,
    /// Those with the same partition key and explicit hash key
    PartitionKey,
}

/// An event ID is the shard ID, a colon and the sequence number.
fn shard_id(text: &str) -> Result<String, &'static str> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_legal) {
        Ok(text.to_owned())
    } else {
        Err("expected letters, digits, '_', '.' and '-', as in shardId-000000000000")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
