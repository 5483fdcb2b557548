use kinesis_esm::{Mapping, Undocumented, UnknownResponse, Verdict, judge};
use kinesis_handler::SequenceNumber;
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

/// The effect of an answer on a mapping that reports batch item failures.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) lines: Vec<String>,
    pub(super) completion: Completion,
}

impl Meaning {
    pub(super) fn of(answer: &Answer, batch: &[SequenceNumber]) -> Self {
        match answer {
            Answer::Response(response) => Self::of_response(response, batch),
            Answer::Error(error) => {
                let error = cell::text(&error.to_string(), ERROR_WIDTH);
                let mut lines = vec![format!("the function failed: {error}")];
                lines.extend(Self::retry_of_all(batch, "no record counts as processed"));
                Meaning { lines, completion: Completion::SomeFailed }
            }
            Answer::Throttled => Meaning {
                lines: vec![
                    "the function throttles, or cannot be reached: the mapping invokes it again, which counts as no attempt"
                        .to_owned(),
                ],
                completion: Completion::SomeFailed,
            },
        }
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
    use super::*;
    use lambda_host::FunctionError;

    const LIMIT: &str =
        "when MaximumRetryAttempts or MaximumRecordAgeInSeconds is reached, the mapping discards ";

    const END: &str = "; without either, it retries until the stream drops ";

    #[track_caller]
    fn check(answer: Answer, records: usize, completion: Completion, expected: &[&str]) {
        let batch: Vec<SequenceNumber> =
            (10..10 + records).map(|number| number.to_string().parse().expect("digits")).collect();
        let meaning = Meaning::of(&answer, &batch);
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
