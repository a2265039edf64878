//! Job receipts: which session signed them, and what they say.

use assay_ledger::job::{JobExit, JobReceipt, ReceiptBundle};
use assay_ledger::receipt::Subject;
use assay_wire::{Envelope, Kind, WireError};

use crate::appraise::{Appraisal, Basis};
use crate::axes::Axes;
use crate::facts::{Facts, JobFacts};
use crate::finding::{Check, Finding, Findings, Severity};
use crate::measure::{read_receipts, record_not_after};
use crate::session::{AppraisedSession, OpenSession, appraise_evidence};
use crate::trust::Trust;

const FORM: Check = Check { id: "receipt.form", spec: "DESIGN 4.6", checked: "the receipt decodes" };
const BUNDLE: Check = Check {
    id: "receipt.bundle",
    spec: "DESIGN 9",
    checked: "the file is signed by a session of the same node",
};
const JOB: Check = Check {
    id: "receipt.signature",
    spec: "RFC 9052 4.4",
    checked: "the job receipt is signed by the session that ran it",
};
const SEEN: Check = Check { id: "receipt.seen", spec: "DESIGN 4.4", checked: "validators had the receipt" };
const LIMITS: Check =
    Check { id: "receipt.limits", spec: "DESIGN 5", checked: "limits were held by cgroups" };

/// Checks one job receipt against the session that it names.
pub(crate) fn read_job(
    bytes: &[u8],
    session: &OpenSession,
    trust: &Trust,
    findings: &mut Findings,
) -> Option<JobReceipt> {
    let read = || {
        let envelope = Envelope::decode_as(Kind::JobReceipt, bytes)?;
        if envelope.kid != session.id {
            return Err(WireError::Header("a job receipt of another session"));
        }
        envelope.verify(&session.start.key, &trust.network)?;
        envelope.message::<JobReceipt>()
    };
    let receipt = findings.result(JOB, session.id.short(), read())?;
    match receipt.limits == "cgroup" {
        true => findings.pass(LIMITS, "cgroup"),
        false => findings.fail(LIMITS, Severity::Warning, "cgroup", &receipt.limits),
    }
    Some(receipt)
}

/// Appraises an exported receipt.
pub(crate) fn appraise_receipt(bytes: &[u8], basis: Basis<'_>) -> Result<Appraisal, WireError> {
    let envelope = Envelope::decode_as(Kind::Receipt, bytes)?;
    let mut findings = Findings::default();
    let bundle = findings.result(FORM, format!("{} bytes", bytes.len()), envelope.message::<ReceiptBundle>());
    let appraised = bundle.and_then(|bundle| read_bundle(&envelope, &bundle, basis, &mut findings));
    let axes = appraised.as_ref().map(|(axes, ..)| *axes);
    let seen_ms = appraised.as_ref().and_then(|(_, _, seen_ms)| *seen_ms);
    let facts = appraised.map(|(_, facts, _)| facts).unwrap_or_default();
    Ok(Appraisal::conclude((Kind::Receipt, seen_ms), axes, findings, facts, basis))
}

/// Axes and facts of the session that ran the job, and by when enough validators had its receipt, Unix ms.
fn read_bundle(
    envelope: &Envelope,
    bundle: &ReceiptBundle,
    basis: Basis<'_>,
    findings: &mut Findings,
) -> Option<(Axes, Facts, Option<u64>)> {
    let trust = basis.trust;
    let sessions = sessions(bundle, basis, findings)?;
    let by_id = |id| sessions.iter().find(|s| s.open.id == id);
    let exporter = findings.result(
        BUNDLE,
        envelope.kid.short(),
        by_id(envelope.kid).ok_or("signed by a session without evidence"),
    )?;
    findings.result(BUNDLE, "holds", envelope.verify(&exporter.open.start.key, &trust.network))?;
    let job =
        findings.result(FORM, "a job receipt", Envelope::decode_as(Kind::JobReceipt, &bundle.receipt))?;
    let runner = findings.result(
        JOB,
        job.kid.short(),
        by_id(job.kid).ok_or("the evidence of its session is missing"),
    )?;
    findings.equal(BUNDLE, exporter.open.node, runner.open.node).then_some(())?;
    let receipt = read_job(&bundle.receipt, &runner.open, trust, findings)?;
    let seen = read_receipts(&bundle.seen, &runner.open.id, trust);
    let seen = findings.result(SEEN, format!("{} receipts", bundle.seen.len()), seen)?;
    let seen_ms = record_not_after(Subject::Job, &job.hash(), &seen, trust.receipt_threshold);
    if seen_ms.is_none() {
        let finding = Finding::new(SEEN.id, Severity::Warning, SEEN.spec, SEEN.checked);
        findings.push(finding.saw(format!("fewer than {} operators", trust.receipt_threshold)));
    }
    let facts = Facts {
        node: Some(runner.node.clone()),
        sessions: vec![runner.facts.clone()],
        jobs: vec![job_facts(&receipt)],
        ..Facts::default()
    };
    Some((runner.axes, facts, seen_ms))
}

fn sessions(
    bundle: &ReceiptBundle,
    basis: Basis<'_>,
    findings: &mut Findings,
) -> Option<Vec<AppraisedSession>> {
    if bundle.evidence.is_empty() || bundle.evidence.len() > 2 {
        findings.fail(BUNDLE, Severity::Fatal, "evidence of one or two sessions", bundle.evidence.len());
        return None;
    }
    let mut sessions = Vec::new();
    for evidence in &bundle.evidence {
        sessions.push(appraise_evidence(evidence, basis, findings)?);
    }
    Some(sessions)
}

pub(crate) fn job_facts(receipt: &JobReceipt) -> JobFacts {
    JobFacts {
        job: receipt.job.to_string(),
        image: receipt.image.to_string(),
        exit: exit(receipt.exit),
        wall_ms: receipt.wall_ms,
        cpu_us: receipt.cpu_us,
        max_rss_kib: receipt.max_rss_kib,
        limits: receipt.limits.clone(),
        ids: receipt.ids.clone(),
        network: receipt.network.clone(),
        outputs: receipt.outputs.iter().map(|o| (o.path.clone(), o.size, o.sha256.to_string())).collect(),
        outputs_skipped: receipt.outputs_skipped,
        policy: receipt.policy.to_string(),
        checkpoint: receipt.checkpoint.map(|hash| hash.to_string()),
        restarts: receipt.restarts,
    }
}

fn exit(exit: JobExit) -> String {
    match exit {
        JobExit::Code(code) => format!("exit code {code}"),
        JobExit::Signal(signal) => format!("killed by signal {signal}"),
        JobExit::TimedOut => "timed out".to_owned(),
        JobExit::Cancelled => "stopped on request".to_owned(),
        JobExit::NotStarted => "never started".to_owned(),
        JobExit::OutOfMemory => "killed for exceeding its memory".to_owned(),
        JobExit::Quota => "killed for exceeding a quota".to_owned(),
    }
}
