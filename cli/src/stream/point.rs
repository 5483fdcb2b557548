use std::{fmt, str::FromStr};

use kinesis_handler::{SequenceNumber, journal::UserRecordId};

use crate::{
    error::Error,
    stream::{
        arrival::{Arrival, ago_ms},
        record_position::RecordPosition,
    },
};

/// A point in a stream, as the command line names it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StreamPoint {
    /// The oldest record.
    TrimHorizon,
    /// Behind the newest record there is now.
    Latest,
    /// The position of the checkpoint mirror.
    Checkpoint,
    /// When the stream received a record.
    Time(Arrival),
    /// So many milliseconds before the command began.
    Ago(u64),
    /// A record of one shard, or one of its user records.
    At { shard_id: Option<String>, sequence_number: SequenceNumber, sub_sequence_number: Option<u64> },
}

impl StreamPoint {
    /// Returns the point with a time instead of a duration ago.
    pub(crate) fn since(self, now_ms: u64) -> Self {
        match self {
            StreamPoint::Ago(ago_ms) => {
                StreamPoint::Time(Arrival::from_epoch_milliseconds(now_ms.saturating_sub(ago_ms)))
            }
            other => other,
        }
    }
}

/// Describes what a point may be. Of a checkpoint, only where a command takes it.
fn expected(checkpoint: &str) -> String {
    format!(
        "expected trim-horizon, latest{checkpoint}, a time such as 2026-01-01T00:00:00Z or @1767225600 (seconds since 1970), \
         10m (ago: s, m, h or d), or a position: SHARD/SEQUENCE-NUMBER or SHARD/SEQUENCE-NUMBER:SUB"
    )
}

/// Reads a point from which a stream is looked at, for which there is no checkpoint.
pub(crate) fn start_argument(text: &str) -> Result<StreamPoint, String> {
    match text.parse() {
        Ok(StreamPoint::Checkpoint) | Err(_) => Err(expected("")),
        Ok(point) => Ok(point),
    }
}

impl FromStr for StreamPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "trim-horizon" | "trim_horizon" => return Ok(StreamPoint::TrimHorizon),
            "latest" => return Ok(StreamPoint::Latest),
            "checkpoint" => return Ok(StreamPoint::Checkpoint),
            _ => {}
        }
        if let Some(seconds) = text.strip_prefix('@') {
            return seconds.parse().map(StreamPoint::Time).map_err(|_| expected(", checkpoint"));
        }
        if let Some(ago_ms) = ago_ms(text) {
            return Ok(StreamPoint::Ago(ago_ms));
        }
        if let Ok(RecordPosition { shard_id, sequence_number, id }) = text.parse() {
            let sub_sequence_number = match id {
                None => None,
                Some(UserRecordId::Sub(number)) => Some(number),
                Some(UserRecordId::Content(_)) => return Err(expected(", checkpoint")),
            };
            return Ok(StreamPoint::At { shard_id, sequence_number, sub_sequence_number });
        }
        text.parse().map(StreamPoint::Time).map_err(|_| expected(", checkpoint"))
    }
}

impl fmt::Display for StreamPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamPoint::TrimHorizon => f.write_str("trim-horizon"),
            StreamPoint::Latest => f.write_str("latest"),
            StreamPoint::Checkpoint => f.write_str("checkpoint"),
            StreamPoint::Time(time) => write!(f, "{time} UTC"),
            StreamPoint::Ago(ago_ms) => write!(f, "{} s ago", ago_ms / 1_000),
            StreamPoint::At { shard_id, sequence_number, sub_sequence_number } => {
                if let Some(shard_id) = shard_id {
                    write!(f, "{shard_id}/")?;
                }
                sequence_number.fmt(f)?;
                match sub_sequence_number {
                    Some(number) => write!(f, ":{number}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Returns the shards to read: those that are named, or the one of a position. None are all.
pub(crate) fn shards(named: &[String], points: &[&StreamPoint]) -> Result<Vec<String>, Error> {
    let mut shards = named.to_vec();
    for point in points {
        if let StreamPoint::At { shard_id, .. } = point {
            add_shard(&mut shards, shard_id.as_deref(), point)?;
        }
    }
    Ok(shards)
}

/// Adds the shard of a position to the shards to read, unless one of them is that.
pub(crate) fn add_shard(
    shards: &mut Vec<String>,
    shard_id: Option<&str>,
    position: &dyn fmt::Display,
) -> Result<(), Error> {
    match (shard_id, &shards[..]) {
        (Some(shard_id), []) => shards.push(shard_id.to_owned()),
        (Some(shard_id), [one]) if one != shard_id => {
            return Err(Error::Usage(format!("{position} is of shard {shard_id}, and not of {one}")));
        }
        (Some(_) | None, [_]) => {}
        _ => {
            return Err(Error::Usage(format!(
                "{position} names no shard: write SHARD/{position}, or name the shard with --shard"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_names_its_shard() {
        let shards = |named: &[&str], points: &[&str]| {
            let named: Vec<_> = named.iter().map(|&shard| shard.to_owned()).collect();
            let points: Vec<StreamPoint> =
                points.iter().map(|point| point.parse().expect("a point")).collect();
            super::shards(&named, &points.iter().collect::<Vec<_>>()).map_err(|error| error.to_string())
        };
        assert_eq!(shards(&[], &["latest", "10m"]), Ok(vec![]));
        assert_eq!(shards(&["a", "b"], &["latest"]), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(shards(&[], &["a/49:7", "a/50"]), Ok(vec!["a".to_owned()]));
        assert_eq!(shards(&["a"], &["49:7", "a/50"]), Ok(vec!["a".to_owned()]));
        assert_eq!(shards(&["b"], &["a/49"]), Err("a/49 is of shard a, and not of b".to_owned()));
        assert_eq!(shards(&[], &["a/49", "b/50"]), Err("b/50 is of shard b, and not of a".to_owned()));
        let advice = "49 names no shard: write SHARD/49, or name the shard with --shard";
        assert_eq!(shards(&[], &["49"]), Err(advice.to_owned()));
        assert_eq!(shards(&["a", "b"], &["49"]), Err(advice.to_owned()));
        let advice = "49:7 names no shard: write SHARD/49:7, or name the shard with --shard";
        assert_eq!(shards(&[], &["49:7"]), Err(advice.to_owned()));
    }

    #[track_caller]
    fn check(text: &str, shown: &str) {
        let point: StreamPoint = text.parse().expect("a point");
        assert_eq!(point.to_string(), shown);
    }

    #[test]
    fn points_are_told_apart() {
        check("TRIM_HORIZON", "trim-horizon");
        check("checkpoint", "checkpoint");
        check("49:7", "49:7");
        check("shardId-000000000003/49:7", "shardId-000000000003/49:7");
        check("10m", "600 s ago");
        check("1767225600", "1767225600");
        check("@1767225600", "2026-01-01 00:00:00.000 UTC");
        check("2026-01-01T00:00:00Z", "2026-01-01 00:00:00.000 UTC");
        for text in ["", "yesterday", "@x", "49:3ba264ad38c342ed8566c017bbd35998", "2026-01-01"] {
            assert!(text.parse::<StreamPoint>().is_err(), "{text}");
        }
    }
}
