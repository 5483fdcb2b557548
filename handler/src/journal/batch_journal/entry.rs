use tokio::time::Instant;

use super::BatchJournal;
use crate::{
    SequenceNumber,
    batch::quarantine_queue::QueuedRecord,
    journal::{
        JournalError, JournalWrite, Progress, QuarantinedRecord, RecordState, StateKind, StateRange,
        UserRecordId, WriteOutcome,
        retry_journal::{in_time, is_stored, write_id},
        snapshot::RecordSnapshot,
    },
};

/// Most tries of a write. Concurrent writers are one late invocation, or a few, and each of them writes a batch's stop once.
pub(super) const MAX_TRIES: u32 = 8;

impl<'b> BatchJournal<'b> {
    /// Reads an entry.
    pub(super) async fn stored(
        &self,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> Result<Option<RecordState>, JournalError> {
        let range = StateRange { kind, from: sequence_number, through: sequence_number, earlier: 0 };
        Ok(self.journal.store.read(self.shard, range).await?.states.pop())
    }

    /// Adds to what is known of a Kinesis record, here and in the store.
    pub(super) async fn write(
        &mut self,
        sequence_number: SequenceNumber,
        change: &Progress,
        queued: &[QueuedRecord],
        by: Option<Instant>,
    ) -> Result<(), JournalError> {
        let none = RecordSnapshot::default();
        let known = self.snapshot.get(sequence_number).unwrap_or(&none);
        let add = |progress: &mut Progress| progress.merge(change);
        let write = self.merge(self.kind, sequence_number, known, add, queued);
        let state = in_time(by, write).await?;
        self.note_written(state);
        Ok(())
    }

    /// Writes what is known together with a change, and what waits for the quarantine. If another invocation has written
    /// in the meantime, together with what that one knows, too, and without what is done by that.
    pub(super) async fn merge(
        &self,
        kind: StateKind,
        sequence_number: SequenceNumber,
        known: &RecordSnapshot,
        add: impl Fn(&mut Progress),
        queued: &[QueuedRecord],
    ) -> Result<RecordState, JournalError> {
        let (store, shard) = (&self.journal.store, self.shard);
        let (mut progress, mut version) = (known.progress.clone(), known.version);
        for _ in 0..MAX_TRIES {
            let quarantined = add_quarantined(&mut progress, queued);
            add(&mut progress);
            let state = self.state(kind, sequence_number, progress, version);
            let write =
                JournalWrite { shard, state: &state, expected_version: version, quarantined: &quarantined };
            if store.write(&[write]).await? == WriteOutcome::Written {
                return Ok(state);
            }
            let stored = self.stored(kind, sequence_number).await?;
            version = stored.as_ref().map(|state| state.version);
            progress = match stored {
                // Ours, whose answer was lost on the way.
                Some(stored) if is_stored(&stored, &state) => return Ok(state),
                Some(stored) if !stored.is_expired(self.invocation.clock.epoch_ms()) => stored.progress,
                Some(_) => Progress::default(),
                // Another invocation has passed the record.
                None => known.progress.clone(),
            };
            progress.done.merge(&known.progress.done);
        }
        Err(JournalError::Contended { sequence_number, times: MAX_TRIES })
    }

    pub(super) fn state(
        &self,
        kind: StateKind,
        sequence_number: SequenceNumber,
        progress: Progress,
        before: Option<u64>,
    ) -> RecordState {
        let now_ms = self.invocation.clock.epoch_ms();
        let mut state =
            RecordState::first(kind, sequence_number, progress, write_id(self.invocation), now_ms);
        state.version += before.unwrap_or(0);
        state
    }

    pub(super) fn note_written(&mut self, state: RecordState) {
        let sequence_number = state.sequence_number;
        let mut stored =
            self.snapshot.get(sequence_number).map(|known| known.stored.clone()).unwrap_or_default();
        if !stored.contains(&state.kind) {
            stored.push(state.kind);
        }
        let record = RecordSnapshot { progress: state.progress, version: Some(state.version), stored };
        self.snapshot.insert(sequence_number, record);
    }
}

/// Counts those that are not done yet, and returns them. The others are not written again: where another invocation has
/// put the rest of an aggregate, a single user record would take its place.
pub(super) fn add_quarantined(progress: &mut Progress, queued: &[QueuedRecord]) -> Vec<QuarantinedRecord> {
    let is_done = |QueuedRecord { record, sub_sequence_numbers, .. }: &QueuedRecord| match record.id {
        UserRecordId::Sub(_) => progress.done.contains_range(sub_sequence_numbers.clone()),
        UserRecordId::Content(_) => progress.done.contains(&record.id),
    };
    let new: Vec<_> = queued.iter().filter(|queued| !is_done(queued)).collect();
    let units = new.iter().map(|queued| queued.units).sum();
    progress.quarantined = progress.quarantined.saturating_add(units);
    new.into_iter().map(|queued| queued.record.clone()).collect()
}
