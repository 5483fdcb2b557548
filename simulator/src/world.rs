use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use crate::{
    Mapping, Observer, SimulationClock, Step, StepKind, Undocumented, fault::FaultPlan, record::Origin,
};

/// What all lanes of a mapping share.
pub(crate) struct World<S, F, O> {
    pub(crate) mapping: Mapping,
    pub(crate) undocumented: Undocumented,
    pub(crate) faults: FaultPlan,
    pub(crate) clock: Rc<SimulationClock>,
    pub(crate) source: S,
    pub(crate) function: F,
    pub(crate) function_timeout: Duration,
    pub(crate) mapping_uuid: String,
    pub(crate) observer: RefCell<O>,
}

/// Who a lane is.
#[derive(Debug, Clone)]
pub(crate) struct LaneId {
    pub(crate) shard_id: Arc<str>,
    /// Counted from zero.
    pub(crate) number: u32,
    pub(crate) origin: Rc<Origin>,
}

impl<S, F, O: Observer> World<S, F, O> {
    pub(crate) fn step(&self, lane: &LaneId, kind: StepKind) {
        let step = Step {
            at_ms: self.clock.now_ms(),
            shard_id: Arc::clone(&lane.shard_id),
            lane: lane.number,
            kind,
        };
        self.observer.borrow_mut().observe(step);
    }
}
