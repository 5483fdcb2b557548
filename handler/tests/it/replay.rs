//! A replay on Lambda: invocations by an alias that names a range.

use std::sync::{Arc, Mutex};

use kinesis_handler::{
    BatchResponse, Context, Event, Handler, HandlerError, KinesisRecord, ProcessError, Record,
    RecordProcessor,
    checkpoint::{Checkpoint, CheckpointError, CheckpointFuture, CheckpointStore, MemoryCheckpoints},
    journal::{JournalShard, MemoryJournal, RecordState},
    replay::ReplayRange,
    retryable,
};

use metrics_util::debugging::DebuggingRecorder;

use crate::batch::{STREAM_ARN, SUCCESS, aggregate, failure, json, plain};
use crate::options::TestOptions;

const SHARD_ID: &str = "shardId-000000000000";
const FUNCTION_ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:orders";

/// A function, its stores, and those of its replays.
struct World {
    journal: Arc<MemoryJournal>,
    mirror: Arc<MemoryCheckpoints>,
    positions: Arc<MemoryCheckpoints>,
    options: TestOptions,
    processed: Mutex<Vec<String>>,
}

impl World {
    fn new() -> Self {
        let (journal, mirror, positions) =
            (Arc::<MemoryJournal>::default(), Arc::<MemoryCheckpoints>::default(), Arc::default());
        let options = TestOptions {
            application: Some("orders".to_owned()),
            journal: Some(journal.clone()),
            checkpoints: Some(mirror.clone()),
            replays: Some(Arc::<MemoryCheckpoints>::clone(&positions)),
            ..TestOptions::default()
        };
        World { journal, mirror, positions, options, processed: Mutex::default() }
    }

    /// Handles a batch as a version or alias.
    async fn handle(
        &self,
        qualifier: &str,
        records: &[KinesisRecord<'_>],
    ) -> Result<BatchResponse, HandlerError> {
        let mut context = Context::default();
        context.invoked_function_arn = format!("{FUNCTION_ARN}{qualifier}");
        let handler = Handler::with_options(self, self.options.build());
        handler.handle(&Event::new(records.to_vec()).to_json(), &context).await
    }

    /// Handles a batch of the replay.
    async fn replay(&self, records: &[KinesisRecord<'_>]) -> BatchResponse {
        self.handle(&format!(":{}", range()), records).await.expect("a response")
    }

    /// The user records that were processed since the last time.
    fn processed(&self) -> Vec<String> {
        std::mem::take(&mut self.processed.lock().expect("no panic while locked"))
    }

    fn states(&self, application: &str) -> Vec<RecordState> {
        self.journal.states(JournalShard { application, stream_arn: STREAM_ARN, shard_id: SHARD_ID })
    }
}

impl RecordProcessor for &World {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let text = record.text()?;
        if text == "fail" {
            return Err(retryable("asked to"));
        }
        self.processed.lock().expect("no panic while locked").push(text.to_owned());
        Ok(())
    }
}

fn range() -> ReplayRange {
    ReplayRange::new(1_000, 2_000).expect("a range")
}

/// A record that arrived at this time.
fn arriving(at_ms: u64, mut record: KinesisRecord<'static>) -> KinesisRecord<'static> {
    record.approximate_arrival_ms = Some(at_ms);
    record
}

/// Records before, in and after the range, at both of its ends.
fn batch(in_range: &str) -> Vec<KinesisRecord<'static>> {
    vec![
        arriving(999, plain(6, "before")),
        arriving(1_000, aggregate(7, &["a", "b", in_range])),
        arriving(1_999, plain(8, "d")),
        arriving(2_000, plain(9, "after")),
    ]
}

fn position(store: &MemoryCheckpoints) -> Option<String> {
    let row = store.row(SHARD_ID)?;
    Some(format!("{}/{:?} {:?}", row.checkpoint, row.sub_sequence_number, row.application))
}

#[tokio::test]
async fn only_the_range_is_processed_and_the_live_stores_stay_untouched() {
    let world = World::new();
    let response = world.replay(&batch("c")).await;
    assert_eq!(json(&response), SUCCESS);
    assert_eq!(world.processed(), ["a", "b", "c", "d"]);
    assert_eq!(position(&world.positions).as_deref(), Some(r#"8/Some(0) Some("orders/replay-1000-2000")"#));
    assert_eq!((position(&world.mirror), world.states("orders")), (None, Vec::new()));
}

#[tokio::test]
async fn a_replay_resumes_with_a_journal_of_its_own() {
    let world = World::new();
    let response = world.replay(&batch("fail")).await;
    assert_eq!((json(&response), world.processed()), (failure(7), vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(world.states("orders"), []);
    assert_eq!(world.states(&range().application("orders")).len(), 1);
    assert_eq!(position(&world.positions).as_deref(), Some(r#"7/Some(1) Some("orders/replay-1000-2000")"#));
    world.replay(&batch("c")).await;
    assert_eq!(world.processed(), ["c", "d"]);

    // The live mapping knows nothing of it.
    world.handle("", &batch("c")).await.expect("a response");
    assert_eq!(world.processed(), ["before", "a", "b", "c", "d", "after"]);
    assert_eq!(position(&world.mirror).as_deref(), Some(r#"9/Some(0) Some("orders")"#));
}

#[tokio::test]
async fn a_batch_without_a_record_of_the_range_is_acknowledged() {
    let world = World::new();
    let response = world.replay(&[arriving(2_000, plain(9, "after"))]).await;
    assert_eq!((json(&response), world.processed()), (SUCCESS.to_owned(), Vec::new()));
    assert_eq!(position(&world.positions), None);
    // A record must not be lost because nobody knows when it arrived.
    let mut undated = plain(10, "undated");
    undated.approximate_arrival_ms = None;
    world.replay(&[undated]).await;
    assert_eq!(world.processed(), ["undated"]);
}

#[tokio::test]
async fn other_qualifiers_are_the_live_function() {
    let world = World::new();
    for qualifier in ["", ":live", ":7", ":$LATEST"] {
        world.handle(qualifier, &batch("c")).await.expect("a response");
        assert_eq!(world.processed().len(), 6, "{qualifier}");
    }
    assert_eq!(position(&world.positions), None);
}

#[tokio::test]
async fn nothing_is_processed_if_the_range_cannot_be_told() {
    let mut world = World::new();
    let error = world.handle(":kinesis-kit-replay-7", &batch("c")).await.expect_err("no range");
    assert_eq!(
        error.to_string(),
        "invoked by kinesis-kit-replay-7, the alias of a replay: expected kinesis-kit-replay-FROM-UNTIL, two times in \
         milliseconds since 1970, the second one later"
    );
    world.options.replays = None;
    let error = world.handle(&format!(":{}", range()), &batch("c")).await.expect_err("no replays");
    assert_eq!(
        error.to_string(),
        "invoked by kinesis-kit-replay-1000-2000, the alias of a replay: set KINESIS_HANDLER_REPLAYS=on, or delete the \
         event source mapping of the alias"
    );
    assert_eq!((world.processed(), position(&world.mirror)), (Vec::new(), None));
}

#[derive(Debug)]
struct Broken;

impl CheckpointStore for Broken {
    fn write<'a>(&'a self, _: Checkpoint<'a>) -> CheckpointFuture<'a> {
        Box::pin(async { Err(CheckpointError::Store { source: "asked to".into() }) })
    }
}

#[tokio::test]
async fn a_position_that_cannot_be_written_fails_the_last_record_of_the_range() {
    let mut world = World::new();
    world.options.replays = Some(Arc::new(Broken));
    let response = world.replay(&batch("c")).await;
    assert_eq!((json(&response), response.counts().checkpoint_write_errors), (failure(8), 1));
    // The journal knows that it is processed.
    world.processed();
    world.replay(&[arriving(1_999, plain(8, "d"))]).await;
    assert_eq!(world.processed(), Vec::<String>::new());
}

#[test]
fn metrics_of_a_replay_are_apart() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    metrics::with_local_recorder(&recorder, || runtime.block_on(world.replay(&batch("c"))));
    let recorded = snapshotter.snapshot().into_vec();
    assert!(!recorded.is_empty());
    for (key, ..) in recorded {
        let labels: Vec<_> = key.key().labels().map(|label| (label.key(), label.value())).collect();
        assert!(labels.contains(&("mode", "replay")), "{key:?}");
    }
}

#[tokio::test]
async fn a_replay_skips_no_record_for_its_age() {
    let mut world = World::new();
    world.options.skip_failed_after = Some(std::time::Duration::from_secs(1));
    let records = [arriving(1_500, plain(7, "fail"))];
    for _ in 0..3 {
        let response = world.replay(&records).await;
        assert_eq!((json(&response), response.counts().skipped), (failure(7), 0));
    }
    let live = async || world.handle("", &records).await.expect("a response").counts().skipped;
    assert_eq!((live().await, live().await), (0, 1));
}
