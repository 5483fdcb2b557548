//! Messages in lanes: each lane takes the next message when its own ends.

use std::{array, ops::Range};

use super::compress::{Block, INITIAL_STATE, States};

/// Computes the digests of messages in `LANES` lanes. Each is passed to `digested` with the position of its message.
///
/// `compress` gets the same number of blocks for each lane. The last `max_scalar_messages` messages in progress are finished
/// one after the other.
pub(super) fn digest_all<'m, const LANES: usize>(
    compress: impl Fn(&mut States<LANES>, &[&[Block]; LANES]),
    max_scalar_messages: usize,
    mut messages: impl Iterator<Item = (usize, &'m [u8])>,
    mut digested: impl FnMut(usize, [u8; 16]),
) {
    let mut lanes = Lanes::new(messages.by_ref().take(LANES));
    while lanes.used > max_scalar_messages {
        lanes.advance(&compress);
        let mut index = 0;
        while index < lanes.used {
            let lane = &lanes.lanes[index];
            if !lane.blocks().is_empty() {
                index += 1;
                continue;
            }
            digested(lane.position, digest(lanes.state(index)));
            match messages.next() {
                Some(message) => lanes.start(index, message),
                None => lanes.remove(index),
            }
        }
    }
    for index in 0..lanes.used {
        let mut state = lanes.state(index);
        let lane = &mut lanes.lanes[index];
        while !lane.blocks().is_empty() {
            md5::block_api::compress(&mut state, lane.blocks());
            lane.skip(lane.blocks().len());
        }
        digested(lane.position, digest(state));
    }
}

fn digest(state: [u32; 4]) -> [u8; 16] {
    bytemuck::must_cast(state.map(u32::to_le_bytes))
}

struct Lanes<'m, const LANES: usize> {
    states: States<LANES>,
    lanes: [MessageLane<'m>; LANES],
    /// Number of lanes in use, which are the first ones.
    used: usize,
}

impl<'m, const LANES: usize> Lanes<'m, LANES> {
    /// Starts `LANES` messages at most.
    fn new(messages: impl Iterator<Item = (usize, &'m [u8])>) -> Self {
        let lanes = array::from_fn(|_| MessageLane::default());
        let mut lanes = Lanes { states: [[0; LANES]; 4], lanes, used: 0 };
        for message in messages {
            lanes.start(lanes.used, message);
            lanes.used += 1;
        }
        lanes
    }

    fn start(&mut self, index: usize, (position, message): (usize, &'m [u8])) {
        self.lanes[index].start(position, message);
        self.set_state(index, INITIAL_STATE);
    }

    /// Takes a lane out of use by moving the last one in use to its place.
    fn remove(&mut self, index: usize) {
        self.used -= 1;
        self.lanes.swap(index, self.used);
        self.set_state(index, self.state(self.used));
    }

    /// Compresses as many blocks of each lane in use as the one with the fewest has.
    fn advance(&mut self, compress: impl Fn(&mut States<LANES>, &[&[Block]; LANES])) {
        let used = &mut self.lanes[..self.used];
        let Some(count) = used.iter().map(|lane| lane.blocks().len()).min() else { return };
        // An unused lane repeats the work of the first one, because those blocks are in the cache.
        let blocks = array::from_fn(|index| &used.get(index).unwrap_or(&used[0]).blocks()[..count]);
        compress(&mut self.states, &blocks);
        used.iter_mut().for_each(|lane| lane.skip(count));
    }

    fn state(&self, index: usize) -> [u32; 4] {
        self.states.map(|values| values[index])
    }

    fn set_state(&mut self, index: usize, state: [u32; 4]) {
        for (values, value) in self.states.iter_mut().zip(state) {
            values[index] = value;
        }
    }
}

/// A message in progress.
struct MessageLane<'m> {
    /// Position among all messages.
    position: usize,
    /// Whole blocks of the message that are left.
    body: &'m [Block],
    /// The incomplete last block of the message with the padding, which may need a second block.
    tail: [Block; 2],
    /// Blocks of the tail that are left.
    tail_left: Range<usize>,
}

impl Default for MessageLane<'_> {
    fn default() -> Self {
        MessageLane { position: 0, body: &[], tail: [[0; 64]; 2], tail_left: 0..0 }
    }
}

impl<'m> MessageLane<'m> {
    fn start(&mut self, position: usize, message: &'m [u8]) {
        let (body, end) = message.as_chunks();
        // The padding is one bit, zeros, and the length of the message in bits as 8 bytes.
        let blocks = if end.len() < 56 { 1 } else { 2 };
        let tail = self.tail.as_flattened_mut();
        tail.fill(0);
        tail[..end.len()].copy_from_slice(end);
        tail[end.len()] = 0x80;
        let bits = (message.len() as u64).wrapping_mul(8);
        tail[64 * blocks - 8..][..8].copy_from_slice(&bits.to_le_bytes());
        (self.position, self.body, self.tail_left) = (position, body, 0..blocks);
    }

    /// Returns the next blocks: what is left of the body or else of the tail. None are left when the message has ended.
    fn blocks(&self) -> &[Block] {
        if self.body.is_empty() { &self.tail[self.tail_left.clone()] } else { self.body }
    }

    /// Drops the first `count` of the next blocks.
    fn skip(&mut self, count: usize) {
        if self.body.is_empty() {
            self.tail_left.start += count;
        } else {
            self.body = &self.body[count..];
        }
    }
}
