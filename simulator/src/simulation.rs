use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use futures_util::{StreamExt, future::try_join_all, stream::FuturesUnordered};
use kinesis_esm::{Mapping, Origin, Ready, ShardInfo, ShardOrder, Start, StartingPosition, Undocumented};
use kinesis_handler::BoxError;
use lambda_host::Function;
use tokio::task::LocalSet;

use crate::{
    Fault, NextRead, Observer, ReadFrom, SimulationClock, Source,
    fault::{FaultPlan, clock_jumps},
    lane::{Lane, pace::SeededPace, siblings::Siblings},
    world::{LaneId, World},
};

/// A mapping to be run, and the world around it.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// The mapping's settings.
    pub mapping: Mapping,
    /// Assumptions about behaviour of mappings that AWS does not document.
    pub undocumented: Undocumented,
    /// Longest time that an invocation may take. Default 60 seconds.
    pub function_timeout: Duration,
    /// Faults that strike during the simulation.
    pub faults: Vec<Fault>,
    /// Decides all that is left to chance.
    pub seed: u64,
    /// Number of deliveries in a row that may come to nothing before the simulation ends with an error; see
    /// [`NoProgress`](crate::NoProgress). `None`, the default: without limit.
    pub max_deliveries_without_progress: Option<u64>,
}

impl Default for Simulation {
    fn default() -> Self {
        Simulation {
            mapping: Mapping::default(),
            undocumented: Undocumented::default(),
            function_timeout: Duration::from_secs(60),
            faults: Vec::new(),
            seed: 0,
            max_deliveries_without_progress: None,
        }
    }
}

impl Simulation {
    /// A clock for this simulation that shows `start_ms` (milliseconds since 1970) now.
    pub fn clock(&self, start_ms: u64) -> SimulationClock {
        SimulationClock::new(start_ms, clock_jumps(start_ms, &self.faults))
    }

    /// Runs the mapping until there is nothing left to read, and until all invocations have ended that the mapping has
    /// given up on. The clock is one of [`clock`](Self::clock), and the simulation starts at what it shows.
    ///
    /// Under tokio's paused time (`start_paused`) it takes no longer than its computations, and the same seed gives the
    /// same steps.
    ///
    /// # Errors
    ///
    /// Those of source and function: what makes it impossible to go on. [`NoProgress`](crate::NoProgress) if there is a
    /// limit for that.
    pub async fn run<S: Source, F: Function, O: Observer>(
        self,
        clock: Rc<SimulationClock>,
        source: S,
        function: F,
        observer: O,
    ) -> Result<(), BoxError> {
        let start_ms = clock.now_ms();
        let mut pace = SeededPace::new(self.seed, u64::MAX, self.undocumented.clone());
        let world = World {
            faults: FaultPlan::new(start_ms, &self.faults),
            mapping: self.mapping,
            undocumented: self.undocumented,
            clock,
            source,
            function,
            function_timeout: self.function_timeout,
            mapping_uuid: pace.uuid(),
            start_ms,
            max_deliveries_without_progress: self.max_deliveries_without_progress.unwrap_or(u64::MAX),
            deliveries_without_progress: Cell::new(0),
            observer: RefCell::new(observer),
        };
        let local = LocalSet::new();
        local.run_until(world.run(start_ms, self.seed)).await?;
        // Zombies.
        local.await;
        Ok(())
    }
}

impl<S: Source, F: Function, O: Observer> World<S, F, O> {
    async fn run(&self, start_ms: u64, seed: u64) -> Result<(), BoxError> {
        // Rule 3.
        let enabled_ms = start_ms + self.mapping.enabled_at_ms;
        let delay_ms = match self.mapping.starting_position {
            StartingPosition::Latest => self.undocumented.latest_activation_delay_ms,
            _ => 0,
        };
        let active_ms = self.faults.late_activation(enabled_ms).unwrap_or(enabled_ms + delay_ms);
        self.clock.sleep_until_ms(active_ms).await;
        let active_ms = self.clock.now_ms();

        let mut order = ShardOrder::new(self.source.shards().await?);
        let mut running = FuturesUnordered::new();
        loop {
            for Ready { shard, number, start, .. } in order.take_ready() {
                let from = match (self.mapping.starting_position, start) {
                    (StartingPosition::TrimHorizon, _) => ReadFrom::TrimHorizon,
                    (StartingPosition::AtTimestamp(time_ms), _) => ReadFrom::AtTimestamp(time_ms),
                    (StartingPosition::Latest, Start::First) => ReadFrom::Latest,
                    (StartingPosition::Latest, Start::AfterParents) => ReadFrom::AtTimestamp(active_ms),
                    // It came to be while the mapping was active.
                    (StartingPosition::Latest, Start::New) => ReadFrom::TrimHorizon,
                };
                running.push(self.consume(shard, number, from, seed));
            }
            let Some(finished) = running.next().await else { return Ok(()) };
            let (shard_id, is_closed) = finished?;
            let has_children = order.finish(&shard_id);
            if is_closed && !has_children {
                // They came to be after the last list.
                order.add(self.source.shards().await?);
            }
        }
    }

    /// Consumes a shard to its end. Returns its ID, and whether it is closed.
    async fn consume(
        &self,
        shard: ShardInfo,
        number: u64,
        from: ReadFrom,
        seed: u64,
    ) -> Result<(String, bool), BoxError> {
        let lanes = self.mapping.parallelization_factor;
        let siblings = Siblings::new(lanes, self.undocumented.failing_lane);
        let origin = Rc::new(Origin::new(&shard.id, &self.mapping.event_source_arn));
        let mut running = Vec::new();
        for lane in 0..lanes {
            let id = LaneId { shard_id: shard.id.as_str().into(), number: lane, origin: Rc::clone(&origin) };
            let pace = SeededPace::new(seed, number * 16 + u64::from(lane), self.undocumented.clone());
            running.push(Lane::new(self, id, &siblings, shard.hash_key_range, from, pace).await?.run());
        }
        let ends = try_join_all(running).await?;
        Ok((shard.id, ends.contains(&NextRead::ShardEnd)))
    }
}
