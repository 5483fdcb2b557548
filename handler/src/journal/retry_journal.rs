//! The read of the retry journal before a batch. [`BatchJournal`] has the writes after it.

use std::{collections::BTreeSet, fmt::Write, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use crate::{
    Counts, Options, SequenceNumber,
    batch::{failure_rules::FailureRules, stop::store_panic},
    event::{Event, EventMode},
    invocation::Invocation,
    journal::batch_journal::BatchJournal,
    journal::passed_records::PassedRecords,
    journal::{JournalEntries, JournalError, JournalShard, JournalStore, RecordState, StateKind, StateRange},
};

/// Most entries that one invocation moves to the discarded ones. The next one moves more.
const MAX_DISCARDED: usize = 100;

/// The retry journal of one environment.
pub(crate) struct RetryJournal {
    pub(crate) store: Arc<dyn JournalStore>,
    pub(crate) passed: PassedRecords,
    pub(crate) rules: FailureRules,
    /// Whether an entry before a batch is one of a record that the mapping has discarded.
    pub(crate) has_one_lane: bool,
}

impl RetryJournal {
    /// Returns the journal of the options; `None` if they have no store.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        let store = Arc::clone(options.journal.as_ref()?);
        Some(RetryJournal {
            rules: FailureRules::new(options, &*store),
            store,
            passed: PassedRecords::default(),
            has_one_lane: options.parallelization_factor.is_some_and(|factor| factor.get() == 1),
        })
    }

    /// Whether the event is part of what the journal follows. What belongs to a window has its state there, and a replay
    /// shall do again what is done.
    pub(crate) fn applies_to(event: &Event<'_>) -> bool {
        event.mode != EventMode::Reprocess && event.window.is_none() && !event.records.is_empty()
    }

    /// Reads what is known of the batch. A journal that cannot be read is counted, and the batch goes on without.
    pub(crate) async fn read<'b>(
        &'b self,
        event: &'b Event<'b>,
        invocation: &'b Invocation<'b>,
        counts: &mut Counts,
    ) -> Option<BatchJournal<'b>> {
        let (first, last) = (event.records.first()?, event.records.last()?);
        let shard =
            match JournalShard::new(&invocation.application, first.stream_arn(), first.shard_id.as_deref()) {
                Ok(shard) => shard,
                Err(error) => {
                    counts.journal_read_errors += 1;
                    invocation.log_journal_failure(first, "journal not read", &error);
                    return None;
                }
            };
        let is_redrive = event.mode == EventMode::Resume;
        let kind = if is_redrive { StateKind::Discarded } else { StateKind::Retry };
        let mut batch = BatchJournal::new(self, shard, &event.records, invocation, kind);
        // What becomes of these is decided anew.
        self.passed.forget(shard, event.records.iter().map(|record| record.sequence_number));
        // Entries before a batch cannot be told from those of other lanes, so they are not even asked for.
        let looks_back = self.has_one_lane && !is_redrive;
        let range = |kind| StateRange {
            kind,
            from: first.sequence_number,
            through: last.sequence_number,
            earlier: if looks_back { MAX_DISCARDED } else { 0 },
        };
        let read = async {
            let mut entries = self.store.read(shard, range(StateKind::Retry)).await?;
            if is_redrive {
                let JournalEntries { states, unreadable } =
                    self.store.read(shard, range(StateKind::Discarded)).await?;
                entries.states.extend(states);
                entries.unreadable.extend(unreadable);
            }
            let left = match is_redrive {
                true => BTreeSet::new(),
                false => self.left_of_passed(shard, first.sequence_number).await?,
            };
            Ok((entries, left))
        };
        match in_time(invocation.read_by(), read).await {
            Ok((JournalEntries { states, unreadable }, left)) => {
                for item in &unreadable {
                    counts.unreadable_journal_items += 1;
                    tracing::error!(
                        error = %item,
                        "journal item skipped; kinesis-kit journal lists it and can delete it"
                    );
                }
                batch.take_in(states, first.sequence_number, left);
            }
            Err(error) => {
                counts.journal_read_errors += 1;
                invocation.log_journal_failure(first, "journal not read", &error);
            }
        }
        Some(batch)
    }

    /// Reads which Kinesis records before a batch are processed and still have an entry, and forgets the others.
    async fn left_of_passed(
        &self,
        shard: JournalShard<'_>,
        before: SequenceNumber,
    ) -> Result<BTreeSet<SequenceNumber>, JournalError> {
        let passed = self.passed.of(shard);
        let (Some((&from, _)), Some((&through, _))) = (passed.first_key_value(), passed.last_key_value())
        else {
            return Ok(BTreeSet::new());
        };
        let range = StateRange { kind: StateKind::Retry, from, through, earlier: 0 };
        let states = self.store.read(shard, range).await?.states;
        // What another invocation has written later is of a record that was delivered again.
        let is_left = |state: &&RecordState| {
            passed.get(&state.sequence_number).is_some_and(|&passed_ms| state.updated_ms <= passed_ms)
        };
        let left: BTreeSet<_> = states.iter().filter(is_left).map(|state| state.sequence_number).collect();
        self.passed.forget(shard, passed.into_keys().filter(|number| !left.contains(number)));
        Ok(left.into_iter().filter(|number| *number < before).collect())
    }
}

/// Waits for a store until then. A panic of the store is an error, because a store must not fail a batch.
pub(crate) async fn in_time<T>(
    by: Option<Instant>,
    call: impl Future<Output = Result<T, JournalError>>,
) -> Result<T, JournalError> {
    let call = async {
        match by {
            Some(by) => timeout_at(by, call).await.unwrap_or(Err(JournalError::OutOfTime)),
            None => call.await,
        }
    };
    let result = AssertUnwindSafe(call).catch_unwind().await;
    result.unwrap_or_else(|panic| Err(JournalError::Store { source: store_panic(&*panic) }))
}

/// Makes the name of a write. It holds what no two writes share: an ID that Lambda gives once, and randomness of the
/// operating system, which a snapshot of the process does not repeat.
pub(crate) fn write_id(invocation: &Invocation<'_>) -> String {
    let mut random = [0; 16];
    let mut id = invocation.request_id.clone().into_owned();
    id.push('/');
    match getrandom::fill(&mut random) {
        Ok(()) => random.iter().for_each(|byte| {
            write!(id, "{byte:02x}").expect("a String takes everything");
        }),
        // Then the request ID and the check of what is stored have to do.
        Err(error) => tracing::warn!(%error, "no randomness from the operating system"),
    }
    id
}

/// Whether an entry that is stored is the one that a write, whose answer may be lost, has tried to store.
pub(crate) fn is_stored(stored: &RecordState, tried: &RecordState) -> bool {
    stored.written_by == tried.written_by
        && stored.version == tried.version
        && stored.progress == tried.progress
}
