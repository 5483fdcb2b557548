//! Handler rule 8 and the positions of the checkpoint mirror, on a table in memory and on stores that fail.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kinesis_handler::{
    BatchResponse, Clock, Context, Counts, Event, EventMode, Handler, InvalidAggregatePolicy, KinesisRecord,
    ProcessError, Record, SystemClock,
    checkpoint::{
        Checkpoint, CheckpointError, CheckpointFuture, CheckpointOutcome, CheckpointStore, MemoryCheckpoints,
        Row, RowCheckpoint,
    },
    retryable,
};
use tokio::time::{Instant, sleep};

use crate::batch::{
    STREAM_ARN, SUCCESS, aggregate, empty_frame, failure, frame, invalid_aggregate, json, plain, raw,
    with_quarantined,
};
use crate::options::TestOptions;

const SHARD: &str = "shardId-000000000000";

fn options(store: Arc<dyn CheckpointStore>) -> TestOptions {
    TestOptions { application: Some("orders".to_owned()), checkpoints: Some(store), ..TestOptions::default() }
}

/// Does what a record's data says.
async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    match record.text().unwrap_or_default() {
        "fail" => Err(retryable("asked to")),
        "panic" => panic!("asked to"),
        "wait" => pending().await,
        _ => Ok(()),
    }
}

async fn handle(options: TestOptions, records: Vec<KinesisRecord<'_>>, context: &Context) -> BatchResponse {
    let handler = Handler::with_options(process, options.build());
    handler.handle(&Event::new(records).to_json(), context).await.expect("a response")
}

/// The position of the row, as `number/sub`.
fn at(table: &MemoryCheckpoints) -> Option<String> {
    let row = table.row(SHARD)?;
    Some(format!("{}:{}", row.checkpoint, row.sub_sequence_number.expect("the mirror writes one")))
}

#[track_caller]
fn check(records: Vec<KinesisRecord<'_>>, expected_response: &str, expected: Option<&str>) {
    check_with(InvalidAggregatePolicy::Fail, records, expected_response, expected);
}

#[track_caller]
fn check_with(
    invalid_aggregate: InvalidAggregatePolicy,
    records: Vec<KinesisRecord<'_>>,
    expected_response: &str,
    expected: Option<&str>,
) {
    let table = Arc::new(MemoryCheckpoints::default());
    let mut options = options(table.clone());
    options.invalid_aggregate = invalid_aggregate;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let response = runtime.block_on(handle(options, records, &Context::default()));
    assert_eq!(json(&response), expected_response);
    assert_eq!(at(&table).as_deref(), expected);
    assert_eq!(mirror_counts(response.counts()), [0, 0, 0]);
}

/// Ahead, suspended, failed.
fn mirror_counts(counts: &Counts) -> [u64; 3] {
    [counts.checkpoint_already_ahead, counts.checkpoint_lease_owned, counts.checkpoint_write_errors]
}

#[test]
fn the_row_stands_at_the_last_user_record_of_a_batch_that_is_done() {
    check(Vec::new(), SUCCESS, None);
    check(vec![plain(8, "a"), plain(9, "b")], SUCCESS, Some("9:0"));
    check(vec![plain(8, "a"), aggregate(9, &["b", "c", "d"])], SUCCESS, Some("9:2"));
    check(vec![aggregate(9, &["b", "c", "d"]), empty_frame(10)], SUCCESS, Some("10:0"));
    let records = || vec![plain(8, "a"), invalid_aggregate(9)];
    check_with(InvalidAggregatePolicy::Skip, records(), SUCCESS, Some("9:0"));
    check_with(InvalidAggregatePolicy::Raw, records(), SUCCESS, Some("9:0"));
}

#[test]
fn a_partial_batch_is_written_up_to_the_record_before_the_failed_one() {
    for bad in ["fail", "panic"] {
        check(vec![plain(8, bad), plain(9, "a")], &failure(8), None);
        check(vec![aggregate(8, &[bad, "a"])], &failure(8), None);
        check(vec![plain(8, "a"), plain(9, bad), plain(10, "b")], &failure(9), Some("8:0"));
        check(vec![aggregate(8, &["a", "b", "c"]), plain(9, bad)], &failure(9), Some("8:2"));
        check(vec![plain(8, "a"), aggregate(9, &["b", "c", bad])], &failure(9), Some("9:1"));
        check(vec![plain(8, "a"), aggregate(9, &[bad, "c"])], &failure(9), Some("8:0"));
        check(vec![empty_frame(8), plain(9, bad)], &failure(9), Some("8:0"));
    }
    check(vec![aggregate(8, &["a", "b"]), invalid_aggregate(9)], &failure(9), Some("8:1"));
    check_with(
        InvalidAggregatePolicy::Skip,
        vec![plain(7, "a"), invalid_aggregate(8), plain(9, "fail")],
        &failure(9),
        Some("8:0"),
    );
    let mut unreadable = plain(9, "");
    unreadable.data = kinesis_handler::event::RecordData::Base64(b"!".into());
    check(vec![aggregate(8, &["a", "b"]), unreadable], &failure(9), Some("8:1"));
}

#[test]
fn members_that_lambda_took_apart_are_counted() {
    let consumer = |sequence_number, data: &str| {
        let mut record = plain(sequence_number, data);
        record.event_source_arn = Some(format!("{STREAM_ARN}/consumer/c:1704067200").into());
        record
    };
    let members = |last| vec![consumer(8, "a"), consumer(9, "b"), consumer(9, "c"), consumer(9, last)];
    check(members("d"), SUCCESS, Some("9:2"));
    check(members("fail"), &failure(9), Some("9:1"));
    check(vec![consumer(8, "a"), consumer(9, "fail")], &failure(9), Some("8:0"));
    check(vec![consumer(9, "fail"), consumer(9, "a")], &failure(9), None);
    // One record to Lambda, whatever is in it.
    let mut inner = raw(10, &frame(&["x", "y"]));
    inner.event_source_arn = consumer(10, "").event_source_arn;
    check(vec![inner], SUCCESS, Some("10:0"));
}

#[tokio::test]
async fn user_records_of_one_aggregate_in_several_fan_out_batches_are_no_redelivery() {
    let consumer = |sequence_number, data: &str| {
        let mut record = plain(sequence_number, data);
        record.event_source_arn = Some(format!("{STREAM_ARN}/consumer/c:1704067200").into());
        record
    };
    let options = options(Arc::new(MemoryCheckpoints::default()));
    let mut batches = [
        vec![consumer(9, "a"), consumer(9, "b")],
        vec![consumer(9, "c")],
        vec![consumer(9, "d"), consumer(10, "e")],
    ];
    for batch in &mut batches {
        let response = handle(options.clone(), std::mem::take(batch), &Context::default()).await;
        assert_eq!(mirror_counts(response.counts()), [0, 0, 0]);
    }
    // The lease stands beyond the whole batch: the mapping was created again.
    let response = handle(options, vec![consumer(8, "a"), consumer(9, "b")], &Context::default()).await;
    assert_eq!(mirror_counts(response.counts()), [1, 0, 0]);
}

#[tokio::test]
async fn the_row_says_whose_it_is_and_how_old() {
    let table = Arc::new(MemoryCheckpoints::default());
    let mut record = plain(9, "a");
    record.approximate_arrival_ms = Some(1_545_084_650_987);
    let before = SystemClock.epoch_ms();
    handle(options(table.clone()), vec![plain(8, "a"), record], &Context::default()).await;
    let row = table.row(SHARD).expect("a row");
    assert_eq!((row.stream_arn.as_deref(), row.application.as_deref()), (Some(STREAM_ARN), Some("orders")));
    assert_eq!((row.arrival_ms, row.lease_owner), (Some(1_545_084_650_987), None));
    assert!(row.updated_ms.is_some_and(|updated_ms| updated_ms >= before));
}

#[tokio::test]
async fn a_batch_that_is_all_behind_the_row_is_counted() {
    let table = Arc::new(MemoryCheckpoints::default());
    let handler = Handler::with_options(process, options(table.clone()).build());
    let handle = async |records: Vec<KinesisRecord<'_>>| {
        // A redelivery never comes within the same millisecond.
        std::thread::sleep(Duration::from_millis(2));
        let event = Event::new(records).to_json();
        let response = handler.handle(&event, &Context::default()).await.expect("a response");
        (mirror_counts(response.counts()), at(&table).expect("a row"))
    };
    let whole = || vec![plain(8, "a"), plain(9, "b")];
    assert_eq!(handle(whole()).await, ([0, 0, 0], "9:0".to_owned()));
    assert_eq!(handle(whole()).await, ([1, 0, 0], "9:0".to_owned()));
    assert_eq!(handle(vec![plain(7, "a"), plain(8, "fail")]).await, ([1, 0, 0], "9:0".to_owned()));
    // The row stands inside of the batch: that is what a redelivery looks like.
    assert_eq!(
        handle(vec![plain(8, "a"), plain(9, "b"), plain(10, "fail")]).await,
        ([0, 0, 0], "9:0".to_owned())
    );
    assert_eq!(handle(vec![plain(9, "b"), plain(10, "c")]).await, ([0, 0, 0], "10:0".to_owned()));
}

#[tokio::test]
async fn a_row_that_is_not_the_mirrors_is_left_alone() {
    let mut owned = row("7");
    owned.lease_owner = Some("worker".to_owned());
    check_left_alone(owned.clone(), false, [0, 1, 0], SUCCESS).await;
    // That is how a hand-over looks, and no reason to fail.
    check_left_alone(owned, true, [0, 1, 0], SUCCESS).await;
    let mut foreign = row("7");
    foreign.stream_arn = Some("s".to_owned());
    foreign.application = Some("orders".to_owned());
    check_left_alone(foreign.clone(), false, [0, 0, 1], SUCCESS).await;
    check_left_alone(foreign, true, [0, 0, 1], &failure(9)).await;
}

fn row(sequence_number: &str) -> Row {
    let mut row = Row::new(RowCheckpoint::At(sequence_number.parse().expect("digits")));
    row.sub_sequence_number = Some(0);
    row
}

async fn check_left_alone(row: Row, strict: bool, expected_counts: [u64; 3], expected_response: &str) {
    let table = Arc::new(MemoryCheckpoints::default());
    table.put(SHARD, row.clone());
    let mut options = options(table.clone());
    options.checkpoint_strict = strict;
    let response = handle(options, vec![plain(8, "a"), plain(9, "b")], &Context::default()).await;
    assert_eq!(
        (mirror_counts(response.counts()), json(&response).as_str()),
        (expected_counts, expected_response)
    );
    assert_eq!(table.row(SHARD), Some(row));
}

/// Fails, or never answers.
#[derive(Debug)]
struct Broken {
    stalls: bool,
    calls: AtomicU32,
}

impl Broken {
    fn new(stalls: bool) -> Arc<Self> {
        Arc::new(Broken { stalls, calls: AtomicU32::new(0) })
    }
}

impl CheckpointStore for Broken {
    fn write<'a>(&'a self, _: Checkpoint<'a>) -> CheckpointFuture<'a> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            if self.stalls {
                pending::<()>().await;
            }
            Err(CheckpointError::Store { source: "asked to".into() })
        })
    }
}

#[tokio::test]
async fn a_failed_write_fails_no_batch_unless_the_options_say_so() {
    for (strict, records, expected) in [
        (false, vec![plain(8, "a"), plain(9, "b")], SUCCESS.to_owned()),
        (true, vec![plain(8, "a"), plain(9, "b")], failure(9)),
        // A failure of the batch's own stays.
        (true, vec![plain(8, "a"), plain(9, "fail"), plain(10, "b")], failure(9)),
    ] {
        let mut options = options(Broken::new(false));
        options.checkpoint_strict = strict;
        let response = handle(options, records, &Context::default()).await;
        assert_eq!((mirror_counts(response.counts()), json(&response)), ([0, 0, 1], expected));
    }
    let mut options = options(Broken::new(false));
    options.checkpoint_strict = true;
    let response = handle(options, Vec::new(), &Context::default()).await;
    assert_eq!((mirror_counts(response.counts()), json(&response).as_str()), ([0, 0, 0], SUCCESS));
}

#[tokio::test]
async fn an_event_that_does_not_name_its_shard_is_a_failed_write() {
    let table = Arc::new(MemoryCheckpoints::default());
    let mut record = plain(9, "a");
    record.shard_id = None;
    let response = handle(options(table), vec![record], &Context::default()).await;
    assert_eq!((mirror_counts(response.counts()), json(&response).as_str()), ([0, 0, 1], SUCCESS));
}

fn due_in(milliseconds: u64) -> Context {
    let mut context = Context::default();
    context.deadline = SystemClock.epoch_ms() + milliseconds;
    context
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_gets_the_batchs_time_and_no_more() {
    // Ten seconds, one of which is the margin; the rest of the time is paused.
    let started = Instant::now();
    let response = handle(options(Broken::new(true)), vec![plain(9, "a")], &due_in(10_000)).await;
    assert_eq!((mirror_counts(response.counts()), json(&response).as_str()), ([0, 0, 1], SUCCESS));
    assert!((8_900..=9_000).contains(&(started.elapsed().as_millis())), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn after_a_deadline_stop_the_store_gets_half_of_what_is_left() {
    let store = Broken::new(true);
    let started = Instant::now();
    let records = vec![plain(8, "a"), plain(9, "wait")];
    let response = handle(options(store.clone()), records, &due_in(10_000)).await;
    assert_eq!((mirror_counts(response.counts()), json(&response)), ([0, 0, 1], failure(9)));
    assert!((9_400..=9_500).contains(&(started.elapsed().as_millis())), "{:?}", started.elapsed());

    let table = Arc::new(MemoryCheckpoints::default());
    let records = vec![aggregate(8, &["a", "b"]), plain(9, "wait")];
    handle(options(table.clone()), records, &due_in(10_000)).await;
    assert_eq!(at(&table).as_deref(), Some("8:1"));
}

#[tokio::test(start_paused = true)]
async fn the_store_is_warmed_up_while_records_are_processed() {
    #[derive(Debug, Default)]
    struct Store {
        log: std::sync::Mutex<Vec<&'static str>>,
    }
    impl CheckpointStore for Store {
        fn write<'a>(&'a self, _: Checkpoint<'a>) -> CheckpointFuture<'a> {
            self.log.lock().expect("no panic").push("write");
            Box::pin(async { Ok(CheckpointOutcome::Written) })
        }
        fn warm_up(&self) {
            self.log.lock().expect("no panic").push("warm up");
        }
    }
    let store = Arc::new(Store::default());
    let for_processor = Arc::clone(&store);
    let processor = async move |_: Record<'_>| -> Result<(), ProcessError> {
        sleep(Duration::from_millis(1)).await;
        for_processor.log.lock().expect("no panic").push("process");
        Ok(())
    };
    let handler = Handler::with_options(processor, options(store.clone()).build());
    let event = Event::new(vec![plain(8, "a"), plain(9, "b")]).to_json();
    handler.handle(&event, &Context::default()).await.expect("a response");
    assert_eq!(*store.log.lock().expect("no panic"), ["warm up", "process", "process", "write"]);
}

#[tokio::test]
async fn a_store_that_panics_has_failed() {
    #[derive(Debug)]
    struct Store;

    impl CheckpointStore for Store {
        fn write<'a>(&'a self, _: Checkpoint<'a>) -> CheckpointFuture<'a> {
            panic!("asked to")
        }
    }

    let handler = Handler::with_options(process, options(Arc::new(Store)).build());
    let event = Event::new(vec![plain(8, "a"), plain(9, "b")]).to_json();
    let response = handler.handle(&event, &Context::default()).await.expect("a response");
    assert_eq!((mirror_counts(response.counts()), json(&response)), ([0, 0, 1], SUCCESS.to_owned()));
}

#[tokio::test]
async fn handler_rule_12_a_window_is_refused_before_anything_is_done() {
    let never = async |_: Record<'_>| -> Result<(), ProcessError> { panic!("nothing may be done") };
    let handler = Handler::with_options(never, options(Broken::new(false)).build());
    let event = br#"{"Records":[{"kinesis":{"sequenceNumber":"9","data":""}}],"window":{},"state":{}}"#;
    let error = handler.handle(event, &Context::default()).await.map(drop).expect_err("a window");
    assert_eq!(
        format!("{error:?}"),
        "KinesisHandler.WindowWithMirror: the event belongs to a tumbling window, and the checkpoint mirror cannot \
         follow one: turn the mirror off (KINESIS_HANDLER_CHECKPOINT_TABLE), or the mapping's tumbling windows"
    );
}

#[tokio::test]
async fn handler_rule_10_what_an_operator_sends_is_not_mirrored() {
    for mode in [EventMode::Reprocess, EventMode::Resume] {
        let store = Broken::new(false);
        let handler = Handler::with_options(process, options(store.clone()).build());
        let mut event = Event::new(vec![plain(9, "a")]);
        event.mode = mode;
        let response = handler.handle(&event.to_json(), &Context::default()).await.expect("a response");
        assert_eq!(json(&response), with_quarantined(SUCCESS, &[]));
        assert_eq!(mirror_counts(response.counts()), [0, 0, 0]);
        assert_eq!(store.calls.load(Ordering::Relaxed), 0);
    }
    let handler = Handler::with_options(process, options(Broken::new(false)).build());
    let event = br#"{"Records":[],"kinesisKit":{"mode":"rewind"}}"#;
    let error = handler.handle(event, &Context::default()).await.map(drop).expect_err("an unknown mode");
    assert_eq!(error.to_string(), "unknown kinesisKit.mode \"rewind\"; expected \"resume\" or \"reprocess\"");
}
