//! Handler rules 5, 6 and 7: resume, attempts and quarantine, on a journal in memory.

use std::{
    future::pending,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kinesis_handler::{
    BatchResponse, Clock, Context, Event, EventMode, Handler, KinesisRecord, ProcessError, Record,
    RecordProcessor, SystemClock,
    checkpoint::MemoryCheckpoints,
    journal::{
        ContentHash, DoneSet, JournalShard, MemoryJournal, Progress, RecordState, StateKind, UserRecordId,
    },
    permanent, retryable,
};

use crate::batch::{
    STREAM_ARN, SUCCESS, aggregate, failure, invalid_aggregate, json, plain, raw, with_quarantined, with_stop,
};
use crate::options::TestOptions;

const SHARD: JournalShard<'static> =
    JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: "shardId-000000000000" };

/// A function and its journal.
struct World {
    journal: Arc<MemoryJournal>,
    options: TestOptions,
    /// The calls of the processor, as `sequence number/sub-sequence number data attempt`.
    calls: Mutex<Vec<String>>,
    /// Whether everything succeeds from now on.
    is_mended: AtomicBool,
}

impl World {
    fn new() -> Self {
        let journal = Arc::new(MemoryJournal::default());
        let options = TestOptions {
            application: Some("orders".to_owned()),
            journal: Some(journal.clone()),
            parallelization_factor: NonZeroU32::new(1),
            ..TestOptions::default()
        };
        World { journal, options, calls: Mutex::default(), is_mended: AtomicBool::new(false) }
    }

    fn with_quarantine(max_attempts: u32) -> Self {
        let mut world = World::new();
        world.options.quarantine = true;
        world.options.max_attempts = NonZeroU32::new(max_attempts);
        world
    }

    async fn handle(&self, records: &[KinesisRecord<'_>]) -> BatchResponse {
        self.handle_event(&Event::new(records.to_vec()), &Context::default()).await
    }

    async fn handle_event(&self, event: &Event<'_>, context: &Context) -> BatchResponse {
        let handler = Handler::with_options(self, self.options.build());
        handler.handle(&event.to_json(), context).await.expect("a response")
    }

    /// The calls since the last time.
    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().expect("no panic while locked"))
    }

    fn mend(&self) {
        self.is_mended.store(true, Ordering::Relaxed);
    }

    /// The content of the journal, an item each: kind, number, done ranges, failures.
    fn states(&self) -> Vec<String> {
        let state = |state: RecordState| {
            let ranges = state.progress.done.ranges().map(|(first, last)| format!("{first}-{last}"));
            let contents = state.progress.done.contents().map(|_| "content".to_owned());
            let done: Vec<_> = ranges.chain(contents).collect();
            let failures = state.progress.attempts.values().map(u32::to_string).collect::<Vec<_>>();
            let kind = if state.kind == StateKind::Discarded { "H" } else { "S" };
            format!(
                "{kind} {} done [{}] failed [{}]",
                state.sequence_number,
                done.join(" "),
                failures.join(" ")
            )
        };
        self.journal.states(SHARD).into_iter().map(state).collect()
    }

    /// The content of the quarantine: position, data, reason, attempts, error.
    fn quarantine(&self) -> Vec<String> {
        let records = self.journal.quarantine(SHARD).into_iter();
        let shown = records.map(|record| {
            let id = match record.id {
                UserRecordId::Sub(number) => number.to_string(),
                UserRecordId::Content(_) => "content".to_owned(),
            };
            let data = String::from_utf8_lossy(&record.data).into_owned();
            let (number, error) = (record.sequence_number, &record.error);
            format!("{number}:{id} {data} {} {} {error}", record.reason, record.attempts)
        });
        shown.collect()
    }
}

/// Does what a record's data says.
impl RecordProcessor for &World {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let data = record.text()?;
        let attempt = record.attempt().map_or("?".to_owned(), |attempt| attempt.to_string());
        let call = format!("{} {data} {attempt}", record.position());
        self.calls.lock().expect("no panic while locked").push(call);
        if self.is_mended.load(Ordering::Relaxed) {
            return Ok(());
        }
        match data {
            "fail" => Err(retryable("asked to")),
            "bad" => Err(permanent("never will be")),
            "panic" => panic!("asked to"),
            "wait" => pending().await,
            _ => Ok(()),
        }
    }
}

fn consumer(sequence_number: u64, data: &str) -> KinesisRecord<'static> {
    let mut record = plain(sequence_number, data);
    record.event_source_arn = Some(format!("{STREAM_ARN}/consumer/c:1704067200").into());
    record
}

fn number(sequence_number: u64) -> kinesis_handler::SequenceNumber {
    sequence_number.to_string().parse().expect("digits")
}

#[tokio::test]
async fn handler_rule_6_a_batch_resumes_inside_an_aggregate() {
    for bad in ["fail", "panic"] {
        let world = World::new();
        let records = [plain(8, "a"), aggregate(9, &["b", "c", bad, "d"]), plain(10, "e")];
        let response = world.handle(&records).await;
        assert_eq!(json(&response), failure(9));
        assert_eq!(world.calls().last().map(String::as_str), Some(&*format!("9:2 {bad} 1")));
        assert_eq!(world.states(), ["S 9 done [0-1] failed [1]"]);

        // Lambda delivers from there.
        let response = world.handle(&records[1..]).await;
        assert_eq!((json(&response), response.counts().resumed), (failure(9), 2));
        assert_eq!(world.calls(), [format!("9:2 {bad} 2")]);
        assert_eq!(world.states(), ["S 9 done [0-1] failed [2]"]);

        world.mend();
        // Or from anywhere else.
        let response = world.handle(&records).await;
        assert_eq!((json(&response), response.counts().resumed), (SUCCESS.to_owned(), 2));
        assert_eq!(world.calls(), ["8:0 a 1", &format!("9:2 {bad} 3"), "9:3 d 1", "10:0 e 1"]);
        assert_eq!(world.states(), [""; 0]);
        assert_eq!(world.quarantine(), [""; 0]);
    }
}

#[tokio::test]
async fn handler_rule_6_done_sets_with_gaps_are_kept_and_skipped() {
    let world = World::new();
    let mut done = DoneSet::default();
    for (first, last) in [(1, 2), (4, 4)] {
        done.insert_range(first, last);
    }
    world
        .journal
        .put(SHARD, RecordState::first(StateKind::Retry, number(9), Progress::done(done), "test", now_ms()));
    let records = [aggregate(9, &["a", "b", "c", "fail", "d", "e"])];
    let response = world.handle(&records).await;
    assert_eq!((json(&response), response.counts().resumed), (failure(9), 2));
    assert_eq!(world.calls(), ["9:0 a 1", "9:3 fail 1"]);
    assert_eq!(world.states(), ["S 9 done [0-2 4-4] failed [1]"]);
    world.mend();
    let response = world.handle(&records).await;
    assert_eq!((json(&response), response.counts().resumed), (SUCCESS.to_owned(), 4));
    assert_eq!(world.calls(), ["9:3 fail 2", "9:5 e 1"]);
    assert_eq!(world.states(), [""; 0]);
}

fn now_ms() -> u64 {
    SystemClock.epoch_ms()
}

#[tokio::test]
async fn an_expired_state_counts_no_more() {
    let world = World::new();
    let state = |expires_ms| {
        let progress = Progress::done(DoneSet::before(1));
        let mut state = RecordState::first(StateKind::Retry, number(9), progress, "test", now_ms());
        state.expires_ms = expires_ms;
        state
    };
    let records = [aggregate(9, &["a", "fail"])];
    world.journal.put(SHARD, state(now_ms() + 60_000));
    world.handle(&records).await;
    assert_eq!(world.calls(), ["9:1 fail 1"]);

    world.journal.put(SHARD, state(now_ms() - 1));
    world.handle(&records).await;
    assert_eq!(world.calls(), ["9:0 a 1", "9:1 fail 1"]);
    // Its item is not gone yet, and is written all the same.
    assert_eq!(world.states(), ["S 9 done [0-0] failed [1]"]);
    assert!(world.journal.states(SHARD)[0].expires_ms > now_ms() + 365 * 24 * 60 * 60 * 1000);
}

#[tokio::test]
async fn handler_rule_5_a_permanent_error_goes_to_the_quarantine_at_once() {
    let world = World::with_quarantine(3);
    let mut records =
        vec![aggregate(8, &["a", "bad", "b"]), plain(9, "bad"), invalid_aggregate(10), plain(11, "c")];
    for record in &mut records {
        record.approximate_arrival_ms = Some(7);
    }
    let response = world.handle(&records).await;
    let counts = response.counts();
    assert_eq!(json(&response), SUCCESS);
    assert_eq!(world.calls(), ["8:0 a 1", "8:1 bad 1", "8:2 b 1", "9:0 bad 1", "11:0 c 1"]);
    assert_eq!((counts.quarantined, counts.user_records, counts.resumed), (3, 3, 0));
    assert_eq!((counts.kinesis_records, counts.invalid_aggregates, counts.aggregated), (4, 1, 1));
    let quarantine = world.quarantine();
    assert_eq!(quarantine[..2], ["8:1 bad permanent 1 never will be", "9:0 bad permanent 1 never will be"]);
    assert!(quarantine[2].starts_with("10:0 ") && quarantine[2].contains("aggregated record is invalid"));
    let records = world.journal.quarantine(SHARD);
    assert_eq!(records[0].partition_key, b"user-key");
    assert_eq!((records[1].partition_key.as_slice(), records[1].arrival_ms), (&b"kinesis-key"[..], Some(7)));
    assert_eq!(world.states(), [""; 0], "nothing is left that has passed");
}

#[tokio::test]
async fn handler_rule_5_without_a_quarantine_a_permanent_error_is_reported() {
    let world = World::new();
    let response = world.handle(&[plain(8, "a"), plain(9, "bad"), plain(10, "c")]).await;
    assert_eq!((json(&response), world.quarantine()), (failure(9), Vec::new()));
    assert_eq!(world.states(), ["S 9 done [] failed [1]"]);
}

#[tokio::test]
async fn handler_rule_5_a_retryable_error_goes_there_after_its_attempts() {
    for (bad, error) in [("fail", "asked to"), ("panic", "processor panicked: asked to")] {
        let world = World::with_quarantine(3);
        let records = [aggregate(9, &["a", bad, "b", "c"]), plain(10, "d")];
        for _ in 0..2 {
            assert_eq!(json(&world.handle(&records).await), failure(9));
        }
        assert_eq!(world.quarantine(), [""; 0]);
        let response = world.handle(&records).await;
        assert_eq!((json(&response), response.counts().quarantined), (SUCCESS.to_owned(), 1));
        assert_eq!(world.quarantine(), [format!("9:1 {bad} maxAttempts 3 {error}")]);
        assert_eq!(world.states(), [""; 0]);
        let calls = world.calls();
        let times = |what: &str| calls.iter().filter(|call| call.contains(what)).count();
        assert_eq!([times(" a "), times(bad), times(" b "), times(" c "), times(" d ")], [1, 3, 1, 1, 1]);
    }
}

#[tokio::test]
async fn handler_rule_5_a_retryable_error_goes_there_when_it_is_old() {
    let mut world = World::new();
    world.options.quarantine = true;
    world.options.max_age = Some(Duration::from_secs(60));
    // After an outage, every record is old when it fails for the first time.
    let mut record = plain(8, "fail");
    record.approximate_arrival_ms = Some(now_ms() - 61_000);
    assert_eq!(json(&world.handle(std::slice::from_ref(&record)).await), failure(8));
    world.handle(&[plain(8, "fine")]).await;

    let mut record = plain(9, "fail");
    record.approximate_arrival_ms = Some(now_ms() - 30_000);
    assert_eq!(json(&world.handle(std::slice::from_ref(&record)).await), failure(9));
    record.approximate_arrival_ms = Some(now_ms() - 61_000);
    assert_eq!(json(&world.handle(std::slice::from_ref(&record)).await), SUCCESS);
    assert_eq!(world.quarantine(), ["9:0 fail maxAge 2 asked to"]);
}

#[tokio::test]
async fn what_is_in_the_quarantine_is_done_when_the_batch_comes_again() {
    let world = World::with_quarantine(9);
    let records = [aggregate(9, &["a", "bad", "b", "fail"])];
    assert_eq!(json(&world.handle(&records).await), failure(9));
    assert_eq!(world.states(), ["S 9 done [0-2] failed [1]"]);
    world.calls();
    assert_eq!(json(&world.handle(&records).await), failure(9));
    assert_eq!(world.calls(), ["9:3 fail 2"]);
    assert_eq!(world.quarantine().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn handler_rule_5_a_record_that_hangs_counts_only_if_it_had_all_the_time() {
    let world = World::with_quarantine(2);
    let due = || {
        let mut context = Context::default();
        context.deadline = now_ms() + 10_000;
        context
    };
    let event = Event::new(vec![aggregate(9, &["a", "wait", "b"]), plain(10, "c")]);
    assert_eq!(json(&world.handle_event(&event, &due()).await), failure(9));
    assert_eq!(world.states(), ["S 9 done [0-0] failed []"], "it was not alone");
    assert_eq!(json(&world.handle_event(&event, &due()).await), failure(9));
    assert_eq!(world.states(), ["S 9 done [0-0] failed [1]"]);
    // Its last attempt takes the time of this invocation, and the next one begins behind it.
    assert_eq!(json(&world.handle_event(&event, &due()).await), failure(9));
    assert_eq!(world.quarantine(), ["9:1 wait maxAttempts 2 did not finish within one invocation"]);
    assert_eq!(world.states(), ["S 9 done [0-1] failed []"]);
    world.calls();
    assert_eq!(json(&world.handle_event(&event, &due()).await), SUCCESS);
    assert_eq!(world.calls(), ["9:2 b 1", "10:0 c 1"]);
}

#[tokio::test]
async fn a_state_before_the_batch_is_a_discarded_record_if_there_is_one_lane() {
    let world = World::new();
    assert_eq!(json(&world.handle(&[aggregate(9, &["a", "fail"])]).await), failure(9));
    let response = world.handle(&[plain(10, "b")]).await;
    assert_eq!((json(&response), response.counts().discarded), (SUCCESS.to_owned(), 1));
    assert_eq!(world.states(), ["H 9 done [0-0] failed [1]"]);
    assert_eq!(world.handle(&[plain(11, "c")]).await.counts().discarded, 0);
    assert_eq!(world.states(), ["H 9 done [0-0] failed [1]"]);

    for factor in [None, NonZeroU32::new(2)] {
        let mut world = World::new();
        world.options.parallelization_factor = factor;
        world.handle(&[aggregate(9, &["a", "fail"])]).await;
        world.handle(&[plain(8, "x"), plain(10, "b")]).await;
        world.handle(&[plain(11, "c")]).await;
        assert_eq!(world.states(), ["S 9 done [0-0] failed [1]"], "it may be another lane's");
    }
}

#[tokio::test]
async fn two_applications_share_a_table_and_nothing_else() {
    let world = World::new();
    let records = [aggregate(9, &["a", "fail"])];
    world.handle(&records).await;
    let mut other = World { journal: Arc::clone(&world.journal), ..World::new() };
    other.options = world.options.clone();
    other.options.application = Some("billing".to_owned());
    other.mend();
    assert_eq!(json(&other.handle(&records).await), SUCCESS);
    assert_eq!(other.calls(), ["9:0 a 1", "9:1 fail 1"]);
    assert_eq!(world.states(), ["S 9 done [0-0] failed [1]"]);
}

#[tokio::test]
async fn handler_rule_10_a_replay_does_again_what_is_done_and_keeps_nothing() {
    let world = World::with_quarantine(1);
    let records = vec![aggregate(9, &["a", "b", "fail"])];
    world.journal.put(
        SHARD,
        RecordState::first(StateKind::Retry, number(9), Progress::done(DoneSet::before(1)), "test", now_ms()),
    );
    let mut event = Event::new(records);
    event.mode = EventMode::Reprocess;
    assert_eq!(
        json(&world.handle_event(&event, &Context::default()).await),
        with_stop(with_quarantined(failure(9), &[]), 9, 2)
    );
    assert_eq!(world.calls(), ["9:0 a ?", "9:1 b ?", "9:2 fail ?"]);
    assert_eq!(
        (world.states(), world.quarantine()),
        (vec!["S 9 done [0-0] failed []".to_owned()], Vec::new())
    );
}

#[tokio::test]
async fn handler_rule_10_a_redrive_resumes_inside_a_discarded_record_and_deletes_its_entry() {
    let world = World::new();
    let records = vec![aggregate(9, &["a", "b", "fail", "c"])];
    world.handle(&records).await;
    world.handle(&[plain(10, "d")]).await;
    world.calls();
    let mut event = Event::new(records);
    event.mode = EventMode::Resume;
    assert_eq!(
        json(&world.handle_event(&event, &Context::default()).await),
        with_stop(with_quarantined(failure(9), &[]), 9, 2)
    );
    assert_eq!(world.calls(), ["9:2 fail 2"]);
    assert_eq!(world.states(), ["H 9 done [0-1] failed [2]"]);
    world.mend();
    assert_eq!(json(&world.handle_event(&event, &Context::default()).await), with_quarantined(SUCCESS, &[]));
    assert_eq!(world.calls(), ["9:2 fail 3", "9:3 c 1"]);
    assert_eq!(world.states(), [""; 0]);
}

#[tokio::test]
async fn a_redrive_also_resumes_where_nothing_has_followed_the_discard() {
    let world = World::new();
    let records = vec![aggregate(9, &["a", "fail", "c"])];
    world.handle(&records).await;
    world.calls();
    let mut event = Event::new(records);
    event.mode = EventMode::Resume;
    world.handle_event(&event, &Context::default()).await;
    assert_eq!(world.states(), ["S 9 done [0-0] failed [1]", "H 9 done [0-0] failed [2]"]);
    world.mend();
    assert_eq!(json(&world.handle_event(&event, &Context::default()).await), with_quarantined(SUCCESS, &[]));
    assert_eq!(world.calls(), ["9:1 fail 2", "9:1 fail 3", "9:2 c 1"]);
    assert_eq!(world.states(), [""; 0]);
}

#[tokio::test]
async fn a_redrive_tells_kinesis_kit_what_it_quarantines() {
    let world = World::with_quarantine(2);
    let mut event = Event::new(vec![aggregate(9, &["bad", "b", "bad"]), plain(10, "bad"), plain(11, "fail")]);
    event.mode = EventMode::Resume;
    let response = world.handle_event(&event, &Context::default()).await;
    assert_eq!(json(&response), with_stop(with_quarantined(failure(11), &[(9, 2), (10, 1)]), 11, 0));
    assert_eq!(world.quarantine().len(), 3);
    let mut rest = Event::new(vec![plain(11, "fail")]);
    rest.mode = EventMode::Resume;
    let response = world.handle_event(&rest, &Context::default()).await;
    assert_eq!(json(&response), with_quarantined(SUCCESS, &[(11, 1)]));
    assert_eq!(world.quarantine().len(), 4);
    // The mapping gets what it always got.
    event.mode = EventMode::Mapping;
    let other = World::with_quarantine(2);
    assert_eq!(json(&other.handle_event(&event, &Context::default()).await), failure(11));
    assert_eq!(other.quarantine().len(), 3);
}

#[tokio::test]
async fn handler_rule_7_fan_out_members_are_known_by_their_content() {
    let world = World::with_quarantine(2);
    let members = [consumer(9, "a"), consumer(9, "bad"), consumer(9, "fail"), consumer(9, "b")];
    assert_eq!(json(&world.handle(&members).await), failure(9));
    assert_eq!(world.quarantine(), ["9:content bad permanent 1 never will be"]);
    assert_eq!(world.states(), ["S 9 done [content] failed [1]"]);
    let hash = UserRecordId::Content(ContentHash::new(b"kinesis-key", b"fail"));
    assert_eq!(world.journal.states(SHARD)[0].progress.failures(&hash), 1);
    world.calls();
    // A bisect may cut between them. What was done is done again; what was given up is not.
    assert_eq!(json(&world.handle(&members[..2]).await), SUCCESS);
    assert_eq!(world.calls(), ["9 a 1"]);
    assert_eq!(world.states(), ["S 9 done [] failed [1]"], "the other half's");
    let response = world.handle(&members[2..]).await;
    assert_eq!((json(&response), response.counts().quarantined), (SUCCESS.to_owned(), 1));
    assert_eq!(world.calls(), ["9 fail 2", "9 b 1"]);
    assert_eq!(world.states(), [""; 0]);
}

#[tokio::test]
async fn a_redrive_skips_what_a_fan_out_consumer_has_quarantined() {
    let world = World::with_quarantine(9);
    // Lambda has deaggregated it, so the keys are those of the user records.
    let member = |data| {
        let mut record = consumer(9, data);
        record.partition_key = "user-key".into();
        record
    };
    assert_eq!(json(&world.handle(&[member("a"), member("bad"), member("fail")]).await), failure(9));
    assert_eq!(world.handle(&[consumer(10, "b")]).await.counts().discarded, 1);
    world.calls();
    let mut event = Event::new(vec![aggregate(9, &["a", "bad", "fail"])]);
    event.mode = EventMode::Resume;
    let response = world.handle_event(&event, &Context::default()).await;
    assert_eq!(json(&response), with_stop(with_quarantined(failure(9), &[]), 9, 2));
    assert_eq!(world.calls(), ["9:0 a 1", "9:2 fail 1"]);
    assert_eq!(world.quarantine().len(), 1);
}

#[tokio::test]
async fn a_window_has_no_journal() {
    let world = World::with_quarantine(1);
    let json_event = String::from_utf8(Event::new(vec![plain(9, "bad")]).to_json()).expect("text").replacen(
        '{',
        r#"{"window":{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:02:00Z"},"state":{},"#,
        1,
    );
    let handler = Handler::with_options(&world, world.options.build());
    let response = handler.handle(json_event.as_bytes(), &Context::default()).await.expect("a response");
    assert_eq!(response.batch_item_failure(), Some(number(9)));
    assert_eq!((world.states(), world.quarantine()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_strict_mirror_that_fails_does_not_make_the_last_record_be_done_twice() {
    let mut world = World::new();
    let mirror = Arc::new(MemoryCheckpoints::default());
    // Somebody else's.
    let mut row =
        kinesis_handler::checkpoint::Row::new(kinesis_handler::checkpoint::RowCheckpoint::TrimHorizon);
    row.stream_arn = Some("another".to_owned());
    mirror.put(SHARD.shard_id, row);
    world.options.checkpoints = Some(mirror.clone());
    world.options.checkpoint_strict = true;
    let records = [plain(8, "a"), aggregate(9, &["b", "c"])];
    assert_eq!(json(&world.handle(&records).await), failure(9));
    assert_eq!(world.states(), ["S 9 done [0-1] failed []"]);
    let row = kinesis_handler::checkpoint::Row::new(kinesis_handler::checkpoint::RowCheckpoint::TrimHorizon);
    mirror.put(SHARD.shard_id, row);
    let response = world.handle(&records[1..]).await;
    assert_eq!((json(&response), response.counts().resumed), (SUCCESS.to_owned(), 2));
    assert_eq!(world.calls(), ["8:0 a 1", "9:0 b 1", "9:1 c 1"]);
    assert_eq!(world.states(), [""; 0]);
}

#[tokio::test]
async fn what_is_quarantined_counts_as_done_in_the_mirror() {
    let mut world = World::with_quarantine(1);
    let mirror = Arc::new(MemoryCheckpoints::default());
    world.options.checkpoints = Some(mirror.clone());
    let at = || {
        let row = mirror.row(SHARD.shard_id).expect("a row");
        format!("{}:{}", row.checkpoint, row.sub_sequence_number.expect("the mirror writes one"))
    };
    world.handle(&[aggregate(8, &["a", "b", "bad"])]).await;
    assert_eq!(at(), "8:2");
    world.handle(&[plain(9, "bad")]).await;
    assert_eq!(at(), "9:0");
    world.handle(&[invalid_aggregate(10)]).await;
    assert_eq!(at(), "10:0");
}

#[tokio::test]
async fn an_event_without_a_shard_is_processed_without_the_journal() {
    let world = World::new();
    let mut record = plain(9, "fail");
    record.shard_id = None;
    let response = world.handle(&[record]).await;
    assert_eq!((json(&response), response.counts().journal_read_errors), (failure(9), 1));
    assert_eq!(world.calls(), ["9:0 fail ?"]);
}

#[tokio::test]
async fn the_journal_of_a_large_event_is_read_beside_the_decoding() {
    let world = World::new();
    // Several turns of decoding.
    let large = "x".repeat(200_000);
    let records: Vec<_> = (0..20).map(|number| raw(number, large.as_bytes())).collect();
    assert_eq!(json(&world.handle(&records).await), SUCCESS);
    assert_eq!(world.calls().len(), 20);
}
