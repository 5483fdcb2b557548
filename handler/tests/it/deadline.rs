//! Handler rule 4, under tokio's paused time: a clock that is read advances only when nothing else can be done.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kinesis_handler::{
    Alarm, ChunkOutcome, Chunks, Clock, Context, Event, Handler, ProcessError, Record, SequenceNumber,
    SystemClock,
    journal::{
        JournalEntries, JournalFuture, JournalShard, JournalStore, JournalWrite, MemoryJournal, StateKind,
        StateRange, WriteOutcome,
    },
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::batch::{STREAM_ARN, SUCCESS, aggregate, failure, invalid_aggregate, json, plain};
use crate::options::TestOptions;

/// Starts at one million milliseconds and follows tokio's time. Each read costs time, too, if the test wants it.
#[derive(Debug)]
struct TestClock {
    start: Instant,
    read_ms: AtomicU64,
    ms_per_read: u64,
}

const START_MS: u64 = 1_000_000;

impl TestClock {
    fn new(ms_per_read: u64) -> Arc<Self> {
        Arc::new(TestClock { start: Instant::now(), read_ms: AtomicU64::new(0), ms_per_read })
    }
}

impl Clock for TestClock {
    fn epoch_ms(&self) -> u64 {
        START_MS + self.instant().duration_since(self.start).as_millis() as u64
    }

    fn instant(&self) -> Instant {
        let read_ms = self.read_ms.fetch_add(self.ms_per_read, Ordering::Relaxed);
        Instant::now() + Duration::from_millis(read_ms)
    }
}

fn options(clock: Arc<TestClock>, margin: Duration) -> TestOptions {
    TestOptions { deadline_margin: Some(margin), clock: Some(clock), ..TestOptions::default() }
}

fn due_in(milliseconds: u64) -> Context {
    let mut context = Context::default();
    context.deadline = START_MS + milliseconds;
    context
}

#[tokio::test(start_paused = true)]
async fn stops_before_the_deadline_and_reports_the_interrupted_record() {
    let done = Mutex::new(Vec::new());
    let started = Instant::now();
    let processor = async |record: Record<'_>| -> Result<(), ProcessError> {
        sleep(Duration::from_secs(2)).await;
        done.lock().expect("no panic").push(record.position().to_string());
        Ok(())
    };
    let handler =
        Handler::with_options(&processor, options(TestClock::new(0), Duration::from_secs(1)).build());
    let event = Event::new(vec![plain(8, "a"), aggregate(9, &["b", "c", "d"]), plain(10, "e")]).to_json();
    let response = handler.handle(&event, &due_in(8_500)).await.expect("a response");
    // 7.5 seconds: three records of 2 seconds, and the fourth is cancelled.
    assert_eq!(started.elapsed(), Duration::from_millis(7_500));
    assert_eq!(json(&response), failure(9));
    assert_eq!(*done.lock().expect("no panic"), ["8:0", "9:0", "9:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_panics_when_it_is_cancelled_fails_its_record() {
    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("asked to");
        }
    }

    let handler = Handler::with_options(
        async |record: Record<'_>| -> Result<(), ProcessError> {
            if record.text()? == "wait" {
                let _guard = PanicsWhenDropped;
                std::future::pending::<()>().await;
            }
            Ok(())
        },
        options(TestClock::new(0), Duration::from_secs(1)).build(),
    );
    let event = Event::new(vec![plain(8, "a"), plain(9, "wait")]).to_json();
    let response = handler.handle(&event, &due_in(8_500)).await.expect("a response");
    assert_eq!((json(&response), response.counts().user_records), (failure(9), 1));
}

#[tokio::test(start_paused = true)]
async fn the_processor_sees_the_time_that_is_left() {
    let handler = Handler::with_options(
        async |record: Record<'_>| -> Result<(), ProcessError> {
            assert_eq!(record.remaining_time(), Some(Duration::from_secs(9)));
            Ok(())
        },
        options(TestClock::new(0), Duration::from_secs(1)).build(),
    );
    let response = handler.handle(&Event::new(vec![plain(1, "a")]).to_json(), &due_in(10_000)).await;
    assert_eq!(json(&response.expect("a response")), SUCCESS);
}

#[tokio::test(start_paused = true)]
async fn the_margin_never_takes_more_than_half_of_the_time() {
    let started = Instant::now();
    let handler = Handler::with_options(
        async |_: Record<'_>| -> Result<(), ProcessError> { std::future::pending().await },
        options(TestClock::new(0), Duration::from_secs(600)).build(),
    );
    let response = handler.handle(&Event::new(vec![plain(7, "a")]).to_json(), &due_in(3_000)).await;
    assert_eq!(started.elapsed(), Duration::from_millis(1_500));
    assert_eq!(json(&response.expect("a response")), failure(7));
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_never_waits_is_stopped_between_records() {
    let done = AtomicU64::new(0);
    let clock = TestClock::new(0);
    let processor = async |_: Record<'_>| -> Result<(), ProcessError> {
        done.fetch_add(1, Ordering::Relaxed);
        // Busy for 100 ms, as far as the clock can tell.
        clock.read_ms.fetch_add(100, Ordering::Relaxed);
        Ok(())
    };
    let handler =
        Handler::with_options(&processor, options(Arc::clone(&clock), Duration::from_secs(1)).build());
    let records = (0..1_000).map(|sequence_number| plain(sequence_number, "a")).collect();
    let response = handler.handle(&Event::new(records).to_json(), &due_in(3_000)).await.expect("a response");
    // 2 seconds.
    assert_eq!(done.load(Ordering::Relaxed), 20);
    assert_eq!(json(&response), failure(20));
}

#[tokio::test(start_paused = true)]
async fn fast_records_do_not_let_slow_ones_behind_them_overrun() {
    let done = AtomicU64::new(0);
    let clock = TestClock::new(0);
    let processor = async |_: Record<'_>| -> Result<(), ProcessError> {
        if done.fetch_add(1, Ordering::Relaxed) >= 200 {
            clock.read_ms.fetch_add(100, Ordering::Relaxed);
        }
        Ok(())
    };
    let handler =
        Handler::with_options(&processor, options(Arc::clone(&clock), Duration::from_secs(1)).build());
    let records = (0..1_000).map(|sequence_number| plain(sequence_number, "a")).collect();
    let response = handler.handle(&Event::new(records).to_json(), &due_in(3_000)).await.expect("a response");
    // 200 that take no time, and 20 that use up the two seconds.
    assert_eq!(done.load(Ordering::Relaxed), 220);
    assert_eq!(json(&response), failure(220));
}

#[tokio::test]
async fn the_systems_clock_stops_a_processor_that_never_waits() {
    let slow = AtomicU64::new(0);
    let begun = AtomicU64::new(0);
    let processor = async |_: Record<'_>| -> Result<(), ProcessError> {
        if begun.fetch_add(1, Ordering::Relaxed) >= 200 {
            slow.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    let options = TestOptions { deadline_margin: Some(Duration::from_millis(600)), ..TestOptions::default() };
    let handler = Handler::with_options(&processor, options.build());
    let records = (0..1_000).map(|sequence_number| plain(sequence_number, "a")).collect();
    let mut context = Context::default();
    context.deadline = SystemClock.epoch_ms() + 1_200;
    let response = handler.handle(&Event::new(records).to_json(), &context).await.expect("a response");
    // 600 ms are at most 30 records of 20 ms. The thread that notices may be late on a busy machine; a check at every
    // 64th record would let about 60 more run.
    let slow = slow.load(Ordering::Relaxed);
    assert!((1..60).contains(&slow), "{slow} slow records");
    assert_eq!(json(&response), failure(200 + slow));
}

#[tokio::test]
async fn the_systems_clock_is_not_read_for_each_record() {
    let counting = Arc::new(CountingClock { reads: AtomicU64::new(0) });
    let options = TestOptions { clock: Some(counting.clone()), ..TestOptions::default() };
    let handler =
        Handler::with_options(async |_: Record<'_>| -> Result<(), ProcessError> { Ok(()) }, options.build());
    let records = (0..6_400).map(|sequence_number| plain(sequence_number, "a")).collect();
    let mut context = Context::default();
    context.deadline = SystemClock.epoch_ms() + 600_000;
    let response = handler.handle(&Event::new(records).to_json(), &context).await.expect("a response");
    assert_eq!((json(&response).as_str(), response.counts().user_records), (SUCCESS, 6_400));
    let reads = counting.reads.load(Ordering::Relaxed);
    assert!(reads < 10, "{reads} reads");
}

/// The system's clock, with a count of how often it was read.
#[derive(Debug)]
struct CountingClock {
    reads: AtomicU64,
}

impl Clock for CountingClock {
    fn epoch_ms(&self) -> u64 {
        SystemClock.epoch_ms()
    }

    fn instant(&self) -> Instant {
        self.reads.fetch_add(1, Ordering::Relaxed);
        SystemClock.instant()
    }

    fn alarm(&self, instant: Instant) -> Option<Alarm> {
        SystemClock.alarm(instant)
    }
}

#[tokio::test(start_paused = true)]
async fn time_that_is_used_up_before_the_first_record_is_an_error() {
    let handler = Handler::with_options(
        async |_: Record<'_>| -> Result<(), ProcessError> { panic!("no time for that") },
        // Each look at the clock takes two seconds: on arrival 3 are left, before the first record none.
        options(TestClock::new(2_000), Duration::from_secs(1)).build(),
    );
    let event = Event::new(vec![plain(1, "a")]).to_json();
    let error = handler.handle(&event, &due_in(5_000)).await.map(drop).expect_err("no progress is possible");
    assert_eq!(
        error.to_string(),
        "the time for this batch was used up before its first user record: 2000 ms on arrival, less the margin, \
         were spent reading the event; raise the function's timeout or memory, or lower the batch size"
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_record_is_tried_however_little_time_there_is() {
    let tried = AtomicU64::new(0);
    let processor = async |_: Record<'_>| -> Result<(), ProcessError> {
        tried.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    };
    let handler =
        Handler::with_options(&processor, options(TestClock::new(0), Duration::from_secs(1)).build());
    let response = handler.handle(&Event::new(vec![plain(7, "a")]).to_json(), &due_in(2)).await;
    assert_eq!(json(&response.expect("a response")), failure(7));
    assert_eq!(tried.load(Ordering::Relaxed), 1);
}

/// A journal whose writes take these times, one after the other.
#[derive(Debug, Default)]
struct SlowJournal {
    journal: MemoryJournal,
    writes_ms: Mutex<VecDeque<u64>>,
}

impl JournalStore for SlowJournal {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        self.journal.read(shard, range)
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        let milliseconds = self.writes_ms.lock().expect("no panic while locked").pop_front().unwrap_or(0);
        Box::pin(async move {
            sleep(Duration::from_millis(milliseconds)).await;
            self.journal.write(writes).await
        })
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        self.journal.delete(shard, kind, sequence_number)
    }
}

/// Handles a batch of invalid aggregates and a record that takes a second, in ten seconds less a margin of one. The writes to
/// the quarantine, of fifty records each, take these times. Returns the response, and the size of the quarantine.
async fn handle_after_quarantine(
    clock: Arc<TestClock>,
    invalid_aggregates: u64,
    writes_ms: &[u64],
) -> (String, usize) {
    let store = Arc::new(SlowJournal {
        writes_ms: Mutex::new(writes_ms.iter().copied().collect()),
        ..SlowJournal::default()
    });
    let options = TestOptions {
        application: Some("orders".to_owned()),
        journal: Some(store.clone()),
        quarantine: true,
        max_attempts: NonZeroU32::new(1),
        ..options(clock, Duration::from_secs(1))
    };
    let processor = async |_: Record<'_>| -> Result<(), ProcessError> {
        sleep(Duration::from_secs(1)).await;
        Ok(())
    };
    let records = (1..=invalid_aggregates).map(invalid_aggregate).chain([plain(999, "a")]).collect();
    let handler = Handler::with_options(processor, options.build());
    let response = handler.handle(&Event::new(records).to_json(), &due_in(10_000)).await;
    let shard =
        JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: "shardId-000000000000" };
    (json(&response.expect("a response")), store.journal.quarantine(shard).len())
}

#[tokio::test(start_paused = true)]
async fn a_record_does_not_fail_because_the_quarantine_of_others_has_taken_its_time() {
    let expected = (failure(999), 50);
    assert_eq!(handle_after_quarantine(TestClock::new(0), 50, &[8_500]).await, expected);
}

#[tokio::test(start_paused = true)]
async fn records_that_go_to_the_quarantine_are_progress() {
    // The second write ends when no record may be begun any more.
    let expected = (failure(999), 100);
    assert_eq!(handle_after_quarantine(TestClock::new(0), 100, &[8_500, 600]).await, expected);
    // The time is over before the only write.
    let expected = (failure(999), 20);
    assert_eq!(handle_after_quarantine(TestClock::new(500), 20, &[]).await, expected);
}

/// A record `late` makes the clock pass the deadline and lets `waiting` records end, `stuck` ones never end.
async fn handle_together(data: &[&str]) -> (String, Vec<String>) {
    let clock = TestClock::new(0);
    let (done, go_on) = (Mutex::new(Vec::new()), Notify::new());
    let processor = async |record: Record<'_>| -> Result<(), ProcessError> {
        let text = record.text()?;
        match text {
            "late" => {
                clock.read_ms.store(10_000, Ordering::Relaxed);
                go_on.notify_waiters();
            }
            "waiting" => go_on.notified().await,
            _ => std::future::pending().await,
        }
        done.lock().expect("no panic").push(text.to_owned());
        Ok(())
    };
    let options = TestOptions {
        application: Some("orders".to_owned()),
        journal: Some(Arc::new(MemoryJournal::default())),
        quarantine: true,
        max_attempts: NonZeroU32::new(1),
        concurrency: Some(3),
        ..options(Arc::clone(&clock), Duration::ZERO)
    };
    let records = (1..).zip(data).map(|(number, data)| {
        let mut record = plain(number, data);
        record.partition_key = number.to_string().into();
        record
    });
    let event = Event::new(records.collect()).to_json();
    let handler = Handler::with_options(&processor, options.build());
    let response = handler.handle(&event, &due_in(1_000)).await.expect("a Kinesis event");
    assert_eq!(response.counts().quarantined, 0, "what is done is not given up");
    drop(handler);
    (json(&response), done.into_inner().expect("no panic"))
}

#[tokio::test(start_paused = true)]
async fn what_ends_in_flight_when_the_deadline_comes_is_done() {
    let (response, done) = handle_together(&["waiting", "late"]).await;
    assert_eq!((response.as_str(), done.join(" ").as_str()), (SUCCESS, "late waiting"));
    let (response, done) = handle_together(&["waiting", "late", "stuck"]).await;
    assert_eq!((response, done.join(" ").as_str()), (failure(3), "late waiting"));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_may_come_between_any_two_reads_of_the_clock() {
    let records = || vec![plain(1, "a"), aggregate(2, &["b", "c"]), plain(3, "d")];
    let one = async |_: Record<'_>| -> Result<(), ProcessError> { Ok(()) };
    let chunk = async |chunk: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
        assert!(!chunk.is_empty(), "a chunk has at least one user record");
        Ok(ChunkOutcome::Processed)
    };
    let mut stops = 0;
    for milliseconds in 1..60 {
        let options = |concurrency| TestOptions {
            clock: Some(TestClock::new(1)),
            deadline_margin: Some(Duration::ZERO),
            concurrency,
            ..TestOptions::default()
        };
        let event = Event::new(records()).to_json();
        let context = due_in(milliseconds);
        let one = Handler::with_options(&one, options(Some(2)).build()).handle(&event, &context).await;
        let chunks = Chunks::new(&chunk).max_records(2);
        let chunks = Handler::try_with_options(chunks, options(None).build())
            .expect("suitable options")
            .handle(&event, &context)
            .await;
        for response in [one, chunks].into_iter().flatten() {
            assert_eq!(response.counts().failed, 0, "due in {milliseconds} ms");
            stops += response.counts().deadline_stops;
        }
    }
    assert!(stops > 0);
}
