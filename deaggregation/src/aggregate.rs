use std::collections::HashMap;

use thiserror::Error;

use crate::{
    HashKeyRange, PutEntry, UserRecordInput,
    batch::{Group, OpenAggregate},
    hash_key,
};

/// The largest Kinesis record that any stream takes: 10 MiB, data and partition key together.
pub const MAX_SIZE_LIMIT_BYTES: usize = 10 * 1024 * 1024;

/// The largest Kinesis record that every stream takes: 1 MiB, data and partition key together.
const DEFAULT_SIZE_LIMIT_BYTES: usize = 1024 * 1024;

/// Longest partition key that Kinesis takes, in Unicode code points.
const MAX_PARTITION_KEY_CHARS: usize = 256;

/// A rule for user records that may share a Kinesis record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Grouping {
    /// Those with the same partition key (and explicit hash key). They share a shard whatever the stream looks like.
    #[default]
    PartitionKey,
    /// Those whose effective hash keys lie in the same one of these ranges: the open shards of the stream.
    ShardRanges(Vec<HashKeyRange>),
}

/// The options of an [`Aggregator`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregatorOptions {
    /// Largest Kinesis record in bytes, data and partition key together, as Kinesis counts. Default 1 MiB, at most
    /// [`MAX_SIZE_LIMIT_BYTES`].
    pub size_limit_bytes: usize,
    /// Rule for user records that may share a Kinesis record. By default those with the same partition key do.
    pub grouping: Grouping,
}

impl Default for AggregatorOptions {
    fn default() -> Self {
        AggregatorOptions { size_limit_bytes: DEFAULT_SIZE_LIMIT_BYTES, grouping: Grouping::default() }
    }
}

/// Why the aggregator refused its options or a user record. A refused user record has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AggregateError {
    /// The size limit is above what Kinesis takes.
    #[error("size limit of {limit} bytes is above {MAX_SIZE_LIMIT_BYTES} bytes")]
    SizeLimit {
        /// The limit that was asked for, in bytes.
        limit: usize,
    },
    /// The user record is larger than the size limit, even alone.
    #[error("user record of {size} bytes (data and partition key) exceeds the limit of {limit} bytes")]
    UserRecordTooLarge {
        /// Length of data and partition key, in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The partition key is empty or too long for Kinesis.
    #[error("partition key has {chars} characters, not 1 to {MAX_PARTITION_KEY_CHARS}")]
    PartitionKeyLength {
        /// Number of Unicode code points.
        chars: usize,
    },
    /// The explicit hash key is not a hash key.
    #[error("explicit hash key {text:?} is not a decimal number below 2^128")]
    ExplicitHashKey {
        /// The explicit hash key as it was given.
        text: String,
    },
    /// No shard's range holds the user record.
    #[error("no shard range holds hash key {hash_key}")]
    NoShard {
        /// The user record's effective hash key.
        hash_key: u128,
    },
}

/// Packs user records into Kinesis records.
///
/// One Kinesis record is open for each group ([`Grouping`]). A user record that no longer fits closes it, and
/// [`add`](Self::add) returns it; what is open at the end comes from [`finish`](Self::finish). A Kinesis record with a
/// single user record is that record as it is, without framing, as the KPL does it. User records of one group stay in
/// order.
///
/// Sizes are exact: framing, key tables and the Kinesis record's own partition key count.
#[derive(Debug)]
pub struct Aggregator {
    size_limit_bytes: usize,
    grouping: Grouping,
    open: HashMap<Group, OpenAggregate>,
    /// Number of Kinesis records that were opened so far.
    opened: u64,
}

impl Default for Aggregator {
    fn default() -> Self {
        let AggregatorOptions { size_limit_bytes, grouping } = AggregatorOptions::default();
        Aggregator { size_limit_bytes, grouping, open: HashMap::new(), opened: 0 }
    }
}

impl Aggregator {
    /// An aggregator with these options.
    ///
    /// # Errors
    ///
    /// [`AggregateError::SizeLimit`].
    pub fn new(options: AggregatorOptions) -> Result<Self, AggregateError> {
        let AggregatorOptions { size_limit_bytes, mut grouping } = options;
        if size_limit_bytes > MAX_SIZE_LIMIT_BYTES {
            return Err(AggregateError::SizeLimit { limit: size_limit_bytes });
        }
        if let Grouping::ShardRanges(ranges) = &mut grouping {
            ranges.sort_unstable_by_key(HashKeyRange::start);
        }
        Ok(Aggregator { size_limit_bytes, grouping, open: HashMap::new(), opened: 0 })
    }

    /// Adds a user record. Returns the Kinesis record that this closed, if any: put it into the stream.
    ///
    /// # Errors
    ///
    /// Every [`AggregateError`] but `SizeLimit`; the user record is then not part of anything.
    pub fn add(&mut self, user_record: UserRecordInput<'_>) -> Result<Option<PutEntry>, AggregateError> {
        let hash_key = self.check(&user_record)?;
        let group = self.group_of(&user_record, hash_key)?;
        if let Some(batch) = self.open.get_mut(&group)
            && batch.size_with(&user_record) <= self.size_limit_bytes
        {
            batch.push(&user_record);
            return Ok(None);
        }
        let mut batch = OpenAggregate::new(&group, self.opened, hash_key);
        batch.push(&user_record);
        self.opened += 1;
        Ok(self.open.insert(group, batch).map(OpenAggregate::close))
    }

    /// Closes all that is open, in the order in which it was opened, and starts anew.
    pub fn finish(&mut self) -> Vec<PutEntry> {
        let mut batches: Vec<OpenAggregate> = self.open.drain().map(|(_, batch)| batch).collect();
        batches.sort_unstable_by_key(OpenAggregate::number);
        batches.into_iter().map(OpenAggregate::close).collect()
    }

    /// Returns the effective hash key of a user record that Kinesis would take.
    fn check(&self, user_record: &UserRecordInput<'_>) -> Result<u128, AggregateError> {
        let chars = user_record.partition_key.chars().count();
        if chars == 0 || chars > MAX_PARTITION_KEY_CHARS {
            return Err(AggregateError::PartitionKeyLength { chars });
        }
        let size = user_record.data.len() + user_record.partition_key.len();
        if size > self.size_limit_bytes {
            return Err(AggregateError::UserRecordTooLarge { size, limit: self.size_limit_bytes });
        }
        match user_record.explicit_hash_key {
            Some(text) => hash_key::parse(text.as_bytes())
                .ok_or_else(|| AggregateError::ExplicitHashKey { text: text.to_owned() }),
            None => Ok(hash_key::of_partition_key(user_record.partition_key.as_bytes())),
        }
    }

    fn group_of(&self, user_record: &UserRecordInput<'_>, hash_key: u128) -> Result<Group, AggregateError> {
        match &self.grouping {
            Grouping::PartitionKey => Ok(Group::PartitionKey(
                user_record.partition_key.to_owned(),
                user_record.explicit_hash_key.map(str::to_owned),
            )),
            Grouping::ShardRanges(ranges) => {
                let above = ranges.partition_point(|range| range.start() <= hash_key);
                let candidate = above.checked_sub(1).filter(|&position| ranges[position].contains(hash_key));
                candidate.map(Group::Shard).ok_or(AggregateError::NoShard { hash_key })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aggregator(size_limit_bytes: usize) -> Aggregator {
        let grouping = Grouping::ShardRanges(vec![HashKeyRange::FULL]);
        Aggregator::new(AggregatorOptions { size_limit_bytes, grouping }).expect("a size limit below 10 MiB")
    }

    #[test]
    fn one_user_record_alone_is_put_as_it_is() {
        let mut aggregator = aggregator(1000);
        let user_record =
            UserRecordInput { explicit_hash_key: Some("5"), ..UserRecordInput::new("key", "data") };
        assert_eq!(aggregator.add(user_record), Ok(None));
        assert_eq!(
            aggregator.finish(),
            [PutEntry {
                partition_key: "key".into(),
                explicit_hash_key: Some("5".into()),
                data: b"data".to_vec(),
                user_records: 1,
            }]
        );
        assert_eq!(aggregator.finish(), []);
    }

    #[test]
    fn the_limit_is_met_to_the_byte() {
        let frame_of = |limit| {
            let mut aggregator = aggregator(limit);
            let first = aggregator.add(UserRecordInput::new("ключ", "0123456789")).expect("fits");
            let second = aggregator.add(UserRecordInput::new("ключ", "0123456789")).expect("fits");
            (first, second, aggregator.finish())
        };
        // 20 framing, 2 + 8 key table, 2 × (2 + 2 + 2 + 10) user records, 1 partition key "a"
        let exact = 20 + 10 + 32 + 1;
        let (first, second, last) = frame_of(exact);
        assert_eq!((first, second), (None, None));
        assert_eq!((last.len(), last[0].data.len(), last[0].user_records), (1, exact - 1, 2));

        let (first, second, last) = frame_of(exact - 1);
        assert_eq!(first, None);
        assert_eq!(second.map(|closed| closed.user_records), Some(1));
        assert_eq!(last[0].user_records, 1);
    }

    #[test]
    fn a_record_that_fits_only_without_framing_is_put_as_it_is() {
        let mut aggregator = aggregator(14);
        assert_eq!(aggregator.add(UserRecordInput::new("key", "0123456789 ")), Ok(None));
        assert_eq!(aggregator.finish()[0].data, b"0123456789 ");
    }

    #[track_caller]
    fn check_refused(user_record: UserRecordInput<'_>, expected: &str) {
        let mut aggregator = aggregator(300);
        assert_eq!(aggregator.add(user_record).map_err(|error| error.to_string()), Err(expected.to_owned()));
        assert_eq!(aggregator.finish(), []);
    }

    #[test]
    fn what_kinesis_would_refuse_is_refused() {
        check_refused(
            UserRecordInput::new("key", &[0; 298]),
            "user record of 301 bytes (data and partition key) exceeds the limit of 300 bytes",
        );
        check_refused(UserRecordInput::new("", "x"), "partition key has 0 characters, not 1 to 256");
        check_refused(
            UserRecordInput::new(&"é".repeat(257), "x"),
            "partition key has 257 characters, not 1 to 256",
        );
        check_refused(
            UserRecordInput { explicit_hash_key: Some("-1"), ..UserRecordInput::new("key", "x") },
            "explicit hash key \"-1\" is not a decimal number below 2^128",
        );
        let too_large =
            AggregatorOptions { size_limit_bytes: MAX_SIZE_LIMIT_BYTES + 1, ..Default::default() };
        assert_eq!(
            Aggregator::new(too_large).map(drop).map_err(|error| error.to_string()),
            Err("size limit of 10485761 bytes is above 10485760 bytes".into())
        );
    }

    #[test]
    fn the_longest_partition_key_is_taken() {
        assert_eq!(aggregator(2000).add(UserRecordInput::new(&"🫖".repeat(256), "x")), Ok(None));
    }

    #[test]
    fn sizes_stay_exact_with_many_keys() {
        // Indices of up to three bytes.
        let keys: Vec<(String, String)> =
            (0..20_000).map(|number| (format!("key-{number}"), number.to_string())).collect();
        let add_all = |limit| {
            let mut aggregator = aggregator(limit);
            let add = |(partition_key, hash_key): &(String, String)| {
                let explicit_hash_key = Some(hash_key.as_str());
                aggregator
                    .add(UserRecordInput { explicit_hash_key, ..UserRecordInput::new(partition_key, "x") })
            };
            let mut kinesis_records: Vec<_> =
                keys.iter().map(add).filter_map(|result| result.expect("a small record")).collect();
            kinesis_records.extend(aggregator.finish());
            kinesis_records
        };
        let whole = add_all(MAX_SIZE_LIMIT_BYTES);
        let size = whole[0].data.len() + whole[0].partition_key.len();
        assert_eq!(add_all(size), whole);
        let user_records: Vec<_> = add_all(size - 1).iter().map(|record| record.user_records).collect();
        assert_eq!(user_records, [19_999, 1]);
    }

    #[test]
    fn the_default_limit_is_what_every_stream_takes() {
        assert_eq!(AggregatorOptions::default().size_limit_bytes, 1_048_576);
    }

    #[test]
    fn groups_by_partition_key_and_explicit_hash_key() {
        let mut aggregator = Aggregator::default();
        for (partition_key, explicit_hash_key) in [("a", None), ("b", None), ("a", None), ("a", Some("1"))] {
            let user_record =
                UserRecordInput { explicit_hash_key, ..UserRecordInput::new(partition_key, "x") };
            assert_eq!(aggregator.add(user_record), Ok(None));
        }
        let groups: Vec<_> = aggregator
            .finish()
            .into_iter()
            .map(|record| (record.partition_key, record.explicit_hash_key, record.user_records))
            .collect();
        assert_eq!(
            groups,
            [("a".to_owned(), None, 2), ("b".to_owned(), None, 1), ("a".to_owned(), Some("1".to_owned()), 1)]
        );
    }

    #[test]
    fn groups_by_shard_and_routes_by_the_first_hash_key() {
        let range = |start, end| HashKeyRange::new(start, end).expect("in order");
        // Deliberately not in order, and with a gap from 20 to 29.
        let grouping = Grouping::ShardRanges(vec![range(30, u128::MAX), range(0, 9), range(10, 19)]);
        let mut aggregator =
            Aggregator::new(AggregatorOptions { grouping, ..Default::default() }).expect("default limit");
        let mut add = |hash_key: &str| {
            aggregator
                .add(UserRecordInput { explicit_hash_key: Some(hash_key), ..UserRecordInput::new("k", "x") })
        };
        for hash_key in ["19", "3", "10", "9", "30"] {
            assert_eq!(add(hash_key), Ok(None));
        }
        assert_eq!(
            add("25").map_err(|error| error.to_string()),
            Err("no shard range holds hash key 25".into())
        );
        let groups: Vec<_> = aggregator
            .finish()
            .into_iter()
            .map(|record| (record.partition_key, record.explicit_hash_key, record.user_records))
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            groups,
            [
                ("a".to_owned(), some("19"), 2),
                ("a".to_owned(), some("3"), 2),
                ("k".to_owned(), some("30"), 1)
            ]
        );
    }
}
