use std::rc::Rc;

use kinesis_esm::SharedRecord;
use kinesis_handler::SequenceNumber;

use crate::{
    aws::AwsError,
    stream::{Api, Page, Position, ReadPace, ShardReader},
};

/// Reads ranges of a shard. Ranges that follow each other closely share reads.
#[derive(Debug)]
pub(super) struct RangeReader {
    api: Rc<Api>,
    pace: Rc<ReadPace>,
    shard_id: String,
    /// Reads on after the page. `None` before the first range.
    reader: Option<ShardReader>,
    /// Page that was read last.
    page: Vec<SharedRecord>,
    /// The page holds all records from this number to its last record.
    from: SequenceNumber,
    /// Whether the shard has no records after the page.
    is_at_end: bool,
}

/// Progress in a range.
#[derive(Debug)]
pub(super) struct Range {
    /// The last record that was returned or is not wanted; before that, where the range begins.
    at: SequenceNumber,
    is_at_wanted: bool,
    last: SequenceNumber,
    has_start: bool,
    has_end: bool,
    is_over: bool,
}

impl Range {
    /// Whether the first record is still there. If it is not, those after it may be gone, too.
    pub(super) fn has_start(&self) -> bool {
        self.has_start
    }

    /// Whether the last record was read.
    pub(super) fn has_end(&self) -> bool {
        self.has_end
    }
}

impl RangeReader {
    pub(super) fn new(api: Rc<Api>, pace: Rc<ReadPace>, shard_id: &str) -> Self {
        RangeReader {
            api,
            pace,
            shard_id: shard_id.to_owned(),
            reader: None,
            page: Vec::new(),
            from: "0".parse().expect("a digit"),
            is_at_end: false,
        }
    }

    /// Reads up to the first record of a range. `done` is a record of the range up to which nothing is wanted any more:
    /// it is looked for, because it shows whether those after it are still there.
    pub(super) async fn begin(
        &mut self,
        (first, last): (SequenceNumber, SequenceNumber),
        done: Option<SequenceNumber>,
    ) -> Result<Range, AwsError> {
        let first = done.unwrap_or(first);
        if self.reader.is_some() && first >= self.from && !self.covers(first) {
            // The next page is likely to have it. Seeking costs a request more.
            self.read_on().await?;
        }
        if self.reader.is_none() || !self.covers(first) {
            self.seek(first).await?;
        }
        let has_start = self.page.binary_search_by_key(&first, |record| record.sequence_number).is_ok();
        let is_over = !self.covers(first);
        Ok(Range { at: first, is_at_wanted: done.is_none(), last, has_start, has_end: false, is_over })
    }

    /// Returns the next records of a range, at least one; `None` at its end.
    pub(super) async fn next(&mut self, range: &mut Range) -> Result<Option<Vec<SharedRecord>>, AwsError> {
        while !range.is_over {
            let is_before = |record: &SharedRecord| {
                record.sequence_number < range.at
                    || (record.sequence_number == range.at && !range.is_at_wanted)
            };
            let start = self.page.partition_point(is_before);
            let end = self.page.partition_point(|record| record.sequence_number <= range.last);
            if start < end {
                let records = self.page[start..end].to_vec();
                range.at = self.page[end - 1].sequence_number;
                range.is_at_wanted = false;
                range.has_end = range.at == range.last;
                return Ok(Some(records));
            }
            range.is_over = self.covers(range.last);
            if !range.is_over {
                self.read_on().await?;
            }
        }
        Ok(None)
    }

    /// Whether the page shows if the shard has this record.
    fn covers(&self, number: SequenceNumber) -> bool {
        let is_in_page = self.page.last().is_some_and(|last| number <= last.sequence_number);
        number >= self.from && (is_in_page || self.is_at_end)
    }

    /// Reads the first page that may have the record. It does not cover the record if the shard never had it.
    async fn seek(&mut self, first: SequenceNumber) -> Result<(), AwsError> {
        self.page.clear();
        (self.reader, self.from, self.is_at_end) = (None, first, false);
        let begin = |position| {
            ShardReader::begin(Rc::clone(&self.api), Rc::clone(&self.pace), &self.shard_id, position)
        };
        match begin(Position::At(first)).await {
            Ok(reader) => self.reader = Some(reader),
            // The number may be too old, or that of another stream of the same name.
            Err(error) if error.is("InvalidArgumentException") => {
                // If it is too old, it precedes the first page. Otherwise reading the whole shard would not find it.
                self.reader = Some(begin(Position::TrimHorizon).await?);
                self.from = "0".parse().expect("a digit");
            }
            Err(error) => return Err(error),
        }
        self.read_on().await
    }

    /// Reads the next page that has records. The last record stays, because the page covers what follows it.
    async fn read_on(&mut self) -> Result<(), AwsError> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        while !self.is_at_end {
            match reader.page().await? {
                Some(Page { records, .. }) if !records.is_empty() => {
                    let last = self.page.pop();
                    if let Some(last) = &last {
                        self.from = last.sequence_number;
                    }
                    self.page = last.into_iter().chain(records).collect();
                    return Ok(());
                }
                page => self.is_at_end = page.is_none_or(|page| !page.is_behind),
            }
        }
        Ok(())
    }
}
