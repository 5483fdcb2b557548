use std::collections::BTreeMap;

use super::{
    finding::Finding,
    setting::{Setting, Unknown},
};

pub(super) const AGE_POLICY: &str = "KINESIS_HANDLER_AGE_POLICY";
pub(super) const APPLICATION: &str = "KINESIS_HANDLER_APPLICATION";
pub(super) const CHECKPOINT_TABLE: &str = "KINESIS_HANDLER_CHECKPOINT_TABLE";
pub(super) const CONCURRENCY: &str = "KINESIS_HANDLER_CONCURRENCY";
pub(super) const JOURNAL_TABLE: &str = "KINESIS_HANDLER_JOURNAL_TABLE";
pub(super) const MAX_AGE_SECONDS: &str = "KINESIS_HANDLER_MAX_AGE_SECONDS";
pub(super) const MAX_ATTEMPTS: &str = "KINESIS_HANDLER_MAX_ATTEMPTS";
pub(super) const QUARANTINE: &str = "KINESIS_HANDLER_QUARANTINE";
pub(super) const PARALLELIZATION_FACTOR: &str = "KINESIS_HANDLER_PARALLELIZATION_FACTOR";

/// An event source mapping from Kinesis, with what its source says of stream, function and destination.
///
/// Every source (a template, a Terraform plan, the API) builds it, and the rules read nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct Mapping {
    /// Logical ID, address or UUID.
    pub(super) id: String,
    /// Absent if the source does not describe the function at all.
    pub(super) function: Setting<Function>,
    /// The ARN or the expression that stands for it. A change of it replaces the mapping.
    pub(super) event_source: Setting<String>,
    pub(super) stream: Stream,
    /// Whether the event source is a consumer with enhanced fan-out.
    pub(super) is_fan_out: Setting<bool>,
    pub(super) is_enabled: Setting<bool>,
    pub(super) starting_position: Setting<String>,
    /// Seconds since 1970 in one spelling, so that equal times are equal texts.
    pub(super) starting_timestamp: Setting<String>,
    pub(super) response_types: Setting<Vec<String>>,
    pub(super) bisects: Setting<bool>,
    pub(super) retries: Setting<i64>,
    pub(super) record_age_s: Setting<i64>,
    pub(super) parallelization_factor: Setting<i64>,
    pub(super) batch_size: Setting<i64>,
    pub(super) batching_window_s: Setting<i64>,
    pub(super) tumbling_window_s: Setting<i64>,
    pub(super) destination: Setting<Destination>,
    /// The pattern of each filter, as JSON.
    pub(super) filters: Setting<Vec<Setting<String>>>,
}

impl Mapping {
    /// Returns the concurrent batches per shard.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if the setting is.
    pub(super) fn concurrent_batches(&self) -> Result<i64, Unknown> {
        Ok(self.parallelization_factor.get("ParallelizationFactor")?.copied().unwrap_or(1))
    }
}

/// The stream that a mapping reads, directly or through a consumer.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    /// The ARN or the expression that stands for it, without a consumer.
    pub(super) arn: Setting<String>,
    /// Absent if the source does not describe the stream; the API's default is 24 hours.
    pub(super) retention_hours: Setting<i64>,
    /// `RecordDistributionStrategy`: `USER_PARTITION_KEY` by default, or `AUTO`.
    pub(super) distribution: Setting<String>,
}

/// The function that a mapping invokes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Function {
    /// Logical ID, address or ARN without a qualifier.
    pub(super) id: String,
    /// Environment variables by name; absent if the function has none.
    pub(super) variables: Setting<BTreeMap<String, Setting<String>>>,
    pub(super) timeout_s: Setting<i64>,
    pub(super) memory_mb: Setting<i64>,
    /// Concurrent executions that are reserved for it, and its limit.
    pub(super) reserved_concurrency: Setting<i64>,
    /// Whether it runs on Lambda Managed Instances.
    pub(super) is_on_managed_instances: Setting<bool>,
}

impl Function {
    /// Returns an environment variable, `None` if it is not set.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if all variables are.
    fn variable(&self, name: &str) -> Result<Option<&Setting<String>>, Unknown> {
        Ok(self.variables.get("Environment")?.and_then(|variables| variables.get(name)))
    }

    /// Returns whether an environment variable is set, whatever its value.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if that depends on an unknown condition.
    pub(super) fn has(&self, name: &'static str) -> Result<bool, Unknown> {
        self.variable(name)?.map_or(Ok(false), |value| value.is_set(name))
    }

    /// Returns whether an environment variable is `on`.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if the value is.
    pub(super) fn is_on(&self, name: &'static str) -> Result<bool, Unknown> {
        self.is(name, "on")
    }

    /// Returns whether an environment variable has this value.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if its value is.
    pub(super) fn is(&self, name: &'static str, expected: &str) -> Result<bool, Unknown> {
        let Some(value) = self.variable(name)? else { return Ok(false) };
        Ok(value.get(name)?.is_some_and(|text| text == expected))
    }

    /// Returns the number in an environment variable, `None` if it is not set or not a number.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if the value is.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<i64>, Unknown> {
        let Some(value) = self.variable(name)? else { return Ok(None) };
        Ok(value.get(name)?.and_then(|text| text.parse().ok()))
    }
}

/// The on-failure destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) service: Setting<Service>,
    /// Whether the function's role may write to it. Absent if the source does not describe the role.
    pub(super) may_write: Setting<bool>,
    /// Whether the function's role may use the key that encrypts it. Absent without a customer managed key.
    pub(super) may_use_key: Setting<bool>,
}

/// The service of an on-failure destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    S3,
    Sqs,
    Sns,
    /// A Kafka topic, for example.
    Other,
}

impl Service {
    /// Returns the service of an ARN or of a type of resources.
    pub(super) fn of(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let is = |name: &str| text == name || text.contains(&format!(":{name}:"));
        let known = [("s3", Service::S3), ("sqs", Service::Sqs), ("sns", Service::Sns)];
        let service = known.iter().find(|(name, _)| is(name)).map(|(_, service)| *service);
        service.or_else(|| {
            (text == "kafka" || text.starts_with("kafka:") || text.starts_with("arn:"))
                .then_some(Service::Other)
        })
    }
}

/// A metric that an alarm watches.
#[derive(Debug, Clone, Default)]
pub(super) struct AlarmMetric {
    /// Logical ID or address of the alarm.
    pub(super) alarm: String,
    pub(super) namespace: Setting<String>,
    pub(super) name: Setting<String>,
    /// Names of the dimensions, without their values.
    pub(super) dimensions: Setting<Vec<Setting<String>>>,
}

/// The part of a template, a plan or an account that the rules judge.
#[derive(Debug, Clone, Default)]
pub(super) struct Subject {
    pub(super) mappings: Vec<Mapping>,
    pub(super) metrics: Vec<AlarmMetric>,
    /// Findings of the source itself: parts that it cannot judge, and values that it does not allow.
    pub(super) findings: Vec<Finding>,
    /// Whether the source has parameters, which may be given other values.
    pub(super) has_parameters: bool,
}

impl Subject {
    /// Replaces the logical IDs of resources.
    pub(super) fn rename(&mut self, name: impl Fn(&str) -> String) {
        for mapping in &mut self.mappings {
            mapping.id = name(&mapping.id);
            if let Setting::Known(function) = &mut mapping.function {
                function.id = name(&function.id);
            }
        }
        for metric in &mut self.metrics {
            metric.alarm = name(&metric.alarm);
        }
        for finding in &mut self.findings {
            finding.resource = name(&finding.resource);
        }
    }

    /// Adds the parts of another subject.
    pub(super) fn extend(&mut self, other: Subject) {
        self.mappings.extend(other.mappings);
        self.metrics.extend(other.metrics);
        self.findings.extend(other.findings);
        self.has_parameters |= other.has_parameters;
    }
}
