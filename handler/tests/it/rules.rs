use std::{fmt, sync::Mutex};

use base64::prelude::*;

use kinesis_handler::{Context, Event, Handler, InvalidAggregatePolicy, KinesisRecord, ProcessError, Record};
use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, HashKeyRange, UserRecordInput};

use crate::batch::{
    SUCCESS, aggregate, empty_frame, failure, frame, handle, invalid_aggregate, json, plain, raw,
};
use crate::options::TestOptions;

#[track_caller]
fn check(records: Vec<KinesisRecord<'_>>, expected_response: &str, expected_done: &[&str]) {
    check_with(TestOptions::default(), records, expected_response, expected_done);
}

#[track_caller]
fn check_with(
    options: TestOptions,
    records: Vec<KinesisRecord<'_>>,
    expected_response: &str,
    expected_done: &[&str],
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (response, done) = runtime.block_on(handle(records, options));
    assert_eq!(json(&response.expect("a response")), expected_response);
    assert_eq!(done, expected_done);
}

#[test]
fn handler_rule_1_records_are_processed_in_order() {
    check(Vec::new(), SUCCESS, &[]);
    check(
        vec![plain(9, "a"), aggregate(10, &["bb", "c", "dd"]), plain(11, "e")],
        SUCCESS,
        &["9:0 a", "10:0 bb", "10:1 c", "10:2 dd", "11:0 e"],
    );
}

#[test]
fn handler_rule_1_the_first_failure_stops_the_batch_and_is_reported() {
    check(vec![plain(9, "a"), plain(10, "fail"), plain(11, "fail")], &failure(10), &["9:0 a"]);
    check(vec![plain(9, "fail")], &failure(9), &[]);
    check(
        vec![plain(9, "a"), aggregate(10, &["b", "fail", "c"]), plain(11, "d")],
        &failure(10),
        &["9:0 a", "10:0 b"],
    );
}

#[test]
fn handler_rule_3_a_panic_fails_the_record() {
    // Of even and of odd length: after a wait, and without one.
    for panic in ["panic", "panic!"] {
        check(
            vec![plain(9, "a"), aggregate(10, &["b", panic]), plain(11, "c")],
            &failure(10),
            &["9:0 a", "10:0 b"],
        );
    }
}

/// An error that panics when it is written, or when it is dropped.
#[derive(Debug)]
enum PanickingError {
    Display,
    Drop,
}

impl fmt::Display for PanickingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(!matches!(self, PanickingError::Display), "asked to");
        f.write_str("asked to")
    }
}

impl Drop for PanickingError {
    fn drop(&mut self) {
        assert!(!matches!(self, PanickingError::Drop), "asked to");
    }
}

impl std::error::Error for PanickingError {}

#[tokio::test]
async fn handler_rule_3_a_panic_of_an_error_fails_the_record() {
    let handler = Handler::new(async |record: Record<'_>| -> Result<(), ProcessError> {
        match record.text()? {
            "display" => Err(PanickingError::Display.into()),
            "drop" => Err(PanickingError::Drop.into()),
            _ => Ok(()),
        }
    });
    for failing in ["display", "drop"] {
        let event = Event::new(vec![plain(9, "a"), plain(10, failing), plain(11, "b")]).to_json();
        let response = handler.handle(&event, &Context::default()).await.expect("a response");
        assert_eq!(json(&response), failure(10), "{failing}");
    }
}

#[test]
fn handler_rule_1_a_padded_sequence_number_is_reported_as_it_came() {
    let padded = |text: &str, data: &str| {
        let mut record = plain(0, data);
        record.sequence_number = text.parse().expect("digits");
        record
    };
    check(
        vec![padded("0009", "a"), padded("0010", "fail")],
        r#"{"batchItemFailures":[{"itemIdentifier":"0010"}]}"#,
        &["0009:0 a"],
    );
}

#[test]
fn handler_rule_5_an_invalid_aggregate_fails_its_record_by_default() {
    check(vec![plain(9, "a"), invalid_aggregate(10), plain(11, "b")], &failure(10), &["9:0 a"]);
}

#[test]
fn an_invalid_aggregate_becomes_what_the_options_say() {
    let with = |policy| TestOptions { invalid_aggregate: policy, ..TestOptions::default() };
    let records = || vec![plain(9, "a"), invalid_aggregate(10), plain(11, "b")];
    check_with(with(InvalidAggregatePolicy::Skip), records(), SUCCESS, &["9:0 a", "11:0 b"]);

    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (response, done) = runtime.block_on(handle(records(), with(InvalidAggregatePolicy::Raw)));
    assert_eq!(json(&response.expect("a response")), SUCCESS);
    assert_eq!(done.len(), 3);
    assert!(done[1].starts_with("10:0 "), "{done:?}");
}

#[test]
fn what_a_batch_held_is_counted() {
    let mut damaged = frame(&["a", "b"]);
    damaged.pop();
    let records = || {
        vec![
            plain(8, "fine"),
            raw(9, &damaged),
            aggregate(10, &["a", "b"]),
            empty_frame(11),
            empty_frame(12),
            invalid_aggregate(13),
            invalid_aggregate(14),
        ]
    };
    let bytes: usize = records().iter().map(|record| record.data.decode().expect("readable").len()).sum();
    for (policy, kinesis_records, user_records, invalid_aggregates) in [
        (InvalidAggregatePolicy::Fail, 6, 4, 1),
        (InvalidAggregatePolicy::Raw, 7, 6, 2),
        (InvalidAggregatePolicy::Skip, 7, 4, 2),
    ] {
        let options = TestOptions { invalid_aggregate: policy, ..TestOptions::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (response, done) = runtime.block_on(handle(records(), options));
        let counts = *response.expect("a response").counts();
        assert_eq!(
            (counts.kinesis_records, counts.user_records),
            (kinesis_records, user_records),
            "{policy:?}"
        );
        assert_eq!(done.len() as u64, user_records, "{policy:?}");
        assert_eq!(
            (counts.aggregated, counts.empty_aggregates, counts.checksum_mismatches),
            (3, 2, 1),
            "{policy:?}"
        );
        assert_eq!(counts.invalid_aggregates, invalid_aggregates, "{policy:?}");
        // The last record is not reached if the one before it fails. Both are as long.
        let reached = if kinesis_records == 7 { bytes } else { bytes - 21 };
        assert_eq!(counts.bytes, reached as u64, "{policy:?}");
    }
}

#[tokio::test]
async fn the_processor_sees_the_keys_of_its_user_record() {
    let user_records = [("key-1", Some("7")), ("key-2", None), ("key-1", Some("8"))];
    let grouping = Grouping::ShardRanges(vec![HashKeyRange::FULL]);
    let mut aggregator =
        Aggregator::new(AggregatorOptions { grouping, ..Default::default() }).expect("the default limit");
    for (partition_key, explicit_hash_key) in user_records {
        let user_record = UserRecordInput { explicit_hash_key, ..UserRecordInput::new(partition_key, "x") };
        assert_eq!(aggregator.add(user_record), Ok(None));
    }
    let seen = Mutex::new(Vec::new());
    let processor = async |record: Record<'_>| -> Result<(), ProcessError> {
        let keys =
            (record.partition_key_text().into_owned(), record.explicit_hash_key_text().map(String::from));
        seen.lock().expect("no panic while locked").push(keys);
        Ok(())
    };
    let event = Event::new(vec![raw(1, &aggregator.finish()[0].data)]).to_json();
    let response = Handler::new(&processor).handle(&event, &Context::default()).await;
    assert_eq!(json(&response.expect("a response")), SUCCESS);
    let expected = user_records.map(|(key, hash_key)| (key.to_owned(), hash_key.map(str::to_owned)));
    assert_eq!(*seen.lock().expect("no panic while locked"), expected);
}

#[test]
fn handler_rule_7_enhanced_fan_out_records_are_not_taken_apart() {
    let consumer = |sequence_number, data: &[u8]| {
        let mut record = raw(sequence_number, data);
        record.event_source_arn =
            Some("arn:aws:kinesis:us-east-1:123456789012:stream/orders/consumer/c:1704067200".into());
        record
    };
    let inner_frame = frame(&["x", "y"]);
    // Members of one aggregate share its sequence number: all of them come, and a failure names it.
    let records =
        || vec![consumer(9, b"a"), consumer(10, b"b"), consumer(10, b"c"), consumer(10, &inner_frame)];
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (response, done) = runtime.block_on(handle(records(), TestOptions::default()));
    assert_eq!(json(&response.expect("a response")), SUCCESS);
    assert_eq!(done[..3], ["9 a", "10 b", "10 c"]);
    assert_eq!(done.len(), 4, "an aggregate inside an aggregate is data");

    check(vec![consumer(9, b"a"), consumer(10, b"b"), consumer(10, b"fail")], &failure(10), &["9 a", "10 b"]);
}

#[tokio::test]
async fn handler_rule_9_a_bad_record_fails_alone() {
    let event = |bad: &str| {
        format!(
            r#"{{"Records":[
                {{"kinesis":{{"sequenceNumber":"9","data":"YQ==","partitionKey":null}}}},
                {{"kinesis":{{"sequenceNumber":"10",{bad}}}}},
                {{"kinesis":{{"sequenceNumber":"11","data":"Yg==","encryptionType":"FUTURE"}}}}
            ]}}"#
        )
    };
    let handler = Handler::new(async |record: Record<'_>| -> Result<(), ProcessError> {
        record.text()?;
        Ok(())
    });
    for (bad, expected) in [
        (r#""data":"Y!==""#, failure(10)),
        (r#""data":null"#, failure(10)),
        (r#""partitionKey":"k""#, failure(10)),
        (r#""data":"/w==""#, failure(10)),
        (r#""data":"Yw==""#, SUCCESS.to_owned()),
    ] {
        let response = handler.handle(event(bad).as_bytes(), &Context::default()).await;
        assert_eq!(json(&response.expect("a response")), expected, "{bad}");
    }
}

#[tokio::test]
async fn handler_rule_9_a_record_without_a_name_fails_the_invocation_before_anything_is_done() {
    let handler =
        Handler::new(async |_: Record<'_>| -> Result<(), ProcessError> { panic!("nothing may be done") });
    let event = br#"{"Records":[{"kinesis":{"sequenceNumber":"9","data":""}},{"kinesis":{"data":""}}]}"#;
    let error =
        handler.handle(event, &Context::default()).await.map(drop).expect_err("no way to report record 1");
    assert_eq!(error.to_string(), "record 1: sequenceNumber must be text, found absent");
}

#[tokio::test]
async fn handler_rule_11_the_processor_sees_its_invocation() {
    let mut context = Context::default();
    context.request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned();
    let handler = Handler::new(async |record: Record<'_>| -> Result<(), ProcessError> {
        assert_eq!(record.request_id(), "8476a536-e9f4-11e8-9739-2dfe598c3fcd");
        assert_eq!((record.attempt(), record.remaining_time()), (None, None));
        assert_eq!(record.shard_id(), Some("shardId-000000000000"));
        assert_eq!(record.stream_arn(), Some("arn:aws:kinesis:us-east-1:123456789012:stream/orders"));
        let expected = if record.is_aggregated() { "user-key" } else { "kinesis-key" };
        assert_eq!(record.partition_key_text(), expected);
        Ok(())
    });
    let event = Event::new(vec![plain(1, "a"), aggregate(2, &["b", "c"])]).to_json();
    let response = handler.handle(&event, &context).await.expect("a response");
    assert_eq!((json(&response).as_str(), response.counts().user_records), (SUCCESS, 3));
}

#[tokio::test]
async fn a_window_gets_its_state_back_beside_the_failures() {
    let handler = Handler::new(async |record: Record<'_>| -> Result<(), ProcessError> {
        record.text()?;
        Ok(())
    });
    let event = |records: &str| {
        format!(
            r#"{{"Records":[{records}],"window":{{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:02:00Z"}},
            "state":{{"total": 1.50}},"shardId":"shardId-000000000000","isFinalInvokeForWindow":false}}"#
        )
    };
    for (records, expected) in [
        ("", r#"{"batchItemFailures":[],"state":{"total": 1.50}}"#),
        (
            r#"{"kinesis":{"sequenceNumber":"7","data":"/w=="}}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"7"}],"state":{"total": 1.50}}"#,
        ),
    ] {
        let response = handler.handle(event(records).as_bytes(), &Context::default()).await;
        assert_eq!(json(&response.expect("a response")), expected);
    }
}

#[tokio::test]
async fn records_of_eventbridge_pipes_are_deaggregated_and_reported_one_by_one() {
    let data = BASE64_STANDARD.encode(frame(&["a", "b"]));
    let event = format!(
        r#"[{{"sequenceNumber":"1","data":"{data}","partitionKey":"a","eventSource":"aws:kinesis"}},
        {{"sequenceNumber":"2","data":"/w==","partitionKey":"b","eventSource":"aws:kinesis"}}]"#
    );
    let done = Mutex::new(Vec::new());
    let handler = Handler::new(async |record: Record<'_>| -> Result<(), ProcessError> {
        let text = record.text()?.to_owned();
        done.lock().expect("no panic while locked").push(format!("{} {text}", record.position()));
        Ok(())
    });
    let response = handler.handle(event.as_bytes(), &Context::default()).await.expect("a response");
    assert_eq!(json(&response), failure(2));
    assert_eq!(*done.lock().expect("no panic while locked"), ["1:0 a", "1:1 b"]);
}
