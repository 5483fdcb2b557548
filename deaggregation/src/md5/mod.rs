//! MD5 digests of many messages at once.
//!
//! Each step of MD5 waits for the result of the step before, so a processor with one message is idle most of the time. Here,
//! each lane of a vector has a message of its own, and takes the next one when that ends:
//!
//! - `compress` has the steps, written once as a macro.
//! - `portable`, `avx2`, `avx512` and `neon` have the vectors.
//! - `lane` assigns messages to lanes.
//! - `implementation` chooses the vectors that suit the processor. It alone is unsafe.

mod compress;
mod portable;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod lane;
mod implementation;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use self::implementation::Implementation;
use crate::VectorInstructions;

/// A digester of many messages at once. Make one and keep it: it reuses its memory.
#[derive(Debug)]
pub(crate) struct Md5Lanes {
    implementation: Implementation,
    queue: Vec<QueuedMessage>,
}

#[derive(Debug)]
struct QueuedMessage {
    length: usize,
    position: usize,
}

impl Default for Md5Lanes {
    fn default() -> Self {
        Md5Lanes::with_instructions(VectorInstructions::default())
    }
}

impl Md5Lanes {
    pub(crate) fn with_instructions(instructions: VectorInstructions) -> Self {
        Md5Lanes::new(Implementation::fastest(instructions))
    }

    fn new(implementation: Implementation) -> Self {
        Md5Lanes { implementation, queue: Vec::new() }
    }

    pub(crate) fn lanes(&self) -> usize {
        self.implementation.lanes()
    }

    /// Computes the digests of the messages at positions below `end`. `message` returns `None` if a position has no message.
    ///
    /// Each digest is passed to `digested` with the position of its message, in any order.
    pub(crate) fn digest_all<'m>(
        &mut self,
        end: usize,
        message: impl Fn(usize) -> Option<&'m [u8]>,
        digested: impl FnMut(usize, [u8; 16]),
    ) {
        self.queue.clear();
        self.queue.extend((0..end).filter_map(|position| {
            let length = message(position)?.len();
            Some(QueuedMessage { length, position })
        }));
        // With the shortest messages at the end, all lanes have work until shortly before it.
        self.queue.sort_unstable_by_key(|queued| Reverse(queued.length));
        let messages =
            self.queue.iter().filter_map(|queued| Some((queued.position, message(queued.position)?)));
        self.implementation.digest_all(messages, digested);
    }
}
