use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// The time that a figure may take.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    per_figure: Duration,
}

impl Effort {
    pub(crate) const FULL: Self = Effort { per_figure: Duration::from_millis(1_000) };
    pub(crate) const QUICK: Self = Effort { per_figure: Duration::from_millis(100) };

    /// Returns the shortest CPU time in milliseconds of many: what else the machine does can only add to it.
    pub(crate) fn shortest_ms(self, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
        // Memory and branch predictors.
        for _ in 0..3 {
            work()?;
        }
        // Short work is repeated, so that reading the clock does not count.
        let started = thread_cpu_time();
        work()?;
        let once = (thread_cpu_time() - started).as_nanos().max(1);
        let repetitions = (SHORT.as_nanos() / once).max(1) as u32;
        let mut shortest = Duration::MAX;
        let end = Instant::now() + self.per_figure;
        while Instant::now() < end {
            let started = thread_cpu_time();
            for _ in 0..repetitions {
                work()?;
            }
            shortest = shortest.min((thread_cpu_time() - started) / repetitions);
        }
        Ok(shortest.as_secs_f64() * 1e3)
    }
}

/// Work that takes less is repeated.
const SHORT: Duration = Duration::from_micros(50);

/// Returns the CPU time of this thread, which does not run on while other programs do.
pub(crate) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Both parts are positive.
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
