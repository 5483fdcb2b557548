use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use kpl_deaggregation::MAX_SIZE_LIMIT_BYTES;

use super::{Format, GroupBy};
use crate::stream_name::StreamName;

/// Puts user records into a stream.
///
/// Reads JSON lines as `aggregate` does: `partitionKey`, `data` (base64) or `text`, and optionally `explicitHashKey`.
/// What `inspect --format json` prints is taken, too.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct PutArgs {
    /// Input file; `-` is standard input
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// The stream, by its name or ARN
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: StreamName,
    /// Make the stream if it is not there, with so many shards, and wait until it takes records
    #[arg(long, value_name = "SHARDS", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub(crate) create: Option<i32>,
    /// Put each user record as a Kinesis record of its own
    #[arg(long, conflicts_with_all = ["group_by", "size_limit"])]
    pub(crate) plain: bool,
    /// User records that may share an aggregated record
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    pub(crate) group_by: GroupBy,
    /// Largest Kinesis record, data and partition key together
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "1048576",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_SIZE_LIMIT_BYTES as u64)
    )]
    pub(crate) size_limit: usize,
    /// Output format for the Kinesis records that the stream has taken
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

const AFTER_HELP: &str = "\
User records are aggregated as the Kinesis Producer Library does it: those of one shard share a record until that is \
full, or no line comes for a tenth of a second. A user record alone is put as it is.

Requests have at most 500 records and 5 MiB. Records that Kinesis did not take are put again, alone, for as long as it \
takes; within such a request, records of one key may change their order. Memory is bounded, however long the input is: \
after 50,000 user records or 64 MiB everything is put that still waits for others to share its Kinesis record.

A run that ends early, by a signal or an error, says from which line on the input is to be put again; some of those \
lines may be in the stream already. There is no progress file: of a run that was killed only the output tells what was \
put, so after `kill -9` the input cannot be resumed without putting some of it twice.

A wrong line is listed, and the others are put. The output has a line for each Kinesis record: the shard, its sequence \
number, how many user records it holds, and its size in bytes.

Permissions: kinesis:PutRecords, and ListShards unless --plain or --group-by partition-key; with --create CreateStream \
and DescribeStreamSummary.

Exit codes:
  0    all are put
  1    some lines are wrong, or some records were refused; standard error lists them
  2    wrong usage; the stream cannot be used
  130  interrupted

Examples:
  echo '{\"partitionKey\":\"k\",\"text\":\"hello\"}' | kinesis-kit put --stream orders
  kinesis-kit put --stream orders --create 2 orders.jsonl
  kinesis-kit inspect --format json event.json | kinesis-kit put --stream orders --plain";
