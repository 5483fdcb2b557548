//! The measurement of all contestants on all events, in turns.

use std::{fs, slice};

use anyhow::{Context, Result};
use serde::Serialize;

use bench_events::Event;

use crate::{
    contestant::{Contestant, Sample, Session},
    package::zipped_bytes,
};

/// Name of the contestant that is invoked several times at once.
const OF_CONCURRENCY: &str = "ours";

const CONCURRENT_INVOCATIONS: [usize; 4] = [1, 2, 4, 8];

/// Invocations among which allocations are counted.
const COUNTED_INVOCATIONS: u64 = 10;

/// The numbers of repetitions.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) cold_starts: usize,
    /// Rounds before the measurement, in which just-in-time compilers and allocators warm up.
    pub(crate) warm_up_rounds: usize,
    pub(crate) rounds: usize,
    /// Invocations of each contestant in a round.
    pub(crate) invocations: usize,
}

/// The median and the quartiles of samples.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) p25: f64,
    pub(crate) p75: f64,
    pub(crate) samples: usize,
}

impl Spread {
    /// Returns the nearest ranks. NaN if there are no samples.
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let quartile = |quarters| {
            let rank = samples.len().saturating_sub(1) * quarters;
            samples.get((rank + 2) / 4).copied().unwrap_or(f64::NAN)
        };
        Spread { median: quartile(2), p25: quartile(1), p75: quartile(3), samples: samples.len() }
    }
}

/// The figures of one contestant on one event.
#[derive(Serialize)]
pub(crate) struct EventFigures {
    pub(crate) event: &'static str,
    pub(crate) wall_ms: Spread,
    pub(crate) cpu_ms: Spread,
    /// Peak memory in megabytes of a process that has got no other event.
    pub(crate) peak_mb: f64,
    /// Allocations and reallocations of an invocation, if they can be counted.
    pub(crate) allocations: Option<u64>,
}

/// The CPU time of an invocation when several run at once.
#[derive(Serialize)]
pub(crate) struct ConcurrencyFigures {
    pub(crate) invocations: usize,
    pub(crate) cpu_ms: Spread,
}

/// All figures of one contestant.
#[derive(Serialize)]
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Size of the program in megabytes, unless it needs an interpreter.
    pub(crate) binary_mb: Option<f64>,
    /// Size of the zipped deployment package in megabytes.
    pub(crate) package_mb: f64,
    pub(crate) cold_start_ms: Spread,
    pub(crate) events: Vec<EventFigures>,
    /// Invocations at once, each with E1, if that is measured.
    pub(crate) concurrency: Vec<ConcurrencyFigures>,
}

impl Figures {
    /// Returns the figures on an event, if it was measured.
    pub(crate) fn on(&self, event: &str) -> Option<&EventFigures> {
        self.events.iter().find(|figures| figures.event == event)
    }
}

/// Measures contestants that can be started.
pub(crate) async fn measure(
    contestants: &[Contestant],
    events: &[Event],
    plan: Plan,
) -> Result<Vec<Figures>> {
    let mut cold_starts = vec![Vec::new(); contestants.len()];
    for _ in 0..plan.cold_starts {
        for (contestant, samples) in contestants.iter().zip(&mut cold_starts) {
            let session = Session::start(contestant).await.context(contestant.name)?;
            samples.push(session.cold_start().as_secs_f64() * 1e3);
            session.stop().await?;
        }
    }
    let mut all = Vec::new();
    for (contestant, cold_starts) in contestants.iter().zip(cold_starts) {
        let Contestant { name, title, .. } = *contestant;
        let program = fs::read(&contestant.program)?;
        let binary_mb = program.starts_with(b"\x7fELF").then_some(program.len() as f64 / 1e6);
        let cold_start_ms = Spread::of(cold_starts);
        let mut package_bytes = 0;
        let parts = if contestant.package.is_empty() {
            slice::from_ref(&contestant.program)
        } else {
            &contestant.package
        };
        for part in parts {
            package_bytes += zipped_bytes(part)?;
        }
        let package_mb = package_bytes as f64 / 1e6;
        let (events, concurrency) = (Vec::new(), Vec::new());
        all.push(Figures { name, title, binary_mb, package_mb, cold_start_ms, events, concurrency });
    }
    for event in events {
        eprintln!("measuring {}: {} ...", event.name, event.description);
        let figures = measure_event(contestants, event, plan).await?;
        for (all, figures) in all.iter_mut().zip(figures) {
            all.events.push(figures);
        }
    }
    if let Some(event) = events.first() {
        for (contestant, figures) in contestants.iter().zip(&mut all) {
            if contestant.name == OF_CONCURRENCY {
                eprintln!("measuring invocations at once ...");
                figures.concurrency = measure_concurrency(contestant, event, plan).await?;
            }
        }
    }
    Ok(all)
}

async fn measure_concurrency(
    contestant: &Contestant,
    event: &Event,
    plan: Plan,
) -> Result<Vec<ConcurrencyFigures>> {
    let mut sessions = Vec::new();
    for invocations in CONCURRENT_INVOCATIONS {
        sessions.push((invocations, Session::start_with(contestant, invocations).await?, Vec::new()));
    }
    for round in 0..plan.warm_up_rounds + plan.rounds {
        for (invocations, session, samples) in &mut sessions {
            for _ in 0..plan.invocations {
                let sample = session.invoke(event).await?;
                if round >= plan.warm_up_rounds {
                    samples.push(sample.cpu_ms / *invocations as f64);
                }
            }
        }
    }
    let mut figures = Vec::new();
    for (invocations, session, samples) in sessions {
        session.finish(event).await?;
        figures.push(ConcurrencyFigures { invocations, cpu_ms: Spread::of(samples) });
    }
    Ok(figures)
}

/// Counts the allocations of an invocation of a process that has been warmed up.
async fn count_allocations(contestant: &Contestant, event: &Event) -> Result<Option<u64>> {
    let Some(counting) = contestant.counting() else { return Ok(None) };
    let mut session = Session::start(&counting).await?;
    // The first answer, too, allocates.
    session.allocations().await?;
    for _ in 0..COUNTED_INVOCATIONS {
        session.invoke(event).await?;
    }
    let before = session.allocations().await?;
    for _ in 0..COUNTED_INVOCATIONS {
        session.invoke(event).await?;
    }
    let counted = session.allocations().await? - before;
    session.finish(event).await?;
    Ok(Some(counted.div_ceil(COUNTED_INVOCATIONS)))
}

async fn measure_event(contestants: &[Contestant], event: &Event, plan: Plan) -> Result<Vec<EventFigures>> {
    let mut sessions = Vec::new();
    for contestant in contestants {
        sessions.push((Session::start(contestant).await.context(contestant.name)?, Vec::<Sample>::new()));
    }
    for round in 0..plan.warm_up_rounds + plan.rounds {
        for (session, samples) in &mut sessions {
            for _ in 0..plan.invocations {
                let sample = session.invoke(event).await?;
                if round >= plan.warm_up_rounds {
                    samples.push(sample);
                }
            }
        }
    }
    let mut figures = Vec::new();
    for (contestant, (session, samples)) in contestants.iter().zip(sessions) {
        figures.push(EventFigures {
            event: event.name,
            wall_ms: Spread::of(samples.iter().map(|sample| sample.wall_ms).collect()),
            cpu_ms: Spread::of(samples.iter().map(|sample| sample.cpu_ms).collect()),
            peak_mb: session.finish(event).await? as f64 / 1e6,
            allocations: count_allocations(contestant, event).await?,
        });
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_and_the_quartiles() {
        let spread = Spread::of(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!((spread.p25, spread.median, spread.p75, spread.samples), (2.0, 3.0, 4.0, 5));
        let spread = Spread::of(vec![7.0]);
        assert_eq!((spread.p25, spread.median, spread.p75, spread.samples), (7.0, 7.0, 7.0, 1));
        assert!(Spread::of(vec![]).median.is_nan());
    }
}
