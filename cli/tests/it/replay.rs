//! `replay` against a Kinesis API that answers as told. Whole APIs are in the tests of the kit.

use std::fs;

use kpl_deaggregation::{Deaggregator, UserRecord, reframe};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{Answer, ScriptedKinesis, variables},
    scripted_stream::{ARN, SHARD, ScriptedStream, delivered, failing},
};

const CHILD: &str = "shardId-000000000001";

struct World {
    kinesis: ScriptedKinesis,
    folder: TempDir,
}

impl World {
    fn new(answer: impl Fn(&str, usize, &Value) -> Answer + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        World { kinesis: ScriptedKinesis::start(answer), folder }
    }

    fn of(stream: ScriptedStream) -> Self {
        World::new(move |operation, _, request| match operation {
            "Invoke" => (200, json!({ "batchItemFailures": [] })),
            other => stream.answer(other, request),
        })
    }

    fn replay(&self, args: &str) -> Run {
        let url = self.kinesis.url();
        let state = self.folder.path().to_str().expect("a plain path");
        let mut variables = variables(&url);
        variables.push(("XDG_STATE_HOME", state));
        let args = format!(
            "replay --stream orders --format json --reads-per-second 1000 --attempts 1 --url {url} {args}"
        );
        kit_where(&variables, args.split_whitespace(), "")
    }

    fn events(&self) -> Vec<Vec<String>> {
        self.kinesis.requests("Invoke").iter().map(delivered).collect()
    }
}

/// Shard, outcome, Kinesis records, user records, the record that has failed.
fn outcomes(run: &Run) -> Vec<Value> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON lines");
        json!([
            line["shardId"],
            line["outcome"],
            line["kinesisRecords"],
            line["userRecords"],
            line["failedSequenceNumber"]
        ])
    };
    run.stdout.lines().map(line).collect()
}

fn aggregate(texts: &[&str]) -> Vec<u8> {
    reframe(texts.iter().map(|text| UserRecord::new(b"inner", text.as_bytes()))).expect("there are some")
}

fn two_shards() -> ScriptedStream {
    ScriptedStream::default().with_shard(CHILD, Some(SHARD), false, &[(20, b"x"), (21, b"y")]).with_shard(
        SHARD,
        None,
        true,
        &[(7, b"a"), (8, b"b"), (9, b"c")],
    )
}

#[test]
fn a_whole_stream_is_replayed_parents_first() {
    let world = World::of(two_shards());
    let run = world.replay("--from trim-horizon");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(outcomes(&run), [json!([SHARD, "done", 3, 3, null]), json!([CHILD, "done", 2, 2, null])]);
    // A read at a time, as the mapping does without a batching window.
    assert_eq!(world.events(), [vec!["7 a", "8 b"], vec!["9 c"], vec!["20 x", "21 y"]]);
    let event = &world.kinesis.requests("Invoke")[0];
    assert_eq!(event["kinesisKit"], json!({ "mode": "replay" }));
    assert_eq!(event["Records"][0]["eventSourceARN"], ARN);
    assert!(
        run.stderr.ends_with("5 user records in 5 Kinesis records, of 2 shards, 2 done\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn times_are_bounds() {
    let world = World::of(two_shards());
    // Records arrive at 1, 2 and 3 seconds past the beginning of 1970.
    let run = world.replay("--from @2 --to 1970-01-01T00:00:03Z");
    assert_eq!(outcomes(&run), [json!([SHARD, "done", 1, 1, null]), json!([CHILD, "done", 1, 1, null])]);
    assert_eq!(world.events(), [vec!["8 b"], vec!["21 y"]]);
}

#[test]
fn aggregates_are_cut_at_both_bounds() {
    let (first, last) = (aggregate(&["a", "b", "c"]), aggregate(&["d", "e", "f"]));
    let world = World::of(ScriptedStream::of(&[(7, &first), (8, b"between"), (9, &last), (10, b"behind")]));
    let run = world.replay(&format!("--shard {SHARD} --from 7:1 --to 9:0"));
    assert_eq!(outcomes(&run), [json!([SHARD, "done", 3, 4, null])], "{}", run.stderr);
    let mut user_records = Vec::new();
    for event in world.kinesis.requests("Invoke") {
        for record in kinesis_handler::Event::parse(event.to_string().as_bytes()).expect("an event").records {
            let data = record.data.decode().expect("base64");
            let mut deaggregator = Deaggregator::default();
            let read = deaggregator.deaggregate(b"k", &data).expect("a valid record");
            for user_record in read {
                user_records.push(format!(
                    "{} {} {}",
                    record.sequence_number,
                    user_record.partition_key_text(),
                    String::from_utf8_lossy(user_record.data)
                ));
            }
        }
    }
    assert_eq!(user_records, ["7 inner b", "7 inner c", "8 k between", "9 inner d"]);
}

#[test]
fn a_record_that_fails_ends_its_shard_and_keeps_its_children_back() {
    let stream = two_shards();
    let world = World::new(move |operation, _, request| match operation {
        "Invoke" => failing(request, &["b"]),
        other => stream.answer(other, request),
    });
    let run = world.replay("--from trim-horizon");
    assert_eq!(run.exit_code, Some(1));
    assert_eq!(outcomes(&run), [json!([SHARD, "failed", 1, 1, "8"]), json!([CHILD, "notBegun", 0, 0, null])]);
    let before = world.events().len();

    // The next run goes on at that record, and not before it.
    let again = world.replay("--from trim-horizon");
    assert!(again.stderr.contains("going on from an earlier run"), "{}", again.stderr);
    assert_eq!(world.events()[before..].first(), Some(&vec!["8 b".to_owned()]));
    // A range of its own has a progress of its own.
    let other = world.replay("--from trim-horizon --to @100");
    assert!(!other.stderr.contains("earlier run"), "{}", other.stderr);
}

#[test]
fn progress_may_have_a_place_of_its_own_and_is_gone_with_success() {
    let world = World::of(two_shards());
    let path = world.folder.path().join("progress");
    let args = format!("--from trim-horizon --progress {}", path.display());
    fs::write(
        &path,
        format!(
            "{}\n{}\n",
            json!({ "run": format!("replay {ARN} from trim-horizon to tip (shards [], checkpoints -) to {}", world.kinesis.url()) }),
            json!({ "of": format!("shard {SHARD}"), "through": "8" }),
        ),
    )
    .expect("a writable folder");
    let run = world.replay(&args);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(world.events(), [vec!["9 c"], vec!["20 x", "21 y"]]);
    assert!(!path.exists());

    fs::write(&path, format!("{}\n", json!({ "run": "something else" }))).expect("a writable folder");
    let run = world.replay(&args);
    assert_eq!(run.exit_code, Some(2));
    assert!(run.stderr.contains("is of another run (something else)"), "{}", run.stderr);
}

#[test]
fn what_the_stream_has_dropped_is_not_called_done() {
    let records: [(u64, &[u8]); 3] = [(7, b"a"), (8, b"b"), (9, b"c")];
    let world = World::of(ScriptedStream::of(&records).trimmed(1));
    let run = world.replay(&format!("--shard {SHARD} --from 7"));
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), vec![json!([SHARD, "lost", 2, 2, null])]));
    assert_eq!(world.events(), [["8 b", "9 c"]]);
    let run = World::of(ScriptedStream::of(&records).trimmed(3)).replay(&format!("--shard {SHARD} --from 9"));
    assert_eq!(outcomes(&run), [json!([SHARD, "lost", 0, 0, null])]);
}

#[test]
fn a_shard_that_never_rests_has_a_tip_all_the_same() {
    let stream = ScriptedStream::of(&[]);
    let world = World::new(move |operation, number, request| match operation {
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        // Each read has a newer record.
        "GetRecords" => {
            let mut record = crate::scripted_kinesis::record(&(number + 7).to_string());
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
            record["ApproximateArrivalTimestamp"] = json!(now.as_secs_f64() + 1.0);
            (
                200,
                json!({ "Records": [record], "NextShardIterator": format!("{SHARD} 0"), "MillisBehindLatest": 0 }),
            )
        }
        other => stream.answer(other, request),
    });
    let run = world.replay("--from trim-horizon");
    assert_eq!(
        (run.exit_code, outcomes(&run)),
        (Some(0), vec![json!([SHARD, "done", 1, 1, null])]),
        "{}",
        run.stderr
    );
}

#[test]
fn a_dry_run_counts_and_event_files_are_no_progress() {
    let world = World::of(two_shards());
    let run = world.replay("--from trim-horizon --dry-run");
    assert_eq!(outcomes(&run), [json!([SHARD, "done", 3, 3, null]), json!([CHILD, "done", 2, 2, null])]);
    assert!(world.events().is_empty());
    assert!(!world.folder.path().join("kinesis-kit").exists());
}

/// The mirror's table has this row, of the only shard.
fn mirrored(row: Value, stream: ScriptedStream) -> World {
    World::new(move |operation, _, request| match operation {
        "Scan" => (200, json!({ "Items": [row], "Count": 1, "ScannedCount": 1 })),
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        other => stream.answer(other, request),
    })
}

fn row(checkpoint: &str, sub: &str) -> Value {
    json!({ "leaseKey": { "S": SHARD }, "checkpoint": { "S": checkpoint }, "leaseCounter": { "N": "3" },
        "checkpointSubSequenceNumber": { "N": sub }, "kitStream": { "S": ARN } })
}

#[test]
fn the_mirror_is_a_bound_on_either_side() {
    let stream = || ScriptedStream::of(&[(7, b"a"), (8, b"b"), (9, b"c")]);
    let to = mirrored(row("8", "0"), stream());
    let run = to.replay("--from trim-horizon --to checkpoint --checkpoint-table leases");
    assert_eq!(outcomes(&run), [json!([SHARD, "done", 2, 2, null])], "{}", run.stderr);
    assert_eq!(to.events(), [["7 a", "8 b"]]);
    assert!(
        run.stderr.contains("warning: whether an event source mapping reads this stream"),
        "{}",
        run.stderr
    );

    let from = mirrored(row("8", "0"), stream());
    let run = from.replay("--from checkpoint --checkpoint-table leases");
    assert_eq!(from.events(), [["9 c"]], "{}", run.stderr);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);

    let nothing = mirrored(row("TRIM_HORIZON", "0"), stream());
    let run = nothing.replay("--from trim-horizon --to checkpoint --checkpoint-table leases");
    assert_eq!(outcomes(&run), [json!([SHARD, "leftOut", 0, 0, null])], "{}", run.stderr);

    let mut other = row("8", "0");
    other["kitStream"]["S"] = json!(format!("{ARN}-2"));
    let run = mirrored(other, stream()).replay("--from checkpoint --checkpoint-table leases");
    assert_eq!(run.exit_code, Some(2));
    assert!(run.stderr.contains("table leases is the mirror of another stream"), "{}", run.stderr);
}

#[test]
fn a_run_that_goes_on_keeps_to_the_checkpoint_that_it_has_begun_with() {
    let stream = ScriptedStream::of(&[(7, b"a"), (8, b"b"), (9, b"c")]);
    let world = World::new(move |operation, number, request| match operation {
        "Scan" => {
            // A live function has gone on in the meantime.
            let row = if number == 0 { row("8", "0") } else { row("9", "0") };
            (200, json!({ "Items": [row], "Count": 1, "ScannedCount": 1 }))
        }
        "Invoke" if number == 0 => failing(request, &["b"]),
        "Invoke" if number == 1 => (500, json!({})),
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        other => stream.answer(other, request),
    });
    let args = "--from trim-horizon --to checkpoint --checkpoint-table leases";
    assert_eq!(world.replay(args).exit_code, Some(1));
    let run = world.replay(args);
    assert_eq!(
        (run.exit_code, outcomes(&run)),
        (Some(0), vec![json!([SHARD, "done", 1, 1, null])]),
        "{}",
        run.stderr
    );
    assert_eq!(world.events().last(), Some(&vec!["8 b".to_owned()]));
}

#[track_caller]
fn check_usage(args: &str, expected: &str) {
    let world = World::of(two_shards());
    let run = world.replay(args);
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.contains(expected), "{}", run.stderr);
    assert!(world.kinesis.requests("GetRecords").is_empty());
}

#[test]
fn what_means_nothing_is_refused() {
    check_usage("--from tip", "there is nothing to replay behind the newest record");
    check_usage("--from 7", "a sequence number is of one shard: name it with --shard");
    check_usage("--from @7 --to @7", "--to is not later than --from");
    check_usage("--from checkpoint", "name the mirror's table with --checkpoint-table");
    check_usage("--from yesterday", "expected trim-horizon, tip, checkpoint, a time such as");
}
