use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use super::{BatchJournal, Call};
use crate::{
    Counts, SequenceNumber,
    batch::cursor::Cursor,
    event::KinesisRecord,
    journal::{
        ContentHash, JournalError, JournalWrite, Progress, RecordState, StateKind, UserRecordId,
        WriteOutcome, batch_journal::entry::MAX_TRIES, retry_journal::in_time, snapshot::RecordSnapshot,
    },
};

impl<'b> BatchJournal<'b> {
    /// Deletes the entries of all Kinesis records that are processed.
    pub(super) async fn clear(
        &mut self,
        is_passed: impl Fn(SequenceNumber) -> bool,
        cursor: &mut Cursor<'b>,
        by: Option<Instant>,
        counts: &mut Counts,
    ) {
        let this = &*self;
        let nothing = RecordSnapshot::default();
        let left = this.left.iter().map(|&number| (number, &nothing));
        let of_batch = this.snapshot.iter().filter(|(_, record)| !record.stored.is_empty());
        let passed: Vec<_> = of_batch.filter(|&(number, _)| is_passed(number)).chain(left).collect();
        if passed.is_empty() {
            return;
        }
        let mut members = this.members(cursor);
        let mut calls: Vec<Call<'_, SequenceNumber>> = Vec::new();
        for &(number, record) in &passed {
            let members = members.remove(&number);
            calls.push(Box::pin(
                async move { (number, in_time(by, this.pass(number, record, members)).await) },
            ));
        }
        let results = this.some_at_a_time(calls).await;
        let mut kept: BTreeSet<_> = passed.iter().map(|&(number, _)| number).collect();
        for (number, result) in results {
            if result.is_ok() {
                kept.remove(&number);
                self.journal.passed.forget(self.shard, [number]);
            }
            self.count(result, "journal not cleared", counts);
        }
        self.remember(kept);
    }

    /// Remembers Kinesis records that are processed and may have an entry all the same.
    pub(super) fn remember(&self, passed: impl IntoIterator<Item = SequenceNumber>) {
        let is_fan_out = self.records.iter().any(KinesisRecord::is_enhanced_fan_out);
        // An entry of a redrive is deleted by the tool. With more than one lane, a fan-out consumer may have other
        // members of the same Kinesis record in another batch.
        if self.kind == StateKind::Retry && (!is_fan_out || self.journal.has_one_lane) {
            self.journal.passed.remember(self.shard, passed, self.invocation.clock.epoch_ms());
        }
    }

    /// Moves the entries of Kinesis records that the mapping has discarded to the discarded.
    pub(super) async fn move_discarded(&mut self, by: Option<Instant>, counts: &mut Counts) {
        let this = &*self;
        let mut calls: Vec<Call<'_, RecordState>> = Vec::new();
        for state in &this.discarded {
            calls.push(Box::pin(
                async move { (state.clone(), in_time(by, this.move_to_discarded(state)).await) },
            ));
        }
        for (state, moved) in this.some_at_a_time(calls).await {
            if moved.is_ok() {
                counts.discarded += 1;
                tracing::warn!(
                    position = %self.position(state.sequence_number, None),
                    error = state.progress.last_error,
                    "Kinesis record was discarded by the mapping before it was processed"
                );
            }
            self.count(moved, "journal not cleared", counts);
        }
    }

    /// Returns the user records of Kinesis records that Lambda has taken apart, as far as they are in the batch: other
    /// members may be in another one.
    fn members(&self, cursor: &mut Cursor<'b>) -> HashMap<SequenceNumber, Vec<UserRecordId>> {
        let mut members: HashMap<_, Vec<_>> = HashMap::new();
        for (index, record) in self.records.iter().enumerate() {
            let has_entry =
                || self.snapshot.get(record.sequence_number).is_some_and(|of| !of.stored.is_empty());
            if record.is_enhanced_fan_out()
                && has_entry()
                && let Ok(data) = cursor.payload(index)
            {
                members
                    .entry(record.sequence_number)
                    .or_default()
                    .push(UserRecordId::Content(ContentHash::new(record.partition_key.as_bytes(), data)));
            }
        }
        members
    }

    /// Clears the entries of a Kinesis record that the batch has passed, but for what they say of members that are not in
    /// the batch.
    async fn pass(
        &self,
        sequence_number: SequenceNumber,
        record: &RecordSnapshot,
        members: Option<Vec<UserRecordId>>,
    ) -> Result<(), JournalError> {
        if let Some(members) = &members
            && !self.forget(sequence_number, record, members).await?
        {
            return Ok(());
        }
        // What is left of an earlier batch was not read with this one.
        let stored = if record.stored.is_empty() { &[StateKind::Retry][..] } else { &record.stored };
        let is_stored = |kind: &&StateKind| members.is_none() || **kind != self.kind;
        for &kind in stored.iter().filter(is_stored) {
            self.journal.store.delete(self.shard, kind, sequence_number).await?;
        }
        Ok(())
    }

    /// Takes members of a Kinesis record out of its entry, which another batch may write at the same time. Returns whether no
    /// others were in it, so that it is deleted.
    async fn forget(
        &self,
        sequence_number: SequenceNumber,
        record: &RecordSnapshot,
        members: &[UserRecordId],
    ) -> Result<bool, JournalError> {
        let (store, shard, kind) = (&self.journal.store, self.shard, self.kind);
        let (mut rest, mut version) = (record.progress.clone(), record.version);
        for _ in 0..MAX_TRIES {
            members.iter().for_each(|member| rest.forget(member));
            let is_empty = rest.is_empty();
            let outcome = match version {
                None if is_empty => return Ok(true),
                Some(version) if is_empty => {
                    store.delete_version(shard, kind, sequence_number, version).await?
                }
                expected_version => {
                    let state = self.state(kind, sequence_number, rest, version);
                    let write = JournalWrite { shard, state: &state, expected_version, quarantined: &[] };
                    store.write(&[write]).await?
                }
            };
            if outcome == WriteOutcome::Written {
                return Ok(is_empty);
            }
            let stored = self.stored(kind, sequence_number).await?;
            version = stored.as_ref().map(|stored| stored.version);
            rest = stored.map(|stored| stored.progress).unwrap_or_default();
        }
        Err(JournalError::Contended { sequence_number, times: MAX_TRIES })
    }

    async fn move_to_discarded(&self, state: &RecordState) -> Result<(), JournalError> {
        let sequence_number = state.sequence_number;
        let none = RecordSnapshot::default();
        // An earlier invocation may have moved it already, without deleting it: then these are not new failures.
        let include = |progress: &mut Progress| progress.include(state.progress.clone());
        self.merge(StateKind::Discarded, sequence_number, &none, include, &[]).await?;
        // Only then: a crash in between leaves it twice, not nowhere.
        self.journal.store.delete(self.shard, state.kind, sequence_number).await
    }
}
