use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use kinesis_esm::{Mapping, Origin, Undocumented};
use thiserror::Error;

use crate::{Observer, SimulationClock, Step, StepKind, fault::FaultPlan};

/// The state that all lanes of a mapping share.
pub(crate) struct World<S, F, O> {
    pub(crate) mapping: Mapping,
    pub(crate) undocumented: Undocumented,
    pub(crate) faults: FaultPlan,
    pub(crate) clock: Rc<SimulationClock>,
    pub(crate) source: S,
    pub(crate) function: F,
    pub(crate) function_timeout: Duration,
    pub(crate) mapping_uuid: String,
    /// Start of the simulation, in milliseconds since 1970.
    pub(crate) start_ms: u64,
    pub(crate) max_deliveries_without_progress: u64,
    pub(crate) deliveries_without_progress: Cell<u64>,
    pub(crate) observer: RefCell<O>,
}

/// The identity of a lane.
#[derive(Debug, Clone)]
pub(crate) struct LaneId {
    pub(crate) shard_id: Arc<str>,
    /// Counted from zero.
    pub(crate) number: u32,
    pub(crate) origin: Rc<Origin>,
}

/// A simulation that would try the same records for longer than anybody waits.
///
/// Each try of a batch is as many deliveries as it has records, and at least 50. Progress is that records are read,
/// acknowledged, discarded or dropped, or that a tumbling window is closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "shard {shard_id:?}: no progress in {deliveries} deliveries in a row, up to {elapsed_ms} ms after the start; make \
     the delays of \"undocumented\" and the function's duration longer, the faults shorter, or MaximumRetryAttempts \
     smaller"
)]
#[non_exhaustive]
pub struct NoProgress {
    /// Shard of the last try.
    pub shard_id: String,
    /// Number of deliveries in a row that came to nothing.
    pub deliveries: u64,
    /// Virtual milliseconds since the start of the simulation.
    pub elapsed_ms: u64,
}

/// Smallest number of deliveries that a try counts as: each takes time and memory, however few its records are.
const MIN_DELIVERIES: u64 = 50;

impl<S, F, O> World<S, F, O> {
    /// Counts a try to deliver so many records.
    pub(crate) fn try_delivery(&self, lane: &LaneId, records: usize) -> Result<(), NoProgress> {
        let deliveries = self.deliveries_without_progress.get() + MIN_DELIVERIES.max(records as u64);
        self.deliveries_without_progress.set(deliveries);
        if deliveries <= self.max_deliveries_without_progress {
            return Ok(());
        }
        Err(NoProgress {
            shard_id: lane.shard_id.to_string(),
            deliveries,
            elapsed_ms: self.clock.now_ms().saturating_sub(self.start_ms),
        })
    }

    pub(crate) fn made_progress(&self) {
        self.deliveries_without_progress.set(0);
    }
}

impl<S, F, O: Observer> World<S, F, O> {
    pub(crate) fn step(&self, lane: &LaneId, kind: StepKind) {
        if !matches!(kind, StepKind::Invoked(_)) {
            self.made_progress();
        }
        let step = Step {
            at_ms: self.clock.now_ms(),
            shard_id: Arc::clone(&lane.shard_id),
            lane: lane.number,
            kind,
        };
        self.observer.borrow_mut().observe(step);
    }
}
