use std::path::PathBuf;

use clap::{ValueEnum, builder::RangedU64ValueParser};
use kpl_deaggregation::MAX_SIZE_LIMIT_BYTES;

use super::{Format, GroupBy, KeyField};
use crate::{aws::object_prefix::ObjectPrefix, stream::name::StreamName};

/// The format in which payloads are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PayloadCompression {
    /// gzip, which most consumers read
    Gzip,
    /// zstd, at the level 1
    Zstd,
}

/// Puts user records into a stream.
///
/// Reads JSON lines as `aggregate` does: `partitionKey`, `data` (base64) or `text`, and optionally `explicitHashKey`.
/// The output of `inspect --format json` and files of --skip-failed are accepted, too.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct PutArgs {
    /// Input file; `-` is standard input
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// Take each line as the JSON payload of a user record, with its partition key in this field: a name, or a JSON pointer
    /// such as /customer/id
    #[arg(long, value_name = "FIELD")]
    pub(crate) key: Option<KeyField>,
    /// The stream, by its name or ARN
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: StreamName,
    /// Create the stream with so many shards if it does not exist, and wait until it is active
    #[arg(long, value_name = "SHARDS", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub(crate) create: Option<i32>,
    /// Compress the payload of each user record
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) compress: Option<PayloadCompression>,
    /// Put payloads above --large-above into S3, s3://BUCKET or s3://BUCKET/FOLDER, and a pointer to each into the stream, which
    /// the kit's handler fetches
    #[arg(long, value_name = "URI")]
    pub(crate) large_to: Option<ObjectPrefix>,
    /// With --large-to: the largest payload that is put into the stream, after --compress
    #[arg(
        long,
        value_name = "BYTES",
        requires = "large_to",
        default_value = "262144",
        value_parser = RangedU64ValueParser::<usize>::new()
    )]
    pub(crate) large_above: usize,
    /// Put each user record as a plain Kinesis record
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
    /// Output format for the Kinesis records that were put
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

const AFTER_HELP: &str = "\
User records are aggregated as the Kinesis Producer Library does: those of one shard share a Kinesis record until it is \
full, or until no line has arrived for 100 ms. A single user record is not aggregated.

Requests have at most 500 records and 5 MiB. Records that Kinesis rejects are put again, in a request of their own, until \
Kinesis accepts them; within such a request, the order of records with the same key may change. Memory is bounded, however long the input is: \
after 50,000 user records or 64 MiB, all user records that wait for others to share a Kinesis record are put.

With --large-to, a payload is in S3 before the pointer to it is put. A pointer is JSON with bucket, key, length and SHA-256: a \
function reads it with record.fetch(), if KINESIS_HANDLER_LARGE_PAYLOADS, or its option large_payloads, allows the object. \
The key is the SHA-256, so the same payload is stored once. Objects must outlive the stream's retention and the time in which failed records are redriven.

A run that ends early, because of a signal or an error, prints the line from which the input has to be put again; some \
of those lines may be in the stream already. There is no progress file: after `kill -9`, only the output shows what was \
put, so some of the input is put twice when it is resumed.

An invalid line is reported, and the others are put. The output has a line for each Kinesis record: the shard, its sequence \
number, how many user records it holds, and its size in bytes.

Permissions: kinesis:PutRecords, and ListShards unless --plain or --group-by partition-key; with --create CreateStream \
and DescribeStreamSummary; with --large-to s3:PutObject.

Exit codes:
  0    all lines were put
  1    some lines are invalid, or some records were refused; standard error lists them
  2    wrong usage; the stream cannot be used
  130  interrupted

Examples:
  echo '{\"partitionKey\":\"k\",\"text\":\"hello\"}' | kinesis-kit put --stream orders
  kinesis-kit put --stream orders --create 2 orders.jsonl
  kinesis-kit put --stream orders --key customerId payloads.jsonl
  kinesis-kit put --stream orders --compress gzip orders.jsonl
  kinesis-kit put --stream orders --large-to s3://orders-payloads/large orders.jsonl
  kinesis-kit inspect --format json event.json | kinesis-kit put --stream orders --plain";
