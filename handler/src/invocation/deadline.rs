use tokio::time::Instant;

use crate::{Alarm, invocation::Invocation};

/// The deadline guard between user records, where a processor that never waits would not let the batch's timer run.
///
/// Before every user record it looks at an alarm, because reading the clock takes about as long as a small record; without
/// an alarm, which only the system's clock has, it reads the clock.
pub(crate) struct DeadlineCheck<'a> {
    invocation: &'a Invocation<'a>,
    stop_at: Option<Instant>,
    alarm: Option<Alarm>,
}

impl<'a> DeadlineCheck<'a> {
    pub(crate) fn new(invocation: &'a Invocation<'a>) -> Self {
        let stop_at = invocation.stop_at;
        // An alarm for an instant that has passed would come a moment too late.
        let alarm = stop_at
            .filter(|&stop_at| invocation.clock.instant() < stop_at)
            .and_then(|stop_at| invocation.clock.alarm(stop_at));
        DeadlineCheck { invocation, stop_at, alarm }
    }

    /// Sets the alarm again, for an instant that may have passed.
    pub(crate) fn renew(&mut self) {
        *self = DeadlineCheck::new(self.invocation);
    }

    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        if self.alarm.as_ref().is_some_and(|alarm| !alarm.is_due()) {
            return false;
        }
        // The clock decides: tokio's time may be paused, so that it lies behind the system's.
        self.stop_at.is_some_and(|stop_at| self.invocation.clock.instant() >= stop_at)
    }
}
