//! Rules about the records that reach the function: state, position, filters, concurrent batches, windows.

use serde_json::Value;

use super::{Judged, error, warning};
use crate::commands::doctor::{
    finding::Finding,
    mapping::{CHECKPOINT_TABLE, CONCURRENCY, JOURNAL_TABLE, Mapping},
    setting::{Setting, Unknown},
};

pub(super) fn disabled(mapping: &Mapping) -> Judged {
    let is_enabled = mapping.is_enabled.get("Enabled")?.copied().unwrap_or(true);
    Ok((!is_enabled).then(|| {
        warning(
            "Enabled",
            "false",
            "the mapping delivers nothing, and records expire from the stream in the meantime",
            "Enabled: true",
        )
    }))
}

pub(super) fn starting_position(mapping: &Mapping) -> Judged {
    const SETTING: &str = "StartingPosition";
    let position = mapping.starting_position.get(SETTING)?.map(String::as_str);
    Ok(match position {
        Some("TRIM_HORIZON" | "AT_TIMESTAMP") => None,
        Some("LATEST") => Some(error(
            SETTING,
            "LATEST",
            "records written in the first minutes of a mapping can be missed",
            "TRIM_HORIZON or AT_TIMESTAMP",
        )),
        other => Some(error(
            SETTING,
            other.unwrap_or("none"),
            "Lambda refuses the mapping",
            "TRIM_HORIZON or AT_TIMESTAMP",
        )),
    })
}

pub(super) fn starting_timestamp(mapping: &Mapping) -> Judged {
    const SETTING: &str = "StartingPositionTimestamp";
    let needs_time = match mapping.starting_position.get("StartingPosition")? {
        Some(position) => position == "AT_TIMESTAMP",
        None => return Ok(None),
    };
    let has_time = mapping.starting_timestamp.is_set(SETTING)?;
    Ok(match (needs_time, has_time) {
        (true, false) => Some(error(
            SETTING,
            "none, with StartingPosition: AT_TIMESTAMP",
            "Lambda refuses the mapping, because it does not know where to start",
            "StartingPositionTimestamp, in seconds since 1970",
        )),
        (false, true) => Some(error(
            SETTING,
            "a time, without StartingPosition: AT_TIMESTAMP",
            "Lambda refuses the mapping, or starts it at another position",
            "StartingPosition: AT_TIMESTAMP, or no StartingPositionTimestamp",
        )),
        _ => None,
    })
}

/// Filters of a standard iterator see the Kinesis record, so an aggregate matches none. A fan-out consumer's filters see
/// user records.
pub(super) fn filters(mapping: &Mapping) -> Judged {
    const SETTING: &str = "FilterCriteria";
    let filters = mapping.filters.get(SETTING)?.cloned().unwrap_or_default();
    let mut unknown = None;
    for filter in &filters {
        let pattern = match filter {
            Setting::Absent => continue,
            Setting::Known(pattern) => pattern.as_str(),
            Setting::Unknown(expression) => expression.as_str(),
        };
        match restricts_user_records(pattern) {
            Some(false) => {}
            Some(true) if !is_fan_out(mapping, SETTING)? => {
                return Ok(Some(error(
                    SETTING,
                    pattern,
                    "an aggregated record matches no pattern on data or partitionKey of its user records, so it is dropped \
                     silently",
                    "no filter on data or partitionKey; filter in the function, or read through a fan-out consumer",
                )));
            }
            Some(true) => {}
            None => unknown = Some(Unknown { setting: SETTING, expression: pattern.to_owned() }),
        }
    }
    match unknown {
        Some(unknown) if !is_fan_out(mapping, SETTING)? => Err(unknown),
        _ => Ok(None),
    }
}

fn is_fan_out(mapping: &Mapping, setting: &'static str) -> Result<bool, Unknown> {
    Ok(mapping.is_fan_out.get(setting)?.copied().unwrap_or(false))
}

/// Returns whether a pattern asks for data or partition key, `None` if it cannot be evaluated.
fn restricts_user_records(pattern: &str) -> Option<bool> {
    let parsed: Value = match serde_json::from_str(&without_tokens(pattern)) {
        Ok(parsed) => parsed,
        // Lambda refuses a pattern that is not JSON.
        Err(_) if !pattern.contains("${") && !pattern.contains("{{resolve:") => return Some(true),
        Err(_) => return None,
    };
    let members = parsed.as_object()?;
    let is_expression = members.keys().any(|name| name == "Ref" || name.starts_with("Fn::"));
    (!is_expression).then(|| asks_for_user_record(&parsed))
}

/// Replaces each `${Name}` by a letter, because it stands inside a JSON text.
fn without_tokens(pattern: &str) -> String {
    let mut parts = pattern.split("${");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push('x');
        text.push_str(part.split_once('}').map_or("", |(_, rest)| rest));
    }
    text
}

fn asks_for_user_record(pattern: &Value) -> bool {
    let alternatives = pattern["$or"].as_array().into_iter().flatten();
    ["data", "partitionKey"].iter().any(|name| pattern.get(name).is_some())
        || alternatives.into_iter().any(asks_for_user_record)
}

pub(super) fn concurrent_batches(mapping: &Mapping) -> Judged {
    const SETTING: &str = "ParallelizationFactor";
    let factor = mapping.concurrent_batches()?;
    if factor <= 1 {
        return Ok(None);
    }
    if let Some(function) = mapping.function.get("FunctionName")?
        && function.has(CHECKPOINT_TABLE)?
    {
        return Ok(Some(error(
            SETTING,
            factor.to_string(),
            "concurrent batches of one shard finish out of order, so the checkpoint mirror would pass unprocessed records",
            "ParallelizationFactor: 1 with the checkpoint mirror",
        )));
    }
    Ok((!is_fan_out(mapping, SETTING)?).then(|| {
        warning(
            SETTING,
            factor.to_string(),
            "concurrent batches are split by the Kinesis record's partition key, which KPL aggregates do not preserve: user \
             records may be reordered",
            "ParallelizationFactor: 1 with KPL producers",
        )
    }))
}

/// Returns the length of the tumbling windows in seconds, 0 for none.
fn window_s(mapping: &Mapping) -> Result<i64, Unknown> {
    Ok(mapping.tumbling_window_s.get(WINDOW)?.copied().unwrap_or(0))
}

const WINDOW: &str = "TumblingWindowInSeconds";

pub(super) fn window_with_mirror(mapping: &Mapping) -> Judged {
    let window_s = window_s(mapping)?;
    if window_s <= 0 {
        return Ok(None);
    }
    let Some(function) = mapping.function.get("FunctionName")? else { return Ok(None) };
    Ok(function.has(CHECKPOINT_TABLE)?.then(|| {
        error(
            WINDOW,
            format!("{window_s}, with {CHECKPOINT_TABLE}"),
            "a function with a window processor does not start with a checkpoint mirror, and any other one refuses the events of a \
             window: the mapping discards every record",
            format!("no tumbling window, or no {CHECKPOINT_TABLE}"),
        )
    }))
}

pub(super) fn window_with_journal(mapping: &Mapping) -> Judged {
    let window_s = window_s(mapping)?;
    if window_s <= 0 {
        return Ok(None);
    }
    let Some(function) = mapping.function.get("FunctionName")? else { return Ok(None) };
    Ok(function.has(JOURNAL_TABLE)?.then(|| {
        error(
            WINDOW,
            format!("{window_s}, with {JOURNAL_TABLE}"),
            "a function with a window processor does not start with a retry journal, so the mapping discards every record; with any \
             other processor, journal and quarantine do not apply to events of a window",
            format!("no tumbling window, or no {JOURNAL_TABLE}"),
        )
    }))
}

pub(super) fn window_with_concurrency(mapping: &Mapping) -> Judged {
    let window_s = window_s(mapping)?;
    if window_s <= 0 {
        return Ok(None);
    }
    let Some(function) = mapping.function.get("FunctionName")? else { return Ok(None) };
    let concurrency = function.number(CONCURRENCY)?.filter(|&concurrency| concurrency > 1);
    Ok(concurrency.map(|concurrency| {
        error(
            WINDOW,
            format!("{window_s}, with {CONCURRENCY}={concurrency}"),
            "a function with a window processor, which gets one user record after the other, does not start with concurrency, so the \
             mapping discards every record",
            format!("no tumbling window, or {CONCURRENCY}=1"),
        )
    }))
}

pub(super) fn window_with_concurrent_batches(mapping: &Mapping) -> Judged {
    let window_s = window_s(mapping)?;
    if window_s <= 0 {
        return Ok(None);
    }
    let factor = mapping.concurrent_batches()?;
    Ok((factor > 1).then(|| {
        error(
            WINDOW,
            format!("{window_s}, with ParallelizationFactor: {factor}"),
            "Lambda refuses concurrent batches with tumbling windows",
            "ParallelizationFactor: 1",
        )
    }))
}

pub(super) fn window_with_filters(mapping: &Mapping) -> Judged {
    let window_s = window_s(mapping)?;
    if window_s <= 0 {
        return Ok(None);
    }
    let has_filters = mapping.filters.get("FilterCriteria")?.is_some_and(|filters| !filters.is_empty());
    Ok(has_filters.then(|| {
        error(
            WINDOW,
            format!("{window_s}, with FilterCriteria"),
            "Lambda refuses filters with tumbling windows",
            "no filters; filter in the function",
        )
    }))
}

/// A service-managed stream ignores partition keys.
pub(super) fn automatic_distribution(mapping: &Mapping) -> Judged {
    const SETTING: &str = "RecordDistributionStrategy";
    if mapping.stream.distribution.get(SETTING)?.is_none_or(|strategy| strategy != "AUTO") {
        return Ok(None);
    }
    if is_fan_out(mapping, SETTING)? {
        return Ok(Some(error(
            SETTING,
            "AUTO, with a fan-out consumer",
            "Lambda checks the hash keys of an aggregate's user records against the shard, which do not match on a \
             service-managed stream: whole aggregates disappear",
            "RecordDistributionStrategy: USER_PARTITION_KEY, or no fan-out consumer",
        )));
    }
    let window_s = window_s(mapping)?;
    Ok(Some(if window_s > 0 {
        error(
            SETTING,
            format!("AUTO, with {WINDOW}: {window_s}"),
            "records of one partition key go to any shard, and a window holds the records of one shard, so its results are \
             incomplete",
            "RecordDistributionStrategy: USER_PARTITION_KEY",
        )
    } else {
        warning(
            SETTING,
            "AUTO",
            "partition keys are ignored: records of one key have no order, and KPL aggregates are not supported",
            "RecordDistributionStrategy: USER_PARTITION_KEY with KPL producers or if order matters",
        )
    }))
}

/// The handler refuses to filter records by hash keys that say nothing about their shard.
pub(super) fn hash_range_filter(mapping: &Mapping) -> Judged {
    const SETTING: &str = "KINESIS_HANDLER_HASH_RANGE_FILTER";
    let Some(function) = mapping.function.get("FunctionName")? else { return Ok(None) };
    if !function.is_on(SETTING)? {
        return Ok(None);
    }
    let distribution = mapping.stream.distribution.get("RecordDistributionStrategy")?;
    Ok(distribution.filter(|strategy| *strategy == "AUTO").map(|_| {
        error(
            SETTING,
            "on, with RecordDistributionStrategy: AUTO",
            "records of any hash key are in any shard, so the handler fails each invocation",
            "KINESIS_HANDLER_HASH_RANGE_FILTER: \"off\"",
        )
    }))
}

/// Returns the numbers outside of the API's ranges.
pub(super) fn out_of_range(mapping: &Mapping) -> Vec<Finding> {
    let settings = [
        ("BatchSize", &mapping.batch_size, 1..=10_000),
        ("MaximumBatchingWindowInSeconds", &mapping.batching_window_s, 0..=300),
        ("ParallelizationFactor", &mapping.parallelization_factor, 1..=10),
        ("MaximumRetryAttempts", &mapping.retries, -1..=10_000),
        ("MaximumRecordAgeInSeconds", &mapping.record_age_s, -1..=604_800),
        (WINDOW, &mapping.tumbling_window_s, 0..=900),
    ];
    let mut findings = Vec::new();
    for (setting, value, range) in settings {
        let Some(value) = value.known() else { continue };
        let is_short_age = setting == "MaximumRecordAgeInSeconds" && (0..60).contains(value);
        if !range.contains(value) || is_short_age {
            let (least, most) = (if is_short_age { &60 } else { range.start() }, range.end());
            findings.push(
                error(setting, value.to_string(), "Lambda refuses the mapping", format!("{least} to {most}"))
                    .of(&mapping.id),
            );
        }
    }
    findings
}
