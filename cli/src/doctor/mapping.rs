use std::collections::BTreeMap;

use serde_json::Value;

use super::finding::{Finding, Severity};

/// Where discarded records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    S3,
    Sqs,
    Sns,
    /// Some other, or one that is not known.
    Other,
}

/// An event source mapping from Kinesis, as far as it can lose records. What is absent has the API's default.
#[derive(Debug, Clone, Default)]
pub(super) struct Mapping {
    /// Logical ID, or UUID.
    pub(super) id: String,
    pub(super) event_source_arn: Option<String>,
    pub(super) starting_position: Option<String>,
    pub(super) starting_timestamp: Option<String>,
    /// `None` if they could not be evaluated.
    pub(super) response_types: Option<Vec<String>>,
    pub(super) bisects: Setting<bool>,
    pub(super) retries: Setting<i64>,
    pub(super) record_age_s: Setting<i64>,
    pub(super) parallelization_factor: Setting<i64>,
    pub(super) destination: Option<Destination>,
    pub(super) filters: Vec<String>,
    /// Of the stream, if it is known.
    pub(super) retention_hours: Option<i64>,
    /// The function's, if they are known.
    pub(super) variables: BTreeMap<String, String>,
}

/// A value, if it could be evaluated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Setting<T> {
    #[default]
    Absent,
    Unknown,
    Known(T),
}

impl<T: Copy> Setting<T> {
    fn known_or(self, default: T) -> Option<T> {
        match self {
            Setting::Absent => Some(default),
            Setting::Unknown => None,
            Setting::Known(value) => Some(value),
        }
    }
}

const CHECKPOINT_TABLE: &str = "KINESIS_HANDLER_CHECKPOINT_TABLE";
const MAX_ATTEMPTS: &str = "KINESIS_HANDLER_MAX_ATTEMPTS";
const MAX_AGE_SECONDS: &str = "KINESIS_HANDLER_MAX_AGE_SECONDS";

/// Invocations that are no attempts of the record in question: a deadline, and a crash.
const SLACK: i64 = 2;

impl Mapping {
    /// What is wrong with it.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |severity, setting, found: String, reason, mend: &str| {
            let (resource, mend) = (self.id.clone(), mend.to_owned());
            findings.push(Finding { severity, resource, setting, found, reason, mend });
        };
        use Severity::{Error, Warning};

        if let Some(kinds) = &self.response_types
            && !kinds.iter().any(|kind| kind == "ReportBatchItemFailures")
        {
            add(
                Error,
                "FunctionResponseTypes",
                list(kinds),
                "any answer counts as success, and the records that it names as failed are lost",
                "FunctionResponseTypes: [ReportBatchItemFailures]",
            );
        }
        if self.bisects.known_or(false) == Some(false) {
            add(
                Error,
                "BisectBatchOnFunctionError",
                "false".to_owned(),
                "spent retries discard the whole rest of a batch, the good records behind the bad one included",
                "BisectBatchOnFunctionError: true",
            );
        }
        if let Some(retries) = self.retries.known_or(-1).filter(|retries| *retries < 0) {
            add(
                Error,
                "MaximumRetryAttempts",
                retries.to_string(),
                "one bad record blocks its shard until the stream drops it, and all that waits behind it",
                "a finite number, such as MaximumRetryAttempts: 10",
            );
        }
        let retention_s = self.retention_hours.map(|hours| hours * 3600);
        match self.record_age_s.known_or(-1) {
            Some(age) if age < 0 => add(
                Error,
                "MaximumRecordAgeInSeconds",
                age.to_string(),
                "records wait until the stream drops them, of which no failure record tells",
                "less than the stream's retention, such as MaximumRecordAgeInSeconds: 82800 for 24 hours",
            ),
            Some(age) if retention_s.is_some_and(|retention| age >= retention) => add(
                Error,
                "MaximumRecordAgeInSeconds",
                format!("{age}, with a retention of {} seconds", retention_s.unwrap_or_default()),
                "the stream drops records before they are too old, of which no failure record tells",
                "less than the stream's retention, or a longer retention",
            ),
            _ => {}
        }
        match self.destination {
            None => add(
                Error,
                "DestinationConfig",
                "no OnFailure destination".to_owned(),
                "discarded records are gone without a trace",
                "an S3 bucket as DestinationConfig.OnFailure.Destination",
            ),
            Some(kind @ (Destination::Sqs | Destination::Sns)) => add(
                Warning,
                "DestinationConfig",
                if kind == Destination::Sqs { "an SQS queue" } else { "an SNS topic" }.to_owned(),
                "it gets no data, only a pointer into the stream, which forgets the records after its retention",
                "an S3 bucket",
            ),
            Some(Destination::S3 | Destination::Other) => {}
        }
        if self.starting_position.as_deref() == Some("LATEST") {
            add(
                Error,
                "StartingPosition",
                "LATEST".to_owned(),
                "records that are written in the first minutes of a mapping may be missed",
                "TRIM_HORIZON or AT_TIMESTAMP",
            );
        }
        for filter in self.filters.iter().filter(|filter| has_data(filter)) {
            add(
                Error,
                "FilterCriteria",
                filter.clone(),
                "data that is not JSON matches no pattern, so every aggregated record is dropped without a trace",
                "no filter on data; filter in the function",
            );
        }
        if let Some(factor) = self.parallelization_factor.known_or(1).filter(|factor| *factor > 1) {
            if self.variables.contains_key(CHECKPOINT_TABLE) {
                add(
                    Error,
                    "ParallelizationFactor",
                    factor.to_string(),
                    "lanes of one shard finish out of order, so the checkpoint mirror would run ahead of what is done",
                    "ParallelizationFactor: 1 with the mirror",
                );
            } else {
                add(
                    Warning,
                    "ParallelizationFactor",
                    factor.to_string(),
                    "lanes go by the key of the Kinesis record, which all aggregates share or have none of: the order of \
                     user records may be lost",
                    "ParallelizationFactor: 1 with KPL producers",
                );
            }
        }
        let number = |name| self.variables.get(name).and_then(|text: &String| text.parse::<i64>().ok());
        if let (Some(max_attempts), Some(retries)) =
            (number(MAX_ATTEMPTS), self.retries.known_or(-1).filter(|retries| *retries >= 0))
        {
            let found = format!("{retries}, with {MAX_ATTEMPTS}={max_attempts}");
            let mend = format!("at least {}", max_attempts - 1 + SLACK);
            if retries + 1 < max_attempts {
                let reason =
                    "the mapping discards a record before the handler has tried it as often as it shall";
                add(Error, "MaximumRetryAttempts", found, reason, &mend);
            } else if retries + 1 < max_attempts + SLACK {
                let reason = "an invocation that ends at its deadline, or crashes, is an attempt for the mapping only: it \
                              may discard a record before the quarantine takes it";
                add(Warning, "MaximumRetryAttempts", found, reason, &mend);
            }
        }
        if let (Some(max_age), Some(age)) =
            (number(MAX_AGE_SECONDS), self.record_age_s.known_or(-1).filter(|age| *age >= 0))
            && max_age >= age
        {
            add(
                Error,
                MAX_AGE_SECONDS,
                format!("{max_age}, with MaximumRecordAgeInSeconds: {age}"),
                "the mapping discards a record before it is old enough for the quarantine",
                "less than MaximumRecordAgeInSeconds",
            );
        }
        findings
    }

    /// That there is no such mapping any more.
    pub(super) fn removed(&self) -> Finding {
        Finding {
            severity: Severity::Error,
            resource: self.id.clone(),
            setting: "Resources",
            found: "no mapping with this logical ID any more".to_owned(),
            reason: "the change deletes the mapping, and its position is lost with it, also if another one takes its place",
            mend: MEND_REPLACEMENT.to_owned(),
        }
    }

    /// What of it cannot be changed without a new mapping.
    pub(super) fn replaced_by(&self, now: &Mapping) -> Vec<Finding> {
        let changed = |setting, was: &Option<String>, is: &Option<String>| {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            (was != is).then(|| Finding {
                severity: Severity::Error,
                resource: now.id.clone(),
                setting,
                found: format!("{}, and it was {}", text(is), text(was)),
                reason: "the change replaces the mapping, and its position is lost with it",
                mend: MEND_REPLACEMENT.to_owned(),
            })
        };
        [
            changed("EventSourceArn", &self.event_source_arn, &now.event_source_arn),
            changed("StartingPosition", &self.starting_position, &now.starting_position),
            changed("StartingPositionTimestamp", &self.starting_timestamp, &now.starting_timestamp),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

const MEND_REPLACEMENT: &str = "leave it; or delete the mapping first, and make it again where the old one ended \
                                (AT_TIMESTAMP), in a deployment of its own: Lambda takes no second one beside it";

/// Whether a filter's pattern asks for the member `data`, in an alternative, too. One that is no JSON does for all that is
/// known, and of what cannot be evaluated the text tells.
fn has_data(pattern: &str) -> bool {
    let Ok(pattern) = serde_json::from_str::<Value>(pattern) else { return true };
    let is_function = pattern
        .as_object()
        .is_some_and(|members| members.keys().any(|name| name == "Ref" || name.starts_with("Fn::")));
    if is_function { pattern.to_string().contains("data") } else { asks_for_data(&pattern) }
}

fn asks_for_data(pattern: &Value) -> bool {
    let alternatives = pattern["$or"].as_array().into_iter().flatten();
    pattern.get("data").is_some() || alternatives.into_iter().any(asks_for_data)
}

fn list(values: &[String]) -> String {
    if values.is_empty() { "none".to_owned() } else { values.join(", ") }
}
