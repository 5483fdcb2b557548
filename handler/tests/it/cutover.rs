//! A handler skips up to the position that a cut-over has frozen, and nothing else, until a checkpoint passes it.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use kinesis_handler::{
    BatchResponse, ChunkOutcome, Chunks, Clock, Context, Event, EventMode, Handler, KinesisRecord,
    ProcessError, Record, SystemClock,
    checkpoint::{
        Checkpoint, CheckpointError, CheckpointFuture, CheckpointPosition, CheckpointStore, FrozenPosition,
        MemoryCheckpoints, Row, RowCheckpoint, RowFuture,
    },
    journal::MemoryJournal,
    retryable,
    testing::TestBatch,
};
use proptest::{collection::vec, prelude::*};
use tokio::time::Instant;

use crate::batch::{STREAM_ARN, SUCCESS, aggregate, failure, invalid_aggregate, json, plain};
use crate::options::TestOptions;

const SHARD: &str = "shardId-000000000000";

/// The time at which tests begin, in milliseconds since 1970.
const NOW_MS: u64 = 1_700_000_000_000;

#[derive(Debug)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn epoch_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }
}

/// A table that counts the reads, and fails the first ones.
#[derive(Debug, Default)]
struct Table {
    rows: MemoryCheckpoints,
    reads: AtomicU32,
    writes: AtomicU32,
    failing_reads: AtomicU32,
}

impl CheckpointStore for Table {
    fn write<'a>(&'a self, checkpoint: Checkpoint<'a>) -> CheckpointFuture<'a> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.rows.write(checkpoint)
    }

    fn read<'a>(&'a self, shard_id: &'a str) -> RowFuture<'a> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let fails = |left: u32| left.checked_sub(1);
        if self.failing_reads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails).is_ok() {
            return Box::pin(async { Err(CheckpointError::OutOfTime) });
        }
        self.rows.read(shard_id)
    }
}

/// A function with a mirror, and the user records that it has processed.
struct Function {
    table: Arc<Table>,
    clock: Arc<SetClock>,
    options: TestOptions,
    processed: Arc<Mutex<Vec<String>>>,
}

impl Function {
    /// Begins with a row at this position, `number/sub`, which is frozen.
    fn cut_over_at(position: &str) -> Self {
        Self::with_row(Some(frozen_at(position)))
    }

    fn with_row(row: Option<Row>) -> Self {
        let (table, clock) = (Arc::<Table>::default(), Arc::new(SetClock(NOW_MS.into())));
        if let Some(row) = row {
            table.rows.put(SHARD, row);
        }
        let options = TestOptions {
            application: Some("orders".to_owned()),
            checkpoints: Some(table.clone()),
            cutover: true,
            clock: Some(clock.clone()),
            ..TestOptions::default()
        };
        Function { table, clock, options, processed: Arc::default() }
    }

    /// Returns a new environment.
    fn environment(&self) -> Handler<impl kinesis_handler::RecordProcessor + use<>> {
        let processed = Arc::clone(&self.processed);
        let process = async move |record: Record<'_>| -> Result<(), ProcessError> {
            let text = String::from_utf8_lossy(record.data()).into_owned();
            if text.len().is_multiple_of(2) {
                tokio::task::yield_now().await;
            }
            if text.starts_with("fail") {
                return Err(retryable("asked to"));
            }
            processed.lock().expect("no panic while locked").push(format!("{} {text}", record.position()));
            Ok(())
        };
        Handler::with_options(process, self.options.build())
    }

    fn take_processed(&self) -> Vec<String> {
        std::mem::take(&mut self.processed.lock().expect("no panic while locked"))
    }

    fn row(&self) -> Row {
        self.table.rows.row(SHARD).expect("a row")
    }

    /// Reads and writes of the table.
    fn requests(&self) -> (u32, u32) {
        (self.table.reads.load(Ordering::Relaxed), self.table.writes.load(Ordering::Relaxed))
    }
}

fn position(text: &str) -> CheckpointPosition {
    let (sequence_number, sub_sequence_number) = text.split_once(':').expect("number:sub");
    CheckpointPosition {
        sequence_number: sequence_number.parse().expect("digits"),
        sub_sequence_number: sub_sequence_number.parse().expect("digits"),
    }
}

/// A row as the mirror has left it, at a position that is frozen.
fn frozen_at(text: &str) -> Row {
    let checkpoint = Checkpoint {
        application: "orders",
        stream_arn: STREAM_ARN,
        shard_id: SHARD,
        position: position(text),
        arrival_ms: Some(5),
        now_ms: 7,
    };
    let mut row = Row::first(&checkpoint);
    row.frozen = Some(FrozenPosition { through: Some(position(text)), expires_ms: NOW_MS + 1 });
    row
}

async fn handle<P: kinesis_handler::Processor>(
    handler: &Handler<P>,
    records: Vec<KinesisRecord<'_>>,
) -> BatchResponse {
    handler.handle(&Event::new(records).to_json(), &Context::default()).await.expect("a response")
}

#[tokio::test]
async fn what_precedes_the_frozen_position_is_skipped_and_the_checkpoint_after_it_removes_it() {
    let function = Function::cut_over_at("9:1");
    let handler = function.environment();
    let response = handle(&handler, vec![plain(7, "a"), plain(8, "b")]).await;
    assert_eq!(json(&response), SUCCESS);
    assert_eq!(response.counts().cutover_skipped, 2);
    assert_eq!((response.counts().kinesis_records, response.counts().user_records), (0, 0));
    assert_eq!(function.requests(), (1, 0), "the row is there already");
    assert!(function.row().frozen.is_some());

    let records = vec![plain(8, "b"), aggregate(9, &["c", "d", "e"]), plain(10, "f")];
    let response = handle(&handler, records).await;
    assert_eq!(function.take_processed(), ["9:2 e", "10:0 f"]);
    assert_eq!((response.counts().cutover_skipped, response.counts().resumed), (1, 2));
    assert_eq!(function.row().frozen, None);
    assert_eq!(function.row().checkpoint, RowCheckpoint::At("10".parse().expect("digits")));
    assert_eq!(function.requests(), (1, 1));

    // The cut-over has ended: a mapping that begins earlier once more is meant to.
    handle(&handler, vec![plain(7, "a")]).await;
    assert_eq!(function.take_processed(), ["7:0 a"]);
    assert_eq!(function.requests(), (1, 2));
}

#[tokio::test]
async fn a_batch_that_stops_at_the_frozen_record_ends_the_cut_over_only_if_it_has_passed_it() {
    let function = Function::cut_over_at("9:0");
    let response = handle(&function.environment(), vec![plain(8, "a"), aggregate(9, &["b", "fail"])]).await;
    assert_eq!(json(&response), failure(9));
    assert!(function.row().frozen.is_some());
    // Another environment reads the row, too.
    let response = handle(&function.environment(), vec![aggregate(9, &["b", "c", "fail"])]).await;
    assert_eq!((json(&response), function.take_processed()), (failure(9), vec!["9:1 c".to_owned()]));
    assert_eq!(function.row().frozen, None);
}

#[tokio::test]
async fn an_environment_that_has_read_the_row_before_the_cut_over_reads_it_again_after_the_pause() {
    let mut row = frozen_at("9:0");
    let frozen = row.frozen.take();
    let function = Function::with_row(Some(row));
    let handler = function.environment();
    handle(&handler, vec![plain(9, "a")]).await;
    handle(&handler, vec![plain(9, "a")]).await;
    assert_eq!(function.requests().0, 1);
    function.take_processed();
    let mut row = function.row();
    row.frozen = frozen.map(|frozen| FrozenPosition { expires_ms: NOW_MS + 100_000, ..frozen });
    function.table.rows.put(SHARD, row);
    function.clock.0.fetch_add(30_001, Ordering::Relaxed);
    handle(&handler, vec![plain(8, "z"), plain(9, "a"), plain(10, "b")]).await;
    assert_eq!(function.take_processed(), ["10:0 b"]);
    assert_eq!(function.requests().0, 2);
}

#[tokio::test]
async fn what_has_expired_or_is_not_ours_does_not_count() {
    let frozen = |change: &dyn Fn(&mut Row)| {
        let mut row = frozen_at("9:0");
        change(&mut row);
        Some(row)
    };
    let expired = Some(FrozenPosition { through: None, expires_ms: NOW_MS });
    for row in [
        None,
        frozen(&|row| row.frozen = None),
        frozen(&|row| row.frozen = expired),
        frozen(&|row| row.application = Some("another".to_owned())),
        frozen(&|row| row.stream_arn = Some(format!("{STREAM_ARN}-2"))),
    ] {
        let function = Function::with_row(row.clone());
        handle(&function.environment(), vec![plain(8, "a")]).await;
        assert_eq!(function.take_processed(), ["8:0 a"], "{row:?}");
    }
    // It is switched off.
    let mut function = Function::cut_over_at("9:0");
    function.options.cutover = false;
    handle(&function.environment(), vec![plain(8, "a")]).await;
    assert_eq!((function.take_processed(), function.requests()), (vec!["8:0 a".to_owned()], (0, 1)));
}

#[tokio::test]
async fn a_shard_that_was_processed_to_its_end_is_skipped() {
    let mut row = Row::new(RowCheckpoint::ShardEnd);
    row.frozen = Some(FrozenPosition { through: None, expires_ms: NOW_MS + 1 });
    let function = Function::with_row(Some(row));
    let response = handle(&function.environment(), vec![plain(8, "a"), plain(9, "fail")]).await;
    assert_eq!((json(&response), response.counts().cutover_skipped), (SUCCESS.to_owned(), 2));
    assert_eq!(function.requests(), (1, 0));
}

#[tokio::test]
async fn an_event_of_an_operator_is_not_skipped() {
    for mode in [EventMode::Reprocess, EventMode::Resume] {
        let function = Function::cut_over_at("9:0");
        let mut event = Event::new(vec![plain(8, "a")]);
        event.mode = mode;
        let handler = function.environment();
        handler.handle(&event.to_json(), &Context::default()).await.expect("a response");
        assert_eq!((function.take_processed(), function.requests()), (vec!["8:0 a".to_owned()], (0, 0)));
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_costs_no_batch_but_a_strict_one() {
    let mut function = Function::cut_over_at("9:0");
    function.table.failing_reads.store(1, Ordering::Relaxed);
    let handler = function.environment();
    let response = handle(&handler, vec![plain(8, "a")]).await;
    assert_eq!((json(&response), response.counts().checkpoint_read_errors), (SUCCESS.to_owned(), 1));
    assert_eq!(function.take_processed(), ["8:0 a"]);
    // The next batch reads it again.
    handle(&handler, vec![plain(8, "a")]).await;
    assert_eq!(function.take_processed(), [""; 0]);

    function.options.checkpoint_strict = true;
    function.table.failing_reads.store(1, Ordering::Relaxed);
    let handler = function.environment();
    let event = Event::new(vec![plain(8, "a"), plain(10, "b")]).to_json();
    let refused = handler.handle(&event, &Context::default()).await.expect_err("nobody knows");
    assert_eq!(
        refused.to_string(),
        "the frozen position of a cut-over cannot be read: the checkpoint store did not answer in the time that is left"
    );
    assert_eq!(function.take_processed(), [""; 0]);
    handler.handle(&event, &Context::default()).await.expect("a response");
    assert_eq!(function.take_processed(), ["10:0 b"]);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_hangs_takes_a_quarter_of_the_time() {
    #[derive(Debug)]
    struct Hangs;

    impl CheckpointStore for Hangs {
        fn write<'a>(&'a self, _: Checkpoint<'a>) -> CheckpointFuture<'a> {
            Box::pin(pending())
        }

        fn read<'a>(&'a self, _: &'a str) -> RowFuture<'a> {
            Box::pin(pending())
        }
    }

    let mut function = Function::with_row(None);
    function.options.checkpoints = Some(Arc::new(Hangs));
    let mut context = Context::default();
    context.deadline = NOW_MS + 9_000;
    let started = Instant::now();
    let event = Event::new(vec![plain(8, "a")]).to_json();
    let response = function.environment().handle(&event, &context).await.expect("a response");
    assert_eq!((function.take_processed(), started.elapsed().as_millis()), (vec!["8:0 a".to_owned()], 8_000));
    assert_eq!(response.counts().checkpoint_read_errors, 1);
}

#[tokio::test]
async fn a_fan_out_consumer_processes_the_frozen_record_again() {
    let consumer = |sequence_number, data: &str| {
        let mut record = plain(sequence_number, data);
        record.event_source_arn = Some(format!("{STREAM_ARN}/consumer/c:1704067200").into());
        record
    };
    let function = Function::cut_over_at("9:1");
    let records = vec![consumer(8, "a"), consumer(9, "b"), consumer(9, "c"), consumer(10, "d")];
    handle(&function.environment(), records).await;
    assert_eq!(function.take_processed(), ["9 b", "9 c", "10 d"]);
    assert_eq!(function.row().frozen, None);
}

#[tokio::test]
async fn an_aggregate_that_is_invalid_at_the_frozen_position_is_not_skipped() {
    let function = Function::cut_over_at("9:1");
    let response = handle(&function.environment(), vec![invalid_aggregate(8), invalid_aggregate(9)]).await;
    assert_eq!((json(&response), response.counts().cutover_skipped), (failure(9), 1));
}

#[tokio::test]
async fn the_fates_of_skipped_user_records_are_known() {
    let mut row = frozen_at("2:0");
    let batch = TestBatch::new().aggregate(["a", "b"]).aggregate(["c", "d"]).record("e");
    row.stream_arn = batch.to_event().records[0].event_source_arn.as_deref().map(str::to_owned);
    let function = Function::with_row(Some(row));
    let process = async |_: Record<'_>| Ok::<(), ProcessError>(());
    let run = batch.run_with(&Handler::with_options(process, function.options.build())).await;
    run.assert_fates(&["skipped", "skipped", "skipped", "processed", "processed"]);
}

/// The user records of Kinesis records; one alone is a plain record.
fn contents() -> impl Strategy<Value = Vec<Vec<String>>> {
    let data = prop_oneof![12 => "[a-z]{1,2}", 1 => Just("fail".to_owned())];
    vec(vec(data, 1..5), 1..8)
}

fn records(contents: &[Vec<String>], first: usize) -> Vec<KinesisRecord<'static>> {
    let record = |(index, data): (usize, &Vec<String>)| match &data[..] {
        [data] => plain(number(index), data),
        data => aggregate(number(index), &data.iter().map(String::as_str).collect::<Vec<_>>()),
    };
    contents.iter().enumerate().skip(first).map(record).collect()
}

/// Numbers of one and of two digits.
fn number(index: usize) -> u64 {
    index as u64 + 7
}

/// The processor's kind, and the other stores.
#[derive(Debug, Clone, Copy)]
enum Kind {
    OneByOne,
    Concurrent,
    Journaled,
    Chunked,
}

/// Handles batches until the end or a failure, each in an environment of its own, and returns what was processed, in the stream's
/// order, and the Kinesis record that was reported.
async fn run(
    kind: Kind,
    function: &mut Function,
    contents: &[Vec<String>],
    sizes: &[usize],
) -> (Vec<String>, Option<u64>) {
    match kind {
        Kind::OneByOne | Kind::Chunked => {}
        Kind::Concurrent => function.options.concurrency = Some(3),
        Kind::Journaled => function.options.journal = Some(Arc::new(MemoryJournal::default())),
    }
    let (mut first, mut sizes) = (0, sizes.iter().cycle());
    let mut reported = None;
    while first < contents.len() && reported.is_none() {
        let size = sizes.next().copied().unwrap_or(1);
        let mut batch = records(contents, first);
        batch.truncate(size);
        first += batch.len();
        let response = match kind {
            Kind::Chunked => {
                let processed = Arc::clone(&function.processed);
                let chunks = Chunks::new(async move |chunk: &[Record<'_>]| {
                    for (index, record) in chunk.iter().enumerate() {
                        let text = String::from_utf8_lossy(record.data()).into_owned();
                        if text == "fail" {
                            return Ok(ChunkOutcome::ProcessedUpTo {
                                records: index,
                                error: retryable("asked to"),
                            });
                        }
                        processed
                            .lock()
                            .expect("no panic while locked")
                            .push(format!("{} {text}", record.position()));
                    }
                    Ok::<_, ProcessError>(ChunkOutcome::Processed)
                });
                handle(
                    &Handler::try_with_options(chunks, function.options.build()).expect("suitable options"),
                    batch,
                )
                .await
            }
            _ => handle(&function.environment(), batch).await,
        };
        reported =
            response.batch_item_failure().map(|number| number.to_string().parse().expect("a small number"));
    }
    let mut processed = function.take_processed();
    processed.sort_by_key(|text| position(text.split_once(' ').expect("a position").0));
    (processed, reported)
}

proptest! {
    /// The definition: what follows the frozen position is processed up to the first failure, and nothing else.
    #[test]
    fn exactly_what_follows_the_frozen_position_is_processed(
        contents in contents(),
        kind in prop_oneof![Just(Kind::OneByOne), Just(Kind::Concurrent), Just(Kind::Journaled), Just(Kind::Chunked)],
        sizes in vec(1..5_usize, 1..4),
        frozen in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let at = frozen.0.index(contents.len());
        let through = (at, frozen.1.index(contents[at].len()));
        let mut function = Function::cut_over_at(&format!("{}:{}", number(at), through.1));
        let mut expected = Vec::new();
        let mut expected_report = None;
        'records: for (index, data) in contents.iter().enumerate() {
            for (sub, data) in data.iter().enumerate() {
                if (index, sub) <= through {
                    continue;
                }
                if data == "fail" {
                    expected_report = Some(number(index));
                    break 'records;
                }
                expected.push(format!("{}:{sub} {data}", number(index)));
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (processed, reported) = runtime.block_on(run(kind, &mut function, &contents, &sizes));
        let mut processed = processed;
        if let (Kind::Concurrent, Some(_)) = (kind, reported) {
            // Whatever has another key, beyond the failure, may have been in flight.
            processed.truncate(expected.len());
        }
        prop_assert_eq!(&processed, &expected);
        prop_assert_eq!(reported, expected_report);
        // It ends itself as soon as anything after it is processed.
        prop_assert_eq!(function.row().frozen.is_some(), expected.is_empty());
    }
}
