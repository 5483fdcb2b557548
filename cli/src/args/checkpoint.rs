use clap::Subcommand;

use super::CreateTableArgs;

/// Creates the table of a checkpoint mirror.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckpointArgs {
    #[command(subcommand)]
    pub(crate) command: CheckpointCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    Create(CheckpointCreateArgs),
}

/// Creates the table of a checkpoint mirror, as the template does.
///
/// The partition key is leaseKey, and the index LeaseOwnerToLeaseKeyIndex is the one that KCL 3 asks for. The table is billed
/// on demand, encrypted with KMS, and has point-in-time recovery and deletion protection.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Waits until the table can be used. A table that exists and has all of this is left as it is, and the command succeeds; \
otherwise the differences are listed and nothing is changed.

Permissions: dynamodb:DescribeTable, CreateTable, TagResource, DescribeContinuousBackups, UpdateContinuousBackups.

Exit codes:
  0  the table can be used
  1  the table did not become active in five minutes
  2  wrong usage; the table exists and differs; it cannot be created

Examples:
  kinesis-kit checkpoint create --table orders-checkpoints
  kinesis-kit checkpoint create --table orders-checkpoints --tag team=orders --key arn:aws:kms:eu-west-1:123456789012:key/…")]
pub(crate) struct CheckpointCreateArgs {
    #[command(flatten)]
    pub(crate) create: CreateTableArgs,
}
