//! The legal values of a scenario's numbers.

use kinesis_esm::Undocumented;

use super::ScenarioError;
use crate::{Fault, FaultKind};

/// Latest time of a scenario, and longest of its delays: a hundred years. Sums of a few of them are times, too.
const MAX_TIME_MS: u64 = 3_155_760_000_000;

/// Checks a time or a delay, in milliseconds.
pub(super) fn time(member: impl ToString, time_ms: u64) -> Result<(), ScenarioError> {
    if time_ms <= MAX_TIME_MS {
        return Ok(());
    }
    Err(ScenarioError::Value {
        member: member.to_string(),
        value: time_ms.to_string(),
        expected: "at most 3155760000000 (a hundred years)",
    })
}

pub(super) fn undocumented(undocumented: &Undocumented) -> Result<(), ScenarioError> {
    let Undocumented { retry_delay_factor: factor, retry_delay_jitter: jitter, .. } = *undocumented;
    for (name, delay_ms) in [
        ("firstRetryDelayMs", undocumented.first_retry_delay_ms),
        ("maxRetryDelayMs", undocumented.max_retry_delay_ms),
        ("minProgressDelayMs", undocumented.min_progress_delay_ms),
        ("maxProgressDelayMs", undocumented.max_progress_delay_ms),
        ("latestActivationDelayMs", undocumented.latest_activation_delay_ms),
        ("pollIntervalMs", undocumented.poll_interval_ms),
        ("idleWindowDelayMs", undocumented.idle_window_delay_ms),
        ("restartDelayMs", undocumented.restart_delay_ms),
    ] {
        time(format_args!("undocumented.{name}"), delay_ms)?;
    }
    if !(1.0..=100.0).contains(&factor) {
        return Err(ScenarioError::Value {
            member: "undocumented.retryDelayFactor".to_owned(),
            value: factor.to_string(),
            expected: "1 to 100",
        });
    }
    if !(0.0..=1.0).contains(&jitter) {
        return Err(ScenarioError::Value {
            member: "undocumented.retryDelayJitter".to_owned(),
            value: jitter.to_string(),
            expected: "0 to 1",
        });
    }
    Ok(())
}

pub(super) fn faults(faults: &[Fault]) -> Result<(), ScenarioError> {
    for (index, Fault { at_ms, until_ms, kind }) in faults.iter().enumerate() {
        match until_ms {
            Some(until_ms) if until_ms <= at_ms => return Err(ScenarioError::EmptyFault { index }),
            None if matches!(kind, FaultKind::ClockJump | FaultKind::LateActivation) => {
                return Err(ScenarioError::EndlessFault { index });
            }
            // What else goes wrong may do so for ever.
            Some(until_ms) if matches!(kind, FaultKind::ClockJump | FaultKind::LateActivation) => {
                time(format_args!("faults[{index}].untilMs"), *until_ms)?;
            }
            _ => {}
        }
    }
    Ok(())
}
