//! A range of a stream, once more, and nothing lost by it: with a stand-in for Kinesis and a real function.

use std::collections::BTreeMap;

use crate::{
    emulator::wait_for,
    operator::{Operator, STREAM},
};

const PARENT: &str = "shardId-000000000000";

/// A stream of two shards, one of which is split in between: so many user records before and after, plain and aggregated.
fn resharded(operator: &Operator, user_records: usize) -> Vec<String> {
    let all: Vec<String> = (0..2 * user_records).map(|number| format!("r{number:05}")).collect();
    let put = |user_records: &[String]| {
        for (number, group) in user_records.chunks(10).enumerate() {
            let hash_key = Some((number as u128 % 4) << 126);
            match number % 5 {
                0 => group.iter().for_each(|text| {
                    operator.kinesis.put(STREAM, "k", hash_key, text.as_bytes());
                }),
                _ => {
                    operator.kinesis.put_aggregate(STREAM, hash_key, group);
                }
            }
        }
    };
    put(&all[..user_records]);
    operator.kinesis.split_shard(STREAM, PARENT);
    put(&all[user_records..]);
    all
}

fn counted(processed: Vec<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for text in processed {
        *counts.entry(text).or_default() += 1;
    }
    counts
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn a_resharded_stream_is_replayed_once_and_parents_first() {
    let operator = Operator::start(2);
    let all = resharded(&operator, 300);
    let replay = format!(
        "replay --stream {STREAM} --from trim-horizon --reads-per-second 20 --batch-size 20 --format json"
    );
    let run = operator.kit_mended(&replay);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(run.lines().len(), 4, "{}", run.stdout);
    let processed = operator.processed();
    // Two shards have been split out of the first: what they hold came behind it.
    let position = |text: &String| processed.iter().position(|of| of == text).expect("it is processed");
    let (of_parent, of_child) = (position(&all[0]), position(&all[300]));
    assert!(of_parent < of_child);
    let counts = counted(processed);
    assert_eq!(counts.keys().cloned().collect::<Vec<_>>(), all);
    assert!(counts.values().all(|times| *times == 1), "nothing comes twice");
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn a_replay_that_is_killed_goes_on_where_it_was() {
    const BATCH: usize = 5;
    let operator = Operator::start(2);
    let all = resharded(&operator, 300);
    let replay =
        format!("replay --stream {STREAM} --from trim-horizon --reads-per-second 20 --batch-size {BATCH}");
    for processed in [50, 150] {
        let mut run = operator.spawn_mended(&replay);
        wait_for("some user records", || operator.processed().len() >= processed);
        run.kill().expect("it runs");
        run.wait().expect("it ends");
    }
    let run = operator.kit_mended(&replay);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("going on from an earlier run"), "{}", run.stderr);
    let counts = counted(operator.processed());
    assert_eq!(counts.keys().cloned().collect::<Vec<_>>(), all, "nothing is lost");
    // With each kill, at most the batch under way of each shard, whose Kinesis records have ten user records.
    let twice: usize = counts.values().map(|times| times - 1).sum();
    assert!(twice <= 2 * 4 * BATCH * 10, "{twice}");
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn what_is_put_is_seen_and_can_be_put_again() {
    let operator = Operator::start(1);
    let input = operator.path("input.jsonl");
    let lines: Vec<String> =
        (0..50).map(|number| format!(r#"{{"partitionKey":"k{number}","text":"r{number}"}}"#)).collect();
    std::fs::write(&input, lines.join("\n")).expect("a writable folder");
    let put = operator.kit(&format!("put --stream copy --create 4 {}", input.display()), &[]);
    assert_eq!(put.exit_code, Some(0), "{}", put.stderr);
    assert!(put.stderr.contains("making stream copy with 4 shards"), "{}", put.stderr);
    assert!(put.stderr.contains("put 50 user records in 4 Kinesis records"), "{}", put.stderr);

    let seen = operator.kit("inspect --stream copy --format json", &[]);
    assert_eq!(seen.exit_code, Some(0), "{}", seen.stderr);
    let mut keys: Vec<_> =
        seen.lines().iter().map(|line| line["partitionKey"].as_str().expect("text").to_owned()).collect();
    keys.sort();
    let mut expected: Vec<_> = (0..50).map(|number| format!("k{number}")).collect();
    expected.sort();
    assert_eq!(keys, expected);

    // What inspect prints is an input.
    std::fs::write(&input, &seen.stdout).expect("a writable folder");
    let again = operator.kit(&format!("put --stream copy {}", input.display()), &[]);
    assert!(again.stderr.contains("put 50 user records in 4 Kinesis records"), "{}", again.stderr);
    let tail = operator.kit("tail --stream copy --from trim-horizon --count 100 --format json", &[]);
    assert_eq!((tail.exit_code, tail.lines().len()), (Some(0), 100), "{}", tail.stderr);
}
