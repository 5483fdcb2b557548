use std::collections::BTreeMap;

use aws_sdk_lambda::{
    Client, operation::get_function_configuration::GetFunctionConfigurationOutput,
    types::EventSourceMappingConfiguration,
};
use kinesis_esm::stream_arn::{is_consumer, stream_of};

use super::{
    mapping::{Destination, Function, Mapping, Service, Stream, Subject},
    setting::Setting,
};
use crate::{
    aws::{
        self, Attempts, AwsError, Repeater,
        event_source_mappings::{MappingReader, invokes, is_replay},
        function_name::FunctionName,
    },
    error::{Error, chain},
    output::note::note,
    stream::{Api, name::StreamName},
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
    let function_arn = configuration.function_arn.as_deref().or(configuration.function_name.as_deref());
    let invoked = FunctionName::parse(function_arn.unwrap_or(name));
    // A qualified name selects the mappings of that alias or version.
    let selected = FunctionName::parse(name).qualifier;
    account.functions.insert(name.to_owned(), Setting::Known(function(&configuration)));

    let mut mappings = Vec::new();
    // Those of the region, because the list of a function lacks those of its aliases and versions.
    for found in MappingReader::connect(region).await?.list(None).await? {
        let Some(source) = found.event_source_arn.clone().filter(|arn| arn.contains(":kinesis:")) else {
            continue;
        };
        let arn = found.function_arn.clone().unwrap_or_default();
        let qualifier = FunctionName::parse(&arn).qualifier;
        // The mapping of a replay has an application of its own, and is deleted with it.
        if is_replay(&found) || !invokes(&found, &invoked) || !(selected.is_empty() || qualifier == selected)
        {
            continue;
        }
        let mut mapping = mapping(found);
        // A mapping of an alias or version has the variables of that version.
        let is_qualified = selected.is_empty() && !qualifier.is_empty();
        mapping.function = account.function(if is_qualified { &arn } else { name }).await;
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

    async fn function(&mut self, name: &str) -> Setting<Function> {
        if !self.functions.contains_key(name) {
            let setting = match self.configuration(name).await {
                Ok(configuration) => Setting::Known(function(&configuration)),
                Err(error) => Setting::Unknown(chain(&error)),
            };
            self.functions.insert(name.to_owned(), setting);
        }
        self.functions.get(name).cloned().unwrap_or_default()
    }

    async fn stream(&mut self, source: &str) -> Stream {
        let arn = stream_of(source);
        if !self.streams.contains_key(arn) {
            let stream = match describe(arn).await {
                Ok(stream) => stream,
                Err(error) => {
                    let error = chain(&error);
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

async fn describe(arn: &str) -> Result<Stream, AwsError> {
    let Ok(stream) = arn.parse::<StreamName>() else { return Ok(Stream::default()) };
    let description = Api::connect(stream).await?.describe().await?;
    Ok(Stream {
        retention_hours: i64::try_from(description.retention_ms / 3_600_000).ok().into(),
        distribution: description.distribution.into(),
        ..Stream::default()
    })
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
        is_fan_out: Setting::Known(found.event_source_arn.as_deref().is_some_and(is_consumer)),
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
