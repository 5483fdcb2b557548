use std::{rc::Rc, sync::Arc};

use kinesis_esm::SharedRecord;

use super::{
    Api, Position, ReadPace,
    api::Fetched,
    record::{now_ms, stream_record},
};
use crate::{aws::AwsError, output::meter};

/// Reads a shard, page by page.
#[derive(Debug)]
pub(crate) struct ShardReader {
    api: Rc<Api>,
    pace: Rc<ReadPace>,
    shard_id: String,
    /// Position from which the next iterator begins, if one is needed.
    position: Position,
    /// Iterator; absent at the end of the shard.
    iterator: Option<String>,
}

/// The result of one read.
#[derive(Debug)]
pub(crate) struct Page {
    /// Possibly none, even if there are more.
    pub(crate) records: Vec<SharedRecord>,
    /// Whether the shard has, or had just now, more records than that.
    pub(crate) is_behind: bool,
}

impl Page {
    /// Whether the shard has been read up to the newest record that it had at this time, in milliseconds since 1970: a
    /// busy one always has a newer one.
    pub(crate) fn has_reached(&self, time_ms: u64) -> bool {
        !self.is_behind && self.records.last().is_none_or(|last| last.arrival_ms >= time_ms)
    }
}

impl ShardReader {
    /// A reader whose iterator is there already, so that LATEST means now.
    pub(crate) async fn begin(
        api: Rc<Api>,
        pace: Rc<ReadPace>,
        shard_id: &str,
        position: Position,
    ) -> Result<Self, AwsError> {
        let began_ms = now_ms();
        let iterator = api.iterator(shard_id, position).await?;
        // An iterator that expires before anything was read must not skip what has come meanwhile.
        let position = match position {
            Position::Latest => Position::AtTimestamp(began_ms),
            position => position,
        };
        Ok(ShardReader { api, pace, shard_id: shard_id.to_owned(), position, iterator: Some(iterator) })
    }

    /// The next page, when it is this reader's turn; `None` at the end of the shard.
    pub(crate) async fn page(&mut self) -> Result<Option<Page>, AwsError> {
        self.turn().await;
        self.read().await
    }

    /// Waits until the shard may be read.
    pub(crate) async fn turn(&self) {
        if !self.is_at_end() {
            self.pace.turn().await;
        }
    }

    /// The next page, at once.
    pub(crate) async fn read(&mut self) -> Result<Option<Page>, AwsError> {
        while let Some(iterator) = &self.iterator {
            let answer = match self.api.records(iterator).await? {
                Fetched::Records(answer) => answer,
                Fetched::ExpiredIterator => {
                    self.iterator = Some(self.api.iterator(&self.shard_id, self.position).await?);
                    self.turn().await;
                    continue;
                }
            };
            self.iterator = answer.next_shard_iterator;
            if let Some(behind) = answer.millis_behind_latest {
                meter::set_lag(&self.shard_id, behind.try_into().unwrap_or(0));
            }
            let is_behind = answer.millis_behind_latest.is_some_and(|behind| behind > 0);
            let records = answer.records.into_iter().map(|record| Ok(Arc::new(stream_record(record)?)));
            let mut records: Vec<SharedRecord> = records.collect::<Result<_, AwsError>>()?;
            // Some emulators return the record after which a new iterator begins.
            if let Position::After(last) = self.position {
                records.retain(|record| record.sequence_number > last);
            }
            if let Some(last) = records.last() {
                self.position = Position::After(last.sequence_number);
            }
            return Ok(Some(Page { records, is_behind }));
        }
        Ok(None)
    }

    /// Whether there is nothing left, ever.
    pub(crate) fn is_at_end(&self) -> bool {
        self.iterator.is_none()
    }
}
