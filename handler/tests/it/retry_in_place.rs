//! Attempts in place: bounded in number and time, and only for retryable errors.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kinesis_handler::{
    Clock, Context, Handler, ProcessError, Record, SystemClock, permanent, retryable,
    testing::{TestBatch, TestRecord},
};
use proptest::{collection::vec, prelude::*};
use tokio::time::{Instant, sleep};

use crate::batch::{Log, failure, json};
use crate::options::TestOptions;

fn options(attempts: u32) -> TestOptions {
    TestOptions { retry_attempts: Some(attempts), ..TestOptions::default() }
}

/// Runs a processor that fails so many times, and returns the record's fate and the number of calls.
async fn run(failures: u32, error: fn() -> ProcessError, options: &TestOptions) -> (String, u32) {
    let calls = AtomicU32::new(0);
    let process = async |_: Record<'_>| -> Result<(), ProcessError> {
        match calls.fetch_add(1, Ordering::Relaxed) < failures {
            true => Err(error()),
            false => Ok(()),
        }
    };
    let handler = Handler::with_options(process, options.build());
    let fate = TestBatch::new().record("a").run_with(&handler).await.fates().remove(0);
    drop(handler);
    (fate, calls.into_inner())
}

#[tokio::test(start_paused = true)]
async fn a_retryable_error_is_tried_again_so_often() {
    let busy: fn() -> ProcessError = || retryable("busy");
    let failed = || "failed: busy".to_owned();
    assert_eq!(run(1, busy, &TestOptions::default()).await, (failed(), 1));
    assert_eq!(run(2, busy, &options(3)).await, ("processed".to_owned(), 3));
    assert_eq!(run(3, busy, &options(3)).await, (failed(), 3));
    assert_eq!(run(1, || permanent("bad"), &options(3)).await, ("failed: bad".to_owned(), 1));
    let start = Instant::now();
    assert_eq!(run(99, busy, &options(100)).await, ("processed".to_owned(), 100));
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(60) && waited < Duration::from_secs(500), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_record_that_is_interrupted_while_it_is_tried_again_is_logged() {
    let mut context = Context::default();
    context.deadline = SystemClock.epoch_ms() + 10_000;
    let calls = AtomicU32::new(0);
    let process = async |_: Record<'_>| -> Result<(), ProcessError> {
        match calls.fetch_add(1, Ordering::Relaxed) {
            0 => Err(retryable("busy")),
            _ => std::future::pending().await,
        }
    };
    let handler = Handler::with_options(process, options(3).build());
    let log = Log::start();
    let event = TestBatch::new().record("a").to_event().to_json();
    let response = handler.handle(&event, &context).await.expect("a Kinesis event");
    assert_eq!((json(&response), response.counts().deadline_stops), (failure(1), 1));
    let lines = log.lines_with("interrupted while it was tried again in place");
    assert!(lines.len() == 1 && lines[0].contains("busy"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn attempts_end_before_the_deadline() {
    let mut context = Context::default();
    context.deadline = SystemClock.epoch_ms() + 10_000;
    let calls = AtomicU32::new(0);
    let process = async |record: Record<'_>| -> Result<(), ProcessError> {
        match record.data() {
            b"a" => Ok(()),
            _ => {
                calls.fetch_add(1, Ordering::Relaxed);
                Err(retryable("busy"))
            }
        }
    };
    let handler = Handler::with_options(process, options(100).build());
    let event = TestBatch::new().record("a").record("b").to_event().to_json();
    let start = Instant::now();
    let response = handler.handle(&event, &context).await.expect("a Kinesis event");
    assert_eq!(
        (json(&response), response.counts().failed, response.counts().deadline_stops),
        (failure(2), 1, 0)
    );
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    assert!(calls.load(Ordering::Relaxed) > 3);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_waits_holds_up_its_key_only() {
    let ends = Mutex::new(Vec::new());
    let calls = AtomicU32::new(0);
    let process = async |record: Record<'_>| -> Result<(), ProcessError> {
        sleep(Duration::from_millis(1)).await;
        if record.data() == b"flaky" && calls.fetch_add(1, Ordering::Relaxed) < 7 {
            return Err(retryable("busy"));
        }
        ends.lock().expect("no panic while locked").push(record.text()?.to_owned());
        Ok(())
    };
    let keyed = |key: &str, data| TestRecord::new(data).partition_key(key);
    let batch = TestBatch::new()
        .aggregate([keyed("a", "flaky"), keyed("a", "after"), keyed("b", "1"), keyed("b", "2")])
        .record(keyed("c", "3"));
    let options = TestOptions { concurrency: Some(3), ..options(20) };
    let handler = Handler::with_options(process, options.build());
    batch.run_with(&handler).await.assert_fates(&["processed"; 5]);
    drop(handler);
    let ends = ends.into_inner().expect("no panic while locked");
    assert_eq!(ends[3..], ["flaky", "after"], "{ends:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever fails less often than there are attempts is processed, in order, one by one and at once; the batch stops at the first of
    /// the others.
    #[test]
    fn all_before_the_first_record_that_fails_too_often_is_processed(
        failures in vec(0..5u32, 1..12), attempts in 1..4u32, concurrency in 1..4u32,
    ) {
        let left: Vec<_> = failures.iter().map(|&failures| AtomicU32::new(failures)).collect();
        let process = async |record: Record<'_>| -> Result<(), ProcessError> {
            let index: usize = record.parse()?;
            sleep(Duration::from_millis(1)).await;
            let is_left = |left: u32| left.checked_sub(1);
            match left[index].fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_left) {
                Ok(_) => Err(retryable("busy")),
                Err(_) => Ok(()),
            }
        };
        let keyed = |index: usize| TestRecord::new(index.to_string()).partition_key((index % 3).to_string());
        let batch = TestBatch::new().aggregate((0..failures.len()).map(keyed));
        let options = TestOptions { concurrency: Some(concurrency), ..options(attempts) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let run = runtime.expect("a runtime").block_on(async {
            batch.run_with(&Handler::with_options(process, options.build())).await
        });
        let stop = failures.iter().position(|&failures| failures >= attempts);
        let fates = run.fates();
        prop_assert!(fates[..stop.unwrap_or(failures.len())].iter().all(|fate| fate == "processed"), "{fates:?}");
        prop_assert_eq!(run.reported(), stop.map(|_| 1));
        if let Some(stop) = stop {
            prop_assert_eq!(&fates[stop], "failed: busy");
        }
    }
}
