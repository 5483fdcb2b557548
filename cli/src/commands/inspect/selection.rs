use kinesis_handler::{SequenceNumber, journal::UserRecordId};

use crate::{input::kinesis_record::KinesisRecord, stream::record_position::RecordPosition};

/// The user records that are shown.
#[derive(Debug, Clone, Default)]
pub(crate) enum Selection {
    #[default]
    All,
    /// Those of one Kinesis record, or one of them.
    At(RecordPosition),
    /// Those of a Kinesis record from this sub-sequence number on, and all of other Kinesis records.
    From(SequenceNumber, u64),
}

impl Selection {
    /// Returns the sequence number after which the selection has nothing.
    pub(super) fn last(&self) -> Option<SequenceNumber> {
        match self {
            Selection::At(position) => Some(position.sequence_number),
            Selection::All | Selection::From(..) => None,
        }
    }

    /// Returns whether the selection has a user record, or all of a Kinesis record that cannot be deaggregated.
    pub(super) fn has(&self, kinesis_record: &KinesisRecord<'_>, sub_sequence_number: Option<u64>) -> bool {
        if matches!(self, Selection::All) {
            return true;
        }
        let number: Option<SequenceNumber> =
            kinesis_record.sequence_number.as_deref().and_then(|number| number.parse().ok());
        match self {
            Selection::All => true,
            Selection::At(position) => {
                // The input may not name the shard.
                let is_of_shard = match (&position.shard_id, kinesis_record.shard_id.as_deref()) {
                    (Some(of), Some(shard_id)) => of == shard_id,
                    _ => true,
                };
                is_of_shard
                    && number == Some(position.sequence_number)
                    && match (position.id, sub_sequence_number) {
                        (None, _) => true,
                        (Some(id), Some(number)) => id == UserRecordId::Sub(number),
                        (Some(_), None) => false,
                    }
            }
            Selection::From(from, sub) => {
                number != Some(*from) || sub_sequence_number.is_none_or(|number| number >= *sub)
            }
        }
    }
}
