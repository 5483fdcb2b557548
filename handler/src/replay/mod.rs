//! The replay of a range on Lambda itself: a second event source mapping, on an alias of the function, reads the stream again.
//!
//! The alias has the range in its name, and Lambda tells the function which alias it is invoked by. So the mapping of the live
//! function and that of a replay invoke the same code with the same variables, and nothing has to be published for a replay.
//! A replay has an application of its own: the handler keeps everything under its name.

#[cfg(feature = "dynamodb")]
mod dynamodb;

use std::{fmt, str::FromStr};

#[cfg(feature = "dynamodb")]
pub use dynamodb::{DynamoDbReplayPositions, ReplayPosition};
use thiserror::Error;

use crate::event::KinesisRecord;

/// The aliases of replays begin with this.
const PREFIX: &str = "kinesis-kit-replay-";

/// The range of a replay on Lambda: the Kinesis records that arrived from a time on and before another one.
///
/// `kinesis-kit replay --on-lambda` gives it to the function in the name of an alias:
///
/// ```
/// use kinesis_handler::replay::ReplayRange;
///
/// let range = ReplayRange::new(1_767_225_600_000, 1_767_312_000_000).expect("the end is after the start");
/// assert_eq!(range.to_string(), "kinesis-kit-replay-1767225600000-1767312000000");
/// assert_eq!(range.application("orders"), "orders/replay-1767225600000-1767312000000");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayRange {
    from_ms: u64,
    until_ms: u64,
}

/// An alias that begins as those of replays do and has no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected kinesis-kit-replay-FROM-UNTIL, two times in milliseconds since 1970, the second one later")]
#[non_exhaustive]
pub struct ReplayRangeError;

impl ReplayRange {
    /// Returns the range from one time on and before another one, both in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// [`ReplayRangeError`] if the second time is not later than the first one.
    pub fn new(from_ms: u64, until_ms: u64) -> Result<Self, ReplayRangeError> {
        if from_ms < until_ms { Ok(ReplayRange { from_ms, until_ms }) } else { Err(ReplayRangeError) }
    }

    /// Returns the range that an alias, a version or nothing names. `None` if it is not the alias of a replay.
    ///
    /// # Errors
    ///
    /// [`ReplayRangeError`] if the alias begins as one of a replay, and no range follows.
    pub fn of_qualifier(qualifier: &str) -> Result<Option<Self>, ReplayRangeError> {
        if qualifier.starts_with(PREFIX) { qualifier.parse().map(Some) } else { Ok(None) }
    }

    /// Returns the time from which on records belong to the range, in milliseconds since 1970.
    pub fn from_ms(&self) -> u64 {
        self.from_ms
    }

    /// Returns the time from which on records do not belong to the range any more, in milliseconds since 1970.
    pub fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// Returns the name under which journal, quarantine and positions are kept for the replay, so that those of the application
    /// itself stay untouched.
    pub fn application(&self, application: &str) -> String {
        format!("{application}/replay-{}-{}", self.from_ms, self.until_ms)
    }

    /// Whether a Kinesis record that arrived at this time belongs to the range.
    pub fn contains(&self, arrival_ms: u64) -> bool {
        (self.from_ms..self.until_ms).contains(&arrival_ms)
    }

    /// Whether a Kinesis record belongs to the range. One without a time does, because it must not be lost.
    pub(crate) fn includes(&self, record: &KinesisRecord<'_>) -> bool {
        record.approximate_arrival_ms.is_none_or(|arrival_ms| self.contains(arrival_ms))
    }
}

/// Writes the alias's name.
impl fmt::Display for ReplayRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-{}", self.from_ms, self.until_ms)
    }
}

impl FromStr for ReplayRange {
    type Err = ReplayRangeError;

    fn from_str(alias: &str) -> Result<Self, ReplayRangeError> {
        let times = alias.strip_prefix(PREFIX).and_then(|times| times.split_once('-'));
        let (from, until) = times.ok_or(ReplayRangeError)?;
        let (Ok(from_ms), Ok(until_ms)) = (from.parse(), until.parse()) else { return Err(ReplayRangeError) };
        let range = ReplayRange::new(from_ms, until_ms)?;
        // Another text of the same numbers is another alias.
        if range.to_string() == alias { Ok(range) } else { Err(ReplayRangeError) }
    }
}

/// Returns the version or alias in the ARN that a function is invoked by; none if the ARN has none.
pub(crate) fn qualifier(invoked_function_arn: &str) -> &str {
    // arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME:QUALIFIER
    invoked_function_arn.splitn(8, ':').nth(7).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:orders";

    #[test]
    fn an_alias_reads_back() {
        let range = ReplayRange::new(5, 70).expect("a range");
        assert_eq!(ReplayRange::of_qualifier(qualifier(&format!("{ARN}:{range}"))), Ok(Some(range)));
        assert!(range.contains(5) && range.contains(69) && !range.contains(4) && !range.contains(70));
    }

    #[test]
    fn other_qualifiers_are_no_replay() {
        for arn in ["", "orders", ARN, &format!("{ARN}:7"), &format!("{ARN}:live"), &format!("{ARN}:$LATEST")]
        {
            assert_eq!(ReplayRange::of_qualifier(qualifier(arn)), Ok(None), "{arn}");
        }
    }

    #[test]
    fn an_alias_without_a_range_is_refused() {
        for times in ["", "5", "5-", "-5-7", "5-5", "7-5", "5-7-9", "05-7", "+5-7", "5-18446744073709551616"]
        {
            let alias = format!("{PREFIX}{times}");
            assert_eq!(ReplayRange::of_qualifier(&alias), Err(ReplayRangeError), "{alias}");
        }
    }
}
