use chrono::DateTime;
use kinesis_esm::{Condition, SharedRecord};
use kinesis_esm_simulator::{Delivery, Discarded, DropReason, Invoked, Outcome, Step, StepKind};

use super::step_line::age_ms;
use crate::output::cell;

/// The first digits of a request ID that are shown.
const SHOWN_ID: usize = 8;

/// Most columns of what a function says about its failure.
const MAX_ERROR_WIDTH: usize = 160;

/// A step for people: a line of columns of fixed width, because the next one is not known yet.
#[derive(Debug)]
pub(super) struct StepRow {
    time: String,
    shard: String,
    records: String,
    first: String,
    last: String,
    request: String,
    age: String,
    what: String,
}

impl StepRow {
    pub(super) fn headings() -> String {
        let row = StepRow {
            time: "TIME (UTC)".to_owned(),
            shard: "SHARD".to_owned(),
            records: "RECORDS".to_owned(),
            first: "FIRST".to_owned(),
            last: "LAST".to_owned(),
            request: "REQUEST".to_owned(),
            age: "AGE".to_owned(),
            what: "OUTCOME".to_owned(),
        };
        row.to_line()
    }

    /// Returns the row of a step; `None` for steps that are part of others: people see invocations and discarded records.
    pub(super) fn of(step: &Step) -> Option<Self> {
        let (records, request, what) = match &step.kind {
            StepKind::Invoked(invoked) => {
                (&invoked.records[..], Some(&*invoked.request_id), outcome(invoked))
            }
            StepKind::Discarded(discarded) => {
                (&discarded.records[..], request_id(discarded), fate(discarded))
            }
            StepKind::Dropped(records, reason) => (&records[..], None, dropped(*reason).to_owned()),
            StepKind::TooLarge(too_large) => {
                let what =
                    format!("too large: an event of {} bytes is never delivered", too_large.event_bytes);
                (std::slice::from_ref(&too_large.record), None, what)
            }
            _ => return None,
        };
        let number = |record: Option<&SharedRecord>| {
            record.map_or("-".to_owned(), |record| cell::short_number(&record.sequence_number))
        };
        Some(StepRow {
            time: time_of_day(step.at_ms),
            shard: cell::escape(&step.shard_id),
            records: records.len().to_string(),
            first: number(records.first()),
            last: number(records.last()),
            request: request.map_or("-".to_owned(), |id| id.chars().take(SHOWN_ID).collect()),
            age: age_ms(step, records).map_or("-".to_owned(), duration),
            what,
        })
    }

    pub(super) fn to_line(&self) -> String {
        let StepRow { time, shard, records, first, last, request, age, what } = self;
        // shardId-000000000000; what is longer moves the rest of its line.
        format!("{time:12}  {shard:20}  {records:>7}  {first:13}  {last:13}  {request:8}  {age:>7}  {what}\n")
    }
}

fn outcome(invoked: &Invoked) -> String {
    let mut text = match invoked.outcome {
        Outcome::Success => "success".to_owned(),
        Outcome::Partial => match &invoked.reported[..] {
            [first, ..] => format!("partial: {} failed", cell::short_number(first)),
            [] => "partial".to_owned(),
        },
        Outcome::Failure => "failure".to_owned(),
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
        Condition::RetryAttemptsExhausted => "retries are spent",
        Condition::RecordAgeExceeded => "too old",
    };
    let kept = match discarded.delivery {
        Delivery::Delivered { .. } => "failure record written",
        Delivery::Failed => "lost: failure record not written",
        Delivery::NoDestination => "lost",
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
        DropReason::Trimmed => "dropped: older than the stream keeps records",
        DropReason::Filtered => "dropped: no filter admits it",
        DropReason::OutOfRange => "dropped: hash key of another shard",
    }
}

fn time_of_day(epoch_ms: u64) -> String {
    let time = i64::try_from(epoch_ms).ok().and_then(DateTime::from_timestamp_millis);
    time.unwrap_or_default().format("%H:%M:%S%.3f").to_string()
}

/// Two or three digits and a unit.
pub(super) fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..10_000 => format!("{:.1} s", milliseconds as f64 / 1e3),
        10_000..120_000 => format!("{} s", milliseconds / 1_000),
        120_000..7_200_000 => format!("{} min", milliseconds / 60_000),
        _ => format!("{} h", milliseconds / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use kinesis_esm::StreamRecord;
    use kinesis_esm_simulator::TooLarge;
    use lambda_host::{Fate, FunctionError};

    use super::*;
    use crate::commands::simulate::stream::step_line::StepLine;

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
        let columns = StepRow::of(&step).map(|row| row.to_line());
        let columns: Vec<_> = columns.iter().flat_map(|row| row.split_whitespace()).collect();
        assert_eq!(columns.join(" "), row);
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
            "00:00:00.042 shardId-000000000003 3 …989136588898 8 0f1e2d3c 42 ms partial: 7 failed",
            concat!(
                r#"{"step":"invoked","atMs":1767225600042,"shardId":"shardId-000000000003","lane":0,"records":3,"#,
                r#""firstSequenceNumber":"49590338271490256608559692538361571095921575989136588898","#,
                r#""lastSequenceNumber":"8","beganMs":1767225600002,"#,
                r#""requestId":"0f1e2d3c-0000-4000-8000-000000000000","outcome":"partial","reported":["7"],"#,
                r#""error":null,"lastRecordAgeMs":42}"#
            ),
        );
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
            "00:00:00.042 shardId-000000000003 1 5 5 - 42 ms discarded: too old (lost: failure record not written)",
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
            "00:00:00.042 shardId-000000000003 1 5 5 - 42 ms dropped: hash key of another shard",
            concat!(
                r#"{"step":"dropped","atMs":1767225600042,"shardId":"shardId-000000000003","lane":0,"#,
                r#""records":1,"firstSequenceNumber":"5","lastSequenceNumber":"5","reason":"outOfRange"}"#
            ),
        );
    }

    #[track_caller]
    fn check_outcome(outcome: Outcome, error: Option<FunctionError>, expected: &str) {
        let row = StepRow::of(&step(invoked(outcome, error))).expect("a row");
        assert_eq!(row.what, expected);
    }

    #[test]
    fn outcomes_are_told_in_words() {
        check_outcome(Outcome::Success, None, "success");
        check_outcome(Outcome::Failure, None, "failure: the response is not valid");
        check_outcome(Outcome::Failure, Some(FunctionError::Timeout), "failure: timed out");
        let (error_type, message) = ("E".to_owned(), "one\ntwo".to_owned());
        let thrown = FunctionError::Thrown { error_type, message };
        check_outcome(Outcome::Failure, Some(thrown), r"failure: E: one\ntwo");
        check_outcome(Outcome::Throttled, None, "throttled: the function was not reached");
    }

    #[test]
    fn ages_are_short() {
        let shown = [999, 1_000, 9_999, 119_999, 120_000, 7_199_999, 90_000_000].map(duration);
        assert_eq!(shown, ["999 ms", "1.0 s", "10.0 s", "119 s", "2 min", "119 min", "25 h"]);
    }
}
