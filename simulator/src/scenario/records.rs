use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use kinesis_esm::{ShardInfo, SharedRecord};
use kinesis_handler::SequenceNumber;
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use super::{
    Ids, ScenarioError,
    record::{Payloads, RawRecord},
};
use crate::Shard;

/// The records of a scenario.
///
/// Each is made into what the stream holds as soon as it is read: what the JSON has of a million records needs far more
/// memory than they do.
#[derive(Debug, Default)]
pub(super) struct Records {
    records: Vec<ReadRecord>,
    /// Shards that the records' `shard` counts into.
    shard_ids: Vec<String>,
    /// Why the list ends where it ends.
    wrong: Option<ScenarioError>,
}

#[derive(Debug)]
struct ReadRecord {
    id: String,
    shard: Option<u32>,
    /// Numbered as if the list were in order of arrival. Nobody else has it yet.
    record: SharedRecord,
}

impl Records {
    /// Puts the records into their shards, in order of their times and, where those are the same, of the list.
    pub(super) fn fill(self, shards: Vec<ShardInfo>) -> Result<(Vec<Shard>, Ids), ScenarioError> {
        let Records { mut records, shard_ids, wrong } = self;
        let numbers = number(&mut records);
        let by_id: HashMap<&str, usize> =
            shards.iter().enumerate().map(|(position, shard)| (shard.id.as_str(), position)).collect();
        let positions: Vec<Option<usize>> =
            shard_ids.iter().map(|shard_id| by_id.get(shard_id.as_str()).copied()).collect();
        let mut by_shard: Vec<Vec<SharedRecord>> = vec![Vec::new(); shards.len()];
        let mut ids = Vec::with_capacity(records.len());
        for ReadRecord { id, shard, record } in records {
            let position = match shard {
                Some(shard) => match positions[shard as usize] {
                    Some(position) => position,
                    None => {
                        let shard_id = shard_ids[shard as usize].clone();
                        return Err(ScenarioError::UnknownShard { id, shard_id });
                    }
                },
                None if shards.len() == 1 => 0,
                None => return Err(ScenarioError::NoShard { id, shards: shards.len() }),
            };
            by_shard[position].push(record);
            ids.push(id);
        }
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let ids = Ids::new(ids, numbers).map_err(|(id, index)| ScenarioError::SameId { id, index })?;
        let parents: HashSet<String> = shards.iter().flat_map(|shard| shard.parents.clone()).collect();
        let filled = shards.into_iter().zip(by_shard).map(|(info, mut records)| {
            records.sort_by_key(|record| record.sequence_number);
            Shard { is_closed: parents.contains(&info.id), info, records: records.into() }
        });
        Ok((filled.collect(), ids))
    }
}

/// Gives the records their final sequence numbers, in order of their times, and returns them in order of the list.
fn number(records: &mut [ReadRecord]) -> Vec<SequenceNumber> {
    if !records.is_sorted_by_key(|record| record.record.arrival_ms) {
        let mut order: Vec<usize> = (0..records.len()).collect();
        order.sort_by_key(|&index| records[index].record.arrival_ms);
        for (rank, index) in order.into_iter().enumerate() {
            let record = Arc::get_mut(&mut records[index].record).expect("nobody else has it yet");
            record.sequence_number = sequence_number(rank);
        }
    }
    records.iter().map(|record| record.record.sequence_number).collect()
}

/// As Kinesis gives them out: 56 digits, increasing with gaps over the whole stream.
fn sequence_number(rank: usize) -> SequenceNumber {
    let number = 133_784_000_000_000_000_000_000u128 + 37 * rank as u128;
    format!("4967{number:052}").parse().expect("digits")
}

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RecordsVisitor)
    }
}

struct RecordsVisitor;

impl<'de> Visitor<'de> for RecordsVisitor {
    type Value = Records;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Records, A::Error> {
        let mut read = Records::default();
        let mut payloads = Payloads::default();
        let mut shards: HashMap<String, u32> = HashMap::new();
        while let Some(mut raw) = list.next_element::<RawRecord>()? {
            // The rest must be JSON all the same.
            if read.wrong.is_some() {
                continue;
            }
            let shard = raw.shard_id.as_ref().map(|shard_id| match shards.get(shard_id) {
                Some(&shard) => shard,
                None => {
                    let shard = shards.len() as u32;
                    shards.insert(shard_id.clone(), shard);
                    read.shard_ids.push(shard_id.clone());
                    shard
                }
            });
            let number = sequence_number(read.records.len());
            let id = std::mem::take(&mut raw.id);
            match raw.into_stream_record(&id, number, &mut payloads) {
                Ok(record) => read.records.push(ReadRecord { id, shard, record: Arc::new(record) }),
                Err(error) => read.wrong = Some(error),
            }
        }
        Ok(read)
    }
}
