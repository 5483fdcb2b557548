//! The function's side of a cut-over to a new event source mapping: what was processed before it is skipped.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::CheckpointPosition;
use crate::SequenceNumber;

/// The longest pause between two batches of a shard, in milliseconds, after which the row is not read again. A cut-over stops the
/// mapping for longer than that, so an environment that has read the row before does not miss it.
const LONGEST_PAUSE_MS: u64 = 30_000;

/// A position of a shard that a cut-over has frozen in its row: what a new event source mapping delivers up to there was
/// processed before, through the old one.
///
/// `kinesis-kit checkpoint cutover` writes it, a handler [that is told to](crate::MirrorOptions::cutover) reads it, and the
/// checkpoint that passes it removes it. Its attributes are `cutoverSequence`, a sequence number or `SHARD_END`, `cutoverSub`, and
/// `cutoverExpiresAt`, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrozenPosition {
    /// The last user record that was processed. `None` if the shard was processed to its end.
    pub through: Option<CheckpointPosition>,
    /// Time from which it does not count any more, in milliseconds since 1970.
    pub expires_ms: u64,
}

impl FrozenPosition {
    /// Whether all user records of a Kinesis record were processed, as far as its sequence number tells.
    pub(crate) fn covers_record(&self, sequence_number: SequenceNumber) -> bool {
        self.through.is_none_or(|through| sequence_number < through.sequence_number)
    }

    /// Whether everything up to a position was processed.
    pub(crate) fn covers(&self, position: CheckpointPosition) -> bool {
        self.through.is_none_or(|through| position <= through)
    }
}

/// The frozen positions that one environment has read.
#[derive(Debug, Default)]
pub(crate) struct FrozenPositions {
    shards: Mutex<HashMap<ShardKey, Seen>>,
}

/// ARN of the stream, and ID of the shard.
type ShardKey = (Option<String>, Option<String>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    frozen: Option<FrozenPosition>,
    /// When a batch of the shard was here last, in milliseconds since 1970.
    at_ms: u64,
}

impl FrozenPositions {
    /// Returns what was read of a shard's row, with `None` in it if nothing is frozen. `None` if the row must be read: for the
    /// first batch of the shard, and after a pause in which a cut-over may have been.
    pub(crate) fn known(&self, key: &ShardKey, now_ms: u64) -> Option<Option<FrozenPosition>> {
        let seen = *self.shards().get(key)?;
        (now_ms.saturating_sub(seen.at_ms) <= LONGEST_PAUSE_MS).then_some(seen.frozen)
    }

    /// Notes what a row has.
    pub(crate) fn note(&self, key: ShardKey, frozen: Option<FrozenPosition>, now_ms: u64) {
        self.shards().insert(key, Seen { frozen, at_ms: now_ms });
    }

    /// Notes that a batch of a shard has ended. With `is_passed`, its checkpoint has removed what was frozen.
    pub(crate) fn end_batch(&self, key: &ShardKey, is_passed: IsPassed, now_ms: u64) {
        if let Some(seen) = self.shards().get_mut(key) {
            seen.at_ms = now_ms;
            if is_passed == IsPassed::Yes {
                seen.frozen = None;
            }
        }
    }

    fn shards(&self) -> MutexGuard<'_, HashMap<ShardKey, Seen>> {
        // Nothing panics while it holds the lock.
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a checkpoint has passed the frozen position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsPassed {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(sequence_number: u64, sub_sequence_number: u64) -> CheckpointPosition {
        let sequence_number = sequence_number.to_string().parse().expect("digits");
        CheckpointPosition { sequence_number, sub_sequence_number }
    }

    #[test]
    fn a_frozen_position_covers_what_precedes_it_and_itself() {
        let frozen = FrozenPosition { through: Some(position(9, 2)), expires_ms: 1 };
        for (at, expected) in [((8, 7), true), ((9, 2), true), ((9, 3), false), ((10, 0), false)] {
            assert_eq!(frozen.covers(position(at.0, at.1)), expected, "{at:?}");
        }
        assert!(frozen.covers_record(position(8, 0).sequence_number));
        assert!(!frozen.covers_record(position(9, 0).sequence_number), "a part of it may be left");
        let end = FrozenPosition { through: None, expires_ms: 1 };
        assert!(
            end.covers(position(u64::MAX, 0)) && end.covers_record(position(u64::MAX, 0).sequence_number)
        );
    }

    #[test]
    fn a_row_is_read_again_after_a_pause() {
        let positions = FrozenPositions::default();
        let key = (Some("stream".to_owned()), Some("shard".to_owned()));
        let frozen = Some(FrozenPosition { through: None, expires_ms: 1 });
        assert_eq!(positions.known(&key, 0), None);
        positions.note(key.clone(), frozen, 10);
        assert_eq!(positions.known(&key, 30_010), Some(frozen));
        assert_eq!(positions.known(&key, 30_011), None);
        positions.end_batch(&key, IsPassed::No, 40_000);
        assert_eq!(positions.known(&key, 70_000), Some(frozen));
        positions.end_batch(&key, IsPassed::Yes, 70_000);
        assert_eq!(positions.known(&key, 70_000), Some(None));
        assert_eq!(positions.known(&(None, None), 70_000), None);
    }
}
