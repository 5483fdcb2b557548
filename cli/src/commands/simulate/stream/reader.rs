use kinesis_esm_simulator::{NextRead, Read, ShardReader};
use kinesis_handler::BoxError;

use crate::{
    aws::AwsError,
    stream::{self, Page},
};

/// Number of reads in a row that may find nothing although there is more: a stretch of a shard without records costs a read
/// for each part of it. Together they take as long as the mapping waits between two reads.
const MAX_EMPTY_READS: u32 = 5;

/// Reads a shard for the simulator.
#[derive(Debug)]
pub(crate) struct KinesisReader(pub(super) stream::ShardReader);

impl KinesisReader {
    async fn next_read(&mut self) -> Result<Read, AwsError> {
        let mut empty_reads = 0;
        while let Some(Page { records, is_behind }) = self.0.page().await? {
            empty_reads += 1;
            if !records.is_empty() || !is_behind || empty_reads == MAX_EMPTY_READS {
                return Ok(Read { records, trimmed: Vec::new(), next: self.next() });
            }
        }
        Ok(Read { next: self.next(), ..Read::default() })
    }

    fn next(&self) -> NextRead {
        if self.0.is_at_end() { NextRead::ShardEnd } else { NextRead::Unknown }
    }
}

impl ShardReader for KinesisReader {
    async fn read(&mut self) -> Result<Read, BoxError> {
        Ok(self.next_read().await?)
    }
}
