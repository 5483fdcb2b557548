use std::{borrow::Cow, ops::RangeInclusive};

use kinesis_esm::StreamRecord;
use kpl_deaggregation::{Content, Deaggregator, UserRecord, encode};

use super::bounds::{End, ProgressPoint, ShardBounds};

/// The place of a Kinesis record relative to the bounds.
#[derive(Debug)]
pub(super) enum Cut<'r> {
    /// All of it, or a part, is wanted.
    Within { record: Cow<'r, StreamRecord>, within: Within },
    /// Before all of the range.
    Before,
    /// Neither is anything of those that follow.
    Behind,
}

/// The user records of a Kinesis record that are in the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Within {
    pub(super) user_records: u64,
    /// Number of the first of them in the record of the stream.
    pub(super) first_sub: u64,
    /// Whether no other part of the record follows, of one that is too large for an event.
    pub(super) is_end: bool,
}

impl ShardBounds {
    /// Returns the part of a record that is in the range. An aggregate on a border comes back as one with the user records inside.
    pub(super) fn cut<'r>(&self, record: &'r StreamRecord, deaggregator: &mut Deaggregator) -> Cut<'r> {
        let number = record.sequence_number;
        if self.first.is_some_and(|(first, _)| number < first) {
            return Cut::Before;
        }
        match self.end {
            End::Before(time_ms) if record.arrival_ms >= time_ms => return Cut::Behind,
            End::Through((last, _)) if number > last => return Cut::Behind,
            _ => {}
        }
        let sub_at = |place: Option<ProgressPoint>| place.filter(|(of, _)| *of == number).map(|(_, sub)| sub);
        let last = match self.end {
            End::Through(place) => Some(place),
            End::Latest | End::Before(_) => None,
        };
        let wanted = sub_at(self.first).unwrap_or(0)..=sub_at(last).unwrap_or(u64::MAX);
        within(record, wanted, deaggregator)
    }
}

fn within<'r>(
    record: &'r StreamRecord,
    wanted: RangeInclusive<u64>,
    deaggregator: &mut Deaggregator,
) -> Cut<'r> {
    let whole = |user_records| Cut::Within {
        record: Cow::Borrowed(record),
        within: Within { user_records, first_sub: 0, is_end: true },
    };
    // What no function can read is for it to say.
    let Ok(user_records) = deaggregator.deaggregate(record.partition_key.as_bytes(), &record.data) else {
        return whole(1);
    };
    if user_records.content() != Content::Aggregated {
        return if wanted.contains(&0) { whole(1) } else { Cut::Before };
    }
    if wanted == (0..=u64::MAX) {
        return whole(user_records.count() as u64);
    }
    let mut all = 0;
    let inside: Vec<UserRecord<'_>> = user_records
        .inspect(|_| all += 1)
        .filter(|record| wanted.contains(&record.sub_sequence_number))
        .collect();
    let count = inside.len() as u64;
    let first_sub = inside.first().map_or(0, |record| record.sub_sequence_number);
    if count == all {
        return whole(count);
    }
    match encode(inside) {
        None => Cut::Before,
        Some(data) => Cut::Within {
            record: Cow::Owned(StreamRecord { data: data.into(), ..record.clone() }),
            within: Within { user_records: count, first_sub, is_end: true },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Position;

    fn record(number: &str, user_records: &[&str]) -> StreamRecord {
        let data = match user_records {
            [plain] => plain.as_bytes().to_vec(),
            user_records => {
                let user_records = user_records.iter().map(|data| UserRecord::new(b"k", data.as_bytes()));
                encode(user_records).expect("there are some")
            }
        };
        StreamRecord {
            sequence_number: number.parse().expect("digits"),
            partition_key: "a".to_owned(),
            data: data.into(),
            arrival_ms: 1_000,
            encryption_type: "NONE",
        }
    }

    /// Returns the part that is left, or the reason why nothing is.
    fn cut(first: Option<(&str, u64)>, end: End, record: &StreamRecord) -> String {
        let first = first.map(|(number, sub)| (number.parse().expect("digits"), sub));
        let bounds = ShardBounds { begin: Position::TrimHorizon, is_processed: false, first, end };
        let mut deaggregator = Deaggregator::default();
        match bounds.cut(record, &mut deaggregator) {
            Cut::Before => "before".to_owned(),
            Cut::Behind => "behind".to_owned(),
            Cut::Within { record, within } => {
                let read = deaggregator.deaggregate(b"a", &record.data).expect("a valid record");
                let texts: Vec<_> = read.map(|record| String::from_utf8_lossy(record.data)).collect();
                assert_eq!(texts.len() as u64, within.user_records);
                assert_eq!(
                    within.first_sub,
                    first.map_or(0, |(of, sub)| if of == record.sequence_number { sub } else { 0 })
                );
                texts.join(" ")
            }
        }
    }

    fn through(number: &str, sub: u64) -> End {
        End::Through((number.parse().expect("digits"), sub))
    }

    #[test]
    fn an_aggregate_is_cut_at_its_user_records() {
        let aggregate = record("9", &["a", "b", "c", "d"]);
        assert_eq!(cut(None, End::Latest, &aggregate), "a b c d");
        assert_eq!(cut(Some(("9", 2)), End::Latest, &aggregate), "c d");
        assert_eq!(cut(None, through("9", 1), &aggregate), "a b");
        assert_eq!(cut(Some(("9", 1)), through("9", 2), &aggregate), "b c");
        assert_eq!(cut(Some(("9", 3)), through("9", 3), &aggregate), "d");
        assert_eq!(cut(Some(("9", 4)), End::Latest, &aggregate), "before");
        assert_eq!(cut(Some(("8", 3)), through("10", 0), &aggregate), "a b c d");
        assert_eq!(cut(Some(("10", 0)), End::Latest, &aggregate), "before");
        assert_eq!(cut(None, through("8", 9), &aggregate), "behind");
    }

    #[test]
    fn a_plain_record_is_its_only_user_record() {
        let plain = record("9", &["a"]);
        assert_eq!(cut(Some(("9", 0)), through("9", 0), &plain), "a");
        assert_eq!(cut(Some(("9", 1)), End::Latest, &plain), "before");
    }

    #[test]
    fn the_time_of_an_end_is_not_included() {
        let plain = record("9", &["a"]);
        assert_eq!(cut(None, End::Before(1_001), &plain), "a");
        assert_eq!(cut(None, End::Before(1_000), &plain), "behind");
    }
}
