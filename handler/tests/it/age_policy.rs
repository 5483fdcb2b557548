//! The age policy "skip": old user records that have failed are passed over, and nothing else is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use kinesis_handler::{
    ChunkOutcome, Chunks, Context, Event, EventMode, Handler, ProcessError, Record, WindowProcessor, Windows,
    event::TumblingWindow,
    journal::{
        JournalEntries, JournalError, JournalFuture, JournalShard, JournalStore, JournalWrite, MemoryJournal,
        StateRange, WriteOutcome,
    },
    not_now, permanent, retryable,
    testing::{TestBatch, TestRecord},
};
use serde_json::value::RawValue;

use crate::batch::{SUCCESS, failure, json};
use crate::options::TestOptions;

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    tokio::task::yield_now().await;
    match record.data() {
        b"bad" => Err(permanent("malformed")),
        b"busy" => Err(retryable("asked to")),
        b"down" => Err(not_now("asked to")),
        b"panic" => panic!("asked to"),
        _ => Ok(()),
    }
}

/// Skips what is older than a minute.
fn options() -> TestOptions {
    TestOptions { skip_failed_after: Some(Duration::from_secs(60)), ..TestOptions::default() }
}

fn with_journal(store: Arc<dyn JournalStore>, quarantine: bool) -> TestOptions {
    TestOptions { application: Some("orders".to_owned()), journal: Some(store), quarantine, ..options() }
}

/// A batch whose records have arrived this long ago.
fn batch(age: Duration) -> TestBatch {
    TestBatch::new().arrival(SystemTime::now() - age)
}

const OLD: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn old_records_that_have_failed_are_skipped_and_counted() {
    let old = batch(OLD)
        .record("a")
        .aggregate(["b", "busy", "bad", "panic", "c"])
        .invalid_aggregate()
        .record("busy");
    for concurrency in [None, Some(8)] {
        let handler = Handler::with_options(process, TestOptions { concurrency, ..options() }.build());
        let run = old.run_with(&handler).await;
        run.assert_fates(&[
            "processed",
            "processed",
            "skipped for its age: asked to",
            "skipped for its age: malformed",
            "skipped for its age: processor panicked: asked to",
            "processed",
            "skipped for its age: aggregated record is invalid: byte 5: varint is cut off",
            "skipped for its age: asked to",
        ]);
        let counts = run.response().counts();
        assert_eq!((run.reported(), counts.skipped, counts.user_records), (None, 5, 3));
    }
}

#[tokio::test]
async fn nothing_is_skipped_by_default_or_before_its_time() {
    let check = async |batch: TestBatch, options: TestOptions| {
        let run =
            batch.record("busy").record("a").run_with(&Handler::with_options(process, options.build())).await;
        run.assert_fates(&["failed: asked to", "not reached"]);
        assert_eq!((run.reported(), run.response().counts().skipped), (Some(1), 0));
    };
    check(batch(OLD), TestOptions::default()).await;
    check(batch(Duration::from_secs(30)), options()).await;
    // Without a time of arrival, there is no age.
    check(TestBatch::new(), options()).await;
}

#[tokio::test]
async fn a_dependency_that_is_down_skips_nothing() {
    let run = batch(OLD).record("down").run_with(&Handler::with_options(process, options().build())).await;
    assert_eq!((run.reported(), run.fates()), (Some(1), vec!["failed: asked to".to_owned()]));
}

#[tokio::test]
async fn with_a_journal_the_first_failure_skips_nothing() {
    let options = with_journal(Arc::<MemoryJournal>::default(), false);
    let handler = Handler::with_options(process, options.build());
    let old = batch(OLD).aggregate(["a", "busy", "b"]);
    old.run_with(&handler).await.assert_fates(&["processed", "failed: asked to", "not reached"]);
    let run = old.run_with(&handler).await;
    run.assert_fates(&["skipped", "skipped for its age: asked to", "processed"]);
    assert_eq!(run.reported(), None);
}

#[tokio::test]
async fn what_the_quarantine_takes_is_not_skipped() {
    let options = with_journal(Arc::<MemoryJournal>::default(), true);
    let handler = Handler::with_options(process, options.build());
    let old = batch(OLD).record("bad").record("busy").record("a");
    old.run_with(&handler).await.assert_fates(&["quarantined: malformed", "failed: asked to", "not reached"]);
    old.run_with(&handler).await.assert_fates(&[
        "quarantined: malformed",
        "skipped for its age: asked to",
        "processed",
    ]);
}

/// A journal to which nothing can be written into the quarantine.
#[derive(Debug, Default)]
struct WithoutQuarantine(MemoryJournal);

impl JournalStore for WithoutQuarantine {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        self.0.read(shard, range)
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        if writes.iter().any(|write| !write.quarantined.is_empty()) {
            return Box::pin(async { Err(JournalError::Store { source: "asked to".into() }) });
        }
        self.0.write(writes)
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: kinesis_handler::journal::StateKind,
        sequence_number: kinesis_handler::SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        self.0.delete(shard, kind, sequence_number)
    }
}

#[tokio::test]
async fn a_record_is_skipped_only_if_all_before_it_are_passed() {
    let options = with_journal(Arc::<WithoutQuarantine>::default(), true);
    let handler = Handler::with_options(process, options.build());
    batch(OLD).record("busy").run_with(&handler).await.assert_fates(&["failed: asked to"]);
    let keyed = |data| TestRecord::new(data).partition_key(data);
    let run = batch(OLD).aggregate([keyed("bad"), keyed("busy")]).run_with(&handler).await;
    run.assert_fates(&["failed: malformed", "failed: asked to"]);
    assert_eq!((run.reported(), run.response().counts().skipped), (Some(1), 0));
}

#[tokio::test]
async fn events_of_the_kit_skip_nothing() {
    let handler = Handler::with_options(process, options().build());
    for (mode, is_skipped) in
        [(EventMode::Mapping, true), (EventMode::Reprocess, false), (EventMode::Resume, false)]
    {
        let mut event: Event<'_> = batch(OLD).record("busy").to_event();
        event.mode = mode;
        let response = handler.handle(&event.to_json(), &Context::default()).await.expect("a response");
        assert_eq!(response.batch_item_failure().is_none(), is_skipped, "{mode:?}");
        assert_eq!(response.counts().skipped, u64::from(is_skipped), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_takes_all_the_time_of_an_invocation_is_skipped() {
    let process = async |record: Record<'_>| -> Result<(), ProcessError> {
        if record.data() == b"hang" {
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    let mut context = Context::default();
    context.deadline = kinesis_handler::Clock::epoch_ms(&kinesis_handler::SystemClock) + 10_000;
    let handler = Handler::with_options(process, options().build());
    let event = batch(OLD).record("hang").record("a").to_event().to_json();
    let response = handler.handle(&event, &context).await.expect("a response");
    assert_eq!((json(&response), response.counts().skipped), (failure(2), 1));
}

#[tokio::test]
async fn a_chunk_skips_the_record_that_fails_alone() {
    let calls = AtomicU32::new(0);
    let process = async |chunk: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
        calls.fetch_add(1, Ordering::Relaxed);
        match chunk.iter().any(|record| record.data() == b"bad") {
            true => Err(permanent("malformed")),
            false => Ok(ChunkOutcome::Processed),
        }
    };
    let options = with_journal(Arc::<MemoryJournal>::default(), false);
    let handler = Handler::try_with_options(Chunks::new(process), options.build()).expect("suitable options");
    let old = batch(OLD).record("a").record("bad").record("b");
    let run = old.run_with(&handler).await;
    run.assert_fates(&["processed", "failed: malformed", "not reached"]);
    let run = old.run_with(&handler).await;
    run.assert_fates(&["processed", "skipped for its age: malformed", "processed"]);
    assert_eq!(run.reported(), None);
}

struct Texts;

impl WindowProcessor for Texts {
    type State = std::collections::BTreeMap<String, u32>;

    async fn process(&self, record: Record<'_>, state: &mut Self::State) -> Result<(), ProcessError> {
        state.insert(record.text()?.to_owned(), 1);
        process(record).await
    }

    async fn finish(&self, _: &Self::State, _: &TumblingWindow<'_>) -> Result<(), ProcessError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_window_keeps_nothing_of_a_record_that_is_skipped() {
    let mut event = batch(OLD).aggregate(["a", "busy", "b", "panic"]).record("bad").to_event();
    let state = RawValue::from_string("{}".to_owned()).expect("JSON");
    let window =
        TumblingWindow::new("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", std::borrow::Cow::Owned(state));
    event.window = Some(window);
    let handler =
        Handler::try_with_options(Windows::new(Texts), options().build()).expect("suitable options");
    let response = handler.handle(&event.to_json(), &Context::default()).await.expect("a response");
    assert_eq!(response.state(), Some(r#"{"a":1,"b":1}"#));
    assert_eq!((response.batch_item_failure(), response.counts().skipped), (None, 3));
    assert!(json(&response).starts_with(SUCCESS.trim_end_matches('}')));
}
