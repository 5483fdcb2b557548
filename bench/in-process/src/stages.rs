//! The stages of the work on an event, each measured alone.

use std::{fmt::Write, hint::black_box};

use anyhow::{Result, ensure};
use base64::{
    Engine,
    engine::{Simd, general_purpose::PAD},
};
use bench_events::Event;
use kpl_deaggregation::{ChecksumVerifier, DeaggregationCursor, Deaggregator};
use serde::{Deserialize, Serialize};

use crate::{timing::Effort, whole::Whole};

/// The shortest CPU times for an event in milliseconds.
#[derive(Serialize)]
pub(crate) struct Stages {
    event: &'static str,
    /// Copying the event: what the memory allows.
    copy: f64,
    /// Looking at each byte of the event once.
    read: f64,
    base64: f64,
    checksums: f64,
    user_records: f64,
    /// All of the work by the kit, group by group.
    whole: f64,
    whole_to_stages: f64,
}

#[derive(Deserialize)]
struct EventText<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<RecordText<'a>>,
}

#[derive(Deserialize)]
struct RecordText<'a> {
    #[serde(borrow)]
    kinesis: KinesisText<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KinesisText<'a> {
    partition_key: &'a str,
    data: &'a str,
}

pub(crate) fn measure(whole: &Whole, event: &Event, effort: Effort) -> Result<Stages> {
    let text: EventText<'_> = serde_json::from_slice(&event.body)?;
    let mut copied = vec![0; event.body.len()];
    let copy = effort.shortest_ms(|| {
        copied.copy_from_slice(black_box(&event.body));
        black_box(&copied);
        Ok(())
    })?;
    let read = effort.shortest_ms(|| {
        // No event has it.
        ensure!(memchr::memchr(0, black_box(&event.body)).is_none());
        Ok(())
    })?;
    let engine = Simd::standard(PAD);
    let mut buffer = vec![0; event.body.len()];
    let base64 = effort.shortest_ms(|| {
        let mut end = 0;
        for record in &text.records {
            end += engine.decode_slice(record.kinesis.data, &mut buffer[end..])?;
        }
        black_box(&buffer);
        Ok(())
    })?;
    let mut payloads = Vec::new();
    let mut rest = &buffer[..];
    for record in &text.records {
        let length = base64::decoded_len_estimate(record.kinesis.data.len())
            - record.kinesis.data.bytes().rev().take_while(|byte| *byte == b'=').count();
        let (payload, after) = rest.split_at(length);
        payloads.push(payload);
        rest = after;
    }
    let mut verifier = ChecksumVerifier::default();
    let checksums = effort.shortest_ms(|| {
        black_box(verifier.verify(&payloads));
        Ok(())
    })?;
    let known = verifier.verify(&payloads);
    let mut cursor = DeaggregationCursor::new(Deaggregator::default());
    let user_records = effort.shortest_ms(|| {
        let mut found = 0;
        for ((record, payload), checksum) in text.records.iter().zip(&payloads).zip(known) {
            cursor.start_verified(record.kinesis.partition_key.as_bytes(), payload, *checksum)?;
            for user_record in &mut cursor {
                black_box(user_record.data.len());
                found += 1;
            }
        }
        ensure!(found == event.user_records, "not all user records were found");
        Ok(())
    })?;
    let all = effort.shortest_ms(|| whole.handle(event))?;
    let whole_to_stages = all / (read + base64 + checksums + user_records);
    Ok(Stages { event: event.name, copy, read, base64, checksums, user_records, whole: all, whole_to_stages })
}

pub(crate) fn table(all: &[Stages]) -> String {
    let mut out = "shortest CPU times in ms, in one process\n\n".to_owned();
    let mut row = |title: &str, figure: fn(&Stages) -> f64| {
        let _ = write!(out, "{title:38}");
        all.iter().for_each(|stages| _ = write!(out, "{:8.3}", figure(stages)));
        out.push('\n');
    };
    row("copy the event, for comparison", |stages| stages.copy);
    row("read the event", |stages| stages.read);
    row("base64", |stages| stages.base64);
    row("checksums", |stages| stages.checksums);
    row("user records", |stages| stages.user_records);
    row("all of it, by the kit", |stages| stages.whole);
    row("all of it ÷ sum of the four", |stages| stages.whole_to_stages);
    let names: String = all.iter().map(|stages| format!("{:>8}", stages.event)).collect();
    out.insert_str(out.find("\n\n").map_or(0, |at| at + 2), &format!("{:38}{names}\n", ""));
    out
}
