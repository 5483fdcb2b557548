//! `--skip-failed`: a record that never succeeds is passed over, and a file keeps it.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use base64::prelude::*;
use kinesis_handler::Event;
use kpl_deaggregation::{Deaggregator, UserRecord, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    kit::{Run, kit_where, start},
    redrive::{failure, payload, queue},
    scripted_kinesis::{Answer, ScriptedKinesis, variables},
    scripted_stream::{ARN, SHARD, ScriptedStream},
};

const CHILD: &str = "shardId-000000000001";

fn aggregate(texts: &[&str]) -> Vec<u8> {
    encode(texts.iter().map(|text| UserRecord::new(b"inner", text.as_bytes()))).expect("there are some")
}

/// A shard with bad user records in an aggregate and alone, and its child.
fn stream() -> ScriptedStream {
    let whole = aggregate(&["a", "bad1", "b", "bad2", "bad3", "c"]);
    let records: [(u64, &[u8]); 4] = [(7, b"x"), (8, &whole), (9, b"bad4"), (10, b"y")];
    ScriptedStream::default().with_shard(SHARD, None, true, &records).with_shard(
        CHILD,
        Some(SHARD),
        false,
        &[(20, b"z")],
    )
}

/// The number of times that each user record was processed.
type Processed = Arc<Mutex<BTreeMap<String, u32>>>;

/// Answers as the kit's handler does: at the first user record that is bad, with its error.
fn handle(event: &Value, processed: &Processed) -> Answer {
    let event = event.to_string();
    let event = Event::parse(event.as_bytes()).expect("an event");
    let mut processed = processed.lock().expect("no panic while locked");
    for record in &event.records {
        let data = record.data.decode().expect("base64");
        let mut deaggregator = Deaggregator::default();
        for user_record in deaggregator.deaggregate(b"outer", &data).expect("a valid record") {
            let text = String::from_utf8_lossy(user_record.data).into_owned();
            if text.starts_with("bad") {
                let number = record.sequence_number.to_string();
                let failed = json!({ "sequenceNumber": number,
                    "subSequenceNumber": user_record.sub_sequence_number, "error": format!("refused {text}") });
                let failures = json!([{ "itemIdentifier": number }]);
                let details = json!({ "quarantinedRecords": 0, "quarantined": [], "failed": failed });
                return (200, json!({ "batchItemFailures": failures, "kinesisKit": details }));
            }
            *processed.entry(text).or_default() += 1;
        }
    }
    (200, json!({ "batchItemFailures": [] }))
}

struct World {
    kinesis: ScriptedKinesis,
    processed: Processed,
    folder: TempDir,
}

impl World {
    fn new(answer: impl Fn(&str, usize, &Value) -> Answer + Send + Sync + 'static) -> Self {
        let processed = Processed::default();
        let of_function = Arc::clone(&processed);
        let kinesis = ScriptedKinesis::start(move |operation, number, request| match operation {
            "Invoke" => handle(request, &of_function),
            _ => answer(operation, number, request),
        });
        World { kinesis, processed, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn of(stream: ScriptedStream) -> Self {
        World::new(move |operation, _, request| stream.answer(operation, request))
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("skipped.jsonl")
    }

    fn run(&self, command: &str) -> Run {
        let url = self.kinesis.url();
        let mut variables = variables(&url);
        variables.push(("XDG_STATE_HOME", self.folder.path().to_str().expect("a plain path")));
        let args = format!(
            "{command} --format json --attempts 1 --reads-per-second 1000 --url {url} --skip-failed {}",
            self.path().display()
        );
        kit_where(&variables, args.split_whitespace(), "")
    }

    /// Returns positions, payloads and errors of the lines in the file.
    fn skipped(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path()).expect("the file is there");
        text.lines().map(shown).collect()
    }

    fn processed(&self) -> Vec<String> {
        self.processed.lock().expect("no panic while locked").keys().cloned().collect()
    }
}

fn shown(line: &str) -> String {
    let line: Value = serde_json::from_str(line).expect("JSON lines");
    assert_eq!((&line["streamArn"], &line["shardId"]), (&json!(ARN), &json!(SHARD)));
    let data = BASE64_STANDARD.decode(line["data"].as_str().expect("base64")).expect("base64");
    let sub = line["subSequenceNumber"].as_u64().map_or(String::new(), |sub| format!(":{sub}"));
    format!(
        "{}{sub} {} {} {}",
        line["sequenceNumber"].as_str().expect("digits"),
        line["partitionKey"].as_str().expect("text"),
        String::from_utf8_lossy(&data),
        line["error"].as_str().expect("text")
    )
}

const ALL_SKIPPED: [&str; 4] = [
    "8:1 inner bad1 refused bad1",
    "8:3 inner bad2 refused bad2",
    "8:4 inner bad3 refused bad3",
    "9 k bad4 refused bad4",
];

/// Outcomes, and the numbers of user records that were processed and skipped.
fn outcomes(run: &Run) -> Vec<Value> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON lines");
        json!([line["outcome"], line["userRecords"], line["skipped"]])
    };
    run.stdout.lines().map(line).collect()
}

#[test]
fn a_replay_passes_over_the_user_records_that_fail_and_nothing_else() {
    let world = World::of(stream());
    let run = world.run("replay --stream orders --from trim-horizon");
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    assert_eq!(outcomes(&run), [json!(["skipped", 5, 4]), json!(["processed", 1, 0])], "{}", run.stderr);
    assert_eq!(world.skipped(), ALL_SKIPPED);
    assert_eq!(world.processed(), ["a", "b", "c", "x", "y", "z"]);
    assert!(run.stderr.contains("4 user records skipped"), "{}", run.stderr);

    // The next run knows of them, and delivers nothing again.
    let before = world.kinesis.requests("Invoke").len();
    let again = world.run("replay --stream orders --from trim-horizon");
    assert_eq!(again.exit_code, Some(1), "{}", again.stderr);
    assert_eq!(outcomes(&again), [json!(["skipped", 0, 4]), json!(["processed", 0, 0])]);
    assert_eq!(
        (world.skipped(), world.kinesis.requests("Invoke").len()),
        (ALL_SKIPPED.map(String::from).to_vec(), before)
    );
}

#[test]
fn the_file_says_where_a_user_record_is_in_the_stream_when_the_range_begins_inside_its_aggregate() {
    let world = World::of(stream());
    let run = world.run(&format!("replay --stream orders --shard {SHARD} --from 8:2 --to 8:4"));
    assert_eq!(outcomes(&run), [json!(["skipped", 1, 2])], "{}", run.stderr);
    assert_eq!(world.skipped(), ALL_SKIPPED[1..3]);
    assert_eq!(world.processed(), ["b"]);
}

#[test]
fn no_more_is_passed_over_than_may_be() {
    let world = World::of(stream());
    let run = world.run("replay --stream orders --from trim-horizon --max-skipped 1");
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    let line: Value = serde_json::from_str(run.stdout.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        json!([
            line["outcome"],
            line["failedSequenceNumber"],
            line["failedSubSequenceNumber"],
            line["error"]
        ]),
        json!(["failed", "8", 3, "refused bad2"])
    );
    assert_eq!(world.skipped(), ALL_SKIPPED[..1]);
}

#[test]
fn a_function_that_names_no_user_record_has_all_of_the_kinesis_record_passed_over() {
    let stream = stream();
    let kinesis = ScriptedKinesis::start(move |operation, _, request| match operation {
        "Invoke" => {
            let is_bad = |record: &&Value| record["kinesis"]["sequenceNumber"] == "8";
            match request["Records"].as_array().expect("an event").iter().find(is_bad) {
                Some(_) => (200, json!({ "batchItemFailures": [{ "itemIdentifier": "8" }] })),
                None => (200, json!({ "batchItemFailures": [] })),
            }
        }
        other => stream.answer(other, request),
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let world = World { kinesis, processed: Processed::default(), folder };
    let run = world.run("replay --stream orders --from trim-horizon");
    assert_eq!(outcomes(&run), [json!(["skipped", 3, 6]), json!(["processed", 1, 0])], "{}", run.stderr);
    let error = "the function reported it in batchItemFailures, without a reason";
    let expected = ["a", "bad1", "b", "bad2", "bad3", "c"].into_iter().enumerate();
    let expected: Vec<_> = expected.map(|(sub, text)| format!("8:{sub} inner {text} {error}")).collect();
    assert_eq!(world.skipped(), expected);
}

#[test]
fn a_message_with_a_skipped_record_stays_in_its_queue() {
    let whole = aggregate(&["a", "bad1", "b"]);
    let records: [(u64, &[u8]); 3] = [(8, &whole), (9, b"x"), (10, b"y")];
    let failures = vec![failure(8, 9, 2), failure(10, 10, 1)];
    let world = World::new(queue(failures, ScriptedStream::of(&records)));
    let run = world.run("redrive --queue failures");
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    assert_eq!(
        outcomes(&run),
        [json!(["skipped", null, 1]), json!(["processed", null, 0])],
        "{}",
        run.stdout
    );
    assert_eq!(world.skipped(), ["8:1 inner bad1 refused bad1"]);
    assert_eq!(world.processed(), ["a", "b", "x", "y"]);
    let deleted = world.kinesis.requests("DeleteMessage");
    assert_eq!(deleted.iter().map(|request| &request["ReceiptHandle"]).collect::<Vec<_>>(), ["r1"]);
    // The rest of the aggregate is another aggregate, which the function's journal does not know.
    let modes: Vec<_> =
        world.kinesis.requests("Invoke").iter().map(|event| event["kinesisKit"]["mode"].clone()).collect();
    assert_eq!(modes, ["resume", "reprocess", "resume"]);
}

/// Redrives a failure record with a payload with a function that fails for `bad` data, and returns what was skipped.
#[track_caller]
fn skipped_of(payload: Value, bad: &[u8]) -> Vec<String> {
    let bad = json!(BASE64_STANDARD.encode(bad));
    let kinesis = ScriptedKinesis::start(move |operation, _, request| {
        assert_eq!(operation, "Invoke");
        let records = request["Records"].as_array().expect("an event");
        let is_bad = records.iter().any(|record| record["kinesis"]["data"] == bad);
        let failed: &[Value] = if is_bad { &[json!({ "itemIdentifier": "11" })] } else { &[] };
        (200, json!({ "batchItemFailures": failed }))
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let world = World { kinesis, processed: Processed::default(), folder };
    let mut failure = failure(11, 11, payload["Records"].as_array().expect("records").len() as u64);
    failure["KinesisBatchInfo"]["streamArn"] = payload["Records"][0]["eventSourceARN"].clone();
    failure["payload"] = json!(payload.to_string());
    let path = world.folder.path().join("failures.jsonl");
    fs::write(&path, failure.to_string()).expect("a writable folder");
    let run = world.run(&format!("redrive --file {}", path.display()));
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    assert_eq!(outcomes(&run), [json!(["skipped", null, 1])], "{}", run.stderr);
    world.skipped()
}

#[test]
fn of_user_records_that_share_their_number_the_one_that_fails_is_skipped() {
    let mut payload = payload(&[11, 11, 11, 11]);
    for (record, data) in
        payload["Records"].as_array_mut().expect("records").iter_mut().zip(["a", "b", "bad", "c"])
    {
        record["eventSourceARN"] = json!(format!("{ARN}/consumer/c:1"));
        record["kinesis"]["data"] = json!(BASE64_STANDARD.encode(data));
    }
    let error = "the function reported it in batchItemFailures, without a reason";
    assert_eq!(skipped_of(payload, b"bad"), [format!("11 k bad {error}")]);
}

#[test]
fn an_aggregate_without_user_records_is_skipped_as_a_whole() {
    // Magic number, a message with an empty partition key and nothing else, and its MD5 digest.
    const DATA: [u8; 22] = [
        0xf3, 0x89, 0x9a, 0xc2, 0x0a, 0x00, 0x9d, 0xd9, 0x4c, 0x5a, 0x4b, 0x02, 0x91, 0x4a, 0xf4, 0x2e, 0x8e,
        0x63, 0x72, 0xe0, 0xb7, 0x09,
    ];
    let mut payload = payload(&[11]);
    payload["Records"][0]["kinesis"]["data"] = json!(BASE64_STANDARD.encode(DATA));
    assert_eq!(skipped_of(payload, &DATA).len(), 1);
}

#[test]
fn what_was_skipped_is_redriven_from_the_file_and_put() {
    let world = World::of(stream());
    world.run("replay --stream orders --from trim-horizon");
    let path = world.path();
    // As long as it fails, the file has it.
    let run = world.run(&format!("redrive --file {}", path.display()));
    assert_eq!(outcomes(&run), vec![json!(["skipped", null, 1]); 4], "{}", run.stderr);
    assert_eq!(world.skipped(), ALL_SKIPPED);

    let mended = ScriptedKinesis::start(|_, _, _| (200, json!({ "batchItemFailures": [] })));
    let url = mended.url();
    let mut variables = variables(&url);
    variables.push(("XDG_STATE_HOME", world.folder.path().to_str().expect("a plain path")));
    let args = format!("redrive --format json --file {} --url {url}", path.display());
    let run = kit_where(&variables, args.split_whitespace(), "");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(outcomes(&run), vec![json!(["processed", null, 0]); 4], "{}", run.stderr);
    let events = mended.requests("Invoke");
    let mut texts = Vec::new();
    for event in &events {
        assert_eq!(event["kinesisKit"], json!({ "mode": "reprocess" }));
        let event = event.to_string();
        for record in Event::parse(event.as_bytes()).expect("an event").records {
            let data = record.data.decode().expect("base64");
            let mut deaggregator = Deaggregator::default();
            for user_record in deaggregator.deaggregate(b"k", &data).expect("a valid record") {
                let text = String::from_utf8_lossy(user_record.data).into_owned();
                texts.push(format!("{} {} {text}", record.sequence_number, user_record.partition_key_text()));
            }
        }
    }
    assert_eq!(texts, ["8 inner bad1", "8 inner bad2", "8 inner bad3", "9 k bad4"]);

    // `put` reads lines as `aggregate` does.
    let args = ["aggregate", path.to_str().expect("a plain path")];
    let run = kit_where(&[], args, "");
    assert_eq!((run.exit_code, run.stderr.contains("4")), (Some(0), true), "{}", run.stderr);
}

/// A run that is killed at any request neither loses a skipped record nor writes it twice.
#[test]
fn a_killed_run_loses_no_skipped_record_and_writes_none_twice() {
    for command in ["replay --stream orders --from trim-horizon", "redrive --file FAILURES"] {
        for at in 0.. {
            if !check_killed(command, at) {
                assert!(at > 5, "the run has more requests");
                break;
            }
        }
    }
}

/// Kills a run when it invokes the function for the time with this number, and resumes it. Returns whether there was such a
/// time.
fn check_killed(command: &str, at: usize) -> bool {
    let processed = Processed::default();
    let (of_function, invoked) = (Arc::clone(&processed), Arc::new(AtomicUsize::new(0)));
    let (reached, is_reached) = mpsc::channel();
    let reached = Mutex::new(reached);
    let stream = stream();
    let kinesis = ScriptedKinesis::start(move |operation, _, request| match operation {
        "Invoke" => {
            let answer = handle(request, &of_function);
            if invoked.fetch_add(1, Ordering::Relaxed) == at {
                let _ = reached.lock().expect("no panic while locked").send(());
            }
            answer
        }
        other => stream.answer(other, request),
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let world = World { kinesis, processed, folder };
    let failures = world.folder.path().join("failures.jsonl");
    fs::write(&failures, failure(7, 10, 4).to_string()).expect("a writable folder");
    let command = command.replace("FAILURES", &failures.display().to_string());
    let url = world.kinesis.url();
    let mut variables = variables(&url);
    variables.push(("XDG_STATE_HOME", world.folder.path().to_str().expect("a plain path")));
    let args = format!(
        "{command} --format json --attempts 1 --reads-per-second 1000 --url {url} --skip-failed {}",
        world.path().display()
    );
    let mut child = start(&variables, &args);
    let was_killed = loop {
        if is_reached.try_recv().is_ok() {
            child.kill().expect("it is a child");
            break true;
        }
        if child.try_wait().expect("it is a child").is_some() {
            break is_reached.try_recv().is_ok();
        }
        std::thread::yield_now();
    };
    let _ = child.wait().expect("it is a child");
    let run = world.run(&command);
    assert_eq!(run.exit_code, Some(1), "killed at {at}: {}", run.stderr);
    let line: Value = serde_json::from_str(run.stdout.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&line["outcome"], &line["skipped"]), (&json!("skipped"), &json!(4)), "killed at {at}");
    assert_eq!(world.skipped(), ALL_SKIPPED, "killed at {at}");
    let all = ["a", "b", "c", "x", "y"];
    assert!(all.iter().all(|text| world.processed().contains(&(*text).to_owned())), "killed at {at}");
    was_killed
}
