use std::rc::Rc;

use kinesis_esm_simulator::SharedRecord;
use kinesis_handler::SequenceNumber;

use super::{Api, Position, ReadPace, ShardReader};
use crate::aws::AwsError;

/// The records of a shard from one sequence number to another, both of which it had when somebody wrote them down.
#[derive(Debug)]
pub(crate) struct StreamRange {
    reader: ShardReader,
    /// Where what is wanted begins.
    first: SequenceNumber,
    last: SequenceNumber,
    /// What has been read, and not handed out yet.
    read: Vec<SharedRecord>,
    has_start: bool,
    has_end: bool,
    is_over: bool,
}

impl StreamRange {
    /// Reads up to the first record. `done` is one in the range up to which nothing is wanted any more: it is looked for,
    /// too, because it shows whether those behind it are still there. `None` if the stream, or the shard, is not there any
    /// more.
    pub(crate) async fn begin(
        api: Rc<Api>,
        pace: Rc<ReadPace>,
        shard_id: &str,
        (first, last): (SequenceNumber, SequenceNumber),
        done: Option<SequenceNumber>,
    ) -> Result<Option<Self>, AwsError> {
        let first = done.unwrap_or(first);
        let begin =
            ShardReader::begin(Rc::clone(&api), Rc::clone(&pace), shard_id, Position::At(first)).await;
        let reader = match begin {
            Ok(reader) => reader,
            Err(error) if error.is("ResourceNotFoundException") => return Ok(None),
            // The number may be too old, or that of another stream of the same name: what lies in the range shows.
            Err(error) if error.is("InvalidArgumentException") => {
                ShardReader::begin(api, pace, shard_id, Position::TrimHorizon).await?
            }
            Err(error) => return Err(error),
        };
        let (read, has_start, has_end) = (Vec::new(), false, false);
        let mut range = StreamRange { reader, first, last, read, has_start, has_end, is_over: false };
        range.read().await?;
        range.has_start = range.read.first().is_some_and(|record| record.sequence_number == first);
        if done.is_some() && range.has_start {
            range.read.remove(0);
        }
        Ok(Some(range))
    }

    /// The next records, at least one; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<SharedRecord>>, AwsError> {
        if self.read.is_empty() {
            self.read().await?;
        }
        let read = std::mem::take(&mut self.read);
        Ok((!read.is_empty()).then_some(read))
    }

    /// Reads on until there are records, or no more of them.
    async fn read(&mut self) -> Result<(), AwsError> {
        while !self.is_over && self.read.is_empty() {
            let Some(page) = self.reader.page().await? else {
                self.is_over = true;
                return Ok(());
            };
            self.is_over = page.records.is_empty() && !page.is_behind;
            self.read = page.records;
            let within = self.read.partition_point(|record| record.sequence_number <= self.last);
            self.is_over |= within < self.read.len();
            self.read.truncate(within);
            self.read.retain(|record| record.sequence_number >= self.first);
            self.has_end |= self.read.last().is_some_and(|record| record.sequence_number == self.last);
            self.is_over |= self.has_end;
        }
        Ok(())
    }

    /// Whether the first record is still there. If it is not, neither may be those behind it.
    pub(crate) fn has_start(&self) -> bool {
        self.has_start
    }

    /// Whether the last record has been read.
    pub(crate) fn has_end(&self) -> bool {
        self.has_end
    }
}
