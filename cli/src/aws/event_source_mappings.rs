//! The event source mappings from Kinesis to a function.
//!
//! They are listed by event source, because the list of a function lacks those of its versions and aliases.

use aws_sdk_lambda::{Client, types::EventSourceMappingConfiguration};
use kinesis_handler::replay::ReplayRange;

use crate::aws::{self, Attempts, AwsError, Repeater, function_name::FunctionName};

/// A reader of the event source mappings in a region.
#[derive(Debug)]
pub(crate) struct MappingReader {
    lambda: Client,
    kinesis: aws_sdk_kinesis::Client,
    repeater: Repeater,
    region: String,
}

impl MappingReader {
    /// Connects to a region, by default to the configured one.
    pub(crate) async fn connect(region: Option<&str>) -> Result<Self, AwsError> {
        let config = aws::config(region).await?;
        Ok(MappingReader {
            lambda: Client::new(&config),
            kinesis: aws_sdk_kinesis::Client::new(&config),
            repeater: Repeater::default(),
            region: config.region().map_or_else(String::new, ToString::to_string),
        })
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Makes sure that mappings may be listed, by a request for one of them.
    pub(crate) async fn check(&self, function: &str) -> Result<(), AwsError> {
        let request = || self.lambda.list_event_source_mappings().function_name(function).max_items(1).send();
        let resource = format!("function {function}");
        self.repeater.request(&resource, "ListEventSourceMappings", Attempts::Bounded, request).await?;
        Ok(())
    }

    /// Lists the mappings of an event source, or all of the region. Throttled requests are repeated for half a minute.
    pub(crate) async fn list(
        &self,
        event_source_arn: Option<&str>,
    ) -> Result<Vec<EventSourceMappingConfiguration>, AwsError> {
        let resource = event_source_arn.unwrap_or("Lambda");
        let (mut mappings, mut marker) = (Vec::new(), None::<String>);
        loop {
            let request = || {
                let request = self.lambda.list_event_source_mappings();
                let request = request.set_event_source_arn(event_source_arn.map(str::to_owned));
                request.set_marker(marker.clone()).send()
            };
            let page = self
                .repeater
                .request(resource, "ListEventSourceMappings", Attempts::Bounded, request)
                .await?;
            mappings.extend(page.event_source_mappings.unwrap_or_default());
            match page.next_marker.filter(|next| !next.is_empty()) {
                None => return Ok(mappings),
                next => marker = next,
            }
        }
    }

    /// Returns the state of a mapping.
    pub(crate) async fn state(&self, uuid: &str) -> Result<String, AwsError> {
        let request = || self.lambda.get_event_source_mapping().uuid(uuid).send();
        let resource = format!("mapping {uuid}");
        let answer =
            self.repeater.request(&resource, "GetEventSourceMapping", Attempts::Bounded, request).await?;
        Ok(answer.state.unwrap_or_default())
    }

    /// Asks for a mapping to be enabled or disabled. Its state changes some seconds later.
    pub(crate) async fn set_enabled(&self, uuid: &str, is_enabled: bool) -> Result<(), AwsError> {
        let request = || self.lambda.update_event_source_mapping().uuid(uuid).enabled(is_enabled).send();
        let resource = format!("mapping {uuid}");
        self.repeater.request(&resource, "UpdateEventSourceMapping", Attempts::Bounded, request).await?;
        Ok(())
    }

    /// Lists the mappings of a stream's consumers with enhanced fan-out.
    pub(crate) async fn of_consumers(
        &self,
        stream_arn: &str,
    ) -> Result<Vec<EventSourceMappingConfiguration>, AwsError> {
        let mut mappings = Vec::new();
        for consumer_arn in self.consumers(stream_arn).await? {
            mappings.extend(self.list(Some(&consumer_arn)).await?);
        }
        Ok(mappings)
    }

    /// Lists the ARNs of the stream's consumers with enhanced fan-out.
    async fn consumers(&self, stream_arn: &str) -> Result<Vec<String>, AwsError> {
        let (mut arns, mut next_token) = (Vec::new(), None::<String>);
        loop {
            let request = || {
                let request = self.kinesis.list_stream_consumers().stream_arn(stream_arn);
                request.set_next_token(next_token.clone()).send()
            };
            let page =
                self.repeater.request(stream_arn, "ListStreamConsumers", Attempts::Bounded, request).await?;
            arns.extend(page.consumers.unwrap_or_default().into_iter().map(|consumer| consumer.consumer_arn));
            match page.next_token.filter(|next| !next.is_empty()) {
                None => return Ok(arns),
                next => next_token = next,
            }
        }
    }
}

/// Lists the mappings that deliver a stream to a function, or to a version or alias of it, also through consumers with
/// enhanced fan-out. They are in the stream's region.
pub(crate) async fn to_function(
    function: &FunctionName,
    stream_arn: &str,
) -> Result<Vec<EventSourceMappingConfiguration>, AwsError> {
    let reader = MappingReader::connect(stream_arn.split(':').nth(3)).await?;
    let mut mappings = reader.list(Some(stream_arn)).await?;
    mappings.extend(reader.of_consumers(stream_arn).await?);
    mappings.retain(|mapping| invokes(mapping, function));
    Ok(mappings)
}

/// Whether a mapping invokes the function, or a version or alias of it. Some emulators leave its ARN out.
pub(crate) fn invokes(mapping: &EventSourceMappingConfiguration, function: &FunctionName) -> bool {
    let arn = mapping.function_arn.as_deref();
    arn.is_none_or(|arn| FunctionName::parse(arn).is_same_function(function))
}

/// Whether a mapping is that of a replay on Lambda.
pub(crate) fn is_replay(mapping: &EventSourceMappingConfiguration) -> bool {
    let arn = mapping.function_arn.as_deref().unwrap_or_default();
    !matches!(ReplayRange::of_qualifier(&FunctionName::parse(arn).qualifier), Ok(None))
}
