//! Records that are too large for an event, or for the stream.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use base64::prelude::*;
use kinesis_handler::large_payload::PayloadPointer;
use kpl_deaggregation::{Content, Deaggregator, UserRecord, encode};
use serde_json::{Value, json};

use crate::{
    kit::kit_where,
    redrive::{World, failure, outcomes},
    scripted_bucket::{BUCKET, ScriptedBucket},
    scripted_kinesis::{Answer, ScriptedKinesis, variables},
    scripted_stream::{ARN, SHARD},
};

const MIB: usize = 1024 * 1024;

/// A failure record of one Kinesis record, with its payload, as S3 has it.
fn failure_of(data: &[u8]) -> Value {
    let mut failure = failure(11, 11, 1);
    let event = json!({ "Records": [{
        "kinesis": { "partitionKey": "a", "sequenceNumber": "11", "data": BASE64_STANDARD.encode(data) },
        "eventSource": "aws:kinesis",
        "eventID": format!("{SHARD}:11"),
        "eventSourceARN": ARN,
    }] });
    failure["payload"] = json!(event.to_string());
    failure
}

/// An aggregate whose user records have these sizes. Each begins with its number.
fn aggregate(sizes: &[usize]) -> Vec<u8> {
    let user_records: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(index, bytes)| format!("{index}{}", " ".repeat(bytes - 1)).into_bytes())
        .collect();
    encode(user_records.iter().map(|data| UserRecord::new(b"k", data))).expect("there are some")
}

/// Returns the beginnings of the user records in an event of one record, and its mode.
fn texts(event: &Value) -> (Vec<String>, String) {
    assert!(event.to_string().len() <= 6 * MIB, "{}", event.to_string().len());
    let records = event["Records"].as_array().expect("an event");
    assert_eq!((records.len(), &records[0]["kinesis"]["sequenceNumber"]), (1, &json!("11")));
    let data =
        BASE64_STANDARD.decode(records[0]["kinesis"]["data"].as_str().expect("base64")).expect("base64");
    let mut deaggregator = Deaggregator::default();
    let user_records = deaggregator.deaggregate(b"a", &data).expect("a valid record");
    let text = |data: &[u8]| match PayloadPointer::read(data) {
        Some(pointer) => format!("pointer to {}", pointer.expect("a pointer").length()),
        None => String::from_utf8_lossy(&data[..data.len().min(8)]).trim().to_owned(),
    };
    let texts = user_records.map(|record| text(record.data)).collect();
    (texts, event["kinesisKit"]["mode"].as_str().expect("a mode").to_owned())
}

/// Answers as the kit's handler, which fails for user records that begin with these numbers.
fn handles(request: &Value, bad: &HashSet<&str>) -> Answer {
    let (texts, _) = texts(request);
    match texts.iter().position(|text| bad.contains(text.as_str())) {
        None => (200, json!({ "batchItemFailures": [] })),
        Some(sub) => {
            let failed = json!({ "sequenceNumber": "11", "subSequenceNumber": sub, "error": "no" });
            let kit = json!({ "quarantined": [], "failed": failed });
            (200, json!({ "batchItemFailures": [{ "itemIdentifier": "11" }], "kinesisKit": kit }))
        }
    }
}

fn texts_of(parts: &[&[&str]]) -> Vec<Vec<String>> {
    parts.iter().map(|part| part.iter().map(|&text| text.to_owned()).collect()).collect()
}

fn parts(kinesis: &ScriptedKinesis) -> Vec<Vec<String>> {
    kinesis.requests("Invoke").iter().map(|event| texts(event).0).collect()
}

#[test]
fn an_aggregate_that_no_event_holds_comes_in_parts_and_its_object_is_deleted_after_the_last_one() {
    let object = failure_of(&aggregate(&[2 * MIB; 5])).to_string();
    let bucket = Arc::new(ScriptedBucket::of([("aws/lambda/m/x", object)]));
    let bad: Arc<Mutex<HashSet<&str>>> = Arc::new(Mutex::new(HashSet::from(["3"])));
    let (of_server, fails) = (Arc::clone(&bucket), Arc::clone(&bad));
    let world = World::new(move |operation, _, request| match operation {
        "Invoke" => handles(request, &fails.lock().expect("no panic while locked")),
        other => of_server.answer(other).unwrap_or_else(|| panic!("{other} is not expected")),
    });
    let args = format!("--s3 s3://{BUCKET} --split --attempts 1");
    let run = world.redrive(&args);
    assert_eq!(outcomes(&run), [json!(["failed", 0, "11", null])], "{}", run.stderr);
    let line: Value = serde_json::from_str(&run.stdout).expect("JSON");
    // The number in the record of the stream, not in the part.
    assert_eq!(line["failedSubSequenceNumber"], 3, "{}", run.stdout);
    assert_eq!(parts(&world.kinesis), [["0", "1"], ["2", "3"]]);
    assert_eq!(bucket.keys().len(), 1, "it is not processed");

    bad.lock().expect("no panic while locked").clear();
    let run = world.redrive(&args);
    assert_eq!(outcomes(&run), [json!(["processed", 1, null, null])], "{}", run.stderr);
    // The first part is processed.
    assert_eq!(parts(&world.kinesis)[2..], [vec!["2", "3"], vec!["4"]]);
    assert_eq!(bucket.keys(), Vec::<String>::new());
    let modes: HashSet<String> =
        world.kinesis.requests("Invoke").iter().map(|event| texts(event).1).collect();
    assert_eq!(modes, HashSet::from(["reprocess".to_owned()]));
}

/// A bucket with an aggregate in three parts, and a function that fails for user records that begin with numbers of a set.
struct LargeObject {
    world: World,
    bucket: Arc<ScriptedBucket>,
    bad: Arc<Mutex<HashSet<&'static str>>>,
}

impl LargeObject {
    fn new(bad: &[&'static str]) -> Self {
        let object = failure_of(&aggregate(&[2 * MIB; 5])).to_string();
        let bucket = Arc::new(ScriptedBucket::of([("aws/lambda/m/x", object)]));
        let bad = Arc::new(Mutex::new(bad.iter().copied().collect()));
        let (of_server, fails) = (Arc::clone(&bucket), Arc::clone(&bad));
        let world = World::new(move |operation, _, request| match operation {
            "Invoke" => handles(request, &fails.lock().expect("no panic while locked")),
            other => of_server.answer(other).unwrap_or_else(|| panic!("{other} is not expected")),
        });
        LargeObject { world, bucket, bad }
    }

    /// Redrives the object. Returns the outcome, and the parts that were delivered.
    fn redrive(&self, skips: bool, args: &str) -> (Value, Vec<Vec<String>>) {
        let delivered = parts(&self.world.kinesis).len();
        let skipped = self.world.folder.path().join("skipped.jsonl");
        let skip = if skips { format!("--skip-failed {}", skipped.display()) } else { String::new() };
        let run = self.world.redrive(&format!("--s3 s3://{BUCKET} --split --attempts 1 {skip} {args}"));
        let line: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.stderr));
        (line["outcome"].clone(), parts(&self.world.kinesis).split_off(delivered))
    }

    fn repair(&self) {
        self.bad.lock().expect("no panic while locked").clear();
    }
}

#[test]
fn a_user_record_that_was_skipped_in_a_part_is_redriven_without_the_option() {
    let object = LargeObject::new(&["3"]);
    let (outcome, delivered) = object.redrive(true, "");
    assert_eq!((outcome, delivered), (json!("skipped"), texts_of(&[&["0", "1"], &["2", "3"], &["4"]])));
    assert_eq!(object.bucket.keys().len(), 1, "a user record of it is skipped");

    object.repair();
    let (outcome, delivered) = object.redrive(false, "");
    assert_eq!(outcome, "processed");
    assert!(delivered.concat().contains(&"3".to_owned()), "{delivered:?}");
    assert_eq!(object.bucket.keys(), Vec::<String>::new());
}

#[test]
fn an_object_of_which_an_earlier_run_has_skipped_a_user_record_is_not_deleted() {
    let object = LargeObject::new(&["3", "4"]);
    let (outcome, _) = object.redrive(true, "--max-skipped 1");
    assert_eq!(outcome, "failed");

    object.repair();
    let (outcome, delivered) = object.redrive(true, "--max-skipped 1");
    assert_eq!((outcome, delivered), (json!("skipped"), texts_of(&[&["4"]])));
    assert_eq!(object.bucket.keys().len(), 1, "a user record of it is skipped");
    let (outcome, delivered) = object.redrive(false, "");
    assert_eq!(outcome, "processed");
    assert!(delivered.concat().contains(&"3".to_owned()), "{delivered:?}");
}

#[test]
fn without_the_option_a_target_that_has_no_limit_gets_the_record_whole() {
    let world = World::new(|_, _, _| (200, json!({ "batchItemFailures": [] })));
    let run = world.redrive(&world.file(&[failure_of(&aggregate(&[2 * MIB; 5]))]));
    assert_eq!(outcomes(&run), [json!(["processed", 1, null, null])], "{}", run.stderr);
    let events = world.kinesis.requests("Invoke");
    assert_eq!((events.len(), &events[0]["kinesisKit"]["mode"]), (1, &json!("resume")));
    assert!(events[0].to_string().len() > 13 * MIB);
}

#[test]
fn records_beside_a_large_one_keep_their_order_and_share_no_event_with_it() {
    let world = World::new(|_, _, _| (200, json!({ "batchItemFailures": [] })));
    let mut failure = failure(10, 12, 3);
    let record = |number: &str, data: &[u8]| {
        json!({ "kinesis": { "partitionKey": "a", "sequenceNumber": number, "data": BASE64_STANDARD.encode(data) },
            "eventSource": "aws:kinesis", "eventID": format!("{SHARD}:{number}"), "eventSourceARN": ARN })
    };
    let large = aggregate(&[2 * MIB; 3]);
    let records = [record("10", b"before"), record("11", &large), record("12", b"after")];
    failure["payload"] = json!(json!({ "Records": records }).to_string());
    let run = world.redrive(&format!("--split {}", world.file(&[failure])));
    assert_eq!(outcomes(&run), [json!(["processed", 3, null, null])], "{}", run.stderr);
    let events: Vec<_> = world
        .kinesis
        .requests("Invoke")
        .iter()
        .map(|event| {
            let numbers = event["Records"].as_array().expect("records").iter();
            let numbers = numbers.map(|record| record["kinesis"]["sequenceNumber"].clone());
            json!([event["kinesisKit"]["mode"], numbers.collect::<Vec<_>>()])
        })
        .collect();
    let (resume, reprocess) = ("resume", "reprocess");
    assert_eq!(
        events,
        [
            json!([resume, ["10"]]),
            json!([reprocess, ["11"]]),
            json!([reprocess, ["11"]]),
            json!([resume, ["12"]])
        ]
    );
}

#[test]
fn a_payload_that_no_event_holds_fails_unless_it_may_be_skipped_or_put_into_s3() {
    let sizes = [1, 5 * MIB, 1];
    let world = World::new(|_, _, request| handles(request, &HashSet::new()));
    let args = format!("--split {}", world.file(&[failure_of(&aggregate(&sizes))]));
    let run = world.redrive(&args);
    assert_eq!(outcomes(&run), [json!(["failed", 0, "11", null])], "{}", run.stderr);
    let line: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(line["failedSubSequenceNumber"], 1);
    let error = line["error"].as_str().expect("text");
    assert!(error.starts_with("a payload of 5242880 bytes makes an event of "), "{error}");
    assert!(error.contains("--large-to"), "{error}");
    assert_eq!(parts(&world.kinesis), [["0"]], "an event that Lambda refuses is not sent");

    let skipped = world.folder.path().join("skipped.jsonl");
    let run = world.redrive(&format!("{args} --skip-failed {}", skipped.display()));
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    assert_eq!(parts(&world.kinesis)[1..], [["2"]]);
    let text = std::fs::read_to_string(&skipped).expect("it is there");
    let line: Value = serde_json::from_str(&text).expect("one line");
    assert_eq!(line["subSequenceNumber"], 1);

    let world = World::new(|operation, _, request| match operation {
        "Invoke" => handles(request, &HashSet::new()),
        other => {
            assert!(other.starts_with("PUT /payloads/large/"), "{other}");
            (200, json!(""))
        }
    });
    let json_text = json!("x".repeat(5 * MIB)).to_string();
    let texts = ["0".to_owned(), json_text.clone(), "2".to_owned()];
    let data = encode(texts.iter().map(|text| UserRecord::new(b"k", text.as_bytes()))).expect("some");
    let args = format!("--split --large-to s3://payloads/large {}", world.file(&[failure_of(&data)]));
    let run = world.redrive(&args);
    assert_eq!(outcomes(&run), [json!(["processed", 1, null, null])], "{}", run.stderr);
    let pointer = format!("pointer to {}", json_text.len());
    assert_eq!(parts(&world.kinesis), [vec!["0"], vec![&pointer], vec!["2"]]);
    let summary = "put 1 large payload, 5242882 bytes, into s3://payloads/large/\n";
    assert!(run.stderr.contains(summary), "{}", run.stderr);
}

/// Puts lines, and returns the user records of what was put, and the objects' keys.
fn put(args: &str, lines: &str) -> (Vec<Vec<u8>>, Vec<(String, Value)>, String) {
    let keys: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let seen = Arc::clone(&keys);
    let kinesis = ScriptedKinesis::start(move |operation, _, request| match operation {
        "PutRecords" => {
            let records = request["Records"].as_array().expect("records").iter();
            let results: Vec<_> =
                records.map(|_| json!({ "SequenceNumber": "7", "ShardId": SHARD })).collect();
            (200, json!({ "FailedRecordCount": 0, "Records": results }))
        }
        other => {
            let key = other.strip_prefix("PUT /").expect("an object").to_owned();
            seen.lock().expect("no panic while locked").push((key, request.clone()));
            (200, json!(""))
        }
    });
    let url = kinesis.url();
    let args = format!("put --stream orders --group-by partition-key {args}");
    let run = kit_where(&variables(&url), args.split_whitespace(), lines);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let mut put = Vec::new();
    for request in kinesis.requests("PutRecords") {
        for record in request["Records"].as_array().expect("records") {
            let data = BASE64_STANDARD.decode(record["Data"].as_str().expect("base64")).expect("base64");
            let mut deaggregator = Deaggregator::default();
            let user_records = deaggregator.deaggregate(b"k", &data).expect("a valid record");
            assert!(matches!(user_records.content(), Content::Aggregated | Content::Plain));
            put.extend(user_records.map(|record| record.data.to_vec()));
        }
    }
    let keys = keys.lock().expect("no panic while locked").clone();
    (put, keys, run.stderr)
}

#[test]
fn payloads_above_a_size_are_put_into_s3_and_pointers_into_the_stream() {
    let line = |text: &str| json!({ "partitionKey": "k", "text": text }).to_string();
    let (small, large) = (json!("x".repeat(98)).to_string(), json!("x".repeat(99)).to_string());
    let lines = [line(&small), line(&large), line("end")].join("\n");
    let (put_records, objects, stderr) = put("--large-to s3://payloads/large --large-above 100", &lines);
    assert_eq!((&put_records[0][..], &put_records[2][..]), (small.as_bytes(), &b"end"[..]));
    let pointer = PayloadPointer::read(&put_records[1]).expect("a pointer").expect("a pointer");
    assert_eq!((pointer.bucket(), pointer.length()), ("payloads", 101));
    assert_eq!(pointer, PayloadPointer::new("payloads", pointer.key(), large.as_bytes()).expect("a pointer"));
    assert_eq!(objects, [(format!("payloads/{}", pointer.key()), json!("x".repeat(99)))]);
    assert!(stderr.ends_with("put 1 large payload, 101 bytes, into s3://payloads/large/\n"), "{stderr}");

    let (put_records, objects, _) = put("--large-to s3://payloads/large", &lines);
    assert_eq!((put_records.len(), objects), (3, Vec::new()));
}

#[test]
fn a_bucket_that_no_pointer_can_name_is_refused_before_anything_is_put() {
    let kinesis = ScriptedKinesis::start(|operation, _, _| panic!("{operation} is not expected"));
    let url = kinesis.url();
    let args = "put --stream orders --plain --large-to s3://Payloads";
    let run = kit_where(&variables(&url), args.split_whitespace(), "{}");
    assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("s3://Payloads/ is no place for payloads: "), "{}", run.stderr);
}
