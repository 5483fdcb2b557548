//! `inspect --stream` and `tail` against a Kinesis API that answers as told.

use kpl_deaggregation::{UserRecord, encode};
use serde_json::Value;

use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{ScriptedKinesis, variables},
    scripted_stream::{SHARD, ScriptedStream},
};

fn run(stream: ScriptedStream, args: &str) -> (Run, ScriptedKinesis) {
    let kinesis = ScriptedKinesis::start(move |operation, _, request| stream.answer(operation, request));
    let url = kinesis.url();
    let run = kit_where(&variables(&url), args.split_whitespace(), "");
    (run, kinesis)
}

fn aggregate(texts: &[&str]) -> Vec<u8> {
    encode(texts.iter().map(|text| UserRecord::new(b"inner", text.as_bytes()))).expect("there are some")
}

/// Sequence number, sub-sequence number and data of each line.
fn lines(run: &Run) -> Vec<String> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON lines");
        format!("{} {} {}", line["sequenceNumber"], line["subSequenceNumber"], line["data"])
    };
    run.stdout.lines().map(|text| line(text).replace('"', "")).collect()
}

#[test]
fn a_stream_is_shown_from_its_oldest_record_to_its_newest() {
    let frame = aggregate(&["hello", "\u{1}"]);
    let stream = ScriptedStream::of(&[(7, b"plain"), (8, &frame), (9, b"last")]);
    let (run, kinesis) = run(stream, "inspect --stream orders");
    assert_eq!(
        (run.exit_code, run.stdout.as_str()),
        (
            Some(0),
            "POSITION                  KEY    HASH KEY  ARRIVAL (UTC)            SIZE  AGGREGATED  DATA\n\
             shardId-000000000000/7:0  k      -         1970-01-01 00:00:01.000     5  no          plain\n\
             shardId-000000000000/8:0  inner  -         1970-01-01 00:00:02.000     5  yes         hello\n\
             shardId-000000000000/8:1  inner  -         1970-01-01 00:00:02.000     1  yes         0x01\n\
             shardId-000000000000/9:0  k      -         1970-01-01 00:00:03.000     4  no          last\n"
        )
    );
    assert!(run.stderr.contains("3 Kinesis records, 4 user records, 1 aggregated"), "{}", run.stderr);
    assert_eq!(kinesis.requests("GetShardIterator")[0]["ShardIteratorType"], "TRIM_HORIZON");
}

#[test]
fn a_position_of_the_table_names_a_record_to_show() {
    let shown = |args: &str| {
        let frame = aggregate(&["hello", "world"]);
        let stream = ScriptedStream::of(&[(7, b"plain"), (8, &frame), (9, b"last")]);
        let (run, kinesis) = run(stream, &format!("inspect --stream orders --format json {args}"));
        let request = kinesis.requests("GetShardIterator").first().cloned().unwrap_or_default();
        assert_eq!(request["ShardIteratorType"], "AT_SEQUENCE_NUMBER", "{}", run.stderr);
        assert_eq!(request["ShardId"], SHARD);
        (run.exit_code, lines(&run))
    };
    let two = ["8 0 aGVsbG8=", "8 1 d29ybGQ="].map(str::to_owned);
    assert_eq!(shown(&format!("--at {SHARD}/8:1")), (Some(0), two[1..].to_vec()));
    assert_eq!(shown(&format!("--at {SHARD}/8")), (Some(0), two.to_vec()));
    assert_eq!(shown(&format!("--shard {SHARD} --at 8:0")), (Some(0), two[..1].to_vec()));
    assert_eq!(shown(&format!("--at {SHARD}/8:2")), (Some(1), vec![]));
    let rest = vec![two[1].clone(), "9 0 bGFzdA==".to_owned()];
    assert_eq!(shown(&format!("--from {SHARD}/8:1")), (Some(0), rest));
}

#[test]
fn a_start_may_be_a_duration_ago() {
    let (run, kinesis) = run(ScriptedStream::of(&[(7, b"plain")]), "inspect --stream orders --from 10m");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(kinesis.requests("GetShardIterator")[0]["ShardIteratorType"], "AT_TIMESTAMP");
}

#[test]
fn payloads_are_shown_as_asked_for() {
    let of = |style: &str| {
        let stream = ScriptedStream::of(&[(7, b"ab\x01")]);
        let (run, _) = run(stream, &format!("inspect --stream orders --data {style}"));
        run.stdout.lines().nth(1).and_then(|row| row.rsplit("  ").next()).map(str::to_owned)
    };
    assert_eq!(of("auto").as_deref(), Some("0x616201"));
    assert_eq!(of("hex").as_deref(), Some("0x616201"));
    assert_eq!(of("text").as_deref(), Some("ab\\u{1}"));
}

#[test]
fn it_begins_and_ends_where_it_is_told_to() {
    let stream = || ScriptedStream::of(&[(7, b"a"), (8, b"b"), (9, b"c")]);
    let (at_number, _) =
        run(stream(), &format!("inspect --stream orders --format json --shard {SHARD} --from 8"));
    assert_eq!(lines(&at_number), ["8 0 Yg==", "9 0 Yw=="]);
    let (at_time, _) = run(stream(), "inspect --stream orders --format json --from @3");
    assert_eq!(lines(&at_time), ["9 0 Yw=="]);
    let frame = aggregate(&["a", "b", "c"]);
    let (two, _) = run(
        ScriptedStream::of(&[(7, &frame)]),
        &format!("tail --stream orders --shard {SHARD} --from trim-horizon --count 2 --format json"),
    );
    assert_eq!((two.exit_code, lines(&two)), (Some(0), vec!["7 0 YQ==".to_owned(), "7 1 Yg==".to_owned()]));
    assert!(!two.stderr.contains("have ended"), "{}", two.stderr);
    let (none, _) = run(stream(), "tail --stream orders --for 1 --format json");
    assert_eq!((none.exit_code, lines(&none)), (Some(0), Vec::new()));
}

#[test]
fn children_come_behind_their_parents() {
    let stream = ScriptedStream::default()
        .with_shard("shardId-000000000001", Some(SHARD), false, &[(20, b"child")])
        .with_shard(SHARD, None, true, &[(7, b"a"), (8, b"b"), (9, b"c")]);
    let (run, _) = run(stream, "inspect --stream orders --format json");
    assert_eq!(lines(&run), ["7 0 YQ==", "8 0 Yg==", "9 0 Yw==", "20 0 Y2hpbGQ="]);
}

#[test]
fn a_shard_that_is_split_is_followed_into_its_children() {
    let parent = ScriptedStream::default().with_shard(SHARD, None, true, &[(7, b"a")]);
    let both = parent.clone().with_shard("shardId-000000000001", Some(SHARD), true, &[(20, b"child")]);
    let kinesis = ScriptedKinesis::start(move |operation, number, request| match (operation, number) {
        ("ListShards", 0) => parent.answer(operation, request),
        _ => both.answer(operation, request),
    });
    let url = kinesis.url();
    let run =
        kit_where(&variables(&url), "tail --stream orders --from trim-horizon --format json".split(' '), "");
    assert_eq!(
        (run.exit_code, lines(&run)),
        (Some(0), vec!["7 0 YQ==".to_owned(), "20 0 Y2hpbGQ=".to_owned()])
    );
    assert!(run.stderr.contains("all shards have ended"), "{}", run.stderr);
}

#[test]
fn an_invalid_aggregate_is_marked() {
    // A frame with a right digest and an empty record.
    let mut frame = aggregate(&["x"]);
    frame.truncate(4);
    frame.extend_from_slice(&[0x1a, 0x00]);
    frame.extend_from_slice(&MD5);
    let (run, _) = run(ScriptedStream::of(&[(7, &frame), (8, b"b")]), "inspect --stream orders");
    assert_eq!(run.exit_code, Some(1));
    assert!(run.stdout.contains("INVALID: aggregated record is invalid: "), "{}", run.stdout);
    assert!(run.stdout.ends_with("  b\n"), "{}", run.stdout);
}

/// The digest of `1a 00`.
const MD5: [u8; 16] =
    [0x76, 0xe8, 0x53, 0x5d, 0x92, 0x9e, 0xf4, 0xb7, 0x21, 0xaa, 0x31, 0xf7, 0xdd, 0x3c, 0x5e, 0xe6];

#[track_caller]
fn check_usage(args: &str, expected: &str) {
    let (run, kinesis) = run(ScriptedStream::of(&[(7, b"a")]), args);
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.contains(expected), "{}", run.stderr);
    assert!(kinesis.requests("GetRecords").is_empty());
}

#[test]
fn what_means_nothing_is_refused() {
    check_usage(
        "inspect --stream orders --from 7",
        "7 names no shard: write SHARD/7, or name the shard with --shard",
    );
    check_usage("inspect --stream orders --at 7:2", "7:2 names no shard: write SHARD/7:2, or name the shard");
    check_usage("inspect --stream orders --shard nothing", "the stream has no shard nothing");
    check_usage("inspect --stream orders --from checkpoint", "expected trim-horizon, latest, a time such as");
    check_usage("inspect --from latest", "--stream <NAME>");
    check_usage("inspect --stream orders event.json", "cannot be used with");
}
