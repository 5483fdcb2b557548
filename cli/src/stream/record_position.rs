use std::{fmt, str::FromStr};

use kinesis_handler::{
    SequenceNumber,
    journal::{QuarantinedRecord, UserRecordId},
};

/// A Kinesis record, or one of its user records: `SHARD/SEQUENCE-NUMBER` or `SHARD/SEQUENCE-NUMBER:ID`, where the ID is
/// a sub-sequence number, or a content hash on an enhanced fan-out consumer.
///
/// The shard may be left out where it is known otherwise. With it a position is unique in its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordPosition {
    pub(crate) shard_id: Option<String>,
    pub(crate) sequence_number: SequenceNumber,
    /// User record; absent for all of them.
    pub(crate) id: Option<UserRecordId>,
}

impl RecordPosition {
    pub(crate) fn of_kinesis_record(shard_id: &str, sequence_number: SequenceNumber) -> Self {
        RecordPosition { shard_id: Some(shard_id.to_owned()), sequence_number, id: None }
    }

    pub(crate) fn of_quarantined(shard_id: &str, record: &QuarantinedRecord) -> Self {
        RecordPosition {
            id: Some(record.id),
            ..RecordPosition::of_kinesis_record(shard_id, record.sequence_number)
        }
    }

    /// Returns whether the position is that of this user record, or of the Kinesis record that holds it.
    pub(crate) fn is_of(&self, shard_id: &str, sequence_number: SequenceNumber, id: &UserRecordId) -> bool {
        self.shard_id.as_deref().is_none_or(|of| of == shard_id)
            && self.sequence_number == sequence_number
            && self.id.is_none_or(|of| of == *id)
    }
}

impl FromStr for RecordPosition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (shard_id, position) = match text.rsplit_once('/') {
            Some(("", _)) => return Err("expected a shard ID before the slash".to_owned()),
            Some((shard_id, position)) => (Some(shard_id.to_owned()), position),
            None => (None, text),
        };
        let (number, id) = match position.split_once(':') {
            Some((number, id)) => {
                (number, Some(id.parse::<UserRecordId>().map_err(|error| error.to_string())?))
            }
            None => (position, None),
        };
        let sequence_number = number.parse().map_err(|error| format!("{error}"))?;
        Ok(RecordPosition { shard_id, sequence_number, id })
    }
}

impl fmt::Display for RecordPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shard_id) = &self.shard_id {
            write!(f, "{shard_id}/")?;
        }
        self.sequence_number.fmt(f)?;
        match &self.id {
            Some(id) => write!(f, ":{id}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_names_one_user_record_or_all() {
        for text in ["49", "49:0", "49:7", "49:3ba264ad38c342ed8566c017bbd35998", "shardId-000000000000/49:7"]
        {
            let position: RecordPosition = text.parse().expect("a position");
            assert_eq!(position.to_string(), text);
        }
        for text in ["", "x", "49:", "49:x", ":1", "/49:7", "shardId-000000000000/"] {
            assert!(text.parse::<RecordPosition>().is_err(), "{text}");
        }
        let number = "49".parse().expect("digits");
        let is_of = |text: &str, shard_id: &str, sub: u64| {
            let position: RecordPosition = text.parse().expect("a position");
            position.is_of(shard_id, number, &UserRecordId::Sub(sub))
        };
        assert!(is_of("49", "left", 3));
        assert!(is_of("49:3", "left", 3) && !is_of("49:3", "left", 4));
        assert!(is_of("left/49:3", "left", 3) && !is_of("left/49:3", "right", 3));
    }
}
