use std::{cell::Cell, time::Duration};

use tokio::time::{Instant, sleep_until};

/// A shard allows five reads in a second, by all who read it:
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const SHORTEST_INTERVAL: Duration = Duration::from_millis(200);

/// When a shard may be read again. All who read it here share it.
#[derive(Debug)]
pub(crate) struct ReadPace {
    interval: Duration,
    next: Cell<Instant>,
}

impl Default for ReadPace {
    /// As often as a shard allows.
    fn default() -> Self {
        Self::every(SHORTEST_INTERVAL)
    }
}

impl ReadPace {
    pub(crate) fn every(interval: Duration) -> Self {
        ReadPace { interval, next: Cell::new(Instant::now()) }
    }

    /// Waits for the caller's turn.
    pub(super) async fn turn(&self) {
        let turn = self.next.get().max(Instant::now());
        self.next.set(turn + self.interval);
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_a_fifth_of_a_second_apart() {
        let start = Instant::now();
        let pace = ReadPace::default();
        pace.turn().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::join!(pace.turn(), pace.turn());
        assert_eq!(start.elapsed(), Duration::from_millis(400));
        tokio::time::sleep(Duration::from_secs(1)).await;
        pace.turn().await;
        assert_eq!(start.elapsed(), Duration::from_millis(1_400));
    }
}
