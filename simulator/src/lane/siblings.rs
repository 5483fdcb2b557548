use std::cell::RefCell;

use kinesis_esm::FailingLane;
use tokio::sync::Notify;

/// The lanes of a shard, as far as they have to do with each other (rule 8).
#[derive(Debug)]
pub(crate) struct Siblings {
    failing: RefCell<Vec<bool>>,
    changed: Notify,
    rule: FailingLane,
}

impl Siblings {
    pub(crate) fn new(lanes: u32, rule: FailingLane) -> Self {
        Siblings { failing: RefCell::new(vec![false; lanes as usize]), changed: Notify::new(), rule }
    }

    pub(crate) fn set_failing(&self, lane: u32, failing: bool) {
        let before = std::mem::replace(&mut self.failing.borrow_mut()[lane as usize], failing);
        if before && !failing {
            self.changed.notify_waiters();
        }
    }

    /// Waits until a lane that is not failing may begin a new batch.
    pub(crate) async fn wait(&self) {
        loop {
            let changed = self.changed.notified();
            let blocked = self.rule == FailingLane::Stall && self.failing.borrow().contains(&true);
            if !blocked {
                return;
            }
            changed.await;
        }
    }
}
