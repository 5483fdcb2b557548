//! A Kinesis record in the making, and its exact size.

use prost::{Message, length_delimiter_len};

use crate::{
    PutEntry, UserRecordInput, frame,
    key_table::KeyTable,
    message::{AggregatedRecord, Record},
};

/// The partition key that the KPL gives its aggregates; the explicit hash key decides about the shard.
const AGGREGATE_PARTITION_KEY: &str = "a";

/// The properties that the user records of a Kinesis record share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    PartitionKey(String, Option<String>),
    /// Position in the list of ranges.
    Shard(usize),
}

#[derive(Debug)]
pub(crate) struct OpenAggregate {
    /// Position among all that were opened.
    number: u64,
    partition_key: String,
    explicit_hash_key: Option<String>,
    message: AggregatedRecord,
    message_bytes: usize,
    partition_keys: KeyTable,
    explicit_hash_keys: KeyTable,
}

impl OpenAggregate {
    pub(crate) fn new(group: &Group, number: u64, first_hash_key: u128) -> Self {
        let (partition_key, explicit_hash_key) = match group {
            Group::PartitionKey(partition_key, explicit_hash_key) => {
                (partition_key.clone(), explicit_hash_key.clone())
            }
            Group::Shard(_) => (AGGREGATE_PARTITION_KEY.to_owned(), Some(first_hash_key.to_string())),
        };
        OpenAggregate {
            number,
            partition_key,
            explicit_hash_key,
            message: AggregatedRecord::default(),
            message_bytes: 0,
            partition_keys: KeyTable::default(),
            explicit_hash_keys: KeyTable::default(),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Size of the Kinesis record in bytes if this user record joined as the second or a later one.
    pub(crate) fn size_with(&self, user_record: &UserRecordInput<'_>) -> usize {
        self.partition_key.len() + frame::FRAMING_BYTES + self.message_bytes + self.added_bytes(user_record)
    }

    /// Returns the bytes that the user record adds to the encoded message: itself, and its keys where they are new.
    fn added_bytes(&self, user_record: &UserRecordInput<'_>) -> usize {
        let partition_key = user_record.partition_key.as_bytes();
        let (partition_key_index, partition_key_bytes) = place(&self.partition_keys, partition_key);
        let mut key_bytes = partition_key_bytes;
        let mut record_bytes = 1 + varint_bytes(partition_key_index) + field_bytes(user_record.data.len());
        if let Some(explicit_hash_key) = user_record.explicit_hash_key {
            let (index, bytes) = place(&self.explicit_hash_keys, explicit_hash_key.as_bytes());
            key_bytes += bytes;
            record_bytes += 1 + varint_bytes(index);
        }
        key_bytes + field_bytes(record_bytes)
    }

    pub(crate) fn push(&mut self, user_record: &UserRecordInput<'_>) {
        self.message_bytes += self.added_bytes(user_record);
        let record = Record {
            partition_key_index: self
                .partition_keys
                .index_of(user_record.partition_key.as_bytes(), &mut self.message.partition_key_table),
            explicit_hash_key_index: user_record.explicit_hash_key.map(|key| {
                self.explicit_hash_keys.index_of(key.as_bytes(), &mut self.message.explicit_hash_key_table)
            }),
            data: user_record.data.to_vec(),
        };
        self.message.records.push(record);
    }

    pub(crate) fn close(mut self) -> PutEntry {
        let user_records = self.message.records.len();
        if user_records == 1 {
            return PutEntry {
                partition_key: text(self.message.partition_key_table.swap_remove(0)),
                explicit_hash_key: self.message.explicit_hash_key_table.pop().map(text),
                data: self.message.records.swap_remove(0).data,
                user_records,
            };
        }
        let data = frame::enclose(|data| self.message.encode_raw(data), self.message_bytes);
        debug_assert_eq!(data.len(), self.message_bytes + frame::FRAMING_BYTES, "sizes are exact");
        PutEntry {
            partition_key: self.partition_key,
            explicit_hash_key: self.explicit_hash_key,
            data,
            user_records,
        }
    }
}

fn text(key: Vec<u8>) -> String {
    String::from_utf8(key).expect("a batch takes text only")
}

/// The key's index, and the bytes that it adds to the message: none if it stands there already.
fn place(table: &KeyTable, key: &[u8]) -> (u64, usize) {
    match table.position(key) {
        Some(index) => (index, 0),
        None => (table.len(), field_bytes(key.len())),
    }
}

/// Encoded size of a length-delimited field with a number below 16.
fn field_bytes(length: usize) -> usize {
    1 + length_delimiter_len(length) + length
}

fn varint_bytes(index: u64) -> usize {
    // An index counts keys in memory, so it is a usize.
    length_delimiter_len(index as usize)
}
