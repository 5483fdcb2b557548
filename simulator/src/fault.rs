use std::cell::Cell;

use lambda_host::Fate;
use serde::{Deserialize, Serialize};

use crate::clock::ClockJump;

/// Something that goes wrong while a mapping works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// From when on it strikes, in milliseconds since the start of the simulation.
    pub at_ms: u64,
    /// Time at which it ends, exclusive. Without it, it strikes once, at the first opportunity.
    pub until_ms: Option<u64>,
    /// Kind of the fault.
    pub kind: FaultKind,
}

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum FaultKind {
    /// An invocation is throttled (rule 11).
    Throttle,
    /// An invocation takes longer than the function's timeout (rule 12).
    Timeout,
    /// An invocation's environment ends before it answers (rule 12).
    Crash,
    /// An invocation's answer does not arrive. The mapping takes that for a function error.
    LostResponse,
    /// A batch is delivered twice, one right after the other; the first answer counts (rule 7).
    Duplicate,
    /// An invocation times out for the mapping, but goes on beside its retry.
    Zombie,
    /// The on-failure destination cannot be written (rule 26).
    DestinationFailure,
    /// A mapping that is enabled in this time is active from its end on only (rule 3).
    LateActivation,
    /// The clock jumps from the start of this time to its end.
    ClockJump,
    /// The poller ends between an answer and its checkpoint, and starts again from the checkpoint before: what was not
    /// acknowledged is read again (rule 7). It strikes invocations that have begun, or not ended yet, in its time.
    Restart,
}

/// The faults of a simulation.
#[derive(Debug)]
pub(crate) struct FaultPlan {
    start_ms: u64,
    faults: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    fault: Fault,
    /// For those that strike once.
    spent: Cell<bool>,
}

impl FaultPlan {
    /// `start_ms` is the simulation's start in milliseconds since 1970.
    pub(crate) fn new(start_ms: u64, faults: &[Fault]) -> Self {
        let planned = |&fault| Planned { fault, spent: Cell::new(false) };
        FaultPlan { start_ms, faults: faults.iter().map(planned).collect() }
    }

    /// Whether this goes wrong now. One that strikes once is then spent.
    pub(crate) fn strikes(&self, kind: FaultKind, now_ms: u64) -> bool {
        self.strikes_within(kind, now_ms, now_ms + 1)
    }

    /// Whether this goes wrong from the first time to the second, exclusive. One that strikes once is then spent.
    pub(crate) fn strikes_within(&self, kind: FaultKind, from_ms: u64, to_ms: u64) -> bool {
        self.faults.iter().filter(|planned| planned.fault.kind == kind).any(|Planned { fault, spent }| {
            self.start_ms.saturating_add(fault.at_ms) < to_ms
                && match fault.until_ms {
                    Some(until_ms) => from_ms < self.start_ms.saturating_add(until_ms),
                    None => !spent.replace(true),
                }
        })
    }

    /// Returns the fault for an invocation that begins now.
    pub(crate) fn fate(&self, now_ms: u64) -> Fate {
        let fates = [
            (FaultKind::Timeout, Fate::Timeout),
            (FaultKind::Crash, Fate::Crash),
            (FaultKind::Zombie, Fate::Zombie),
            (FaultKind::LostResponse, Fate::LostResponse),
        ];
        let struck = fates.into_iter().find(|&(kind, _)| self.strikes(kind, now_ms));
        struck.map_or(Fate::Normal, |(_, fate)| fate)
    }

    /// Rule 3: when a mapping that is enabled at this time (milliseconds since 1970) becomes active, if that is late.
    pub(crate) fn late_activation(&self, enabled_ms: u64) -> Option<u64> {
        let mut active_ms = None;
        for Planned { fault: Fault { at_ms, until_ms, kind }, .. } in &self.faults {
            let from_ms = self.start_ms.saturating_add(*at_ms);
            let until_ms = self.start_ms.saturating_add(until_ms.unwrap_or(*at_ms));
            if *kind == FaultKind::LateActivation && (from_ms..until_ms).contains(&enabled_ms) {
                active_ms = active_ms.max(Some(until_ms));
            }
        }
        active_ms
    }
}

/// The jumps among these faults, for a clock that starts at `start_ms`.
pub(crate) fn clock_jumps(start_ms: u64, faults: &[Fault]) -> Vec<ClockJump> {
    let jump = |fault: &Fault| {
        let until_ms = fault.until_ms.filter(|_| fault.kind == FaultKind::ClockJump)?;
        Some(ClockJump { at_ms: start_ms + fault.at_ms, until_ms: start_ms + until_ms })
    };
    faults.iter().filter_map(jump).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(until_ms: Option<u64>, kind: FaultKind) -> FaultPlan {
        FaultPlan::new(1_000, &[Fault { at_ms: 10, until_ms, kind }])
    }

    #[test]
    fn a_fault_strikes_in_its_time() {
        let strikes = |plan: &FaultPlan, times: &[u64]| -> Vec<bool> {
            times.iter().map(|&now| plan.strikes(FaultKind::Throttle, now)).collect()
        };
        let times = [1_009, 1_010, 1_019, 1_020];
        assert_eq!(strikes(&plan(Some(20), FaultKind::Throttle), &times), [false, true, true, false]);
        assert_eq!(strikes(&plan(None, FaultKind::Throttle), &times), [false, true, false, false]);
        assert_eq!(strikes(&plan(Some(20), FaultKind::Crash), &times), [false; 4]);
        assert_eq!(plan(Some(20), FaultKind::Zombie).fate(1_010), Fate::Zombie);
        let within = |from_ms, to_ms| {
            plan(Some(20), FaultKind::Restart).strikes_within(FaultKind::Restart, from_ms, to_ms)
        };
        assert_eq!([within(1_000, 1_010), within(1_000, 1_011), within(1_019, 1_100)], [false, true, true]);
        assert!(!within(1_020, 1_100));
    }

    #[test]
    fn rule_3_only_a_mapping_that_is_enabled_in_that_time_is_late() {
        let plan = plan(Some(20), FaultKind::LateActivation);
        assert_eq!([1_009, 1_010, 1_020].map(|now| plan.late_activation(now)), [None, Some(1_020), None]);
    }
}
