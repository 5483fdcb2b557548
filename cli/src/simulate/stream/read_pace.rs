use std::{cell::Cell, time::Duration};

use tokio::time::{Instant, sleep_until};

/// A shard allows five reads in a second:
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const INTERVAL: Duration = Duration::from_millis(200);

/// When a shard may be read again. All of its lanes share it.
#[derive(Debug)]
pub(super) struct ReadPace {
    next: Cell<Instant>,
}

impl ReadPace {
    pub(super) fn new() -> Self {
        ReadPace { next: Cell::new(Instant::now()) }
    }

    /// Waits for the caller's turn.
    pub(super) async fn turn(&self) {
        let turn = self.next.get().max(Instant::now());
        self.next.set(turn + INTERVAL);
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_a_fifth_of_a_second_apart() {
        let start = Instant::now();
        let pace = ReadPace::new();
        pace.turn().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::join!(pace.turn(), pace.turn());
        assert_eq!(start.elapsed(), Duration::from_millis(400));
        tokio::time::sleep(Duration::from_secs(1)).await;
        pace.turn().await;
        assert_eq!(start.elapsed(), Duration::from_millis(1_400));
    }
}
