use std::rc::Rc;

use kinesis_esm::StreamRecord;
use kinesis_handler::{SequenceNumber, checkpoint::RowCheckpoint};
use kpl_deaggregation::{Content, Deaggregator};

use super::Lease;
use crate::{
    aws::AwsError,
    stream::{Api, Position, ReadPace, ShardReader, now_ms},
};

/// The records of a shard that are not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unread {
    /// When the first of them arrived, in milliseconds since 1970. Absent if there is none.
    pub(crate) first_arrival_ms: Option<u64>,
    /// The numbers of Kinesis records and of user records, if they were to be counted.
    pub(crate) counted: Option<Counted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    pub(crate) kinesis_records: u64,
    pub(crate) user_records: u64,
}

/// The place in a shard up to which it is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processed {
    Nothing,
    /// All that arrived before this time, in milliseconds since 1970.
    Before(u64),
    /// This user record, and all before it.
    Through(SequenceNumber, u64),
    Everything,
}

impl Processed {
    /// Returns the place in a shard with this lease, or without one. A shard is passed if descendants of it have positions.
    /// `None` if the place depends on when a KCL application begins.
    pub(crate) fn of_shard(lease: Option<&Lease>, is_passed: bool) -> Option<Self> {
        match lease {
            Some(lease) => Processed::of(lease),
            None if is_passed => Some(Processed::Everything),
            None => Some(Processed::Nothing),
        }
    }

    /// Returns the place of a lease. `None` if it depends on when a KCL application begins.
    pub(crate) fn of(lease: &Lease) -> Option<Self> {
        match lease.row.checkpoint {
            RowCheckpoint::TrimHorizon => Some(Processed::Nothing),
            // A KCL takes none as 0.
            RowCheckpoint::At(number) => {
                Some(Processed::Through(number, lease.row.sub_sequence_number.unwrap_or(0)))
            }
            RowCheckpoint::ShardEnd => Some(Processed::Everything),
            RowCheckpoint::Latest | RowCheckpoint::AtTimestamp => None,
        }
    }
}

/// Reads a shard from behind what is processed: up to the first record, or to the newest one if they are counted.
pub(crate) async fn unread(
    api: &Rc<Api>,
    pace: &Rc<ReadPace>,
    shard_id: &str,
    processed: Processed,
    counts: bool,
) -> Result<Unread, AwsError> {
    let (from, after) = match processed {
        Processed::Everything => {
            return Ok(Unread { counted: counts.then(Counted::default), ..Unread::default() });
        }
        Processed::Nothing => (Position::TrimHorizon, None),
        Processed::Before(time_ms) => (Position::AtTimestamp(time_ms), None),
        Processed::Through(number, sub) => (Position::At(number), Some((number, sub))),
    };
    let began_ms = now_ms();
    let mut deaggregator = Deaggregator::default();
    let mut reader = ShardReader::begin(Rc::clone(api), Rc::clone(pace), shard_id, from).await?;
    let mut first_arrival_ms = None;
    let mut counted = Counted::default();
    while let Some(page) = reader.page().await? {
        for record in &page.records {
            let user_records = user_records_after(record, after, &mut deaggregator);
            if user_records > 0 {
                first_arrival_ms = first_arrival_ms.or(Some(record.arrival_ms));
                counted.kinesis_records += 1;
                counted.user_records += user_records;
            }
        }
        if page.has_reached(began_ms) || (first_arrival_ms.is_some() && !counts) {
            break;
        }
    }
    Ok(Unread { first_arrival_ms, counted: counts.then_some(counted) })
}

/// Returns the number of user records of a Kinesis record that lie behind a position. One that is no aggregate, or none that
/// can be read, is one.
fn user_records_after(
    record: &StreamRecord,
    after: Option<(SequenceNumber, u64)>,
    deaggregator: &mut Deaggregator,
) -> u64 {
    let first = match after {
        Some((number, _)) if record.sequence_number < number => return 0,
        Some((number, sub)) if record.sequence_number == number => sub.saturating_add(1),
        _ => 0,
    };
    user_records(record, deaggregator).saturating_sub(first)
}

/// Returns the number of user records in a Kinesis record. One that is no aggregate, or none that can be read, is one.
pub(crate) fn user_records(record: &StreamRecord, deaggregator: &mut Deaggregator) -> u64 {
    match deaggregator.deaggregate(record.partition_key.as_bytes(), &record.data) {
        Ok(user_records) if user_records.content() == Content::Aggregated => user_records.count() as u64,
        _ => 1,
    }
}
