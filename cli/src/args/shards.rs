use crate::{journal_table::ShardFilter, stream::name::StreamName};

// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct ShardArgs {
    /// Select this application, by its name in KINESIS_HANDLER_APPLICATION
    #[arg(long, value_name = "NAME", help_heading = "Which shards")]
    application: Option<String>,
    /// Select this stream, by its name or ARN
    #[arg(long, value_name = "NAME", help_heading = "Which shards")]
    stream: Option<StreamName>,
    /// Select this shard, such as shardId-000000000000
    #[arg(long, value_name = "ID", help_heading = "Which shards")]
    shard: Option<String>,
}

impl ShardArgs {
    pub(crate) fn filter(&self) -> ShardFilter {
        ShardFilter {
            application: self.application.clone(),
            stream: self.stream.clone(),
            shard_id: self.shard.clone(),
        }
    }
}
