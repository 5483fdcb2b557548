//! Hold: later records of a quarantined one's partition key follow it into the quarantine.

use std::sync::{Arc, Mutex};

use kinesis_handler::{
    ChunkOutcome, Chunks, Handler, ProcessError, Processor, Record,
    journal::{JournalShard, MemoryJournal, QuarantineReason},
    permanent, retryable,
    testing::{TestBatch, TestRecord},
};
use proptest::{collection::vec, prelude::*};

use crate::options::TestOptions;

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    tokio::task::yield_now().await;
    match record.data() {
        b"bad" => Err(permanent("malformed")),
        b"busy" => Err(retryable("asked to")),
        _ => Ok(()),
    }
}

async fn process_chunk(chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
    let mut results = Vec::new();
    for record in chunk {
        results.push(process(*record).await);
    }
    Ok(ChunkOutcome::Each(results))
}

fn options(journal: &Arc<MemoryJournal>) -> TestOptions {
    TestOptions {
        application: Some("orders".to_owned()),
        journal: Some(journal.clone()),
        quarantine: true,
        hold: true,
        ..TestOptions::default()
    }
}

fn keyed(key: &str, data: &str) -> TestRecord {
    TestRecord::new(data).partition_key(key)
}

async fn check(processor: impl Processor, options: TestOptions) {
    let batch = TestBatch::new()
        .record(keyed("a", "1"))
        .aggregate([keyed("a", "bad"), keyed("b", "2"), keyed("a", "3")])
        .record(keyed("b", "4"))
        .record(keyed("a", "bad"));
    let handler = Handler::try_with_options(processor, options.build()).expect("suitable options");
    let run = batch.run_with(&handler).await;
    let held = "quarantined: held behind 2:0, an earlier record of its partition key, which was quarantined";
    let expected = match options.hold {
        true => [held, held],
        false => ["processed", "quarantined: malformed"],
    };
    let [in_aggregate, later] = expected;
    run.assert_fates(&["processed", "quarantined: malformed", "processed", in_aggregate, "processed", later]);
    assert_eq!(run.reported(), None);
}

#[tokio::test]
async fn later_records_of_a_quarantined_key_follow_it() {
    for hold in [true, false] {
        let options = |concurrency| TestOptions { concurrency, hold, ..options(&Arc::default()) };
        check(process, options(None)).await;
        check(process, options(Some(8))).await;
        check(Chunks::new(process_chunk), options(None)).await;
    }
}

#[tokio::test]
async fn the_quarantine_says_why_and_keeps_the_order() {
    let journal = Arc::new(MemoryJournal::default());
    let handler = Handler::with_options(process, options(&journal).build());
    let batch = TestBatch::new().record(keyed("a", "bad")).record(keyed("a", "1")).record(keyed("a", "2"));
    batch.run_with(&handler).await;
    let shard = JournalShard {
        application: "orders",
        stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/test",
        shard_id: "shardId-000000000000",
    };
    let quarantined = journal.quarantine(shard);
    let items: Vec<_> = quarantined.iter().map(|item| (item.reason, item.attempts, &*item.data)).collect();
    assert_eq!(
        items,
        [
            (QuarantineReason::Permanent, 1, &b"bad"[..]),
            (QuarantineReason::Held, 0, b"1"),
            (QuarantineReason::Held, 0, b"2")
        ]
    );
    // The next batch knows nothing of it.
    let next =
        TestBatch::new().record(keyed("b", "0")).shard_id("shardId-000000000001").record(keyed("a", "3"));
    next.run_with(&handler).await.assert_fates(&["processed", "processed"]);
}

#[tokio::test]
async fn the_rest_of_an_aggregate_holds_all_of_its_keys() {
    let options = TestOptions { quarantine_limit: Some(1), ..options(&Arc::default()) };
    let handler = Handler::with_options(process, options.build());
    let batch = TestBatch::new()
        .aggregate([keyed("a", "bad"), keyed("b", "bad"), keyed("c", "1")])
        .record(keyed("c", "2"))
        .record(keyed("d", "3"));
    let run = batch.run_with(&handler).await;
    let held = "quarantined: held behind 1:1, an earlier record of its partition key, which was quarantined";
    let malformed = "quarantined: malformed";
    run.assert_fates(&[malformed, malformed, malformed, held, "processed"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With every driver: of each key, nothing is processed behind one that was quarantined in the same batch, nothing is lost, and
    /// the others are processed.
    #[test]
    fn nothing_is_processed_behind_a_quarantined_record_of_its_key(
        records in vec(vec(("[abc]", prop_oneof![4 => Just("1"), 1 => Just("bad"), 1 => Just("busy")]), 1..4), 1..6),
        driver in 0..3u32,
    ) {
        let journal = Arc::new(MemoryJournal::default());
        let options = TestOptions { concurrency: (driver == 1).then_some(3), ..options(&journal) };
        let batch = records.iter().fold(TestBatch::new(), |batch, user_records| {
            batch.aggregate(user_records.iter().map(|(key, data)| keyed(key, data)))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let run = runtime.block_on(async {
            match driver {
                2 => batch.run_with(&Handler::try_with_options(Chunks::new(process_chunk), options.build()).expect("suitable options")).await,
                _ => batch.run_with(&Handler::with_options(process, options.build())).await,
            }
        });
        let fates = run.fates();
        let all: Vec<_> = records.iter().flatten().collect();
        let is_held = |index: usize| {
            all[..index].iter().any(|(key, data)| *key == all[index].0 && *data == "bad")
        };
        // A record that would stop the batch may be held.
        let stop = (0..all.len()).find(|&index| all[index].1 == "busy" && !is_held(index));
        for (index, fate) in fates.iter().enumerate().take(stop.unwrap_or(all.len())) {
            let expected = match all[index].1 {
                _ if is_held(index) => "quarantined: held",
                "bad" => "quarantined: malformed",
                _ => "processed",
            };
            prop_assert!(fate.starts_with(expected), "{index}: {fate}, expected {expected}");
        }
        prop_assert_eq!(fates.len(), all.len());
        prop_assert_eq!(run.reported().is_some(), stop.is_some());
    }
}

#[tokio::test]
async fn a_chunk_has_one_record_of_each_key() {
    let chunks = Mutex::new(Vec::new());
    let note = async |chunk: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
        let texts: Vec<_> =
            chunk.iter().map(|record| String::from_utf8_lossy(record.data()).into_owned()).collect();
        chunks.lock().expect("no panic while locked").push(texts.join(" "));
        Ok(ChunkOutcome::Processed)
    };
    let batch =
        TestBatch::new().aggregate([keyed("a", "1"), keyed("b", "2"), keyed("a", "3"), keyed("c", "4")]);
    let handler = Handler::try_with_options(Chunks::new(note), options(&Arc::default()).build())
        .expect("suitable options");
    batch.run_with(&handler).await;
    drop(handler);
    assert_eq!(chunks.into_inner().expect("no panic while locked"), ["1 2", "3 4"]);
}
