//! Device evidence: what the session's GPUs and switches signed over this session.
//!
//! A report counts for one session of one TPM in one boot: the nonce that the device signed is computed
//! anew from the challenge, the AK, the session and the counters that the TPM signed in the quote. A false
//! check is a lie about a device and ends the session; where the node says that the device is simulated,
//! and the policy takes simulated parts, it is noted and nothing is gained.

use std::collections::BTreeSet;

use assay_gpu::device::{self, BootId, DeviceEvidence, Expectation, HoldPolicy, Judgement, Note};
use assay_gpu::rim::{Comparison, Part, SignerStatus};
use assay_ledger::anchor::AttestationKey;
use assay_ledger::session::{Evidence, SessionStart};
use assay_tpm::Attest;

use crate::appraise::Basis;
use crate::cross::{Crossed, judge_cross};
use crate::facts::DeviceFacts;
use crate::finding::{Check, Findings, Severity};
use crate::topology::judge_topology;

const TABLE: Check = Check {
    id: "gpu.device.table",
    spec: "DESIGN 4.3",
    checked: "device evidence is of devices of the session, each once",
};
const REPORT: Check =
    Check { id: "gpu.device.report", spec: "DESIGN 2", checked: "every GPU of the session signed a report" };
const SIGNATURE: Check =
    Check { id: "gpu.device.signature", spec: "DSP0274 1.1, 10.11", checked: "the device signed its report" };
const CHAIN: Check = Check {
    id: "gpu.device.chain",
    spec: "RFC 5280 6.1",
    checked: "the device's certificates lead to its maker's root",
};
const FWID: Check = Check {
    id: "gpu.device.fwid",
    spec: "TCG DICE Attestation Architecture 1.1, 6.1",
    checked: "certificate and report name one firmware",
};
const NO_FWID: Check = Check {
    id: "gpu.device.fwid-absent",
    spec: "TCG DICE Attestation Architecture 1.1, 6.1",
    checked: "the report names the firmware that signed it",
};
const NONCE: Check = Check {
    id: "gpu.device.nonce",
    spec: "RFC 9334 10",
    checked: "the report is over this session, this boot and this TPM's key",
};
const MEASUREMENTS: Check = Check {
    id: "gpu.device.measurements",
    spec: "TCG Reference Integrity Manifest 1.01",
    checked: "the device measured what its maker published",
};
const REFERENCES: Check = Check {
    id: "gpu.device.reference-values",
    spec: "TCG Reference Integrity Manifest 1.01",
    checked: "reference values for the device's firmware are at hand",
};
const REVOCATION: Check = Check {
    id: "gpu.device.revocation",
    spec: "RFC 6960 4.2",
    checked: "no certificate of the device was taken back",
};
const NO_ANSWER: Check = Check {
    id: "gpu.device.revocation-unknown",
    spec: "RFC 6960 4.2",
    checked: "responders' word on the certificates of the device and of its reference values' signers is at hand",
};
const TRAILING: Check = Check {
    id: "gpu.device.trailing-bytes",
    spec: "DSP0274 1.1, 10.11",
    checked: "nothing follows the report's signature",
};
const UNKNOWN: Check = Check {
    id: "gpu.device.unknown-field",
    spec: "DSP0274 1.1, 10.11",
    checked: "every field of the report is of a known type",
};

/// The most GPUs that are named as unattested; a session's table is only as short as an envelope.
const NAMED: usize = 64;

/// How far the devices take axis G.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No further than the node's own word.
    Claimed,
    /// Something that a device signed speaks against the node's word.
    Refuted,
    /// Every GPU of the session signed for itself, and everything about it is known and good.
    Attested,
}

/// What became of a session's device evidence.
pub(crate) struct Devices {
    pub(crate) facts: Vec<DeviceFacts>,
    pub(crate) standing: Standing,
}

impl Devices {
    fn none(standing: Standing) -> Self {
        Self { facts: Vec::new(), standing }
    }
}

/// One device's evidence with its judgement.
pub(crate) struct Judged<'a> {
    pub(crate) evidence: &'a DeviceEvidence,
    pub(crate) judgement: Judgement,
    /// `GPU 3`, or `switch 1`.
    pub(crate) label: String,
    /// Said to be simulated, by the node or the evidence.
    pub(crate) simulated: bool,
}

impl Judged<'_> {
    /// Whether the device's maker and the device vouch for what the report says.
    pub(crate) fn holds(&self) -> bool {
        self.judgement.checks.signature.holds() && self.judgement.checks.chain.holds()
    }

    /// A finding's severity: of what is simulated nothing is asked where the policy takes it.
    pub(crate) fn severity(&self, severity: Severity, basis: Basis<'_>) -> Severity {
        if self.simulated && basis.policy.simulated { severity.min(Severity::Info) } else { severity }
    }
}

/// Judges the devices' evidence in a session whose quote and AK are believed.
pub(crate) fn appraise_devices(
    evidence: &Evidence,
    (quote, ak): (&Attest, &AttestationKey),
    basis: Basis<'_>,
    findings: &mut Findings,
) -> Devices {
    let start = &evidence.session;
    let list = evidence.devices.as_deref().unwrap_or_default();
    if start.gpus.is_empty() && list.is_empty() {
        return Devices::none(Standing::Claimed);
    }
    if let Err(fault) = table(start, list) {
        findings.fail(TABLE, Severity::Fatal, "each device of the session at most once", fault);
        return Devices::none(Standing::Refuted);
    }
    let attested = unattested(start, list, findings);
    let judged = judge_all(start, list, nonce(start, quote, ak), basis);
    tell_checks(&judged, basis, findings);
    let closed = judge_topology(&judged, basis, findings);
    let crossed = judge_cross(start, &judged, basis, findings);
    let facts: Vec<_> = judged.iter().map(|device| facts(device, &crossed, basis)).collect();
    let refuted = !closed || !crossed.equal || facts.iter().any(is_refuted);
    let good = attested && facts.iter().all(|device| device.attested);
    let standing = match (refuted, good) {
        (true, _) => Standing::Refuted,
        (false, true) => Standing::Attested,
        (false, false) => Standing::Claimed,
    };
    Devices { facts, standing }
}

/// Each entry names one GPU of the table, and no GPU comes twice; a switch names none.
fn table(start: &SessionStart, list: &[DeviceEvidence]) -> Result<(), String> {
    let indices: BTreeSet<u8> = start.gpus.iter().map(|gpu| gpu.index).collect();
    if !list.is_empty() && indices.len() != start.gpus.len() {
        return Err("a table with two GPUs of one index".to_owned());
    }
    let mut seen = Vec::new();
    for device in list {
        match device.gpu {
            Some(index) if !indices.contains(&index) => {
                return Err(format!("GPU {index}, which is not in the session's table"));
            }
            Some(index) if seen.contains(&index) => return Err(format!("GPU {index} twice")),
            Some(index) if device.architecture.is_switch() => {
                return Err(format!("GPU {index} as a switch"));
            }
            None if !device.architecture.is_switch() => return Err("a GPU without an index".to_owned()),
            Some(index) => seen.push(index),
            None => {}
        }
    }
    Ok(())
}

/// Says which GPUs signed nothing; whether there is a GPU and all of them did.
fn unattested(start: &SessionStart, list: &[DeviceEvidence], findings: &mut Findings) -> bool {
    let signed = |index: u8| list.iter().any(|device| device.gpu == Some(index));
    let silent = start.gpus.iter().map(|gpu| gpu.index).filter(|index| !signed(*index));
    let silent: Vec<_> = silent.map(|index| format!("GPU {index}")).collect();
    let all = format!("{} GPUs", start.gpus.len());
    if !silent.is_empty() {
        let (named, more) = silent.split_at(silent.len().min(NAMED));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        findings.fail(REPORT, Severity::Info, all, format!("unattested: {}{more}", named.join(", ")));
        return false;
    }
    findings.pass(REPORT, all);
    !start.gpus.is_empty()
}

/// What each device of this session had to sign; `None` for an AK without a name, which no TPM makes.
fn nonce(start: &SessionStart, quote: &Attest, ak: &AttestationKey) -> Option<[u8; 32]> {
    let clock = &quote.clock_info;
    let boot = BootId { reset_count: clock.reset_count, restart_count: clock.restart_count };
    let name = ak.public().name().ok()?;
    Some(device::nonce(&start.challenge.0, name.as_bytes(), &start.id().0, &boot))
}

fn judge_all<'a>(
    start: &SessionStart,
    list: &'a [DeviceEvidence],
    nonce: Option<[u8; 32]>,
    basis: Basis<'_>,
) -> Vec<Judged<'a>> {
    let at = i64::try_from(basis.now_ms / 1000).unwrap_or(i64::MAX);
    let expect = Expectation {
        nonce,
        at,
        roots: &basis.trust.device_roots,
        rims: &basis.state.gpu_rims,
        hold: HoldPolicy::default(),
    };
    let said = |index: Option<u8>| start.gpus.iter().any(|gpu| Some(gpu.index) == index && gpu.simulated);
    let mut switches = 0usize..;
    let mut judged = Vec::with_capacity(list.len());
    for evidence in list {
        let device = Judged {
            judgement: device::verify(&basis.state.with_answers(evidence), &expect),
            label: match evidence.gpu {
                Some(index) => format!("GPU {index}"),
                None => format!("switch {}", switches.next().unwrap_or_default()),
            },
            simulated: evidence.simulated || said(evidence.gpu),
            evidence,
        };
        let ends = device.severity(Severity::Fatal, basis) == Severity::Fatal && is_lie(&device.judgement);
        judged.push(device);
        // One lie decides: the signatures of further devices would be work for nothing.
        if ends {
            break;
        }
    }
    judged
}

/// Whether a check is false that costs the session its verdict.
fn is_lie(judgement: &Judgement) -> bool {
    ASKED.iter().filter(|asked| asked.wrong == Severity::Fatal).any(|asked| {
        let made = (asked.made)(&judgement.checks);
        made.fails() || (made.result.is_none() && asked.absent.is_none())
    })
}

/// One check that every device has to pass.
struct Asked {
    check: Check,
    made: fn(&device::Checks) -> &device::Check,
    /// Its severity when false.
    wrong: Severity,
    /// What is said when there was nothing to compare; without it a check that was not made is false.
    absent: Option<(Check, Severity)>,
}

const ASKED: [Asked; 6] = [
    Asked { check: SIGNATURE, made: |checks| &checks.signature, wrong: Severity::Fatal, absent: None },
    Asked { check: CHAIN, made: |checks| &checks.chain, wrong: Severity::Fatal, absent: None },
    Asked {
        check: FWID,
        made: |checks| &checks.fwid,
        wrong: Severity::Fatal,
        absent: Some((NO_FWID, Severity::Warning)),
    },
    Asked { check: NONCE, made: |checks| &checks.nonce, wrong: Severity::Fatal, absent: None },
    Asked {
        check: MEASUREMENTS,
        made: |checks| &checks.measurements,
        wrong: Severity::Warning,
        absent: Some((REFERENCES, Severity::Info)),
    },
    Asked {
        check: REVOCATION,
        made: |checks| &checks.revocation,
        wrong: Severity::Fatal,
        absent: Some((NO_ANSWER, Severity::Info)),
    },
];

/// One finding for all devices of which the same is to be said.
fn tell_checks(judged: &[Judged<'_>], basis: Basis<'_>, findings: &mut Findings) {
    for Asked { check, made, wrong, absent } in ASKED {
        let mut said = Said::default();
        for device in judged {
            let made = made(&device.judgement.checks);
            // A switch's report has no place for it.
            if check.id == FWID.id && made.result.is_none() && device.evidence.architecture.is_switch() {
                continue;
            }
            let (check, severity) = match (made.result, absent) {
                (Some(true), _) => (check, Severity::Pass),
                (None, Some(absent)) => absent,
                (Some(false) | None, _) => (check, wrong),
            };
            said.add(check, device.severity(severity, basis), &device.label, &made.reason);
        }
        said.tell(findings);
    }
    tell_notes(judged, findings);
}

/// What is worth a word beside the checks: reference values that lack a part or a word on their signer, and oddities of
/// form.
fn tell_notes(judged: &[Judged<'_>], findings: &mut Findings) {
    let mut said = Said::default();
    for device in judged {
        let measurements = &device.judgement.checks.measurements;
        if measurements.holds() && !is_complete(&device.judgement) {
            said.add(REFERENCES, Severity::Info, &device.label, &measurements.reason);
        }
        for part in unchecked(&device.judgement) {
            let what = format!("{}: no responder's word on the signer of the RIM", part.id);
            said.add(NO_ANSWER, Severity::Info, &device.label, &what);
        }
    }
    for device in judged {
        for note in &device.judgement.findings {
            let check = match note {
                Note::TrailingBytes { .. } => TRAILING,
                Note::UnknownOpaque { .. } => UNKNOWN,
                Note::OcspUnread { .. } => NO_ANSWER,
                // Their checks say it.
                Note::FwidAbsent | Note::Simulated => continue,
            };
            said.add(check, Severity::Info, &device.label, &note.to_string());
        }
    }
    said.tell(findings);
}

/// What there is to say, and of which devices.
#[derive(Default)]
pub(crate) struct Said(Vec<(Check, Severity, String, Vec<String>)>);

impl Said {
    pub(crate) fn add(&mut self, check: Check, severity: Severity, label: &str, what: &str) {
        let same = self
            .0
            .iter_mut()
            .find(|(of, how, said, _)| of.id == check.id && *how == severity && said == what);
        match same {
            Some((.., labels)) if labels.last().is_some_and(|last| last == label) => {}
            Some((.., labels)) => labels.push(label.to_owned()),
            None => self.0.push((check, severity, what.to_owned(), vec![label.to_owned()])),
        }
    }

    pub(crate) fn tell(self, findings: &mut Findings) {
        for (check, severity, what, labels) in self.0 {
            let seen = format!("{}: {what}", labels.join(", "));
            match severity {
                Severity::Pass => findings.pass(check, seen),
                _ => findings.push(check.finding(severity).saw(seen)),
            }
        }
    }
}

/// Reference values that were compared and of whose signer no responder says whether it was taken back.
fn unchecked(judgement: &Judgement) -> impl Iterator<Item = &Part> {
    let parts = judgement.comparison.as_ref().map(|comparison| comparison.parts.as_slice());
    let compared = parts.unwrap_or_default().iter().filter(|part| !part.compared.is_empty());
    compared.filter(|part| part.signer == SignerStatus::Unchecked)
}

fn facts(device: &Judged<'_>, crossed: &Crossed, basis: Basis<'_>) -> DeviceFacts {
    let Judgement { checks, facts, .. } = &device.judgement;
    let mut known = DeviceFacts {
        gpu: device.evidence.gpu,
        architecture: facts.architecture.word(),
        model: facts.model.clone(),
        pdi: facts.pdi.map(|pdi| pdi.to_string()),
        board: board(facts),
        driver: facts.driver.clone(),
        vbios: facts.vbios.clone(),
        signature: checks.signature.result,
        chain: checks.chain.result,
        fwid: checks.fwid.result,
        nonce: checks.nonce.result,
        // Half the reference values say nothing good of the whole.
        measurements: checks.measurements.result.filter(|equal| !equal || is_complete(&device.judgement)),
        revocation: checks.revocation.result,
        simulated: device.simulated,
        attested: false,
    };
    // A switch has no entry in the table.
    let tied = device.evidence.gpu.is_none_or(|index| crossed.tied.contains(&index));
    let vouched = unchecked(&device.judgement).next().is_none();
    known.attested = tied && is_attested(&known, vouched, basis);
    known
}

fn board(facts: &device::DeviceFacts) -> Option<String> {
    let parts = [&facts.project, &facts.project_sku, &facts.chip_sku];
    let parts: Vec<_> = parts.into_iter().flatten().map(String::as_str).collect();
    (!parts.is_empty()).then(|| parts.join("-"))
}

/// Everything that G3 asks of one device. What is not known counts as good only where the policy thinks
/// nothing of it, and so do reference values of whose signers no responder speaks (`vouched` is false).
fn is_attested(known: &DeviceFacts, vouched: bool, basis: Basis<'_>) -> bool {
    let passable = |check: Check, found| basis.policy.severity(check.id, found) <= Severity::Info;
    let or = |result: Option<bool>, passable: bool| result == Some(true) || (result.is_none() && passable);
    let proven = [known.signature, known.chain, known.nonce, known.measurements];
    !known.simulated
        && proven.iter().all(|check| *check == Some(true))
        && or(known.fwid, known.gpu.is_none() || passable(NO_FWID, Severity::Warning))
        && or(known.revocation.filter(|good| !good || vouched), passable(NO_ANSWER, Severity::Info))
}

/// Whether driver and firmware both were compared with reference values.
fn is_complete(judgement: &Judgement) -> bool {
    judgement.comparison.as_ref().is_some_and(Comparison::is_complete)
}

fn is_refuted(device: &DeviceFacts) -> bool {
    let checks =
        [device.signature, device.chain, device.fwid, device.nonce, device.measurements, device.revocation];
    checks.contains(&Some(false))
}
