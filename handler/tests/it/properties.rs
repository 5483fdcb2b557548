use kinesis_handler::{Context, Event, Handler, KinesisRecord, ProcessError, Record, retryable};
use proptest::{collection::vec, prelude::*};

use crate::batch::{SUCCESS, aggregate, failure, handle, invalid_aggregate, json, plain, raw};
use crate::options::TestOptions;

/// The content of a Kinesis record.
#[derive(Debug, Clone)]
enum Content {
    Plain(String),
    Aggregate(Vec<String>),
    InvalidAggregate,
    BadBase64,
}

fn data() -> impl Strategy<Value = String> {
    prop_oneof![10 => "[a-z]{0,3}", 1 => Just("fail".to_owned()), 1 => Just("panic".to_owned())]
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        10 => data().prop_map(Content::Plain),
        10 => vec(data(), 2..6).prop_map(Content::Aggregate),
        1 => Just(Content::InvalidAggregate),
        1 => Just(Content::BadBase64),
    ]
}

fn record(sequence_number: u64, content: &Content) -> KinesisRecord<'static> {
    match content {
        Content::Plain(data) => plain(sequence_number, data),
        Content::Aggregate(data) => {
            aggregate(sequence_number, &data.iter().map(String::as_str).collect::<Vec<_>>())
        }
        Content::InvalidAggregate => invalid_aggregate(sequence_number),
        Content::BadBase64 => {
            let mut record = raw(sequence_number, b"");
            record.data = kinesis_handler::event::RecordData::Base64(b"?".into());
            record
        }
    }
}

/// Returns the records to be processed and the one to be reported, by the definition: everything up to the first failure.
fn expected(contents: &[Content]) -> (Vec<String>, Option<u64>) {
    let mut done = Vec::new();
    for (sequence_number, content) in (1..).zip(contents) {
        let user_records = match content {
            Content::Plain(data) => std::slice::from_ref(data),
            Content::Aggregate(data) => data,
            Content::InvalidAggregate | Content::BadBase64 => return (done, Some(sequence_number)),
        };
        for (sub_sequence_number, data) in user_records.iter().enumerate() {
            if data.starts_with("fail") || data.starts_with("panic") {
                return (done, Some(sequence_number));
            }
            done.push(format!("{sequence_number}:{sub_sequence_number} {data}"));
        }
    }
    (done, None)
}

proptest! {
    #[test]
    fn all_before_the_first_failure_is_done_and_it_is_reported(contents in vec(content(), 0..12)) {
        let records: Vec<_> = (1..).zip(&contents).map(|(number, content)| record(number, content)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (response, done) = runtime.block_on(handle(records, TestOptions::default()));
        let (expected_done, reported) = expected(&contents);
        prop_assert_eq!(done, expected_done);
        let expected_response = reported.map_or(SUCCESS.to_owned(), failure);
        prop_assert_eq!(json(&response.expect("a response")), expected_response);
    }

    /// I6: Lambda takes an identifier that is not part of the batch as a failure of all of it.
    #[test]
    fn a_damaged_event_is_refused_or_names_one_of_its_own_records(
        contents in vec(content(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let records: Vec<_> = (1..).zip(&contents).map(|(number, content)| record(number, content)).collect();
        let mut payload = Event::new(records).to_json();
        for (at, byte) in damage {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        let handler = Handler::new(async |_: Record<'_>| -> Result<(), ProcessError> { Err(retryable("always")) });
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        if let Ok(response) = runtime.block_on(handler.handle(&payload, &Context::default()))
            && let Some(reported) = response.batch_item_failure()
        {
            // Not with a JSON parser: the handler may skip damage that such a one would stumble over.
            let name = format!(r#""sequenceNumber":"{reported}""#);
            prop_assert!(String::from_utf8_lossy(&payload).contains(&name));
        }
    }
}
