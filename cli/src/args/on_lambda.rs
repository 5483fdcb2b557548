// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct OnLambdaArgs {
    /// Let Lambda replay the range, by a second event source mapping on an alias of --function: for a range that is too large for this
    /// machine
    #[arg(
        long,
        requires = "function",
        conflicts_with_all = ["events", "url", "command", "shards", "checkpoint_table", "skip_failed", "batch_size", "attempts",
            "concurrency", "reads_per_second"],
        help_heading = "A replay on Lambda"
    )]
    pub(crate) on_lambda: bool,
    /// On-failure destination of the second mapping: the ARN of an S3 bucket, an SQS queue or an SNS topic. By default the bucket of the
    /// live mapping, in which failure records have the mapping's ID in their keys
    #[arg(long, value_name = "ARN", requires = "on_lambda", help_heading = "A replay on Lambda")]
    pub(crate) on_failure: Option<String>,
    /// End the replay, whether it is complete or not: delete its mapping and its alias
    #[arg(long, requires = "on_lambda", conflicts_with_all = ["dry_run", "restart"], help_heading = "A replay on Lambda")]
    pub(crate) remove: bool,
    /// Time between two looks at the progress
    #[arg(
        long,
        value_name = "SECONDS",
        requires = "on_lambda",
        default_value_t = 15,
        value_parser = clap::value_parser!(u64).range(1..=3_600),
        help_heading = "A replay on Lambda"
    )]
    pub(crate) interval: u64,
    /// Duration of an invocation, for the estimate of --dry-run
    #[arg(
        long,
        value_name = "MILLISECONDS",
        requires = "on_lambda",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(1..=5_400_000),
        help_heading = "A replay on Lambda"
    )]
    pub(crate) invocation_ms: u64,
}
