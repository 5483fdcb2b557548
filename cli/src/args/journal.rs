use clap::{Subcommand, ValueEnum, builder::RangedU64ValueParser};

use super::{CreateTableArgs, Format, TableArgs};

/// Creates the table of a retry journal, and lists and deletes its entries: of Kinesis records that were processed in part, have failed, or were
/// discarded.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A Kinesis record with an entry is retried by the mapping (kind retry), or was discarded by it (kind discarded, or stranded): \
`kinesis-kit redrive --discarded` redelivers discarded records. To have processed user records processed again, clear their \
entries first: otherwise the handler skips them.

The function sees a discarded record when a later batch of its shard arrives. After the last record of a shard none \
arrives, so its entry stays one of kind retry. It is shown as stranded if the record is older than the mapping's maximum \
record age by three hours (--max-age, or --mapping-of), or if the shard is closed and nothing has written the entry for \
three hours, unless the mapping is known to retry without a limit. Three hours are twice the longest timeout of a \
function, that of Managed Instances.

An item that cannot be read is listed with its keys, pk and sk: `journal clear --item PK SK --yes` deletes it.

Without an application, a stream given by its ARN and a shard, the table is scanned for its shards, which costs as \
much as reading all of it; with them, only that shard is queried.

Permissions: dynamodb:Query, and Scan; for clear DeleteItem; kinesis:ListShards if an entry was not written for three \
hours; lambda:ListEventSourceMappings and kinesis:ListStreamConsumers for --mapping-of.

Exit codes:
  0  done
  1  some entries or shards could not be read or deleted, or nothing was deleted because --yes was missing
  2  wrong usage; the table cannot be used

Examples:
  kinesis-kit journal list --table orders-journal
  kinesis-kit journal list --table orders-journal --kind discarded --format json
  kinesis-kit journal clear --table orders-journal --application orders --stream orders --yes")]
pub(crate) struct JournalArgs {
    #[command(subcommand)]
    pub(crate) command: JournalCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    List(JournalListArgs),
    Clear(JournalClearArgs),
    Create(JournalCreateArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The mapping will retry the Kinesis record
    Retry,
    /// The mapping no longer retries the Kinesis record, and the function has not noticed
    Stranded,
    /// The mapping has discarded the Kinesis record
    Discarded,
    /// Entries of all kinds
    All,
}

/// Lists the entries of Kinesis records.
#[derive(Debug, clap::Args)]
pub(crate) struct JournalListArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// Kind of the entries
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) kind: Kind,
    #[command(flatten)]
    pub(crate) retries: RetriesArgs,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Deletes the entries of Kinesis records, which are then processed from their start when they are delivered again.
#[derive(Debug, clap::Args)]
pub(crate) struct JournalClearArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// Kind of the entries
    #[arg(long, value_enum, default_value = "retry")]
    pub(crate) kind: Kind,
    #[command(flatten)]
    pub(crate) retries: RetriesArgs,
    #[command(flatten)]
    pub(crate) item: ItemArgs,
    /// Delete the entries; without it, they are only listed
    #[arg(long)]
    pub(crate) yes: bool,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Creates the table of a retry journal and its quarantine, as the template does.
///
/// The keys are pk and sk, and items expire at expiresAt. The table is billed on demand, encrypted with KMS, and has
/// point-in-time recovery and deletion protection.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Waits until the table can be used. A table that exists and has all of this is left as it is, and the command succeeds. \
If it lacks only time to live or point-in-time recovery, as after an interrupted run, that is switched on; with other differences, they are \
listed and nothing is changed.

Permissions: dynamodb:DescribeTable, CreateTable, TagResource, DescribeTimeToLive, UpdateTimeToLive, \
DescribeContinuousBackups, UpdateContinuousBackups.

Exit codes:
  0  the table can be used
  1  the table did not become active in five minutes
  2  wrong usage; the table exists and differs; it cannot be created

Examples:
  kinesis-kit journal create --table orders-journal
  kinesis-kit journal create --table orders-journal --tag team=orders")]
pub(crate) struct JournalCreateArgs {
    #[command(flatten)]
    pub(crate) create: CreateTableArgs,
}

// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct RetriesArgs {
    /// The mapping's MaximumRecordAgeInSeconds: it no longer retries records that are older
    #[arg(long, value_name = "SECONDS", value_parser = max_age())]
    pub(crate) max_age: Option<u64>,
    /// Read the maximum record age from the event source mappings of this function, of its versions and its aliases
    #[arg(long, value_name = "FUNCTION", conflicts_with = "max_age")]
    pub(crate) mapping_of: Option<String>,
}

/// The range of MaximumRecordAgeInSeconds.
///
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
pub(crate) fn max_age() -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(60..=604_800)
}

// As above.
#[derive(Debug, clap::Args)]
pub(crate) struct ItemArgs {
    /// Delete one item that cannot be read, by its keys as `journal list` and `quarantine list` show them
    #[arg(long, num_args = 2, value_names = ["PK", "SK"], conflicts_with_all = ["kind", "max_age", "mapping_of"])]
    item: Vec<String>,
}

/// The key of an item.
#[derive(Debug)]
pub(crate) struct ItemKeyArgs {
    pub(crate) partition_key: String,
    pub(crate) sort_key: String,
}

impl ItemArgs {
    pub(crate) fn key(&self) -> Option<ItemKeyArgs> {
        let [partition_key, sort_key] = self.item.as_slice() else { return None };
        Some(ItemKeyArgs { partition_key: partition_key.clone(), sort_key: sort_key.clone() })
    }
}
