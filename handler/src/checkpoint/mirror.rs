//! The checkpoint mirror of a batch: from the position of the batch to a checkpoint, and from a store's answer to
//! counts and log lines.

use std::{
    collections::BTreeSet,
    error::Error,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use crate::{
    Counts, Options,
    batch::{stop::store_panic, walk::BatchPosition},
    checkpoint::{
        Checkpoint, CheckpointError, CheckpointOutcome, CheckpointPosition, CheckpointStore, FrozenPosition,
        Row, RowCheckpoint,
        cutover::{FrozenPositions, IsPassed},
    },
    event::{Event, EventMode, KinesisRecord},
    invocation::Invocation,
};

/// The checkpoint mirror of one environment.
pub(crate) struct Mirror {
    store: Arc<dyn CheckpointStore>,
    is_strict: bool,
    /// The positions that cut-overs have frozen. `None` if they do not count.
    cutovers: Option<FrozenPositions>,
    /// Warnings that were logged, and would be true of every batch.
    said: Mutex<BTreeSet<(Said, String, String)>>,
}

/// A warning that is logged once for each stream and shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Suspended,
    Refused,
}

/// Whether the mirror knows of a batch what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mirrored {
    /// It does, or need not.
    Yes,
    /// It does not, and the options want the batch's last record to fail for that.
    NoAndStrict,
}

impl Mirror {
    /// Returns the mirror of the options; `None` if they have no store.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        let store = Arc::clone(options.checkpoints.as_ref()?);
        let cutovers = options.cutover.then(FrozenPositions::default);
        Some(Mirror { store, is_strict: options.checkpoint_strict, cutovers, said: Mutex::default() })
    }

    /// Returns the mirror of replays on Lambda; `None` if the options have no store for it. It is strict, because no later batch may
    /// follow the one whose position is missing.
    pub(crate) fn of_replays(options: &Options) -> Option<Self> {
        let store = Arc::clone(options.replay_positions.as_ref()?);
        Some(Mirror { store, is_strict: true, cutovers: None, said: Mutex::default() })
    }

    /// Whether the event is part of what the mirror follows: not if an operator sends it.
    pub(crate) fn applies_to(event: &Event<'_>) -> bool {
        event.mode == EventMode::Mapping
    }

    pub(crate) fn warm_up(&self) {
        self.store.warm_up();
    }

    /// Returns the position up to which a shard is processed. `None` if there is none, and, with a warning, if it
    /// cannot be read up to this time or belongs to another stream or application.
    pub(crate) async fn read(
        &self,
        stream_arn: Option<&str>,
        invocation: &Invocation<'_>,
        by: Option<Instant>,
    ) -> Option<CheckpointPosition> {
        match self.row(stream_arn, invocation, by).await {
            Ok(row) => {
                let row = row?;
                match row.checkpoint {
                    RowCheckpoint::At(sequence_number) => Some(CheckpointPosition {
                        sequence_number,
                        sub_sequence_number: row.sub_sequence_number.unwrap_or(0),
                    }),
                    _ => None,
                }
            }
            Err(error) => {
                tracing::warn!(error = whole_text(&error), "checkpoint not read");
                None
            }
        }
    }

    /// Returns the row of the invocation's shard. `None` if there is none, or it belongs to another stream or application.
    async fn row(
        &self,
        stream_arn: Option<&str>,
        invocation: &Invocation<'_>,
        by: Option<Instant>,
    ) -> Result<Option<Row>, CheckpointError> {
        let Some(shard_id) = invocation.shard_id else { return Ok(None) };
        let read = async {
            let read = self.store.read(shard_id);
            match by {
                Some(by) => timeout_at(by, read).await.unwrap_or(Err(CheckpointError::OutOfTime)),
                None => read.await,
            }
        };
        // A store must not fail a batch.
        let result = AssertUnwindSafe(read).catch_unwind().await;
        let row =
            result.unwrap_or_else(|panic| Err(CheckpointError::Store { source: store_panic(&*panic) }))?;
        Ok(row.filter(|row| {
            row.stream_arn.as_deref().is_none_or(|arn| Some(arn) == stream_arn)
                && row.application.as_ref().is_none_or(|name| *name == invocation.application)
        }))
    }

    /// Returns what a cut-over has frozen of the event's shard, from the row if this environment does not know it. `None` if
    /// that is nothing, has expired, or does not count.
    ///
    /// # Errors
    ///
    /// The row cannot be read, and the mirror is strict. Otherwise that is logged and counted.
    pub(crate) async fn frozen(
        &self,
        event: &Event<'_>,
        invocation: &Invocation<'_>,
        counts: &mut Counts,
    ) -> Result<Option<FrozenPosition>, CheckpointError> {
        let Some(cutovers) = &self.cutovers else { return Ok(None) };
        let key = shard_key(event);
        let now_ms = invocation.clock.epoch_ms();
        let frozen = match cutovers.known(&key, now_ms) {
            Some(frozen) => frozen,
            None => match self.row(event.stream_arn(), invocation, invocation.read_by()).await {
                Ok(row) => {
                    let frozen = row.and_then(|row| row.frozen);
                    if let Some(frozen) = &frozen {
                        let through = frozen.through.map(tracing::field::display);
                        tracing::info!(through, "cut-over: records up to its frozen position are skipped");
                    }
                    cutovers.note(key, frozen, now_ms);
                    frozen
                }
                Err(error) if self.is_strict => return Err(error),
                Err(error) => {
                    tracing::error!(
                        error = whole_text(&error),
                        "frozen position of a cut-over not read: records may be processed twice"
                    );
                    counts.checkpoint_read_errors += 1;
                    None
                }
            },
        };
        Ok(frozen.filter(|frozen| now_ms < frozen.expires_ms))
    }

    /// Notes the end of a batch, for the next one of its shard.
    fn end_batch(&self, event: &Event<'_>, is_passed: IsPassed, invocation: &Invocation<'_>) {
        if let Some(cutovers) = &self.cutovers {
            cutovers.end_batch(&shard_key(event), is_passed, invocation.clock.epoch_ms());
        }
    }

    /// Writes how far the batch has come, and counts what became of that. Nothing is written if nothing is done.
    pub(crate) async fn write(
        &self,
        event: &Event<'_>,
        at: BatchPosition,
        invocation: &Invocation<'_>,
        counts: &mut Counts,
    ) -> Mirrored {
        let done = done_through(event, at);
        // The row is there already.
        let done =
            done.filter(|(_, position)| !invocation.frozen.is_some_and(|frozen| frozen.covers(*position)));
        let Some((kinesis_record, position)) = done else {
            self.end_batch(event, IsPassed::No, invocation);
            return Mirrored::Yes;
        };
        let written = self.try_write(kinesis_record, position, invocation).await;
        let is_passed =
            if matches!(written, Ok(CheckpointOutcome::Written)) { IsPassed::Yes } else { IsPassed::No };
        self.end_batch(event, is_passed, invocation);
        match written {
            Ok(CheckpointOutcome::Written) => Mirrored::Yes,
            Ok(CheckpointOutcome::AlreadyAhead { at: stored }) => {
                counts.checkpoint_already_ahead += u64::from(is_all_behind(event, at, stored));
                Mirrored::Yes
            }
            Ok(CheckpointOutcome::OwnedByKcl { owner }) => {
                counts.checkpoint_lease_owned += 1;
                if self.is_first(Said::Suspended, kinesis_record) {
                    tracing::warn!(
                        owner,
                        "checkpoint mirror is suspended: a KCL worker owns the shard's row"
                    );
                }
                Mirrored::Yes
            }
            Ok(CheckpointOutcome::Refused(refusal)) => {
                if self.is_first(Said::Refused, kinesis_record) {
                    tracing::error!(
                        application = &*invocation.application,
                        reason = %refusal,
                        "checkpoint refused: the mirror needs a table for each application and stream"
                    );
                }
                self.not_written(counts)
            }
            Err(error) => {
                tracing::error!(
                    position = %position,
                    error = whole_text(&error),
                    "checkpoint not written"
                );
                self.not_written(counts)
            }
        }
    }

    async fn try_write(
        &self,
        kinesis_record: &KinesisRecord<'_>,
        position: CheckpointPosition,
        invocation: &Invocation<'_>,
    ) -> Result<CheckpointOutcome, CheckpointError> {
        let (Some(stream_arn), Some(shard_id)) =
            (kinesis_record.stream_arn(), kinesis_record.shard_id.as_deref())
        else {
            return Err(CheckpointError::NoShard);
        };
        let checkpoint = Checkpoint {
            application: &invocation.application,
            stream_arn,
            shard_id,
            position,
            arrival_ms: kinesis_record.approximate_arrival_ms,
            now_ms: invocation.clock.epoch_ms(),
        };
        let write = async {
            let write = self.store.write(checkpoint);
            match invocation.store_by() {
                Some(by) => timeout_at(by, write).await.unwrap_or(Err(CheckpointError::OutOfTime)),
                None => write.await,
            }
        };
        // A store must not fail a batch.
        let result = AssertUnwindSafe(write).catch_unwind().await;
        result.unwrap_or_else(|panic| Err(CheckpointError::Store { source: store_panic(&*panic) }))
    }

    fn not_written(&self, counts: &mut Counts) -> Mirrored {
        counts.checkpoint_write_errors += 1;
        if self.is_strict { Mirrored::NoAndStrict } else { Mirrored::Yes }
    }

    fn is_first(&self, what: Said, kinesis_record: &KinesisRecord<'_>) -> bool {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let key = (what, text(kinesis_record.stream_arn()), text(kinesis_record.shard_id.as_deref()));
        self.said.lock().expect("nothing panics while it holds the lock").insert(key)
    }
}

fn shard_key(event: &Event<'_>) -> (Option<String>, Option<String>) {
    (event.stream_arn().map(str::to_owned), event.shard_id().map(str::to_owned))
}

/// Returns the last user record before a position: up to there, all is done.
fn done_through<'e, 'a>(
    event: &'e Event<'a>,
    at: BatchPosition,
) -> Option<(&'e KinesisRecord<'a>, CheckpointPosition)> {
    let (index, sub_sequence_number) = match at.sub_sequence_number {
        // In the middle of an aggregate.
        Some(next @ 1..) => (at.kinesis_record, next - 1),
        _ => {
            let index = at.kinesis_record.checked_sub(1)?;
            (index, user_records(event, index, at).saturating_sub(1))
        }
    };
    let kinesis_record = &event.records[index];
    let position =
        CheckpointPosition { sequence_number: kinesis_record.sequence_number, sub_sequence_number };
    Some((kinesis_record, position))
}

/// Returns the number of user records of the Kinesis record at `index`, just before the position of the batch, that are processed.
fn user_records(event: &Event<'_>, index: usize, at: BatchPosition) -> u64 {
    let kinesis_record = &event.records[index];
    if !kinesis_record.is_enhanced_fan_out() {
        return at.user_records_before;
    }
    // Lambda has taken the aggregate apart: its members stand side by side under one number. Those of an earlier batch,
    // or filtered out, are not seen, so there may be more.
    let members = event.records[..=index].iter().rev();
    members.take_while(|member| member.sequence_number == kinesis_record.sequence_number).count() as u64
}

/// Whether a row at this position (`None`: at the shard's end) has the whole batch behind it.
fn is_all_behind(event: &Event<'_>, at: BatchPosition, stored: Option<CheckpointPosition>) -> bool {
    let (Some(stored), Some(last)) = (stored, event.records.last()) else { return true };
    if stored.sequence_number != last.sequence_number {
        return stored.sequence_number > last.sequence_number;
    }
    // The number of user records of the last Kinesis record is known only if it was reached. If it was, the checkpoint was
    // its end, and the row is at least there. On an enhanced fan-out consumer it is never known: user records of one
    // aggregate may arrive in several batches, each of which ends at the same sequence number.
    at.kinesis_record == event.records.len() && !last.is_enhanced_fan_out()
}

/// Returns an error and its source.
pub(crate) fn whole_text(error: &CheckpointError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event with these sequence numbers.
    fn event(numbers: &[u64], is_enhanced_fan_out: bool) -> Event<'static> {
        let record = |number: &u64| {
            let mut record = KinesisRecord::new(number.to_string().parse().expect("digits"), "k", b"");
            let consumer = if is_enhanced_fan_out { "/consumer/c:1" } else { "" };
            record.event_source_arn =
                Some(format!("arn:aws:kinesis:us-east-1:123456789012:stream/s{consumer}").into());
            record
        };
        Event::new(numbers.iter().map(record).collect())
    }

    fn position(
        kinesis_record: usize,
        sub_sequence_number: Option<u64>,
        user_records_before: u64,
    ) -> BatchPosition {
        BatchPosition { kinesis_record, sub_sequence_number, user_records_before }
    }

    #[track_caller]
    fn check(event: &Event<'_>, at: BatchPosition, expected: Option<&str>) {
        let done = done_through(event, at).map(|(_, position)| position.to_string());
        assert_eq!(done.as_deref(), expected);
    }

    #[test]
    fn what_precedes_the_position_is_done() {
        let event = event(&[8, 9, 10], false);
        check(&event, position(0, None, 0), None);
        check(&event, position(0, Some(0), 0), None);
        check(&event, position(0, Some(3), 0), Some("8:2"));
        // A plain record, an aggregate of three, one that holds nothing.
        check(&event, position(1, Some(0), 1), Some("8:0"));
        check(&event, position(1, None, 3), Some("8:2"));
        check(&event, position(2, None, 0), Some("9:0"));
        check(&event, position(3, None, 2), Some("10:1"));
    }

    #[test]
    fn members_of_a_fan_out_aggregate_are_counted() {
        let event = event(&[8, 9, 9, 9, 10], true);
        check(&event, position(0, None, 0), None);
        check(&event, position(1, None, 1), Some("8:0"));
        check(&event, position(2, None, 1), Some("9:0"));
        check(&event, position(4, None, 1), Some("9:2"));
        check(&event, position(5, None, 1), Some("10:0"));
    }

    #[test]
    fn a_batch_is_all_behind_a_row_at_its_end() {
        let at = |number: u64| {
            let sequence_number = number.to_string().parse().expect("digits");
            Some(CheckpointPosition { sequence_number, sub_sequence_number: 0 })
        };
        let event = event(&[8, 9, 10], false);
        let (part, all) = (position(1, None, 1), position(3, None, 1));
        assert!(!is_all_behind(&event, part, at(9)));
        assert!(!is_all_behind(&event, part, at(10)), "of the last record some may be ahead");
        assert!(is_all_behind(&event, all, at(10)));
        assert!(is_all_behind(&event, part, at(11)));
        assert!(is_all_behind(&event, part, None));
    }
}
