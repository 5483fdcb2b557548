//! The `AggregatedRecord` message, read twice: first all of it to check it and to find the keys, then user record by
//! user record.
//!
//! ```text
//! AggregatedRecord { repeated string partition_key_table = 1; repeated string explicit_hash_key_table = 2;
//!                    repeated Record records = 3; }
//! Record { required uint64 partition_key_index = 1; optional uint64 explicit_hash_key_index = 2;
//!          required bytes data = 3; repeated Tag tags = 4; }
//! ```
//!
//! A generated decoder would not do: it cannot tell an absent field from an empty one, refuses a frame for one key that
//! is not UTF-8, and copies.

use crate::{
    InvalidAggregate, Table,
    frame::MESSAGE_OFFSET,
    wire::{Span, Value},
};

/// The positions of the keys of a frame. Kept between frames, so that a new frame needs no new allocation.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyTables {
    partition_keys: Vec<KeySpan>,
    explicit_hash_keys: Vec<KeySpan>,
}

/// A key's place in the message. Half the size of a slice, and free of the frame's lifetime.
#[derive(Debug, Clone, Copy)]
struct KeySpan {
    start: u32,
    length: u32,
}

/// A `Record` message whose indices are not resolved yet.
#[derive(Debug, Clone, Copy)]
struct IndexedRecord<'a> {
    partition_key_index: u64,
    explicit_hash_key_index: Option<u64>,
    data: &'a [u8],
}

/// A user record's fields with its keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResolvedRecord<'a> {
    pub(crate) partition_key: &'a [u8],
    pub(crate) explicit_hash_key: Option<&'a [u8]>,
    pub(crate) data: &'a [u8],
}

/// Key tables above this many entries are given back after the frame: about 1 MiB.
const MAX_KEPT_KEYS: usize = 1 << 17;

impl KeyTables {
    fn clear(&mut self) {
        for table in [&mut self.partition_keys, &mut self.explicit_hash_keys] {
            table.clear();
            table.shrink_to(MAX_KEPT_KEYS);
        }
    }

    /// Returns the length of the longest partition key and the longest explicit hash key together, in bytes.
    fn longest_keys(&self) -> u64 {
        let longest = |keys: &[KeySpan]| keys.iter().map(|key| u64::from(key.length)).max().unwrap_or(0);
        longest(&self.partition_keys) + longest(&self.explicit_hash_keys)
    }

    #[inline]
    fn resolve<'a>(&self, record: &IndexedRecord<'a>, message: &'a [u8]) -> Option<ResolvedRecord<'a>> {
        let explicit_hash_key = match record.explicit_hash_key_index {
            Some(index) => Some(key(&self.explicit_hash_keys, index, message)?),
            None => None,
        };
        Some(ResolvedRecord {
            partition_key: key(&self.partition_keys, record.partition_key_index, message)?,
            explicit_hash_key,
            data: record.data,
        })
    }
}

/// The index stays a u64 until it is compared: a cast would turn 2^32 into the first key.
#[inline]
fn key<'a>(table: &[KeySpan], index: u64, message: &'a [u8]) -> Option<&'a [u8]> {
    let KeySpan { start, length } = *table.get(usize::try_from(index).ok()?)?;
    message.get(start as usize..)?.get(..length as usize)
}

/// Reads the whole message, fills the key tables and returns the number of user records.
///
/// More than `max_key_bytes` in the keys of all user records together make the message invalid.
pub(crate) fn check(
    message: &[u8],
    tables: &mut KeyTables,
    max_key_bytes: u64,
) -> Result<u64, InvalidAggregate> {
    tables.clear();
    if u32::try_from(message.len()).is_err() {
        return Err(InvalidAggregate::TooLong { length: message.len() });
    }
    let mut user_records = 0;
    let mut needed = NeededKeys::default();
    let mut rest = Span { bytes: message, offset: MESSAGE_OFFSET };
    loop {
        if let Some(record) = usual_record(&mut rest) {
            needed.include(&record);
            user_records += 1;
            continue;
        }
        if rest.is_empty() {
            break;
        }
        let field = rest.take_field()?;
        match (field.number, field.value) {
            (1, Value::Bytes(key)) => tables.partition_keys.push(key_span(key)),
            (2, Value::Bytes(key)) => tables.explicit_hash_keys.push(key_span(key)),
            (3, Value::Bytes(record)) => {
                needed.include(&indexed_record(record, user_records)?);
                user_records += 1;
            }
            // A known field with another wire type is an unknown field.
            _ => {}
        }
    }
    // Tables may stand behind the records that use them, so indices can be judged only now.
    if !needed.are_in(tables) {
        return Err(first_out_of_range(message, tables));
    }
    // In nearly every frame the longest keys are short enough for all user records, so nothing is added up.
    let longest = tables.longest_keys();
    if user_records.saturating_mul(longest) > max_key_bytes && key_bytes(message, tables) > max_key_bytes {
        return Err(InvalidAggregate::TooManyKeyBytes { limit: max_key_bytes });
    }
    Ok(user_records)
}

/// Adds up the keys of all user records, in bytes.
#[cold]
fn key_bytes(message: &[u8], tables: &KeyTables) -> u64 {
    let mut records = IndexedRecords::new(message);
    let mut bytes = 0;
    while let Some(record) = records.next_resolved(tables) {
        bytes += (record.partition_key.len() + record.explicit_hash_key.map_or(0, <[u8]>::len)) as u64;
    }
    bytes
}

fn key_span(key: Span<'_>) -> KeySpan {
    // Lossless: `check` refuses messages that 32 bits cannot address.
    KeySpan { start: (key.offset - MESSAGE_OFFSET) as u32, length: key.bytes.len() as u32 }
}

/// The fewest entries that the tables need for all indices.
#[derive(Debug, Default)]
struct NeededKeys {
    partition_keys: u64,
    explicit_hash_keys: u64,
}

impl NeededKeys {
    #[inline]
    fn include(&mut self, record: &IndexedRecord<'_>) {
        // No table has as many entries as the largest index.
        self.partition_keys = self.partition_keys.max(record.partition_key_index.saturating_add(1));
        if let Some(index) = record.explicit_hash_key_index {
            self.explicit_hash_keys = self.explicit_hash_keys.max(index.saturating_add(1));
        }
    }

    fn are_in(&self, tables: &KeyTables) -> bool {
        self.partition_keys <= tables.partition_keys.len() as u64
            && self.explicit_hash_keys <= tables.explicit_hash_keys.len() as u64
    }
}

/// Looks again for the user record that makes a frame invalid, to name it.
#[cold]
fn first_out_of_range(message: &[u8], tables: &KeyTables) -> InvalidAggregate {
    let mut records = IndexedRecords::new(message);
    let mut user_record = 0;
    while let Some(record) = records.next() {
        let indices = [
            (Table::PartitionKey, Some(record.partition_key_index), tables.partition_keys.len()),
            (Table::ExplicitHashKey, record.explicit_hash_key_index, tables.explicit_hash_keys.len()),
        ];
        for (table, index, length) in indices {
            if let Some(index) = index.filter(|&index| index >= length as u64) {
                return InvalidAggregate::IndexOutOfRange { user_record, table, index, length };
            }
        }
        user_record += 1;
    }
    unreachable!("only called when an index is out of range")
}

/// Takes a `Record` off the front of a message if it has the form in which all producers write it: its fields in ascending
/// order, each once, without tags, and all numbers in at most two bytes.
///
/// Nearly every user record has this form, and one look at its bytes is several times as fast as field after field. If only a
/// few bytes are left of the message, `None` is returned for this form, too.
#[inline]
fn usual_record<'a>(message: &mut Span<'a>) -> Option<IndexedRecord<'a>> {
    let mut header = Header { bytes: message.bytes.first_chunk()?, length: 0 };
    header.take_tag(0x1a)?;
    let length = header.take_number()?;
    let start = header.length;
    header.take_tag(0x08)?;
    let partition_key_index = header.take_number()?;
    let explicit_hash_key_index = match header.take_tag(0x10) {
        Some(()) => Some(header.take_number()?),
        None => None,
    };
    header.take_tag(0x1a)?;
    let data_length = header.take_number()?;
    let end = header.length + data_length as usize;
    if end != start + length as usize {
        return None;
    }
    let data = message.bytes.get(header.length..end)?;
    message.bytes = &message.bytes[end..];
    message.offset += end;
    Some(IndexedRecord { partition_key_index, explicit_hash_key_index, data })
}

/// The first bytes of a message, of which at most twelve are taken: four tags with a number of at most two bytes each.
struct Header<'a> {
    bytes: &'a [u8; 16],
    /// Number of bytes taken.
    length: usize,
}

impl Header<'_> {
    #[inline(always)]
    fn byte(&self, offset: usize) -> u8 {
        // The remainder, which is the sum itself, spares a check.
        self.bytes[(self.length + offset) % 16]
    }

    /// Takes a tag of one byte. `None`, with nothing taken, if another byte comes next.
    #[inline(always)]
    fn take_tag(&mut self, tag: u8) -> Option<()> {
        (self.byte(0) == tag).then(|| self.length += 1)
    }

    /// Takes a number of at most two bytes, and so below 2^14.
    #[inline(always)]
    fn take_number(&mut self) -> Option<u64> {
        let (low, high) = (self.byte(0), self.byte(1));
        if low < 0x80 {
            self.length += 1;
            return Some(u64::from(low));
        }
        if high >= 0x80 {
            return None;
        }
        self.length += 2;
        Some(u64::from(high) << 7 | u64::from(low & 0x7f))
    }
}

#[inline]
fn indexed_record(mut record: Span<'_>, user_record: u64) -> Result<IndexedRecord<'_>, InvalidAggregate> {
    let mut partition_key_index = None;
    let mut explicit_hash_key_index = None;
    let mut data = None;
    while !record.is_empty() {
        let field = record.take_field()?;
        match (field.number, field.value) {
            // A field that is repeated overwrites what was read before, as everywhere in protobuf.
            (1, Value::Varint(index)) => partition_key_index = Some(index),
            (2, Value::Varint(index)) => explicit_hash_key_index = Some(index),
            (3, Value::Bytes(value)) => data = Some(value.bytes),
            _ => {}
        }
    }
    Ok(IndexedRecord {
        partition_key_index: partition_key_index
            .ok_or(InvalidAggregate::MissingPartitionKeyIndex { user_record })?,
        explicit_hash_key_index,
        data: data.ok_or(InvalidAggregate::MissingData { user_record })?,
    })
}

/// The user records of a message that [`check`] has accepted.
#[derive(Debug, Clone)]
pub(crate) struct IndexedRecords<'a> {
    message: &'a [u8],
    rest: Span<'a>,
}

impl<'a> IndexedRecords<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        IndexedRecords { message, rest: Span { bytes: message, offset: MESSAGE_OFFSET } }
    }

    /// Errors end the iteration: in a checked message there are none.
    #[inline]
    fn next(&mut self) -> Option<IndexedRecord<'a>> {
        loop {
            if let Some(record) = usual_record(&mut self.rest) {
                return Some(record);
            }
            if self.rest.is_empty() {
                return None;
            }
            let field = self.rest.take_field().ok()?;
            if let (3, Value::Bytes(record)) = (field.number, field.value) {
                return indexed_record(record, 0).ok();
            }
        }
    }

    /// Returns the next user record with its keys. `tables` must be those that [`check`] filled from this message.
    #[inline]
    pub(crate) fn next_resolved(&mut self, tables: &KeyTables) -> Option<ResolvedRecord<'a>> {
        let record = self.next()?;
        tables.resolve(&record, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_many_user_records_refer_to_are_bounded() {
        // Keys of 1 and 4 bytes; two user records with the short one, one with the long one.
        let key = |key: &[u8]| [&[0x0a, key.len() as u8], key].concat();
        let record = |index| vec![0x1a, 0x04, 0x08, index, 0x1a, 0x00];
        let message = [key(b"a"), key(b"long"), record(0), record(1), record(0)].concat();
        let mut tables = KeyTables::default();
        assert_eq!(check(&message, &mut tables, 6), Ok(3), "the longest key three times would be too much");
        assert_eq!(check(&message, &mut tables, 5), Err(InvalidAggregate::TooManyKeyBytes { limit: 5 }));
    }

    #[test]
    fn the_memory_of_a_huge_key_table_is_given_back() {
        let mut tables = KeyTables::default();
        let huge = [0x0a, 0x00].repeat(2 * MAX_KEPT_KEYS);
        assert_eq!(check(&huge, &mut tables, u64::MAX), Ok(0));
        assert!(tables.partition_keys.capacity() >= 2 * MAX_KEPT_KEYS);

        let usual = [0x0a, 0x00].repeat(1000);
        assert_eq!(check(&usual, &mut tables, u64::MAX), Ok(0));
        assert_eq!(tables.partition_keys.len(), 1000);
        assert!((1000..=MAX_KEPT_KEYS).contains(&tables.partition_keys.capacity()));
    }
}
