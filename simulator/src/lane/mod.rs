//! The loop of one lane of a shard: gather a batch, deliver it until all of it is settled, go on. Rule 1: a lane has one
//! invocation in flight.

mod deliver;
mod discard;
mod intake;
pub(crate) mod pace;
pub(crate) mod siblings;

use kinesis_esm::{
    MAX_EVENT_BYTES, SharedRecord,
    backlog::{AgeLimits, Backlog},
    event::ENVELOPE_BYTES,
    window::{self, OpenWindow},
};
use kinesis_handler::BoxError;
use kpl_deaggregation::HashKeyRange;
use lambda_host::Function;

use crate::{
    NextRead, Observer, ReadFrom, Source,
    lane::{discard::GivenUp, intake::Intake, pace::SeededPace, siblings::Siblings},
    world::{LaneId, World},
};

pub(crate) struct Lane<'a, S: Source, F, O> {
    pub(crate) world: &'a World<S, F, O>,
    pub(crate) id: LaneId,
    pub(crate) siblings: &'a Siblings,
    pub(crate) intake: Intake<S::Reader>,
    pub(crate) backlog: Backlog,
    pub(crate) pace: SeededPace,
    pub(crate) window: Option<OpenWindow>,
    /// Rule 25: given up, and not yet told of.
    pub(crate) held: Option<GivenUp>,
    /// Rule 4: when the batching window began, in milliseconds since 1970.
    pub(crate) batching_since_ms: u64,
}

enum Gathered {
    Batch(Vec<SharedRecord>),
    /// Rule 28: nothing has come for the open tumbling window in a long time.
    IdleWindow,
    End,
}

impl<'a, S: Source, F: Function, O: Observer> Lane<'a, S, F, O> {
    pub(crate) async fn new(
        world: &'a World<S, F, O>,
        id: LaneId,
        siblings: &'a Siblings,
        range: HashKeyRange,
        from: ReadFrom,
        pace: SeededPace,
    ) -> Result<Self, BoxError> {
        let reader = world.source.reader(&id.shard_id, from).await?;
        Ok(Lane {
            world,
            id,
            siblings,
            intake: Intake::new(reader, range),
            backlog: Backlog::default(),
            pace,
            window: None,
            held: None,
            batching_since_ms: world.clock.now_ms(),
        })
    }

    /// Runs until there is nothing left to read, and returns why there is not.
    pub(crate) async fn run(mut self) -> Result<NextRead, BoxError> {
        loop {
            while self.backlog.first().is_some() {
                self.deliver().await?;
                self.siblings.set_failing(self.id.number, self.backlog.is_failing());
            }
            self.release_discarded();
            match self.gather().await? {
                Gathered::Batch(records) => {
                    self.siblings.wait().await;
                    self.backlog.push(records, &mut self.pace);
                }
                Gathered::IdleWindow => self.close_window().await?,
                Gathered::End => break,
            }
        }
        // Rule 28: the end of the shard closes the window.
        if self.window.is_some() {
            self.close_window().await?;
        }
        Ok(self.intake.next())
    }

    /// Gathers a batch: up to the batch size, the batching window or 6 MB (rule 4, `batch-bounds`).
    async fn gather(&mut self) -> Result<Gathered, BoxError> {
        let mut records: Vec<SharedRecord> = Vec::new();
        let mut bytes = ENVELOPE_BYTES;
        let mut flush_at_ms = u64::MAX;
        loop {
            while let Some(next) = self.intake.first() {
                // With the comma in front of it.
                let next_bytes = next.json_bytes(&self.id.origin) + usize::from(!records.is_empty());
                if let Some(last) = records.last()
                    && (bytes + next_bytes > MAX_EVENT_BYTES || !self.share_a_window(last, next))
                {
                    return Ok(Gathered::Batch(records));
                }
                if records.is_empty() {
                    flush_at_ms = self.end_of_batching_window_ms();
                }
                bytes += next_bytes;
                records.extend(self.intake.take());
                if records.len() == self.world.mapping.batch_size {
                    return Ok(Gathered::Batch(records));
                }
            }
            let now_ms = self.world.clock.now_ms();
            let next = self.intake.next();
            if !records.is_empty() && (now_ms >= flush_at_ms || next == NextRead::ShardEnd) {
                return Ok(Gathered::Batch(records));
            }
            if matches!(next, NextRead::ShardEnd | NextRead::Never) {
                if records.is_empty() {
                    return Ok(Gathered::End);
                }
                self.world.clock.sleep_until_ms(flush_at_ms).await;
                continue;
            }
            let idle_at_ms =
                self.window.as_ref().filter(|_| records.is_empty()).map_or(u64::MAX, |window| {
                    window.end_ms() + self.world.undocumented.idle_window_delay_ms
                });
            // After a long delivery, records of the window may wait in the shard: it is idle only once that has been read.
            if now_ms >= idle_at_ms && now_ms < self.intake.poll_at_ms() {
                return Ok(Gathered::IdleWindow);
            }
            let wake_at_ms = self.intake.poll_at_ms().min(flush_at_ms).min(idle_at_ms);
            self.world.clock.sleep_until_ms(wake_at_ms).await;
            if self.world.clock.now_ms() >= self.intake.poll_at_ms() {
                self.intake.read(self.world, &self.id).await?;
            }
        }
    }

    /// When a batch that gets its first record now is delivered at the latest, in milliseconds since 1970. One window
    /// follows the other; without windows, what one read returned is a batch.
    fn end_of_batching_window_ms(&self) -> u64 {
        let now_ms = self.world.clock.now_ms();
        match self.world.mapping.batching_window.as_millis() as u64 {
            0 => now_ms,
            length_ms => {
                let passed = now_ms.saturating_sub(self.batching_since_ms) / length_ms;
                self.batching_since_ms + (passed + 1) * length_ms
            }
        }
    }

    fn share_a_window(&self, record: &SharedRecord, other: &SharedRecord) -> bool {
        let length = self.world.mapping.tumbling_window;
        length.is_none_or(|length| window::are_together(record.arrival_ms, other.arrival_ms, length))
    }

    pub(crate) fn age_limits(&self) -> AgeLimits {
        AgeLimits {
            maximum_age_ms: self.world.mapping.maximum_record_age.map(|age| age.as_millis() as u64),
            retention_ms: self.world.source.retention_ms(),
        }
    }
}
