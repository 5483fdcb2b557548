//! `redrive` against APIs that misbehave as told. Whole APIs are in the tests of the kit.

use std::{fs, process::Child};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    kit::{Run, kit_where, start},
    scripted_kinesis::{Answer, ScriptedKinesis, error, variables},
    scripted_stream::{ARN, SHARD, ScriptedStream, delivered, failing},
};

pub(crate) const RECORDS: [(u64, &[u8]); 7] =
    [(10, b"a"), (11, b"b"), (12, b"c"), (13, b"d"), (14, b"e"), (15, b"f"), (16, b"g")];

/// A place for files, and what answers.
pub(crate) struct World {
    pub(crate) kinesis: ScriptedKinesis,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new(answer: impl Fn(&str, usize, &Value) -> Answer + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        World { kinesis: ScriptedKinesis::start(answer), folder }
    }

    /// Runs `redrive` with JSON as output, and the server as function.
    pub(crate) fn redrive(&self, args: &str) -> Run {
        self.run(&format!("--url {} {args}", self.kinesis.url()))
    }

    pub(crate) fn run(&self, args: &str) -> Run {
        self.with_variables(|variables| {
            let args = format!("redrive --format json --reads-per-second 1000 {args}");
            kit_where(variables, args.split_whitespace(), "")
        })
    }

    /// Starts `redrive` with JSON as output, unless the arguments name another format.
    pub(crate) fn start(&self, args: &str) -> Child {
        let format = if args.contains("--format") { "" } else { "--format json" };
        self.with_variables(|variables| {
            let url = self.kinesis.url();
            start(variables, &format!("redrive --reads-per-second 1000 --url {url} {format} {args}"))
        })
    }

    fn with_variables<T>(&self, run: impl FnOnce(&[(&str, &str)]) -> T) -> T {
        let url = self.kinesis.url();
        let mut variables = variables(&url);
        variables.push(("XDG_STATE_HOME", self.folder.path().to_str().expect("a plain path")));
        run(&variables)
    }

    /// A file with these failure records, as an argument.
    pub(crate) fn file(&self, failures: &[Value]) -> String {
        let path = self.folder.path().join("failures.jsonl");
        let lines: Vec<String> = failures.iter().map(Value::to_string).collect();
        fs::write(&path, lines.join("\n")).expect("a writable folder");
        format!("--file {}", path.display())
    }

    /// The delivered records, event by event.
    pub(crate) fn events(&self) -> Vec<Vec<String>> {
        self.kinesis.requests("Invoke").iter().map(delivered).collect()
    }
}

pub(crate) fn failure(first: u64, last: u64, batch_size: u64) -> Value {
    json!({
        "version": "1.0",
        "KinesisBatchInfo": { "shardId": SHARD, "startSequenceNumber": first.to_string(),
            "endSequenceNumber": last.to_string(), "batchSize": batch_size, "streamArn": ARN },
    })
}

/// The lines of JSON, cut to what matters.
pub(crate) fn outcomes(run: &Run) -> Vec<Value> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON lines");
        json!([line["outcome"], line["delivered"], line["failedSequenceNumber"], line["lost"]])
    };
    run.stdout.lines().map(line).collect()
}

pub(crate) fn processes_all(stream: ScriptedStream) -> impl Fn(&str, usize, &Value) -> Answer {
    move |operation, _, request| match operation {
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        other => stream.answer(other, request),
    }
}

#[test]
fn a_range_is_read_again_through_empty_pages_and_delivered_in_batches() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let run = world.redrive(&format!("{} --batch-size 3", world.file(&[failure(11, 15, 5)])));
    assert_eq!(
        (run.exit_code, outcomes(&run)),
        (Some(0), vec![json!(["processed", 5, null, null])]),
        "{}",
        run.stderr
    );
    assert_eq!(world.events(), [vec!["11 b", "12 c", "13 d"], vec!["14 e", "15 f"]]);
    let event = &world.kinesis.requests("Invoke")[0];
    assert_eq!(event["kinesisKit"], json!({ "mode": "resume" }));
    let record = &event["Records"][0];
    assert_eq!(record["eventID"], format!("{SHARD}:11"));
    assert_eq!((&record["eventSourceARN"], &record["awsRegion"]), (&json!(ARN), &json!("eu-west-1")));
    // Progress is no longer needed.
    let left = fs::read_dir(world.folder.path().join("kinesis-kit")).expect("the folder is made").count();
    assert_eq!(left, 0);
}

#[test]
fn a_consumer_is_no_event_source_because_its_records_are_aggregated_again() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let mut failure = failure(10, 11, 40);
    failure["KinesisBatchInfo"]["streamArn"] = json!(format!("{ARN}/consumer/c:1"));
    let run = world.redrive(&world.file(&[failure]));
    assert_eq!(outcomes(&run), [json!(["processed", 2, null, null])], "{}", run.stderr);
    assert_eq!(world.kinesis.requests("Invoke")[0]["Records"][0]["eventSourceARN"], ARN);
}

#[test]
fn what_passes_is_waited_for() {
    let stream = ScriptedStream::of(&RECORDS);
    let world = World::new(move |operation, number, request| match (operation, number) {
        ("GetRecords", 0) => error(400, "ProvisionedThroughputExceededException"),
        ("GetRecords", 2) => error(400, "ExpiredIteratorException"),
        ("Invoke", 0) => error(429, "TooManyRequestsException"),
        ("Invoke", _) => (200, json!({ "batchItemFailures": [] })),
        _ => stream.answer(operation, request),
    });
    let run = world.redrive(&format!("{} --attempts 1", world.file(&[failure(10, 13, 4)])));
    assert_eq!(outcomes(&run), [json!(["processed", 4, null, null])], "{}", run.stderr);
    assert_eq!(world.events()[1..], [vec!["10 a", "11 b", "12 c", "13 d"]]);
}

#[test]
fn the_rest_behind_what_is_done_is_tried_again_and_then_listed() {
    let stream = ScriptedStream::of(&RECORDS);
    let world = World::new(move |operation, _, request| match operation {
        "Invoke" => failing(request, &["c"]),
        other => stream.answer(other, request),
    });
    let args = world.file(&[failure(10, 13, 4), failure(14, 15, 2)]);
    let run = world.redrive(&format!("{args} --attempts 2"));
    let expected = [json!(["failed", 2, "12", null]), json!(["processed", 2, null, null])];
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), expected.to_vec()), "{}", run.stderr);
    // Failure records of a shard that follow each other share events.
    let rest = vec!["12 c", "13 d", "14 e", "15 f"];
    let all = vec!["10 a", "11 b", "12 c", "13 d", "14 e", "15 f"];
    assert_eq!(world.events(), [all, rest.clone(), rest.clone(), vec!["14 e", "15 f"]]);

    // The next run goes on at the one that has failed, and knows that the other is done.
    let again = world.redrive(&format!("{args} --attempts 1"));
    assert_eq!(outcomes(&again), [json!(["failed", 0, "12", null]), json!(["processed", 0, null, null])]);
    assert_eq!(world.events().len(), 5);
    assert_eq!(world.events()[4], rest[..2]);
    // Unless it shall begin anew.
    world.redrive(&format!("{args} --attempts 1 --restart"));
    assert_eq!(world.events()[5..].len(), 3);
}

#[test]
fn a_function_that_names_no_record_is_asked_with_halves() {
    let stream = ScriptedStream::of(&RECORDS);
    let world = World::new(move |operation, _, request| match operation {
        // It throws whenever the record is among others.
        "Invoke" if delivered(request).contains(&"12 c".to_owned()) => {
            (500, json!({ "errorType": "E", "errorMessage": "no c" }))
        }
        "Invoke" => (200, json!({})),
        other => stream.answer(other, request),
    });
    let run = world.redrive(&format!("{} --attempts 1", world.file(&[failure(10, 13, 4)])));
    assert_eq!(outcomes(&run), [json!(["failed", 2, "12", null])], "{}", run.stderr);
    assert!(run.stdout.contains("E: no c"), "{}", run.stdout);
    let sizes: Vec<usize> = world.events().iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 2, 2, 1]);
}

#[test]
fn what_the_stream_has_dropped_is_said_and_the_rest_delivered() {
    for (trimmed, first, last, expected, exit_code) in [
        (0, 10, 12, json!(["processed", 3, null, null]), 0),
        (1, 10, 12, json!(["lost", 2, null, 1]), 1),
        (7, 10, 12, json!(["lost", 0, null, 3]), 1),
        (0, 15, 17, json!(["lost", 2, null, 1]), 1),
    ] {
        let world = World::new(processes_all(ScriptedStream::of(&RECORDS).trimmed(trimmed)));
        let run = world.redrive(&world.file(&[failure(first, last, 3)]));
        assert_eq!((run.exit_code, outcomes(&run)), (Some(exit_code), vec![expected]), "{}", run.stderr);
    }
    // Too old a number may also be refused.
    let stream = ScriptedStream::of(&RECORDS).trimmed(1);
    let refused = World::new(move |operation, number, request| match (operation, number) {
        ("GetShardIterator", 0) => error(400, "InvalidArgumentException"),
        ("Invoke", _) => (200, json!({ "batchItemFailures": [] })),
        _ => stream.answer(operation, request),
    });
    let run = refused.redrive(&refused.file(&[failure(10, 12, 3)]));
    assert_eq!(outcomes(&run), [json!(["lost", 2, null, 1])], "{}", run.stderr);
    assert_eq!(refused.events(), [["11 b", "12 c"]]);

    let gone = World::new(|operation, _, _| match operation {
        "GetShardIterator" => error(400, "ResourceNotFoundException"),
        other => panic!("{other} is not expected"),
    });
    let run = gone.redrive(&gone.file(&[failure(10, 12, 3)]));
    assert_eq!(outcomes(&run), [json!(["lost", 0, null, 3])], "{}", run.stderr);
}

#[test]
fn a_run_that_goes_on_sees_what_was_dropped_meanwhile() {
    // The first run has come as far as 11; then the stream drops 12 and all before it.
    for (has_payload, expected, last) in [
        (false, json!(["lost", 2, null, null]), vec!["13 d", "14 e"]),
        (true, json!(["lost", 3, null, null]), vec!["12 kept", "13 kept", "14 kept"]),
    ] {
        let (before, after) = (ScriptedStream::of(&RECORDS), ScriptedStream::of(&RECORDS).trimmed(3));
        let world = World::new(move |operation, number, request| match (operation, number) {
            ("Invoke", 0) => failing(request, &["c"]),
            ("Invoke", 1) => failing(request, &["c"]),
            ("Invoke", _) => (200, json!({ "batchItemFailures": [] })),
            ("GetShardIterator", 0) => before.answer(operation, request),
            ("GetShardIterator", _) => after.answer(operation, request),
            _ => before.answer(operation, request),
        });
        // One more than its payload has, so that the stream is read first.
        let mut failure = failure(10, 14, 6);
        if has_payload {
            failure["payload"] = payload(&[10, 11, 12, 13, 14]);
        }
        let args = format!("{} --attempts 1", world.file(&[failure]));
        assert_eq!(outcomes(&world.redrive(&args)), [json!(["failed", 2, "12", null])]);
        let run = world.redrive(&args);
        assert_eq!(outcomes(&run), [expected], "{}", run.stderr);
        assert_eq!(world.events().last(), Some(&last.into_iter().map(str::to_owned).collect()));
    }
}

/// The event that S3 keeps.
pub(crate) fn payload(numbers: &[u64]) -> Value {
    let record = |number: &u64| {
        json!({
            "kinesis": { "kinesisSchemaVersion": "1.0", "partitionKey": "k", "sequenceNumber": number.to_string(),
                "data": "a2VwdA==", "approximateArrivalTimestamp": 1.0 },
            "eventSource": "aws:kinesis", "eventID": format!("{SHARD}:{number}"), "eventSourceARN": ARN,
        })
    };
    json!({ "Records": numbers.iter().map(record).collect::<Vec<_>>() })
}

#[test]
fn a_payload_takes_the_place_of_records_that_are_gone() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS).trimmed(2)));
    let mut failure = failure(10, 12, 3);
    failure["payload"] = json!(payload(&[10, 11, 12]).to_string());
    let run = world.redrive(&world.file(&[failure]));
    assert_eq!(outcomes(&run), [json!(["processed", 3, null, null])], "{}", run.stderr);
    assert_eq!(world.events(), [vec!["10 kept", "11 kept", "12 kept"]]);
    assert_eq!(world.kinesis.requests("Invoke")[0]["kinesisKit"]["mode"], "resume");
}

#[test]
fn members_of_an_aggregate_that_lambda_has_taken_apart_are_one_step_of_progress() {
    let world = World::new(|operation, _, request| match operation {
        "GetShardIterator" => error(400, "ResourceNotFoundException"),
        // The second member of the second aggregate.
        "Invoke" if delivered(request).len() == 4 => {
            (200, json!({ "batchItemFailures": [{ "itemIdentifier": "11" }] }))
        }
        "Invoke" => (500, json!({ "errorType": "E", "errorMessage": "no" })),
        other => panic!("{other} is not expected"),
    });
    let mut failure = failure(10, 11, 4);
    failure["KinesisBatchInfo"]["streamArn"] = json!(format!("{ARN}/consumer/c:1"));
    failure["payload"] = payload(&[10, 10, 11, 11]);
    for record in failure["payload"]["Records"].as_array_mut().expect("records") {
        record["eventSourceARN"] = json!(format!("{ARN}/consumer/c:1"));
    }
    let args = format!("{} --attempts 1", world.file(&[failure]));
    let run = world.redrive(&args);
    assert_eq!(outcomes(&run), [json!(["failed", 2, "11", null])], "{}", run.stderr);
    // They stay what they are: nobody may take them for aggregates again.
    assert_eq!(
        world.kinesis.requests("Invoke")[0]["Records"][3]["eventSourceARN"],
        format!("{ARN}/consumer/c:1")
    );
    let before = world.events().len();
    world.redrive(&args);
    assert_eq!(world.events()[before], ["11 kept", "11 kept"]);
}

#[test]
fn an_aggregate_that_spans_batches_is_done_with_its_last_one() {
    let world = World::new(|operation, number, _| match (operation, number) {
        ("GetShardIterator", _) => error(400, "ResourceNotFoundException"),
        ("Invoke", 1) => (500, json!({ "errorType": "E", "errorMessage": "no" })),
        ("Invoke", _) => (200, json!({ "batchItemFailures": [] })),
        other => panic!("{other:?} is not expected"),
    });
    let mut failure = failure(10, 10, 3);
    failure["payload"] = payload(&[10, 10, 10]);
    let args = format!("{} --attempts 1 --batch-size 2", world.file(&[failure]));
    assert_eq!(outcomes(&world.redrive(&args)), [json!(["failed", 2, "10", null])]);
    // All of it again: where it was, cannot be told.
    assert_eq!(outcomes(&world.redrive(&args)), [json!(["processed", 3, null, null])]);
}

#[test]
fn a_payload_tells_which_records_of_a_range_were_discarded() {
    // With filters, or concurrent batches, others lie in between. A complete payload needs no stream.
    let world = World::new(|operation, _, _| match operation {
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        other => panic!("{other} is not expected"),
    });
    let mut complete = failure(10, 13, 2);
    complete["payload"] = payload(&[10, 13]);
    let run = world.redrive(&world.file(&[complete]));
    assert_eq!(outcomes(&run), [json!(["processed", 2, null, null])], "{}", run.stderr);
    assert_eq!(world.events(), [vec!["10 kept", "13 kept"]]);

    // One that is not complete does not.
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let mut incomplete = failure(10, 13, 3);
    incomplete["payload"] = payload(&[10, 13]);
    let run = world.redrive(&world.file(&[incomplete]));
    assert_eq!(outcomes(&run), [json!(["refused", 0, null, null])], "{}", run.stderr);
    assert!(world.events().is_empty());
}

#[test]
fn a_range_with_more_records_than_were_discarded_is_delivered_only_if_that_is_confirmed() {
    for (batch_size, found, text) in [
        (json!(2), 3, "its range holds more than the 2 records that it counts: confirm with --all-in-range"),
        (json!(null), 1, "it does not say how many records were discarded: confirm with --all-in-range"),
    ] {
        let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
        let mut forged = failure(10, 16, 2);
        forged["KinesisBatchInfo"]["batchSize"] = batch_size.clone();
        let args = world.file(&[forged, failure(10, 11, 2)]);
        let run = world.redrive(&args);
        assert_eq!(
            (run.exit_code, outcomes(&run)),
            (Some(1), vec![json!(["processed", 2, null, null]), json!(["refused", 0, null, null])]),
            "{}",
            run.stderr
        );
        let row: Value = serde_json::from_str(run.stdout.lines().last().expect("a line")).expect("JSON");
        assert_eq!((&row["batchSize"], &row["error"]), (&batch_size, &json!(text)));
        assert!(row["found"].as_u64() >= Some(found), "{row}");
        assert_eq!(world.events(), [vec!["10 a", "11 b"]]);

        // Both numbers are shown before anything is delivered.
        let dry: Value = serde_json::from_str(
            world
                .redrive(&format!("{args} --dry-run --progress {}/dry", world.folder.path().display()))
                .stdout
                .lines()
                .last()
                .expect("a line"),
        )
        .expect("JSON");
        assert_eq!((&dry["outcome"], &dry["found"]), (&json!("refused"), &json!(7)));

        let run = world.redrive(&format!("{args} --all-in-range --restart"));
        let done = vec![json!(["processed", 2, null, null]), json!(["processed", 7, null, null])];
        assert_eq!((run.exit_code, outcomes(&run)), (Some(0), done), "{}", run.stderr);
    }
}

#[test]
fn a_payload_of_other_records_is_refused() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let mut forged = failure(10, 11, 2);
    forged["payload"] = payload(&[10, 12]);
    let run = world.redrive(&world.file(&[forged]));
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), vec![json!(["refused", 0, null, null])]));
    assert!(run.stdout.contains("record 1 is outside of the range"), "{}", run.stdout);
    assert!(world.events().is_empty());
}

#[test]
fn failure_records_of_one_range_with_different_payloads_are_two() {
    // Bisection has discarded two halves of an aggregate, whose user records share a number.
    let world = World::new(|operation, _, _| match operation {
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        other => panic!("{other} is not expected"),
    });
    let half = |data: &str| {
        let mut failure = failure(10, 10, 2);
        failure["KinesisBatchInfo"]["streamArn"] = json!(format!("{ARN}/consumer/c:1"));
        failure["payload"] = payload(&[10, 10]);
        for record in failure["payload"]["Records"].as_array_mut().expect("records") {
            record["kinesis"]["data"] = json!(data);
            record["eventSourceARN"] = json!(format!("{ARN}/consumer/c:1"));
        }
        failure
    };
    let run = world.redrive(&world.file(&[half("YQ=="), half("Yg=="), half("YQ==")]));
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    // In events of their own, because the response could not tell them apart. The third is the first again.
    let mut events = world.events();
    events.sort();
    assert_eq!(events, [["10 a", "10 a"], ["10 b", "10 b"]]);
}

#[test]
fn what_is_no_failure_record_is_listed_and_the_others_are_redriven() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let args = world.file(&[json!({ "hello": 1 }), failure(10, 10, 1)]);
    let run = world.redrive(&args);
    let expected = vec![json!(["unreadable", 0, null, null]), json!(["processed", 1, null, null])];
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), expected), "{}", run.stderr);
    assert!(run.stdout.contains("expected the member \\\"KinesisBatchInfo\\\""), "{}", run.stdout);
}

#[test]
fn a_dry_run_reads_and_invokes_nothing() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS).trimmed(1)));
    let run = world.redrive(&format!("{} --dry-run", world.file(&[failure(11, 12, 2), failure(10, 12, 3)])));
    assert_eq!(
        (run.exit_code, outcomes(&run)),
        (Some(1), vec![json!(["lost", 0, null, 1]), json!(["found", 0, null, null])]),
        "{}",
        run.stderr
    );
    assert!(world.events().is_empty());
    assert!(!world.folder.path().join("kinesis-kit").exists());
}

/// A queue with these messages, which are deleted by their number.
pub(crate) fn queue(messages: Vec<Value>, stream: ScriptedStream) -> impl Fn(&str, usize, &Value) -> Answer {
    move |operation, number, request| match operation {
        "GetQueueUrl" => (200, json!({ "QueueUrl": "http://127.0.0.1/123456789012/failures" })),
        "GetQueueAttributes" => {
            (200, json!({ "Attributes": { "ApproximateNumberOfMessagesNotVisible": "0" } }))
        }
        "ReceiveMessage" => {
            let message = |(index, body): (usize, &Value)| json!({ "MessageId": format!("m{index}"), "ReceiptHandle": format!("r{index}"), "Body": body.to_string() });
            let taken: Vec<Value> = match number {
                0 => messages.iter().enumerate().map(message).collect(),
                _ => Vec::new(),
            };
            (200, json!({ "Messages": taken }))
        }
        "DeleteMessage" => (200, json!({})),
        "ChangeMessageVisibilityBatch" => (200, json!({ "Successful": [], "Failed": [] })),
        "Invoke" => failing(request, &["c"]),
        other => stream.answer(other, request),
    }
}

#[test]
fn messages_come_in_stream_order_and_are_deleted_only_when_all_of_them_is_done() {
    let messages =
        vec![failure(14, 15, 2), json!({ "Message": failure(10, 11, 2).to_string() }), failure(12, 13, 2)];
    let world = World::new(queue(messages, ScriptedStream::of(&RECORDS)));
    let run = world.redrive("--queue failures --attempts 1");
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    let expected = [
        json!(["processed", 2, null, null]),
        json!(["failed", 0, "12", null]),
        json!(["processed", 2, null, null]),
    ];
    assert_eq!(outcomes(&run), expected);
    let all = vec!["10 a", "11 b", "12 c", "13 d", "14 e", "15 f"];
    assert_eq!(world.events(), [all.clone(), all[2..].to_vec(), all[4..].to_vec()]);
    let mut deleted: Vec<_> = world
        .kinesis
        .requests("DeleteMessage")
        .iter()
        .map(|request| request["ReceiptHandle"].clone())
        .collect();
    deleted.sort_by_key(Value::to_string);
    assert_eq!(deleted, ["r0", "r1"]);
    // The one that has failed is given back at once.
    let given_back = &world.kinesis.requests("ChangeMessageVisibilityBatch")[0]["Entries"];
    assert_eq!(given_back[0]["ReceiptHandle"], "r2");
    assert_eq!(given_back[0]["VisibilityTimeout"], 0);
}

#[test]
fn messages_stay_if_they_shall_or_if_records_are_lost() {
    let of = |args: &str| {
        let stream = ScriptedStream::of(&RECORDS).trimmed(1);
        let world = World::new(queue(vec![failure(10, 11, 2), failure(14, 15, 2)], stream));
        let run = world.redrive(&format!("--queue failures {args}"));
        assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
        world.kinesis.requests("DeleteMessage").len()
    };
    assert_eq!(of(""), 1);
    assert_eq!(of("--keep"), 0);
    assert_eq!(of("--dry-run"), 0);
    assert_eq!(of("--delete-lost"), 2);
}

/// The response of the kit's handler: the failed record, and numbers of quarantined user records by Kinesis record.
fn kit_response(failed: Option<&str>, quarantined: &[(&str, u64)]) -> Answer {
    let failures: Vec<Value> = failed.iter().map(|number| json!({ "itemIdentifier": number })).collect();
    let total: u64 = quarantined.iter().map(|(_, records)| records).sum();
    let item = |(number, records): &(&str, u64)| json!({ "sequenceNumber": number, "records": records });
    let items: Vec<Value> = quarantined.iter().map(item).collect();
    let member = json!({ "quarantinedRecords": total, "quarantined": items });
    (200, json!({ "batchItemFailures": failures, "kinesisKit": member }))
}

#[test]
fn records_that_the_function_quarantines_are_counted_for_their_failure_record() {
    let stream = ScriptedStream::of(&RECORDS);
    let world = World::new(move |operation, number, request| match (operation, number) {
        // All three share an event. The second one has some in an aggregate that fails further on.
        ("Invoke", 0) => kit_response(Some("12"), &[("10", 1), ("12", 2)]),
        ("Invoke", 1) => kit_response(Some("12"), &[("12", 3)]),
        ("Invoke", _) => kit_response(None, &[("13", 4)]),
        (other, _) => stream.answer(other, request),
    });
    let file = world.file(&[failure(10, 11, 2), failure(12, 13, 2), failure(14, 15, 2)]);
    let run = world.redrive(&file);
    let counts: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"))
        .map(|line| json!([line["outcome"], line["delivered"], line["quarantined"]]))
        .collect();
    assert_eq!(
        counts,
        [json!(["quarantined", 2, 1]), json!(["quarantined", 2, 9]), json!(["processed", 2, 0])]
    );
    assert!(
        run.stderr.contains("6 Kinesis records delivered, 10 user records quarantined"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_function_that_says_nothing_of_a_quarantine_has_no_count() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let file = world.file(&[failure(10, 11, 2)]);
    let run = world.redrive(&file);
    assert!(run.stdout.contains(r#""quarantined":null"#), "{}", run.stdout);
    assert!(!run.stderr.contains("quarantined"), "{}", run.stderr);
    let mut table = world.start(&format!("{file} --format table")).wait_with_output().expect("an end").stdout;
    table.retain(|byte| *byte != b' ');
    let table = String::from_utf8(table).expect("text");
    assert_eq!(
        table,
        "SHARDFIRSTLASTRECORDSFOUNDDELIVEREDOUTCOMEERROR\nshardId-0000000000001011222processed-\n"
    );
}

#[test]
fn options_that_would_mean_nothing_are_refused() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let run = world.redrive(&format!("{} --shard {SHARD}", world.file(&[failure(10, 11, 2)])));
    assert_eq!(run.exit_code, Some(2));
    assert_eq!(run.stderr, "kinesis-kit: --application and --shard are for --discarded\n");
    assert!(world.events().is_empty());
}

#[test]
fn a_queue_that_is_not_there_is_wrong_usage() {
    let world = World::new(|_, _, _| error(400, "AWS.SimpleQueueService.NonExistentQueue"));
    let run = world.redrive("--queue failures");
    assert_eq!(run.exit_code, Some(2));
    assert!(
        run.stderr.starts_with("kinesis-kit: queue failures cannot be used: GetQueueUrl: "),
        "{}",
        run.stderr
    );
}
