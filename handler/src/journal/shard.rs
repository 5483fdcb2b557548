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

impl<'a> JournalShard<'a> {
    /// Reads a partition key. `None` if it is none of the journal's.
    pub fn parse(partition_key: &'a str) -> Option<Self> {
        let mut parts = partition_key.split('#');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(application), Some(stream_arn), Some(shard_id), None) => {
                Some(JournalShard { application, stream_arn, shard_id })
            }
            _ => None,
        }
    }
}

/// The partition key: `application#stream ARN#shard ID`.
impl fmt::Display for JournalShard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}#{}", self.application, self.stream_arn, self.shard_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_key_reads_back() {
        let stream_arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s";
        let shard = JournalShard { application: "orders", stream_arn, shard_id: "shardId-000000000000" };
        assert_eq!(JournalShard::parse(&shard.to_string()), Some(shard));
        for key in ["", "a#b", "a#b#c#d"] {
            assert_eq!(JournalShard::parse(key), None, "{key}");
        }
    }
}
