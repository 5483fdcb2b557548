use kinesis_esm::{Mapping, Undocumented, UnknownResponse, Verdict, judge, window::OpenWindow};
use kinesis_handler::{SequenceNumber, event::TumblingWindow};
use lambda_host::Answer;
use serde::de::IgnoredAny;

use crate::{
    delivery::{Quarantined, quarantined},
    error::Completion,
    output::{cell, note::count},
};

/// Widest error of a function, in columns: its text may be a whole page.
const ERROR_WIDTH: usize = 1_000;

/// The fate of the records that share a batch with one that never succeeds.
const WITH_OTHERS: &str =
    "also those that would succeed (with BisectBatchOnFunctionError, only those that fail)";

/// The state that a retry in a tumbling window gets.
const SAME_STATE: &str = "the retry gets the state of this event again";

/// The effect of a failure in the last invocation of a tumbling window.
const LAST_AGAIN: &str =
    "the mapping repeats the window's last invocation until it succeeds, and the shard waits until then";

/// The effect of an answer on a mapping that reports batch item failures.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) lines: Vec<String>,
    pub(super) completion: Completion,
}

impl Meaning {
    /// Returns the meaning of an answer to an event with these records, which may belong to a tumbling window.
    pub(super) fn of(answer: &Answer, batch: &[SequenceNumber], window: Option<&TumblingWindow<'_>>) -> Self {
        match (answer, window) {
            (Answer::Response(response), None) => Self::of_response(response, batch),
            (Answer::Response(response), Some(window)) if window.is_final_invoke => {
                Self::of_last_response(response, batch, window)
            }
            (Answer::Response(response), Some(_)) => Self::of_response_with_state(response, batch),
            (Answer::Error(error), _) => {
                let error = cell::text(&error.to_string(), ERROR_WIDTH);
                let mut lines = vec![format!("the function failed: {error}")];
                match window {
                    Some(window) if window.is_final_invoke => lines.push(LAST_AGAIN.to_owned()),
                    _ => lines.extend(Self::retry_of_all(batch, "no record counts as processed")),
                }
                lines.extend(window.filter(|window| !window.is_final_invoke).map(|_| SAME_STATE.to_owned()));
                Meaning { lines, completion: Completion::SomeFailed }
            }
            (Answer::Throttled, _) => Meaning {
                lines: vec![
                    "the function throttles, or cannot be reached: the mapping invokes it again, which counts as no attempt"
                        .to_owned(),
                ],
                completion: Completion::SomeFailed,
            },
        }
    }

    /// Returns the meaning of a response to an event of a tumbling window that has not ended, which must have the window's state.
    fn of_response_with_state(response: &[u8], batch: &[SequenceNumber]) -> Self {
        let mut meaning = Self::of_response(response, batch);
        let Some(state) = OpenWindow::state_of(response) else {
            let reason =
                "the response has no \"state\", a JSON object, which Lambda asks for until the window ends";
            let lines = Self::retry_of_all(batch, reason).chain([SAME_STATE.to_owned()]).collect();
            return Meaning { lines, completion: Completion::SomeFailed };
        };
        let bytes = state.get().len();
        meaning.lines.push(match (meaning.completion, verdict(response, batch)) {
            (Completion::Done, _) if bytes > TumblingWindow::MAX_STATE_BYTES => format!(
                "the state has {bytes} bytes, more than {}: the mapping ends the window early, with \
                 isWindowTerminatedEarly",
                TumblingWindow::MAX_STATE_BYTES
            ),
            (Completion::Done, _) => {
                format!("the next invocation of the window gets the returned state ({bytes} bytes)")
            }
            (Completion::SomeFailed, Verdict::Partial(_)) => format!(
                "the response has a state ({bytes} bytes): AWS does not document whether the retry gets it, or the state of this \
                 event again"
            ),
            (Completion::SomeFailed, Verdict::Failure) => SAME_STATE.to_owned(),
            // Nobody knows what Lambda makes of it.
            (Completion::SomeFailed, Verdict::Success) => return meaning,
        });
        meaning
    }

    /// Returns the meaning of a response to the last event of a tumbling window, which has no records as a rule.
    fn of_last_response(
        response: &[u8],
        batch: &[SequenceNumber],
        TumblingWindow { is_terminated_early, .. }: &TumblingWindow<'_>,
    ) -> Self {
        let mut meaning = Self::of_response(response, batch);
        if meaning.completion == Completion::SomeFailed {
            meaning.lines.push(LAST_AGAIN.to_owned());
            return meaning;
        }
        if batch.is_empty() {
            meaning.lines.clear();
        }
        let early = if *is_terminated_early { ", early because its state grew too large" } else { "" };
        meaning.lines.push(format!(
            "the window has ended{early}: the next one begins without a state, whatever the response has"
        ));
        meaning
    }

    fn of_response(response: &[u8], batch: &[SequenceNumber]) -> Self {
        let mut mapping = Mapping::default();
        mapping.report_batch_item_failures = true;
        let verdict = |undocumented| judge(response, batch.iter().copied(), &mapping, &undocumented);
        let quarantine = quarantined(response).map(|records: Quarantined| records.total());
        let quarantine = quarantine.filter(|&records| records > 0).map(|records| {
            format!("{} in the quarantine, which counts as processed", count(records, "user record"))
        });
        let failed = |lines: Vec<String>| Meaning {
            lines: lines.into_iter().chain(quarantine.clone()).collect(),
            completion: Completion::SomeFailed,
        };
        let mut refusing = Undocumented::default();
        (refusing.unknown_response, refusing.invalid_json) =
            (UnknownResponse::Failure, UnknownResponse::Failure);
        match (verdict(Undocumented::default()), verdict(refusing)) {
            (Verdict::Partial(reported), _) => failed(retry_from(reported[0], batch)),
            (Verdict::Success, Verdict::Success) => Meaning {
                lines: [success(batch)].into_iter().chain(quarantine).collect(),
                completion: Completion::Done,
            },
            (Verdict::Success, _) => failed(vec![
                "the response says nothing about the batch: Lambda takes it for a success, and no record is retried. Return \
                 {\"batchItemFailures\": [...]}"
                    .to_owned(),
            ]),
            (Verdict::Failure, _) => {
                let reason = match serde_json::from_slice::<IgnoredAny>(response) {
                    Ok(_) => "batchItemFailures does not name records of the batch",
                    Err(_) => "the response is not JSON",
                };
                failed(Self::retry_of_all(batch, reason).collect())
            }
        }
    }

    fn retry_of_all(batch: &[SequenceNumber], reason: &str) -> impl Iterator<Item = String> {
        let records = count(batch.len() as u64, "record");
        let retry = match batch.len() {
            0 => format!("{reason}: the mapping retries the invocation"),
            1 => format!("{reason}: the mapping retries the record"),
            _ => format!(
                "{reason}: the mapping retries all {records}, also those that were processed; with BisectBatchOnFunctionError, \
                 one half after the other"
            ),
        };
        [retry].into_iter().chain(limit(0, batch))
    }
}

/// Returns the part of a batch that is processed, according to a response.
fn verdict(response: &[u8], batch: &[SequenceNumber]) -> Verdict {
    let mut mapping = Mapping::default();
    mapping.report_batch_item_failures = true;
    judge(response, batch.iter().copied(), &mapping, &Undocumented::default())
}

fn success(batch: &[SequenceNumber]) -> String {
    match batch.len() {
        0 => "the event has no records; the invocation succeeded".to_owned(),
        1 => "the record is processed: the mapping continues after it".to_owned(),
        length => format!("all {length} records are processed: the mapping continues after them"),
    }
}

/// Describes a batch whose record at this position, from zero, is the first one that failed.
fn retry_from(failed: usize, batch: &[SequenceNumber]) -> Vec<String> {
    let rest = batch.len() - failed;
    let processed = match failed {
        0 => "no Kinesis record is processed".to_owned(),
        1 => format!("record 1 of {} is processed", batch.len()),
        _ => format!("records 1 to {failed} of {} are processed", batch.len()),
    };
    let retry = match (failed, rest) {
        (0, 1) => "the mapping retries the record".to_owned(),
        (0, _) => format!("the mapping retries all {rest} records from {}", batch[0]),
        (_, 1) => format!("the mapping retries record {}", batch[failed]),
        (..) => {
            format!("the mapping retries {rest} records from record {} on, {}", failed + 1, batch[failed])
        }
    };
    [format!("{processed}: {retry}")].into_iter().chain(limit(failed, batch)).collect()
}

/// Describes the end of a batch that never succeeds from this position on.
fn limit(failed: usize, batch: &[SequenceNumber]) -> Option<String> {
    let (discarded, dropped) = match batch.len() - failed {
        0 => return None,
        1 => ("discards the record".to_owned(), "it"),
        2 => (format!("discards both records, {WITH_OTHERS}"), "them"),
        rest => (format!("discards all {rest} records, {WITH_OTHERS}"), "them"),
    };
    Some(format!(
        "when MaximumRetryAttempts or MaximumRecordAgeInSeconds is reached, the mapping {discarded}; without either, it \
         retries until the stream drops {dropped}"
    ))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use lambda_host::FunctionError;
    use serde_json::value::RawValue;

    use super::*;

    const LIMIT: &str =
        "when MaximumRetryAttempts or MaximumRecordAgeInSeconds is reached, the mapping discards ";

    const END: &str = "; without either, it retries until the stream drops ";

    #[track_caller]
    fn check(answer: Answer, records: usize, completion: Completion, expected: &[&str]) {
        check_in(None, answer, records, completion, expected);
    }

    #[track_caller]
    fn check_in(
        window: Option<&TumblingWindow<'_>>,
        answer: Answer,
        records: usize,
        completion: Completion,
        expected: &[&str],
    ) {
        let batch: Vec<SequenceNumber> =
            (10..10 + records).map(|number| number.to_string().parse().expect("digits")).collect();
        let meaning = Meaning::of(&answer, &batch, window);
        assert_eq!(
            (meaning.completion, meaning.lines),
            (completion, expected.iter().map(ToString::to_string).collect())
        );
    }

    fn response(json: &str) -> Answer {
        Answer::Response(json.to_owned().into())
    }

    #[test]
    fn a_success_is_one() {
        let all = "all 3 records are processed: the mapping continues after them";
        check(response(r#"{"batchItemFailures":[]}"#), 3, Completion::Done, &[all]);
        check(response(""), 3, Completion::Done, &[all]);
        let one = "the record is processed: the mapping continues after it";
        check(response("null"), 1, Completion::Done, &[one]);
        let none = "the event has no records; the invocation succeeded";
        check(response(r#"{"state":{}}"#), 0, Completion::Done, &[none]);
        let quarantined = r#"{"batchItemFailures":[],"kinesisKit":{"quarantinedRecords":2,
            "quarantined":[{"sequenceNumber":"10","records":2}]}}"#;
        let in_quarantine = "2 user records in the quarantine, which counts as processed";
        check(response(quarantined), 3, Completion::Done, &[all, in_quarantine]);
    }

    #[test]
    fn a_partial_failure_names_the_record_that_is_retried_and_the_end() {
        let failed =
            |number: u64| response(&format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"{number}"}}]}}"#));
        let end = |what: &str| format!("{LIMIT}{what}{END}them");
        let end_of_one = format!("{LIMIT}the record{END}it");
        let first = "no Kinesis record is processed: the mapping retries all 3 records from 10";
        let rest = end(&format!("all 3 records, {WITH_OTHERS}"));
        check(failed(10), 3, Completion::SomeFailed, &[first, &rest]);
        let second = "record 1 of 3 is processed: the mapping retries 2 records from record 2 on, 11";
        let rest = end(&format!("both records, {WITH_OTHERS}"));
        check(failed(11), 3, Completion::SomeFailed, &[second, &rest]);
        let last = "records 1 to 2 of 3 are processed: the mapping retries record 12";
        check(failed(12), 3, Completion::SomeFailed, &[last, &end_of_one]);
        let only = "no Kinesis record is processed: the mapping retries the record";
        check(failed(10), 1, Completion::SomeFailed, &[only, &end_of_one]);
    }

    fn window() -> TumblingWindow<'static> {
        let state = RawValue::from_string("{}".to_owned()).expect("JSON");
        TumblingWindow::new("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", Cow::Owned(state))
    }

    #[test]
    fn the_state_of_a_window_is_carried_or_not() {
        let open = window();
        let all = "all 2 records are processed: the mapping continues after them";
        let carried = "the next invocation of the window gets the returned state (7 bytes)";
        let done = response(r#"{"batchItemFailures":[],"state":{"n":1}}"#);
        check_in(Some(&open), done, 2, Completion::Done, &[all, carried]);

        let large = format!(r#"{{"state":{{"n":"{}"}}}}"#, "x".repeat(TumblingWindow::MAX_STATE_BYTES));
        let early = "the state has 1048584 bytes, more than 1048576: the mapping ends the window early, with \
                     isWindowTerminatedEarly";
        check_in(Some(&open), response(&large), 2, Completion::Done, &[all, early]);

        let rest = format!("{LIMIT}the record{END}it");
        let second = "record 1 of 2 is processed: the mapping retries record 11";
        let either = "the response has a state (7 bytes): AWS does not document whether the retry gets it, or the state of this \
                      event again";
        let partial = response(r#"{"batchItemFailures":[{"itemIdentifier":"11"}],"state":{"n":1}}"#);
        check_in(Some(&open), partial, 2, Completion::SomeFailed, &[second, &rest, either]);

        let rest = format!("{LIMIT}both records, {WITH_OTHERS}{END}them");
        let halves = ": the mapping retries all 2 records, also those that were processed; with BisectBatchOnFunctionError, one \
                      half after the other";
        let missing = format!(
            "the response has no \"state\", a JSON object, which Lambda asks for until the window ends{halves}"
        );
        for none in [r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":[],"state":7}"#] {
            let expected = [&*missing, &rest, SAME_STATE];
            check_in(Some(&open), response(none), 2, Completion::SomeFailed, &expected);
        }
        let foreign = response(r#"{"batchItemFailures":[{"itemIdentifier":"9"}],"state":{"n":1}}"#);
        let unknown = format!("batchItemFailures does not name records of the batch{halves}");
        let expected = [&*unknown, &rest, SAME_STATE];
        check_in(Some(&open), foreign, 2, Completion::SomeFailed, &expected);
        let error = FunctionError::Crash { how: "exit status: 3".to_owned() };
        let none = format!("no record counts as processed{halves}");
        let expected = ["the function failed: crashed: exit status: 3", &none, &rest, SAME_STATE];
        check_in(Some(&open), Answer::Error(error), 2, Completion::SomeFailed, &expected);
    }

    #[test]
    fn the_last_invocation_of_a_window_ends_it_or_is_repeated() {
        let mut last = window();
        last.is_final_invoke = true;
        let ended = "the window has ended: the next one begins without a state, whatever the response has";
        for text in [r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":[],"state":{"n":1}}"#] {
            check_in(Some(&last), response(text), 0, Completion::Done, &[ended]);
        }
        let error = FunctionError::Crash { how: "exit status: 3".to_owned() };
        let failed = "the function failed: crashed: exit status: 3";
        check_in(Some(&last), Answer::Error(error), 0, Completion::SomeFailed, &[failed, LAST_AGAIN]);
        let foreign = response(r#"{"batchItemFailures":[{"itemIdentifier":"9"}]}"#);
        let unknown =
            "batchItemFailures does not name records of the batch: the mapping retries the invocation";
        check_in(Some(&last), foreign, 0, Completion::SomeFailed, &[unknown, LAST_AGAIN]);
        last.is_terminated_early = true;
        let early = "the window has ended, early because its state grew too large: the next one begins without a state, whatever \
                     the response has";
        check_in(Some(&last), response("{}"), 0, Completion::Done, &[early]);
    }

    #[test]
    fn what_says_nothing_about_the_batch_is_no_success() {
        let nothing = "the response says nothing about the batch: Lambda takes it for a success, and no record is retried. Return \
                       {\"batchItemFailures\": [...]}";
        check(response(r#"{"ok":true}"#), 2, Completion::SomeFailed, &[nothing]);
        let rest = format!("{LIMIT}both records, {WITH_OTHERS}{END}them");
        let halves = ": the mapping retries all 2 records, also those that were processed; with BisectBatchOnFunctionError, one \
                      half after the other";
        let unknown = format!("batchItemFailures does not name records of the batch{halves}");
        let item = response(r#"{"batchItemFailures":[{"itemIdentifier":"9"}]}"#);
        check(item, 2, Completion::SomeFailed, &[&unknown, &rest]);
        let text = format!("the response is not JSON{halves}");
        check(response("<html>"), 2, Completion::SomeFailed, &[&text, &rest]);
        let error = FunctionError::Crash { how: "exit status: 3".to_owned() };
        let none = format!("no record counts as processed{halves}");
        let failed = "the function failed: crashed: exit status: 3";
        check(Answer::Error(error), 2, Completion::SomeFailed, &[failed, &none, &rest]);
    }
}
