use std::fmt;

/// Whose records of which shard: all keys of the journal begin with it. Two applications never see each other's items,
/// and shard IDs are the same in every stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalShard<'a> {
    /// Who processes the stream. Without `#`, which separates the parts of a key.
    pub application: &'a str,
    /// ARN of the stream, also on an enhanced fan-out consumer.
    pub stream_arn: &'a str,
    /// The shard, such as `shardId-000000000000`.
    pub shard_id: &'a str,
}

/// The partition key: `application#stream ARN#shard ID`.
impl fmt::Display for JournalShard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}#{}", self.application, self.stream_arn, self.shard_id)
    }
}
