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
    /// An error or a warning of a rule that the user has accepted.
    Accepted,
}

/// The rule of findings about what could not be judged.
pub(super) const NOT_JUDGED: &str = "not-judged";

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
    /// Name of the rule, which `--accept` takes.
    pub(super) rule: &'static str,
    #[serde(flatten)]
    pub(super) place: Option<Place>,
}

/// The place of a setting in a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Place {
    pub(super) file: String,
    /// Line of the setting, or of its resource, from 1 on.
    pub(super) line: usize,
    /// Names of the parameters that the setting depends on.
    pub(super) parameters: Vec<String>,
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
            rule: if severity == Severity::NotJudged { NOT_JUDGED } else { "" },
            place: None,
        }
    }

    /// Names the rule, unless it has a name.
    pub(super) fn by(mut self, rule: &'static str) -> Self {
        if self.rule.is_empty() {
            self.rule = rule;
        }
        self
    }

    pub(super) fn of(mut self, resource: &str) -> Self {
        resource.clone_into(&mut self.resource);
        self
    }
}
