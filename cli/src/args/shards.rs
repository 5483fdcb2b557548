use crate::{journal_table::ShardFilter, stream_name::StreamName};

// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct ShardArgs {
    /// Only of this application, by the name that the function has in KINESIS_HANDLER_APPLICATION
    #[arg(long, value_name = "NAME", help_heading = "Which shards")]
    application: Option<String>,
    /// Only of this stream, by its name or ARN
    #[arg(long, value_name = "NAME", help_heading = "Which shards")]
    stream: Option<StreamName>,
    /// Only of this shard, such as shardId-000000000000
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
