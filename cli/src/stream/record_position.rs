use std::{fmt, str::FromStr};

use kinesis_handler::{SequenceNumber, journal::UserRecordId};

/// A Kinesis record, or one of its user records: `SEQUENCE-NUMBER` or `SEQUENCE-NUMBER:ID`, where the ID is a
/// sub-sequence number, or a content hash on an enhanced fan-out consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordPosition {
    pub(crate) sequence_number: SequenceNumber,
    /// User record; absent for all of them.
    pub(crate) id: Option<UserRecordId>,
}

impl RecordPosition {
    pub(crate) fn is_of(&self, sequence_number: SequenceNumber, id: &UserRecordId) -> bool {
        self.sequence_number == sequence_number && self.id.is_none_or(|of| of == *id)
    }
}

impl FromStr for RecordPosition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, id) = match text.split_once(':') {
            Some((number, id)) => {
                (number, Some(id.parse::<UserRecordId>().map_err(|error| error.to_string())?))
            }
            None => (text, None),
        };
        let sequence_number = number.parse().map_err(|error| format!("{error}"))?;
        Ok(RecordPosition { sequence_number, id })
    }
}

impl fmt::Display for RecordPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{}:{id}", self.sequence_number),
            None => self.sequence_number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_names_one_user_record_or_all() {
        for text in ["49", "49:0", "49:7", "49:3ba264ad38c342ed8566c017bbd35998"] {
            let position: RecordPosition = text.parse().expect("a position");
            assert_eq!(position.to_string(), text);
        }
        for text in ["", "x", "49:", "49:x", ":1"] {
            assert!(text.parse::<RecordPosition>().is_err(), "{text}");
        }
        let position: RecordPosition = "49".parse().expect("a position");
        let number = "49".parse().expect("digits");
        assert!(position.is_of(number, &UserRecordId::Sub(3)));
        let position: RecordPosition = "49:3".parse().expect("a position");
        assert!(
            position.is_of(number, &UserRecordId::Sub(3)) && !position.is_of(number, &UserRecordId::Sub(4))
        );
    }
}
