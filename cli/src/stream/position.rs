use aws_sdk_kinesis::{
    operation::get_shard_iterator::builders::GetShardIteratorFluentBuilder, primitives::DateTime,
    types::ShardIteratorType,
};
use kinesis_handler::SequenceNumber;

/// The position from which reading a shard begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    TrimHorizon,
    Latest,
    /// Milliseconds since 1970.
    AtTimestamp(u64),
    /// At the record with this sequence number, or at the next one that is still there.
    At(SequenceNumber),
    /// After the record with this number.
    After(SequenceNumber),
}

impl Position {
    pub(super) fn begin(&self, request: GetShardIteratorFluentBuilder) -> GetShardIteratorFluentBuilder {
        let of_type = |kind| request.shard_iterator_type(kind);
        match self {
            Position::TrimHorizon => of_type(ShardIteratorType::TrimHorizon),
            Position::Latest => of_type(ShardIteratorType::Latest),
            Position::AtTimestamp(time_ms) => of_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(i64::try_from(*time_ms).unwrap_or(i64::MAX))),
            Position::At(number) => {
                of_type(ShardIteratorType::AtSequenceNumber).starting_sequence_number(number.to_string())
            }
            Position::After(number) => {
                of_type(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(number.to_string())
            }
        }
    }
}
