//! `redrive` killed at each of its requests, with a function that answers anything: only failure records whose records
//! were all processed are deleted, and the same command redelivers the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    kit::start,
    redrive::{failure, payload},
    scripted_bucket::{BUCKET, ScriptedBucket},
    scripted_kinesis::{Answer, ScriptedKinesis, variables},
    scripted_stream::{SHARD, ScriptedStream},
    scripted_table::{ScriptedTable, ordered, state},
};

const OTHER_SHARD: &str = "shardId-000000000001";

/// First and last records of the failure records, by shard.
const RANGES: [(&str, u64, u64); 5] =
    [(SHARD, 10, 11), (SHARD, 12, 12), (SHARD, 14, 16), (OTHER_SHARD, 20, 20), (OTHER_SHARD, 21, 22)];

/// The source of the failure records.
#[derive(Debug, Clone, Copy)]
enum Place {
    Queue,
    Bucket,
    Journal,
}

/// When the command is killed: at the request with this number, before or after it takes effect.
#[derive(Debug, Clone, Copy)]
struct Kill {
    at: usize,
    is_before: bool,
}

/// The services, as they outlive a run.
struct World {
    stream: ScriptedStream,
    /// Bodies of messages, by ID.
    messages: Mutex<BTreeMap<String, Value>>,
    bucket: ScriptedBucket,
    table: ScriptedTable,
    processed: Mutex<BTreeSet<u64>>,
}

fn failure_of(shard_id: &str, first: u64, last: u64) -> Value {
    let mut failure = failure(first, last, last - first + 1);
    failure["KinesisBatchInfo"]["shardId"] = json!(shard_id);
    failure
}

impl World {
    fn new(place: Place) -> Self {
        let records: [(u64, &[u8]); 7] =
            [(10, b"a"), (11, b"a"), (12, b"a"), (13, b"a"), (14, b"a"), (15, b"a"), (16, b"a")];
        let stream = ScriptedStream::of(&records).with_shard(
            OTHER_SHARD,
            None,
            false,
            &[(20, b"a"), (21, b"a"), (22, b"a")],
        );
        let mut world = World {
            stream,
            messages: Mutex::default(),
            bucket: ScriptedBucket::default(),
            table: ScriptedTable::default(),
            processed: Mutex::default(),
        };
        let failures = RANGES.map(|(shard_id, first, last)| failure_of(shard_id, first, last));
        match place {
            Place::Queue => {
                let messages = failures.into_iter().enumerate();
                world.messages =
                    Mutex::new(messages.map(|(index, body)| (format!("m{index}"), body)).collect());
            }
            Place::Bucket => {
                let objects =
                    failures.into_iter().zip(RANGES).map(|(mut failure, (shard_id, first, last))| {
                        // One in two shards is redriven without the stream.
                        if shard_id == SHARD {
                            failure["payload"] =
                                json!(payload(&(first..=last).collect::<Vec<_>>()).to_string());
                        }
                        (format!("aws/lambda/m/{shard_id}/{first}"), failure.to_string())
                    });
                world.bucket = ScriptedBucket::of(objects);
            }
            Place::Journal => {
                let entries = RANGES.into_iter().flat_map(|(shard_id, first, last)| {
                    (first..=last).map(move |number| state('H', shard_id, number, 1))
                });
                world.table = ScriptedTable::of(entries);
            }
        }
        world
    }

    /// Whether these records can still be redriven from the source.
    fn has(&self, place: Place, (shard_id, first, last): (&str, u64, u64)) -> bool {
        match place {
            Place::Queue => {
                let body = failure_of(shard_id, first, last);
                self.messages.lock().expect("no panic while locked").values().any(|message| *message == body)
            }
            Place::Bucket => self.bucket.keys().contains(&format!("aws/lambda/m/{shard_id}/{first}")),
            Place::Journal => {
                let keys = self.table.sort_keys();
                (first..=last).any(|number| keys.contains(&format!("H#{}", ordered(number))))
            }
        }
    }

    fn is_processed(&self, number: u64) -> bool {
        self.processed.lock().expect("no panic while locked").contains(&number)
    }

    fn answer(&self, operation: &str, number: usize, request: &Value, seed: Option<usize>) -> Answer {
        match operation {
            "GetQueueUrl" => (200, json!({ "QueueUrl": "http://127.0.0.1/123456789012/failures" })),
            "GetQueueAttributes" => {
                (200, json!({ "Attributes": { "ApproximateNumberOfMessagesNotVisible": "0" } }))
            }
            "ReceiveMessage" if number > 0 => (200, json!({})),
            "ReceiveMessage" => {
                let messages = self.messages.lock().expect("no panic while locked");
                let message = |(id, body): (&String, &Value)| json!({ "MessageId": id, "ReceiptHandle": id, "Body": body.to_string() });
                (200, json!({ "Messages": messages.iter().map(message).collect::<Vec<_>>() }))
            }
            "DeleteMessage" => {
                let id = request["ReceiptHandle"].as_str().expect("text");
                self.messages.lock().expect("no panic while locked").remove(id);
                (200, json!({}))
            }
            "ChangeMessageVisibilityBatch" => (200, json!({ "Successful": [], "Failed": [] })),
            "Scan" | "Query" | "DeleteItem" => self.table.answer(operation, request),
            "Invoke" => self.process(request, seed.map(|seed| seed + number)),
            "GetShardIterator" | "GetRecords" => self.stream.answer(operation, request),
            path => self.bucket.answer(path).unwrap_or_else(|| panic!("{path} is not scripted")),
        }
    }

    /// A function that processes all records, some, or none, and answers anything. Without `seed` it is healthy.
    fn process(&self, event: &Value, seed: Option<usize>) -> Answer {
        let numbers = event["Records"]
            .as_array()
            .expect("an event")
            .iter()
            .map(|record| record["kinesis"]["sequenceNumber"].as_str().expect("digits").to_owned());
        let numbers: Vec<String> = numbers.collect();
        let half = numbers.len() / 2;
        let named = |number: &String| json!({ "batchItemFailures": [{ "itemIdentifier": number }] });
        let (processed, answer) = match seed.map(|seed| seed % 9) {
            None | Some(0) => (numbers.len(), (200, json!({ "batchItemFailures": [] }))),
            Some(1) => (half, (200, named(&numbers[half]))),
            Some(2) => (half, (500, json!({ "errorType": "E", "errorMessage": "no" }))),
            Some(3) => (0, (200, json!({ "statusCode": 500 }))),
            Some(4) => (0, (200, json!(true))),
            Some(5) => (0, (200, json!("text"))),
            Some(6) => (half, (200, named(&"999".to_owned()))),
            Some(7) => (numbers.len(), (200, Value::Null)),
            Some(_) => (0, (200, named(&numbers[0]))),
        };
        let numbers = numbers[..processed].iter().map(|number| number.parse::<u64>().expect("digits"));
        self.processed.lock().expect("no panic while locked").extend(numbers);
        answer
    }
}

/// Runs the command once. Returns how many requests it sent, and its exit code.
fn run(
    place: Place,
    world: &Arc<World>,
    state: &str,
    seed: Option<usize>,
    kill: Option<Kill>,
) -> (usize, Option<i32>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let (reached, is_reached) = mpsc::channel();
    let answer = {
        let (world, requests, reached) = (Arc::clone(world), Arc::clone(&requests), Mutex::new(reached));
        move |operation: &str, number, request: &Value| {
            let at = requests.fetch_add(1, Ordering::SeqCst);
            let wait_to_be_killed = || {
                // The command may have ended by then.
                let _ = reached.lock().expect("no panic while locked").send(());
                loop {
                    thread::park();
                }
            };
            let kill = kill.filter(|kill| kill.at == at);
            if kill.is_some_and(|kill| kill.is_before) {
                wait_to_be_killed();
            }
            let answer = world.answer(operation, number, request, seed);
            if kill.is_some() {
                wait_to_be_killed();
            }
            answer
        }
    };
    let server = ScriptedKinesis::start(answer);
    let url = server.url();
    let source = match place {
        Place::Queue => "--queue failures".to_owned(),
        Place::Bucket => format!("--s3 s3://{BUCKET}/aws/"),
        Place::Journal => "--discarded journal".to_owned(),
    };
    let mut variables = variables(&url);
    variables.push(("XDG_STATE_HOME", state));
    let args = format!("redrive {source} --attempts 1 --reads-per-second 1000 --url {url}");
    let mut child = start(&variables, &args);
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if is_reached.recv_timeout(Duration::from_millis(2)).is_ok() {
            child.kill().expect("it waits for an answer");
        }
    };
    (requests.load(Ordering::SeqCst), status.code())
}

#[track_caller]
fn check(place: Place) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fresh = |name: &str| folder.path().join(name).display().to_string();
    let (requests, _) = run(place, &Arc::new(World::new(place)), &fresh("first"), None, None);
    // One more, so that some runs end by themselves.
    for at in 0..=requests {
        for is_before in [true, false] {
            let kill = Kill { at, is_before };
            let (world, state) = (Arc::new(World::new(place)), fresh(&format!("{at}-{is_before}")));
            run(place, &world, &state, Some(at), Some(kill));
            for range in RANGES {
                let (_, first, last) = range;
                let is_processed = (first..=last).all(|number| world.is_processed(number));
                assert!(is_processed || world.has(place, range), "{range:?} is lost: {place:?}, {kill:?}");
            }
            // The function is healthy again.
            let (_, exit_code) = run(place, &world, &state, None, None);
            assert_eq!(exit_code, Some(0), "{place:?}, {kill:?}");
            for range in RANGES {
                let (_, first, last) = range;
                assert!(
                    (first..=last).all(|number| world.is_processed(number)),
                    "{range:?}: {place:?}, {kill:?}"
                );
                assert!(!world.has(place, range), "{range:?} is left: {place:?}, {kill:?}");
            }
        }
    }
}

#[test]
fn a_message_is_deleted_only_when_its_records_are_processed() {
    check(Place::Queue);
}

#[test]
fn an_object_is_deleted_only_when_its_records_are_processed() {
    check(Place::Bucket);
}

#[test]
fn a_discarded_record_is_forgotten_only_when_it_is_processed() {
    check(Place::Journal);
}
