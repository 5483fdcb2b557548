use aws_sdk_lambda::{Client, types::EventSourceMappingConfiguration};

use super::mapping::{Destination, Mapping, Setting};
use crate::{
    aws::{self, Attempts, Repeater},
    error::Error,
    kinesis::Api,
    stream_name::StreamName,
};

/// The mappings from Kinesis of a deployed function.
pub(super) async fn mappings(function: &str) -> Result<Vec<Mapping>, Error> {
    // arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME
    let region = function.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
    let client = Client::new(&aws::config(region).await?);
    let (repeater, resource) = (Repeater::default(), format!("function {function}"));
    let request = || client.get_function_configuration().function_name(function).send();
    let configuration =
        repeater.request(&resource, "GetFunctionConfiguration", Attempts::Few, request).await?;
    let variables =
        configuration.environment.and_then(|environment| environment.variables).unwrap_or_default();

    let mut mappings = Vec::new();
    let mut marker = None;
    loop {
        let request = || {
            let request = client.list_event_source_mappings().function_name(function);
            request.set_marker(marker.clone()).send()
        };
        let page = repeater.request(&resource, "ListEventSourceMappings", Attempts::Few, request).await?;
        for found in page.event_source_mappings.unwrap_or_default() {
            if found.event_source_arn.as_deref().is_some_and(|arn| arn.contains(":kinesis:")) {
                let mut mapping = mapping(found);
                mapping.variables = variables.clone().into_iter().collect();
                mapping.retention_hours = retention(&mapping).await?;
                mappings.push(mapping);
            }
        }
        match page.next_marker.filter(|marker| !marker.is_empty()) {
            Some(next) => marker = Some(next),
            None => return Ok(mappings),
        }
    }
}

fn mapping(found: EventSourceMappingConfiguration) -> Mapping {
    let number = |value: Option<i32>| value.map_or(Setting::Absent, |value| Setting::Known(i64::from(value)));
    let on_failure = found.destination_config.and_then(|config| config.on_failure);
    let filters = found.filter_criteria.and_then(|criteria| criteria.filters).unwrap_or_default();
    Mapping {
        id: found.uuid.unwrap_or_default(),
        event_source_arn: found.event_source_arn,
        starting_position: found.starting_position.map(|position| position.as_str().to_owned()),
        starting_timestamp: found.starting_position_timestamp.map(|time| time.to_string()),
        response_types: Some(
            found
                .function_response_types
                .unwrap_or_default()
                .iter()
                .map(|kind| kind.as_str().to_owned())
                .collect(),
        ),
        bisects: found.bisect_batch_on_function_error.map_or(Setting::Absent, Setting::Known),
        retries: number(found.maximum_retry_attempts),
        record_age_s: number(found.maximum_record_age_in_seconds),
        parallelization_factor: number(found.parallelization_factor),
        destination: on_failure.and_then(|to| to.destination).filter(|arn| !arn.is_empty()).map(|arn| {
            match arn.split(':').nth(2) {
                Some("s3") => Destination::S3,
                Some("sqs") => Destination::Sqs,
                Some("sns") => Destination::Sns,
                _ => Destination::Other,
            }
        }),
        filters: filters.into_iter().filter_map(|filter| filter.pattern).collect(),
        ..Mapping::default()
    }
}

async fn retention(mapping: &Mapping) -> Result<Option<i64>, Error> {
    let arn = mapping.event_source_arn.as_deref().unwrap_or_default();
    let stream_arn = arn.split_once("/consumer/").map_or(arn, |(stream_arn, _)| stream_arn);
    let Ok(stream) = stream_arn.parse::<StreamName>() else { return Ok(None) };
    let description = Api::connect(stream).await?.describe().await?;
    Ok(i64::try_from(description.retention_ms / 3_600_000).ok())
}
