//! The settings of an event source mapping, so that it can be made again.

use std::collections::HashMap;

use aws_sdk_lambda::{
    operation::create_event_source_mapping::builders::CreateEventSourceMappingFluentBuilder,
    primitives::DateTime,
    types::{
        DestinationConfig, EventSourceMappingConfiguration, EventSourceMappingLoggingConfig,
        EventSourceMappingMetricsConfig, EventSourcePosition, Filter, FilterCriteria, OnFailure,
    },
};
use serde::{Deserialize, Serialize};

/// The settings of a mapping from Kinesis, all but its starting position and whether it is enabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappingSettings {
    pub(crate) event_source_arn: String,
    /// Name or ARN, with the version or alias.
    pub(crate) function: String,
    pub(crate) batch_size: Option<i32>,
    pub(crate) batching_window_s: Option<i32>,
    pub(crate) parallelization_factor: Option<i32>,
    pub(crate) tumbling_window_s: Option<i32>,
    pub(crate) record_age_s: Option<i32>,
    pub(crate) retries: Option<i32>,
    pub(crate) bisects: Option<bool>,
    pub(crate) response_types: Vec<String>,
    /// ARN of the destination for discarded records.
    pub(crate) on_failure: Option<String>,
    /// Patterns as JSON.
    pub(crate) filters: Vec<String>,
    pub(crate) kms_key_arn: Option<String>,
    pub(crate) metrics: Vec<String>,
    pub(crate) log_level: Option<String>,
    /// Without those of AWS, which nobody else can set.
    pub(crate) tags: HashMap<String, String>,
}

impl MappingSettings {
    /// Reads the settings of a mapping with these tags.
    ///
    /// # Errors
    ///
    /// The name of a setting that cannot be read, or that this version does not know how to set again.
    pub(crate) fn read(
        mapping: &EventSourceMappingConfiguration,
        tags: HashMap<String, String>,
    ) -> Result<Self, String> {
        let missing = |name: &str| format!("{name} is missing");
        if let Some(error) = &mapping.filter_criteria_error {
            return Err(format!(
                "FilterCriteria cannot be read: {}",
                error.message().unwrap_or("unknown error")
            ));
        }
        if mapping.provisioned_poller_config.is_some() || mapping.scaling_config.is_some() {
            return Err("ProvisionedPollerConfig and ScalingConfig are of no mapping from Kinesis".to_owned());
        }
        let filters = mapping.filter_criteria.iter().flat_map(FilterCriteria::filters);
        let on_failure = mapping.destination_config.as_ref().and_then(|config| config.on_failure.as_ref());
        let metrics = mapping.metrics_config.iter().flat_map(|config| config.metrics());
        let log_level = mapping.logging_config.as_ref().and_then(|config| config.system_log_level.as_ref());
        Ok(MappingSettings {
            event_source_arn: mapping.event_source_arn.clone().ok_or_else(|| missing("EventSourceArn"))?,
            function: mapping.function_arn.clone().ok_or_else(|| missing("FunctionArn"))?,
            batch_size: mapping.batch_size,
            batching_window_s: mapping.maximum_batching_window_in_seconds,
            parallelization_factor: mapping.parallelization_factor,
            tumbling_window_s: mapping.tumbling_window_in_seconds.filter(|&seconds| seconds > 0),
            record_age_s: mapping.maximum_record_age_in_seconds,
            retries: mapping.maximum_retry_attempts,
            bisects: mapping.bisect_batch_on_function_error,
            response_types: mapping.function_response_types().iter().map(ToString::to_string).collect(),
            on_failure: on_failure.and_then(|on_failure| on_failure.destination.clone()),
            filters: filters.filter_map(|filter| filter.pattern.clone()).collect(),
            kms_key_arn: mapping.kms_key_arn.clone(),
            metrics: metrics.map(ToString::to_string).collect(),
            log_level: log_level.map(ToString::to_string),
            tags: tags.into_iter().filter(|(name, _)| !name.starts_with("aws:")).collect(),
        })
    }

    /// Adds the settings to a request, with a start in seconds since 1970; `None` for `TRIM_HORIZON`.
    pub(crate) fn apply(
        &self,
        request: CreateEventSourceMappingFluentBuilder,
        start_s: Option<u64>,
    ) -> CreateEventSourceMappingFluentBuilder {
        let seconds = |seconds: u64| DateTime::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        let position = match start_s {
            Some(_) => EventSourcePosition::AtTimestamp,
            None => EventSourcePosition::TrimHorizon,
        };
        let destination = self.on_failure.as_ref().map(|arn| {
            let on_failure = OnFailure::builder().destination(arn).build();
            DestinationConfig::builder().on_failure(on_failure).build()
        });
        let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let filters = some(&self.filters).map(|patterns| {
            let filters = patterns.into_iter().map(|pattern| Filter::builder().pattern(pattern).build());
            FilterCriteria::builder().set_filters(Some(filters.collect())).build()
        });
        let metrics = some(&self.metrics).map(|metrics| {
            let metrics = metrics.iter().map(|metric| metric.as_str().into()).collect();
            EventSourceMappingMetricsConfig::builder().set_metrics(Some(metrics)).build()
        });
        let logging = self.log_level.as_ref().map(|level| {
            EventSourceMappingLoggingConfig::builder().system_log_level(level.as_str().into()).build()
        });
        let response_types = some(&self.response_types);
        request
            .event_source_arn(&self.event_source_arn)
            .function_name(&self.function)
            .enabled(true)
            .starting_position(position)
            .set_starting_position_timestamp(start_s.map(seconds))
            .set_batch_size(self.batch_size)
            .set_maximum_batching_window_in_seconds(self.batching_window_s)
            .set_parallelization_factor(self.parallelization_factor)
            .set_tumbling_window_in_seconds(self.tumbling_window_s)
            .set_maximum_record_age_in_seconds(self.record_age_s)
            .set_maximum_retry_attempts(self.retries)
            .set_bisect_batch_on_function_error(self.bisects)
            .set_function_response_types(
                response_types.map(|types| types.iter().map(|kind| kind.as_str().into()).collect()),
            )
            .set_destination_config(destination)
            .set_filter_criteria(filters)
            .set_kms_key_arn(self.kms_key_arn.clone())
            .set_metrics_config(metrics)
            .set_logging_config(logging)
            .set_tags((!self.tags.is_empty()).then(|| self.tags.clone()))
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::{
        Client, Config,
        config::{BehaviorVersion, Region},
        types::{
            EventSourceMappingMetric, EventSourceMappingSystemLogLevel, FilterCriteriaError,
            FunctionResponseType,
        },
    };

    use super::*;

    fn mapping() -> EventSourceMappingConfiguration {
        let on_failure = OnFailure::builder().destination("arn:aws:s3:::failures").build();
        EventSourceMappingConfiguration::builder()
            .event_source_arn("arn:aws:kinesis:eu-west-1:123456789012:stream/orders")
            .function_arn("arn:aws:lambda:eu-west-1:123456789012:function:orders:live")
            .batch_size(1)
            .maximum_batching_window_in_seconds(2)
            .parallelization_factor(3)
            .tumbling_window_in_seconds(0)
            .maximum_record_age_in_seconds(-1)
            .maximum_retry_attempts(5)
            .bisect_batch_on_function_error(true)
            .function_response_types(FunctionResponseType::ReportBatchItemFailures)
            .destination_config(DestinationConfig::builder().on_failure(on_failure).build())
            .filter_criteria(
                FilterCriteria::builder().filters(Filter::builder().pattern("{}").build()).build(),
            )
            .kms_key_arn("arn:aws:kms:eu-west-1:123456789012:key/k")
            .metrics_config(
                EventSourceMappingMetricsConfig::builder()
                    .metrics(EventSourceMappingMetric::EventCount)
                    .build(),
            )
            .logging_config(
                EventSourceMappingLoggingConfig::builder()
                    .system_log_level(EventSourceMappingSystemLogLevel::Warn)
                    .build(),
            )
            .build()
    }

    #[test]
    fn a_mapping_is_made_again_with_all_of_its_settings() {
        let tags = [("team", "orders"), ("aws:cloudformation:stack-name", "orders")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = MappingSettings::read(&mapping(), HashMap::from(tags)).expect("a whole mapping");
        let text = serde_json::to_string(&settings).expect("JSON");
        let settings: MappingSettings = serde_json::from_str(&text).expect("what was written");
        let config =
            Config::builder().behavior_version(BehaviorVersion::latest()).region(Region::new("eu-west-1"));
        let client = Client::from_conf(config.build());
        let request = settings.apply(client.create_event_source_mapping(), Some(1_767_225_540));
        let of = mapping();
        let request = request.as_input().clone().build().expect("nothing is missing");
        assert_eq!(request.event_source_arn, of.event_source_arn);
        assert_eq!(request.function_name, of.function_arn);
        assert_eq!(request.batch_size, of.batch_size);
        assert_eq!(request.maximum_batching_window_in_seconds, of.maximum_batching_window_in_seconds);
        assert_eq!(request.parallelization_factor, of.parallelization_factor);
        assert_eq!(request.tumbling_window_in_seconds, None);
        assert_eq!(request.maximum_record_age_in_seconds, of.maximum_record_age_in_seconds);
        assert_eq!(request.maximum_retry_attempts, of.maximum_retry_attempts);
        assert_eq!(request.bisect_batch_on_function_error, of.bisect_batch_on_function_error);
        assert_eq!(request.function_response_types, of.function_response_types);
        assert_eq!(request.destination_config, of.destination_config);
        assert_eq!(request.filter_criteria, of.filter_criteria);
        assert_eq!(request.kms_key_arn, of.kms_key_arn);
        assert_eq!(request.metrics_config, of.metrics_config);
        assert_eq!(request.logging_config, of.logging_config);
        assert_eq!(request.tags, Some(HashMap::from([("team".to_owned(), "orders".to_owned())])));
        assert_eq!(request.enabled, Some(true));
        assert_eq!(request.starting_position, Some(EventSourcePosition::AtTimestamp));
        assert_eq!(request.starting_position_timestamp, Some(DateTime::from_secs(1_767_225_540)));

        let request = settings.apply(client.create_event_source_mapping(), None);
        let request = request.as_input().clone().build().expect("nothing is missing");
        assert_eq!(request.starting_position, Some(EventSourcePosition::TrimHorizon));
        assert_eq!(request.starting_position_timestamp, None);
    }

    #[test]
    fn a_setting_that_would_be_lost_is_an_error() {
        let error = FilterCriteriaError::builder().message("no access to the key").build();
        let mut mapping = mapping();
        mapping.filter_criteria_error = Some(error);
        let refused = MappingSettings::read(&mapping, HashMap::new()).expect_err("no filters");
        assert_eq!(refused, "FilterCriteria cannot be read: no access to the key");
    }
}
