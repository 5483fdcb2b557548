//! `redrive` of failure records whose records, or parts of their payload, are gone.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    redrive::{RECORDS, World, failure, outcomes, payload, queue},
    scripted_bucket::{BUCKET, ScriptedBucket},
    scripted_kinesis::{Answer, error},
    scripted_stream::{ARN, ScriptedStream, delivered},
};

/// A bucket, the stream, and a function that processes everything.
fn with_bucket(
    bucket: &Arc<ScriptedBucket>,
    stream: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
) -> World {
    let bucket = Arc::clone(bucket);
    World::new(move |operation, _, request| match operation {
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        other => bucket.answer(other).unwrap_or_else(|| stream(other, request)),
    })
}

/// A bucket with these failure records.
fn bucket(failures: &[Value]) -> Arc<ScriptedBucket> {
    let objects = failures.iter().enumerate();
    Arc::new(ScriptedBucket::of(objects.map(|(index, failure)| (format!("o{index}"), failure.to_string()))))
}

fn with_payload(mut failure: Value, numbers: &[u64]) -> Value {
    failure["payload"] = json!(payload(numbers).to_string());
    failure
}

/// Makes it one of an enhanced fan-out consumer.
fn of_consumer(mut failure: Value, numbers: &[u64]) -> Value {
    let arn = json!(format!("{ARN}/consumer/c:1"));
    failure["KinesisBatchInfo"]["streamArn"] = arn.clone();
    let mut event = payload(numbers);
    for record in event["Records"].as_array_mut().expect("records") {
        record["eventSourceARN"] = arn.clone();
    }
    failure["payload"] = json!(event.to_string());
    failure
}

/// Redrives an object twice: the first run has this outcome, the second one is still no success, and it stays.
#[track_caller]
fn check_object_stays(failure: Value, trimmed: usize, first: Value, args: &str) {
    let bucket = bucket(&[failure]);
    let stream = ScriptedStream::of(&RECORDS).trimmed(trimmed);
    let world = with_bucket(&bucket, move |operation, request| stream.answer(operation, request));
    let run = world.redrive(&format!("--s3 s3://{BUCKET} {args}"));
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), vec![first.clone()]), "{}", run.stderr);
    let again = world.redrive(&format!("--s3 s3://{BUCKET} {args}"));
    let outcome = &outcomes(&again)[0];
    assert_eq!(
        (again.exit_code, &outcome[0], &outcome[1]),
        (Some(1), &first[0], &json!(0)),
        "{}",
        again.stderr
    );
    assert_eq!(bucket.keys().len(), 1);
}

#[test]
fn a_loss_is_known_to_the_next_run() {
    check_object_stays(failure(10, 12, 3), 1, json!(["lost", 2, null, 1]), "");
    check_object_stays(failure(10, 12, 3), 1, json!(["lost", 2, null, 1]), "--all-in-range");
    check_object_stays(failure(10, 12, 3), 1, json!(["lost", 2, null, 1]), "--batch-size 1");
    check_object_stays(failure(10, 12, 4), 0, json!(["lost", 3, null, 1]), "");
    check_object_stays(failure(10, 12, 4), 0, json!(["lost", 3, null, 1]), "--all-in-range --batch-size 1");
    check_object_stays(with_payload(failure(10, 12, 4), &[10, 12]), 7, json!(["lost", 2, null, 2]), "");
}

#[test]
fn a_loss_is_known_to_the_next_run_that_has_a_queue() {
    let world = World::new({
        let queue = queue(vec![failure(10, 11, 2)], ScriptedStream::of(&RECORDS).trimmed(1));
        // Each run receives first.
        move |operation, number, request| queue(operation, number % 2, request)
    });
    for delivered in [1, 0] {
        let run = world.redrive("--queue failures --attempts 1");
        let outcome = &outcomes(&run)[0];
        let expected = (Some(1), &json!("lost"), &json!(delivered));
        assert_eq!((run.exit_code, &outcome[0], &outcome[1]), expected, "{}", run.stderr);
    }
    assert!(world.kinesis.requests("DeleteMessage").is_empty());
}

#[test]
fn a_loss_counts_for_each_message_of_the_same_range() {
    let stream = ScriptedStream::of(&RECORDS).trimmed(1);
    let world = World::new(queue(vec![failure(10, 11, 2), failure(10, 11, 2)], stream));
    let run = world.redrive("--queue failures --attempts 1");
    let names: Vec<_> = outcomes(&run).iter().map(|row| row[0].clone()).collect();
    assert_eq!(names, ["lost", "lost"], "{}", run.stderr);
    assert!(world.kinesis.requests("DeleteMessage").is_empty());
}

#[test]
fn a_loss_is_known_to_a_run_that_resumes_an_interrupted_one() {
    let bucket = bucket(&[failure(10, 13, 4)]);
    let objects = Arc::clone(&bucket);
    let stream = ScriptedStream::of(&RECORDS).trimmed(1);
    let world = World::new(move |operation, number, request| match (operation, number) {
        // The first run ends at 12.
        ("Invoke", 0 | 1) if delivered(request).contains(&"12 c".to_owned()) => {
            (200, json!({ "batchItemFailures": [{ "itemIdentifier": "12" }] }))
        }
        ("Invoke", _) => (200, json!({ "batchItemFailures": [] })),
        (other, _) => objects.answer(other).unwrap_or_else(|| stream.answer(other, request)),
    });
    let args = format!("--s3 s3://{BUCKET} --attempts 1");
    assert_eq!(outcomes(&world.redrive(&args)), [json!(["failed", 1, "12", null])]);
    let run = world.redrive(&args);
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), vec![json!(["lost", 2, null, null])]));
    assert_eq!(bucket.keys().len(), 1);
}

/// The object is not deleted, even with `--delete-lost`, and this much of it is delivered.
#[track_caller]
fn check_not_lost(
    failure: Value,
    stream: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
    expected: Value,
) {
    let bucket = bucket(&[failure]);
    let world = with_bucket(&bucket, stream);
    let run = world.redrive(&format!("--s3 s3://{BUCKET} --delete-lost"));
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), vec![expected]), "{}{}", run.stdout, run.stderr);
    assert_eq!(bucket.keys().len(), 1);
}

#[test]
fn an_incomplete_payload_is_no_loss_of_the_stream() {
    for code in ["AccessDeniedException", "KMSDisabledException"] {
        let expected = json!(["failed", 0, "10", null]);
        check_not_lost(with_payload(failure(10, 12, 3), &[10, 11]), |_, _| error(400, code), expected);
    }
    let whole = |operation: &str, request: &Value| ScriptedStream::of(&RECORDS).answer(operation, request);
    let refused = json!(["refused", 0, null, null]);
    let mut unsized_failure = failure(10, 14, 5);
    unsized_failure["KinesisBatchInfo"]["batchSize"] = Value::Null;
    check_not_lost(with_payload(unsized_failure, &[10, 11, 12]), whole, refused.clone());
    check_not_lost(with_payload(failure(10, 14, 4), &[10, 12, 14]), whole, refused.clone());
    check_not_lost(of_consumer(failure(10, 14, 9), &[10, 11]), whole, refused.clone());
    check_not_lost(of_consumer(failure(10, 14, 9), &[]), whole, refused);
}

/// With a payload that is incomplete, these records are delivered.
#[track_caller]
fn check_delivered(numbers: &[u64], trimmed: usize, outcome: Value, expected: &[&str]) {
    let bucket = bucket(&[with_payload(failure(10, 14, 5), numbers)]);
    let stream = ScriptedStream::of(&RECORDS).trimmed(trimmed);
    let world = with_bucket(&bucket, move |operation, request| stream.answer(operation, request));
    let run = world.redrive(&format!("--s3 s3://{BUCKET}"));
    assert_eq!(outcomes(&run), [outcome], "{}", run.stderr);
    assert_eq!(world.events(), [expected]);
}

#[test]
fn the_stream_has_what_a_payload_lacks() {
    let done = json!(["processed", 5, null, null]);
    check_delivered(&[10, 11, 12], 0, done.clone(), &["10 a", "11 b", "12 c", "13 d", "14 e"]);
    check_delivered(&[10, 11, 12], 3, done, &["10 kept", "11 kept", "12 kept", "13 d", "14 e"]);
    check_delivered(&[10, 12], 3, json!(["lost", 4, null, 1]), &["10 kept", "12 kept", "13 d", "14 e"]);
    check_delivered(&[11, 12], 7, json!(["lost", 2, null, 3]), &["11 kept", "12 kept"]);
}

#[test]
fn a_fan_out_payload_that_is_incomplete_is_never_done_without_the_stream() {
    // User records are no measure for those that are gone, unless all are.
    let lost = |delivered: u64, lost: Value| json!(["lost", delivered, null, lost]);
    check_object_stays(of_consumer(failure(10, 12, 4), &[10, 12]), 7, lost(2, Value::Null), "");
    check_object_stays(of_consumer(failure(10, 12, 4), &[]), 7, lost(0, json!(4)), "");
}

#[test]
fn objects_with_equal_payloads_are_two() {
    // Bisection has discarded two equal user records of an aggregate.
    let half = of_consumer(failure(10, 10, 1), &[10]);
    let bucket = bucket(&[half.clone(), half]);
    let world = with_bucket(&bucket, |operation, _| panic!("{operation} is not expected"));
    let run = world.redrive(&format!("--s3 s3://{BUCKET}"));
    let done = json!(["processed", 1, null, null]);
    assert_eq!((run.exit_code, outcomes(&run)), (Some(0), vec![done.clone(), done]), "{}", run.stderr);
    assert_eq!(world.events(), [["10 kept"], ["10 kept"]]);
    assert!(bucket.keys().is_empty());
}
