use std::sync::Mutex;

/// Larger buffers are given back to the system: a Lambda event has at most 6 MB.
const MAX_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Memory for the decoded payloads of an event, kept from one invocation to the next: fresh memory would be faulted
/// in page by page every time.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: Mutex<Vec<Vec<u8>>>,
}

/// A buffer that returns to its pool, also when the invocation is cancelled.
#[derive(Debug)]
pub(crate) struct PooledBuffer<'p> {
    pool: &'p BufferPool,
    bytes: Vec<u8>,
}

impl BufferPool {
    /// A buffer of at least this size, with arbitrary content.
    pub(crate) fn take(&self, bytes: usize) -> PooledBuffer<'_> {
        let mut buffer = self.lock().pop().unwrap_or_default();
        if buffer.len() < bytes {
            buffer.resize(bytes, 0);
        }
        PooledBuffer { pool: self, bytes: buffer }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // A panic elsewhere leaves a list of buffers that is as good as before.
        self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl PooledBuffer<'_> {
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for PooledBuffer<'_> {
    fn drop(&mut self) {
        if self.bytes.len() <= MAX_KEPT_BYTES {
            self.pool.lock().push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_unless_it_is_huge() {
        let pool = BufferPool::default();
        pool.take(100).bytes()[99] = 7;
        assert_eq!(pool.take(50).bytes()[99], 7);
        assert_eq!(pool.take(200).bytes().len(), 200);
        // The largest event that Lambda delivers.
        drop(pool.take(6 * 1024 * 1024));
        assert_eq!(pool.take(0).bytes().len(), 6 * 1024 * 1024);
        drop(pool.take(MAX_KEPT_BYTES + 1));
        assert_eq!(pool.take(0).bytes().len(), 0);
    }
}
