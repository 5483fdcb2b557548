//! Rules about the function: its environment variables, limits, and what its mappings share.

use std::{collections::BTreeMap, ffi::OsString};

use kinesis_handler::{Options, OptionsError};

use super::{Judged, error, warning};
use crate::commands::doctor::{
    finding::Finding,
    mapping::{
        AGE_POLICY, APPLICATION, Function, JOURNAL_TABLE, MAX_AGE_SECONDS, MAX_ATTEMPTS, Mapping,
        PARALLELIZATION_FACTOR,
    },
    setting::{Setting, Unknown},
};

/// Every variable of the handler starts with this.
const PREFIX: &str = "KINESIS_HANDLER_";

/// Invocations that are no failed attempts of the record itself: a deadline and a crash.
const SLACK: i64 = 2;

const FUNCTION: &str = "FunctionName";

/// The handler ends at every start if it cannot use its variables.
pub(super) fn variables(mapping: &Mapping) -> Judged {
    let Some(function) = mapping.function.get(FUNCTION)? else { return Ok(None) };
    let variables = function.variables.get("Environment")?.cloned().unwrap_or_default();
    let variables: BTreeMap<_, _> =
        variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    let known: Vec<(String, String)> =
        variables.iter().filter_map(|(name, value)| Some((name.clone(), value.known()?.clone()))).collect();
    let hidden: Vec<(&str, &String)> = variables
        .iter()
        .filter_map(|(name, value)| match value {
            Setting::Unknown(expression) => Some((name.as_str(), expression)),
            Setting::Absent | Setting::Known(_) => None,
        })
        .collect();
    // A hidden value may be any that its variable takes, so a contradiction needs all of them to contradict.
    let mut worlds = vec![known];
    for (name, expression) in &hidden {
        let mut values: Vec<Option<String>> = stand_ins(name).into_iter().map(Some).collect();
        if expression.contains("Fn::If") {
            values.push(None);
        }
        worlds = worlds
            .iter()
            .flat_map(|world| {
                values.iter().map(|value| {
                    let mut world = world.clone();
                    world.extend(value.iter().map(|value| ((*name).to_owned(), value.clone())));
                    world
                })
            })
            .take(MAX_WORLDS)
            .collect();
    }
    let faults: Vec<OptionsError> = worlds.iter().filter_map(|world| fault(world)).collect();
    match (faults.first(), hidden.first()) {
        (Some(_), Some((_, expression))) if faults.len() < worlds.len() => {
            Err(Unknown { setting: "Environment", expression: (*expression).clone() })
        }
        (Some(fault), _) => Ok(Some(
            error(
                "Environment",
                fault.to_string(),
                "the function exits at every start, so the mapping discards every record",
                "the variables and values that the handler's documentation lists",
            )
            .of(&function.id),
        )),
        (None, _) => Ok(None),
    }
}

/// Most combinations of values that are tried for variables with hidden values.
const MAX_WORLDS: usize = 1024;

/// Returns why the handler cannot use these variables.
fn fault(variables: &[(String, String)]) -> Option<OptionsError> {
    let lambda = ("AWS_LAMBDA_FUNCTION_NAME".to_owned(), "function".to_owned());
    let variables = variables.iter().chain([&lambda]);
    let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Options::from_variables(variables).err()
}

/// Returns values that a variable takes, which stand for a hidden one: both of a switch, one of any other.
fn stand_ins(name: &str) -> Vec<String> {
    let is_taken = |value: &&str| {
        let fault = fault(&[(name.to_owned(), (*value).to_owned())]);
        !matches!(fault, Some(OptionsError::Value { .. }))
    };
    let other = ["1", "fail", "table", "all", "quarantine"].into_iter().find(is_taken).map(str::to_owned);
    let switch = ["on", "off"].into_iter().filter(is_taken).map(str::to_owned);
    match other {
        Some(value) => vec![value],
        None => switch.collect(),
    }
}

pub(super) fn concurrent_batches_variable(mapping: &Mapping) -> Judged {
    let Some(function) = mapping.function.get(FUNCTION)? else { return Ok(None) };
    let Some(expected) = function.number(PARALLELIZATION_FACTOR)? else { return Ok(None) };
    let factor = mapping.concurrent_batches()?;
    Ok((factor != expected).then(|| {
        error(
            PARALLELIZATION_FACTOR,
            format!("{expected}, with ParallelizationFactor: {factor}"),
            "the handler takes the entries of concurrent batches for discarded records, or does not find discarded records",
            "the mapping's ParallelizationFactor",
        )
    }))
}

pub(super) fn max_attempts(mapping: &Mapping) -> Judged {
    let Some(function) = mapping.function.get(FUNCTION)? else { return Ok(None) };
    let Some(max_attempts) = function.number(MAX_ATTEMPTS)? else { return Ok(None) };
    let retries = mapping.retries.get("MaximumRetryAttempts")?.copied().unwrap_or(-1);
    if retries < 0 || retries + 1 >= max_attempts.saturating_add(SLACK) {
        return Ok(None);
    }
    let found = format!("{retries}, with {MAX_ATTEMPTS}={max_attempts}");
    let fix = format!("at least {}", max_attempts.saturating_add(SLACK - 1));
    Ok(Some(if retries + 1 < max_attempts {
        let reason = "the mapping discards a record before the handler has made all attempts, so it is not quarantined";
        error("MaximumRetryAttempts", found, reason, fix)
    } else {
        let reason = "an invocation that ends at its deadline or crashes is an attempt only for the mapping, which can discard \
                      a record before it is quarantined";
        warning("MaximumRetryAttempts", found, reason, fix)
    }))
}

pub(super) fn max_age(mapping: &Mapping) -> Judged {
    let Some(function) = mapping.function.get(FUNCTION)? else { return Ok(None) };
    let Some(max_age) = function.number(MAX_AGE_SECONDS)? else { return Ok(None) };
    let age = mapping.record_age_s.get("MaximumRecordAgeInSeconds")?.copied().unwrap_or(-1);
    if age < 0 || max_age < age {
        return Ok(None);
    }
    let reason = match function.is(AGE_POLICY, "skip")? {
        true => "the mapping discards a record, with its neighbours, before it is old enough to be skipped",
        false => "the mapping discards a record before it is old enough for the quarantine",
    };
    Ok(Some(error(
        MAX_AGE_SECONDS,
        format!("{max_age}, with MaximumRecordAgeInSeconds: {age}"),
        reason,
        "less than MaximumRecordAgeInSeconds",
    )))
}

/// A reserved concurrency of 0 stops a function, as a disabled mapping does.
pub(super) fn reserved_concurrency(mapping: &Mapping) -> Judged {
    const SETTING: &str = "ReservedConcurrentExecutions";
    let Some(function) = mapping.function.get(FUNCTION)? else { return Ok(None) };
    Ok((function.reserved_concurrency.get(SETTING)? == Some(&0)).then(|| {
        warning(
            SETTING,
            "0",
            "every invocation is throttled, and records expire from the stream in the meantime",
            "at least the number of shards, or no reserved concurrency",
        )
        .of(&function.id)
    }))
}

pub(super) fn timeout(mapping: &Mapping) -> Judged {
    limit(mapping, "Timeout", |function| &function.timeout_s, 1, 1_800, 5_400, "seconds")
}

pub(super) fn memory(mapping: &Mapping) -> Judged {
    limit(mapping, "MemorySize", |function| &function.memory_mb, 128, 10_240, 32_768, "MB")
}

/// Judges a number of the function, whose limit is higher on Lambda Managed Instances.
fn limit(
    mapping: &Mapping,
    setting: &'static str,
    value: impl Fn(&Function) -> &Setting<i64>,
    least: i64,
    most: i64,
    most_on_managed_instances: i64,
    unit: &str,
) -> Judged {
    let Some(function) = mapping.function.known() else { return Ok(None) };
    // Lambda refuses a wrong value when it is deployed, so an unknown one loses nothing.
    let Some(value) = value(function).known().copied() else { return Ok(None) };
    let is_managed = value > most && function.is_on_managed_instances.get(setting)?.copied().unwrap_or(false);
    let most = if is_managed { most_on_managed_instances } else { most };
    Ok((value < least || value > most).then(|| {
        let reason = if is_managed {
            "Lambda Managed Instances refuse the function"
        } else {
            "Lambda refuses the function, unless it runs on Lambda Managed Instances"
        };
        error(setting, value.to_string(), reason, format!("{least} to {most} {unit}")).of(&function.id)
    }))
}

/// Returns the mappings that share the entries of a retry journal. Their keys hold application, stream and shard, so one
/// mapping skips what another has processed.
pub(super) fn shared_journals(mappings: &[Mapping]) -> Vec<Finding> {
    let mut first_of: BTreeMap<[String; 3], &Mapping> = BTreeMap::new();
    let mut findings = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.is_enabled.known() != Some(&false)) {
        let Some(key) = journal_key(mapping) else { continue };
        match first_of.get(&key) {
            None => {
                first_of.insert(key, mapping);
            }
            Some(first) => findings.push(
                error(
                    JOURNAL_TABLE,
                    format!("the same table, application and stream as for mapping {}", first.id),
                    "mappings that share the entries of a retry journal skip each other's records",
                    format!("a function of its own for each mapping, with another {APPLICATION}; or one mapping only"),
                )
                .of(&mapping.id),
            ),
        }
    }
    findings
}

/// Returns table, application and stream: equal expressions have equal values.
fn journal_key(mapping: &Mapping) -> Option<[String; 3]> {
    let text = |setting: &Setting<String>| match setting {
        Setting::Absent => None,
        Setting::Known(text) | Setting::Unknown(text) => Some(text.clone()),
    };
    let function = mapping.function.known()?;
    let variables = function.variables.known()?;
    let table = text(variables.get(JOURNAL_TABLE)?)?;
    let application = variables.get(APPLICATION).and_then(text);
    // By default the application is the function's name.
    let application = application.unwrap_or_else(|| format!("function {}", function.id));
    Some([table, application, text(&mapping.stream.arn)?])
}
