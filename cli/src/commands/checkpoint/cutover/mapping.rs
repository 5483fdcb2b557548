use std::time::Duration;

use aws_sdk_lambda::types::{EventSourceMappingConfiguration, EventSourcePosition};
use tokio::time::{Instant, sleep};

use super::{Cutover, saved::Plan};
use crate::{
    args::CheckpointCutoverArgs,
    aws::{
        AwsError,
        event_source_mappings::{self, MappingReader, is_replay},
        function_name::FunctionName,
        mapping_settings::MappingSettings,
    },
    error::Error,
    output::{
        cell, meter,
        note::{note, success},
    },
    stream::now_ms,
};

/// The time between two looks at a mapping's state, which takes some seconds to change.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time without an invocation, in milliseconds, after which every environment of the function reads the rows again: half a minute,
/// and a reserve.
pub(super) const QUIET_MS: u64 = 35_000;

/// More time than a mapping takes to be disabled, in milliseconds.
const DISABLING_MS: u64 = 120_000;

/// The mapping that is replaced.
#[derive(Debug)]
pub(super) struct OldMapping {
    pub(super) uuid: String,
    state: String,
    /// When it was changed last, in milliseconds since 1970.
    modified_ms: Option<u64>,
    /// The CloudFormation stack that it is part of.
    stack: Option<String>,
    pub(super) settings: MappingSettings,
}

/// A mapping whose last invocation has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopped {
    /// When it had ended at the latest, in milliseconds since 1970.
    pub(super) at_ms: u64,
}

impl OldMapping {
    /// Returns an error if a cut-over of the mapping would lose or repeat records, or damage a stack.
    pub(super) fn check(&self, args: &CheckpointCutoverArgs) -> Result<(), Error> {
        let OldMapping { uuid, settings, stack, .. } = self;
        if settings.parallelization_factor.is_some_and(|factor| factor > 1) {
            return Err(Error::Usage(format!(
                "mapping {uuid} has a ParallelizationFactor above 1: concurrent batches of a shard have no common position"
            )));
        }
        if settings.tumbling_window_s.is_some() {
            return Err(Error::Usage(format!(
                "mapping {uuid} has tumbling windows, whose records a position does not cover"
            )));
        }
        if let Some(stack) = stack.as_ref().filter(|_| args.to.is_none() && !args.no_mapping) {
            return Err(Error::Usage(format!(
                "mapping {uuid} is part of the stack {stack}, which would lose it: take --no-mapping, and deploy the new one"
            )));
        }
        Ok(())
    }
}

impl Stopped {
    /// Waits for the last invocation of a mapping that delivers nothing from this time on, in milliseconds since 1970.
    async fn wait(from_ms: u64, timeout_s: u64) -> Self {
        let stopped = Stopped { at_ms: from_ms + timeout_s * 1_000 };
        wait_until(stopped.at_ms, "the last invocation to end").await;
        stopped
    }

    /// Waits until environments that have served the old mapping read the rows again.
    pub(super) async fn wait_until_quiet(self) {
        wait_until(self.at_ms + QUIET_MS, "environments of the function to notice").await;
    }
}

impl Cutover<'_> {
    /// Finds the mapping that is replaced. `None` if no mapping delivers the stream to the function.
    pub(super) async fn old_mapping(&self) -> Result<Option<OldMapping>, Error> {
        let function = FunctionName::parse(&self.args.function);
        let to = self.args.to.as_deref().map(FunctionName::parse);
        let stream_arn = &self.positions.stream.arn;
        let mut mappings = event_source_mappings::to_function(&function, stream_arn).await?;
        // A replay on Lambda has a mapping, and positions, of its own.
        mappings.retain(|mapping| !is_replay(mapping) && mapping.state.as_deref() != Some("Deleting"));
        let name = |mapping: &EventSourceMappingConfiguration| {
            FunctionName::parse(mapping.function_arn.as_deref().unwrap_or_default())
        };
        if let Some(to) = &to {
            let is_new = |mapping: &&EventSourceMappingConfiguration| {
                let name = name(mapping);
                name.is_same_function(to) && name.qualifier == to.qualifier
            };
            // That of an earlier run is in its plan.
            if let Some(new) = mappings.iter().find(is_new) {
                return Err(Error::Usage(format!(
                    "mapping {} delivers {stream_arn} to {} already: a new one cannot be made",
                    new.uuid.as_deref().unwrap_or_default(),
                    self.args.to.as_deref().unwrap_or_default()
                )));
            }
        }
        mappings
            .retain(|mapping| function.qualifier.is_empty() || function.qualifier == name(mapping).qualifier);
        let mapping = match mappings.len() {
            0 => return Ok(None),
            1 => mappings.remove(0),
            _ => {
                let of = |mapping: &EventSourceMappingConfiguration| {
                    let [uuid, source, function] =
                        [&mapping.uuid, &mapping.event_source_arn, &mapping.function_arn]
                            .map(|text| text.as_deref().unwrap_or("unknown"));
                    format!("{uuid} from {source} to {function}")
                };
                let list: Vec<_> = mappings.iter().map(of).collect();
                return Err(Error::Usage(format!(
                    "several mappings deliver the stream to {}; name the version or alias of one of them: {}",
                    self.args.function,
                    list.join("; ")
                )));
            }
        };
        let uuid = mapping.uuid.clone().unwrap_or_default();
        let tags = match &mapping.event_source_mapping_arn {
            Some(arn) => self.lambda.tags(arn).await?,
            None => Default::default(),
        };
        let stack = tags.get("aws:cloudformation:stack-name").cloned();
        let modified_ms = mapping.last_modified.and_then(|time| time.to_millis().ok());
        let settings = MappingSettings::read(&mapping, tags)
            .map_err(|reason| Error::Usage(format!("mapping {uuid} could not be made again: {reason}")))?;
        Ok(Some(OldMapping {
            uuid,
            state: mapping.state.unwrap_or_default(),
            modified_ms: modified_ms.and_then(|time| u64::try_from(time).ok()),
            stack,
            settings,
        }))
    }

    /// Disables the mapping, and waits until none of its invocations can run any more.
    pub(super) async fn stop(&self, old: &OldMapping, timeout_s: u64) -> Result<Stopped, Error> {
        let disabled_ms = match old.state.as_str() {
            // It was modified when it was asked to, and disabled some time later.
            "Disabled" => {
                let modified_ms = old.modified_ms.unwrap_or_else(now_ms);
                now_ms().min(modified_ms.saturating_add(DISABLING_MS))
            }
            state => {
                // An earlier run, or somebody else, has asked for it, and Lambda takes no other request meanwhile.
                if state != "Disabling" {
                    let region = self.positions.stream.arn.split(':').nth(3);
                    MappingReader::connect(region).await?.set_enabled(&old.uuid, false).await?;
                }
                self.wait_for_state(&old.uuid, "Disabled").await?;
                now_ms()
            }
        };
        success(format_args!("mapping {}: Disabled", old.uuid));
        Ok(Stopped::wait(disabled_ms, timeout_s).await)
    }

    /// Waits until no invocation can run of a mapping that is deleted.
    pub(super) async fn wait_for_last_invocation(&self, timeout_s: u64) -> Result<Stopped, Error> {
        let function = FunctionName::parse(&self.args.function);
        for mapping in event_source_mappings::to_function(&function, &self.positions.stream.arn).await? {
            if let Some(uuid) = mapping.uuid.filter(|_| mapping.state.as_deref() == Some("Deleting")) {
                self.wait_until_gone(&uuid).await?;
            }
        }
        Ok(Stopped::wait(now_ms(), timeout_s).await)
    }

    /// Whether the old mapping of an earlier run is gone.
    pub(super) async fn is_deleted(&self, plan: &Plan) -> Result<bool, Error> {
        let old = self.lambda.mapping(&plan.old_uuid).await?;
        Ok(old.is_none_or(|old| old.state.as_deref() == Some("Deleting")))
    }

    /// Deletes the old mapping, unless the new one has another function, and makes the new one.
    pub(super) async fn replace(&self, plan: &Plan) -> Result<(), Error> {
        wait_until(plan.quiet_ms, "environments of the function to notice").await;
        if plan.replaces_old {
            self.lambda.delete(&plan.old_uuid).await?;
            self.wait_until_gone(&plan.old_uuid).await?;
            success(format_args!("mapping {}: deleted", plan.old_uuid));
        }
        let until = Instant::now() + Duration::from_secs(self.args.wait);
        let uuid = loop {
            // An answer may have been lost, or an earlier run have been interrupted.
            if let Some(made) = self.made(plan).await? {
                break made;
            }
            if let Some(made) = self.lambda.create(&plan.settings, plan.start_s).await? {
                break made;
            }
            if Instant::now() >= until {
                let MappingSettings { event_source_arn, function, .. } = &plan.settings;
                return Err(Error::Usage(format!(
                    "another mapping delivers {event_source_arn} to {function}: the new one cannot be made"
                )));
            }
            sleep(INTERVAL).await;
        };
        self.wait_for_state(&uuid, "Enabled").await?;
        success(format_args!("mapping {uuid}: Enabled"));
        Ok(())
    }

    /// Returns the mapping that an earlier run, or an earlier request, has made.
    pub(super) async fn made(&self, plan: &Plan) -> Result<Option<String>, AwsError> {
        let MappingSettings { event_source_arn, function, .. } = &plan.settings;
        let target = FunctionName::parse(function);
        let reader = MappingReader::connect(self.positions.stream.arn.split(':').nth(3)).await?;
        let mappings = reader.list(Some(event_source_arn)).await?;
        let is_made = |mapping: &&EventSourceMappingConfiguration| {
            let name = FunctionName::parse(mapping.function_arn.as_deref().unwrap_or_default());
            // Some emulators leave it out.
            let start_s = mapping.starting_position_timestamp.map(|time| u64::try_from(time.secs()).ok());
            let expected = match plan.start_s {
                Some(_) => EventSourcePosition::AtTimestamp,
                None => EventSourcePosition::TrimHorizon,
            };
            mapping.uuid.as_deref() != Some(&plan.old_uuid)
                && name.is_same_function(&target)
                && name.qualifier == target.qualifier
                && mapping.starting_position.as_ref() == Some(&expected)
                && start_s.is_none_or(|start_s| start_s == plan.start_s)
                && mapping.state.as_deref() != Some("Deleting")
        };
        Ok(mappings.iter().find(is_made).and_then(|mapping| mapping.uuid.clone()))
    }

    async fn wait_for_state(&self, uuid: &str, expected: &str) -> Result<(), Error> {
        let _waiting = meter::wait(format!("mapping {uuid} to be {expected}"));
        let until = Instant::now() + Duration::from_secs(self.args.wait);
        loop {
            let state = self.lambda.mapping(uuid).await?.and_then(|mapping| mapping.state);
            let state = state.unwrap_or_else(|| "deleted".to_owned());
            if state == expected {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(self.too_slow(uuid, &state));
            }
            sleep(INTERVAL).await;
        }
    }

    async fn wait_until_gone(&self, uuid: &str) -> Result<(), Error> {
        let _waiting = meter::wait(format!("mapping {uuid} to be deleted"));
        let until = Instant::now() + Duration::from_secs(self.args.wait);
        while let Some(mapping) = self.lambda.mapping(uuid).await? {
            if Instant::now() >= until {
                return Err(self.too_slow(uuid, mapping.state.as_deref().unwrap_or_default()));
            }
            sleep(INTERVAL).await;
        }
        Ok(())
    }

    fn too_slow(&self, uuid: &str, state: &str) -> Error {
        Error::TooSlow { what: format!("mapping {uuid}: still {state} after {} s", self.args.wait) }
    }
}

/// Waits until a time in milliseconds since 1970.
async fn wait_until(time_ms: u64, what: &str) {
    let left_ms = time_ms.saturating_sub(now_ms());
    if left_ms > 0 {
        note(format_args!("waiting {} for {what}", cell::duration(left_ms)));
        let _waiting = meter::wait(what.to_owned());
        sleep(Duration::from_millis(left_ms)).await;
    }
}
