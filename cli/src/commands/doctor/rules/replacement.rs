//! The rule about a change: one that replaces a mapping loses its position.

use super::{error, not_judged};
use crate::commands::doctor::{finding::Finding, mapping::Mapping, setting::Setting};

const FIX: &str = "no such change; or delete the mapping first, in a deployment of its own, and create it again with AT_TIMESTAMP \
                   where it ended: Lambda accepts no second mapping of the same function and source";

/// Returns the changes from a baseline that delete or replace a mapping.
pub(in super::super) fn replacements(baseline: &[Mapping], mappings: &[Mapping]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for old in baseline {
        match mappings.iter().find(|new| new.id == old.id) {
            Some(new) => findings.extend(changes(old, new)),
            None => findings.push(
                error(
                    "Resources",
                    "no mapping with this logical ID any more",
                    "the change deletes the mapping and with it its position, even if another mapping replaces it",
                    FIX,
                )
                .of(&old.id),
            ),
        }
    }
    findings
}

fn changes(old: &Mapping, new: &Mapping) -> Vec<Finding> {
    let settings = [
        ("EventSourceArn", &old.event_source, &new.event_source),
        ("StartingPosition", &old.starting_position, &new.starting_position),
        ("StartingPositionTimestamp", &old.starting_timestamp, &new.starting_timestamp),
    ];
    let mut findings = Vec::new();
    for (setting, old, new_value) in settings {
        if old == new_value {
            continue;
        }
        let found = format!("{}, was {}", shown(new_value), shown(old));
        let is_unknown = [old, new_value].iter().any(|value| matches!(value, Setting::Unknown(_)));
        let finding = if is_unknown {
            let reason = "if the values differ, the change replaces the mapping, and its position is lost";
            not_judged(setting, found, reason, "give them values with --parameter and --baseline-parameter")
        } else {
            error(setting, found, "the change replaces the mapping, and its position is lost", FIX)
        };
        findings.push(finding.of(&new.id));
    }
    findings
}

fn shown(value: &Setting<String>) -> &str {
    match value {
        Setting::Absent => "absent",
        Setting::Unknown(text) | Setting::Known(text) => text,
    }
}
