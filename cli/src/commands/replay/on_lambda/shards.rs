use std::rc::Rc;

use futures_util::{StreamExt, TryStreamExt, stream};
use kinesis_esm::StreamRecord;
use kinesis_handler::{
    SequenceNumber,
    checkpoint::CheckpointPosition,
    journal::{DynamoDbJournal, JournalError, JournalShard, JournalStore, StateKind},
    replay::{DynamoDbReplayPositions, ReplayPosition, ReplayRange},
};
use kpl_deaggregation::{Content, Deaggregator};

use super::failures::Failures;
use crate::{
    error::Error,
    stream::{Api, Position, ReadPace, Shard, ShardReader, now_ms},
};

/// Most shards that are looked at at once.
const CONCURRENCY: usize = 32;

/// Time after which every record that arrived before it can be read, in milliseconds.
const VISIBLE_MS: u64 = 10_000;

/// The most by which a record may have arrived before one that precedes it in its shard, in milliseconds: Kinesis does not promise
/// that times are in the order of sequence numbers.
pub(super) const DISORDER_MS: u64 = 1_000;

/// The shards of a stream, and the stores from which their progress is read.
#[derive(Debug)]
pub(super) struct Shards {
    pub(super) api: Rc<Api>,
    pub(super) stream_arn: String,
    pub(super) range: ReplayRange,
    /// The application of the replay.
    pub(super) application: String,
    pub(super) table: String,
    pub(super) positions: DynamoDbReplayPositions,
    pub(super) journal: DynamoDbJournal,
}

/// The progress of the replay in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardProgress {
    pub(super) shard_id: String,
    pub(super) position: Option<ReplayPosition>,
    /// The first Kinesis record of the range that is not processed, when it was last looked for.
    pub(super) next: Option<SequenceNumber>,
    /// The last Kinesis record of those that the mapping has discarded.
    discarded_through: Option<SequenceNumber>,
    /// Number of Kinesis records that the mapping has discarded. Zero until the shard has passed.
    pub(super) discarded: u64,
    /// Whether no record of the range is left to be processed.
    pub(super) has_passed: bool,
    was_looked_at: bool,
}

impl ShardProgress {
    pub(super) fn new(shard: &Shard) -> Self {
        ShardProgress {
            shard_id: shard.id.clone(),
            position: None,
            next: None,
            discarded_through: None,
            discarded: 0,
            has_passed: false,
            was_looked_at: false,
        }
    }
}

/// The first record of the range that is not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    At(SequenceNumber),
    /// There is none, and none can come.
    None,
    /// There is none yet, but one that arrived before the end of the range may not be visible.
    Unknown,
}

impl Shards {
    /// Looks at the shards that have not passed the range.
    pub(super) async fn look(
        &self,
        shards: Vec<ShardProgress>,
        failures: Option<&Failures>,
    ) -> Result<Vec<ShardProgress>, Error> {
        let looks = shards.into_iter().map(|shard| self.look_at(shard, failures));
        stream::iter(looks).buffered(CONCURRENCY).try_collect().await
    }

    async fn look_at(
        &self,
        mut shard: ShardProgress,
        failures: Option<&Failures>,
    ) -> Result<ShardProgress, Error> {
        if shard.has_passed {
            return Ok(shard);
        }
        let position = self.positions.position(self.journal_shard(&shard.shard_id)).await;
        let position = position.map_err(|source| self.unusable(source))?;
        let has_moved = position != shard.position;
        shard.position = position;
        // A shard that moves is not at its end, and reading it would slow the mapping down.
        if has_moved && std::mem::replace(&mut shard.was_looked_at, true) {
            return Ok(shard);
        }
        shard.was_looked_at = true;
        loop {
            match self.next(&shard).await? {
                Next::None => {
                    shard.has_passed = true;
                    shard.next = None;
                    // No more are discarded: each record of the range is processed or discarded by now.
                    if let Some(failures) = failures {
                        shard.discarded = failures.discarded(&shard.shard_id).await?;
                    }
                    return Ok(shard);
                }
                Next::Unknown => return Ok(shard),
                Next::At(number) => {
                    shard.next = Some(number);
                    let discarded = match failures {
                        Some(failures) => failures.last_discarded(&shard.shard_id, number).await?,
                        None => None,
                    };
                    let Some(last) = discarded else { return Ok(shard) };
                    shard.discarded_through = Some(last);
                }
            }
        }
    }

    /// Finds the first record of the range after the position of a shard.
    async fn next(&self, shard: &ShardProgress) -> Result<Next, Error> {
        let ShardProgress { shard_id, position, discarded_through, .. } = shard;
        let position = position.map(|position| position.position);
        let (begin, after) = match (position, *discarded_through) {
            (Some(position), discarded) if discarded.is_none_or(|last| last < position.sequence_number) => {
                (Position::At(position.sequence_number), Some(position))
            }
            (_, Some(last)) => (Position::After(last), None),
            _ if self.range.from_ms() == 0 => (Position::TrimHorizon, None),
            _ => (Position::AtTimestamp(self.range.from_ms()), None),
        };
        let pace = Rc::new(ReadPace::default());
        let mut reader = ShardReader::begin(Rc::clone(&self.api), pace, shard_id, begin).await?;
        let mut deaggregator = Deaggregator::default();
        loop {
            let began_ms = now_ms();
            let Some(page) = reader.page().await? else { return Ok(Next::None) };
            for record in &page.records {
                if record.arrival_ms >= self.range.until_ms().saturating_add(DISORDER_MS) {
                    return Ok(Next::None);
                }
                let is_left = self.range.contains(record.arrival_ms)
                    && discarded_through.is_none_or(|last| record.sequence_number > last)
                    && after.is_none_or(|after| is_left_after(record, after, &mut deaggregator));
                if is_left {
                    return Ok(Next::At(record.sequence_number));
                }
            }
            if page.records.is_empty() && !page.is_behind {
                let is_over = began_ms >= self.range.until_ms().saturating_add(VISIBLE_MS);
                return Ok(if is_over { Next::None } else { Next::Unknown });
            }
        }
    }

    /// Deletes what is known of an earlier replay of the same range.
    pub(super) async fn forget(&self, shards: &[ShardProgress]) -> Result<(), Error> {
        let deletions = shards.iter().map(|shard| async {
            let shard = self.journal_shard(&shard.shard_id);
            for kind in [StateKind::Retry, StateKind::Discarded] {
                self.forget_states(shard, kind)
                    .await
                    .map_err(|source| Error::Journal { table: self.table.clone(), source })?;
            }
            self.positions.delete(shard).await.map_err(|source| self.unusable(source))
        });
        stream::iter(deletions).buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    async fn forget_states(&self, shard: JournalShard<'_>, kind: StateKind) -> Result<(), JournalError> {
        for state in self.journal.states(shard, kind).await?.states {
            self.journal.delete(shard, kind, state.sequence_number).await?;
        }
        Ok(())
    }

    fn journal_shard<'s>(&'s self, shard_id: &'s str) -> JournalShard<'s> {
        JournalShard { application: &self.application, stream_arn: &self.stream_arn, shard_id }
    }

    fn unusable(&self, source: kinesis_handler::checkpoint::CheckpointError) -> Error {
        Error::Checkpoints { table: self.table.clone(), source }
    }
}

/// Whether a Kinesis record has a user record after the position.
fn is_left_after(record: &StreamRecord, after: CheckpointPosition, deaggregator: &mut Deaggregator) -> bool {
    if record.sequence_number != after.sequence_number {
        return record.sequence_number > after.sequence_number;
    }
    let user_records = match deaggregator.deaggregate(record.partition_key.as_bytes(), &record.data) {
        Ok(user_records) if user_records.content() == Content::Aggregated => user_records.count() as u64,
        _ => 1,
    };
    user_records > after.sub_sequence_number.saturating_add(1)
}
