//! `replay` against a Kinesis API that answers as told. Whole APIs are in the tests of the kit.

use std::fs;

use base64::Engine;
use kpl_deaggregation::{Deaggregator, UserRecord, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    kit::{Run, kit_unread, kit_where},
    scripted_kinesis::{Answer, ScriptedKinesis, error, variables},
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
    encode(texts.iter().map(|text| UserRecord::new(b"inner", text.as_bytes()))).expect("there are some")
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
    assert_eq!(
        outcomes(&run),
        [json!([SHARD, "processed", 3, 3, null]), json!([CHILD, "processed", 2, 2, null])]
    );
    // A read at a time, as the mapping does without a batching window.
    assert_eq!(world.events(), [vec!["7 a", "8 b"], vec!["9 c"], vec!["20 x", "21 y"]]);
    let event = &world.kinesis.requests("Invoke")[0];
    assert_eq!(event["kinesisKit"], json!({ "mode": "reprocess" }));
    assert_eq!(event["Records"][0]["eventSourceARN"], ARN);
    assert!(
        run.stderr.ends_with("5 user records in 5 Kinesis records, of 2 shards, 2 processed\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn times_are_bounds() {
    let world = World::of(two_shards());
    // Records arrive at 1, 2 and 3 seconds past the beginning of 1970.
    let run = world.replay("--from @2 --to 1970-01-01T00:00:03Z");
    assert_eq!(
        outcomes(&run),
        [json!([SHARD, "processed", 1, 1, null]), json!([CHILD, "processed", 1, 1, null])]
    );
    assert_eq!(world.events(), [vec!["8 b"], vec!["21 y"]]);
}

#[test]
fn aggregates_are_cut_at_both_bounds() {
    let (first, last) = (aggregate(&["a", "b", "c"]), aggregate(&["d", "e", "f"]));
    let world = World::of(ScriptedStream::of(&[(7, &first), (8, b"between"), (9, &last), (10, b"behind")]));
    let run = world.replay(&format!("--shard {SHARD} --from 7:1 --to 9:0"));
    assert_eq!(outcomes(&run), [json!([SHARD, "processed", 3, 4, null])], "{}", run.stderr);
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
fn a_duration_ago_is_the_same_time_for_the_next_run() {
    let stream = ScriptedStream::of(&[(7, b"a")]);
    let world = World::new(move |operation, _, request| match operation {
        "GetRecords" => error(400, "AccessDeniedException"),
        other => stream.answer(other, request),
    });
    for _ in 0..2 {
        assert_eq!(world.replay("--from 10m").exit_code, Some(1));
    }
    let begun = world.kinesis.requests("GetShardIterator");
    let times: Vec<&Value> = begun.iter().map(|request| &request["Timestamp"]).collect();
    assert!(times.len() == 2 && times[0] == times[1] && times[0].is_number(), "{times:?}");
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
            json!({ "run": format!("replay {ARN} from trim-horizon to latest (shards [], checkpoints -) to {}", world.kinesis.url()) }),
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
        (Some(0), vec![json!([SHARD, "processed", 1, 1, null])]),
        "{}",
        run.stderr
    );
}

#[test]
fn a_dry_run_counts_and_event_files_are_no_progress() {
    let world = World::of(two_shards());
    let run = world.replay("--from trim-horizon --dry-run");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(outcomes(&run), [json!([SHARD, "found", 3, 3, null]), json!([CHILD, "found", 2, 2, null])]);
    assert!(run.stderr.ends_with(", of 2 shards, 2 found\n"), "{}", run.stderr);
    let (url, events) = (world.kinesis.url(), world.folder.path().join("events"));
    let args =
        format!("replay --stream orders --format json --from trim-horizon --events {}", events.display());
    let run = kit_where(&variables(&url), args.split_whitespace(), "");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(
        outcomes(&run),
        [json!([SHARD, "written", 3, 3, null]), json!([CHILD, "written", 2, 2, null])]
    );
    assert!(world.events().is_empty());
    assert!(!world.folder.path().join("kinesis-kit").exists());
}

/// The mirror's table has this row, of the only shard.
fn mirrored(row: Value, stream: ScriptedStream) -> World {
    with_table(vec![row], stream)
}

/// The checkpoint table has these rows.
fn with_table(rows: Vec<Value>, stream: ScriptedStream) -> World {
    World::new(move |operation, _, request| match operation {
        "Scan" => (200, json!({ "Items": rows, "Count": rows.len(), "ScannedCount": rows.len() })),
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        other => stream.answer(other, request),
    })
}

fn row(checkpoint: &str, sub: &str) -> Value {
    row_of(SHARD, checkpoint, sub)
}

fn row_of(lease_key: &str, checkpoint: &str, sub: &str) -> Value {
    json!({ "leaseKey": { "S": lease_key }, "checkpoint": { "S": checkpoint }, "leaseCounter": { "N": "3" },
        "checkpointSubSequenceNumber": { "N": sub }, "kitStream": { "S": ARN } })
}

#[test]
fn the_mirror_is_a_bound_on_either_side() {
    let stream = || ScriptedStream::of(&[(7, b"a"), (8, b"b"), (9, b"c")]);
    let to = mirrored(row("8", "0"), stream());
    let run = to.replay("--from trim-horizon --to checkpoint --checkpoint-table leases");
    assert_eq!(outcomes(&run), [json!([SHARD, "processed", 2, 2, null])], "{}", run.stderr);
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
        (Some(0), vec![json!([SHARD, "processed", 1, 1, null])]),
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
    check_usage("--from latest", "there is nothing to replay behind the newest record");
    check_usage("--from 7", "7 names no shard: write SHARD/7, or name the shard with --shard");
    check_usage("--from @7 --to @7", "--to is not later than --from");
    check_usage("--from checkpoint", "name the mirror's table with --checkpoint-table");
    check_usage("--from yesterday", "expected trim-horizon, latest, checkpoint, a time such as");
}

const FROM_CHECKPOINT: &str = "--from checkpoint --checkpoint-table leases";

#[test]
fn a_processed_record_that_has_left_the_stream_is_no_loss_and_children_begin() {
    // An idle shard.
    let idle = ScriptedStream::of(&[(7, b"a")]).trimmed(1);
    let run = mirrored(row("7", "0"), idle).replay(FROM_CHECKPOINT);
    assert_eq!((run.exit_code, outcomes(&run)), (Some(0), vec![json!([SHARD, "processed", 0, 0, null])]));
    assert!(run.stderr.contains("record 7 is processed and has left the stream"), "{}", run.stderr);

    // One that has received more since then.
    let busy = ScriptedStream::of(&[(7, b"a"), (8, b"b")]).trimmed(1);
    let world = mirrored(row("7", "0"), busy);
    let run = world.replay(FROM_CHECKPOINT);
    assert_eq!((run.exit_code, world.events()), (Some(0), vec![vec!["8 b".to_owned()]]), "{}", run.stderr);
    assert!(run.stderr.contains("record 7 is processed and has left the stream"), "{}", run.stderr);

    // A closed one, whose child nobody has begun.
    let drained = ScriptedStream::default()
        .with_shard(SHARD, None, true, &[(7, b"a"), (8, b"b")])
        .with_shard(CHILD, Some(SHARD), false, &[(20, b"x")])
        .trimmed(2);
    let world = mirrored(row("8", "0"), drained);
    let run = world.replay(FROM_CHECKPOINT);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(
        outcomes(&run),
        [json!([SHARD, "processed", 0, 0, null]), json!([CHILD, "processed", 1, 1, null])]
    );
    assert_eq!(world.events(), [["20 x"]]);
}

#[test]
fn a_run_is_resumed_although_its_last_record_has_left_the_stream() {
    let stream = ScriptedStream::of(&[(7, b"a"), (8, b"b")]).trimmed(2);
    let world = World::of(stream);
    let path = world.folder.path().join("progress");
    let head = format!(
        "replay {ARN} from trim-horizon to latest (shards [], checkpoints -) to {}",
        world.kinesis.url()
    );
    let lines = [json!({ "run": head }), json!({ "of": format!("shard {SHARD}"), "through": "8" })];
    fs::write(&path, format!("{}\n{}\n", lines[0], lines[1])).expect("a writable folder");
    let run = world.replay(&format!("--from trim-horizon --progress {}", path.display()));
    assert_eq!((run.exit_code, outcomes(&run)), (Some(0), vec![json!([SHARD, "processed", 0, 0, null])]));
    assert!(!path.exists());
}

/// The table is refused for both ends of a range, and nothing is read.
#[track_caller]
fn check_refused(rows: &[Value], expected: &str) {
    for range in ["--from checkpoint", "--from trim-horizon --to checkpoint"] {
        let world = with_table(rows.to_vec(), two_shards());
        let run = world.replay(&format!("{range} --checkpoint-table leases"));
        assert_eq!((run.exit_code, run.stdout.as_str()), (Some(2), ""), "{}", run.stderr);
        assert!(run.stderr.contains(expected), "{}", run.stderr);
        assert!(world.kinesis.requests("GetRecords").is_empty());
    }
}

#[test]
fn a_table_without_a_row_of_the_stream_is_refused() {
    let none = |found: &str| format!("table leases has no row of a shard of {ARN}: {found}");
    check_refused(&[], &none("it is empty"));
    let of_others = row_of("shardId-000000000009", "8", "0");
    check_refused(&[of_others], &none("it has 1 row, such as shardId-000000000009"));
    let key = format!("123456789012:orders:1767225600:{SHARD}");
    let expected = none(&format!("it has 1 row, such as {key}, of a KCL for several streams"));
    check_refused(&[row_of(&key, "8", "0")], &expected);
    let go_kcl = json!({ "ShardID": { "S": SHARD }, "Checkpoint": { "S": "8" } });
    check_refused(&[go_kcl], &none("it has 1 row without a key leaseKey"));
    let leader = json!({ "leaseKey": { "S": "Leader" }, "entityType": { "S": "LEADER" } });
    check_refused(&[leader], &none("it is empty"));
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let broken = |key: &str| json!({ "leaseKey": { "S": key }, "leaseCounter": { "N": "1" } });
    let expected = format!("table leases: row {SHARD} cannot be read");
    check_refused(&[broken(SHARD), row_of(CHILD, "20", "0")], &expected);

    let rows = vec![broken("orders-worker"), row("9", "0"), row_of(CHILD, "20", "0")];
    let world = with_table(rows, two_shards());
    let run = world.replay(FROM_CHECKPOINT);
    assert_eq!((run.exit_code, world.events()), (Some(0), vec![vec!["21 y".to_owned()]]), "{}", run.stderr);
    assert!(
        run.stderr.contains("warning: table leases: row orders-worker cannot be read: "),
        "{}",
        run.stderr
    );
}

#[test]
fn a_shard_of_which_no_row_tells_anything_is_named_before_all_of_it_is_replayed() {
    let stream = ScriptedStream::of(&[(7, b"a"), (8, b"b")]).with_shard(CHILD, None, false, &[(20, b"x")]);
    let world = mirrored(row("8", "0"), stream);
    let run = world.replay(FROM_CHECKPOINT);
    assert_eq!((run.exit_code, world.events()), (Some(0), vec![vec!["20 x".to_owned()]]), "{}", run.stderr);
    let warning = format!("warning: shard {CHILD} has no checkpoint: everything in it is replayed");
    assert!(run.stderr.contains(&warning), "{}", run.stderr);
    assert!(!run.stderr.contains(&format!("shard {SHARD} has no checkpoint")), "{}", run.stderr);
}

#[test]
fn a_checkpoint_that_was_no_position_is_none_after_a_resumption_either() {
    let stream = ScriptedStream::of(&[(7, b"a"), (8, b"b")]).with_shard(CHILD, None, false, &[(20, b"x")]);
    let world = World::new(move |operation, number, request| match operation {
        "Scan" => {
            let rows = [row_of(SHARD, "LATEST", "0"), row_of(CHILD, "TRIM_HORIZON", "0")];
            (200, json!({ "Items": rows, "Count": 2, "ScannedCount": 2 }))
        }
        "Invoke" if number == 0 => failing(request, &["x"]),
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        other => stream.answer(other, request),
    });
    assert_eq!(world.replay(FROM_CHECKPOINT).exit_code, Some(1));
    let run = world.replay(FROM_CHECKPOINT);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(world.events(), [["20 x"], ["20 x"]]);
}

#[test]
fn a_checkpoint_that_kinesis_refuses_is_the_outcome_of_its_shard() {
    let stream = ScriptedStream::of(&[(7, b"a")]).with_shard(CHILD, None, false, &[(20, b"x"), (21, b"y")]);
    let rows = [row("8", "0"), row_of(CHILD, "20", "0")];
    let world = World::new(move |operation, _, request| match operation {
        "Scan" => (200, json!({ "Items": rows, "Count": 2, "ScannedCount": 2 })),
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        "GetShardIterator" if request["ShardId"] == SHARD => error(400, "InvalidArgumentException"),
        other => stream.answer(other, request),
    });
    let run = world.replay(FROM_CHECKPOINT);
    assert_eq!((run.exit_code, world.events()), (Some(1), vec![vec!["21 y".to_owned()]]), "{}", run.stderr);
    let mut outcomes = outcomes(&run);
    outcomes.sort_by_key(|outcome| outcome[0].to_string());
    assert_eq!(outcomes, [json!([SHARD, "unreadable", 0, 0, null]), json!([CHILD, "processed", 1, 1, null])]);
    assert!(run.stdout.contains("InvalidArgumentException: asked to"), "{}", run.stdout);
}

#[test]
fn a_run_that_ends_early_reports_what_was_delivered() {
    let stream = ScriptedStream::of(&[(7, b"a"), (8, b"b"), (9, b"c")]);
    let world = World::new(move |operation, number, request| match operation {
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        // The first read returns none, the second one two records.
        "GetRecords" if number == 2 => error(400, "ExpiredTokenException"),
        other => stream.answer(other, request),
    });
    let run = world.replay("--from trim-horizon");
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), vec![json!([SHARD, "unreadable", 2, 2, null])]));
    assert!(
        run.stderr.contains("2 user records in 2 Kinesis records, of 1 shard, 0 processed"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("the same command resumes from here: "), "{}", run.stderr);

    // It does.
    let run = world.replay("--from trim-horizon");
    assert_eq!((run.exit_code, outcomes(&run)), (Some(0), vec![json!([SHARD, "processed", 1, 1, null])]));
    assert_eq!(world.events().last(), Some(&vec!["9 c".to_owned()]));
}

#[test]
fn an_output_that_is_closed_is_unfinished_work() {
    let world = World::of(two_shards());
    let url = world.kinesis.url();
    let mut variables = variables(&url);
    variables.push(("XDG_STATE_HOME", world.folder.path().to_str().expect("a plain path")));
    let args = format!(
        "replay --stream orders --from trim-horizon --format json --reads-per-second 1000 --url {url}"
    );
    let run = kit_unread(&variables, args.split_whitespace(), "");
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("3 user records in 3 Kinesis records"), "{}", run.stderr);
    assert!(run.stderr.contains("the same command resumes from here: "), "{}", run.stderr);
    assert!(run.stderr.contains("cannot write to standard output"), "{}", run.stderr);
}

#[test]
fn a_record_that_never_succeeds_is_named_with_the_reason() {
    let stream = two_shards();
    let world = World::new(move |operation, _, request| match operation {
        "Invoke" => failing(request, &["b"]),
        other => stream.answer(other, request),
    });
    let run = world.replay("--from trim-horizon");
    let expected = format!(
        "kinesis-kit: stopped at {SHARD}/8: the function reported it in batchItemFailures, without a reason\n"
    );
    assert!(run.stderr.contains(&expected), "{}", run.stderr);

    // The kit's handler says why.
    let stream = two_shards();
    let world = World::new(move |operation, _, request| match operation {
        "Invoke" => {
            let (status, mut response) = failing(request, &["b"]);
            let failed = json!({ "sequenceNumber": "8", "subSequenceNumber": 0, "error": "no \u{1b}amount" });
            response["kinesisKit"] = json!({ "quarantined": [], "failed": failed });
            (status, response)
        }
        other => stream.answer(other, request),
    });
    let run = world.replay("--from trim-horizon");
    let expected = format!("kinesis-kit: stopped at {SHARD}/8:0: no \\u{{1b}}amount\n");
    assert!(run.stderr.contains(&expected), "{}", run.stderr);
    let line: Value = serde_json::from_str(run.stdout.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&line["failedSubSequenceNumber"], &line["error"]), (&json!(0), &json!("no \\u{1b}amount")));

    let large = vec![b'x'; 5_000_000];
    let stream = ScriptedStream::of(&[(7, &large)]);
    let world = World::new(move |operation, _, request| match operation {
        "Invoke" => (413, json!({ "errorType": "RequestTooLarge", "errorMessage": "too large" })),
        other => stream.answer(other, request),
    });
    let run = world.replay("--from trim-horizon");
    assert_eq!(outcomes(&run), [json!([SHARD, "failed", 0, 0, "7"])], "{}", run.stderr);
    let error = run
        .stderr
        .lines()
        .find(|line| line.contains(&format!("stopped at {SHARD}/7: ")))
        .expect("it is named");
    assert!(
        error.contains("; its event has 66") && error.ends_with(" bytes, and Lambda takes 6291456"),
        "{error}"
    );
}

#[test]
fn restart_leaves_a_file_alone_that_is_no_progress_file() {
    let world = World::of(two_shards());
    let path = world.folder.path().join("orders.txt");
    fs::write(&path, "something else\n").expect("a writable folder");
    let run = world.replay(&format!("--from trim-horizon --restart --progress {}", path.display()));
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.contains("is no progress file: line 1 cannot be read"), "{}", run.stderr);
    assert_eq!(fs::read(&path).expect("it is there"), b"something else\n");
    assert!(world.events().is_empty());
}

#[test]
fn user_records_that_the_function_quarantines_are_counted() {
    let stream = ScriptedStream::of(&[(7, b"a"), (8, b"b"), (9, b"c")]);
    let world = World::new(move |operation, number, request| match operation {
        "Invoke" => {
            let of = [("7", 2), ("9", 3)][number];
            let quarantined = json!([{ "sequenceNumber": of.0, "records": of.1 }]);
            let member = json!({ "quarantinedRecords": of.1, "quarantined": quarantined });
            (200, json!({ "batchItemFailures": [], "kinesisKit": member }))
        }
        other => stream.answer(other, request),
    });
    let run = world.replay("--from trim-horizon");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains(r#""userRecords":3,"quarantined":5"#), "{}", run.stdout);
    assert!(run.stderr.contains("1 processed, 5 user records quarantined"), "{}", run.stderr);
    let silent = World::of(two_shards()).replay("--from trim-horizon");
    assert!(silent.stdout.contains(r#""quarantined":null"#), "{}", silent.stdout);
    assert!(!silent.stderr.contains("quarantined"), "{}", silent.stderr);
}

#[test]
fn an_emulator_that_returns_a_record_again_delivers_it_once() {
    let stream = ScriptedStream::of(&[(7, b"a"), (8, b"b"), (9, b"c")]);
    let world = World::new(move |operation, number, request| match (operation, number) {
        ("Invoke", _) => (200, json!({ "batchItemFailures": [] })),
        // The first read returns none, the second one two records.
        ("GetRecords", 2) => error(400, "ExpiredIteratorException"),
        ("GetShardIterator", 1) => {
            assert_eq!(request["ShardIteratorType"], "AFTER_SEQUENCE_NUMBER");
            let mut request = request.clone();
            request["ShardIteratorType"] = json!("AT_SEQUENCE_NUMBER");
            stream.answer(operation, &request)
        }
        _ => stream.answer(operation, request),
    });
    let run = world.replay("--from trim-horizon");
    assert_eq!((run.exit_code, outcomes(&run)), (Some(0), vec![json!([SHARD, "processed", 3, 3, null])]));
    assert_eq!(world.events(), [vec!["7 a", "8 b"], vec!["9 c"]]);
}

/// Whether a replay up to the checkpoint warns of this mapping, which is found by its event source alone.
#[track_caller]
fn check_warning(function_arn: &str, state: &str, warns: bool) {
    let stream = ScriptedStream::of(&[(7, b"a")]);
    let mapping = json!({ "UUID": "1", "FunctionArn": function_arn, "State": state });
    let lambda = ScriptedKinesis::start(move |operation, number, request| match operation {
        "Scan" => (200, json!({ "Items": [row("7", "0")], "Count": 1, "ScannedCount": 1 })),
        "ListStreamConsumers" => {
            let consumer = json!({ "ConsumerARN": format!("{ARN}/consumer/c:1"), "ConsumerName": "c",
                "ConsumerStatus": "ACTIVE", "ConsumerCreationTimestamp": 1_767_225_600.0 });
            (200, json!({ "Consumers": [consumer] }))
        }
        // The stream itself has none, its consumer has one.
        operation if operation.contains("event-source-mappings") => {
            let mappings = if number == 1 { vec![mapping.clone()] } else { Vec::new() };
            (200, json!({ "EventSourceMappings": mappings }))
        }
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        other => stream.answer(other, request),
    });
    let url = lambda.url();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut variables = variables(&url);
    variables.push(("XDG_STATE_HOME", folder.path().to_str().expect("a plain path")));
    let args = "replay --stream orders --from trim-horizon --to checkpoint --checkpoint-table leases --function orders";
    let run = kit_where(&variables, args.split_whitespace(), "");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let warning = "warning: the function's event source mapping is not disabled";
    assert_eq!(run.stderr.contains(warning), warns, "{}", run.stderr);
}

#[test]
fn a_mapping_of_an_alias_through_a_consumer_is_warned_of() {
    let arn = |name: &str| format!("arn:aws:lambda:eu-west-1:123456789012:function:{name}");
    check_warning(&arn("orders:live"), "Enabled", true);
    check_warning(&arn("orders:7"), "Enabled", true);
    check_warning(&arn("orders"), "Enabled", true);
    check_warning(&arn("orders:live"), "Disabled", false);
    check_warning(&arn("other:orders"), "Enabled", false);
}

#[test]
fn an_aggregate_that_no_event_holds_comes_in_parts() {
    let texts: Vec<String> = (0..5).map(|index| format!("{index}{}", " ".repeat(2 * 1024 * 1024))).collect();
    let large = aggregate(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let stream = ScriptedStream::of(&[(7, b"a"), (8, &large), (9, b"b")]);
    let first_sub = |request: &Value| {
        let data = request["Records"][0]["kinesis"]["data"].as_str().expect("base64");
        let data = base64::prelude::BASE64_STANDARD.decode(data).expect("base64");
        let mut deaggregator = Deaggregator::default();
        let mut user_records = deaggregator.deaggregate(b"inner", &data).expect("a valid record");
        String::from_utf8_lossy(&user_records.next().expect("a user record").data[..1]).into_owned()
    };
    let world = World::new(move |operation, number, request| match operation {
        // The last part fails in the first run.
        "Invoke" if number == 3 => (200, json!({ "batchItemFailures": [{ "itemIdentifier": "8" }] })),
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        other => stream.answer(other, request),
    });
    let run = world.replay("--from trim-horizon --split");
    assert_eq!(outcomes(&run), [json!([SHARD, "failed", 1, 5, "8"])], "{}", run.stderr);
    let run = world.replay("--from trim-horizon --split");
    assert_eq!(outcomes(&run), [json!([SHARD, "processed", 2, 6, null])], "{}", run.stderr);
    let events: Vec<String> = world.kinesis.requests("Invoke").iter().map(first_sub).collect();
    // All of the record again: it was not processed.
    assert_eq!(events, ["a", "0", "2", "4", "0", "2", "4", "b"]);
}
