//! The rules: pure functions over a mapping. A rule that needs an unknown value finds nothing, and that is reported.

mod failures;
mod function;
mod metrics;
mod reading;
mod replacement;

use std::collections::BTreeMap;

use super::{
    finding::{Finding, NOT_JUDGED, Severity},
    mapping::{Mapping, Subject},
    setting::Unknown,
};

pub(super) use replacement::replacements;

/// The finding of a rule in a mapping, or the value that it misses.
type Judged = Result<Option<Finding>, Unknown>;

/// A function that judges one mapping.
type Rule = fn(&Mapping) -> Judged;

/// The rules about one mapping, with their names.
const RULES: &[(&str, Rule)] = &[
    ("response-types", failures::response_types),
    ("bisect", failures::bisect),
    ("retries", failures::retries),
    ("record-age", failures::record_age),
    ("destination", failures::destination),
    ("destination-permission", failures::destination_permission),
    ("destination-key", failures::destination_key),
    ("disabled", reading::disabled),
    ("starting-position", reading::starting_position),
    ("starting-timestamp", reading::starting_timestamp),
    ("filters", reading::filters),
    ("concurrent-batches", reading::concurrent_batches),
    ("window-with-mirror", reading::window_with_mirror),
    ("window-with-journal", reading::window_with_journal),
    ("window-with-concurrency", reading::window_with_concurrency),
    ("window-with-concurrent-batches", reading::window_with_concurrent_batches),
    ("window-with-filters", reading::window_with_filters),
    ("automatic-distribution", reading::automatic_distribution),
    ("hash-range-filter", reading::hash_range_filter),
    ("variables", function::variables),
    ("concurrent-batches-variable", function::concurrent_batches_variable),
    ("max-attempts", function::max_attempts),
    ("max-age", function::max_age),
    ("reserved-concurrency", function::reserved_concurrency),
    ("timeout", function::timeout),
    ("memory", function::memory),
];

/// The names of rules about several mappings, alarms, and parameters.
const OTHER_RULES: [&str; 7] = [
    "alarm-dimensions",
    DATALESS,
    NOT_JUDGED,
    "out-of-range",
    "parameter-limits",
    "replacement",
    "shared-journal",
];

/// A destination without the data of records, which some users choose.
const DATALESS: &str = "destination-without-data";

/// Returns the names of all rules.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name).chain(OTHER_RULES)
}

/// Returns what is wrong with the mappings and alarms, and what could not be judged.
pub(super) fn findings(subject: &Subject) -> Vec<Finding> {
    let mut findings = subject.findings.clone();
    let fix = match subject.has_parameters {
        true => "give its parameters values with --parameter, or check the deployed function with --function",
        false => "write the value into the template, or check the deployed function with --function",
    };
    for mapping in &subject.mappings {
        findings.extend(judge(mapping, fix));
        findings.extend(named("out-of-range", reading::out_of_range(mapping)));
    }
    findings.extend(named("shared-journal", function::shared_journals(&subject.mappings)));
    findings.extend(named("alarm-dimensions", subject.metrics.iter().flat_map(metrics::dimensions)));
    // One function has the same fault for each of its mappings.
    findings.sort();
    findings.dedup();
    findings
}

/// Applies the rules to a mapping. `fix` is the advice about values that are not known.
fn judge(mapping: &Mapping, fix: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unknown: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, rule) in RULES {
        match rule(mapping) {
            Ok(Some(finding)) if finding.resource.is_empty() => {
                findings.push(finding.of(&mapping.id).by(name))
            }
            Ok(finding) => findings.extend(named(name, finding)),
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

fn named(rule: &'static str, findings: impl IntoIterator<Item = Finding>) -> impl Iterator<Item = Finding> {
    findings.into_iter().map(move |finding| finding.by(rule))
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
