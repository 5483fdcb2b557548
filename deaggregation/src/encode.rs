use prost::Message;

use crate::{
    UserRecord, frame,
    key_table::KeyTable,
    message::{AggregatedRecord, Record},
};

/// A frame of these user records in their order, with their keys as they are: for tools that send on a part of what an
/// aggregated record holds, or what they have kept of it. [`Aggregator`](crate::Aggregator) is for producers.
///
/// A single user record has a frame, too. [`UserRecord::sub_sequence_number`] plays no part: who takes the frame apart
/// counts from zero. Returns `None` without any user record, because no frame holds nothing.
///
/// ```
/// use kpl_deaggregation::{Deaggregator, UserRecord, encode};
///
/// let frame = encode([UserRecord::new(b"key", b"data")]).expect("there is a user record");
/// let mut deaggregator = Deaggregator::default();
/// let user_records: Vec<_> = deaggregator.deaggregate(b"a", &frame)?.collect();
/// assert_eq!(user_records, [UserRecord::new(b"key", b"data")]);
/// # Ok::<(), kpl_deaggregation::InvalidAggregate>(())
/// ```
pub fn encode<'a>(user_records: impl IntoIterator<Item = UserRecord<'a>>) -> Option<Vec<u8>> {
    let mut message = AggregatedRecord::default();
    let (mut partition_keys, mut explicit_hash_keys) = (KeyTable::default(), KeyTable::default());
    for UserRecord { data, partition_key, explicit_hash_key, .. } in user_records {
        let record = Record {
            partition_key_index: partition_keys.index_of(partition_key, &mut message.partition_key_table),
            explicit_hash_key_index: explicit_hash_key
                .map(|key| explicit_hash_keys.index_of(key, &mut message.explicit_hash_key_table)),
            data: data.to_vec(),
        };
        message.records.push(record);
    }
    if message.records.is_empty() {
        return None;
    }
    Some(frame::enclose(|data| message.encode_raw(data), message.encoded_len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Deaggregator};

    #[test]
    fn user_records_come_out_as_they_went_in() {
        let mut third = UserRecord::new(b"not \xff text", b"");
        third.explicit_hash_key = Some(b"no number");
        let mut user_records = [UserRecord::new(b"k", b"1"), UserRecord::new(b"", b"2"), third, third];
        // Ordinals of another frame.
        user_records.iter_mut().for_each(|record| record.sub_sequence_number += 7);
        for length in 1..=4 {
            let data = encode(user_records[..length].iter().copied()).expect("there are some");
            let mut deaggregator = Deaggregator::default();
            let read = deaggregator.deaggregate(b"a", &data).expect("a valid frame");
            assert_eq!(read.content(), Content::Aggregated);
            for (position, record) in read.enumerate() {
                let expected = UserRecord { sub_sequence_number: position as u64, ..user_records[position] };
                assert_eq!(record, expected);
            }
        }
        assert_eq!(encode([]), None);
    }
}
