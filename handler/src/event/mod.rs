//! The Lambda event of a Kinesis event source mapping, as values. One file reads it, one writes it.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>

pub(crate) mod sequence_number;
mod error;
mod scalar;
mod read;
mod scan;
mod write;
mod interop;
mod position;

use std::{borrow::Cow, sync::LazyLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::value::RawValue;
use thiserror::Error;

pub use error::EventError;
pub use interop::ConversionError;
pub(crate) use position::Position;

use crate::SequenceNumber;

/// The text after the stream's ARN in the ARN of an enhanced fan-out consumer.
const CONSUMER: &str = "/consumer/";

/// Decodes as [`BASE64_STANDARD`] does, with the vector instructions that the processor has.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static BASE64: LazyLock<base64::engine::Simd> =
    LazyLock::new(|| base64::engine::Simd::standard(base64::engine::general_purpose::PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static BASE64: LazyLock<base64::engine::GeneralPurpose> = LazyLock::new(|| BASE64_STANDARD);

/// A batch of Kinesis records, as Lambda delivers it. Borrows from the JSON it was read from.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Event<'a> {
    /// In stream order. May be empty: the last invocation of a tumbling window has none.
    pub records: Vec<KinesisRecord<'a>>,
    /// Present if the mapping has tumbling windows.
    pub window: Option<TumblingWindow<'a>>,
    /// Sender of the event.
    pub mode: EventMode,
}

impl Event<'_> {
    /// Returns the ARN of the stream: that of the records or, because the last event of a tumbling window has none, of the window.
    pub(crate) fn stream_arn(&self) -> Option<&str> {
        let of_window = || self.window.as_ref()?.event_source_arn.as_deref().map(without_consumer);
        self.records.first().map_or_else(of_window, KinesisRecord::stream_arn)
    }

    /// Returns the name of the stream.
    pub(crate) fn stream_name(&self) -> Option<&str> {
        Some(self.stream_arn()?.rsplit_once('/')?.1)
    }

    /// Returns the shard of the records, or of the window if there are none.
    pub(crate) fn shard_id(&self) -> Option<&str> {
        let of_window = || self.window.as_ref()?.shard_id.as_deref();
        self.records.first().map_or_else(of_window, |record| record.shard_id.as_deref())
    }
}

/// Returns the ARN of the stream in the ARN of an event source, which may be an enhanced fan-out consumer.
fn without_consumer(arn: &str) -> &str {
    arn.split_once(CONSUMER).map_or(arn, |(stream_arn, _)| stream_arn)
}

/// The sender of an event: its member `kinesisKit.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventMode {
    /// The event source mapping; its events have no such member.
    #[default]
    Mapping,
    /// `reprocess`: the journal and the quarantine are ignored, so records are processed again. The checkpoint mirror is not
    /// written.
    Reprocess,
    /// `resume`: the journal is honoured, so processing resumes after the records that have been processed. The checkpoint
    /// mirror is not written.
    Resume,
}

/// One Kinesis record of an event, its data not decoded yet. Its `Debug` shows neither data nor partition key.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KinesisRecord<'a> {
    /// Sequence number, which a partial batch response names.
    pub sequence_number: SequenceNumber,
    /// Empty if the event has none: service-managed streams leave it out.
    pub partition_key: Cow<'a, str>,
    /// The data, or why there is none.
    pub data: RecordData<'a>,
    /// When the stream received it, in milliseconds since 1970.
    pub approximate_arrival_ms: Option<u64>,
    /// `NONE`, `KMS`, or whatever Kinesis adds.
    pub encryption_type: Option<Cow<'a, str>>,
    /// The part of the event ID before the colon.
    pub shard_id: Option<Cow<'a, str>>,
    /// ARN of the stream, or of the enhanced fan-out consumer.
    pub event_source_arn: Option<Cow<'a, str>>,
    /// ARN of the role that the mapping reads with.
    pub invoke_identity_arn: Option<Cow<'a, str>>,
}

/// The data of a Kinesis record as the event holds it.
#[derive(Clone, PartialEq, Eq)]
pub enum RecordData<'a> {
    /// Base64 text, not checked yet, not even to be UTF-8.
    Base64(Cow<'a, [u8]>),
    /// The record cannot be read. Others in the event can.
    Unreadable(UnreadableRecord),
}

/// Why the data of one Kinesis record cannot be had. It is a permanent failure of that record, not of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnreadableRecord {
    /// The member `data` is absent or null.
    #[error("data is missing")]
    MissingData,
    /// The member `data` is not text.
    #[error("data is {found} instead of base64 text")]
    DataNotText {
        /// The JSON type that was found.
        found: &'static str,
    },
    /// The member `partitionKey` is neither text nor null.
    #[error("partition key is {found} instead of text")]
    PartitionKeyNotText {
        /// The JSON type that was found.
        found: &'static str,
    },
    /// The record's JSON has a member twice, or text with an escape that is no character.
    #[error("record cannot be read as JSON (line {line}, column {column} of the record)")]
    Json {
        /// Line in the record, from one.
        line: usize,
        /// Column in the record, from one.
        column: usize,
    },
    /// The text is not canonical, padded base64 of the standard alphabet.
    #[error("data is not base64: {reason}")]
    Base64 {
        /// Kind of the error, and its place in the text.
        reason: Base64Fault,
    },
}

/// An error in a base64 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Base64Fault {
    /// A byte that is not in the alphabet, or padding where none may be.
    #[error("illegal byte at {offset}")]
    Byte {
        /// Zero-based position in the text, in bytes.
        offset: usize,
    },
    /// The text is cut off, or padding is missing.
    #[error("illegal length or padding")]
    Length,
}

impl From<base64::DecodeError> for Base64Fault {
    fn from(error: base64::DecodeError) -> Self {
        match error {
            base64::DecodeError::InvalidByte(offset, _)
            | base64::DecodeError::InvalidLastSymbol { offset, .. } => Base64Fault::Byte { offset },
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
                Base64Fault::Length
            }
        }
    }
}

impl<'a> KinesisRecord<'a> {
    /// A record with data and partition key; all that a stream would add is absent.
    pub fn new(sequence_number: SequenceNumber, partition_key: impl Into<Cow<'a, str>>, data: &[u8]) -> Self {
        KinesisRecord {
            sequence_number,
            partition_key: partition_key.into(),
            data: RecordData::Base64(BASE64_STANDARD.encode(data).into_bytes().into()),
            approximate_arrival_ms: None,
            encryption_type: None,
            shard_id: None,
            event_source_arn: None,
            invoke_identity_arn: None,
        }
    }

    /// The record without anything borrowed.
    pub fn into_owned(self) -> KinesisRecord<'static> {
        fn owned(text: Option<Cow<'_, str>>) -> Option<Cow<'static, str>> {
            text.map(|text| Cow::Owned(text.into_owned()))
        }
        KinesisRecord {
            sequence_number: self.sequence_number,
            partition_key: Cow::Owned(self.partition_key.into_owned()),
            data: match self.data {
                RecordData::Base64(text) => RecordData::Base64(Cow::Owned(text.into_owned())),
                RecordData::Unreadable(reason) => RecordData::Unreadable(reason),
            },
            approximate_arrival_ms: self.approximate_arrival_ms,
            encryption_type: owned(self.encryption_type),
            shard_id: owned(self.shard_id),
            event_source_arn: owned(self.event_source_arn),
            invoke_identity_arn: owned(self.invoke_identity_arn),
        }
    }

    /// ARN of the stream, also if the record comes through an enhanced fan-out consumer.
    pub fn stream_arn(&self) -> Option<&str> {
        self.event_source_arn.as_deref().map(without_consumer)
    }

    /// Name of the stream.
    pub(crate) fn stream_name(&self) -> Option<&str> {
        Some(self.stream_arn()?.rsplit_once('/')?.1)
    }

    /// Position of the Kinesis record, or of one of its user records, for log lines.
    pub(crate) fn position<I>(&self, id: Option<I>) -> Position<'_, I> {
        Position { shard_id: self.shard_id.as_deref(), sequence_number: self.sequence_number, id }
    }

    /// Region of the stream.
    pub(crate) fn region(&self) -> Option<&str> {
        // arn:partition:kinesis:region:account:stream/name
        self.event_source_arn.as_deref()?.split(':').nth(3)
    }

    /// Whether the record comes through an enhanced fan-out consumer. Lambda has then deaggregated it: several
    /// records of an event may share one sequence number.
    pub fn is_enhanced_fan_out(&self) -> bool {
        self.event_source_arn.as_deref().is_some_and(|arn| arn.contains(CONSUMER))
    }
}

impl<'a> RecordData<'a> {
    /// The decoded data.
    ///
    /// # Errors
    ///
    /// Any [`UnreadableRecord`].
    pub fn decode(&self) -> Result<Vec<u8>, UnreadableRecord> {
        let mut buffer = vec![0; self.decoded_bytes_bound()];
        let length = self.decode_into(&mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// At least as many bytes as the data has.
    pub(crate) fn decoded_bytes_bound(&self) -> usize {
        match self {
            RecordData::Base64(text) => base64::decoded_len_estimate(text.len()),
            RecordData::Unreadable(_) => 0,
        }
    }

    /// Decodes into a buffer of at least [`decoded_bytes_bound`](Self::decoded_bytes_bound) bytes and returns the
    /// number of bytes written.
    pub(crate) fn decode_into(&self, buffer: &mut [u8]) -> Result<usize, UnreadableRecord> {
        match self {
            RecordData::Base64(text) => match BASE64.decode_slice(text, buffer) {
                Ok(length) => Ok(length),
                Err(base64::DecodeSliceError::DecodeError(error)) => {
                    Err(UnreadableRecord::Base64 { reason: error.into() })
                }
                Err(base64::DecodeSliceError::OutputSliceTooSmall) => {
                    unreachable!("the buffer has the size that decoded_bytes_bound asks for")
                }
            },
            RecordData::Unreadable(reason) => Err(*reason),
        }
    }
}

/// Shows the lengths of data and partition key.
impl std::fmt::Debug for KinesisRecord<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KinesisRecord")
            .field("sequence_number", &format_args!("{}", self.sequence_number))
            .field("partition_key", &format_args!("{} bytes", self.partition_key.len()))
            .field("data", &self.data)
            .field("approximate_arrival_ms", &self.approximate_arrival_ms)
            .field("encryption_type", &self.encryption_type)
            .field("shard_id", &self.shard_id)
            .field("event_source_arn", &self.event_source_arn)
            .field("invoke_identity_arn", &self.invoke_identity_arn)
            .finish()
    }
}

/// Shows the length, not the data.
impl std::fmt::Debug for RecordData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecordData::Base64(text) => write!(f, "Base64({} characters)", text.len()),
            RecordData::Unreadable(reason) => write!(f, "Unreadable({reason})"),
        }
    }
}

/// The members of an event about its tumbling window.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html>
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TumblingWindow<'a> {
    /// Start of the window, as the event has it (ISO 8601).
    pub start: Cow<'a, str>,
    /// End of the window, as the event has it (ISO 8601).
    pub end: Cow<'a, str>,
    /// State that the invocation before returned, unchanged. `{}` if the event has none.
    pub state: Cow<'a, RawValue>,
    /// The shard whose records the window holds.
    pub shard_id: Option<Cow<'a, str>>,
    /// ARN of the stream.
    pub event_source_arn: Option<Cow<'a, str>>,
    /// Whether this is the window's last invocation; it has no records.
    pub is_final_invoke: bool,
    /// Whether the window ended before its time because its state grew too large.
    pub is_terminated_early: bool,
}

impl<'a> TumblingWindow<'a> {
    /// The largest state that Lambda keeps, as JSON in bytes: with a larger one it ends the window early.
    pub const MAX_STATE_BYTES: usize = 1024 * 1024;

    /// Whether the window is one that begins.
    pub(crate) fn has_no_state(&self) -> bool {
        self.state.get().trim_matches(['{', '}']).trim().is_empty()
    }

    /// A window that goes on, with the state that the invocation before returned.
    pub fn new(
        start: impl Into<Cow<'a, str>>,
        end: impl Into<Cow<'a, str>>,
        state: Cow<'a, RawValue>,
    ) -> Self {
        TumblingWindow {
            start: start.into(),
            end: end.into(),
            state,
            shard_id: None,
            event_source_arn: None,
            is_final_invoke: false,
            is_terminated_early: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    proptest! {
        /// Vector instructions find the same bytes and the same faults.
        #[test]
        fn base64_is_decoded_as_the_standard_engine_does(
            data in vec(any::<u8>(), 0..600), edits in vec((any::<Index>(), any::<u8>()), 0..3), cut in 0..4_usize,
        ) {
            let mut text = BASE64_STANDARD.encode(&data).into_bytes();
            text.truncate(text.len().saturating_sub(cut));
            for (at, byte) in edits.into_iter().filter(|_| !text.is_empty()).collect::<Vec<_>>() {
                let at = at.index(text.len());
                text[at] = byte;
            }
            let expected = BASE64_STANDARD.decode(&text);
            let expected = expected.map_err(|error| UnreadableRecord::Base64 { reason: error.into() });
            prop_assert_eq!(RecordData::Base64(text.into()).decode(), expected);
        }
    }

    #[test]
    fn debug_shows_neither_data_nor_keys() {
        let record = KinesisRecord::new("7".parse().expect("digits"), "alice", b"secret");
        let text = format!("{:?}", Event::new(vec![record]));
        assert!(text.contains("partition_key: 5 bytes") && text.contains("Base64(8 characters)"), "{text}");
        assert!(!text.contains("alice") && !text.contains("c2Vj"), "{text}");
    }
}
