//! The kit for the tests of a processor: the fate of each user record.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use kinesis_handler::{
    ChunkOutcome, Chunks, Handler, ProcessError, Record, WindowProcessor, Windows,
    event::TumblingWindow,
    journal::MemoryJournal,
    permanent, retryable,
    testing::{TestBatch, TestRecord},
};
use serde::{Deserialize, Serialize};

use crate::options::TestOptions;

/// Fails for `busy` and `bad`, panics for `panic`, and processes the others.
async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    tokio::task::yield_now().await;
    match record.text()? {
        "busy" => Err(retryable("asked to")),
        "bad" => Err(permanent("malformed")),
        "panic" => panic!("asked to"),
        _ => Ok(()),
    }
}

fn with_quarantine() -> TestOptions {
    TestOptions {
        application: Some("orders".to_owned()),
        journal: Some(Arc::new(MemoryJournal::default())),
        quarantine: true,
        ..TestOptions::default()
    }
}

#[tokio::test]
async fn a_run_says_what_became_of_each_user_record() {
    let run = TestBatch::new().record("a").aggregate(["b", "busy", "c"]).record("d").run(process).await;
    run.assert_fates(&["processed", "processed", "failed: asked to", "not reached", "not reached"]);
    assert_eq!((run.reported(), run.response().counts().failed), (Some(2), 1));
    let positions: Vec<_> = run.outcome().records.iter().map(|record| record.position.to_string()).collect();
    assert_eq!(positions, ["1:0", "2:0", "2:1", "2:2", "3:0"]);

    let run = TestBatch::new().record("a").invalid_aggregate().record("b").run(process).await;
    assert_eq!(run.reported(), Some(2));
    let fates = run.fates();
    assert!(fates[1].starts_with("failed: aggregated record is invalid: "), "{fates:?}");
    assert_eq!((&*fates[0], &*fates[2]), ("processed", "not reached"));

    let run = TestBatch::new().record("panic").run(process).await;
    run.assert_fates(&["failed: processor panicked: asked to"]);
    let run = TestBatch::new().record("a").record("b").run(process).await;
    run.assert_fates(&["processed", "processed"]);
    assert_eq!(run.reported(), None);
}

#[tokio::test]
#[should_panic(expected = "1:0 processed")]
async fn a_fate_that_is_not_the_expected_one_is_shown_with_its_position() {
    TestBatch::new().record("a").run(process).await.assert_fates(&["failed: asked to"]);
}

#[tokio::test]
async fn the_quarantine_and_the_journal_are_seen() {
    for concurrency in [None, Some(4)] {
        let options = TestOptions { concurrency, ..with_quarantine() };
        let handler = Handler::with_options(process, options.build());
        let keyed = |key: &str, data| TestRecord::new(data).partition_key(key);
        let batch = TestBatch::new().record(keyed("a", "1")).aggregate([
            keyed("b", "bad"),
            keyed("c", "2"),
            keyed("d", "busy"),
            keyed("d", "3"),
        ]);
        let processed =
            ["processed", "quarantined: malformed", "processed", "failed: asked to", "not reached"];
        let run = batch.run_with(&handler).await;
        run.assert_fates(&processed);
        assert_eq!(run.reported(), Some(2));
        let run = batch.run_with(&handler).await;
        run.assert_fates(&["processed", "skipped", "skipped", "failed: asked to", "not reached"]);
    }
}

#[tokio::test]
async fn the_rest_of_an_aggregate_and_records_processed_ahead_are_seen() {
    let options = TestOptions { quarantine_limit: Some(1), ..with_quarantine() };
    let handler = Handler::with_options(process, options.build());
    let batch = TestBatch::new().aggregate(["bad", "a", "bad", "b"]).record("c");
    let run = batch.run_with(&handler).await;
    run.assert_fates(&[
        "quarantined: malformed",
        "processed",
        "quarantined: malformed",
        "quarantined: malformed",
        "processed",
    ]);

    let each = async |chunk: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
        let mut results = Vec::new();
        for record in chunk {
            results.push(process(*record).await);
        }
        Ok(ChunkOutcome::Each(results))
    };
    let run = TestBatch::new().aggregate(["a", "busy", "b"]).record("bad").run(Chunks::new(each)).await;
    run.assert_fates(&["processed", "failed: asked to", "processed", "failed: malformed"]);
    assert_eq!(run.reported(), Some(1));
}

#[tokio::test]
async fn the_rest_of_an_aggregate_has_none_that_was_processed_before() {
    let options = TestOptions { quarantine_limit: Some(1), ..with_quarantine() };
    let is_down = AtomicBool::new(true);
    let each = async |chunk: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
        let outcome = |record: &Record<'_>| match record.data() {
            b"bad" if is_down.load(Ordering::Relaxed) => Err(retryable("busy")),
            b"bad" => Err(permanent("malformed")),
            _ => Ok(()),
        };
        Ok(ChunkOutcome::Each(chunk.iter().map(outcome).collect()))
    };
    let handler = Handler::try_with_options(Chunks::new(each), options.build()).expect("suitable options");
    let batch = TestBatch::new().aggregate(["bad", "a", "bad", "b", "bad"]);
    let busy = "failed: busy";
    batch.run_with(&handler).await.assert_fates(&[busy, "processed", busy, "processed", busy]);
    is_down.store(false, Ordering::Relaxed);
    let malformed = "quarantined: malformed";
    batch.run_with(&handler).await.assert_fates(&[malformed, "skipped", malformed, "skipped", malformed]);
}

#[tokio::test]
async fn a_record_knows_its_keys_its_shard_and_its_age() {
    let check = async |record: Record<'_>| -> Result<(), ProcessError> {
        assert_eq!((record.partition_key(), record.explicit_hash_key()), (&b"k"[..], Some(&b"7"[..])));
        assert_eq!(record.shard_id(), Some("shardId-000000000002"));
        let age = record.age().expect("the batch has an arrival time");
        assert!((60..90).contains(&age.as_secs()), "{age:?}");
        Ok(())
    };
    let record = TestRecord::new("data").partition_key("k").explicit_hash_key("7");
    let arrival = SystemTime::now() - Duration::from_secs(60);
    let batch = TestBatch::new().shard_id("shardId-000000000002").arrival(arrival).aggregate([record]);
    batch.run(check).await.assert_fates(&["processed"]);
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Sum {
    of: u64,
}

/// Sums numbers, and keeps the sums of finished windows.
#[derive(Default)]
struct Sums(Mutex<Vec<(String, u64)>>);

impl WindowProcessor for &Sums {
    type State = Sum;

    async fn process(&self, record: Record<'_>, sum: &mut Sum) -> Result<(), ProcessError> {
        sum.of += record.parse::<u64>()?;
        Ok(())
    }

    async fn finish(&self, sum: &Sum, window: &TumblingWindow<'_>) -> Result<(), ProcessError> {
        self.0.lock().expect("no panic while locked").push((window.start.to_string(), sum.of));
        Ok(())
    }
}

#[tokio::test]
async fn a_window_gets_its_state_and_its_end() {
    let sums = Sums::default();
    let handler = Handler::new(Windows::new(&sums));
    let window = |state: &str| TestBatch::new().window("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", state);

    let run = window("{}").record("1").aggregate(["2", "x"]).run_with(&handler).await;
    assert_eq!((run.response().state(), run.reported()), (Some(r#"{"of":1}"#), Some(2)));
    let run = window(r#"{"of":1}"#).aggregate(["2", "3"]).run_with(&handler).await;
    run.assert_fates(&["processed", "processed"]);
    assert_eq!(run.response().state(), Some(r#"{"of":6}"#));

    window(r#"{"of":6}"#).end_of_window().run_with(&handler).await.assert_fates(&[]);
    assert_eq!(*sums.0.lock().expect("no panic while locked"), [("2026-01-01T00:00:00Z".to_owned(), 6)]);
}
