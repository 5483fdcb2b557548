use std::{fmt, time::Duration};

use tokio::time::sleep;

use crate::output::note::count;

/// Why a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Signal(&'static str),
    /// A signal did not let these invocations end.
    Killed {
        signal: &'static str,
        invocations: usize,
    },
    TimeIsUp,
    /// There is nothing left to read: all shards are closed.
    ShardsEnded,
    /// Nobody reads the output any more, or it cannot be written.
    Output,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Signal(name) => write!(f, "ended by {name}"),
            Ending::Killed { signal, invocations } => {
                write!(f, "ended by {signal}, {} killed", count(*invocations as u64, "invocation"))
            }
            Ending::TimeIsUp => f.write_str("time is up"),
            Ending::ShardsEnded => f.write_str("all shards have ended"),
            Ending::Output => f.write_str("standard output does not take any more"),
        }
    }
}

/// Waits until the time is up, for ever without one.
pub(super) async fn time_is_up(duration: Option<Duration>) -> Ending {
    match duration {
        Some(duration) => sleep(duration).await,
        None => std::future::pending().await,
    }
    Ending::TimeIsUp
}
