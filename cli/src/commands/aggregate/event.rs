use std::io::{self, Write};

use kinesis_esm::{MAX_EVENT_BYTES, StreamArn};
use kinesis_handler::{KinesisRecord, SequenceNumber, SequenceNumberError};
use kpl_deaggregation::PutEntry;

use crate::{
    args::EventArgs,
    error::Error,
    output::note::{count, warning},
};

/// Writes a Lambda event on one line, record by record.
#[derive(Debug)]
pub(super) struct EventWriter<'a> {
    args: &'a EventArgs,
    stream_arn: StreamArn,
    role_arn: String,
    /// Sequence number of the last record.
    sequence_number: Option<SequenceNumber>,
    bytes: u64,
}

impl<'a> EventWriter<'a> {
    pub(super) fn new(args: &'a EventArgs, stream_arn: Option<&StreamArn>) -> Self {
        let stream_arn = stream_arn.cloned().unwrap_or_default();
        let role_arn = stream_arn.role_arn();
        EventWriter { args, stream_arn, role_arn, sequence_number: None, bytes: 0 }
    }

    pub(super) fn write(&mut self, input: &PutEntry, output: &mut impl Write) -> Result<(), Error> {
        let EventArgs { first_sequence_number: first, arrival, shard_id } = self.args;
        let number = match &self.sequence_number {
            None => *first,
            Some(last) => {
                successor(last).map_err(|source| Error::SequenceNumbers { first: *first, source })?
            }
        };
        let mut record = KinesisRecord::new(number, input.partition_key.as_str(), &input.data);
        record.approximate_arrival_ms = Some(arrival.epoch_milliseconds());
        record.encryption_type = Some("NONE".into());
        record.shard_id = Some(shard_id.as_str().into());
        record.event_source_arn = Some(self.stream_arn.as_str().into());
        record.invoke_identity_arn = Some(self.role_arn.as_str().into());
        let before = if self.sequence_number.is_none() { "{\"Records\":[" } else { "," };
        let mut json = before.as_bytes().to_vec();
        serde_json::to_writer(&mut json, &record).map_err(io::Error::from)?;
        output.write_all(&json)?;
        self.bytes += json.len() as u64;
        self.sequence_number = Some(number);
        Ok(())
    }

    pub(super) fn finish(self, output: &mut impl Write) -> io::Result<()> {
        let end = if self.sequence_number.is_none() { "{\"Records\":[]}" } else { "]}" };
        let bytes = self.bytes + end.len() as u64;
        if bytes > MAX_EVENT_BYTES as u64 {
            warning(format_args!(
                "warning: the event has {}, more than the {MAX_EVENT_BYTES} that Lambda delivers at once",
                count(bytes, "byte")
            ));
        }
        writeln!(output, "{end}")
    }
}

/// Returns the sequence number that is larger by one.
pub(crate) fn successor(number: &SequenceNumber) -> Result<SequenceNumber, SequenceNumberError> {
    let digits = number.to_string();
    let kept = digits.trim_end_matches('9');
    let raised = match kept.as_bytes() {
        [] => "1".to_owned(),
        [.., last] => format!("{}{}", &kept[..kept.len() - 1], char::from(last + 1)),
    };
    let zeros = "0".repeat(digits.len() - kept.len());
    format!("{raised}{zeros}").parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: &str, expected: Result<&str, &str>) {
        let next = successor(&number.parse().expect("a sequence number"));
        assert_eq!(
            next.map(|next| next.to_string()).map_err(|error| error.to_string()),
            expected.map(str::to_owned).map_err(str::to_owned)
        );
    }

    #[test]
    fn sequence_numbers_count_up() {
        check("0", Ok("1"));
        check("8", Ok("9"));
        check("9", Ok("10"));
        check("1099", Ok("1100"));
        check(
            "49590338271490256608559692538361571095921575989136588899",
            Ok("49590338271490256608559692538361571095921575989136588900"),
        );
        check(
            "6277101735386680763835789423207666416102355444464034512895",
            Err("sequence number of 58 digits exceeds 192 bits"),
        );
    }
}
