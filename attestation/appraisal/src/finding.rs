//! Findings: the result of one check each, in the order the checks were made.

use std::fmt::Display;

use serde::Serialize;

use crate::policy::Policy;

/// What a finding means for the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The check held.
    Pass,
    /// Worth knowing; changes nothing.
    Info,
    /// Worth acting on; the verdict stands.
    Warning,
    /// The verdict is reject.
    Fatal,
}

/// Accept or reject; reject unless something else was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check that the policy asks for held.
    Accept,
    /// At least one did not, or could not be made.
    #[default]
    Reject,
}

/// The event of a measurement log that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventRef {
    /// `firmware`, `userspace` or `ima`.
    pub log: &'static str,
    /// Which event, counted from 0.
    pub index: usize,
    /// The PCR that it extends.
    pub pcr: u8,
    /// The digest that should have been there, in hex.
    pub expected: String,
    /// The digest that was there, in hex.
    pub seen: String,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable id, such as `quote.signature`.
    pub id: &'static str,
    /// What it means for the verdict.
    pub severity: Severity,
    /// What was checked, for people.
    pub checked: String,
    /// What should have been there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// The section that asks for it.
    pub spec: &'static str,
    /// The log event that differs, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<EventRef>>,
}

impl Finding {
    /// A check that failed and ends the matter.
    pub fn fatal(id: &'static str, spec: &'static str, checked: impl Display, seen: impl Display) -> Self {
        Self::new(id, Severity::Fatal, spec, checked).saw(seen)
    }

    pub(crate) fn new(
        id: &'static str,
        severity: Severity,
        spec: &'static str,
        checked: impl Display,
    ) -> Self {
        Self { id, severity, checked: checked.to_string(), expected: None, seen: None, spec, event: None }
    }

    pub(crate) fn saw(mut self, seen: impl Display) -> Self {
        self.seen = Some(seen.to_string());
        self
    }

    pub(crate) fn expected(mut self, expected: impl Display) -> Self {
        self.expected = Some(expected.to_string());
        self
    }

    /// The same finding, with the log event that differs.
    pub fn at_event(mut self, event: EventRef) -> Self {
        self.event = Some(Box::new(event));
        self
    }
}

/// One check's fixed part: its id, where it is written down, and what it checks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    pub(crate) id: &'static str,
    pub(crate) spec: &'static str,
    pub(crate) checked: &'static str,
}

impl Check {
    /// A finding of it, with nothing seen yet.
    pub(crate) fn finding(self, severity: Severity) -> Finding {
        Finding::new(self.id, severity, self.spec, self.checked)
    }
}

/// Findings as they are made.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Records a check that held, with what was seen.
    pub(crate) fn pass(&mut self, check: Check, seen: impl Display) {
        self.push(Finding::new(check.id, Severity::Pass, check.spec, check.checked).saw(seen));
    }

    /// Records a check that did not hold.
    pub(crate) fn fail(
        &mut self,
        check: Check,
        severity: Severity,
        expected: impl Display,
        seen: impl Display,
    ) {
        let finding = Finding::new(check.id, severity, check.spec, check.checked);
        self.push(finding.expected(expected).saw(seen));
    }

    /// Records a check of equality; fatal when it fails.
    pub(crate) fn equal<T: Display + PartialEq>(&mut self, check: Check, expected: T, seen: T) -> bool {
        let holds = expected == seen;
        match holds {
            true => self.pass(check, seen),
            false => self.fail(check, Severity::Fatal, expected, seen),
        }
        holds
    }

    /// Records a result; fatal when it is an error. Gives the value on.
    pub(crate) fn result<T, E: Display>(
        &mut self,
        check: Check,
        seen: impl Display,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.pass(check, seen);
                Some(value)
            }
            Err(error) => {
                self.push(Finding::fatal(check.id, check.spec, check.checked, error));
                None
            }
        }
    }

    pub(crate) fn is_fatal(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Fatal)
    }

    /// The same findings with the severities that a policy gives them.
    pub(crate) fn under(mut self, policy: &Policy) -> Self {
        for finding in &mut self.0 {
            finding.severity = policy.severity(finding.id, finding.severity);
        }
        self
    }

    pub(crate) fn into_vec(self) -> Vec<Finding> {
        self.0
    }
}
