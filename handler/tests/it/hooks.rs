//! Hooks: what they are told, and that a batch does not depend on them.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use kinesis_handler::{
    ChunkOutcome, Chunks, Clock, Context, EventMode, Handler, Hooks, ProcessError, Record, SystemClock,
    checkpoint::{Checkpoint, CheckpointFuture, CheckpointStore, MemoryCheckpoints, RowFuture},
    retryable,
    testing::{TestBatch, TestRecord},
};
use tokio::time::Instant;

use crate::batch::{SUCCESS, failure, json};
use crate::options::TestOptions;

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    tokio::task::yield_now().await;
    match record.text()? {
        "fail" => Err(retryable("asked to")),
        "panic" => panic!("asked to"),
        _ => Ok(()),
    }
}

/// A list of everything that hooks were told, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn push(&self, text: impl Into<String>) {
        self.0.lock().expect("no panic while locked").push(text.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no panic while locked"))
    }

    fn hooks(&self) -> Hooks {
        let [shard, processed, failed, end] = [self.clone(), self.clone(), self.clone(), self.clone()];
        Hooks::new()
            .on_shard_start(move |start| {
                let checkpoint = start.checkpoint.map(|checkpoint| checkpoint.to_string());
                shard.push(format!("start {} {checkpoint:?}", start.shard_id.unwrap_or_default()));
                async {}
            })
            .on_record_processed(move |record| processed.push(format!("processed {}", record.position())))
            .on_record_failed(move |record, error| {
                failed.push(format!("failed {}: {error}", record.position()))
            })
            .on_batch_end(move |batch| {
                let end = end.clone();
                async move {
                    tokio::task::yield_now().await;
                    let fates: Vec<_> = batch.records.iter().map(|record| record.fate.to_string()).collect();
                    let reported = batch.reported.map(|number| number.to_string());
                    end.push(format!("end {reported:?} {}", fates.join(", ")));
                }
            })
    }
}

/// Handles the batch with the hooks, and returns the response.
async fn respond(batch: &TestBatch, options: &TestOptions, hooks: Hooks, context: &Context) -> String {
    let handler = Handler::with_options(process, options.build().with_hooks(hooks));
    json(&handler.handle(&batch.to_event().to_json(), context).await.expect("a Kinesis event"))
}

#[tokio::test]
async fn hooks_are_told_of_records_and_of_the_outcome_of_the_batch() {
    let told = Told::default();
    let batch = TestBatch::new().record("a").aggregate(["b", "fail", "c"]);
    let response = respond(&batch, &TestOptions::default(), told.hooks(), &Context::default()).await;
    assert_eq!(response, failure(2));
    let end = "end Some(\"2\") processed, processed, failed: asked to, not reached";
    let start = "start shardId-000000000000 None";
    assert_eq!(told.take(), [start, "processed 1:0", "processed 2:0", "failed 2:1: asked to", end]);

    let batch = TestBatch::new().record("panic");
    respond(&batch, &TestOptions::default(), told.hooks(), &Context::default()).await;
    let panicked = "failed 1:0: processor panicked: asked to";
    assert_eq!(told.take(), [start, panicked, "end Some(\"1\") failed: processor panicked: asked to"]);

    // Several at once.
    let options = TestOptions { concurrency: Some(2), ..TestOptions::default() };
    let keyed = |key: &str, data| TestRecord::new(data).partition_key(key);
    let batch = TestBatch::new().aggregate([keyed("k", "a"), keyed("l", "b"), keyed("m", "fail")]);
    respond(&batch, &options, told.hooks(), &Context::default()).await;
    let end = "end Some(\"1\") processed, processed, failed: asked to";
    let mut of_batch = told.take();
    // Which of several in flight is polled first is up to the runtime.
    of_batch[1..3].sort_unstable();
    assert_eq!(of_batch, [start, "processed 1:0", "processed 1:1", "failed 1:2: asked to", end]);
}

#[tokio::test]
async fn hooks_are_told_of_the_user_records_of_chunks() {
    let told = Told::default();
    let outcome = Mutex::new(Vec::from([
        Ok(ChunkOutcome::ProcessedUpTo { records: 1, error: retryable("busy") }),
        Ok(ChunkOutcome::Each(vec![Ok(()), Err(retryable("busy")), Ok(())])),
        Ok(ChunkOutcome::Processed),
        Err(retryable("busy")),
    ]));
    let chunks = Chunks::new(async |_: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
        outcome.lock().expect("no panic while locked").pop().expect("an outcome for each batch")
    });
    let handler = Handler::try_with_options(chunks, TestOptions::default().build().with_hooks(told.hooks()))
        .expect("suitable options");
    let batch = TestBatch::new().record("a").record("b").record("c").to_event().to_json();
    for expected in [
        vec!["failed 1:0: busy"],
        vec!["processed 1:0", "processed 2:0", "processed 3:0"],
        vec!["processed 1:0", "failed 2:0: busy", "processed 3:0"],
        vec!["processed 1:0", "failed 2:0: busy"],
    ] {
        handler.handle(&batch, &Context::default()).await.expect("a Kinesis event");
        let of_records = told.take().into_iter().filter(|text| text.starts_with(['p', 'f']));
        assert_eq!(of_records.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn the_first_batch_of_a_shard_comes_with_its_mirrored_position() {
    let table = Arc::new(MemoryCheckpoints::default());
    let options = TestOptions {
        application: Some("orders".to_owned()),
        checkpoints: Some(table.clone()),
        ..TestOptions::default()
    };
    let batch = |shard_id: &str| TestBatch::new().shard_id(shard_id).record("a").aggregate(["b", "c"]);
    let told = Told::default();
    let starts = || told.take().into_iter().filter(|text| text.starts_with("start")).collect::<Vec<_>>();
    for expected in ["None", "Some(\"2:1\")"] {
        // Another environment each time.
        let handler = Handler::with_options(process, options.build().with_hooks(told.hooks()));
        batch("shardId-1").run_with(&handler).await;
        assert_eq!(starts(), [format!("start shardId-1 {expected}")]);
        batch("shardId-1").run_with(&handler).await;
        assert_eq!(starts(), [""; 0], "once for each shard");
    }
    let handler = Handler::with_options(process, options.build().with_hooks(told.hooks()));
    batch("shardId-2").run_with(&handler).await;
    assert_eq!(starts(), ["start shardId-2 None"]);
    // `kinesis-kit` does not write the mirror, and its event may be the first one.
    let handler = Handler::with_options(process, options.build().with_hooks(told.hooks()));
    let mut event = batch("shardId-1").to_event();
    event.mode = EventMode::Reprocess;
    handler.handle(&event.to_json(), &Context::default()).await.expect("a Kinesis event");
    batch("shardId-1").run_with(&handler).await;
    assert_eq!(starts(), ["start shardId-1 Some(\"2:1\")"]);
    // The row of another application is not this shard's position.
    let other = TestOptions { application: Some("invoices".to_owned()), ..options.clone() };
    let handler = Handler::with_options(process, other.build().with_hooks(told.hooks()));
    batch("shardId-1").run_with(&handler).await;
    assert_eq!(starts(), ["start shardId-1 None"]);
}

/// A store that never answers, or panics.
#[derive(Debug)]
struct Broken {
    panics: bool,
}

impl CheckpointStore for Broken {
    fn write<'a>(&'a self, _: Checkpoint<'a>) -> CheckpointFuture<'a> {
        Box::pin(pending())
    }

    fn read<'a>(&'a self, _: &'a str) -> RowFuture<'a> {
        assert!(!self.panics, "asked to");
        Box::pin(pending())
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_that_panic_or_do_not_end_lose_no_records() {
    // A time without fractions, which the deadline is compared with.
    let mut context = Context::default();
    context.deadline = SystemClock.epoch_ms() + 60_000;
    let batch = TestBatch::new().record("a").record("fail").record("b");
    let panics = Hooks::new()
        .on_shard_start(|_| async { panic!("shard") })
        .on_record_processed(|_| panic!("processed"))
        .on_record_failed(|_, _| panic!("failed"))
        .on_batch_end(|_| async { panic!("end") });
    let panics_at_once = Hooks::new()
        .on_shard_start(|_| -> std::future::Pending<()> { panic!("shard") })
        .on_batch_end(|_| -> std::future::Pending<()> { panic!("end") });
    let waits = Hooks::new().on_shard_start(|_| pending()).on_batch_end(|_| pending());
    for hooks in [panics, panics_at_once, waits] {
        for panics in [None, Some(true), Some(false)] {
            let checkpoints =
                panics.map(|panics| -> Arc<dyn CheckpointStore> { Arc::new(Broken { panics }) });
            let application = Some("orders".to_owned());
            let options = TestOptions { application, checkpoints, ..TestOptions::default() };
            let start = Instant::now();
            let response = respond(&batch, &options, hooks.clone(), &context).await;
            assert_eq!(response, failure(2));
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        }
    }
    let whole = TestBatch::new().record("a");
    let waits = Hooks::new().on_shard_start(|_| pending());
    assert_eq!(respond(&whole, &TestOptions::default(), waits, &context).await, SUCCESS);
}
