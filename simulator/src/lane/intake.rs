use std::{collections::VecDeque, sync::Arc};

use kinesis_esm::{OutOfRangeUserRecord, SharedRecord, StreamRecord};
use kinesis_handler::{BoxError, InvalidAggregatePolicy};
use kpl_deaggregation::{Content, Deaggregator, HashKeyRange};

use crate::{
    NextRead, Observer, ShardReader, Source, StepKind,
    step::DropReason,
    world::{LaneId, World},
};

/// The records that a lane has read and not yet put into a batch.
pub(crate) struct Intake<R> {
    reader: R,
    range: HashKeyRange,
    queue: VecDeque<SharedRecord>,
    next: NextRead,
    /// When to read again, in milliseconds since 1970.
    poll_at_ms: u64,
}

impl<R: ShardReader> Intake<R> {
    pub(crate) fn new(reader: R, range: HashKeyRange) -> Self {
        Intake { reader, range, queue: VecDeque::new(), next: NextRead::Unknown, poll_at_ms: 0 }
    }

    pub(crate) fn first(&self) -> Option<&SharedRecord> {
        self.queue.front()
    }

    pub(crate) fn take(&mut self) -> Option<SharedRecord> {
        self.queue.pop_front()
    }

    /// Puts records back that are to be delivered once more, in front of the others.
    pub(crate) fn put_back(&mut self, records: Vec<SharedRecord>) {
        for record in records.into_iter().rev() {
            self.queue.push_front(record);
        }
    }

    pub(crate) fn next(&self) -> NextRead {
        self.next
    }

    pub(crate) fn poll_at_ms(&self) -> u64 {
        self.poll_at_ms
    }

    pub(crate) async fn read<S, F, O>(
        &mut self,
        world: &World<S, F, O>,
        lane: &LaneId,
    ) -> Result<(), BoxError>
    where
        S: Source,
        O: Observer,
    {
        let read = self.reader.read().await?;
        let now_ms = world.clock.now_ms();
        self.next = read.next;
        let lanes = world.mapping.parallelization_factor;
        let of_this_lane = |record: &SharedRecord| lane_of(&record.partition_key, lanes) == lane.number;

        let (mut records, mut trimmed, mut out_of_range) = (read.records, read.trimmed, Vec::new());
        if world.mapping.is_enhanced_fan_out() {
            // Whole aggregates, even with strays: none of them was looked at in time.
            trimmed = self
                .deaggregate(trimmed, OutOfRangeUserRecord::DropsUserRecord)
                .into_iter()
                .flatten()
                .collect();
            [records, out_of_range] = self.deaggregate(records, world.undocumented.out_of_range_user_record);
        }
        records.retain(of_this_lane);
        for (mut dropped, reason) in [(out_of_range, DropReason::OutOfRange), (trimmed, DropReason::Trimmed)]
        {
            // Each lane reads all of the shard, and one of them tells of it.
            dropped.retain(of_this_lane);
            if !dropped.is_empty() {
                world.step(lane, StepKind::Dropped(dropped, reason));
            }
        }
        self.poll_at_ms = self.next_poll_ms(now_ms, records.is_empty(), world);
        if records.is_empty() {
            return Ok(());
        }
        world.step(lane, StepKind::Read(records.len()));
        // Rule 6: before batches are made.
        let filter = &world.mapping.filter_criteria;
        let (admitted, filtered): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| filter.admits(&record.data));
        if !filtered.is_empty() {
            world.step(lane, StepKind::Dropped(filtered, DropReason::Filtered));
        }
        self.queue.extend(admitted);
        Ok(())
    }

    /// A read that found something is followed by the next one at once. Otherwise a shard is polled at an interval,
    /// while a consumer with enhanced fan-out is told.
    fn next_poll_ms<S, F, O>(&self, now_ms: u64, found_nothing: bool, world: &World<S, F, O>) -> u64 {
        let interval_ms = world.undocumented.poll_interval_ms.max(1);
        match self.next {
            _ if !found_nothing => now_ms,
            NextRead::NotBefore(time_ms) if world.mapping.is_enhanced_fan_out() => time_ms,
            NextRead::NotBefore(time_ms) => {
                now_ms + time_ms.saturating_sub(now_ms).div_ceil(interval_ms).max(1) * interval_ms
            }
            _ => now_ms + interval_ms,
        }
    }

    /// Rule 9: a consumer with enhanced fan-out gets user records. They share the number of their aggregate. Also returns
    /// what does not belong to the shard.
    fn deaggregate(&self, records: Vec<SharedRecord>, rule: OutOfRangeUserRecord) -> [Vec<SharedRecord>; 2] {
        let mut deaggregator = Deaggregator::new(InvalidAggregatePolicy::Raw);
        let mut members = Vec::new();
        let mut out_of_range = Vec::new();
        for record in records {
            let user_records = deaggregator
                .deaggregate(record.partition_key.as_bytes(), &record.data)
                .expect("frames that are not legal are taken raw");
            if user_records.content() != Content::Aggregated {
                members.push(record);
                continue;
            }
            let user_records: Vec<_> = user_records.collect();
            let is_stray =
                |user_record: &kpl_deaggregation::UserRecord<'_>| !user_record.belongs_to(&self.range);
            if rule == OutOfRangeUserRecord::DropsAggregate && user_records.iter().any(is_stray) {
                out_of_range.push(record);
                continue;
            }
            for user_record in user_records {
                let stray = is_stray(&user_record);
                let member = Arc::new(StreamRecord {
                    partition_key: user_record.partition_key_text().into_owned(),
                    data: record.data.slice_ref(user_record.data),
                    ..StreamRecord::clone(&record)
                });
                if stray { out_of_range.push(member) } else { members.push(member) }
            }
        }
        [members, out_of_range]
    }
}

/// Rule 8: which lane a key belongs to. How AWS decides is not documented; only that one key has one lane.
fn lane_of(partition_key: &str, lanes: u32) -> u32 {
    if lanes == 1 {
        return 0;
    }
    // FNV-1a: the same on every machine.
    let hash = partition_key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash % u64::from(lanes)) as u32
}
