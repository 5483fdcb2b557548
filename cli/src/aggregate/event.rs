use kinesis_handler::{Event, KinesisRecord, SequenceNumber, SequenceNumberError};
use kpl_deaggregation::KinesisRecordInput;

use crate::{
    args::AggregateArgs,
    error::Error,
    note::{count, note},
};

/// How much JSON Lambda hands to a function at once.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_EVENT_BYTES: usize = 6_291_456;

/// A Lambda event of these records, on one line.
pub(super) fn to_json(inputs: &[KinesisRecordInput], args: &AggregateArgs) -> Result<Vec<u8>, Error> {
    let stream_arn = args.stream_arn.clone().unwrap_or_default();
    let role_arn = stream_arn.role_arn();
    let first = args.event.first_sequence_number;
    let records = inputs.iter().zip(sequence_numbers_from(first)).map(|(input, sequence_number)| {
        let mut record = KinesisRecord::new(sequence_number?, input.partition_key.as_str(), &input.data);
        record.approximate_arrival_ms = Some(args.event.arrival.epoch_milliseconds());
        record.encryption_type = Some("NONE".into());
        record.shard_id = Some(args.event.shard_id.as_str().into());
        record.event_source_arn = Some(stream_arn.as_str().into());
        record.invoke_identity_arn = Some(role_arn.as_str().into());
        Ok(record)
    });
    let records =
        records.collect::<Result<_, _>>().map_err(|source| Error::SequenceNumbers { first, source })?;
    let mut json = Event::new(records).to_json();
    if json.len() > MAX_EVENT_BYTES {
        note(format_args!(
            "warning: the event has {}, more than the {MAX_EVENT_BYTES} that Lambda delivers at once",
            count(json.len() as u64, "byte")
        ));
    }
    json.push(b'\n');
    Ok(json)
}

fn sequence_numbers_from(
    first: SequenceNumber,
) -> impl Iterator<Item = Result<SequenceNumber, SequenceNumberError>> {
    std::iter::successors(Some(Ok(first)), |number| number.as_ref().ok().map(successor))
}

/// The sequence number that is larger by one.
fn successor(number: &SequenceNumber) -> Result<SequenceNumber, SequenceNumberError> {
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
