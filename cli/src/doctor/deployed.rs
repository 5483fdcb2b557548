use std::collections::BTreeMap;

use aws_sdk_lambda::{
    Client, operation::get_function_configuration::GetFunctionConfigurationOutput,
    types::EventSourceMappingConfiguration,
};

use super::{
    mapping::{Destination, Function, Mapping, Service, Stream, Subject},
    setting::Setting,
};
use crate::{
    aws::{self, Attempts, AwsError, Repeater},
    error::Error,
    kinesis::Api,
    note::note,
    stream_name::StreamName,
};

/// Returns the mappings from Kinesis that invoke a deployed function, or an alias or version of it.
///
/// A failure of the first request ends the run; a later one leaves the setting that it is about unknown.
pub(super) async fn subject(name: &str) -> Result<Subject, Error> {
    // arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME
    let region = name.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
    let mut account = Account {
        client: Client::new(&aws::config(region).await?),
        repeater: Repeater::default(),
        functions: BTreeMap::new(),
        streams: BTreeMap::new(),
    };
    let configuration = account.configuration(name).await?;
    let arn = configuration.function_arn.clone();
    let function_name = configuration.function_name.clone();
    let unqualified = arn.as_deref().map(unqualified).map(str::to_owned);
    // A qualified name selects the mappings of that alias or version.
    let qualifier = qualifier(name).map(str::to_owned);
    account.functions.insert(name.to_owned(), Setting::Known(function(&configuration)));

    let mut mappings = Vec::new();
    for found in account.mappings(name).await? {
        let Some(source) = found.event_source_arn.clone().filter(|arn| arn.contains(":kinesis:")) else {
            continue;
        };
        let invoked = found.function_arn.clone();
        let invokes = match (&invoked, &unqualified) {
            (Some(invoked), Some(unqualified)) => self::unqualified(invoked) == unqualified,
            (Some(invoked), None) => Some(self::name(invoked)) == function_name.as_deref(),
            // Emulators leave it out.
            (None, _) => true,
        };
        let is_selected =
            qualifier.is_none() || invoked.as_deref().and_then(self::qualifier) == qualifier.as_deref();
        if !invokes || !is_selected {
            continue;
        }
        // A mapping of an alias or version has the variables of that version.
        let qualified = invoked.filter(|invoked| self::qualifier(invoked).is_some() && qualifier.is_none());
        let mut mapping = mapping(found);
        mapping.function = account.function(qualified.as_deref().unwrap_or(name)).await;
        mapping.stream = account.stream(&source).await;
        mappings.push(mapping);
    }
    Ok(Subject { mappings, ..Subject::default() })
}

/// The functions and streams of an account that were asked for.
struct Account {
    client: Client,
    repeater: Repeater,
    functions: BTreeMap<String, Setting<Function>>,
    streams: BTreeMap<String, Stream>,
}

impl Account {
    async fn configuration(&self, name: &str) -> Result<GetFunctionConfigurationOutput, AwsError> {
        let request = || self.client.get_function_configuration().function_name(name).send();
        let resource = format!("function {name}");
        self.repeater.request(&resource, "GetFunctionConfiguration", Attempts::Few, request).await
    }

    /// Returns the mappings of the region: those of a function's name are not those of its aliases and versions.
    async fn mappings(&self, name: &str) -> Result<Vec<EventSourceMappingConfiguration>, AwsError> {
        let (mut mappings, mut marker) = (Vec::new(), None);
        loop {
            let request = || self.client.list_event_source_mappings().set_marker(marker.clone()).send();
            let resource = format!("function {name}");
            let page =
                self.repeater.request(&resource, "ListEventSourceMappings", Attempts::Few, request).await?;
            mappings.extend(page.event_source_mappings.unwrap_or_default());
            match page.next_marker.filter(|marker| !marker.is_empty()) {
                Some(next) => marker = Some(next),
                None => return Ok(mappings),
            }
        }
    }

    async fn function(&mut self, name: &str) -> Setting<Function> {
        if !self.functions.contains_key(name) {
            let setting = match self.configuration(name).await {
                Ok(configuration) => Setting::Known(function(&configuration)),
                Err(error) => Setting::Unknown(explain(&error)),
            };
            self.functions.insert(name.to_owned(), setting);
        }
        self.functions.get(name).cloned().unwrap_or_default()
    }

    async fn stream(&mut self, source: &str) -> Stream {
        let arn = source.split_once("/consumer/").map_or(source, |(stream, _)| stream);
        if !self.streams.contains_key(arn) {
            let stream = match describe(arn).await {
                Ok(stream) => stream,
                Err(error) => {
                    let error = explain(&error);
                    note(format_args!("{error}"));
                    Stream {
                        retention_hours: Setting::Unknown(error.clone()),
                        distribution: Setting::Unknown(error),
                        ..Stream::default()
                    }
                }
            };
            self.streams.insert(arn.to_owned(), Stream { arn: Setting::Known(arn.to_owned()), ..stream });
        }
        self.streams.get(arn).cloned().unwrap_or_default()
    }
}

/// Returns an error with its causes.
fn explain(error: &AwsError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

async fn describe(arn: &str) -> Result<Stream, AwsError> {
    let Ok(stream) = arn.parse::<StreamName>() else { return Ok(Stream::default()) };
    let description = Api::connect(stream).await?.describe().await?;
    Ok(Stream {
        retention_hours: i64::try_from(description.retention_ms / 3_600_000).ok().into(),
        distribution: description.distribution.into(),
        ..Stream::default()
    })
}

/// Returns a function's ARN without alias or version.
fn unqualified(arn: &str) -> &str {
    qualifier(arn).map_or(arn, |qualifier| &arn[..arn.len() - qualifier.len() - 1])
}

/// Returns alias or version of `NAME:QUALIFIER`, also in an ARN.
fn qualifier(name: &str) -> Option<&str> {
    let name = name.split_once(":function:").map_or(name, |(_, name)| name);
    name.split_once(':').map(|(_, qualifier)| qualifier)
}

fn name(arn: &str) -> &str {
    let name = arn.split_once(":function:").map_or(arn, |(_, name)| name);
    name.split_once(':').map_or(name, |(name, _)| name)
}

fn function(configuration: &GetFunctionConfigurationOutput) -> Function {
    let environment = configuration.environment.as_ref();
    // Lambda leaves variables out if it may not decrypt them.
    let error = environment.and_then(|environment| environment.error.as_ref()?.message.clone());
    let variables = environment.and_then(|environment| environment.variables.clone());
    let variables = variables.unwrap_or_default().into_iter();
    Function {
        id: configuration.function_name.clone().unwrap_or_default(),
        variables: match error {
            Some(error) => Setting::Unknown(error),
            None => Setting::Known(variables.map(|(name, value)| (name, Setting::Known(value))).collect()),
        },
        timeout_s: configuration.timeout.map(i64::from).into(),
        memory_mb: configuration.memory_size.map(i64::from).into(),
        // Another request tells it.
        reserved_concurrency: Setting::Absent,
        is_on_managed_instances: Setting::Known(configuration.capacity_provider_config.is_some()),
    }
}

fn mapping(found: EventSourceMappingConfiguration) -> Mapping {
    let number = |value: Option<i32>| Setting::from(value.map(i64::from));
    let on_failure = found.destination_config.and_then(|config| config.on_failure);
    let destination = on_failure.and_then(|to| to.destination).filter(|arn| !arn.is_empty());
    let filters = found.filter_criteria.and_then(|criteria| criteria.filters).unwrap_or_default();
    Mapping {
        id: found.uuid.unwrap_or_default(),
        is_fan_out: Setting::Known(
            found.event_source_arn.as_deref().is_some_and(|arn| arn.contains("/consumer/")),
        ),
        event_source: found.event_source_arn.into(),
        is_enabled: found.state.map(|state| !state.starts_with("Disabl")).into(),
        starting_position: found.starting_position.map(|position| position.as_str().to_owned()).into(),
        starting_timestamp: found.starting_position_timestamp.map(|time| time.to_string()).into(),
        response_types: Setting::Known(
            found
                .function_response_types
                .unwrap_or_default()
                .iter()
                .map(|kind| kind.as_str().to_owned())
                .collect(),
        ),
        bisects: found.bisect_batch_on_function_error.into(),
        retries: number(found.maximum_retry_attempts),
        record_age_s: number(found.maximum_record_age_in_seconds),
        parallelization_factor: number(found.parallelization_factor),
        batch_size: number(found.batch_size),
        batching_window_s: number(found.maximum_batching_window_in_seconds),
        tumbling_window_s: number(found.tumbling_window_in_seconds),
        destination: destination
            .map(|arn| Destination {
                service: Setting::Known(Service::of(&arn).unwrap_or(Service::Other)),
                may_write: Setting::Absent,
                may_use_key: Setting::Absent,
            })
            .into(),
        // Lambda leaves encrypted filters out if it may not decrypt them.
        filters: match found.filter_criteria_error.and_then(|error| error.message) {
            Some(message) => Setting::Unknown(message),
            None => Setting::Known(
                filters.into_iter().filter_map(|filter| filter.pattern).map(Setting::Known).collect(),
            ),
        },
        ..Mapping::default()
    }
}
