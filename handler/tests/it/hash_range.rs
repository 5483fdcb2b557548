//! The hash-range filter: user records of aggregates that belong to another shard are passed over.

use std::sync::{Arc, Mutex};

use kinesis_handler::{
    ChunkOutcome, Chunks, Clock, Context, Event, Handler, HandlerError, HashKeyRange, KinesisRecord, Options,
    OptionsBuilder, ProcessError, Record,
    hash_range::{
        MemoryShardRanges, ShardRange, ShardRangeError, ShardRangeFuture, ShardRangeSource, StreamRanges,
    },
    retryable,
    testing::{TestBatch, TestRecord, TestRun},
};
use kpl_deaggregation::UserRecord;
use tokio::time::{Duration, Instant, advance};

const SHARD: &str = "shardId-000000000000";

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    tokio::task::yield_now().await;
    match record.text()? {
        "busy" => Err(retryable("asked to")),
        _ => Ok(()),
    }
}

fn shard(shard_id: &str, start: u128, end: u128) -> ShardRange {
    ShardRange { shard_id: shard_id.to_owned(), range: HashKeyRange::new(start, end).expect("in order") }
}

fn record(data: &str, explicit_hash_key: &str) -> TestRecord {
    TestRecord::new(data).explicit_hash_key(explicit_hash_key)
}

fn filter(source: &Arc<MemoryShardRanges>) -> OptionsBuilder {
    Options::builder().hash_range_filter(source.clone())
}

fn ten_to_twenty() -> Arc<MemoryShardRanges> {
    Arc::new(MemoryShardRanges::new([shard(SHARD, 10, 20)]))
}

fn build(builder: OptionsBuilder) -> Options {
    builder.build().expect("legal options")
}

#[tokio::test]
async fn user_records_of_other_shards_are_passed_over() {
    let batch = TestBatch::new()
        .aggregate([record("a", "9"), record("b", "10"), record("c", "20"), record("d", "21")])
        // Whatever its key: Kinesis has put it there.
        .record("plain")
        .aggregate([record("e", "1"), record("f", "2")]);
    let expected = [
        "out of range",
        "processed",
        "processed",
        "out of range",
        "processed",
        "out of range",
        "out of range",
    ];
    let check = |run: TestRun| {
        run.assert_fates(&expected);
        let counts = run.response().counts();
        assert_eq!((counts.user_records, counts.out_of_range, counts.hash_range_errors), (3, 4, 0));
        assert_eq!(run.reported(), None);
    };
    let options = || filter(&ten_to_twenty());
    check(batch.run_with(&Handler::with_options(process, build(options()))).await);
    check(batch.run_with(&Handler::with_options(process, build(options().concurrency(3)))).await);
    let chunks = Chunks::new(async |_: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
        Ok(ChunkOutcome::Processed)
    });
    let chunks = Handler::try_with_options(chunks, build(options())).expect("suitable options");
    check(batch.run_with(&chunks).await);

    // Off by default.
    batch.run(process).await.assert_fates(&["processed"; 7]);
}

#[tokio::test]
async fn a_partition_key_counts_by_its_digest() {
    let key = UserRecord::new(b"key", b"").effective_hash_key().expect("the key of TestRecord");
    for (start, expected) in [(key, ["processed"; 2]), (key + 1, ["out of range"; 2])] {
        let source = Arc::new(MemoryShardRanges::new([shard(SHARD, start, u128::MAX)]));
        let handler = Handler::with_options(process, build(filter(&source)));
        TestBatch::new().aggregate(["a", "b"]).run_with(&handler).await.assert_fates(&expected);
    }
}

#[tokio::test]
async fn a_user_record_that_cannot_be_placed_is_processed() {
    let handler = Handler::with_options(process, build(filter(&ten_to_twenty())));
    let batch = TestBatch::new().aggregate([record("a", "x"), record("b", "-1"), record("c", "7")]);
    batch.run_with(&handler).await.assert_fates(&["processed", "processed", "out of range"]);
    let run = TestBatch::new().invalid_aggregate().run_with(&handler).await;
    assert!(run.fates()[0].starts_with("failed: aggregated record is invalid"), "{:?}", run.fates());
}

#[tokio::test]
async fn what_is_passed_over_keeps_its_number() {
    let handler = Handler::with_options(process, build(filter(&ten_to_twenty())));
    let batch = TestBatch::new().aggregate([record("a", "1"), record("busy", "15"), record("c", "2")]);
    let run = batch.run_with(&handler).await;
    run.assert_fates(&["out of range", "failed: asked to", "not reached"]);
    assert_eq!(run.outcome().records[1].position.to_string(), "1:1");
}

#[derive(Debug)]
struct TokioClock;

impl Clock for TokioClock {
    fn epoch_ms(&self) -> u64 {
        0
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

#[tokio::test(start_paused = true)]
async fn ranges_are_kept_and_listed_again_for_an_unknown_shard() {
    let source = ten_to_twenty();
    let handler = Handler::with_options(process, build(filter(&source).clock(Arc::new(TokioClock))));
    let run = async |shard_id: &str| {
        let batch = TestBatch::new().shard_id(shard_id).aggregate([record("a", "15"), record("b", "25")]);
        let run = batch.run_with(&handler).await;
        (run.fates().concat(), run.response().counts().hash_range_errors)
    };
    let within = ("processedout of range".to_owned(), 0);
    assert_eq!(run(SHARD).await, within);
    assert_eq!(run(SHARD).await, within);
    assert_eq!(source.calls(), 1);

    // A child that the list of before the reshard does not have. A stream is asked every ten seconds at most.
    let child = "shardId-000000000001";
    source.set(StreamRanges::Shards(vec![shard(SHARD, 10, 20), shard(child, 21, 30)]));
    let unknown = ("processedprocessed".to_owned(), 1);
    assert_eq!(run(child).await, unknown);
    assert_eq!(source.calls(), 1);
    advance(Duration::from_secs(10)).await;
    assert_eq!(run(child).await, ("out of rangeprocessed".to_owned(), 0));
    assert_eq!(run(SHARD).await, within);
    assert_eq!(source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn ranges_of_known_shards_are_listed_again_after_five_minutes() {
    let source = ten_to_twenty();
    let handler = Handler::with_options(process, build(filter(&source).clock(Arc::new(TokioClock))));
    let batch = TestBatch::new().aggregate([record("a", "15"), record("b", "25")]);
    batch.run_with(&handler).await.assert_fates(&["processed", "out of range"]);

    // The stream was deleted and made again with other shards.
    source.set(StreamRanges::Shards(vec![shard(SHARD, 20, 30)]));
    advance(Duration::from_secs(299)).await;
    batch.run_with(&handler).await.assert_fates(&["processed", "out of range"]);
    advance(Duration::from_secs(1)).await;
    batch.run_with(&handler).await.assert_fates(&["out of range", "processed"]);

    source.set(StreamRanges::ServiceManaged);
    advance(Duration::from_secs(300)).await;
    let refused = handler.handle(&batch.to_event().to_json(), &Context::default()).await;
    assert_eq!(refused.expect_err("refused"), HandlerError::ServiceManagedStream);
}

/// A source that works once only.
#[derive(Debug)]
struct Once(Arc<MemoryShardRanges>);

impl ShardRangeSource for Once {
    fn list<'a>(&'a self, stream_arn: &'a str) -> ShardRangeFuture<'a> {
        let is_first = self.0.calls() == 0;
        let list = self.0.list(stream_arn);
        Box::pin(async move {
            match is_first {
                true => list.await,
                false => Err(ShardRangeError::Source { source: "asked to".into() }),
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn known_ranges_stay_while_they_cannot_be_listed() {
    let source = ten_to_twenty();
    let once = Options::builder().hash_range_filter(Arc::new(Once(source.clone())));
    let handler = Handler::with_options(process, build(once.clock(Arc::new(TokioClock))));
    let batch = TestBatch::new().aggregate([record("a", "15"), record("b", "25")]);
    for calls in [1, 2, 2] {
        let run = batch.run_with(&handler).await;
        run.assert_fates(&["processed", "out of range"]);
        assert_eq!((run.response().counts().hash_range_errors, source.calls()), (0, calls));
        // A source that fails is not asked in each invocation.
        advance(Duration::from_secs(if calls == 1 { 300 } else { 299 })).await;
    }
}

/// A source that fails, panics, or does not answer.
#[derive(Debug)]
struct Broken(&'static str);

impl ShardRangeSource for Broken {
    fn list<'a>(&'a self, _: &'a str) -> ShardRangeFuture<'a> {
        Box::pin(async {
            match self.0 {
                "hang" => std::future::pending().await,
                "panic" => panic!("asked to"),
                _ => Err(ShardRangeError::Source { source: "asked to".into() }),
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn without_ranges_nothing_is_passed_over() {
    for fault in ["fail", "panic", "hang"] {
        let options =
            Options::builder().hash_range_filter(Arc::new(Broken(fault))).clock(Arc::new(TokioClock));
        let processed = Mutex::new(0);
        let count = async |_: Record<'_>| -> Result<(), ProcessError> {
            *processed.lock().expect("no panic while locked") += 1;
            Ok(())
        };
        let handler = Handler::with_options(&count, build(options));
        let mut context = Context::default();
        context.deadline = 60_000;
        let event = TestBatch::new().aggregate([record("a", "1"), record("b", "2")]).to_event().to_json();
        let response = handler.handle(&event, &context).await.expect("a response");
        assert_eq!(response.batch_item_failure(), None, "{fault}");
        assert_eq!(response.counts().hash_range_errors, 1, "{fault}");
        assert_eq!(*processed.lock().expect("no panic while locked"), 2, "{fault}");
    }
}

#[tokio::test]
async fn a_service_managed_stream_is_refused() {
    let source = Arc::new(MemoryShardRanges::of(StreamRanges::ServiceManaged));
    let handler = Handler::with_options(process, build(filter(&source)));
    let event = TestBatch::new().record("a").to_event().to_json();
    for _ in 0..2 {
        let error = handler.handle(&event, &Context::default()).await.expect_err("refused");
        assert_eq!(error, HandlerError::ServiceManagedStream);
        assert_eq!(
            error.to_string(),
            "the stream is service-managed (RecordDistributionStrategy AUTO): records of any hash key are in any shard, so \
             turn the hash-range filter off (KINESIS_HANDLER_HASH_RANGE_FILTER)"
        );
    }
    assert_eq!(source.calls(), 1);
}

#[tokio::test]
async fn lambda_has_filtered_what_a_fan_out_consumer_gets() {
    let source = ten_to_twenty();
    let handler = Handler::with_options(process, build(filter(&source)));
    let mut record = KinesisRecord::new("1".parse().expect("digits"), "key", b"a");
    record.event_source_arn =
        Some("arn:aws:kinesis:us-east-1:123456789012:stream/orders/consumer/c:1".into());
    record.shard_id = Some(SHARD.into());
    let event = Event::new(vec![record]).to_json();
    let response = handler.handle(&event, &Context::default()).await.expect("a response");
    assert_eq!((response.counts().user_records, source.calls()), (1, 0));
}
