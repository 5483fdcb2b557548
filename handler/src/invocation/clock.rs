use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::Alarm;

/// The source of time: deadlines, ages, expiries. Tests put another one into the options.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since 1970, as Lambda gives deadlines.
    fn epoch_ms(&self) -> u64;

    /// The instant that timers compare with.
    fn instant(&self) -> Instant;

    /// Returns a flag that is set when the instant has come, if this clock follows the system's time. The deadline guard
    /// then looks at it before each user record, and reads the clock only after it is set. Without one, which is the
    /// default, the guard reads the clock before each user record.
    fn alarm(&self, _instant: Instant) -> Option<Alarm> {
        None
    }
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

    fn alarm(&self, instant: Instant) -> Option<Alarm> {
        Alarm::at(instant.into_std())
    }
}
