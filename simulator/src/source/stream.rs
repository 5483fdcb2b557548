use std::{collections::HashMap, rc::Rc, time::Duration};

use kinesis_esm::{ShardInfo, SharedRecord};
use kinesis_handler::BoxError;

use crate::{NextRead, Read, ReadFrom, ShardReader, SimulationClock, Source};

/// Most records that one read returns, as with the API.
const MAX_READ_RECORDS: usize = 10_000;

/// Most bytes of data that one read returns, as with the API.
const MAX_READ_BYTES: usize = 10 * 1024 * 1024;

/// A stream whose records, past and future, are all known.
#[derive(Debug)]
pub struct Stream {
    retention: Duration,
    shards: Vec<Shard>,
    /// Position of each shard in the list, by ID.
    positions: HashMap<String, usize>,
    clock: Rc<SimulationClock>,
}

/// A shard of a [`Stream`].
#[derive(Debug)]
pub struct Shard {
    /// Name, parents, range.
    pub info: ShardInfo,
    /// Whether it ends with its last record. A shard that others name as their parent does.
    pub is_closed: bool,
    /// In order of arrival.
    pub records: Rc<[SharedRecord]>,
}

impl Stream {
    /// A stream whose records can be read once the clock shows their time of arrival, and for so long. Its shards are
    /// given parents before children.
    pub fn new(clock: Rc<SimulationClock>, retention: Duration, shards: Vec<Shard>) -> Self {
        let positions = shards.iter().enumerate().map(|(position, shard)| (shard.info.id.clone(), position));
        Stream { retention, positions: positions.collect(), shards, clock }
    }
}

impl Source for Stream {
    type Reader = StreamReader;

    async fn shards(&self) -> Result<Vec<ShardInfo>, BoxError> {
        Ok(self.shards.iter().map(|shard| shard.info.clone()).collect())
    }

    async fn reader(&self, shard_id: &str, from: ReadFrom) -> Result<StreamReader, BoxError> {
        let position = self.positions.get(shard_id).ok_or_else(|| format!("no shard {shard_id}"))?;
        let shard = &self.shards[*position];
        let position = match from {
            ReadFrom::TrimHorizon => 0,
            ReadFrom::AtTimestamp(time_ms) => {
                shard.records.partition_point(|record| record.arrival_ms < time_ms)
            }
            ReadFrom::Latest => {
                let now_ms = self.clock.now_ms();
                shard.records.partition_point(|record| record.arrival_ms < now_ms)
            }
        };
        Ok(StreamReader {
            records: Rc::clone(&shard.records),
            position,
            is_closed: shard.is_closed,
            retention_ms: self.retention_ms(),
            clock: Rc::clone(&self.clock),
        })
    }

    fn retention_ms(&self) -> u64 {
        self.retention.as_millis() as u64
    }
}

/// Reads a shard of a [`Stream`].
#[derive(Debug)]
pub struct StreamReader {
    records: Rc<[SharedRecord]>,
    position: usize,
    is_closed: bool,
    retention_ms: u64,
    clock: Rc<SimulationClock>,
}

impl ShardReader for StreamReader {
    async fn read(&mut self) -> Result<Read, BoxError> {
        let now_ms = self.clock.now_ms();
        let mut read = Read::default();
        let mut bytes = 0;
        while let Some(record) = self.records.get(self.position)
            && record.arrival_ms <= now_ms
        {
            if record.arrival_ms + self.retention_ms <= now_ms {
                read.trimmed.push(SharedRecord::clone(record));
            } else {
                bytes += record.data.len();
                let is_full = read.records.len() == MAX_READ_RECORDS || bytes > MAX_READ_BYTES;
                if is_full && !read.records.is_empty() {
                    break;
                }
                read.records.push(SharedRecord::clone(record));
            }
            self.position += 1;
        }
        read.next = match self.records.get(self.position) {
            Some(next) if next.arrival_ms > now_ms => NextRead::NotBefore(next.arrival_ms),
            Some(_) => NextRead::Unknown,
            None if self.is_closed => NextRead::ShardEnd,
            None => NextRead::Never,
        };
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kinesis_esm::StreamRecord;
    use kpl_deaggregation::HashKeyRange;

    use super::*;

    /// Returns the numbers of records that the reads of so many records of this size return.
    async fn reads(records: usize, bytes: usize) -> Vec<usize> {
        let data = bytes::Bytes::from(vec![0; bytes]);
        let record = |number: usize| {
            Arc::new(StreamRecord {
                sequence_number: number.to_string().parse().expect("digits"),
                partition_key: "k".to_owned(),
                data: data.clone(),
                arrival_ms: 1,
                encryption_type: "NONE",
            })
        };
        let hash_key_range = HashKeyRange::FULL;
        let info = ShardInfo { id: "shard".to_owned(), parents: Vec::new(), hash_key_range };
        let shard = Shard { info, is_closed: true, records: (0..records).map(record).collect() };
        let clock = Rc::new(SimulationClock::new(1, Vec::new()));
        let stream = Stream::new(clock, Duration::from_secs(60), vec![shard]);
        let mut reader = stream.reader("shard", ReadFrom::TrimHorizon).await.expect("the shard");
        let mut lengths = Vec::new();
        loop {
            let read = reader.read().await.expect("records");
            lengths.push(read.records.len());
            if read.next == NextRead::ShardEnd {
                return lengths;
            }
        }
    }

    #[tokio::test]
    async fn a_read_returns_as_much_as_the_api_would() {
        assert_eq!(reads(0, 1).await, [0]);
        assert_eq!(reads(10_000, 1).await, [10_000]);
        assert_eq!(reads(25_000, 1).await, [10_000, 10_000, 5_000]);
        assert_eq!(reads(25, 1024 * 1024).await, [10, 10, 5]);
        assert_eq!(reads(2, 11 * 1024 * 1024).await, [1, 1]);
    }
}
