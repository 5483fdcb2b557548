//! Compressed payloads through a handler: with the option, user records are read decompressed, whatever calls the processor.

use std::{io::Write, sync::Mutex};

use flate2::write::{GzEncoder, ZlibEncoder};
use kinesis_handler::{
    ChunkOutcome, Chunks, Context, Event, Handler, KinesisRecord, Options, OptionsBuilder, ProcessError,
    Processor, Record,
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
