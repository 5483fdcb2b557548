use serde::Serialize;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Records are lost.
    Error,
    /// Records may be lost, or something less bad than that.
    Warning,
}

/// A setting, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// Logical ID, or UUID of a mapping.
    pub(super) resource: String,
    pub(super) setting: &'static str,
    /// What stands there.
    pub(super) found: String,
    pub(super) reason: &'static str,
    pub(super) mend: String,
}
