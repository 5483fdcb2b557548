//! The settings of an event source mapping.

mod destination;
mod filter;
mod undocumented;

use std::time::Duration;

use chrono::DateTime;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use thiserror::Error;

use crate::stream_arn::{StreamArn, is_consumer};

pub use destination::{Destination, DestinationError, DestinationKind};
pub use filter::{FilterCriteria, FilterError};
pub use undocumented::{FailingLane, OutOfRangeUserRecord, StateWithFailures, Undocumented, UnknownResponse};

/// The settings of an event source mapping, checked.
///
/// Read from JSON with the members of `CreateEventSourceMapping`, so that a template's values can be pasted. Ranges and
/// defaults are those of the API:
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Mapping {
    /// ARN of the stream, or of an enhanced fan-out consumer (rule 9).
    pub event_source_arn: String,
    /// Function in failure records: a function's name or ARN.
    pub function_arn: String,
    /// Most Kinesis records in a batch, 1 to 10,000. Default 100.
    pub batch_size: usize,
    /// Time to gather records for a batch, up to 300 seconds. Default zero: whatever one read returned.
    pub batching_window: Duration,
    /// Lanes of a shard, 1 to 10. Default 1.
    pub parallelization_factor: u32,
    /// Position from which reading begins.
    pub starting_position: StartingPosition,
    /// Retries of a batch, at most 10,000. `None`, the default: without end.
    pub maximum_retry_attempts: Option<u32>,
    /// Older records are discarded: 60 seconds to 7 days. `None`, the default: none are.
    pub maximum_record_age: Option<Duration>,
    /// Whether a batch that failed is split in two. Default false.
    pub bisect_batch_on_function_error: bool,
    /// Length of tumbling windows, up to 900 seconds. `None`, the default: there are none.
    pub tumbling_window: Option<Duration>,
    /// Filters of the records that are delivered. By default all are.
    pub filter_criteria: FilterCriteria,
    /// Whether responses are looked at (`ReportBatchItemFailures`). Default false.
    pub report_batch_item_failures: bool,
    /// Destination of failure records. By default there is none.
    pub on_failure: Option<Destination>,
    /// When the mapping was enabled, in milliseconds since the start of the simulation. Default zero.
    pub enabled_at_ms: u64,
}

/// The position from which a mapping begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartingPosition {
    /// At the oldest record.
    #[default]
    TrimHorizon,
    /// Behind the newest record, as soon as the mapping is active (rule 3).
    Latest,
    /// At the first record that arrived at this time or later, in milliseconds since 1970.
    AtTimestamp(u64),
}

/// A setting that a mapping cannot have.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum MappingError {
    /// A number is out of its range.
    #[error("{member}: expected {expected}, found {value}")]
    Range {
        /// Name of the setting.
        member: &'static str,
        /// Value that was set.
        value: i64,
        /// Description of the legal values.
        expected: &'static str,
    },
    /// A text is none of those that the setting knows.
    #[error("{member}: expected {expected}, found {value:?}")]
    Value {
        /// Name of the setting.
        member: &'static str,
        /// Value that was set.
        value: String,
        /// Description of the legal values.
        expected: &'static str,
    },
    /// Settings that Lambda does not take together.
    #[error("{first} cannot be set together with {second}")]
    Together {
        /// Name of one setting.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// `StartingPosition` is `AT_TIMESTAMP`, without the time.
    #[error("StartingPosition is AT_TIMESTAMP, but StartingPositionTimestamp is missing")]
    NoTimestamp,
    /// The on-failure destination cannot be used.
    #[error("DestinationConfig.OnFailure.Destination")]
    Destination(#[from] DestinationError),
}

/// The mapping's members as they come.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct RawMapping {
    event_source_arn: Option<String>,
    function_name: Option<String>,
    enabled: Option<bool>,
    batch_size: Option<i64>,
    maximum_batching_window_in_seconds: Option<i64>,
    parallelization_factor: Option<i64>,
    starting_position: Option<String>,
    starting_position_timestamp: Option<Timestamp>,
    maximum_retry_attempts: Option<i64>,
    maximum_record_age_in_seconds: Option<i64>,
    bisect_batch_on_function_error: Option<bool>,
    tumbling_window_in_seconds: Option<i64>,
    filter_criteria: Option<FilterCriteria>,
    function_response_types: Option<Vec<String>>,
    destination_config: Option<DestinationConfig>,
    #[serde(rename = "enabledAtMs")]
    enabled_at_ms: Option<u64>,

    // They change nothing that can be seen here.
    #[serde(rename = "MetricsConfig")]
    _metrics_config: Option<IgnoredAny>,
    #[serde(rename = "Tags")]
    _tags: Option<IgnoredAny>,
    #[serde(rename = "KMSKeyArn", alias = "KmsKeyArn")]
    _kms_key_arn: Option<IgnoredAny>,
}

/// Seconds since 1970, or ISO 8601 with a zone.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "StartingPositionTimestamp is neither a number nor text")]
enum Timestamp {
    Seconds(f64),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct DestinationConfig {
    on_failure: Option<OnFailure>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct OnFailure {
    destination: Option<String>,
}

const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:simulated-function";

impl Default for Mapping {
    fn default() -> Self {
        Mapping {
            event_source_arn: StreamArn::default().as_str().to_owned(),
            function_arn: FUNCTION_ARN.to_owned(),
            batch_size: 100,
            batching_window: Duration::ZERO,
            parallelization_factor: 1,
            starting_position: StartingPosition::default(),
            maximum_retry_attempts: None,
            maximum_record_age: None,
            bisect_batch_on_function_error: false,
            tumbling_window: None,
            filter_criteria: FilterCriteria::default(),
            report_batch_item_failures: false,
            on_failure: None,
            enabled_at_ms: 0,
        }
    }
}

impl Mapping {
    /// Whether Lambda reads through an enhanced fan-out consumer, and so deaggregates (rule 9).
    pub fn is_enhanced_fan_out(&self) -> bool {
        is_consumer(&self.event_source_arn)
    }
}

impl TryFrom<RawMapping> for Mapping {
    type Error = MappingError;

    fn try_from(raw: RawMapping) -> Result<Self, MappingError> {
        if raw.enabled == Some(false) {
            let (member, value) = ("Enabled", "false".to_owned());
            return Err(MappingError::Value { member, value, expected: "true: nothing would be read" });
        }
        let factor = range("ParallelizationFactor", raw.parallelization_factor, 1, 1..=10, "1 to 10")?;
        let window = "MaximumBatchingWindowInSeconds";
        let batching_window =
            range(window, raw.maximum_batching_window_in_seconds, 0, 0..=300, "0 to 300 seconds")?;
        let batch_size = range("BatchSize", raw.batch_size, 100, 1..=10_000, "1 to 10,000")?;
        let retries = "MaximumRetryAttempts";
        let retries = range(retries, raw.maximum_retry_attempts, -1, -1..=10_000, "-1 (no end) to 10,000")?;
        let tumbling_window =
            range("TumblingWindowInSeconds", raw.tumbling_window_in_seconds, 0, 0..=900, "0 to 900 seconds")?;
        let filter_criteria = raw.filter_criteria.unwrap_or_default();
        if tumbling_window > 0 {
            // Rule 28.
            let first = "TumblingWindowInSeconds";
            if factor > 1 {
                return Err(MappingError::Together { first, second: "ParallelizationFactor above 1" });
            }
            if !filter_criteria.is_empty() {
                return Err(MappingError::Together { first, second: "FilterCriteria" });
            }
        }
        let on_failure = raw.destination_config.and_then(|config| config.on_failure?.destination);
        let default = Mapping::default();
        Ok(Mapping {
            event_source_arn: raw.event_source_arn.unwrap_or(default.event_source_arn),
            function_arn: raw.function_name.map_or(default.function_arn, function_arn),
            batch_size: batch_size as usize,
            batching_window: Duration::from_secs(batching_window as u64),
            parallelization_factor: factor as u32,
            starting_position: starting_position(
                raw.starting_position.as_deref(),
                raw.starting_position_timestamp,
            )?,
            maximum_retry_attempts: u32::try_from(retries).ok(),
            maximum_record_age: maximum_record_age(raw.maximum_record_age_in_seconds)?,
            bisect_batch_on_function_error: raw.bisect_batch_on_function_error.unwrap_or(false),
            tumbling_window: (tumbling_window > 0).then(|| Duration::from_secs(tumbling_window as u64)),
            filter_criteria,
            report_batch_item_failures: reports(raw.function_response_types.unwrap_or_default())?,
            on_failure: on_failure.map(|arn| arn.parse()).transpose()?,
            enabled_at_ms: raw.enabled_at_ms.unwrap_or(0),
        })
    }
}

fn range(
    member: &'static str,
    value: Option<i64>,
    default: i64,
    range: std::ops::RangeInclusive<i64>,
    expected: &'static str,
) -> Result<i64, MappingError> {
    let value = value.unwrap_or(default);
    if range.contains(&value) { Ok(value) } else { Err(MappingError::Range { member, value, expected }) }
}

fn maximum_record_age(seconds: Option<i64>) -> Result<Option<Duration>, MappingError> {
    match seconds {
        None | Some(-1) => Ok(None),
        Some(seconds @ 60..=604_800) => Ok(Some(Duration::from_secs(seconds as u64))),
        Some(value) => Err(MappingError::Range {
            member: "MaximumRecordAgeInSeconds",
            value,
            expected: "-1 (no limit) or 60 to 604,800 seconds",
        }),
    }
}

fn reports(types: Vec<String>) -> Result<bool, MappingError> {
    match types.iter().find(|name| *name != "ReportBatchItemFailures") {
        None => Ok(!types.is_empty()),
        Some(value) => Err(MappingError::Value {
            member: "FunctionResponseTypes",
            value: value.clone(),
            expected: "ReportBatchItemFailures",
        }),
    }
}

/// A function's name alone is put into the ARN that it would have.
fn function_arn(name: String) -> String {
    if name.starts_with("arn:") {
        return name;
    }
    FUNCTION_ARN.rsplit_once(':').map_or_else(String::new, |(prefix, _)| format!("{prefix}:{name}"))
}

fn starting_position(
    name: Option<&str>,
    timestamp: Option<Timestamp>,
) -> Result<StartingPosition, MappingError> {
    match name {
        None | Some("TRIM_HORIZON") => Ok(StartingPosition::TrimHorizon),
        Some("LATEST") => Ok(StartingPosition::Latest),
        Some("AT_TIMESTAMP") => {
            Ok(StartingPosition::AtTimestamp(epoch_ms(timestamp.ok_or(MappingError::NoTimestamp)?)?))
        }
        Some(other) => Err(MappingError::Value {
            member: "StartingPosition",
            value: other.to_owned(),
            expected: "TRIM_HORIZON, LATEST or AT_TIMESTAMP",
        }),
    }
}

fn epoch_ms(timestamp: Timestamp) -> Result<u64, MappingError> {
    let wrong = |value: String| MappingError::Value {
        member: "StartingPositionTimestamp",
        value,
        expected: "seconds since 1970 or a time with its zone, such as 2026-01-01T00:00:00Z",
    };
    match timestamp {
        Timestamp::Seconds(seconds) if (0.0..=1e12).contains(&seconds) => {
            Ok((seconds * 1000.0).round() as u64)
        }
        Timestamp::Seconds(seconds) => Err(wrong(seconds.to_string())),
        Timestamp::Text(text) => DateTime::parse_from_rfc3339(&text)
            .ok()
            .and_then(|time| u64::try_from(time.timestamp_millis()).ok())
            .ok_or_else(|| wrong(text)),
    }
}

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawMapping::deserialize(deserializer)?;
        raw.try_into().map_err(|error: MappingError| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            serde::de::Error::custom(format!("{error}{}", source.unwrap_or_default()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Mapping, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_the_apis() {
        let mapping = read("{}").expect("every member has a default");
        assert_eq!((mapping.batch_size, mapping.batching_window), (100, Duration::ZERO));
        assert_eq!((mapping.parallelization_factor, mapping.maximum_retry_attempts), (1, None));
        assert_eq!((mapping.maximum_record_age, mapping.tumbling_window), (None, None));
        assert!(!mapping.bisect_batch_on_function_error && !mapping.report_batch_item_failures);
        assert!(mapping.on_failure.is_none());
    }

    #[test]
    fn a_templates_values_can_be_pasted() {
        let mapping = read(
            r#"{"FunctionName":"orders","EventSourceArn":"arn:aws:kinesis:eu-west-1:1:stream/s","Enabled":true,
                "StartingPosition":"AT_TIMESTAMP","StartingPositionTimestamp":1767225600.5,"BatchSize":10000,
                "MaximumBatchingWindowInSeconds":300,"ParallelizationFactor":10,"MaximumRetryAttempts":-1,
                "MaximumRecordAgeInSeconds":604800,"BisectBatchOnFunctionError":true,"TumblingWindowInSeconds":0,
                "FunctionResponseTypes":["ReportBatchItemFailures"],"MetricsConfig":{"Metrics":["EventCount"]},
                "DestinationConfig":{"OnFailure":{"Destination":"arn:aws:s3:::failures"}},"Tags":{}}"#,
        )
        .expect("all are settings of a mapping");
        assert_eq!(mapping.function_arn, "arn:aws:lambda:us-east-1:123456789012:function:orders");
        assert_eq!(mapping.starting_position, StartingPosition::AtTimestamp(1_767_225_600_500));
        assert_eq!((mapping.maximum_retry_attempts, mapping.batch_size), (None, 10_000));
        assert_eq!(mapping.maximum_record_age, Some(Duration::from_secs(604_800)));
        assert!(mapping.report_batch_item_failures && mapping.on_failure.is_some());
        assert!(read(r#"{"StartingPosition":"AT_TIMESTAMP","StartingPositionTimestamp":"2026-01-01T01:00:00+01:00"}"#)
            .is_ok_and(|mapping| mapping.starting_position == StartingPosition::AtTimestamp(1_767_225_600_000)));
    }

    #[track_caller]
    fn check_refused(json: &str, expected: &str) {
        let error = read(json).map(drop).expect_err("a wrong setting");
        assert_eq!(error.rsplit_once(" at line ").map_or(&*error, |(text, _)| text), expected);
    }

    #[test]
    fn a_wrong_setting_is_named() {
        check_refused(r#"{"BatchSize":0}"#, "BatchSize: expected 1 to 10,000, found 0");
        check_refused(r#"{"BatchSize":10001}"#, "BatchSize: expected 1 to 10,000, found 10001");
        check_refused(
            r#"{"MaximumRetryAttempts":-2}"#,
            "MaximumRetryAttempts: expected -1 (no end) to 10,000, found -2",
        );
        for age in [0, 59, 604_801] {
            check_refused(
                &format!(r#"{{"MaximumRecordAgeInSeconds":{age}}}"#),
                &format!(
                    "MaximumRecordAgeInSeconds: expected -1 (no limit) or 60 to 604,800 seconds, found {age}"
                ),
            );
        }
        check_refused(
            r#"{"FunctionResponseTypes":["ReportBatchItemFailure"]}"#,
            r#"FunctionResponseTypes: expected ReportBatchItemFailures, found "ReportBatchItemFailure""#,
        );
        check_refused(
            r#"{"StartingPosition":"latest"}"#,
            r#"StartingPosition: expected TRIM_HORIZON, LATEST or AT_TIMESTAMP, found "latest""#,
        );
        check_refused(
            r#"{"StartingPosition":"AT_TIMESTAMP"}"#,
            "StartingPosition is AT_TIMESTAMP, but StartingPositionTimestamp is missing",
        );
        check_refused(
            r#"{"StartingPositionTimestamp":true}"#,
            "StartingPositionTimestamp is neither a number nor text",
        );
        check_refused(
            r#"{"TumblingWindowInSeconds":30,"ParallelizationFactor":2}"#,
            "TumblingWindowInSeconds cannot be set together with ParallelizationFactor above 1",
        );
        check_refused(
            r#"{"DestinationConfig":{"OnFailure":{"Destination":"failures"}}}"#,
            "DestinationConfig.OnFailure.Destination: \"failures\" is not the ARN of an SQS queue, an SNS topic or \
             an S3 bucket",
        );
        let unknown = read(r#"{"BatchSizes":1}"#).map(drop).expect_err("no such member");
        assert!(
            unknown.starts_with("unknown field `BatchSizes`, expected one of `EventSourceArn`"),
            "{unknown}"
        );
    }
}
