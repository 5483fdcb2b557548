//! Compressed payloads through a handler: with the option, user records are read decompressed, whatever calls the processor.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use flate2::write::{GzEncoder, ZlibEncoder};
use kinesis_handler::{
    ChunkOutcome, Chunks, Context, Event, Handler, JournalOptions, KinesisRecord, Options, OptionsBuilder,
    ProcessError, Processor, QuarantineOptions, Record,
    journal::MemoryJournal,
    testing::{TestBatch, TestRecord},
};
use kpl_deaggregation::{UserRecord, encode};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::batch::{SUCCESS, failure, json, raw};

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// A plain record, a compressed one, and an aggregate whose user records are compressed each, as Fluent Bit's are.
fn records() -> Vec<KinesisRecord<'static>> {
    let user_records = [zlib(b"c"), b"d".to_vec(), gzip(b"e")];
    let aggregate =
        encode(user_records.iter().map(|data| UserRecord::new(b"key", data))).expect("legal user records");
    let zstd = compress_to_vec(&b"b"[..], CompressionLevel::Fastest);
    vec![raw(1, b"a"), raw(2, &zstd), raw(3, &aggregate)]
}

async fn respond(
    processor: impl Processor,
    options: OptionsBuilder,
    records: Vec<KinesisRecord<'_>>,
) -> String {
    let handler = Handler::try_with_options(processor, options.build().expect("legal options"))
        .expect("suitable options");
    let event = Event::new(records).to_json();
    json(&handler.handle(&event, &Context::default()).await.expect("a Kinesis event"))
}

#[tokio::test]
async fn user_records_are_decompressed_one_by_one_and_several_at_once() {
    for concurrency in [1, 4] {
        let texts = Mutex::new(Vec::new());
        let process = async |record: Record<'_>| -> Result<(), ProcessError> {
            let text = record.text()?;
            tokio::task::yield_now().await;
            texts.lock().expect("no panic while locked").push(text.to_owned());
            Ok(())
        };
        let options = Options::builder().decompress().concurrency(concurrency);
        assert_eq!(respond(process, options, records()).await, SUCCESS);
        let mut texts = texts.into_inner().expect("no panic while locked");
        texts.sort();
        assert_eq!(texts, ["a", "b", "c", "d", "e"]);
    }
}

#[tokio::test]
async fn the_user_records_of_a_chunk_are_decompressed() {
    let texts = Mutex::new(String::new());
    let process = async |chunk: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
        for record in chunk {
            texts.lock().expect("no panic while locked").push_str(record.text()?);
        }
        Ok(ChunkOutcome::Processed)
    };
    let options = Options::builder().decompress();
    assert_eq!(respond(Chunks::new(process), options, records()).await, SUCCESS);
    assert_eq!(texts.into_inner().expect("no panic while locked"), "abcde");
}

#[tokio::test]
async fn payloads_are_read_as_they_are_unless_the_option_is_on() {
    let process = async |record: Record<'_>| -> Result<(), ProcessError> {
        record.text()?;
        Ok(())
    };
    assert_eq!(respond(process, Options::builder(), records()).await, failure(2));
    // By hand, it needs no option.
    let process = async |record: Record<'_>| -> Result<(), ProcessError> {
        assert_eq!(record.decompressed()?.len(), 1);
        Ok(())
    };
    assert_eq!(respond(process, Options::builder(), records()).await, SUCCESS);
}

#[tokio::test]
async fn limits_are_those_of_the_options() {
    let records = || vec![raw(1, &gzip(&[b'x'; 1_000])), raw(2, &gzip(&[b'x'; 1_001]))];
    let by_hand = async |record: Record<'_>| -> Result<(), ProcessError> {
        record.decompressed()?;
        Ok(())
    };
    let read = async |record: Record<'_>| -> Result<(), ProcessError> {
        record.text()?;
        Ok(())
    };
    let options = Options::builder().max_decompressed_bytes(1_000);
    assert_eq!(respond(by_hand, options.clone(), records()).await, failure(2));
    assert_eq!(respond(read, options.decompress(), records()).await, failure(2));
}

/// A gzip bomb: many megabytes of zeros.
fn bomb() -> Vec<u8> {
    gzip(&vec![0; 64 << 20])
}

#[tokio::test]
async fn what_cannot_be_decompressed_is_a_permanent_error_of_its_user_record() {
    let text = gzip(b"text");
    let mut corrupt = text.clone();
    *corrupt.last_mut().expect("a trailer") ^= 1;
    let zstd = compress_to_vec(&[b'x'; 1_000][..], CompressionLevel::Fastest);
    let payloads = [
        text.clone(),
        text[..15].to_vec(),
        corrupt,
        b"\x1f\x8b\x08 mislabelled".to_vec(),
        zlib(b"text")[..9].to_vec(),
        b"\x78\x9c mislabelled".to_vec(),
        zstd[..zstd.len() - 1].to_vec(),
        b"\x28\xb5\x2f\xfd mislabelled".to_vec(),
        bomb(),
        text.clone(),
    ];
    let batch = || TestBatch::new().aggregate(payloads.iter().map(TestRecord::new));
    let transparent = async |record: Record<'_>| -> Result<(), ProcessError> {
        assert_eq!(record.text()?, "text");
        Ok(())
    };
    let by_hand = async |record: Record<'_>| -> Result<(), ProcessError> {
        assert_eq!(&*record.decompressed()?, b"text");
        Ok(())
    };
    let options = || {
        let journal = JournalOptions::new(Arc::new(MemoryJournal::default()));
        let options = Options::builder().application("orders").decompress();
        options.journal(journal.quarantine(QuarantineOptions::default())).build().expect("legal options")
    };
    for run in [
        batch().run_with(&Handler::with_options(transparent, options())).await,
        batch().run_with(&Handler::with_options(by_hand, options())).await,
    ] {
        let fates = run.fates();
        let expected = [
            "processed",
            "quarantined: gzip payload is truncated (it ends after 15 bytes)",
            "quarantined: gzip payload is corrupt: invalid header, data or checksum (in what begins at byte 0)",
            "quarantined: gzip payload is ",
            "quarantined: zlib payload is truncated (it ends after 9 bytes)",
            "quarantined: zlib payload is corrupt: invalid header, data or checksum (in what begins at byte 0)",
            "quarantined: zstd payload is ",
            "quarantined: zstd payload is ",
            "quarantined: gzip payload of ",
            "processed",
        ];
        assert_eq!(fates.len(), expected.len());
        for (fate, expected) in fates.iter().zip(expected) {
            assert!(fate.starts_with(expected), "{fate:?} is not {expected:?}");
        }
        assert!(fates[8].contains("decompresses to more than"), "{}", fates[8]);
        assert_eq!(run.reported(), None);
    }
}
