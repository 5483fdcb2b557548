use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

/// Where all time comes from: deadlines, ages, expiries. Tests put another one into the options.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since 1970, as Lambda gives deadlines.
    fn epoch_ms(&self) -> u64;

    /// The instant that timers compare with.
    fn instant(&self) -> Instant;
}

/// The system's time. Its instants follow tokio's paused time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn epoch_ms(&self) -> u64 {
        // Before 1970 is as good as 1970: every deadline is then far away.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}
