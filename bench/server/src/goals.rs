//! The goals that the kit has set itself, and whether they are met.

use std::fmt;

use serde::Serialize;

use crate::{in_process::InProcess, machine::Machine, measure::Figures};

/// The least ratios of CPU time, a contestant's to ours, on E1, E2 and E3.
type Ratios = (&'static str, &'static str, [f64; 3]);

const RATIOS: [Ratios; 7] = [
    ("plain-rust", "ours-avx2", [6.0, 5.5, 6.0]),
    ("plain-rust", "ours", [7.0, 6.5, 7.0]),
    ("node", "ours-avx2", [22.0, 14.0, 15.0]),
    ("node", "ours", [28.0, 18.0, 17.0]),
    ("python", "ours-avx2", [46.0, 25.0, 24.0]),
    ("python", "ours", [58.0, 32.0, 27.0]),
    ("plain-rust-json", "ours-json", [2.3, 2.3, 2.3]),
];

/// Events whose one large record leaves all lanes of the checksums but one idle.
const LARGE_RECORDS: [&str; 2] = ["E4", "E5"];

const MAX_ALLOCATIONS: f64 = 100.0;
/// Time for an event in process, divided by the sum of the times of its stages.
const MAX_WHOLE_TO_STAGES: f64 = 1.3;
/// The goal of a cost that does not grow is 1: caches and the clock make a difference.
const MAX_GROWTH: f64 = 1.25;
const MAX_WALL_TO_WAITS: f64 = 1.2;
const MAX_CPU_TO_ONE_BY_ONE: f64 = 2.0;
const MAX_PEAK_MB: f64 = 24.0;
const MAX_BINARY_MB: f64 = 3.0;

/// CPU time that journal and mirror may add to an invocation, in milliseconds.
const MAX_TABLES_MS: f64 = 1.0;

/// The goal is 1: a difference that is smaller than this is noise.
const MAX_COLD_START: f64 = 1.05;

/// A goal and the figure that was found.
#[derive(Serialize)]
pub(crate) struct Goal {
    what: String,
    /// A figure of at least or at most this.
    bound: Bound,
    /// `None` if a contestant is missing.
    found: Option<f64>,
    is_met: Option<bool>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn new(what: String, bound: Bound, found: Option<f64>) -> Self {
        let is_met = found.map(|found| match bound {
            Bound::AtLeast(least) => found >= least,
            Bound::AtMost(most) => found <= most,
        });
        Goal { what, bound, found, is_met }
    }

    pub(crate) fn is_measured(&self) -> bool {
        self.found.is_some()
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.is_met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        write!(f, "{state:<13} {}: ", self.what)?;
        if let Some(found) = self.found {
            write!(f, "{found:.*}, ", if found.fract() == 0.0 { 0 } else { 2 })?;
        }
        match self.bound {
            Bound::AtLeast(least) => write!(f, "goal ≥ {least}"),
            Bound::AtMost(most) => write!(f, "goal ≤ {most}"),
        }
    }
}

/// Compares figures with all goals. Those of ours without a limit are for machines with AVX-512.
pub(crate) fn goals(figures: &[Figures], in_process: Option<&InProcess>, machine: &Machine) -> Vec<Goal> {
    let of = |name: &str| figures.iter().find(|figures| figures.name == name);
    let cpu_ms = |name, event| Some(of(name)?.on(event)?.cpu_ms.median);
    let mut goals = Vec::new();
    for (peer, ours, bounds) in RATIOS {
        for (event, least) in ["E1", "E2", "E3"].into_iter().zip(bounds) {
            let ratio = || Some(cpu_ms(peer, event)? / cpu_ms(ours, event)?);
            let is_comparable = ours != "ours" || machine.has_avx512;
            let what = format!("{event}, CPU time, {peer} ÷ {ours}");
            goals.push(Goal::new(what, Bound::AtLeast(least), is_comparable.then(ratio).flatten()));
        }
    }
    let ours = of("ours");
    for event in LARGE_RECORDS {
        let ratio = || Some(cpu_ms("plain-rust", event)? / cpu_ms("ours", event)?);
        goals.push(Goal::new(format!("{event}, CPU time, plain-rust ÷ ours"), Bound::AtLeast(1.0), ratio()));
    }
    for event in ["E1", "E2", "E3"] {
        let found = in_process.and_then(|in_process| in_process.whole_to_stages(event));
        let what = format!("{event} in process, time ÷ sum of its stages");
        goals.push(Goal::new(what, Bound::AtMost(MAX_WHOLE_TO_STAGES), found));
    }
    for (curve, records) in
        [("user_records", "750,000 user records"), ("kinesis_records", "10,000 Kinesis records")]
    {
        let found = in_process.and_then(|in_process| in_process.growth(curve));
        let what = format!("growth of the cost of a record in events of up to {records}");
        goals.push(Goal::new(what, Bound::AtMost(MAX_GROWTH), found));
    }
    for concurrency in [16, 256] {
        let wall = in_process.and_then(|in_process| in_process.wall_to_waits(concurrency));
        let what = format!("wall time of user records that wait, {concurrency} at once ÷ waits alone");
        goals.push(Goal::new(what, Bound::AtMost(MAX_WALL_TO_WAITS), wall));
        let cpu = in_process.and_then(|in_process| in_process.cpu_to_one_by_one(concurrency));
        let what = format!("CPU time of a user record that waits, {concurrency} at once ÷ one by one");
        goals.push(Goal::new(what, Bound::AtMost(MAX_CPU_TO_ONE_BY_ONE), cpu));
    }
    let at_once = || {
        let (one, most) = (ours?.concurrency.first()?, ours?.concurrency.last()?);
        Some((most.invocations, most.cpu_ms.median / one.cpu_ms.median))
    };
    let (invocations, growth) = at_once().unzip();
    let what = format!("CPU time of one of {} invocations at once ÷ of one alone", invocations.unwrap_or(8));
    goals.push(Goal::new(what, Bound::AtMost(MAX_GROWTH), growth));
    let allocations = ours.and_then(|ours| Some(ours.on("E1")?.allocations? as f64));
    goals.push(Goal::new("E1, allocations of ours".to_owned(), Bound::AtMost(MAX_ALLOCATIONS), allocations));
    let peak_mb = ours.and_then(|ours| Some(ours.on("E1")?.peak_mb));
    goals.push(Goal::new("E1, peak memory of ours in MB".to_owned(), Bound::AtMost(MAX_PEAK_MB), peak_mb));
    let binary_mb = ours.and_then(|ours| ours.binary_mb);
    goals.push(Goal::new("binary of ours in MB".to_owned(), Bound::AtMost(MAX_BINARY_MB), binary_mb));
    for event in ["E1", "E2", "E3"] {
        let added = || Some(cpu_ms("ours-tables", event)? - cpu_ms("ours-sdk", event)?);
        let what = format!("{event}, CPU time in ms that journal and mirror add");
        goals.push(Goal::new(what, Bound::AtMost(MAX_TABLES_MS), added()));
    }
    let cold_start = |name| Some(of(name)?.cold_start_ms.median);
    for name in ["ours", "ours-sdk"] {
        let ratio = || Some(cold_start(name)? / cold_start("plain-rust")?);
        goals.push(Goal::new(
            format!("cold start, {name} ÷ plain-rust"),
            Bound::AtMost(MAX_COLD_START),
            ratio(),
        ));
    }
    goals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bound: Bound, found: Option<f64>, expected: &str) {
        assert_eq!(Goal::new("ratio".to_owned(), bound, found).to_string(), expected);
    }

    #[test]
    fn a_goal_says_whether_it_is_met() {
        check(Bound::AtLeast(6.0), Some(6.0), "met           ratio: 6, goal ≥ 6");
        check(Bound::AtLeast(5.5), Some(5.4), "MISSED        ratio: 5.40, goal ≥ 5.5");
        check(Bound::AtMost(3.0), Some(2.0), "met           ratio: 2, goal ≤ 3");
        check(Bound::AtMost(3.0), Some(3.5), "MISSED        ratio: 3.50, goal ≤ 3");
        check(Bound::AtLeast(6.0), None, "not measured  ratio: goal ≥ 6");
    }

    #[test]
    fn no_goal_is_met_by_a_contestant_that_is_missing() {
        let goals = goals(&[], None, &Machine::this());
        assert_eq!(goals.len(), 41);
        assert!(goals.iter().all(|goal| goal.is_met.is_none()));
    }
}
