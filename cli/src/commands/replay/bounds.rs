use std::{
    collections::{BTreeMap, HashSet},
    rc::Rc,
};

use kinesis_handler::{
    SequenceNumber,
    checkpoint::{Row, RowCheckpoint},
};

use super::Error;
use crate::stream::{Position, point::StreamPoint};

/// A user record of a shard.
pub(super) type ProgressPoint = (SequenceNumber, u64);

/// The range of a shard's user records that is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShardBounds {
    /// Position from which reading begins.
    pub(super) begin: Position,
    /// Whether the record at which reading begins is processed, so that it is no loss if the stream has dropped it.
    pub(super) is_processed: bool,
    /// The first one.
    pub(super) first: Option<ProgressPoint>,
    pub(super) end: End,
}

/// The end of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With the newest one, when that is reached.
    Latest,
    /// Before the first that arrived at this time, in milliseconds since 1970, or later.
    Before(u64),
    /// With this one.
    Through(ProgressPoint),
}

/// The range of a replay. Checkpoints are a snapshot.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) from: StreamPoint,
    pub(super) to: StreamPoint,
    pub(super) checkpoints: Rc<BTreeMap<String, Row>>,
    /// Shards that have descendants with a checkpoint: the mapping begins those only when a shard is drained.
    pub(super) passed: HashSet<String>,
}

/// Why a shard is left out.
pub(super) type Reason = &'static str;

impl Bounds {
    pub(super) fn check(from: &StreamPoint, to: &StreamPoint) -> Result<(), Error> {
        let usage = |text: &str| Err(Error::Usage(text.to_owned()));
        match (from, to) {
            (StreamPoint::Latest, _) => {
                usage("--from latest: there is nothing to replay behind the newest record")
            }
            (_, StreamPoint::TrimHorizon) => {
                usage("--to trim-horizon: there is nothing before the oldest record")
            }
            (StreamPoint::Checkpoint, StreamPoint::Checkpoint) => {
                usage("from checkpoint to checkpoint there is nothing")
            }
            (StreamPoint::Time(from), StreamPoint::Time(to))
                if to.epoch_milliseconds() <= from.epoch_milliseconds() =>
            {
                usage("--to is not later than --from")
            }
            _ => Ok(()),
        }
    }

    /// Returns the range of this shard.
    pub(super) fn of_shard(&self, shard_id: &str) -> Result<ShardBounds, Reason> {
        let row = self.checkpoints.get(shard_id);
        let (begin, first) = match &self.from {
            StreamPoint::Ago(_) => unreachable!("a duration ago was made a time"),
            StreamPoint::TrimHorizon | StreamPoint::Latest => (Position::TrimHorizon, None),
            StreamPoint::Time(time) => (Position::AtTimestamp(time.epoch_milliseconds()), None),
            StreamPoint::At { sequence_number, sub_sequence_number, .. } => {
                (Position::At(*sequence_number), Some((*sequence_number, sub_sequence_number.unwrap_or(0))))
            }
            StreamPoint::Checkpoint => match row.map(|row| (row.checkpoint, row)) {
                Some((RowCheckpoint::At(number), row)) => {
                    // A KCL takes none as 0.
                    let done = row.sub_sequence_number.unwrap_or(0);
                    (Position::At(number), Some((number, done.saturating_add(1))))
                }
                Some((RowCheckpoint::TrimHorizon, _)) => (Position::TrimHorizon, None),
                Some((RowCheckpoint::ShardEnd, _)) => return Err("the checkpoint is the shard's end"),
                Some((RowCheckpoint::Latest | RowCheckpoint::AtTimestamp, _)) => {
                    return Err("the checkpoint is no position yet");
                }
                None if self.passed.contains(shard_id) => return Err("its descendants have checkpoints"),
                // Nothing of it is processed.
                None => (Position::TrimHorizon, None),
            },
        };
        let end = match &self.to {
            StreamPoint::Ago(_) => unreachable!("a duration ago was made a time"),
            StreamPoint::Latest | StreamPoint::TrimHorizon => End::Latest,
            StreamPoint::Time(time) => End::Before(time.epoch_milliseconds()),
            StreamPoint::At { sequence_number, sub_sequence_number, .. } => {
                End::Through((*sequence_number, sub_sequence_number.unwrap_or(u64::MAX)))
            }
            StreamPoint::Checkpoint => match row.map(|row| (row.checkpoint, row)) {
                Some((RowCheckpoint::At(number), row)) => {
                    End::Through((number, row.sub_sequence_number.unwrap_or(0)))
                }
                // No more can come.
                Some((RowCheckpoint::ShardEnd, _)) => End::Latest,
                None if self.passed.contains(shard_id) => End::Latest,
                Some(_) | None => return Err("nothing of it is processed"),
            },
        };
        let is_processed = self.from == StreamPoint::Checkpoint;
        Ok(ShardBounds { begin, is_processed, first, end })
    }
}

#[cfg(test)]
mod tests {
    use kpl_deaggregation::HashKeyRange;

    use super::*;
    use crate::{
        lease_table::{passed, unknown},
        stream::Shard,
    };

    fn bounds(from: &str, to: &str) -> Bounds {
        let at = |sub_sequence_number| {
            let mut row = Row::new(RowCheckpoint::At(number("9")));
            row.sub_sequence_number = sub_sequence_number;
            row
        };
        let checkpoints = BTreeMap::from([
            ("at".to_owned(), at(Some(3))),
            ("kcl".to_owned(), at(None)),
            ("start".to_owned(), Row::new(RowCheckpoint::TrimHorizon)),
            ("end".to_owned(), Row::new(RowCheckpoint::ShardEnd)),
        ]);
        let point = |text: &str| text.parse().expect("a point");
        let shard = |id: &str, parents: &[&str]| Shard {
            id: id.to_owned(),
            parents: parents.iter().map(|&parent| parent.to_owned()).collect(),
            hash_key_range: HashKeyRange::FULL,
            is_open: false,
        };
        let shards = [
            shard("old", &[]),
            shard("drained", &["old"]),
            shard("at", &["drained", "gone"]),
            shard("split", &[]),
            shard("end", &["split"]),
            shard("child", &["end"]),
            shard("grandchild", &["child"]),
            shard("sibling", &["split"]),
            shard("lonely", &[]),
        ];
        let passed = passed(&shards, &checkpoints);
        assert_eq!(unknown(&shards, &checkpoints, &passed), ["lonely"]);
        Bounds { from: point(from), to: point(to), checkpoints: Rc::new(checkpoints), passed }
    }

    fn number(text: &str) -> SequenceNumber {
        text.parse().expect("digits")
    }

    #[test]
    fn a_checkpoint_is_the_last_user_record_that_is_done() {
        let to = bounds("trim-horizon", "checkpoint");
        let expected =
            |end| Ok(ShardBounds { begin: Position::TrimHorizon, is_processed: false, first: None, end });
        assert_eq!(to.of_shard("at"), expected(End::Through((number("9"), 3))));
        assert_eq!(to.of_shard("kcl"), expected(End::Through((number("9"), 0))));
        assert_eq!(to.of_shard("end"), expected(End::Latest));
        assert_eq!(to.of_shard("start"), Err("nothing of it is processed"));
        assert_eq!(to.of_shard("other"), Err("nothing of it is processed"));
        for ancestor in ["drained", "old", "split"] {
            assert_eq!(to.of_shard(ancestor), expected(End::Latest));
        }

        let from = bounds("checkpoint", "latest");
        let expected = |begin, first| Ok(ShardBounds { begin, is_processed: true, first, end: End::Latest });
        assert_eq!(from.of_shard("at"), expected(Position::At(number("9")), Some((number("9"), 4))));
        assert_eq!(from.of_shard("start"), expected(Position::TrimHorizon, None));
        assert_eq!(from.of_shard("end"), Err("the checkpoint is the shard's end"));
        assert_eq!(from.of_shard("other"), expected(Position::TrimHorizon, None));
        for ancestor in ["old", "split"] {
            assert_eq!(from.of_shard(ancestor), Err("its descendants have checkpoints"));
        }
    }

    #[test]
    fn both_ends_of_sequence_numbers_are_included() {
        let range = bounds("7:2", "9").of_shard("any").expect("a range");
        assert_eq!(range.begin, Position::At(number("7")));
        assert_eq!(range.first, Some((number("7"), 2)));
        assert_eq!(range.end, End::Through((number("9"), u64::MAX)));
    }

    #[track_caller]
    fn check_refused(from: &str, to: &str) {
        let point = |text: &str| text.parse().expect("a point");
        assert!(Bounds::check(&point(from), &point(to)).is_err(), "{from} {to}");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        check_refused("latest", "latest");
        check_refused("trim-horizon", "trim-horizon");
        check_refused("checkpoint", "checkpoint");
        check_refused("@7", "@7");
        let point = |text: &str| text.parse().expect("a point");
        assert!(Bounds::check(&point("7"), &point("checkpoint")).is_ok());
    }
}
