//! Session evidence: the enrolled AK quotes this boot over this session's keys.

use assay_ledger::anchor::{AnchorContext, AttestationKey, TpmInstant};
use assay_ledger::session::{
    Evidence, Head, PcrValue, SESSION_PCRS, SessionStart, Simulated, quote_extra_data, time_extra_data,
};
use assay_tpm::{Attest, HashAlg, PcrSelection, pcr_digest};
use assay_wire::{Digest, Envelope, Kind, WireError};

use crate::appraise::{Appraisal, Basis};
use crate::axes::Axes;
use crate::boot::appraise_boot;
use crate::device::{Devices, Standing, appraise_devices};
use crate::enrol::{Enrolled, appraise_record, is_session_selection};
use crate::facts::{BootFacts, Facts, NodeFacts, SessionFacts};
use crate::finding::{Check, Findings, Severity};
use crate::firmware::{firmware_changed, judge_floor};
use crate::ima::appraise_ima;
use crate::platform::judge_platform;
use crate::policy::Policy;
use crate::state::State;
use crate::threshold::judge_threshold;
use crate::trust::Trust;

const FORM: Check = Check { id: "evidence.form", spec: "DESIGN 4.6", checked: "the evidence decodes" };
const SESSION_ID: Check =
    Check { id: "session.id", spec: "DESIGN 4.3", checked: "the envelope names the session it carries" };
const SIGNATURE: Check = Check {
    id: "evidence.signature",
    spec: "RFC 9052 4.4",
    checked: "the evidence is signed by its session key",
};
const ENROLMENT: Check =
    Check { id: "session.enrolment", spec: "DESIGN 4.1", checked: "the session names this enrolment record" };
const SAME_NODE: Check =
    Check { id: "session.node", spec: "DESIGN 4.1", checked: "the session is the enrolled node's" };
const FRESH: Check =
    Check { id: "session.fresh", spec: "RFC 9334 10", checked: "the session answers a challenge of now" };
const ROLLBACK: Check = Check {
    id: "session.previous",
    spec: "DESIGN 4.3",
    checked: "the ledger goes on where it was last seen",
};
const QUOTE: Check = Check {
    id: "quote.signature",
    spec: "TPM 2.0 Part 2 10.12.8",
    checked: "the enrolled AK quoted over the session's keys",
};
const SELECTION: Check = Check {
    id: "quote.selection",
    spec: "TPM 2.0 Part 2 10.12.1",
    checked: "the quote selects SHA-256 PCRs 0-9 and 11-15",
};
const PCR_LIST: Check = Check {
    id: "quote.pcr-list",
    spec: "DESIGN 4.2",
    checked: "PCR values come for the selection that was signed",
};
const PCR_DIGEST: Check = Check {
    id: "quote.pcr-digest",
    spec: "TPM 2.0 Part 2 10.12.1",
    checked: "the PCR values are the quoted ones",
};
const TIME: Check = Check {
    id: "session.time",
    spec: "TPM 2.0 Part 2 10.12.2",
    checked: "the TPM told its time over this session",
};
const COUNTS: Check = Check {
    id: "session.reset-count",
    spec: "TPM 2.0 Part 2 10.11.1",
    checked: "quote and time are of one power cycle",
};
const LOGS: Check =
    Check { id: "boot.log-hash", spec: "DESIGN 4.2", checked: "the logs are the ones that the quote covers" };
const SIMULATED: Check =
    Check { id: "session.simulated", spec: "DESIGN 2", checked: "no part of the node is simulated" };

/// A session that was accepted, ready to take beats and anchors.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// The session's id.
    pub id: Digest,
    /// The node.
    pub node: Digest,
    /// What the quote bound.
    pub start: SessionStart,
    /// The AK from the enrolment record.
    pub ak: AttestationKey,
    /// What anchors are checked against.
    pub context: AnchorContext,
    /// Envelope hash of the evidence.
    pub evidence_hash: Digest,
}

/// Evidence whose every check could be made.
pub(crate) struct AppraisedSession {
    pub(crate) open: OpenSession,
    pub(crate) axes: Axes,
    pub(crate) node: NodeFacts,
    pub(crate) facts: SessionFacts,
}

/// Appraises evidence as it arrives, against the challenge that it answers and the last head known.
///
/// With no challenge (an exported file) freshness is reported as not checked. The session is given
/// only when the verdict is accept.
///
/// # Errors
/// [`WireError`] when the bytes are no evidence envelope at all.
pub fn open_session(
    bytes: &[u8],
    trust: &Trust,
    policy: &Policy,
    state: &State,
    now_ms: u64,
    challenge: Option<&Digest>,
) -> Result<(Appraisal, Option<OpenSession>), WireError> {
    let envelope = Envelope::decode_as(Kind::Evidence, bytes)?;
    let basis = Basis { trust, policy, state, now_ms };
    Ok(open((bytes.len(), envelope), basis, challenge, state.known.as_ref()))
}

/// Evidence from a file, decoded: neither fresh nor new. `len` is that of its bytes.
pub(crate) fn exported_evidence(len: usize, envelope: Envelope, basis: Basis<'_>) -> Appraisal {
    open((len, envelope), basis, None, None).0
}

fn open(
    (len, envelope): (usize, Envelope),
    basis: Basis<'_>,
    challenge: Option<&Digest>,
    known: Option<&Head>,
) -> (Appraisal, Option<OpenSession>) {
    let mut findings = Findings::default();
    let session = judge_evidence(len, Ok(envelope), basis, &mut findings);
    let mut dated_ms = None;
    if let Some(session) = &session {
        dated_ms = fresh(&session.open.start, challenge, &mut findings).then_some(basis.now_ms);
        previous(&session.open.start, known, &mut findings);
    }
    let axes = session.as_ref().map(|s| s.axes);
    let facts = session.as_ref().map(|s| Facts {
        node: Some(s.node.clone()),
        sessions: vec![s.facts.clone()],
        ..Facts::default()
    });
    let (dated, facts) = ((Kind::Evidence, dated_ms), facts.unwrap_or_default());
    let appraisal = Appraisal::conclude(dated, axes, findings, facts, basis);
    let open = session.map(|s| s.open).filter(|_| appraisal.accepted());
    (appraisal, open)
}

/// Everything about evidence that does not depend on when it arrives. `None` when it cannot be believed.
pub(crate) fn appraise_evidence(
    bytes: &[u8],
    basis: Basis<'_>,
    findings: &mut Findings,
) -> Option<AppraisedSession> {
    judge_evidence(bytes.len(), Envelope::decode_as(Kind::Evidence, bytes), basis, findings)
}

fn judge_evidence(
    len: usize,
    envelope: Result<Envelope, WireError>,
    basis: Basis<'_>,
    findings: &mut Findings,
) -> Option<AppraisedSession> {
    let envelope = findings.result(FORM, format!("{len} bytes"), envelope)?;
    let evidence: Evidence = findings.result(FORM, "one message", envelope.message())?;
    let start = &evidence.session;
    let id = start.id();
    if !findings.equal(SESSION_ID, id, envelope.kid) {
        return None;
    }
    findings.result(SIGNATURE, id.short(), envelope.verify(&start.key, &basis.trust.network))?;
    let enrolled = appraise_record(&evidence.enrolment, told_firmware(&evidence), basis, findings)?;
    let belongs = findings.equal(ENROLMENT, enrolled.hash, start.enrolment)
        && findings.equal(SAME_NODE, enrolled.record.node, start.node);
    if !belongs || !judge_threshold(&evidence, &enrolled, basis, findings) {
        return None;
    }
    let (attest, opened) = attestations(&evidence, &id, &enrolled.ak, findings)?;
    let covered = findings.equal(LOGS, evidence.logs.digest(), start.boot_logs);
    let (boot, platform) = match covered {
        true => booted(&evidence, &enrolled, basis, findings),
        false => (BootFacts::default(), 0),
    };
    judge_simulated(&evidence, basis.policy, findings);
    let devices = appraise_devices(&evidence, (&attest, &enrolled.ak), basis, findings);
    judge_floor(&enrolled.record.model, opened.firmware_version, basis.policy, findings);
    let axes = axes(&enrolled, &evidence, platform, devices.standing);
    let facts = session_facts(start, &id, &opened, (boot, devices));
    let context = AnchorContext { session: id, pcr_digest: attest.quote().ok()?.pcr_digest.clone(), opened };
    let open = OpenSession {
        id,
        node: start.node,
        start: evidence.session,
        ak: enrolled.ak,
        context,
        evidence_hash: envelope.hash(),
    };
    Some(AppraisedSession { open, axes, node: enrolled.facts, facts })
}

/// The firmware version that the session's GetTime tells. Its signature is checked before the session is believed.
fn told_firmware(evidence: &Evidence) -> Option<u64> {
    let attest = Attest::parse(&evidence.time.attest).ok()?;
    attest.time().ok().map(|time| time.firmware_version)
}

/// Quote, PCRs and GetTime, in that order.
fn attestations(
    evidence: &Evidence,
    id: &Digest,
    ak: &AttestationKey,
    findings: &mut Findings,
) -> Option<(Attest, TpmInstant)> {
    let attest = findings.result(QUOTE, "holds", ak.check(&evidence.quote, &quote_extra_data(id)))?;
    let quote = findings.result(SELECTION, "a quote", attest.quote())?;
    if !is_session_selection(&quote.selection) {
        findings.fail(SELECTION, Severity::Fatal, "sha256:0-9,11-15", selection_text(&quote.selection));
        return None;
    }
    let listed: Vec<u8> = evidence.pcrs.iter().map(|p| p.pcr).collect();
    if listed != SESSION_PCRS {
        findings.fail(PCR_LIST, Severity::Fatal, format!("{SESSION_PCRS:?}"), format!("{listed:?}"));
        return None;
    }
    let recomputed = digest_of(&quote.selection, &evidence.pcrs).unwrap_or_default();
    if !findings.equal(PCR_DIGEST, hex::encode(&quote.pcr_digest), hex::encode(recomputed)) {
        return None;
    }
    let instant = ak.check_time(&evidence.time, &time_extra_data(id));
    let opened = findings.result(TIME, "holds", instant)?;
    let quoted = format!("{}/{}", attest.clock_info.reset_count, attest.clock_info.restart_count);
    let told = format!("{}/{}", opened.reset_count, opened.restart_count);
    findings.equal(COUNTS, quoted, told).then_some((attest, opened))
}

/// The digest that a quote over these values carries.
pub(crate) fn digest_of(selection: &[PcrSelection], pcrs: &[PcrValue]) -> Option<Vec<u8>> {
    let value = |alg, index| {
        let found = pcrs.iter().find(|p| alg == HashAlg::Sha256 && p.pcr == index);
        found.map(|p| p.value.0.to_vec())
    };
    pcr_digest(selection, &value, HashAlg::Sha256)
}

fn selection_text(selection: &[PcrSelection]) -> String {
    let banks: Vec<_> =
        selection.iter().map(|s| format!("{}:{:?}", s.alg, s.pcrs.iter().collect::<Vec<_>>())).collect();
    if banks.is_empty() { "nothing".to_owned() } else { banks.join(" ") }
}

/// The boot's facts, and how far it takes axis P.
fn booted(
    evidence: &Evidence,
    enrolled: &Enrolled,
    basis: Basis<'_>,
    findings: &mut Findings,
) -> (BootFacts, u8) {
    let (mut facts, booted) = appraise_boot(&evidence.logs, &evidence.pcrs, findings);
    let identity = identity(enrolled, &evidence.session);
    let platform = booted.as_ref().map(|booted| judge_platform(booted, identity, basis, findings));
    let (record, state) = (&enrolled.record, basis.state);
    let owners = u32::try_from(basis.trust.firmware_owners).unwrap_or(u32::MAX);
    for finding in firmware_changed(&record.node, &record.firmware, &evidence.pcrs, state, owners) {
        findings.push(finding);
    }
    appraise_ima(evidence, &enrolled.ak, booted.as_ref(), &mut facts, findings);
    facts.release = platform.as_ref().and_then(|platform| platform.release.clone());
    // A log that a generator wrote is nobody's boot.
    let simulated = evidence.session.simulated.contains(&Simulated::BootLog);
    (facts, platform.filter(|_| !simulated).map_or(0, |platform| platform.level))
}

/// Axis I: the node's own word can lower it.
fn identity(enrolled: &Enrolled, start: &SessionStart) -> u8 {
    if start.simulated.contains(&Simulated::Tpm) { 0 } else { enrolled.identity }
}

fn axes(enrolled: &Enrolled, evidence: &Evidence, platform: u8, devices: Standing) -> Axes {
    let start = &evidence.session;
    let simulated = simulates_gpus(evidence) || start.simulated.contains(&Simulated::Gpu);
    let claimed = platform == 2 && !start.gpus.is_empty();
    let gpu = match devices {
        _ if simulated => 0,
        Standing::Refuted => 0,
        Standing::Claimed => u8::from(claimed),
        Standing::Attested => 3,
    };
    Axes { identity: identity(enrolled, start), platform, gpu }
}

/// Whether a GPU is simulated, by the session's table or by what its evidence says.
fn simulates_gpus(evidence: &Evidence) -> bool {
    let devices = evidence.devices.iter().flatten();
    evidence.session.gpus.iter().any(|gpu| gpu.simulated)
        || devices.into_iter().any(|device| device.simulated)
}

/// Whether the session answers the challenge that was given for it. Without one, nothing tells its age.
fn fresh(start: &SessionStart, challenge: Option<&Digest>, findings: &mut Findings) -> bool {
    match challenge {
        Some(challenge) => findings.equal(FRESH, *challenge, start.challenge),
        None => {
            findings.push(FRESH.finding(Severity::Info).saw("not checked: an exported file"));
            false
        }
    }
}

/// A restored disk continues an older head than the one a validator holds.
fn previous(start: &SessionStart, known: Option<&Head>, findings: &mut Findings) {
    let text = |head: &Head| format!("{} at beat {}", head.session.short(), head.seq);
    match (known, &start.previous) {
        (None, _) => {}
        (Some(known), Some(previous)) if continues(known, previous) => {
            findings.pass(ROLLBACK, text(previous));
        }
        (Some(known), None) => {
            findings.fail(ROLLBACK, Severity::Warning, text(known), "a fresh ledger: history lost")
        }
        (Some(known), Some(previous)) => {
            findings.fail(ROLLBACK, Severity::Fatal, text(known), text(previous))
        }
    }
}

/// Whether a ledger that stands at `previous` can hold what was seen at `known`.
fn continues(known: &Head, previous: &Head) -> bool {
    let further = previous.seq > known.seq || previous == known;
    previous.session == known.session && further
}

/// What the node says is simulated is allowed or not by the policy.
fn judge_simulated(evidence: &Evidence, policy: &Policy, findings: &mut Findings) {
    let start = &evidence.session;
    let mut parts: Vec<_> = start.simulated.iter().map(|part| part.name()).collect();
    // The GPUs say it too, and a node that says it in one place only has still said it.
    if simulates_gpus(evidence) && !start.simulated.contains(&Simulated::Gpu) {
        parts.push(Simulated::Gpu.name());
    }
    if parts.is_empty() {
        return findings.pass(SIMULATED, "nothing, by the node's word");
    }
    let severity = if policy.simulated { Severity::Info } else { Severity::Fatal };
    findings.fail(SIMULATED, severity, "nothing", parts.join(", "));
}

fn session_facts(
    start: &SessionStart,
    id: &Digest,
    opened: &TpmInstant,
    (boot, devices): (BootFacts, Devices),
) -> SessionFacts {
    SessionFacts {
        id: id.to_string(),
        agent: start.agent.clone(),
        cpu: start.machine.cpu.clone(),
        cpus: start.machine.cpus,
        memory_mib: start.machine.memory_mib,
        kernel: start.machine.kernel.clone(),
        virtualization: start.machine.virtualization.clone(),
        gpus: start.gpus.clone(),
        devices: devices.facts,
        simulated: start.simulated.iter().map(|part| part.name()).collect(),
        reset_count: opened.reset_count,
        firmware_version: format!("{:016x}", opened.firmware_version),
        boot,
        beats: 0,
        anchors: 0,
        ended: false,
    }
}
