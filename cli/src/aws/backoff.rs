use std::time::Duration;

const FIRST_DELAY: Duration = Duration::from_millis(250);

const MAX_DELAY: Duration = Duration::from_secs(20);

/// The delay before a request is repeated: twice as long each time, up to a limit, and by chance up to half of
/// that less, so that shards that were refused together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    delay: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Backoff { delay: FIRST_DELAY }
    }

    pub(crate) fn next_delay(&mut self) -> Duration {
        let delay = self.delay;
        self.delay = (delay * 2).min(MAX_DELAY);
        delay.mul_f64(1.0 - fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit() {
        let mut backoff = Backoff::new();
        for longest_ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000] {
            let delay_ms = backoff.next_delay().as_millis();
            assert!((longest_ms / 2..=longest_ms).contains(&delay_ms), "{delay_ms} of {longest_ms}");
        }
    }
}
