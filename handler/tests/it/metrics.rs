//! The metrics of an invocation.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use kinesis_handler::{
    ChunkOutcome, Chunks, Clock, Context, Event, EventMode, Handler, KinesisRecord, ProcessError, Processor,
    Record, SystemClock, journal::MemoryJournal, not_now, permanent, retryable,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::batch::{aggregate, frame, invalid_aggregate, plain, raw};
use crate::options::TestOptions;

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    match record.text()? {
        "fail" => Err(retryable("asked to")),
        "bad" => Err(permanent("asked to")),
        "wait" => Err(not_now("asked to")),
        "hang" => std::future::pending().await,
        // Once.
        "flaky" if record.attempt() == Some(1) => Err(retryable("asked to")),
        _ => Ok(()),
    }
}

/// The metrics of a batch, which has 200 ms, handled so many times.
fn metrics(journal: bool, times: usize, records: &[KinesisRecord<'_>]) -> BTreeMap<String, f64> {
    metrics_of(journal, times, Event::new(records.to_vec()), &[])
}

/// The same of any event, whose metrics have these labels more.
fn metrics_of(
    journal: bool,
    times: usize,
    event: Event<'_>,
    more_labels: &[(&str, &str)],
) -> BTreeMap<String, f64> {
    let mut options = TestOptions::default();
    if journal {
        options.application = Some("orders".to_owned());
        options.journal = Some(Arc::new(MemoryJournal::default()));
        options.quarantine = true;
        options.parallelization_factor = NonZeroU32::new(1);
    }
    metrics_with(Handler::with_options(process, options.build()), times, event, more_labels)
}

fn metrics_with(
    handler: Handler<impl Processor>,
    times: usize,
    event: Event<'_>,
    more_labels: &[(&str, &str)],
) -> BTreeMap<String, f64> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let event = event.to_json();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    metrics::with_local_recorder(&recorder, || {
        for _ in 0..times {
            let mut context = Context::default();
            context.deadline = SystemClock.epoch_ms() + 200;
            runtime.block_on(handler.handle(&event, &context)).expect("a response");
        }
    });
    let values = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
        let key = key.key();
        let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        assert_eq!(labels, [&[("function", "unknown"), ("stream", "orders")], more_labels].concat());
        let value = match value {
            DebugValue::Counter(value) => value as f64,
            DebugValue::Histogram(values) => values.last().map_or(f64::NAN, |value| value.into_inner()),
            DebugValue::Gauge(value) => value.into_inner(),
        };
        (key.name().to_owned(), value)
    });
    values.collect()
}

#[track_caller]
fn check(journal: bool, times: usize, records: &[KinesisRecord<'_>], expected: &[(&str, f64)]) {
    let expected: BTreeMap<String, f64> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    assert_eq!(metrics(journal, times, records), expected);
}

#[test]
fn a_batch_is_counted() {
    let bytes = (frame(&["a", "b", "c"]).len() + 1) as f64;
    check(
        false,
        1,
        &[aggregate(1, &["a", "b", "c"]), plain(2, "d")],
        &[("KinesisRecords", 2.0), ("UserRecords", 4.0), ("Bytes", bytes), ("AggregationRatio", 2.0)],
    );
}

#[test]
fn failures_and_stops_are_told_apart() {
    let of_one = |name| [("KinesisRecords", 1.0), ("Bytes", 4.0), ("AggregationRatio", 0.0), (name, 1.0)];
    check(false, 1, &[plain(1, "fail")], &of_one("FailedBatches"));
    check(false, 1, &[plain(1, "wait")], &of_one("PausedBatches"));
    check(false, 1, &[plain(1, "hang")], &of_one("DeadlineStops"));
}

#[test]
fn kinesis_records_beyond_the_stop_count_if_something_of_them_was_processed() {
    let process = async |chunk: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
        let mut results = Vec::new();
        for &record in chunk {
            results.push(process(record).await);
        }
        Ok(ChunkOutcome::Each(results))
    };
    let records = [plain(1, "a"), plain(2, "fail"), aggregate(3, &["b", "c"]), plain(4, "d"), plain(5, "e")];
    let chunks = Chunks::new(process).max_records(4);
    let metrics = metrics_with(Handler::new(chunks), 1, Event::new(records.to_vec()), &[]);
    let bytes = (1 + 4 + frame(&["b", "c"]).len()) as f64;
    let expected = [
        ("KinesisRecords", 3.0),
        ("UserRecords", 3.0),
        ("Bytes", bytes),
        ("AggregationRatio", 1.0),
        ("FailedBatches", 1.0),
    ];
    assert_eq!(metrics, expected.map(|(name, value)| (name.to_owned(), value)).into());
}

#[test]
fn what_the_journal_makes_of_a_batch_is_counted() {
    let record = [aggregate(1, &["a", "flaky", "bad"])];
    let bytes = frame(&["a", "flaky", "bad"]).len() as f64;
    // Twice: the second time a is done, flaky is tried again, and bad is given up.
    check(
        true,
        2,
        &record,
        &[
            ("KinesisRecords", 2.0),
            ("UserRecords", 2.0),
            ("Bytes", 2.0 * bytes),
            ("AggregationRatio", 3.0),
            ("FailedBatches", 1.0),
            ("ResumedRecords", 1.0),
            ("RetriedRecords", 1.0),
            ("QuarantinedRecords", 1.0),
        ],
    );
}

#[test]
fn wrong_aggregates_are_counted() {
    let mut checksum_mismatch = frame(&["a", "b"]);
    *checksum_mismatch.last_mut().expect("a digest") ^= 1;
    let metrics = metrics(false, 1, &[raw(1, &checksum_mismatch)]);
    // Its payload is no text, so it fails, too.
    assert_eq!((metrics["ChecksumMismatches"], metrics["FailedBatches"]), (1.0, 1.0));
    let metrics = self::metrics(false, 1, &[invalid_aggregate(1)]);
    assert_eq!(metrics["InvalidAggregates"], 1.0);
}

#[test]
fn what_is_skipped_for_its_age_is_counted() {
    let mut record = plain(1, "fail");
    record.approximate_arrival_ms = Some(SystemClock.epoch_ms() - 90_000);
    let options = TestOptions { skip_failed_after: Some(Duration::from_secs(60)), ..TestOptions::default() };
    let handler = Handler::with_options(process, options.build());
    let metrics = metrics_with(handler, 1, Event::new(vec![record]), &[]);
    assert_eq!((metrics["SkippedRecords"], metrics["AggregationRatio"]), (1.0, 1.0));
    assert!(!metrics.contains_key("FailedBatches"), "{metrics:?}");
}

#[test]
fn how_far_behind_it_is_shows() {
    let mut record = plain(1, "a");
    record.approximate_arrival_ms = Some(SystemClock.epoch_ms() - 90_000);
    let behind_ms = metrics(false, 1, &[record])["MillisBehindLatest"];
    assert!((90_000.0..100_000.0).contains(&behind_ms), "{behind_ms}");
}

#[test]
fn what_an_operator_sends_moves_no_metric_of_the_mapping() {
    for (mode, name) in [(EventMode::Reprocess, "reprocess"), (EventMode::Resume, "resume")] {
        let mut event = Event::new(vec![plain(1, "fail")]);
        event.mode = mode;
        assert_eq!(metrics_of(false, 1, event, &[("mode", name)])["FailedBatches"], 1.0);
    }
}
