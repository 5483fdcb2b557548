//! The largest simulations.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use kinesis_esm::{ShardInfo, SharedRecord, StreamRecord};
use kinesis_esm_simulator::{SCENARIO_START_MS, Shard, Simulation, Step, StepKind, Stream};
use kinesis_handler::{
    Handler, Options, ProcessError, RawEvent, Record, checkpoint::MemoryCheckpoints, replay::ReplayRange,
};
use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, HashKeyRange, UserRecordInput};
use lambda_host::ServiceFunction;

const SHARDS: usize = 1_000;
const AGGREGATES_PER_SHARD: usize = 10;
const USER_RECORDS_PER_AGGREGATE: usize = 100;

fn aggregate() -> Vec<u8> {
    let grouping = Grouping::ShardRanges(vec![HashKeyRange::FULL]);
    let options = AggregatorOptions { grouping, ..AggregatorOptions::default() };
    let mut aggregator = Aggregator::new(options).expect("the default limit");
    for number in 0..USER_RECORDS_PER_AGGREGATE {
        let full = aggregator.add(UserRecordInput::new(&format!("key-{number}"), &[b'x'; 100]));
        assert_eq!(full, Ok(None));
    }
    aggregator.finish().remove(0).data
}

fn shard(number: usize, data: &bytes::Bytes) -> Shard {
    let record = |position: usize| -> SharedRecord {
        Arc::new(StreamRecord {
            sequence_number: (1 + number * AGGREGATES_PER_SHARD + position)
                .to_string()
                .parse()
                .expect("digits"),
            partition_key: "a".to_owned(),
            data: data.clone(),
            arrival_ms: SCENARIO_START_MS + 1_000 * position as u64,
            encryption_type: "NONE",
        })
    };
    Shard {
        info: ShardInfo {
            id: format!("shardId-{number:012}"),
            parents: Vec::new(),
            hash_key_range: HashKeyRange::FULL,
        },
        is_closed: false,
        records: (0..AGGREGATES_PER_SHARD).map(record).collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_shards_and_a_million_user_records() {
    let data = bytes::Bytes::from(aggregate());
    let mut simulation = Simulation::default();
    simulation.mapping.report_batch_item_failures = true;
    let clock = Rc::new(simulation.clock(SCENARIO_START_MS));
    let shards = (0..SHARDS).map(|number| shard(number, &data)).collect();
    let stream = Stream::new(Rc::clone(&clock), Duration::from_secs(24 * 3600), shards);
    let done = Rc::new(Cell::new(0));
    let counted = Rc::clone(&done);
    let options = Options::builder().clock(Arc::new((*clock).clone())).build().expect("a clock alone");
    let processor = async move |_: Record<'_>| -> Result<(), ProcessError> {
        counted.set(counted.get() + 1);
        Ok(())
    };
    let function = ServiceFunction::<_, RawEvent>::new(Handler::with_options(processor, options));
    let acknowledged = Rc::new(Cell::new(0));
    let observed = Rc::clone(&acknowledged);
    let observer = move |step: Step| {
        if let StepKind::Acknowledged(records) = step.kind {
            observed.set(observed.get() + records.len());
        }
    };
    simulation.run(clock, stream, function, observer).await.expect("nothing impossible");
    assert_eq!(acknowledged.get(), SHARDS * AGGREGATES_PER_SHARD);
    assert_eq!(done.get(), SHARDS * AGGREGATES_PER_SHARD * USER_RECORDS_PER_AGGREGATE);
}

/// Kinesis records of a shard in the range of the replay. As many arrive before it, and as many after it.
const REPLAYED_PER_SHARD: usize = 625;

#[tokio::test(start_paused = true)]
async fn a_million_user_records_are_replayed_and_no_other() {
    const SHARDS: usize = 16;

    let data = bytes::Bytes::from(aggregate());
    let from_ms = SCENARIO_START_MS + 1_000 * REPLAYED_PER_SHARD as u64;
    let range = ReplayRange::new(from_ms, from_ms + 1_000 * REPLAYED_PER_SHARD as u64).expect("a range");
    let mut simulation = Simulation::default();
    simulation.mapping.report_batch_item_failures = true;
    simulation.mapping.function_arn =
        format!("arn:aws:lambda:us-east-1:123456789012:function:orders:{range}");
    let clock = Rc::new(simulation.clock(SCENARIO_START_MS));
    let of_shard = |number: usize| {
        let mut shard = shard(number, &data);
        let first = 1 + number * 3 * REPLAYED_PER_SHARD;
        let record = |position: usize| -> SharedRecord {
            let mut record = (*shard.records[0]).clone();
            record.sequence_number = (first + position).to_string().parse().expect("digits");
            record.arrival_ms = SCENARIO_START_MS + 1_000 * position as u64;
            Arc::new(record)
        };
        shard.records = (0..3 * REPLAYED_PER_SHARD).map(record).collect();
        shard
    };
    let shards = (0..SHARDS).map(of_shard).collect();
    let stream = Stream::new(Rc::clone(&clock), Duration::from_secs(24 * 3600), shards);
    let positions = Arc::new(MemoryCheckpoints::default());
    let options = Options::builder()
        .application("orders")
        .replays(positions.clone())
        .clock(Arc::new((*clock).clone()))
        .build()
        .expect("a legal combination");
    let done = Rc::new(Cell::new(0));
    let counted = Rc::clone(&done);
    let processor = async move |record: Record<'_>| -> Result<(), ProcessError> {
        let arrival = record.approximate_arrival_timestamp().expect("a time");
        let arrival_ms = arrival.duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
        assert!(range.contains(arrival_ms), "{arrival_ms}");
        counted.set(counted.get() + 1);
        Ok(())
    };
    let function = ServiceFunction::<_, RawEvent>::new(Handler::with_options(processor, options));
    simulation.run(clock, stream, function, |_| {}).await.expect("nothing impossible");
    assert_eq!(done.get(), SHARDS * REPLAYED_PER_SHARD * USER_RECORDS_PER_AGGREGATE);
    for number in 0..SHARDS {
        let row = positions.row(&format!("shardId-{number:012}")).expect("a position");
        let last = number * 3 * REPLAYED_PER_SHARD + 2 * REPLAYED_PER_SHARD;
        assert_eq!((row.checkpoint.to_string(), row.sub_sequence_number), (last.to_string(), Some(99)));
    }
}
