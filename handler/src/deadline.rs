use std::time::Duration;

use tokio::time::Instant;

use crate::invocation::Invocation;

/// Reading the clock takes about as long as a small record.
const MAX_STRIDE: u32 = 64;

/// What a stride should take at most. Far less than any useful margin.
const STRIDE_TIME: Duration = Duration::from_millis(1);

/// Between records a processor that never waits would never let the timer of the batch run, so the clock is read there
/// too: after every record while they are slow, after up to 64 while they are fast.
pub(crate) struct DeadlineCheck<'a> {
    invocation: &'a Invocation<'a>,
    /// Records until the clock is read again.
    due_in: u32,
    stride: u32,
    last_read: Instant,
}

impl<'a> DeadlineCheck<'a> {
    pub(crate) fn new(invocation: &'a Invocation<'a>) -> Self {
        DeadlineCheck { invocation, due_in: 0, stride: 1, last_read: invocation.arrived }
    }

    #[inline]
    pub(crate) fn is_over(&mut self) -> bool {
        match self.due_in.checked_sub(1) {
            Some(due_in) => {
                self.due_in = due_in;
                false
            }
            None => self.read_clock(),
        }
    }

    fn read_clock(&mut self) -> bool {
        let Some(stop_at) = self.invocation.stop_at else {
            self.due_in = u32::MAX;
            return false;
        };
        let now = self.invocation.clock.instant();
        let fast = now.saturating_duration_since(self.last_read) < STRIDE_TIME;
        self.stride = if fast { (self.stride * 2).min(MAX_STRIDE) } else { 1 };
        self.due_in = self.stride - 1;
        self.last_read = now;
        now >= stop_at
    }
}
