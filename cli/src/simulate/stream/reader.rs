use std::{rc::Rc, sync::Arc};

use aws_sdk_kinesis::{
    operation::{get_records::GetRecordsOutput, get_shard_iterator::builders::GetShardIteratorFluentBuilder},
    primitives::DateTime,
    types::ShardIteratorType,
};
use kinesis_esm_simulator::{BoxError, NextRead, Read, ReadFrom, ShardReader, SharedRecord};

use super::{
    StreamError,
    api::{Api, Fetched},
    read_pace::ReadPace,
    record::{now_ms, stream_record},
};

/// How many reads in a row may find nothing although there is more: a stretch of a shard without records costs a read
/// for each part of it. Together they take as long as the mapping waits between two reads.
const MAX_EMPTY_READS: u32 = 5;

/// Reads a shard through the API.
#[derive(Debug)]
pub(crate) struct KinesisReader {
    api: Rc<Api>,
    pace: Rc<ReadPace>,
    shard_id: String,
    /// Where the next iterator begins, if one is needed.
    position: Position,
    /// `None` at the end of the shard.
    iterator: Option<String>,
}

#[derive(Debug)]
enum Position {
    TrimHorizon,
    Latest,
    /// Milliseconds since 1970.
    AtTimestamp(u64),
    /// Behind the record with this sequence number.
    After(String),
}

impl Position {
    fn begin(&self, request: GetShardIteratorFluentBuilder) -> GetShardIteratorFluentBuilder {
        let of_type = |kind| request.shard_iterator_type(kind);
        match self {
            Position::TrimHorizon => of_type(ShardIteratorType::TrimHorizon),
            Position::Latest => of_type(ShardIteratorType::Latest),
            Position::AtTimestamp(time_ms) => of_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(i64::try_from(*time_ms).unwrap_or(i64::MAX))),
            Position::After(sequence_number) => {
                of_type(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(sequence_number)
            }
        }
    }
}

impl KinesisReader {
    /// A reader whose iterator is there already, so that LATEST means now.
    pub(super) async fn begin(
        api: Rc<Api>,
        pace: Rc<ReadPace>,
        shard_id: &str,
        from: ReadFrom,
    ) -> Result<Self, StreamError> {
        let position = match from {
            ReadFrom::TrimHorizon => Position::TrimHorizon,
            ReadFrom::Latest => Position::Latest,
            ReadFrom::AtTimestamp(time_ms) => Position::AtTimestamp(time_ms),
        };
        let began_ms = now_ms();
        let iterator = api.iterator(shard_id, |request| position.begin(request)).await?;
        let position = match position {
            // Another one of that type would skip what has come since.
            Position::Latest => Position::AtTimestamp(began_ms),
            position => position,
        };
        Ok(KinesisReader { api, pace, shard_id: shard_id.to_owned(), position, iterator: Some(iterator) })
    }

    async fn next_read(&mut self) -> Result<Read, StreamError> {
        let mut empty_reads = 0;
        while let Some(iterator) = &self.iterator {
            self.pace.turn().await;
            match self.api.records(iterator).await? {
                Fetched::ExpiredIterator => {
                    let iterator = self.api.iterator(&self.shard_id, |request| self.position.begin(request));
                    self.iterator = Some(iterator.await?);
                }
                Fetched::Records(answer) => {
                    let is_behind = answer.millis_behind_latest.is_some_and(|behind| behind > 0);
                    let records = self.advance(answer)?;
                    empty_reads += 1;
                    if !records.is_empty() || !is_behind || empty_reads == MAX_EMPTY_READS {
                        return Ok(Read { records, trimmed: Vec::new(), next: self.next() });
                    }
                }
            }
        }
        Ok(Read { next: self.next(), ..Read::default() })
    }

    fn advance(&mut self, answer: GetRecordsOutput) -> Result<Vec<SharedRecord>, StreamError> {
        self.iterator = answer.next_shard_iterator;
        if let Some(last) = answer.records.last() {
            self.position = Position::After(last.sequence_number.clone());
        }
        answer.records.into_iter().map(|record| Ok(Arc::new(stream_record(record)?))).collect()
    }

    fn next(&self) -> NextRead {
        if self.iterator.is_some() { NextRead::Unknown } else { NextRead::ShardEnd }
    }
}

impl ShardReader for KinesisReader {
    async fn read(&mut self) -> Result<Read, BoxError> {
        Ok(self.next_read().await?)
    }
}
