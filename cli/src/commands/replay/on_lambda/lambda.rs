use std::collections::{BTreeSet, HashMap};

use aws_sdk_lambda::{
    Client,
    operation::get_function_configuration::GetFunctionConfigurationOutput,
    primitives::DateTime,
    types::{
        Architecture, DestinationConfig, EventSourceMappingConfiguration, EventSourceMappingMetric,
        EventSourceMappingMetricsConfig, EventSourcePosition, FunctionResponseType, OnFailure,
    },
};
use kinesis_handler::replay::ReplayRange;

use super::shards::DISORDER_MS;
use crate::{
    aws::{
        self, Attempts, AwsError, Repeater,
        event_source_mappings::{self, MappingReader, is_replay},
        function_name::FunctionName,
    },
    error::Error,
};

/// The version of a function that is not published.
const LATEST: &str = "$LATEST";

/// The part of Lambda's API that makes and deletes a replay.
#[derive(Debug)]
pub(super) struct Lambda {
    client: Client,
    repeater: Repeater,
}

/// The function that a live mapping of the stream invokes.
#[derive(Debug)]
pub(super) struct LiveFunction {
    /// Its ARN without a version or alias.
    pub(super) arn: String,
    /// The version that the live mapping invokes.
    pub(super) version: String,
    pub(super) mapping: EventSourceMappingConfiguration,
    pub(super) application: String,
    pub(super) journal_table: String,
    pub(super) memory_mb: u64,
    pub(super) is_arm: bool,
}

/// The alias of a replay.
#[derive(Debug, Clone)]
pub(super) struct ReplayAlias {
    /// The ARN of its function without a version or alias.
    pub(super) function_arn: String,
    pub(super) range: ReplayRange,
}

impl ReplayAlias {
    pub(super) fn arn(&self) -> String {
        format!("{}:{}", self.function_arn, self.range)
    }
}

impl LiveFunction {
    /// Returns the bucket to which the live mapping sends what it discards.
    pub(super) fn failure_bucket(&self) -> Option<&str> {
        destination(&self.mapping).filter(|arn| bucket_name(arn).is_some())
    }
}

/// The mapping of a replay.
#[derive(Debug)]
pub(super) struct ReplayMapping {
    pub(super) uuid: String,
    /// ARN of its on-failure destination; empty if it has none.
    pub(super) on_failure: String,
}

/// Returns the ARN of a mapping's on-failure destination.
fn destination(mapping: &EventSourceMappingConfiguration) -> Option<&str> {
    mapping.destination_config.as_ref()?.on_failure.as_ref()?.destination.as_deref()
}

/// Returns the name in the ARN of a bucket.
pub(super) fn bucket_name(destination_arn: &str) -> Option<&str> {
    let (_, name) = destination_arn.split_once(":s3:::")?;
    Some(name).filter(|name| !name.is_empty())
}

impl Lambda {
    /// Connects to a region.
    pub(super) async fn connect(region: Option<&str>) -> Result<Self, AwsError> {
        Ok(Lambda { client: Client::new(&aws::config(region).await?), repeater: Repeater::default() })
    }

    /// Finds the function of this name behind the one live mapping from the stream, and makes sure that it can replay.
    pub(super) async fn live_function(&self, name: &str, stream_arn: &str) -> Result<LiveFunction, Error> {
        let function = FunctionName::parse(name);
        let mut mappings = event_source_mappings::to_function(&function, stream_arn).await?;
        let qualifier = |mapping: &EventSourceMappingConfiguration| {
            FunctionName::parse(mapping.function_arn.as_deref().unwrap_or_default()).qualifier
        };
        mappings.retain(|mapping| {
            !is_replay(mapping) && (function.qualifier.is_empty() || function.qualifier == qualifier(mapping))
        });
        let mapping = match mappings.len() {
            1 => mappings.remove(0),
            0 => {
                return usage(format!(
                    "no event source mapping delivers {stream_arn} to {name}, whose settings the replay would have"
                ));
            }
            _ => {
                let name_of = |mapping| match qualifier(mapping).as_str() {
                    "" => function.name.clone(),
                    qualifier => format!("{}:{qualifier}", function.name),
                };
                let found: BTreeSet<String> = mappings.iter().map(name_of).collect();
                let advice = match found.len() {
                    // One of them reads through a consumer.
                    1 => "a replay needs a single one".to_owned(),
                    _ => format!("name one of {}", found.into_iter().collect::<Vec<_>>().join(", ")),
                };
                return usage(format!(
                    "several event source mappings deliver the stream to {name}: {advice}"
                ));
            }
        };
        if mapping.tumbling_window_in_seconds.is_some_and(|seconds| seconds > 0) {
            return usage(format!("the mapping of {name} has tumbling windows, which have no position"));
        }
        let version = match qualifier(&mapping).as_str() {
            "" | LATEST => LATEST.to_owned(),
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => number.to_owned(),
            alias => match self.alias_version(&function.base, alias).await? {
                Some(version) => version,
                None => return usage(format!("alias {alias} of {name} is gone")),
            },
        };
        let configuration = self.configuration(&function.base, &version).await?;
        let variables = variables(&configuration);
        let variable = |of: &str| {
            variables.get(&*format!("KINESIS_HANDLER_{of}")).filter(|value| !value.is_empty()).cloned()
        };
        if variable("REPLAYS").as_deref() != Some("on") {
            return usage(format!(
                "version {version} of {name} cannot replay on Lambda: set KINESIS_HANDLER_REPLAYS=on (in the template \
                 Replays=on) and deploy it"
            ));
        }
        let Some(journal_table) = variable("JOURNAL_TABLE") else {
            return usage(format!("version {version} of {name} has no KINESIS_HANDLER_JOURNAL_TABLE"));
        };
        let arn = configuration.function_arn.as_deref().or(mapping.function_arn.as_deref());
        Ok(LiveFunction {
            arn: FunctionName::parse(arn.unwrap_or(name)).base,
            application: variable("APPLICATION")
                .or(configuration.function_name.clone())
                .unwrap_or_else(|| function.name.clone()),
            journal_table,
            memory_mb: configuration.memory_size.and_then(|size| size.try_into().ok()).unwrap_or(128),
            is_arm: configuration.architectures.unwrap_or_default().contains(&Architecture::Arm64),
            version,
            mapping,
        })
    }

    async fn configuration(
        &self,
        function: &str,
        version: &str,
    ) -> Result<GetFunctionConfigurationOutput, AwsError> {
        let request =
            || self.client.get_function_configuration().function_name(function).qualifier(version).send();
        let resource = format!("function {function}");
        self.repeater.request(&resource, "GetFunctionConfiguration", Attempts::Few, request).await
    }

    /// Returns the version of an alias. `None` if there is no such alias.
    async fn alias_version(&self, function: &str, alias: &str) -> Result<Option<String>, AwsError> {
        let request = || self.client.get_alias().function_name(function).name(alias).send();
        let resource = format!("alias {alias}");
        match self.repeater.request(&resource, "GetAlias", Attempts::Bounded, request).await {
            Ok(answer) => Ok(answer.function_version),
            Err(error) if error.is("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the ARN of a function without a version or alias, whether a mapping invokes it or not.
    pub(super) async fn function_arn(&self, name: &str) -> Result<String, AwsError> {
        let function = FunctionName::parse(name);
        let arn = self.configuration(&function.base, LATEST).await?.function_arn;
        Ok(FunctionName::parse(arn.as_deref().unwrap_or(name)).base)
    }

    /// Makes the alias of a replay on a version of its function, unless it is there.
    pub(super) async fn create_alias(&self, alias: &ReplayAlias, version: &str) -> Result<(), AwsError> {
        let ReplayAlias { function_arn, range } = alias;
        let request = || {
            let request = self.client.create_alias().function_name(function_arn).name(range.to_string());
            let request = request.description("A replay by kinesis-kit, which deletes this alias");
            request.function_version(version).send()
        };
        let resource = format!("alias {range}");
        match self.repeater.request(&resource, "CreateAlias", Attempts::Bounded, request).await {
            Ok(_) => Ok(()),
            // An earlier run has made it.
            Err(error) if error.is("ResourceConflictException") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes the alias of a replay. That there is none is no error.
    pub(super) async fn delete_alias(&self, alias: &ReplayAlias) -> Result<(), AwsError> {
        let ReplayAlias { function_arn, range } = alias;
        let request =
            || self.client.delete_alias().function_name(function_arn).name(range.to_string()).send();
        let resource = format!("alias {range}");
        match self.repeater.request(&resource, "DeleteAlias", Attempts::Bounded, request).await {
            Ok(_) => Ok(()),
            Err(error) if error.is("ResourceNotFoundException") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Finds the mapping of a replay. One that is being deleted is none.
    pub(super) async fn replay_mapping(
        &self,
        alias: &ReplayAlias,
        stream_arn: &str,
    ) -> Result<Option<ReplayMapping>, AwsError> {
        let reader = MappingReader::connect(stream_arn.split(':').nth(3)).await?;
        let own = FunctionName::parse(&alias.arn());
        let is_own = |mapping: &EventSourceMappingConfiguration| {
            let invoked = FunctionName::parse(mapping.function_arn.as_deref().unwrap_or_default());
            invoked.is_same_function(&own) && invoked.qualifier == own.qualifier
        };
        let mappings = reader.list(Some(stream_arn)).await?;
        let found = mappings
            .into_iter()
            .find(|mapping| is_own(mapping) && mapping.state.as_deref() != Some("Deleting"));
        Ok(found.and_then(|mapping| {
            let on_failure = destination(&mapping).unwrap_or_default().to_owned();
            Some(ReplayMapping { uuid: mapping.uuid?, on_failure })
        }))
    }

    /// Whether another mapping than this one is on the alias of a replay.
    pub(super) async fn is_used(&self, alias: &ReplayAlias, uuid: Option<&str>) -> Result<bool, AwsError> {
        let request = || self.client.list_event_source_mappings().function_name(alias.arn()).send();
        let resource = format!("alias {}", alias.range);
        let listed =
            self.repeater.request(&resource, "ListEventSourceMappings", Attempts::Bounded, request).await;
        let mappings = match listed {
            Ok(page) => page.event_source_mappings.unwrap_or_default(),
            Err(error) if error.is("ResourceNotFoundException") => Vec::new(),
            Err(error) => return Err(error),
        };
        let is_other = |mapping: &EventSourceMappingConfiguration| {
            mapping.uuid.as_deref() != uuid && mapping.state.as_deref() != Some("Deleting")
        };
        Ok(mappings.iter().any(is_other))
    }

    /// Makes the mapping of a replay, with the settings of the live one as far as they suit.
    pub(super) async fn create_mapping(
        &self,
        alias: &ReplayAlias,
        live: &EventSourceMappingConfiguration,
        stream_arn: &str,
        on_failure: &str,
    ) -> Result<ReplayMapping, AwsError> {
        let operation = "CreateEventSourceMapping";
        let alias_arn = alias.arn();
        let destination = OnFailure::builder().destination(on_failure).build();
        let metrics =
            EventSourceMappingMetricsConfig::builder().metrics(EventSourceMappingMetric::EventCount).build();
        let request = || {
            let request = self
                .client
                .create_event_source_mapping()
                .function_name(&alias_arn)
                .event_source_arn(stream_arn)
                .enabled(true)
                .set_batch_size(live.batch_size)
                .set_maximum_batching_window_in_seconds(live.maximum_batching_window_in_seconds)
                .set_bisect_batch_on_function_error(live.bisect_batch_on_function_error)
                .set_maximum_retry_attempts(live.maximum_retry_attempts)
                // Records of a replay are old.
                .maximum_record_age_in_seconds(-1)
                // Concurrent batches of a shard have no common position.
                .parallelization_factor(1)
                .function_response_types(FunctionResponseType::ReportBatchItemFailures)
                .destination_config(DestinationConfig::builder().on_failure(destination.clone()).build())
                .metrics_config(metrics.clone());
            let request = match alias.range.from_ms() {
                0 => request.starting_position(EventSourcePosition::TrimHorizon),
                from_ms => request
                    .starting_position(EventSourcePosition::AtTimestamp)
                    .starting_position_timestamp(DateTime::from_secs(start_s(from_ms))),
            };
            request.send()
        };
        let resource = format!("mapping of {alias_arn}");
        let answer = self.repeater.request(&resource, operation, Attempts::Bounded, request).await?;
        let on_failure = on_failure.to_owned();
        match answer.uuid {
            Some(uuid) => Ok(ReplayMapping { uuid, on_failure }),
            None => Err(AwsError::Answer { operation, what: "no UUID".to_owned() }),
        }
    }

    /// Returns the state of a mapping, and how its last batch ended. `None` if it is gone.
    pub(super) async fn mapping_state(&self, uuid: &str) -> Result<Option<MappingState>, AwsError> {
        let request = || self.client.get_event_source_mapping().uuid(uuid).send();
        let resource = format!("mapping {uuid}");
        match self.repeater.request(&resource, "GetEventSourceMapping", Attempts::Bounded, request).await {
            Ok(answer) => Ok(Some(MappingState {
                state: answer.state.unwrap_or_default(),
                last_result: answer.last_processing_result.unwrap_or_default(),
            })),
            Err(error) if error.is("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a mapping. That there is none is no error.
    pub(super) async fn delete_mapping(&self, uuid: &str) -> Result<(), AwsError> {
        let request = || self.client.delete_event_source_mapping().uuid(uuid).send();
        let resource = format!("mapping {uuid}");
        match self.repeater.request(&resource, "DeleteEventSourceMapping", Attempts::Bounded, request).await {
            Ok(_) => Ok(()),
            Err(error) if error.is("ResourceNotFoundException") => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Returns the start of a mapping, in seconds since 1970, from which it delivers all records that arrived at a time or later. The
/// function leaves out those before it.
fn start_s(from_ms: u64) -> i64 {
    i64::try_from(from_ms.saturating_sub(DISORDER_MS) / 1_000).unwrap_or(i64::MAX)
}

/// The state of a mapping, in Lambda's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MappingState {
    pub(super) state: String,
    pub(super) last_result: String,
}

fn variables(configuration: &GetFunctionConfigurationOutput) -> HashMap<String, String> {
    configuration
        .environment
        .as_ref()
        .and_then(|environment| environment.variables.clone())
        .unwrap_or_default()
}

fn usage<T>(text: String) -> Result<T, Error> {
    Err(Error::Usage(text))
}
