use serde::Serialize;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Severity {
    /// Records are lost, or the deployment fails.
    Error,
    /// Records may be lost, reordered or delayed.
    Warning,
    /// The doctor could not judge something, so it may be an error.
    NotJudged,
}

/// A setting and the problem that it causes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// Logical ID, address, or UUID of a mapping.
    pub(super) resource: String,
    pub(super) setting: String,
    /// The value that was found.
    pub(super) found: String,
    pub(super) reason: String,
    pub(super) fix: String,
}

impl Finding {
    /// Creates a finding whose resource [`of`](Self::of) sets.
    pub(super) fn new(
        severity: Severity,
        setting: &str,
        found: impl Into<String>,
        reason: &str,
        fix: impl Into<String>,
    ) -> Self {
        Finding {
            severity,
            resource: String::new(),
            setting: setting.to_owned(),
            found: found.into(),
            reason: reason.to_owned(),
            fix: fix.into(),
        }
    }

    pub(super) fn of(mut self, resource: &str) -> Self {
        resource.clone_into(&mut self.resource);
        self
    }
}
