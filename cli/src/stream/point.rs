use std::{fmt, str::FromStr};

use kinesis_handler::{SequenceNumber, journal::UserRecordId};

use crate::stream::{arrival::Arrival, record_position::RecordPosition};

/// A point in a stream, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum StreamPoint {
    /// The oldest record.
    TrimHorizon,
    /// Behind the newest record there is now.
    Latest,
    /// The position of the checkpoint mirror.
    Checkpoint,
    /// When the stream received a record.
    Time(Arrival),
    /// A record of one shard, or one of its user records.
    At { sequence_number: SequenceNumber, sub_sequence_number: Option<u64> },
}

impl StreamPoint {
    /// Whether it means something for one shard only.
    pub(crate) fn is_of_one_shard(&self) -> bool {
        matches!(self, StreamPoint::At { .. })
    }
}

impl FromStr for StreamPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected trim-horizon, latest, checkpoint, a time such as 2026-01-01T00:00:00Z or \
                                @1767225600 (seconds since 1970), or SEQUENCE-NUMBER or SEQUENCE-NUMBER:SUB";
        match text.to_ascii_lowercase().as_str() {
            "trim-horizon" | "trim_horizon" => return Ok(StreamPoint::TrimHorizon),
            "latest" => return Ok(StreamPoint::Latest),
            "checkpoint" => return Ok(StreamPoint::Checkpoint),
            _ => {}
        }
        if let Some(seconds) = text.strip_prefix('@') {
            return seconds.parse().map(StreamPoint::Time).map_err(|_| EXPECTED.to_owned());
        }
        if let Ok(RecordPosition { sequence_number, id }) = text.parse() {
            let sub_sequence_number = match id {
                None => None,
                Some(UserRecordId::Sub(number)) => Some(number),
                Some(UserRecordId::Content(_)) => return Err(EXPECTED.to_owned()),
            };
            return Ok(StreamPoint::At { sequence_number, sub_sequence_number });
        }
        text.parse().map(StreamPoint::Time).map_err(|_| EXPECTED.to_owned())
    }
}

impl fmt::Display for StreamPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamPoint::TrimHorizon => f.write_str("trim-horizon"),
            StreamPoint::Latest => f.write_str("latest"),
            StreamPoint::Checkpoint => f.write_str("checkpoint"),
            StreamPoint::Time(time) => write!(f, "{time} UTC"),
            StreamPoint::At { sequence_number, sub_sequence_number: None } => sequence_number.fmt(f),
            StreamPoint::At { sequence_number, sub_sequence_number: Some(number) } => {
                write!(f, "{sequence_number}:{number}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        check("1767225600", "1767225600");
        check("@1767225600", "2026-01-01 00:00:00.000 UTC");
        check("2026-01-01T00:00:00Z", "2026-01-01 00:00:00.000 UTC");
        for text in ["", "yesterday", "@x", "49:3ba264ad38c342ed8566c017bbd35998", "2026-01-01"] {
            assert!(text.parse::<StreamPoint>().is_err(), "{text}");
        }
    }
}
