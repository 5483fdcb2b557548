use std::{borrow::Cow, sync::Arc, time::Duration};

use lambda_runtime::Context;
use tokio::time::Instant;

use crate::{Clock, Options};

/// One call of the function: who it is and how much time it has.
#[derive(Debug, Clone)]
pub(crate) struct Invocation<'a> {
    pub(crate) request_id: Cow<'a, str>,
    pub(crate) arrived: Instant,
    /// When the deadline guard stops the batch. `None` without a deadline, as outside of Lambda.
    pub(crate) stop_at: Option<Instant>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<'a> Invocation<'a> {
    pub(crate) fn arrive(context: &'a Context, options: &Options) -> Self {
        let clock = Arc::clone(&options.clock);
        let arrived = clock.instant();
        // Lambda never delivers an event whose deadline has passed. Contexts of unit tests have the deadline 0, and
        // `cargo lambda watch` gives all the same deadline, ten minutes after the start of 1970.
        let left = context.deadline.checked_sub(clock.epoch_ms()).filter(|&left| left > 0);
        let stop_at = left.map(|left| {
            let left = Duration::from_millis(left);
            arrived + (left - options.deadline_margin.min(left / 2))
        });
        Invocation { request_id: Cow::Borrowed(&context.request_id), arrived, stop_at, clock }
    }

    pub(crate) fn remaining_time(&self) -> Option<Duration> {
        self.stop_at.map(|stop_at| stop_at.saturating_duration_since(self.clock.instant()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct FixedClock(Instant);

    impl Clock for FixedClock {
        fn epoch_ms(&self) -> u64 {
            1_000_000
        }

        fn instant(&self) -> Instant {
            self.0
        }
    }

    #[track_caller]
    fn check(deadline: u64, margin_ms: u64, expected_ms: Option<u64>) {
        let mut context = Context::default();
        context.deadline = deadline;
        let options = Options {
            deadline_margin: Duration::from_millis(margin_ms),
            clock: Arc::new(FixedClock(Instant::now())),
            ..Options::default()
        };
        let remaining = Invocation::arrive(&context, &options).remaining_time();
        assert_eq!(remaining, expected_ms.map(Duration::from_millis));
    }

    #[test]
    fn the_margin_is_at_most_half_of_the_time_left() {
        check(1_010_000, 1_000, Some(9_000));
        check(1_001_000, 1_000, Some(500));
        check(1_010_000, 0, Some(10_000));
    }

    #[test]
    fn a_deadline_that_has_passed_is_none() {
        check(1_000_002, 1_000, Some(1));
        check(1_000_000, 1_000, None);
        check(600_000, 1_000, None);
        check(0, 1_000, None);
    }
}
