use kinesis_esm::StreamArn;
use kinesis_handler::{Event, KinesisRecord, SequenceNumber};

use crate::{
    args::{InputKind, KeyField},
    commands::aggregate::successor,
    error::{self, Error},
    input::{self, Input, kinesis_record, user_record_line::UserRecordLine},
    output::note::{count, note},
    stream::now_ms,
};

/// Sequence number of the first record without one, as in the output of `aggregate`.
const FIRST: &str = "49590338271490256608559692538361571095921575989136588898";

/// The shard of records without one.
const SHARD_ID: &str = "shardId-000000000000";

/// Returns a Lambda event: the input itself, if it is one, or else the records in it as a mapping would deliver them.
pub(super) fn from_input(input: &Input, kind: InputKind) -> Result<Vec<u8>, Error> {
    let text = input.to_text();
    if let (InputKind::Auto | InputKind::Event, Ok(text)) = (kind, &text) {
        if input::is_event(text) {
            return Ok(text.clone());
        }
        if let Some(records) = records_of_lines(text) {
            note(format_args!("took {} as {} of JSON", input.name, count(records.len() as u64, "line")));
            return Ok(Event::new(records).to_json());
        }
    }
    let mut numbers = Numbers::new();
    let mut records = Vec::new();
    for (index, record) in input::kinesis_records(input, &text, kind)?.into_iter().enumerate() {
        let record = in_event(&record, &mut numbers).map_err(|reason| {
            Error::Usage(format!("{}: record {index} cannot be delivered: {reason}", input.name))
        })?;
        records.push(record);
    }
    Ok(Event::new(records).to_json())
}

/// Returns a Lambda event with a plain record for each line, which is the payload and has the partition key in a field.
pub(super) fn from_payloads(input: &Input, key: &KeyField) -> Result<Vec<u8>, Error> {
    let mut numbers = Numbers::new();
    let mut records = Vec::new();
    for (index, line) in input.bytes.split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |error: &dyn std::error::Error| {
            Error::Usage(format!("{}, line {}: {}", input.name, index + 1, error::chain(error)))
        };
        let line = UserRecordLine::read(line, Some(key)).map_err(|error| wrong(&error))?;
        let data = line.data().map_err(|error| wrong(&error))?;
        let user_record = line.user_record(&data);
        let number = numbers.next().ok_or_else(|| Error::Usage(format!("{}: too many lines", input.name)))?;
        records.push(with_origin(KinesisRecord::new(
            number,
            user_record.partition_key.to_owned(),
            user_record.data,
        )));
    }
    if records.is_empty() {
        return Err(Error::Usage(format!("{} has no line", input.name)));
    }
    Ok(Event::new(records).to_json())
}

/// Returns a plain record for each line, if all of them are lines as `aggregate` takes them, and one has text: what `inspect`
/// prints has sequence numbers of its own.
fn records_of_lines(text: &[u8]) -> Option<Vec<KinesisRecord<'static>>> {
    let mut numbers = Numbers::new();
    let (mut records, mut has_text) = (Vec::new(), false);
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let line = UserRecordLine::parse(line).ok()?;
        has_text |= line.has_text();
        let data = line.data().ok()?;
        let user_record = line.user_record(&data);
        records.push(with_origin(KinesisRecord::new(
            numbers.next()?,
            user_record.partition_key.to_owned(),
            user_record.data,
        )));
    }
    has_text.then_some(records)
}

fn in_event(
    record: &kinesis_record::KinesisRecord<'_>,
    numbers: &mut Numbers,
) -> Result<KinesisRecord<'static>, String> {
    let data = record.decode().map_err(|invalid| error::chain(&invalid))?;
    let number = match &record.sequence_number {
        Some(number) => number.parse().map_err(|error| format!("sequence number: {error}"))?,
        None => numbers.next().ok_or("there are no sequence numbers left")?,
    };
    let key = record.partition_key.as_deref().unwrap_or("k").to_owned();
    let mut delivered = with_origin(KinesisRecord::new(number, key, &data));
    if let Some(shard_id) = &record.shard_id {
        delivered.shard_id = Some(shard_id.clone().into_owned().into());
    }
    if let Some(arrival) = record.arrival {
        delivered.approximate_arrival_ms = Some(arrival.epoch_milliseconds());
    }
    if record.is_deaggregated {
        // Only a fan-out consumer gets user records of an aggregate by themselves.
        let consumer = format!("{}/consumer/kinesis-kit:1", StreamArn::default().as_str());
        delivered.event_source_arn = Some(consumer.into());
    }
    Ok(delivered)
}

/// Adds what the mapping knows of every record.
fn with_origin(mut record: KinesisRecord<'static>) -> KinesisRecord<'static> {
    let stream_arn = StreamArn::default();
    record.approximate_arrival_ms = Some(now_ms());
    record.encryption_type = Some("NONE".into());
    record.shard_id = Some(SHARD_ID.into());
    record.invoke_identity_arn = Some(stream_arn.role_arn().into());
    record.event_source_arn = Some(stream_arn.as_str().to_owned().into());
    record
}

/// Sequence numbers that count up.
struct Numbers(Option<SequenceNumber>);

impl Numbers {
    fn new() -> Self {
        Numbers(FIRST.parse().ok())
    }

    fn next(&mut self) -> Option<SequenceNumber> {
        let number = self.0.take()?;
        self.0 = successor(&number).ok();
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the records of the event: sequence number, key, data.
    #[track_caller]
    fn check(input: &str, expected: &[(&str, &str, &str)]) {
        let input = Input { name: "input".to_owned(), bytes: input.as_bytes().to_vec() };
        let json = from_input(&input, InputKind::Auto).expect("an event");
        let event = Event::parse(&json).expect("an event");
        let found: Vec<_> = event
            .records
            .iter()
            .map(|record| {
                let data = String::from_utf8(record.data.decode().expect("base64")).expect("text");
                (record.sequence_number.to_string(), record.partition_key.to_string(), data)
            })
            .collect();
        let found: Vec<_> =
            found.iter().map(|(number, key, data)| (number.as_str(), key.as_str(), data.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn whatever_holds_records_becomes_an_event() {
        let second = "49590338271490256608559692538361571095921575989136588899";
        check(
            "{\"partitionKey\":\"a\",\"text\":\"one\"}\n\n{\"partitionKey\":\"b\",\"data\":\"dHdv\"}\n",
            &[(FIRST, "a", "one"), (second, "b", "two")],
        );
        check(
            r#"{"Records":[{"SequenceNumber":"7","PartitionKey":"a","Data":"b25l"}],"MillisBehindLatest":0}"#,
            &[("7", "a", "one")],
        );
        check("{\"id\":1}", &[(FIRST, "k", "{\"id\":1}")]);
    }

    #[test]
    fn an_event_is_delivered_as_it_is() {
        let event = r#"{ "Records": [{"eventSource":"aws:kinesis","kinesis":{"data":"?","sequenceNumber":"x"}}],"isFinalInvokeForWindow":true}"#;
        let input = Input { name: "input".to_owned(), bytes: event.into() };
        assert_eq!(from_input(&input, InputKind::Auto).expect("an event"), event.as_bytes());
    }

    #[test]
    fn payloads_have_their_key_in_a_field() {
        let key = "customer".parse().expect("a field");
        let input = |bytes: &str| Input { name: "input".to_owned(), bytes: bytes.as_bytes().to_vec() };
        let json = from_payloads(&input("{\"customer\":\"a\",\"id\":1}\n\n{\"customer\":\"b\"}\n"), &key);
        let json = json.expect("an event");
        let event = Event::parse(&json).expect("an event");
        let keys: Vec<_> = event.records.iter().map(|record| record.partition_key.to_string()).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(event.records[0].data.decode().expect("base64"), br#"{"customer":"a","id":1}"#);
        let error = |bytes| from_payloads(&input(bytes), &key).expect_err("no payloads").to_string();
        assert!(error("{\"customer\":\"a\"}\n{}").starts_with("input, line 2: "), "{}", error("{}"));
        assert_eq!(error("\n"), "input has no line");
    }

    #[test]
    fn a_record_that_cannot_be_delivered_is_an_error() {
        let records =
            r#"{"Records":[{"SequenceNumber":"7","PartitionKey":"a","Data":"?"}],"MillisBehindLatest":0}"#;
        let input = Input { name: "input".to_owned(), bytes: records.into() };
        let error = from_input(&input, InputKind::Auto).expect_err("no base64");
        assert_eq!(
            error.to_string(),
            "input: record 0 cannot be delivered: data is not base64: illegal byte at 0"
        );
    }
}
