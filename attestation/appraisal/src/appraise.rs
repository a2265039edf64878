//! One door for every exported file: bytes in, verdict out.

use assay_wire::{Digest, Envelope, Kind, WireError};
use serde::{Serialize, Serializer};

use crate::axes::Axes;
use crate::claim::appraise_claim;
use crate::enrol::appraise_record;
use crate::facts::Facts;
use crate::finding::{Check, Finding, Findings, Severity, Verdict};
use crate::job::appraise_receipt;
use crate::policy::Policy;
use crate::session::exported_evidence;
use crate::state::State;
use crate::threshold::judge_alone;
use crate::trust::Trust;

/// What an appraisal rests on beside the bytes.
#[derive(Clone, Copy)]
pub(crate) struct Basis<'a> {
    pub(crate) trust: &'a Trust,
    pub(crate) policy: &'a Policy,
    pub(crate) state: &'a State,
    /// Unix time in ms.
    pub(crate) now_ms: u64,
}

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
    /// The policy that decided.
    pub policy: PolicyRef,
    /// When, in Unix ms.
    pub at_ms: u64,
    /// For how long the result counts; `None` when rejected, or when nothing signed says of when the file is.
    pub valid: Option<Validity>,
}

/// Names the policy that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyRef {
    /// Its name.
    pub name: String,
    /// [`Policy::hash`]; hex in JSON.
    #[serde(serialize_with = "hex")]
    pub hash: Digest,
}

fn hex<S: Serializer>(hash: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(hash)
}

/// A stretch of time, in Unix ms; `until_ms` is the first instant outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Validity {
    /// From the time of what was appraised, and never before the enrolment record was issued.
    pub from_ms: u64,
    /// Until the policy's lifetime of a result is over, or the enrolment record's.
    pub until_ms: u64,
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
    policy: &'a PolicyRef,
    at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<Validity>,
}

const FLOOR: Check =
    Check { id: "policy.floor", spec: "DESIGN 9", checked: "every axis reaches what the policy asks for" };

impl Appraisal {
    /// Accept when the checks were made, none is fatal under the policy and its floors are reached.
    ///
    /// `axes` is `None` when the checks could not be made to their end. `dated_ms` is the time of what was
    /// appraised, Unix ms, as far as a challenge or a validator's signature tells it.
    pub(crate) fn conclude(
        (kind, dated_ms): (Kind, Option<u64>),
        axes: Option<Axes>,
        mut findings: Findings,
        facts: Facts,
        basis: Basis<'_>,
    ) -> Self {
        let policy = basis.policy;
        if let Some(axes) = axes {
            judge_floor(floor(kind, policy), axes, policy, &mut findings);
        }
        let findings = findings.under(policy);
        let verdict = match axes.is_some() && !findings.is_fatal() {
            true => Verdict::Accept,
            false => Verdict::Reject,
        };
        Self {
            kind,
            verdict,
            axes: axes.unwrap_or_default(),
            findings: findings.into_vec(),
            policy: PolicyRef { name: policy.name.clone(), hash: policy.hash() },
            at_ms: basis.now_ms,
            valid: validity(&facts, dated_ms, basis).filter(|_| verdict == Verdict::Accept),
            facts,
        }
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
            policy: &self.policy,
            at_ms: self.at_ms,
            valid: self.valid,
        }
    }
}

/// What a policy asks of this kind of file: a record says nothing about a platform or GPUs.
fn floor(kind: Kind, policy: &Policy) -> Axes {
    match kind {
        Kind::Enrolment => Axes { identity: policy.floor.identity, ..Axes::default() },
        _ => policy.floor,
    }
}

fn judge_floor(floor: Axes, axes: Axes, policy: &Policy, findings: &mut Findings) {
    let reached = axes.identity >= floor.identity && axes.platform >= floor.platform && axes.gpu >= floor.gpu;
    match reached {
        true => findings.pass(FLOOR, format!("{axes} under {}", policy.name)),
        false => findings.fail(FLOOR, Severity::Fatal, format!("{floor} ({})", policy.name), axes),
    }
}

/// What record, policy and evidence have in common; nothing when the evidence may be of any time. A claim about
/// last week has a window that is over.
fn validity(facts: &Facts, dated_ms: Option<u64>, basis: Basis<'_>) -> Option<Validity> {
    let node = facts.node.as_ref()?;
    let evidence_ms = dated_ms?.min(basis.now_ms);
    let from_ms = evidence_ms.max(node.enrolled_ms);
    let until_ms = evidence_ms.saturating_add(basis.policy.result_ms).min(node.expires_ms);
    (from_ms < until_ms).then_some(Validity { from_ms, until_ms })
}

/// Appraises an exported file: an enrolment, evidence, a claim or a receipt, by its content type.
///
/// A pure function: the same input gives the same result, anywhere and at any later time. Of `state`,
/// the last known head does not bear on exported files.
///
/// # Errors
/// [`WireError`] when the bytes are no envelope, or one that is not exported.
pub fn appraise(
    bytes: &[u8],
    trust: &Trust,
    policy: &Policy,
    state: &State,
    now_ms: u64,
) -> Result<Appraisal, WireError> {
    let basis = Basis { trust, policy, state, now_ms };
    let envelope = Envelope::decode(bytes)?;
    match envelope.kind {
        Kind::Enrolment => Ok(appraise_enrolment(bytes, basis)),
        Kind::Evidence => Ok(exported_evidence(bytes.len(), envelope, basis)),
        Kind::Claim => appraise_claim(bytes, basis),
        Kind::Receipt => appraise_receipt(bytes, basis),
        other => {
            Err(WireError::Kind { expected: "enrolment, evidence, claim or receipt", seen: other.name() })
        }
    }
}

/// A record is of now for as long as it is in force. It is one operator's word: where the trust file asks for more,
/// nothing is known of the node by it alone.
fn appraise_enrolment(bytes: &[u8], basis: Basis<'_>) -> Appraisal {
    let mut findings = Findings::default();
    let enrolled = appraise_record(bytes, None, basis, &mut findings);
    let enough = enrolled.is_some() && judge_alone(basis, &mut findings);
    let axes =
        enrolled.as_ref().map(|e| Axes { identity: if enough { e.identity } else { 0 }, ..Axes::default() });
    let facts = Facts { node: enrolled.map(|e| e.facts), ..Facts::default() };
    Appraisal::conclude((Kind::Enrolment, Some(basis.now_ms)), axes, findings, facts, basis)
}
