//! The hash-range filter together with the journal, the quarantine, the mirror and windows.

use std::sync::Arc;

use kinesis_handler::{
    ChunkOutcome, Chunks, Handler, HashKeyRange, JournalOptions, MirrorOptions, Options, OptionsBuilder,
    ProcessError, QuarantineOptions, Record, WindowProcessor, Windows,
    checkpoint::MemoryCheckpoints,
    event::TumblingWindow,
    hash_range::{MemoryShardRanges, ShardRange},
    journal::{JournalShard, MemoryJournal, QuarantinedContent},
    permanent, retryable,
    testing::{TestBatch, TestRecord},
};
use kpl_deaggregation::Deaggregator;

const SHARD: JournalShard<'static> = JournalShard {
    application: "orders",
    stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/test",
    shard_id: "shardId-000000000000",
};

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    tokio::task::yield_now().await;
    match record.text()? {
        "bad" => Err(permanent("no order")),
        "busy" => Err(retryable("busy")),
        _ => Ok(()),
    }
}

async fn process_chunk(chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
    let mut results = Vec::new();
    for &record in chunk {
        results.push(process(record).await);
    }
    Ok(ChunkOutcome::Each(results))
}

/// A user record of the shard, or one of another shard.
fn record(data: &str, is_here: bool) -> TestRecord {
    TestRecord::new(data).partition_key(data).explicit_hash_key(if is_here { "15" } else { "5" })
}

/// Options with a filter, whose shard has the hash keys 10 to 20.
fn options(journal: &Arc<MemoryJournal>, quarantine_limit: u32) -> OptionsBuilder {
    let range = HashKeyRange::new(10, 20).expect("in order");
    let source = MemoryShardRanges::new([ShardRange { shard_id: SHARD.shard_id.to_owned(), range }]);
    let quarantine = QuarantineOptions::default().limit(quarantine_limit);
    Options::builder()
        .application(SHARD.application)
        .hash_range_filter(Arc::new(source))
        .journal(JournalOptions::new(journal.clone()).quarantine(quarantine))
}

fn build(builder: OptionsBuilder) -> Options {
    builder.build().expect("legal options")
}

#[tokio::test]
async fn a_batch_resumes_after_user_records_that_were_passed_over() {
    let batch = |second: &str| {
        TestBatch::new()
            .aggregate([record("a", false), record("b", true), record("c", false), record(second, true)])
            .aggregate([record("d", false), record("e", true)])
    };
    let first = ["out of range", "processed", "out of range", "failed: busy", "not reached", "not reached"];
    let second = ["out of range", "skipped", "out of range", "processed", "out of range", "processed"];
    for concurrency in [1, 3] {
        let journal = Arc::new(MemoryJournal::default());
        let options = build(options(&journal, 100).concurrency(concurrency).look_ahead(1));
        let handler = Handler::with_options(process, options);
        batch("busy").run_with(&handler).await.assert_fates(&first);
        let run = batch("f").run_with(&handler).await;
        run.assert_fates(&second);
        assert_eq!((run.response().counts().resumed, run.response().counts().out_of_range), (1, 3));
        assert!(journal.states(SHARD).is_empty());
    }
    let journal = Arc::new(MemoryJournal::default());
    let chunks =
        Handler::try_with_options(Chunks::new(process_chunk).max_records(2), build(options(&journal, 100)));
    let chunks = chunks.expect("suitable options");
    batch("busy").run_with(&chunks).await.assert_fates(&first);
    batch("f").run_with(&chunks).await.assert_fates(&second);
}

#[tokio::test]
async fn the_rest_of_an_aggregate_in_the_quarantine_has_none_of_other_shards() {
    let batch = TestBatch::new().aggregate([
        record("bad", true),
        record("a", false),
        record("bad", true),
        record("b", false),
        record("c", true),
        record("d", false),
    ]);
    let journal = Arc::new(MemoryJournal::default());
    let run = batch.run_with(&Handler::with_options(process, build(options(&journal, 1)))).await;
    run.assert_fates(&[
        "quarantined: no order",
        "out of range",
        "quarantined: no order",
        "out of range",
        "quarantined: no order",
        "out of range",
    ]);
    let counts = run.response().counts();
    assert_eq!((counts.quarantined, counts.out_of_range, run.reported()), (3, 3, None));
    let quarantined = journal.quarantine(SHARD);
    let [_, rest] = &quarantined[..] else { panic!("{quarantined:?}") };
    assert_eq!(rest.content, QuarantinedContent::RestOfAggregate);
    let mut deaggregator = Deaggregator::default();
    let rest = deaggregator.deaggregate(b"", &rest.data).expect("an aggregate");
    assert_eq!(rest.map(|record| record.data).collect::<Vec<_>>(), [&b"bad"[..], b"c"]);
}

#[tokio::test]
async fn a_checkpoint_passes_what_was_passed_over() {
    let checkpoints = Arc::new(MemoryCheckpoints::default());
    let options = options(&Arc::default(), 100).mirror(MirrorOptions::new(checkpoints.clone()));
    let handler = Handler::with_options(process, build(options));
    let sub = async |batch: TestBatch| {
        let reported = batch.run_with(&handler).await.reported();
        let row = checkpoints.row(SHARD.shard_id).expect("a checkpoint");
        (reported, row.sub_sequence_number)
    };
    let aggregate = |last: &str| {
        let records = [record("a", true), record("b", false), record(last, true), record("c", false)];
        TestBatch::new().aggregate(records)
    };
    assert_eq!(sub(aggregate("busy")).await, (Some(1), Some(1)));
    assert_eq!(sub(aggregate("d")).await, (None, Some(3)));
}

/// A processor of windows whose state has the number of user records.
struct Count;

#[derive(Debug, Default, Clone, serde::Serialize, serde::Deserialize)]
struct Counted {
    records: u64,
}

impl WindowProcessor for Count {
    type State = Counted;

    async fn process(&self, record: Record<'_>, state: &mut Counted) -> Result<(), ProcessError> {
        state.records += 1;
        process(record).await
    }

    async fn finish(&self, _: &Counted, _: &TumblingWindow<'_>) -> Result<(), ProcessError> {
        Ok(())
    }
}

#[tokio::test]
async fn the_state_of_a_window_has_none_of_other_shards() {
    let range = HashKeyRange::new(10, 20).expect("in order");
    let source = MemoryShardRanges::new([ShardRange { shard_id: SHARD.shard_id.to_owned(), range }]);
    let options = build(Options::builder().hash_range_filter(Arc::new(source)));
    let handler = Handler::try_with_options(Windows::new(Count), options).expect("suitable options");
    let window = || TestBatch::new().window("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "{}");
    let batch = window()
        .aggregate([record("a", false), record("b", true), record("c", true)])
        .aggregate([record("d", false)])
        .aggregate([record("e", false), record("f", true), record("busy", true)]);
    let run = batch.run_with(&handler).await;
    let fates = [
        "out of range",
        "processed",
        "processed",
        "out of range",
        "out of range",
        "processed",
        "failed: busy",
    ];
    run.assert_fates(&fates);
    assert_eq!((run.reported(), run.response().state()), (Some(3), Some(r#"{"records":2}"#)));
}
