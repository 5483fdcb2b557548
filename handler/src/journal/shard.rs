use std::fmt;

use super::JournalError;

/// Length of a wrong name in an error, in characters.
const SHOWN_CHARS: usize = 80;

/// The application and shard of records: all keys of the journal begin with it. Two applications never see each other's items,
/// and shard IDs are the same in every stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalShard<'a> {
    /// Application that processes the stream. Without `#`, which separates the parts of a key.
    pub application: &'a str,
    /// ARN of the stream, also on an enhanced fan-out consumer.
    pub stream_arn: &'a str,
    /// The shard, such as `shardId-000000000000`.
    pub shard_id: &'a str,
}

impl<'a> JournalShard<'a> {
    /// A shard whose names are parts of a key.
    ///
    /// # Errors
    ///
    /// [`JournalError::NoShard`] if a name is missing, [`JournalError::ShardName`] if it is empty, or holds a `#` or a
    /// control character: no tool would find what is stored under its key.
    pub fn new(
        application: &'a str,
        stream_arn: Option<&'a str>,
        shard_id: Option<&'a str>,
    ) -> Result<Self, JournalError> {
        let (Some(stream_arn), Some(shard_id)) = (stream_arn, shard_id) else {
            return Err(JournalError::NoShard);
        };
        let names = [("application", application), ("stream ARN", stream_arn), ("shard ID", shard_id)];
        for (what, name) in names {
            if name.is_empty() || name.contains('#') || name.contains(char::is_control) {
                let found = name.chars().take(SHOWN_CHARS).collect();
                return Err(JournalError::ShardName { what, found });
            }
        }
        Ok(JournalShard { application, stream_arn, shard_id })
    }

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
    fn a_name_that_is_no_part_of_a_key_is_refused() {
        let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s";
        for (application, stream_arn, shard_id, expected) in [
            ("a", None, Some("s"), "the event does not name its stream and shard"),
            ("a", Some(arn), None, "the event does not name its stream and shard"),
            (
                "a",
                Some(arn),
                Some("s#1"),
                r##"the shard ID "s#1" is empty, or holds "#" or a control character"##,
            ),
            (
                "a",
                Some(arn),
                Some("s\n"),
                r##"the shard ID "s\n" is empty, or holds "#" or a control character"##,
            ),
            (
                "a",
                Some("#"),
                Some("s"),
                r##"the stream ARN "#" is empty, or holds "#" or a control character"##,
            ),
            (
                "",
                Some(arn),
                Some("s"),
                r##"the application "" is empty, or holds "#" or a control character"##,
            ),
        ] {
            let error = JournalShard::new(application, stream_arn, shard_id).expect_err("a wrong name");
            assert_eq!(error.to_string(), expected);
        }
        let shard = JournalShard::new("a", Some(arn), Some("s")).expect("names");
        assert_eq!(JournalShard::parse(&shard.to_string()), Some(shard));
    }

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
