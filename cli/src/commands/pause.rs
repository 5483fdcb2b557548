//! `kinesis-kit pause` and `resume`: the event source mappings of a function are disabled and enabled.

use std::time::Duration;

use aws_sdk_lambda::types::EventSourceMappingConfiguration;
use tokio::time::{Instant, sleep};

use crate::{
    args::{MappingsArgs, PauseArgs, ResumeArgs},
    aws::{
        Attempts,
        event_source_mappings::{self, MappingReader},
        function_name::FunctionName,
    },
    error::{Completion, Error, chain},
    output::{
        cell, meter,
        note::{error, note, warning},
    },
    run::{self, halt::Halt},
    stream::{Api, arrival::Arrival, now_ms},
};

/// The time between two looks at a mapping's state, which takes some seconds to change.
const INTERVAL: Duration = Duration::from_secs(1);

/// Disables the mappings.
pub(crate) fn pause(args: &PauseArgs) -> Result<Completion, Error> {
    let halt = Halt::default();
    run::block_on(run::until_interrupted(switch(&args.mappings, Switch::Disable), &halt))
}

/// Enables the mappings.
pub(crate) fn resume(args: &ResumeArgs) -> Result<Completion, Error> {
    let halt = Halt::default();
    run::block_on(run::until_interrupted(switch(&args.mappings, Switch::Enable), &halt))
}

/// A change of mappings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    Enable,
    Disable,
}

impl Switch {
    /// Returns the state at its end.
    fn state(self) -> &'static str {
        match self {
            Switch::Enable => "Enabled",
            Switch::Disable => "Disabled",
        }
    }
}

async fn switch(args: &MappingsArgs, switch: Switch) -> Result<Completion, Error> {
    let stream = Api::connect(args.stream.clone()).await?.with_attempts(Attempts::Few).describe().await?;
    let function = FunctionName::parse(&args.function);
    let mut mappings = event_source_mappings::to_function(&function, &stream.arn).await?;
    mappings.retain(|mapping| {
        let qualifier = FunctionName::parse(mapping.function_arn.as_deref().unwrap_or_default()).qualifier;
        function.qualifier.is_empty() || function.qualifier == qualifier
    });
    if mappings.is_empty() {
        return Err(Error::Usage(format!(
            "no event source mapping delivers {} to {}",
            stream.arn, args.function
        )));
    }
    let reader = MappingReader::connect(stream.arn.split(':').nth(3)).await?;
    let until = Instant::now() + Duration::from_secs(args.wait);
    let mut completion = Completion::Done;
    let mut asked = Vec::new();
    for mapping in mappings {
        let uuid = mapping.uuid.clone().unwrap_or_default();
        if mapping.state.as_deref() == Some(switch.state()) {
            note(format_args!("mapping {uuid}: {} already", switch.state()));
            report(&mapping, switch, stream.retention_ms);
            continue;
        }
        match reader.set_enabled(&uuid, switch == Switch::Enable).await {
            Ok(()) => asked.push((uuid, mapping)),
            Err(failure) => {
                error(format_args!("mapping {uuid}: {}", chain(&failure)));
                completion = Completion::SomeFailed;
            }
        }
    }
    for (uuid, before) in asked {
        let _waiting = meter::wait(format!("mapping {uuid} to be {}", switch.state()));
        let state = loop {
            let state = reader.state(&uuid).await;
            let has_ended = state.as_ref().map_or(true, |state| state == switch.state());
            if has_ended || Instant::now() >= until {
                break state;
            }
            sleep(INTERVAL).await;
        };
        match state {
            Ok(state) if state == switch.state() => {
                note(format_args!("mapping {uuid}: {state}"));
                report(&before, switch, stream.retention_ms);
                continue;
            }
            Ok(state) => error(format_args!("mapping {uuid}: still {state} after {} s", args.wait)),
            Err(failure) => error(format_args!("mapping {uuid}: {}", chain(&failure))),
        }
        completion = Completion::SomeFailed;
    }
    Ok(completion)
}

/// Says what waits, and for how long it is kept. `mapping` is as it was before.
fn report(mapping: &EventSourceMappingConfiguration, switch: Switch, retention_ms: u64) {
    let age_ms = mapping.maximum_record_age_in_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let age_ms = age_ms.filter(|&seconds| seconds > 0).map(|seconds| seconds * 1000);
    let kept_ms = retention_ms.min(age_ms.unwrap_or(u64::MAX));
    let (limit, end) = match age_ms {
        Some(age_ms) if age_ms < retention_ms => {
            ("MaximumRecordAgeInSeconds", "older records then go to the failure destination")
        }
        _ => ("the stream's retention", "older records then leave the stream, without a failure record"),
    };
    let is_disabled = mapping.state.as_deref() == Some("Disabled");
    let changed_ms = mapping.last_modified.and_then(|time| time.to_millis().ok());
    let changed_ms = changed_ms.and_then(|time| u64::try_from(time).ok()).filter(|_| is_disabled);
    match switch {
        Switch::Disable => {
            let since_ms = changed_ms.unwrap_or_else(now_ms);
            note(format_args!(
                "records that arrive after {} UTC wait in the stream, and none is lost before {} UTC ({} of {limit}): {end}",
                Arrival::from_epoch_milliseconds(since_ms),
                Arrival::from_epoch_milliseconds(since_ms + kept_ms),
                cell::duration(kept_ms)
            ));
            note("records that were waiting before are older: see the metric IteratorAge");
        }
        Switch::Enable => {
            let Some(since_ms) = changed_ms else { return };
            let paused_ms = now_ms().saturating_sub(since_ms);
            note(format_args!(
                "it was disabled for {}, since {} UTC at the latest",
                cell::duration(paused_ms),
                Arrival::from_epoch_milliseconds(since_ms)
            ));
            if paused_ms > kept_ms {
                warning(format_args!(
                    "records that arrived before {} UTC waited for more than {} of {limit}: they are discarded",
                    Arrival::from_epoch_milliseconds(now_ms().saturating_sub(kept_ms)),
                    cell::duration(kept_ms)
                ));
            }
        }
    }
}
