//! `kinesis-kit pause` and `resume`: the event source mappings of a function are disabled and enabled.

use std::{rc::Rc, time::Duration};

use aws_sdk_lambda::types::EventSourceMappingConfiguration;
use tokio::time::{Instant, sleep};

use crate::{
    args::MappingsArgs,
    aws::{
        Attempts,
        event_source_mappings::{self, MappingReader},
        function_name::FunctionName,
    },
    error::{Completion, Error, chain},
    lease_table::{Backlog, WaitLimit},
    output::{
        cell, meter,
        note::{error, note, warning},
    },
    run::{self, halt::Halt},
    stream::{Api, Description, arrival::Arrival, now_ms},
};

/// The time between two looks at a mapping's state, which takes some seconds to change.
const INTERVAL: Duration = Duration::from_secs(1);

/// A change of mappings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
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

/// Enables or disables the mappings.
pub(crate) fn run(args: &MappingsArgs, switch: Switch) -> Result<Completion, Error> {
    let halt = Halt::default();
    run::block_on(run::until_interrupted(change(args, switch), &halt))
}

async fn change(args: &MappingsArgs, switch: Switch) -> Result<Completion, Error> {
    let stream = Api::connect(args.stream.clone()).await?.with_attempts(Attempts::Few).describe().await?;
    let mappings = mappings(args, &stream.arn).await?;
    let reader = MappingReader::connect(stream.arn.split(':').nth(3)).await?;
    let mut completion = Completion::Done;
    if switch == Switch::Enable {
        // A moment later, records that waited are processed or discarded.
        completion = tell_backlog(args, &stream, &mappings).await;
    }
    let has_mirror = args.checkpoint_table.is_some();
    let until = Instant::now() + Duration::from_secs(args.wait);
    let mut asked = Vec::new();
    for mapping in &mappings {
        let uuid = mapping.uuid.as_deref().unwrap_or_default();
        if mapping.state.as_deref() == Some(switch.state()) {
            note(format_args!("mapping {uuid}: {} already", switch.state()));
            report(mapping, switch, &stream, has_mirror);
            continue;
        }
        match reader.set_enabled(uuid, switch == Switch::Enable).await {
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
            let state = reader.state(uuid).await;
            let has_ended = state.as_ref().map_or(true, |state| state == switch.state());
            if has_ended || Instant::now() >= until {
                break state;
            }
            sleep(INTERVAL).await;
        };
        match state {
            Ok(state) if state == switch.state() => {
                note(format_args!("mapping {uuid}: {state}"));
                report(before, switch, &stream, has_mirror);
                continue;
            }
            Ok(state) => error(format_args!("mapping {uuid}: still {state} after {} s", args.wait)),
            Err(failure) => error(format_args!("mapping {uuid}: {}", chain(&failure))),
        }
        completion = Completion::SomeFailed;
    }
    if switch == Switch::Disable && tell_backlog(args, &stream, &mappings).await == Completion::SomeFailed {
        completion = Completion::SomeFailed;
    }
    Ok(completion)
}

/// Returns the mappings that deliver the stream to the function, or to the version or alias that was named.
async fn mappings(
    args: &MappingsArgs,
    stream_arn: &str,
) -> Result<Vec<EventSourceMappingConfiguration>, Error> {
    let function = FunctionName::parse(&args.function);
    let mut mappings = event_source_mappings::to_function(&function, stream_arn).await?;
    mappings.retain(|mapping| {
        let qualifier = FunctionName::parse(mapping.function_arn.as_deref().unwrap_or_default()).qualifier;
        function.qualifier.is_empty() || function.qualifier == qualifier
    });
    match mappings.is_empty() {
        true => {
            Err(Error::Usage(format!("no event source mapping delivers {stream_arn} to {}", args.function)))
        }
        false => Ok(mappings),
    }
}

/// Says which records wait, if that was asked for.
async fn tell_backlog(
    args: &MappingsArgs,
    stream: &Description,
    mappings: &[EventSourceMappingConfiguration],
) -> Completion {
    let limit =
        mappings.iter().map(|mapping| limit(mapping, stream.retention_ms)).min_by_key(|limit| limit.ms);
    let limit = limit.unwrap_or(WaitLimit::retention(stream.retention_ms));
    match backlog(args, stream, mappings.iter().filter_map(disabled_since_ms).min()).await {
        Ok(None) => Completion::Done,
        Ok(Some(backlog)) => {
            note(backlog.text(limit));
            Completion::Done
        }
        // The mappings are switched in any case.
        Err(failure) => {
            error(format_args!("what waits cannot be read: {}", chain(&failure)));
            Completion::SomeFailed
        }
    }
}

/// Reads what waits: according to the checkpoint mirror, or all that has arrived since the mappings were disabled.
async fn backlog(
    args: &MappingsArgs,
    stream: &Description,
    since_ms: Option<u64>,
) -> Result<Option<Backlog>, Error> {
    let connect = async || -> Result<Rc<Api>, Error> {
        Ok(Rc::new(Api::connect(args.stream.clone()).await?.with_attempts(Attempts::Bounded)))
    };
    match (&args.checkpoint_table, since_ms) {
        (Some(table), _) => Backlog::of_table(&connect().await?, stream, table, args.count).await.map(Some),
        (None, Some(since_ms)) if args.count => Backlog::since(&connect().await?, since_ms).await.map(Some),
        (None, _) => Ok(None),
    }
}

/// Returns when a mapping that is disabled was changed for the last time, in milliseconds since 1970.
fn disabled_since_ms(mapping: &EventSourceMappingConfiguration) -> Option<u64> {
    let is_disabled = mapping.state.as_deref() == Some("Disabled");
    let changed_ms = mapping.last_modified.and_then(|time| time.to_millis().ok());
    changed_ms.and_then(|time| u64::try_from(time).ok()).filter(|_| is_disabled)
}

/// Returns the longest time for which records of a mapping may wait.
fn limit(mapping: &EventSourceMappingConfiguration, retention_ms: u64) -> WaitLimit {
    let age_s = mapping.maximum_record_age_in_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    match age_s.map(|seconds| seconds * 1000).filter(|&age_ms| age_ms > 0 && age_ms < retention_ms) {
        Some(ms) => WaitLimit { ms, setting: "MaximumRecordAgeInSeconds" },
        None => WaitLimit::retention(retention_ms),
    }
}

/// Says for how long a mapping was or is disabled, and for how long records are kept. `mapping` is as it was before.
fn report(mapping: &EventSourceMappingConfiguration, switch: Switch, stream: &Description, has_mirror: bool) {
    let limit = limit(mapping, stream.retention_ms);
    let since_ms = disabled_since_ms(mapping);
    let paused_ms = now_ms().saturating_sub(since_ms.unwrap_or_else(now_ms));
    if let Some(since_ms) = since_ms {
        note(format_args!(
            "it {} disabled for {}, since {} UTC at the latest",
            if switch == Switch::Enable { "was" } else { "has been" },
            cell::duration(paused_ms),
            Arrival::from_epoch_milliseconds(since_ms)
        ));
    }
    match switch {
        Switch::Disable => {
            let since_ms = since_ms.unwrap_or_else(now_ms);
            let end = match limit.ms == stream.retention_ms {
                true => "older records then leave the stream, without a failure record",
                false => "older records then go to the failure destination",
            };
            note(format_args!(
                "records that arrive after {} UTC wait in the stream, and none is lost before {} UTC ({} of {}): {end}",
                Arrival::from_epoch_milliseconds(since_ms),
                Arrival::from_epoch_milliseconds(since_ms + limit.ms),
                cell::duration(limit.ms),
                limit.setting
            ));
            if !has_mirror {
                note("records that were waiting before are older: see the metric IteratorAge");
            }
        }
        Switch::Enable if paused_ms > limit.ms => warning(format_args!(
            "records that arrived before {} UTC waited for more than {} of {}: they are discarded",
            Arrival::from_epoch_milliseconds(now_ms().saturating_sub(limit.ms)),
            cell::duration(limit.ms),
            limit.setting
        )),
        Switch::Enable if since_ms.is_some() => note(format_args!(
            "nothing that has arrived since then is discarded: {} of {} were left",
            cell::duration(limit.ms - paused_ms),
            limit.setting
        )),
        Switch::Enable => {}
    }
}
