//! k of n: how many operators' validators have enrolled a node.

use std::collections::BTreeSet;

use assay_ledger::enrolment::EnrolmentRecord;
use assay_ledger::session::Evidence;
use assay_wire::{Envelope, Kind};

use crate::appraise::Basis;
use crate::enrol::Enrolled;
use crate::finding::{Check, Findings, Severity};
use crate::revoked::{RecordRef, revocation};

const THRESHOLD: Check = Check {
    id: "enrolment.threshold",
    spec: "DESIGN 4.1",
    checked: "enough operators have enrolled this EK and AK",
};

/// The most further records that evidence may carry.
const MAX_FURTHER: usize = 8;

/// Counts the operators whose records of this very EK and AK are in force; one operator counts once.
pub(crate) fn judge_threshold(
    evidence: &Evidence,
    enrolled: &Enrolled,
    basis: Basis<'_>,
    findings: &mut Findings,
) -> bool {
    if evidence.further.len() > MAX_FURTHER {
        findings.fail(THRESHOLD, Severity::Fatal, "at most 8 further records", evidence.further.len());
        return false;
    }
    let further = evidence.further.iter().map(|bytes| bytes.as_slice());
    let records = std::iter::once(evidence.enrolment.as_slice()).chain(further);
    let operators: BTreeSet<&str> =
        records.filter_map(|bytes| operator(bytes, &enrolled.record, basis)).collect();
    let wanted = basis.trust.enrolment_threshold;
    let seen = format!("{} of {} operators", operators.len(), basis.trust.operators());
    match operators.len() >= wanted {
        true => findings.pass(THRESHOLD, seen),
        false => findings.fail(THRESHOLD, Severity::Fatal, format!("{wanted} operators"), seen),
    }
    operators.len() >= wanted
}

/// Whether one record by itself is enough, which a file with nothing else in it is asked.
pub(crate) fn judge_alone(basis: Basis<'_>, findings: &mut Findings) -> bool {
    let wanted = basis.trust.enrolment_threshold;
    let seen = format!("1 of {} operators: a record is one operator's word", basis.trust.operators());
    match wanted <= 1 {
        true => findings.pass(THRESHOLD, seen),
        false => findings.fail(THRESHOLD, Severity::Warning, format!("{wanted} operators"), seen),
    }
    wanted <= 1
}

/// Whose record this is, when it is in force and of the same keys.
fn operator<'a>(bytes: &[u8], of: &EnrolmentRecord, basis: Basis<'a>) -> Option<&'a str> {
    let envelope = Envelope::decode_as(Kind::Enrolment, bytes).ok()?;
    let validator = basis.trust.validators.get(&envelope.kid)?;
    envelope.verify(&validator.key, &basis.trust.network).ok()?;
    let record: EnrolmentRecord = envelope.message().ok()?;
    let same = (record.node, &record.ek_public, &record.ak_public) == (of.node, &of.ek_public, &of.ak_public);
    let begun = record.issued_ms <= basis.now_ms.saturating_add(basis.policy.skew_ms);
    let (node, hash, issuer, issued_ms) = (&record.node, &envelope.hash(), &envelope.kid, record.issued_ms);
    let named = RecordRef { node, hash, issuer, issued_ms };
    let revoked = revocation(named, basis.trust, basis.state, basis.now_ms).is_some();
    (same && begun && basis.now_ms < record.expires_ms && !revoked).then_some(validator.operator.as_str())
}
