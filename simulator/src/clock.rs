use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kinesis_handler::Clock;
use tokio::time::{Instant, sleep_until};

/// The time of a simulation: wall-clock milliseconds that follow tokio's time, which may be paused, and that may jump.
///
/// A jump moves the wall clock only. What was to happen in so many milliseconds still happens after so many.
#[derive(Debug, Clone)]
pub struct SimulationClock {
    start: Instant,
    start_ms: u64,
    /// In order, not overlapping.
    jumps: Vec<ClockJump>,
}

/// The wall clock shows `until_ms` as soon as it would have shown `at_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockJump {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Milliseconds since 1970, not before `at_ms`.
    pub until_ms: u64,
}

impl SimulationClock {
    /// A clock that shows `start_ms` (milliseconds since 1970) now. A jump that begins within another one is not made.
    pub fn new(start_ms: u64, mut jumps: Vec<ClockJump>) -> Self {
        jumps.retain(|jump| jump.at_ms < jump.until_ms && jump.until_ms > start_ms);
        jumps.sort_unstable();
        let mut reached = 0;
        jumps.retain(|jump| {
            let possible = jump.at_ms >= reached;
            if possible {
                reached = jump.until_ms;
            }
            possible
        });
        SimulationClock { start: Instant::now(), start_ms, jumps }
    }

    /// A clock that shows the system's time.
    pub fn real() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self::new(now.map_or(0, |since| since.as_millis() as u64), Vec::new())
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        let mut now = self.start_ms + self.start.elapsed().as_millis() as u64;
        for jump in &self.jumps {
            if now < jump.at_ms {
                break;
            }
            now += jump.until_ms - jump.at_ms;
        }
        now
    }

    /// Waits until the clock shows this time (milliseconds since 1970) or a later one.
    pub async fn sleep_until_ms(&self, time_ms: u64) {
        let mut jumped = 0;
        for jump in self.jumps.iter().take_while(|jump| jump.at_ms <= time_ms) {
            // The time itself may be one that the clock never shows.
            jumped += jump.until_ms.min(time_ms) - jump.at_ms;
        }
        let without_jumps = time_ms - jumped;
        let elapsed = Duration::from_millis(without_jumps.saturating_sub(self.start_ms));
        sleep_until(self.start + elapsed).await;
    }
}

impl Clock for SimulationClock {
    fn epoch_ms(&self) -> u64 {
        self.now_ms()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the times that the clock shows after waiting for each of these times in turn, and the time that it took in all.
    async fn waits(jumps: &[(u64, u64)], times: &[u64]) -> (Vec<u64>, Duration) {
        let start = Instant::now();
        let jumps = jumps.iter().map(|&(at_ms, until_ms)| ClockJump { at_ms, until_ms }).collect();
        let clock = SimulationClock::new(1_000, jumps);
        let mut shown = Vec::new();
        for &time in times {
            clock.sleep_until_ms(time).await;
            shown.push(clock.now_ms());
        }
        (shown, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_time_or_at_the_jump_over_it() {
        assert_eq!(waits(&[], &[500, 1_000, 1_250]).await, (vec![1_000, 1_000, 1_250], ms(250)));
        let jump = [(2_000, 9_000)];
        assert_eq!(waits(&jump, &[1_999, 2_000]).await, (vec![1_999, 9_000], ms(1_000)));
        assert_eq!(waits(&jump, &[8_999, 9_000, 9_001]).await, (vec![9_000, 9_000, 9_001], ms(1_001)));
        let two = [(9_500, 20_000), (2_000, 9_000)];
        assert_eq!(waits(&two, &[9_499, 10_000, 20_001]).await, (vec![9_499, 20_000, 20_001], ms(1_501)));
        // The second begins at a time that the first leaves out.
        assert_eq!(waits(&[(2_000, 9_000), (3_000, 50_000)], &[9_001]).await, (vec![9_001], ms(1_001)));
        assert_eq!(waits(&[(0, 500)], &[1_001]).await, (vec![1_001], ms(1)));
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }
}
