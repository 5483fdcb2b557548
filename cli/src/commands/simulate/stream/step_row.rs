use chrono::DateTime;
use kinesis_esm::{Condition, SharedRecord};
use kinesis_esm_simulator::{Delivery, Discarded, DropReason, Invoked, Outcome, Step, StepKind};

use super::{super::outcome::has_progress, step_line::age_ms};
use crate::output::{
    cell,
    table::{Column, LastCell, LastColumn, Row},
    tone::Tone,
};

/// Most columns of what a function says about its failure.
const MAX_ERROR_WIDTH: usize = 1_000;

/// Digits of a sequence number in a terminal that has no room for all.
const SHOWN_DIGITS: usize = 12;

/// Columns with room for the cells that are still to come: a row is shown as soon as it is known.
pub(super) const COLUMNS: [Column; 7] = [
    Column::text("TIME (UTC)").min_width(12),
    Column::text("SHARD"),
    Column::number("RECORDS"),
    Column::text("FIRST").end(SHOWN_DIGITS),
    Column::text("LAST").end(SHOWN_DIGITS),
    Column::text("REQUEST").start(8).min_width(36),
    Column::number("AGE").min_width(7),
];

pub(super) const OUTCOME: LastColumn = LastColumn { heading: "OUTCOME", min_width: 30 };

/// Returns the row of a step; `None` for steps that are part of others: people see invocations and discarded records.
pub(super) fn row(step: &Step) -> Option<Row> {
    let (records, request, outcome, tone) = match &step.kind {
        StepKind::Invoked(invoked) => {
            let tone = match invoked.outcome {
                Outcome::Success => Tone::Plain,
                Outcome::Partial | Outcome::Throttled => Tone::Warning,
                Outcome::Failure => Tone::Error,
            };
            (&invoked.records[..], Some(&*invoked.request_id), outcome(invoked), tone)
        }
        StepKind::Discarded(discarded) => {
            (&discarded.records[..], request_id(discarded), fate(discarded), Tone::Error)
        }
        StepKind::Dropped(records, reason) => {
            let tone = if *reason == DropReason::Filtered { Tone::Plain } else { Tone::Error };
            (&records[..], None, dropped(*reason).to_owned(), tone)
        }
        StepKind::TooLarge(too_large) => {
            let outcome =
                format!("too large: an event of {} bytes is never delivered", too_large.event_bytes);
            (std::slice::from_ref(&too_large.record), None, outcome, Tone::Error)
        }
        _ => return None,
    };
    let number = |record: Option<&SharedRecord>| {
        record.map_or("-".to_owned(), |record| record.sequence_number.to_string())
    };
    let columns = vec![
        time_of_day(step.at_ms),
        step.shard_id.to_string(),
        records.len().to_string(),
        number(records.first()),
        number(records.last()),
        request.unwrap_or("-").to_owned(),
        age_ms(step, records).map_or("-".to_owned(), cell::duration),
    ];
    Some(Row::new(columns, LastCell::Whole(outcome)).with_tone(tone))
}

fn outcome(invoked: &Invoked) -> String {
    let mut text = match invoked.outcome {
        Outcome::Success => "ok".to_owned(),
        Outcome::Partial => match &invoked.reported[..] {
            [first, ..] if has_progress(invoked) => format!("partial: record {first} failed"),
            [first, ..] => format!("failed: record {first}"),
            [] => "partial".to_owned(),
        },
        Outcome::Failure => "failed".to_owned(),
        Outcome::Throttled => "throttled: the function was not reached".to_owned(),
    };
    match &invoked.error {
        Some(error) => {
            text.push_str(": ");
            text.push_str(&cell::text(&error.to_string(), MAX_ERROR_WIDTH));
        }
        None if invoked.outcome == Outcome::Failure => {
            text.push_str(": the response is not valid");
        }
        None => {}
    }
    text
}

fn fate(discarded: &Discarded) -> String {
    let why = match discarded.condition {
        Condition::RetryAttemptsExhausted => "retries are exhausted",
        Condition::RecordAgeExceeded => "too old",
    };
    let kept = match discarded.delivery {
        Delivery::Delivered { .. } => "failure record written",
        Delivery::Failed => "dropped: failure record not written",
        Delivery::NoDestination => "dropped: no destination",
    };
    format!("discarded: {why} ({kept})")
}

fn request_id(discarded: &Discarded) -> Option<&str> {
    match &discarded.delivery {
        Delivery::Delivered { record, .. } => Some(&record.request_context.request_id),
        Delivery::Failed | Delivery::NoDestination => None,
    }
}

fn dropped(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Trimmed => "expired: older than the stream keeps records",
        DropReason::Filtered => "filtered out: no filter admits it",
        DropReason::OutOfRange => "out of range: hash key of another shard",
    }
}

fn time_of_day(epoch_ms: u64) -> String {
    let time = i64::try_from(epoch_ms).ok().and_then(DateTime::from_timestamp_millis);
    time.unwrap_or_default().format("%H:%M:%S%.3f").to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use kinesis_esm::StreamRecord;
    use kinesis_esm_simulator::TooLarge;
    use lambda_host::{Fate, FunctionError};

    use super::*;
    use crate::{
        commands::simulate::stream::step_line::StepLine,
        output::{screen::Screen, table::Table},
    };

    const ARRIVAL_MS: u64 = 1_767_225_600_000;

    fn step(kind: StepKind) -> Step {
        Step { at_ms: ARRIVAL_MS + 42, shard_id: "shardId-000000000003".into(), lane: 0, kind }
    }

    fn records(numbers: &[&str]) -> Vec<SharedRecord> {
        let record = |number: &&str| StreamRecord {
            sequence_number: number.parse().expect("digits"),
            partition_key: "k".to_owned(),
            data: Bytes::new(),
            arrival_ms: ARRIVAL_MS,
            encryption_type: "NONE",
        };
        numbers.iter().map(|number| Arc::new(record(number))).collect()
    }

    #[track_caller]
    fn check(kind: StepKind, row: &str, line: &str) {
        let step = step(kind);
        let mut output = Vec::new();
        let mut table = Table::new(&mut output, Screen::default(), COLUMNS, OUTCOME);
        if let Some(row) = super::row(&step) {
            table.push(row).expect("memory takes it");
        }
        table.finish().expect("memory takes it");
        drop(table);
        let output = String::from_utf8(output).expect("text");
        let columns = output.lines().last().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(columns.unwrap_or_default(), row);
        let json = serde_json::to_string(&StepLine::of(&step));
        assert_eq!(json.expect("JSON"), line);
    }

    fn invoked(outcome: Outcome, error: Option<FunctionError>) -> StepKind {
        let records = records(&["49590338271490256608559692538361571095921575989136588898", "7", "8"]);
        StepKind::Invoked(Invoked {
            began_ms: ARRIVAL_MS + 2,
            request_id: "0f1e2d3c-0000-4000-8000-000000000000".to_owned(),
            reported: match outcome {
                Outcome::Partial => vec![records[1].sequence_number],
                _ => Vec::new(),
            },
            records,
            outcome,
            error,
            fate: Fate::Normal,
            is_ignored: false,
        })
    }

    #[test]
    fn steps_are_shown_for_people_and_for_programs() {
        check(
            invoked(Outcome::Partial, None),
            "00:00:00.042 shardId-000000000003 3 49590338271490256608559692538361571095921575989136588898 8 0f1e2d3c-0000-4000-8000-000000000000 42 ms partial: record 7 failed",
            concat!(
                r#"{"step":"invoked","atMs":1767225600042,"shardId":"shardId-000000000003","lane":0,"records":3,"#,
                r#""firstSequenceNumber":"49590338271490256608559692538361571095921575989136588898","#,
                r#""lastSequenceNumber":"8","beganMs":1767225600002,"#,
                r#""requestId":"0f1e2d3c-0000-4000-8000-000000000000","outcome":"partial","reported":["7"],"#,
                r#""error":null,"lastRecordAgeMs":42}"#
            ),
        );
        // The first record of the batch failed: nothing was processed.
        let mut complete_failure = step(invoked(Outcome::Partial, None));
        if let StepKind::Invoked(invoked) = &mut complete_failure.kind {
            invoked.reported = vec![invoked.records[0].sequence_number];
        }
        let row = row(&complete_failure).expect("a row");
        let expected = "failed: record 49590338271490256608559692538361571095921575989136588898";
        assert!(matches!(row.last, LastCell::Whole(outcome) if outcome == expected));
        check(
            StepKind::Read(3),
            "",
            r#"{"step":"read","atMs":1767225600042,"shardId":"shardId-000000000003","lane":0,"records":3}"#,
        );
        check(
            StepKind::Acknowledged(records(&["5"])),
            "",
            concat!(
                r#"{"step":"acknowledged","atMs":1767225600042,"shardId":"shardId-000000000003","lane":0,"#,
                r#""records":1,"firstSequenceNumber":"5","lastSequenceNumber":"5"}"#
            ),
        );
        check(
            StepKind::Discarded(Discarded {
                records: records(&["5"]),
                condition: Condition::RecordAgeExceeded,
                approximate_invoke_count: 1,
                delivery: Delivery::Failed,
            }),
            "00:00:00.042 shardId-000000000003 1 5 5 - 42 ms discarded: too old (dropped: failure record not written)",
            concat!(
                r#"{"step":"discarded","atMs":1767225600042,"shardId":"shardId-000000000003","lane":0,"#,
                r#""records":1,"firstSequenceNumber":"5","lastSequenceNumber":"5","#,
                r#""condition":"RecordAgeExceeded","approximateInvokeCount":1,"failureRecord":"failed"}"#
            ),
        );
        let too_large = TooLarge { record: records(&["5"]).remove(0), event_bytes: 6_990_508 };
        check(
            StepKind::TooLarge(too_large),
            "00:00:00.042 shardId-000000000003 1 5 5 - 42 ms too large: an event of 6990508 bytes is never delivered",
            concat!(
                r#"{"step":"tooLarge","atMs":1767225600042,"shardId":"shardId-000000000003","lane":0,"#,
                r#""records":1,"firstSequenceNumber":"5","lastSequenceNumber":"5","eventBytes":6990508}"#
            ),
        );
        check(
            StepKind::Dropped(records(&["5"]), DropReason::OutOfRange),
            "00:00:00.042 shardId-000000000003 1 5 5 - 42 ms out of range: hash key of another shard",
            concat!(
                r#"{"step":"dropped","atMs":1767225600042,"shardId":"shardId-000000000003","lane":0,"#,
                r#""records":1,"firstSequenceNumber":"5","lastSequenceNumber":"5","reason":"outOfRange"}"#
            ),
        );
    }

    #[track_caller]
    fn check_outcome(outcome: Outcome, error: Option<FunctionError>, expected: &str) {
        let row = row(&step(invoked(outcome, error))).expect("a row");
        assert!(matches!(row.last, LastCell::Whole(outcome) if outcome == expected));
    }

    #[test]
    fn outcomes_are_told_in_words() {
        check_outcome(Outcome::Success, None, "ok");
        check_outcome(Outcome::Failure, None, "failed: the response is not valid");
        check_outcome(Outcome::Failure, Some(FunctionError::Timeout), "failed: timed out");
        let (error_type, message) = ("E".to_owned(), "one\ntwo".to_owned());
        let thrown = FunctionError::Thrown { error_type, message };
        check_outcome(Outcome::Failure, Some(thrown), r"failed: E: one\ntwo");
        check_outcome(Outcome::Throttled, None, "throttled: the function was not reached");
    }
}
