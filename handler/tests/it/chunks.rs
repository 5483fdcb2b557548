//! Chunks of user records: their bounds, and how an outcome maps to positions.

use std::sync::{Arc, Mutex};

use kinesis_handler::{
    ChunkOutcome, ChunkProcessor, Chunks, Context, Event, Handler, KinesisRecord, ProcessError, Record,
    journal::{JournalShard, MemoryJournal, UserRecordId},
    permanent, retryable,
};
use kpl_deaggregation::{UserRecord, encode};
use proptest::{collection::vec, prelude::*};

use crate::batch::{Log, STREAM_ARN, SUCCESS, aggregate, failure, invalid_aggregate, json, plain, raw};
use crate::options::TestOptions;

/// A chunk processor, and the chunks that it gets: each as the texts of its user records.
struct World {
    outcome: fn(&[&str]) -> Result<ChunkOutcome, ProcessError>,
    chunks: Mutex<Vec<Vec<String>>>,
}

impl World {
    fn new(outcome: fn(&[&str]) -> Result<ChunkOutcome, ProcessError>) -> Self {
        World { outcome, chunks: Mutex::default() }
    }

    fn take_chunks(&self) -> Vec<String> {
        let chunks = std::mem::take(&mut *self.chunks.lock().expect("no panic while locked"));
        chunks.into_iter().map(|chunk| chunk.join(" ")).collect()
    }
}

impl ChunkProcessor for &World {
    async fn process(&self, chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
        let texts = chunk.iter().map(Record::text).collect::<Result<Vec<_>, _>>()?;
        let owned = texts.iter().map(|&text| text.to_owned()).collect();
        self.chunks.lock().expect("no panic while locked").push(owned);
        tokio::task::yield_now().await;
        (self.outcome)(&texts)
    }
}

async fn response(chunks: Chunks<&World>, records: &[KinesisRecord<'_>], options: &TestOptions) -> String {
    let handler = Handler::try_with_options(chunks, options.build()).expect("suitable options");
    let event = Event::new(records.to_vec()).to_json();
    json(&handler.handle(&event, &Context::default()).await.expect("a Kinesis event"))
}

fn with_quarantine() -> TestOptions {
    TestOptions {
        application: Some("orders".to_owned()),
        journal: Some(Arc::new(MemoryJournal::default())),
        quarantine: true,
        ..TestOptions::default()
    }
}

/// Says of each user record what its text says.
fn each(texts: &[&str]) -> Result<ChunkOutcome, ProcessError> {
    let outcome = |text: &&str| match &text[..1] {
        "b" => Err(permanent("bad")),
        "f" => Err(retryable("asked to")),
        _ => Ok(()),
    };
    Ok(ChunkOutcome::Each(texts.iter().map(outcome).collect()))
}

#[tokio::test]
async fn chunks_are_in_order_across_kinesis_records_and_end_at_their_bounds() {
    let records = [plain(1, "a"), aggregate(2, &["bb", "c", "d"]), plain(3, "eeee"), plain(4, "f")];
    let all = World::new(|_| Ok(ChunkOutcome::Processed));
    let chunks = || Chunks::new(&all);
    for (chunks, expected) in [
        (chunks(), vec!["a bb c d eeee f"]),
        (chunks().max_records(4), vec!["a bb c d", "eeee f"]),
        (chunks().max_records(1), vec!["a", "bb", "c", "d", "eeee", "f"]),
        (chunks().max_bytes(3), vec!["a bb", "c d", "eeee", "f"]),
        (chunks().max_collecting_time(std::time::Duration::ZERO), vec!["a", "bb", "c", "d", "eeee", "f"]),
    ] {
        assert_eq!(response(chunks, &records, &TestOptions::default()).await, SUCCESS);
        assert_eq!(all.take_chunks(), expected);
    }
}

#[tokio::test]
async fn the_first_user_record_that_is_not_processed_is_reported() {
    let records = [plain(1, "a"), aggregate(2, &["b", "c", "d"]), plain(3, "e")];
    let up_to_two = World::new(|_| Ok(ChunkOutcome::ProcessedUpTo { records: 2, error: retryable("busy") }));
    assert_eq!(response(Chunks::new(&up_to_two), &records, &TestOptions::default()).await, failure(2));
    assert_eq!(up_to_two.take_chunks(), ["a b c d e"], "no further chunk after a failure");
    let none = World::new(|_| Err(retryable("busy")));
    assert_eq!(response(Chunks::new(&none), &records, &TestOptions::default()).await, failure(1));
    let panics = World::new(|_| panic!("asked to"));
    assert_eq!(response(Chunks::new(&panics), &records, &TestOptions::default()).await, failure(1));
    // A Kinesis record that is a failure as a whole ends the chunk before it.
    let records = [plain(1, "a"), invalid_aggregate(2), plain(3, "c")];
    let all = World::new(|_| Ok(ChunkOutcome::Processed));
    assert_eq!(response(Chunks::new(&all), &records, &TestOptions::default()).await, failure(2));
    assert_eq!(all.take_chunks(), ["a"]);
}

#[tokio::test]
async fn errors_beyond_the_stop_are_logged_in_one_line() {
    let log = Log::start();
    let records = [plain(1, "fa"), plain(2, "b"), plain(3, "fc"), plain(4, "d")];
    let world = World::new(each);
    assert_eq!(response(Chunks::new(&world), &records, &TestOptions::default()).await, failure(1));
    let lines = log.lines_with("beyond the one where the batch stopped have failed, too");
    assert!(lines.len() == 1 && lines[0].contains("bad") && lines[0].contains("records=2"), "{lines:?}");
}

#[tokio::test]
async fn what_is_processed_beyond_a_failure_is_not_processed_again() {
    let options = with_quarantine();
    let records = [aggregate(1, &["a", "f", "c"]), plain(2, "d"), plain(3, "fe"), plain(4, "g")];
    let world = World::new(each);
    assert_eq!(response(Chunks::new(&world).max_records(4), &records, &options).await, failure(1));
    assert_eq!(world.take_chunks(), ["a f c d"]);
    // What has failed is alone, so that it is found if it makes a whole chunk fail.
    let all = World::new(|_| Ok(ChunkOutcome::Processed));
    assert_eq!(response(Chunks::new(&all).max_records(4), &records, &options).await, SUCCESS);
    assert_eq!(all.take_chunks(), ["f", "fe g"]);
}

#[tokio::test]
async fn user_records_with_permanent_errors_are_quarantined_and_the_others_processed() {
    let records = [aggregate(1, &["a", "b", "c"]), plain(2, "b"), plain(3, "d")];
    let world = World::new(each);
    assert_eq!(response(Chunks::new(&world), &records, &with_quarantine()).await, SUCCESS);
    assert_eq!(world.take_chunks(), ["a b c b d"]);
    // An error of the whole chunk is that of its first user record.
    let world = World::new(|texts| if texts[0] == "b" { Err(permanent("bad")) } else { each(texts) });
    assert_eq!(response(Chunks::new(&world).max_records(2), &records, &with_quarantine()).await, SUCCESS);
    assert_eq!(world.take_chunks(), ["a b", "c b", "d"]);
}

#[tokio::test]
async fn what_the_journal_keeps_of_a_kinesis_record_is_bounded() {
    let journal = Arc::new(MemoryJournal::default());
    let options = TestOptions { journal: Some(journal.clone()), ..with_quarantine() };
    let texts: Vec<_> = (0..20_000).map(|index| if index % 2 == 0 { "f" } else { "a" }).collect();
    let world = World::new(each);
    let user_records = texts.iter().map(|text| UserRecord::new(b"key", text.as_bytes()));
    let records = [raw(1, &encode(user_records).expect("there are user records"))];
    let shard =
        JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: "shardId-000000000000" };
    for invocation in 1..4 {
        assert_eq!(response(Chunks::new(&world).max_records(20_000), &records, &options).await, failure(1));
        let progress = journal.states(shard).remove(0).progress;
        let entries = progress.done.ranges().count() + progress.attempts.len();
        assert!((4_990..=5_010).contains(&entries), "{entries}");
        // That of the one at which the batch stops is kept.
        assert_eq!(progress.failures(&UserRecordId::Sub(0)), invocation);
    }
}

#[tokio::test]
async fn a_permanent_error_of_a_chunk_is_that_of_the_record_which_has_it_alone() {
    // As `chunk.iter().map(Record::json).collect::<Result<_, _>>()?` has it.
    let any = World::new(|texts| match texts.contains(&"b") {
        true => Err(permanent("bad")),
        false => Ok(ChunkOutcome::Processed),
    });
    let records = [aggregate(1, &["a", "c", "b", "d"]), plain(2, "e"), plain(3, "f")];
    let chunks = || Chunks::new(&any).max_records(5);
    assert_eq!(response(chunks(), &records, &TestOptions::default()).await, failure(1));
    assert_eq!(any.take_chunks(), ["a c b d e", "a", "c", "b"]);
    let journal = Arc::new(MemoryJournal::default());
    let options = TestOptions { journal: Some(journal.clone()), ..with_quarantine() };
    assert_eq!(response(chunks(), &records, &options).await, SUCCESS);
    assert_eq!(any.take_chunks(), ["a c b d e", "a", "c", "b", "d e f"]);
    let shard =
        JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: "shardId-000000000000" };
    let quarantined: Vec<_> = journal.quarantine(shard).into_iter().map(|record| record.data).collect();
    assert_eq!(quarantined, [b"b"]);
}

/// A record of an enhanced fan-out consumer.
fn fan_out(sequence_number: u64, data: &str) -> KinesisRecord<'static> {
    let mut record = plain(sequence_number, data);
    record.event_source_arn = Some(format!("{STREAM_ARN}/consumer/c:1").into());
    record
}

#[tokio::test]
async fn user_records_of_a_fan_out_consumer_that_are_alike_are_quarantined_once() {
    let journal = Arc::new(MemoryJournal::default());
    let options = TestOptions { journal: Some(journal.clone()), ..with_quarantine() };
    // Members of one aggregate, which Lambda has taken apart.
    let records = [fan_out(1, "b"), fan_out(1, "b"), fan_out(1, "c"), fan_out(1, "b")];
    let world = World::new(each);
    assert_eq!(response(Chunks::new(&world), &records, &options).await, SUCCESS);
    assert_eq!(world.take_chunks(), ["b b c b"]);
    let shard =
        JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: "shardId-000000000000" };
    assert_eq!(journal.quarantine(shard).len(), 1);
}

proptest! {
    /// In each retry all before the reported user record is processed, and with the journal nothing is processed twice.
    #[test]
    fn each_user_record_is_processed_once(
        texts in vec(vec("[abf][a-z]", 1..5), 1..6), max_records in 1..6usize, max_bytes in 1..20usize,
    ) {
        // Whether it fails depends on the attempt, too: retryable ones fail once.
        struct Flaky(Mutex<std::collections::HashMap<String, u32>>, Mutex<Vec<String>>);
        impl ChunkProcessor for &Flaky {
            async fn process(&self, chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
                let results = chunk.iter().map(|record| {
                    let id = format!("{}", record.position());
                    let mut attempts = self.0.lock().expect("no panic while locked");
                    let attempt = attempts.entry(id.clone()).or_default();
                    *attempt += 1;
                    match record.data()[0] {
                        b'b' => Err(permanent("bad")),
                        b'f' if *attempt == 1 => Err(retryable("asked to")),
                        _ => {
                            self.1.lock().expect("no panic while locked").push(id);
                            Ok(())
                        }
                    }
                });
                Ok(ChunkOutcome::Each(results.collect()))
            }
        }
        let records: Vec<_> = (1..).zip(&texts).map(|(number, texts)| {
            let texts: Vec<_> = texts.iter().map(String::as_str).collect();
            if texts.len() == 1 { plain(number, texts[0]) } else { aggregate(number, &texts) }
        }).collect();
        let world = Flaky(Mutex::default(), Mutex::default());
        let chunks = Chunks::new(&world).max_records(max_records).max_bytes(max_bytes);
        let handler = Handler::try_with_options(chunks, with_quarantine().build()).expect("suitable options");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut from = 0;
        for _ in 0..100 {
            let event = Event::new(records[from..].to_vec()).to_json();
            let response = runtime.block_on(handler.handle(&event, &Context::default())).expect("an event");
            let Some(reported) = response.batch_item_failure() else {
                let mut done = world.1.lock().expect("no panic while locked").clone();
                let count = done.len();
                done.sort();
                done.dedup();
                prop_assert_eq!(done.len(), count, "none is processed twice");
                let good = texts.iter().flatten().filter(|text| !text.starts_with('b')).count();
                prop_assert_eq!(count, good);
                return Ok(());
            };
            from = reported.to_string().parse::<usize>().expect("a small number") - 1;
        }
        prop_assert!(false, "a record was retried 100 times");
    }
}
