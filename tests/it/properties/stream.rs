//! A plan's stream: its shards, and the records in them.

use std::sync::Arc;

use kinesis_esm::{ShardInfo, SharedRecord, StreamRecord};
use kinesis_esm_simulator::{SCENARIO_START_MS, Shard};
use kinesis_handler::InvalidAggregatePolicy;
use kpl_deaggregation::{
    Aggregator, AggregatorOptions, Deaggregator, Grouping, HashKeyRange, UserRecordInput,
};

use super::{
    history::{KinesisRecordInfo, UserRecordInfo},
    plan::{Content, Plan, UserRecordPlan},
};

/// The partition key of all aggregates.
pub(super) const AGGREGATE_KEY: &str = "a";

/// A shard in the making.
struct OpenShard {
    info: ShardInfo,
    records: Vec<SharedRecord>,
    is_open: bool,
}

/// The shards with their records, and what the records are.
pub(super) fn shards(plan: &Plan) -> (Vec<Shard>, Vec<KinesisRecordInfo>) {
    let mut reshards = plan.reshards.clone();
    reshards.sort_by_key(|reshard| reshard.at_ms);
    let mut reshards = reshards.into_iter().peekable();
    let mut shards = vec![new_shard(0, Vec::new(), HashKeyRange::FULL)];
    let mut infos = Vec::new();
    let mut user_records = 0;
    let mut at_ms = 0;
    for (position, record) in plan.records.iter().enumerate() {
        at_ms += record.after_ms;
        while let Some(reshard) = reshards.next_if(|reshard| reshard.at_ms <= at_ms) {
            let open: Vec<usize> = (0..shards.len()).filter(|&shard| shards[shard].is_open).collect();
            reshard_one(&mut shards, &open, reshard.shard.index(open.len()), reshard.split);
        }
        let open: Vec<usize> = (0..shards.len()).filter(|&shard| shards[shard].is_open).collect();
        let mut number = |plan: &UserRecordPlan, shard: &ShardInfo| {
            user_records += 1;
            UserRecordInfo {
                number: user_records - 1,
                key: key_in(plan.key, &shard.hash_key_range),
                behaviour: plan.behaviour,
            }
        };
        let chosen = open[record.shard.index(open.len())];
        let shard = &shards[chosen].info;
        let (partition_key, data, members) = match &record.content {
            Content::Plain(plan) => {
                let info = number(plan, shard);
                (info.key.clone(), info.number.to_string().into_bytes(), vec![info])
            }
            Content::Aggregate(plans) => {
                let members: Vec<_> = plans.iter().map(|plan| number(plan, shard)).collect();
                (AGGREGATE_KEY.to_owned(), aggregate(&members), members)
            }
            Content::Invalid => (AGGREGATE_KEY.to_owned(), INVALID_AGGREGATE.to_vec(), Vec::new()),
        };
        let sequence_number = (1_000 + position as u64).to_string().parse().expect("digits");
        let is_invalid = matches!(record.content, Content::Invalid);
        let shard_id = shard.id.clone();
        infos.push(KinesisRecordInfo { sequence_number, shard_id, user_records: members, is_invalid });
        shards[chosen].records.push(Arc::new(StreamRecord {
            sequence_number,
            partition_key,
            data: data.into(),
            arrival_ms: SCENARIO_START_MS + at_ms,
            encryption_type: "NONE",
        }));
    }
    let shards = shards.into_iter().map(|OpenShard { info, records, is_open }| Shard {
        info,
        is_closed: !is_open,
        records: records.into(),
    });
    (shards.collect(), infos)
}

fn new_shard(number: usize, parents: Vec<String>, hash_key_range: HashKeyRange) -> OpenShard {
    let info = ShardInfo { id: format!("shardId-{number:012}"), parents, hash_key_range };
    OpenShard { info, records: Vec::new(), is_open: true }
}

fn reshard_one(shards: &mut Vec<OpenShard>, open: &[usize], chosen: usize, split: bool) {
    let range = |shards: &[OpenShard], shard: usize| shards[shard].info.hash_key_range;
    let shard = open[chosen];
    let (start, end) = (range(shards, shard).start(), range(shards, shard).end());
    let id = shards[shard].info.id.clone();
    if split && open.len() < 5 {
        let middle = start + (end - start) / 2;
        shards[shard].is_open = false;
        for (start, end) in [(start, middle), (middle + 1, end)] {
            let range = HashKeyRange::new(start, end).expect("start before end");
            shards.push(new_shard(shards.len(), vec![id.clone()], range));
        }
        return;
    }
    let neighbour =
        open.iter().copied().find(|&other| end.checked_add(1) == Some(range(shards, other).start()));
    if let Some(neighbour) = neighbour {
        let range = HashKeyRange::new(start, range(shards, neighbour).end()).expect("start before end");
        let parents = vec![id, shards[neighbour].info.id.clone()];
        shards[shard].is_open = false;
        shards[neighbour].is_open = false;
        shards.push(new_shard(shards.len(), parents, range));
    }
}

/// A key of this number that belongs to the range. The same key for the same range, and mostly for a narrower one.
fn key_in(number: u8, range: &HashKeyRange) -> String {
    let mut deaggregator = Deaggregator::new(InvalidAggregatePolicy::Fail);
    (0u32..)
        .map(|attempt| format!("{number}-{attempt}"))
        .find(|key| {
            let mut plain = deaggregator.deaggregate(key.as_bytes(), b"").expect("a plain record");
            plain.next().is_some_and(|record| record.belongs_to(range))
        })
        .expect("keys do not run out")
}

fn aggregate(members: &[UserRecordInfo]) -> Vec<u8> {
    let grouping = Grouping::ShardRanges(vec![HashKeyRange::FULL]);
    let options = AggregatorOptions { grouping, ..AggregatorOptions::default() };
    let mut aggregator = Aggregator::new(options).expect("the default limit");
    for member in members {
        let data = member.number.to_string();
        let full = aggregator.add(UserRecordInput::new(&member.key, &data)).expect("a small record");
        assert!(full.is_none());
    }
    aggregator.finish().remove(0).data
}

/// Magic number, a table without keys and one record with key index 0 and data "x", MD5 of that.
pub(super) const INVALID_AGGREGATE: [u8; 27] = [
    0xf3, 0x89, 0x9a, 0xc2, 0x1a, 0x05, 0x08, 0x00, 0x1a, 0x01, b'x', 0x25, 0xc3, 0x57, 0xc2, 0xb8, 0xfe,
    0xf9, 0x19, 0xc9, 0x96, 0xde, 0x60, 0xa4, 0x70, 0x8e, 0xed,
];
