use std::path::PathBuf;

use super::{InputKind, KeyField, TargetArgs};

/// Invokes a function with an event, and explains what its response means for the event source mapping.
///
/// Takes a Lambda event, which the function gets unchanged, or any input of `inspect` and `aggregate`: the output of `aws
/// kinesis get-records`, JSON lines, the data of one record. These become records of an event.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct InvokeArgs {
    /// Input files, each for an invocation of its own, in this order; `-` is standard input
    #[arg(value_name = "EVENT", default_value = "-")]
    pub(crate) files: Vec<PathBuf>,
    /// Kind of the input
    #[arg(long, value_enum, default_value_t)]
    pub(crate) input: InputKind,
    /// Take each line as the JSON payload of a user record, with its partition key in this field: a name, or a JSON pointer
    /// such as /customer/id
    #[arg(long, value_name = "FIELD", conflicts_with = "input")]
    pub(crate) key: Option<KeyField>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

const AFTER_HELP: &str = "\
Standard output gets the response of each invocation, standard error the function's log and the meaning of the response: \
which records are processed, from which one the mapping retries, and what it discards when its attempts or the records' \
age are used up. The meaning is that of a mapping with FunctionResponseTypes: [ReportBatchItemFailures]. Without that \
setting, Lambda takes every response for a success. For an event of a tumbling window it says whether the state of the response is \
carried on, and whether the window ends.

All events go to the same process of COMMAND, as to a warm environment. To see a retry, name a file twice.

A record of an input that is no Lambda event gets what it lacks: sequence numbers count up from \
49590338271490256608559692538361571095921575989136588898, shard shardId-000000000000, arrival now, stream \
arn:aws:kinesis:us-east-1:123456789012:stream/example.

Exit codes:
  0    all records of all events are processed
  1    some are not, the function failed, or its response says nothing about the batch
  2    wrong usage; an input cannot be read; the function cannot be invoked, or COMMAND ends before it asks for its \
first event
  130  interrupted

Examples:
  kinesis-kit invoke event.json -- target/debug/function
  kinesis-kit invoke event.json --quiet -- target/debug/function
  kinesis-kit invoke event.json --log function.log -- target/debug/function
  kinesis-kit invoke first.json second.json --env KINESIS_HANDLER_INVALID_AGGREGATE=skip -- target/debug/function
  echo '{\"partitionKey\":\"k\",\"text\":\"hello\"}' | kinesis-kit invoke -- target/debug/function
  kinesis-kit invoke payloads.jsonl --key customer -- target/debug/function
  kinesis-kit aggregate orders.jsonl | kinesis-kit invoke --function orders
  aws kinesis get-records --shard-iterator \"$ITERATOR\" | kinesis-kit invoke --function orders";
