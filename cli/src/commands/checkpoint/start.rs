use std::{collections::HashSet, fmt, rc::Rc};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::Positions;
use crate::{
    aws::AwsError,
    error::chain,
    lease_table::{self, Leases, Processed, READERS, unread},
    output::cell,
    stream::{Position, ReadPace, Shard, ShardReader},
};

/// Time before the first record that is not processed at which a new mapping starts, in milliseconds: the times of records that
/// arrive at the same time are not in the order of their sequence numbers.
const MARGIN_MS: u64 = 60_000;

/// The most that this machine's clock may differ from that of AWS, in milliseconds: AWS refuses requests beyond that.
const CLOCK_SKEW_MS: u64 = 300_000;

/// The position from which a new mapping loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MappingStart {
    /// The position of a shard is not known.
    TrimHorizon,
    /// A time in seconds since 1970.
    AtTimestamp(u64),
}

impl MappingStart {
    /// Returns the start, given when the first record arrived that is not processed. A shard without one may have got one while others
    /// were read: after the last one of all shards that is processed, if its arrival is known, and otherwise after the time at
    /// which the positions were looked at by this machine's clock. Times in milliseconds since 1970.
    pub(super) fn of(first_ms: Option<u64>, last_processed_ms: Option<u64>, began_ms: u64) -> Self {
        let not_read_ms = last_processed_ms.unwrap_or(began_ms.saturating_sub(CLOCK_SKEW_MS)).min(began_ms);
        let start_ms = first_ms.unwrap_or(u64::MAX).min(not_read_ms);
        MappingStart::AtTimestamp(start_ms.saturating_sub(MARGIN_MS) / 1_000)
    }

    /// Returns the time in seconds since 1970; `None` for `TRIM_HORIZON`.
    pub(super) fn seconds(self) -> Option<u64> {
        match self {
            MappingStart::TrimHorizon => None,
            MappingStart::AtTimestamp(seconds) => Some(seconds),
        }
    }

    fn position(self) -> Position {
        match self {
            MappingStart::TrimHorizon => Position::TrimHorizon,
            MappingStart::AtTimestamp(seconds) => Position::AtTimestamp(seconds * 1_000),
        }
    }
}

/// The start for people.
impl fmt::Display for MappingStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MappingStart::TrimHorizon => f.write_str("TRIM_HORIZON"),
            MappingStart::AtTimestamp(seconds) => {
                let time = cell::time(seconds * 1_000);
                write!(f, "AT_TIMESTAMP {time} UTC ({seconds} seconds since 1970)")
            }
        }
    }
}

/// The start of a new mapping, and what it depends on.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) at: MappingStart,
    /// Shard whose first unprocessed record is the first of all, and when it arrived, in milliseconds since 1970.
    pub(super) first: Option<(String, u64)>,
    /// Shards whose positions are not known, with the reasons.
    pub(super) unknown: Vec<(String, String)>,
    /// Shards without a row of which nothing says that they are processed.
    pub(super) without_row: Vec<String>,
    /// Shards without a row that are drained, because their descendants have positions.
    pub(super) passed: HashSet<String>,
}

impl Start {
    /// Finds the start: reads each shard from its position up to the first record that is not processed.
    ///
    /// # Errors
    ///
    /// Kinesis does not answer, or refuses more than the position of a shard.
    pub(super) async fn find(
        positions: &Positions,
        leases: &Leases,
        began_ms: u64,
    ) -> Result<Self, AwsError> {
        let rows = leases.by_shard.iter().map(|(id, lease)| (id.clone(), lease.row.clone())).collect();
        let passed = lease_table::passed(&positions.shards, &rows);
        let arrivals = stream::iter(&positions.shards)
            .map(|shard| first_arrival(positions, leases, &passed, shard))
            .buffered(READERS);
        let arrivals: Vec<FirstArrival> = arrivals.try_collect().await?;
        let mut start = Start {
            at: MappingStart::TrimHorizon,
            first: None,
            unknown: Vec::new(),
            without_row: Vec::new(),
            passed: HashSet::new(),
        };
        for (shard, arrival) in positions.shards.iter().zip(arrivals) {
            let id = || shard.id.clone();
            match arrival {
                FirstArrival::Unknown(reason) => start.unknown.push((id(), reason)),
                FirstArrival::At(arrival_ms)
                    if start.first.as_ref().is_none_or(|first| arrival_ms < first.1) =>
                {
                    start.first = Some((id(), arrival_ms));
                }
                FirstArrival::At(_) | FirstArrival::None => {}
            }
            let has_row =
                leases.by_shard.contains_key(&shard.id) || leases.unreadable.contains_key(&shard.id);
            match passed.contains(&shard.id) {
                _ if has_row => {}
                true => drop(start.passed.insert(id())),
                false => start.without_row.push(id()),
            }
        }
        if start.unknown.is_empty() {
            let first_ms = start.first.as_ref().map(|first| first.1);
            start.at = MappingStart::of(first_ms, last_processed_ms(leases), began_ms);
        }
        Ok(start)
    }
}

/// Returns when the last record arrived that is processed, as far as the rows tell.
pub(super) fn last_processed_ms(leases: &Leases) -> Option<u64> {
    leases.by_shard.values().filter_map(|lease| lease.row.arrival_ms).max()
}

/// When the first record of a shard arrived that is not processed.
enum FirstArrival {
    /// All are processed.
    None,
    /// Milliseconds since 1970.
    At(u64),
    /// The position is not known, for this reason.
    Unknown(String),
}

async fn first_arrival(
    positions: &Positions,
    leases: &Leases,
    passed: &HashSet<String>,
    shard: &Shard,
) -> Result<FirstArrival, AwsError> {
    if let Some(error) = leases.unreadable.get(&shard.id) {
        return Ok(FirstArrival::Unknown(chain(error)));
    }
    let processed = match leases.by_shard.get(&shard.id) {
        Some(lease) => Processed::of(lease),
        None if passed.contains(&shard.id) => Some(Processed::Everything),
        None => Some(Processed::Nothing),
    };
    let Some(processed) = processed else {
        return Ok(FirstArrival::Unknown("its row has no position yet".to_owned()));
    };
    match unread(&positions.api, &Rc::new(ReadPace::default()), &shard.id, processed, false).await {
        Ok(found) => Ok(found.first_arrival_ms.map_or(FirstArrival::None, FirstArrival::At)),
        // Such as a position of a stream that had the same name.
        Err(error) if error.is("InvalidArgumentException") => Ok(FirstArrival::Unknown(chain(&error))),
        Err(error) => Err(error),
    }
}

/// Whether a closed shard has a record that a mapping with this start delivers.
pub(super) async fn has_records_from(
    positions: &Positions,
    shard_id: &str,
    start: MappingStart,
) -> Result<bool, AwsError> {
    let pace = Rc::new(ReadPace::default());
    let api = Rc::clone(&positions.api);
    let mut reader = ShardReader::begin(api, pace, shard_id, start.position()).await?;
    while let Some(page) = reader.page().await? {
        if !page.records.is_empty() {
            return Ok(true);
        }
        if !page.is_behind {
            break;
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(first_ms: Option<u64>, last_processed_ms: Option<u64>, expected_s: u64) {
        let start = MappingStart::of(first_ms, last_processed_ms, 1_000_000_999);
        assert_eq!(start, MappingStart::AtTimestamp(expected_s));
    }

    #[test]
    fn a_mapping_starts_a_minute_before_the_first_record_that_is_not_processed() {
        check(Some(999_999_999), Some(999_999_998), 999_999 - 60);
        check(Some(400_999), Some(500_000), 400 - 60);
        // It arrived while another shard was read, which may have got one before.
        check(Some(1_000_000_999), Some(900_000_000), 900_000 - 60);
        check(Some(1), None, 0);
    }

    #[test]
    fn a_mapping_without_records_to_process_starts_at_the_last_one_or_before_any_clock_shows() {
        check(None, Some(900_000_500), 900_000 - 60);
        // This machine's clock is behind.
        check(None, Some(1_000_300_000), 1_000_000 - 60);
        check(None, None, 1_000_000 - 60 - 300);
    }

    #[test]
    fn a_start_reads_as_a_mapping_takes_it() {
        assert_eq!(MappingStart::TrimHorizon.to_string(), "TRIM_HORIZON");
        let start = MappingStart::AtTimestamp(1_767_225_540);
        assert_eq!(start.to_string(), "AT_TIMESTAMP 2025-12-31 23:59:00 UTC (1767225540 seconds since 1970)");
    }
}
