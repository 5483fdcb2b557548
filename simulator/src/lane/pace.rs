use std::time::Duration;

use chacha20::ChaCha8Rng;
use kinesis_esm::{Undocumented, backlog::Pace};
use rand::{RngExt, SeedableRng};

/// The random choices of one lane of a shard: delays and request IDs. Lanes draw from streams of their own, so that
/// none changes what another one gets.
#[derive(Debug)]
pub(crate) struct SeededPace {
    rng: ChaCha8Rng,
    undocumented: Undocumented,
}

impl SeededPace {
    pub(crate) fn new(seed: u64, lane: u64, undocumented: Undocumented) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(lane);
        SeededPace { rng, undocumented }
    }

    /// A UUID of version 4, as Lambda gives to requests.
    pub(crate) fn uuid(&mut self) -> String {
        let mut bits: u128 = self.rng.random();
        bits = bits & !(0xf << 76) | 0x4 << 76;
        bits = bits & !(0x3 << 62) | 0x2 << 62;
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// Returns the number of steps that a function takes before a fault strikes: seldom many, so that all of its parts are hit.
    pub(crate) fn steps(&mut self) -> u32 {
        let most = 1 << self.rng.random_range(0..6);
        self.rng.random_range(0..=most)
    }
}

impl Pace for SeededPace {
    fn request_id(&mut self) -> String {
        self.uuid()
    }

    fn retry_delay(&mut self, failed: u32) -> Duration {
        let Undocumented { first_retry_delay_ms, retry_delay_factor, max_retry_delay_ms, .. } =
            self.undocumented;
        let exponent = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
        // Not infinite: zero times that is no number.
        let growth = retry_delay_factor.powi(exponent).min(f64::MAX);
        let delay = (first_retry_delay_ms as f64 * growth).min(max_retry_delay_ms as f64)
            * (1.0 + self.undocumented.retry_delay_jitter * self.rng.random_range(-1.0..=1.0));
        // Without any delay, time would stand still.
        Duration::from_millis((delay as u64).max(1))
    }

    fn progress_delay(&mut self) -> Duration {
        let Undocumented { min_progress_delay_ms: min, max_progress_delay_ms: max, .. } = self.undocumented;
        Duration::from_millis(self.rng.random_range(min..=max.max(min)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(undocumented: Undocumented) -> SeededPace {
        SeededPace::new(1, 0, undocumented)
    }

    #[test]
    fn request_ids_are_uuids_of_version_4() {
        let uuid = pace(Undocumented::default()).uuid();
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&uuid[14..15], "4");
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
    }

    #[test]
    fn rule_17_retry_delays_grow_up_to_a_limit() {
        let mut undocumented = Undocumented::default();
        undocumented.retry_delay_jitter = 0.0;
        let delays = [1, 2, 3, 9, 10, u32::MAX].map(|tries| pace(undocumented.clone()).retry_delay(tries));
        assert_eq!(delays.map(|delay| delay.as_millis()), [222, 444, 888, 56_832, 60_000, 60_000]);
        undocumented.first_retry_delay_ms = 0;
        assert_eq!(pace(undocumented).retry_delay(u32::MAX).as_millis(), 1);
    }

    #[test]
    fn a_seed_and_a_lane_decide() {
        let ids = |seed, lane| SeededPace::new(seed, lane, Undocumented::default()).uuid();
        assert_eq!(ids(1, 2), ids(1, 2));
        assert_ne!(ids(1, 2), ids(1, 3));
        assert_ne!(ids(1, 2), ids(2, 2));
    }
}
