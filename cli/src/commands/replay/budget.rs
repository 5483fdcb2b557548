use tokio::sync::{Semaphore, SemaphorePermit};

/// Memory for all records that are read and not delivered, about.
const BUDGET_KIB: u32 = 192 * 1024;

/// Memory for a read: 10 MiB, once as JSON with base64 and once decoded.
const READ_KIB: u32 = 24 * 1024;

/// Keeps the shards of a replay from reading more ahead than fits into memory.
#[derive(Debug)]
pub(super) struct Budget {
    kib: Semaphore,
}

/// A part of it that somebody has.
#[derive(Debug)]
pub(super) struct Share<'b>(SemaphorePermit<'b>);

impl Budget {
    pub(super) fn new() -> Self {
        Budget { kib: Semaphore::new(BUDGET_KIB as usize) }
    }

    /// Waits until there is enough for a read.
    pub(super) async fn for_a_read(&self) -> Share<'_> {
        Share(self.kib.acquire_many(READ_KIB).await.expect("nobody closes it"))
    }
}

impl Share<'_> {
    /// Gives back what the read has not taken.
    pub(super) fn keep(&mut self, bytes: usize) {
        let kept = bytes.div_ceil(1024).min(READ_KIB as usize);
        drop(self.0.split(READ_KIB as usize - kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_needed_is_there_for_others() {
        let budget = Budget::new();
        let mut shares = Vec::new();
        for _ in 0..8 {
            shares.push(budget.for_a_read().await);
        }
        assert_eq!(budget.kib.available_permits(), 0);
        shares[0].keep(1);
        assert_eq!(budget.kib.available_permits(), READ_KIB as usize - 1);
        drop(shares);
        assert_eq!(budget.kib.available_permits(), BUDGET_KIB as usize);
    }
}
