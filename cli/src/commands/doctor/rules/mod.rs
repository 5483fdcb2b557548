//! The rules: pure functions over a mapping. A rule that needs an unknown value finds nothing, and that is reported.

mod failures;
mod function;
mod metrics;
mod reading;
mod replacement;

use std::collections::BTreeMap;

use super::{
    finding::{Finding, Severity},
    mapping::{Mapping, Subject},
    setting::Unknown,
};

pub(super) use replacement::replacements;

/// The finding of a rule in a mapping, or the value that it misses.
type Judged = Result<Option<Finding>, Unknown>;

const RULES: &[fn(&Mapping) -> Judged] = &[
    failures::response_types,
    failures::bisect,
    failures::retries,
    failures::record_age,
    failures::destination,
    failures::destination_permission,
    failures::destination_key,
    reading::disabled,
    reading::starting_position,
    reading::starting_timestamp,
    reading::filters,
    reading::concurrent_batches,
    reading::window_with_mirror,
    reading::window_with_journal,
    reading::window_with_concurrent_batches,
    reading::window_with_filters,
    reading::automatic_distribution,
    function::variables,
    function::concurrent_batches_variable,
    function::max_attempts,
    function::max_age,
    function::reserved_concurrency,
    function::timeout,
    function::memory,
];

/// Returns what is wrong with the mappings and alarms, and what could not be judged.
pub(super) fn findings(subject: &Subject) -> Vec<Finding> {
    let mut findings = subject.findings.clone();
    let fix = match subject.has_parameters {
        true => "give its parameters values with --parameter, or check the deployed function with --function",
        false => "write the value into the template, or check the deployed function with --function",
    };
    for mapping in &subject.mappings {
        findings.extend(judge(mapping, fix));
        findings.extend(reading::out_of_range(mapping));
    }
    findings.extend(function::shared_journals(&subject.mappings));
    findings.extend(subject.metrics.iter().flat_map(metrics::dimensions));
    // One function has the same fault for each of its mappings.
    findings.sort();
    findings.dedup();
    findings
}

/// Applies the rules to a mapping. `fix` is the advice about values that are not known.
fn judge(mapping: &Mapping, fix: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unknown: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for rule in RULES {
        match rule(mapping) {
            Ok(Some(finding)) if finding.resource.is_empty() => findings.push(finding.of(&mapping.id)),
            Ok(finding) => findings.extend(finding),
            Err(Unknown { setting, expression }) => {
                let settings = unknown.entry(expression).or_default();
                if !settings.contains(&setting) {
                    settings.push(setting);
                }
            }
        }
    }
    findings.extend(unknown.into_iter().map(|(expression, settings)| {
        not_judged(
            &settings.join(", "),
            expression,
            "the value is not known here, so it may be one that loses records",
            fix,
        )
        .of(&mapping.id)
    }));
    findings
}

fn error(setting: &str, found: impl Into<String>, reason: &str, fix: impl Into<String>) -> Finding {
    Finding::new(Severity::Error, setting, found, reason, fix)
}

fn warning(setting: &str, found: impl Into<String>, reason: &str, fix: impl Into<String>) -> Finding {
    Finding::new(Severity::Warning, setting, found, reason, fix)
}

/// Creates an entry for something that could not be judged.
pub(super) fn not_judged(
    setting: &str,
    found: impl Into<String>,
    reason: &str,
    fix: impl Into<String>,
) -> Finding {
    Finding::new(Severity::NotJudged, setting, found, reason, fix)
}
