//! One door for every exported file: bytes in, verdict out.

use assay_wire::{Envelope, Kind, WireError};
use serde::Serialize;

use crate::axes::Axes;
use crate::claim::appraise_claim;
use crate::enrol::appraise_record;
use crate::facts::Facts;
use crate::finding::{Check, Finding, Findings, Severity, Verdict};
use crate::job::appraise_receipt;
use crate::policy::Policy;
use crate::session::open_session;
use crate::trust::Trust;

/// The result of appraising one file or message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appraisal {
    /// What was appraised.
    pub kind: Kind,
    /// Accept or reject.
    pub verdict: Verdict,
    /// How far the node's word goes; the bottom of each axis when rejected early.
    pub axes: Axes,
    /// Every check, in order.
    pub findings: Vec<Finding>,
    /// What was found out on the way.
    pub facts: Facts,
}

/// The JSON form of an [`Appraisal`], schema 1.
#[derive(Debug, Clone, Serialize)]
pub struct Report<'a> {
    schema: u32,
    kind: &'static str,
    verdict: Verdict,
    axes: Axes,
    findings: &'a [Finding],
    facts: &'a Facts,
}

const FLOOR: Check =
    Check { id: "policy.floor", spec: "DESIGN 9", checked: "every axis reaches what the policy asks for" };

impl Appraisal {
    /// Accept when the checks were made, none is fatal and the policy's floors are reached.
    ///
    /// `axes` is `None` when the checks could not be made to their end.
    pub(crate) fn conclude(
        kind: Kind,
        axes: Option<Axes>,
        mut findings: Findings,
        facts: Facts,
        policy: &Policy,
    ) -> Self {
        if let Some(axes) = axes {
            let floor = policy.floor;
            let reached =
                axes.identity >= floor.identity && axes.platform >= floor.platform && axes.gpu >= floor.gpu;
            match reached {
                true => findings.pass(FLOOR, format!("{axes} under {}", policy.name)),
                false => findings.fail(FLOOR, Severity::Fatal, format!("{floor} ({})", policy.name), axes),
            }
        }
        let verdict = match axes.is_some() && !findings.is_fatal() {
            true => Verdict::Accept,
            false => Verdict::Reject,
        };
        Self { kind, verdict, axes: axes.unwrap_or_default(), findings: findings.into_vec(), facts }
    }

    /// Whether the verdict is accept.
    pub fn accepted(&self) -> bool {
        self.verdict == Verdict::Accept
    }

    /// The form that is printed as JSON.
    pub fn report(&self) -> Report<'_> {
        Report {
            schema: 1,
            kind: self.kind.name(),
            verdict: self.verdict,
            axes: self.axes,
            findings: &self.findings,
            facts: &self.facts,
        }
    }
}

/// Appraises an exported file: an enrolment, evidence, a claim or a receipt, by its content type.
///
/// # Errors
/// [`WireError`] when the bytes are no envelope, or one that is not exported.
pub fn appraise(bytes: &[u8], trust: &Trust, policy: &Policy, now_ms: u64) -> Result<Appraisal, WireError> {
    match Envelope::decode(bytes)?.kind {
        Kind::Enrolment => Ok(appraise_enrolment(bytes, trust, policy, now_ms)),
        Kind::Evidence => {
            open_session(bytes, trust, policy, now_ms, None, None).map(|(appraisal, _)| appraisal)
        }
        Kind::Claim => appraise_claim(bytes, trust, policy, now_ms),
        Kind::Receipt => appraise_receipt(bytes, trust, policy, now_ms),
        other => {
            Err(WireError::Kind { expected: "enrolment, evidence, claim or receipt", seen: other.name() })
        }
    }
}

fn appraise_enrolment(bytes: &[u8], trust: &Trust, policy: &Policy, now_ms: u64) -> Appraisal {
    let mut findings = Findings::default();
    let enrolled = appraise_record(bytes, trust, now_ms, &mut findings);
    let axes = enrolled.as_ref().map(|e| Axes { identity: e.identity, ..Axes::default() });
    let facts = Facts { node: enrolled.map(|e| e.facts), ..Facts::default() };
    // A record says nothing about a platform or GPUs; only the identity floor applies to it.
    let policy =
        Policy { floor: Axes { identity: policy.floor.identity, ..Axes::default() }, ..policy.clone() };
    Appraisal::conclude(Kind::Enrolment, axes, findings, facts, &policy)
}
